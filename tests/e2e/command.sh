# shellcheck shell=bash
# Hosts reached by a program: OpenSSH's ssh, command templates, and the fall-back to OpenSSH where
# libssh2 cannot log in.
# on: openssh
. "$(dirname "$0")/lib.sh"

WHY='using OpenSSH.s ssh: '

setup() {
	hosts 3
	[ "$(id -u)" != 0 ] || make_box box1
}

restart() { # HOST [LINES of sshd_config]
	lab_stop "$1"
	printf '%b\n' "${2:-}" >"$LAB/$1/sshd_extra"
	lab_sshd_start "$1"
	lab_sshd_ready "$1"
}

# A configuration in which only key $1 is offered; its path.
with_key() {
	sed "s,^IdentityFile .*,IdentityFile $1," "$LAB_CONFIG" >"$T/config.${1##*/}"
	echo "$T/config.${1##*/}"
}

node_is() { # NODE FILTER VALUE
	is "$(cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | $2")" "$3" "$1: $2"
}

# The ssh programs of this test's manager to host $1 (a pattern), a line each.
our_ssh() {
	local comm
	grep -lsx ssh /proc/[0-9]*/comm | while read -r comm; do
		grep -qzxF "CUBE_E2E_MARK=$T" "${comm%comm}environ" 2>/dev/null || continue
		tr '\0' ' ' <"${comm%comm}cmdline" 2>/dev/null | grep -o -- "-- $1 exec"
	done
}

# ---- OpenSSH ------------------------------------------------------------------------------------

test_openssh_runs_tasks() {
	local sum
	ok cube spawn --workers="$W" --transport=openssh
	err_has '^3 ready'
	err_lacks 'using OpenSSH' # it was asked for: there is nothing to explain
	ok cube nodes -o wide
	out_has 'TRANSPORT'
	out_has 'h1 .* openssh '
	node_is h1 .transport openssh
	node_is h1 .transport_reason null
	[ "$(our_ssh h1)" ] || fail 'no ssh to be seen'
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\nh3: h3\n'
	head -c 3000000 /dev/urandom >"$T/bytes"
	sum=$(sha256sum <"$T/bytes")
	run cube run -i -w h2 -- cat <"$T/bytes"
	rc_is 0
	is "$(sha256sum <"$O")" "$sum" 'what came back'
}

test_openssh_comes_back() {
	local id
	id=$(cube run -d -w h1 -- sh -c 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.02; done')
	soon has_output "$id"
	cut_links h1
	run within 60 cube logs -f "$id"
	rc_is 0
	seq 100 | cmp - "$O" || fail 'output differs'
	soon soon_is h1 .state ready
	node_is h1 .transport openssh
	ok cube down
	soon no_ssh_of_ours
}
has_output() { [ "$(cube logs "$1" | wc -l)" -gt 2 ]; }
no_ssh_of_ours() { [ ! "$(our_ssh 'h[0-9]')" ]; }

# A cold join is one login, and so is a reconnect, though probe, push and link are a line each.
test_openssh_logs_in_once() {
	local h
	ok cube down --purge
	for h in h1 h2 h3; do restart "$h" 'LogLevel INFO\nMaxSessions 1\nDisableForwarding yes'; done
	ok cube spawn --workers="$W" --transport=openssh
	for h in h1 h2 h3; do is "$(logins $h)" 1 "logins to $h"; done
	soon masters_are 3 # one that runs its LocalCommand looks like two
	cut_links h1
	soon logins_are h1 2
	soon soon_is h1 .state ready
	is "$(logins h1)" 2 'logins to h1'
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\nh3: h3\n'
}
masters_are() { [ "$(masters | wc -l)" = "$1" ]; }
logins() { grep -c 'Accepted publickey for' "$LAB/$1/sshd.log"; }
soon_is() { (node_is "$@"); } # which ends a test where it is not
logins_are() { [ "$(logins "$1")" = "$2" ]; }
# Every ssh program of this test, "PID ARGUMENTS" a line; and those that log in.
any_ssh() {
	local comm
	grep -lsx ssh /proc/[0-9]*/comm | while read -r comm; do
		grep -qzxF "CUBE_E2E_MARK=$T" "${comm%comm}environ" 2>/dev/null || continue
		echo "${comm%/comm} $(tr '\0' ' ' <"${comm%comm}cmdline" 2>/dev/null)"
	done
}
masters() { any_ssh | grep -- ' -N '; }
no_ssh() { [ ! "$(any_ssh)" ]; }
sockets() { find "$CUBE_STATE_DIR/default/ssh" -type s; }

# What logs in ends with the manager, however that ends; and so do the sockets.
test_openssh_ends_with_the_manager() {
	local pid
	is "$(sockets | wc -l)" 3 'sockets'
	is "$(stat -c %a "$CUBE_STATE_DIR/default/ssh")" 700 'mode of their folder'
	pid=$(manager_pid)
	kill -9 "$pid"
	soon no_ssh
	is "$(sockets)" '' 'sockets after a KILL'
	# One that was killed too has left its own: the next manager takes it away.
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$CUBE_STATE_DIR/default/ssh/99"
	ok cube run --all -- true
	is "$(sockets | wc -l)" 3 'sockets of the next manager'
	pid=$(masters | head -n 1)
	pid=${pid%% *}
	kill -9 "${pid#/proc/}"
	soon all_ready_again
	ok cube down
	soon no_ssh
	is "$(sockets)" '' 'sockets after the end'
	new_manager
	[ ! -e "$CUBE_STATE_DIR/default/ssh" ] || fail 'the folder stayed'
	for h in h1 h2 h3; do restart "$h" 'MaxSessions 1\nDisableForwarding yes'; done
}
all_ready_again() {
	[ "$(masters | wc -l)" = 3 ] && [ "$(cube nodes -o json | jq '[.nodes[] | select(.state == "ready")] | length')" = 3 ]
}

test_openssh_refused_a_session() {
	restart h1 'LogLevel INFO\nMaxSessions 0'
	: >"$LAB/h1/sshd.log"
	run within 60 cube spawn --workers=h1 --transport=openssh
	rc_is 1
	err_has 'h1 .*the server refuses a session \(MaxSessions in its sshd_config'
	ok cube down
	restart h1 'MaxSessions 1\nDisableForwarding yes'
}

test_openssh_says_why_not() {
	local config
	ssh-keygen -q -t ed25519 -N '' -f "$T/stranger"
	config=$(with_key "$T/stranger")
	run within 60 cube spawn -F "$config" --workers=h1 --transport=openssh
	rc_is 1
	err_has 'h1 .*Permission denied \(publickey\)'
	lab_stop h2
	run within 60 cube spawn --workers=h2 --transport=openssh
	rc_is 1
	err_has 'h2 .*Connection refused'
	restart h2
	run within 60 cube spawn --workers=h3 --transport=nosuchprogram
	rc_is 1
	err_has 'h3 .*nosuchprogram'
	run cube spawn --workers=h3 --transport='x {nonsense}'
	rc_is 2
	err_has 'nonsense'
	ok cube down
}

# What ssh wants to know comes to the terminal of who spawns, once for all hosts and logins.
test_openssh_asks() {
	local config script
	command -v script >/dev/null || skip 'script is not installed (bsdutils)'
	ssh-keygen -q -t ed25519 -N 'open sesame' -f "$LAB/locked"
	config=$(with_key "$LAB/locked")
	sed -i '/BatchMode/d' "$config"
	for h in h1 h2; do restart "$h" "Match all\nAuthorizedKeysFile $LAB/locked.pub"; done
	run within 60 cube spawn -F "$config" --workers='h[1-2]' --transport=openssh </dev/null
	[ $rc != 0 ] || fail 'nobody was there to answer, and yet it succeeded'
	node_is h1 .state needs-login
	ok cube nodes
	out_has '^h1 +needs-login'
	rm -f typed && mkfifo typed
	within 60 script -qefc "cube spawn -F '$config' --workers='h[1-2]' --transport=openssh" shown <typed >/dev/null 2>&1 &
	script=$!
	exec 7>typed
	soon grep -q 'passphrase' shown
	echo 'open sesame' >&7
	wait "$script" || { shown shown; fail 'not joined'; }
	exec 7>&-
	# One answer was typed, and both have it.
	grep -q '2 ready' shown || fail "$(cat -v shown)"
	ok cube run --all -- echo in
	! grep -rqaF 'open sesame' "$CUBE_STATE_DIR" shown || fail 'the passphrase was kept or shown'
	ok cube down --purge 'h[1-2]' # h3 is reached by nothing since the test before
	for h in h1 h2; do restart "$h"; done
}

# ---- the fall-back ------------------------------------------------------------------------------

only_sha1() { # this libssh2 signs with RSA keys by SHA-1 only
	! grep -aq 'rsa-sha2-512' "$(ldconfig -p | awk '/libssh2\.so\.1 / { print $NF; exit }')"
}

test_rsa_only() {
	local config h
	only_sha1 || skip 'this libssh2 has RSA with SHA-2'
	ssh-keygen -q -t rsa -b 2048 -N '' -f "$LAB/rsa"
	for h in h1 h2 h3; do restart "$h" "Match all\nAuthorizedKeysFile $LAB/rsa.pub"; done
	config=$(with_key "$LAB/rsa")
	ok within 60 cube doctor -F "$config" h1
	out_has 'note +transport +RSA keys need libssh2 1\.11'
	ok within 60 cube spawn -F "$config" --workers="$W"
	err_has "^cube: h\[1-3\]: ${WHY}RSA keys need libssh2 1\.11"
	is "$(grep -c 'using OpenSSH' "$E")" 1 'lines that say so'
	err_has '^3 ready'
	node_is h1 .transport openssh
	cube nodes -o json | jq -er '.nodes[0].transport_reason | test("RSA keys need")' >/dev/null || fail 'no reason'
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\nh3: h3\n'
	is "$(grep -c "$WHY" "$CUBE_STATE_DIR/default/manager.log")" 3 'lines of the log'
}

# After a cut, and in a new manager, libssh2 is not tried again.
test_rsa_comes_back() {
	local id pid
	only_sha1 || skip 'this libssh2 has RSA with SHA-2'
	id=$(cube run -d -w h1 -- sh -c 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.02; done')
	soon has_output "$id"
	cut_links h1
	run within 60 cube logs -f "$id"
	rc_is 0
	seq 100 | cmp - "$O" || fail 'output differs'
	soon soon_is h1 .state ready
	pid=$(manager_pid)
	kill -TERM "$pid"
	soon lab_pid_gone "$pid"
	ok within 60 cube run -w h1 -- echo back
	out_is 'back\n'
	node_is h1 .transport openssh
	is "$(grep -c "$WHY" "$CUBE_STATE_DIR/default/manager.log")" 3 'lines of the log'
	ok cube down
}

test_libssh2_only_does_not_fall_back() {
	only_sha1 || skip 'this libssh2 has RSA with SHA-2'
	run within 60 cube spawn -F "$(with_key "$LAB/rsa")" --workers=h1 --transport=ssh
	rc_is 1
	err_has 'h1 .*RSA keys need libssh2 1\.11'
	ok cube down
}

test_with_a_command() {
	only_sha1 || skip 'this libssh2 has RSA with SHA-2'
	ok within 60 cube spawn -F "$(with_key "$LAB/rsa")" --workers='h[1-2]' --purge -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\n'
	err_has "^cube: h\[1-2\]: ${WHY}"
}

test_certificate() {
	local h
	ssh-keygen -q -t ed25519 -N '' -f "$LAB/ca"
	ssh-keygen -q -t ed25519 -N '' -f "$LAB/signed"
	ssh-keygen -q -s "$LAB/ca" -I lab -n "$(id -un)" -V +1h "$LAB/signed.pub"
	for h in h1 h2 h3; do
		restart "$h" "Match all\nAuthorizedKeysFile none\nTrustedUserCAKeys $LAB/ca.pub"
	done
	ok within 60 cube spawn -F "$(with_key "$LAB/signed")" --workers="$W"
	err_has "^cube: h\[1-3\]: ${WHY}certificates"
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\nh3: h3\n'
	ok cube down --purge
	for h in h1 h2 h3; do restart "$h"; done
}

# ---- templates ----------------------------------------------------------------------------------

# A "container": a chroot with sh and cat. The fake docker and kubectl enter it.
make_box() {
	local root=$LAB/$1/home
	lab_chroot_make "$root" 2>/dev/null || return 1
	rm -rf "${root:?}/usr" "${root:?}/lib" "${root:?}/lib64"
	echo "$1" >>"$LAB/hosts"
	mkdir -p "$T/bin"
	cat >"$T/bin/enter" <<-END
		#!/bin/sh
		# What docker exec -i and kubectl exec -i have in common; the arguments are kept.
		name=\${0##*/}
		printf '%s' "\$name" >>"$T/entered"
		for a; do printf ' [%.20s]' "\$a"; done >>"$T/entered"
		echo >>"$T/entered"
		case \$name in
		docker) [ "\$1 \$2" = 'exec -i' ] || exit 125; shift 2; box=\$1; shift ;;
		kubectl) [ "\$1 \$2" = 'exec -i' ] || exit 1; shift 2; box=\$1; shift; [ "\$1" = -- ] || exit 1; shift ;;
		esac
		[ -d "$LAB/\$box/home" ] || { echo "Error response from daemon: No such container: \$box" >&2; exit 1; }
		# busybox finds its own applets by /proc. The mount is seen here only.
		exec unshare -m --propagation private /bin/sh -c '
			root=\$1; shift; mount -t proc proc "\$root/proc" || exit 1
			exec env -i HOME=/root PATH=/bin CUBE_E2E_MARK=$T $(command -v chroot) "\$root" "\$@"
		' enter "$LAB/\$box/home" "\$@"
	END
	chmod 755 "$T/bin/enter"
	for name in docker kubectl; do ln -sf enter "$T/bin/$name"; done
}

boxed() { # TEMPLATE
	local PATH=$T/bin:$PATH
	[ "$(id -u)" = 0 ] || skip 'a chroot needs root'
	new_manager
	: >"$T/entered"
	box_works box1 "$1"
}

box_works() { # NAME TEMPLATE [FILE'S CONTENT] [FILE]
	ok within 60 cube spawn --workers="$1" --transport="$2"
	node_is "$1" .transport "$2"
	ok cube run -w "$1" -- sh -c "echo \"in \$CUBE_HOST\"; cat ${4:-/etc/passwd}"
	out_is "in $1\n${3:-root:x:0:0::/root:/bin/sh}\n"
	head -c 2000000 /dev/urandom >"$T/bytes"
	run within 60 cube run -i -w "$1" -- cat <"$T/bytes"
	rc_is 0
	cmp -s "$T/bytes" "$O" || fail 'input and output differ'
	ok within 60 cube down --purge
}

# One that has this environment: it looks programs up in the PATH it was started with.
new_manager() {
	# It may have left by itself.
	curl -s --unix-socket "$CUBE_STATE_DIR/default/sock" -X POST -o /dev/null http://cube/v1/shutdown || true
	soon no_manager
}
no_manager() { ! curl -s --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/healthz; }

test_docker_template() {
	boxed 'docker exec -i {host}'
	grep -qF 'docker [exec] [-i] [box1] [/bin/sh] [-c]' "$T/entered" || fail "$(cat "$T/entered")"
}
test_kubectl_template() { boxed 'kubectl exec -i {host} --'; }

# Nodes of a real Slurm cluster. Its srun holds output back until a line is whole: a run would take
# seconds.
test_srun() {
	local lacks start
	lacks=$(lab_slurm_lacks)
	[ ! "$lacks" ] || skip "$lacks"
	lab_slurm s1 s2 || fail 'no cluster'
	new_manager
	box_works s1 'srun --nodelist={name}' s1 /proc/sys/kernel/hostname
	ok within 60 cube spawn --workers='s[1-2]' --transport='srun --nodelist={name}'
	start=$EPOCHREALTIME
	for _ in 1 2 3 4 5; do ok cube run --all -- sh -c 'echo "$CUBE_HOST is $(cat /proc/sys/kernel/hostname)"'; done
	sorted_is 's1: s1 is s1\ns2: s2 is s2\n'
	awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit b - a > 5 }' || fail 'a run takes more than a second'
	run cube run -w s2 -- sh -c 'exit 7'
	rc_is 7
	ok within 60 cube down --purge
	soon no_jobs
	is "$(find "$LAB"/s?/home -mindepth 1)" '' 'left on the nodes'
	run within 60 cube spawn --workers=s9 --transport='srun --nodelist={name}'
	rc_is 1
	err_has 's9 .*srun ended with status 1 .*Invalid node name'
	ok cube down
}
no_jobs() { [ ! "$(squeue -h)" ]; }

test_template_says_why_not() {
	local PATH=$T/bin:$PATH
	[ "$(id -u)" = 0 ] || skip 'a chroot needs root'
	new_manager
	run within 60 cube spawn --workers=box9 --transport='docker exec -i {host}'
	rc_is 1
	err_has 'box9 .*docker ended with status 1 and did not run our command .*No such container: box9'
	ok cube down
}

test_hosts_file_says_which() {
	local PATH=$T/bin:$PATH
	[ "$(id -u)" = 0 ] || skip 'a chroot needs root'
	new_manager
	printf 'box1 transport="docker exec -i {host}"\nh1 transport=openssh\nh2\n' >hosts
	ok within 60 cube spawn -i hosts
	node_is box1 .transport 'docker exec -i {host}'
	node_is h1 .transport openssh
	node_is h2 .transport ssh
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'box1: box1\nh1: h1\nh2: h2\n'
	ok cube down --purge
}

# ---- docker itself ------------------------------------------------------------------------------

docker_of_ours() { within 30 docker -H "unix://$T/dk/sock" "$@"; }
docker_answers() { docker_of_ours info; }

docker_stop() {
	local pid
	pid=$(cat "$T/dk/pid" 2>/dev/null) || return 0
	docker_of_ours rm -f box1 >/dev/null 2>&1 || :
	kill "$pid" 2>/dev/null || :
	lab_until lab_pid_gone "$pid"
	umount "$T/dk/data" 2>/dev/null || : # dockerd mounts it on itself where / is not shared, and may leave that
	rm -rf "$T/dk"
}

docker_is_settled() { docker_answers || lab_pid_gone "$daemon"; }

test_docker() {
	local daemon
	[ "$(id -u)" = 0 ] || skip 'a docker daemon needs root'
	command -v dockerd >/dev/null || skip 'docker is not installed (docker.io)'
	mkdir -p "$T/dk"
	trap docker_stop EXIT
	dockerd --iptables=false --ip6tables=false --bridge=none -s vfs --data-root "$T/dk/data" \
		--exec-root "$T/dk/run" --pidfile "$T/dk/pid" -H "unix://$T/dk/sock" >"$T/dockerd.log" 2>&1 </dev/null &
	daemon=$!
	(WITHIN=30 soon docker_is_settled) || :
	docker_answers || skip "dockerd does not run here: $(tail -n 1 "$T/dockerd.log" | head -c 200)"
	tar -C "$LAB/box1/home" -c . | docker_of_ours import - lab >/dev/null
	docker_of_ours run -d -i --network=none --name box1 lab /bin/cat >/dev/null 2>"$T/run.err" ||
		skip "no container can be run here: $(tail -n 1 "$T/run.err" | head -c 200)"
	export DOCKER_HOST=unix://$T/dk/sock
	new_manager
	box_works box1 'docker exec -i {host}'
	run within 60 cube spawn --workers=box9 --transport='docker exec -i {host}'
	rc_is 1
	err_has 'box9 .*No such container'
	ok cube down
	docker_of_ours exec -i box1 /bin/sh -c 'for f in /root/.cache/* /tmp/* /var/tmp/*; do [ ! -e "$f" ] || echo "$f"; done' >left
	is "$(cat left)" '' 'left in the container'
	new_manager
}

main "$@"
