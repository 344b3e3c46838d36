# shellcheck shell=bash
# What sshd is told to do to its users: few sessions, no forwarding, commands of its own, no way out.
# on: vm
. "$(dirname "$0")/lib.sh"

# What takes its 30 s goes on beside the other tests.
setup() {
	hosts 0
	lab_vm silent sshd='ForceCommand cat >/dev/null'
	cube spawn -w silent >"$T/silent.out" 2>"$T/silent.err" &
	SILENT=$!
}

# One session carries the probe, the worker and everything after it.
test_one_session_and_a_hundred_tasks() {
	local i
	lab_vm one sshd='MaxSessions 1'
	ok cube spawn -w one --slots 100
	# All of them run at once: each goes on when the last one has begun.
	# shellcheck disable=SC2016
	ok cube run -n 100 -w one -N --name many -- sh -c '
		mkdir -p /tmp/many; : >/tmp/many/$CUBE_TASK_ID
		until [ $(ls /tmp/many | wc -l) = 100 ]; do sleep 0.05; done
		seq 1 1000 | sed "s/^/$CUBE_TASK_ID /"'
	out_lines 100000
	cut -d' ' -f1 "$O" | sort -u >tasks
	while read -r i; do
		grep "^$i " "$O" | cut -d' ' -f2 | cmp - <(seq 1 1000) || fail "output of $i"
	done <tasks
	is "$(wc -l <tasks)" 100 tasks
	rm -r "$LAB/one/root/tmp/many"
	is "$(lab_vm_processes one | grep -c attach)" 2 'daemon and its end of the channel'
	ok cube down --purge one
	lives one
}

test_no_forwarding() {
	lab_vm noforward sshd='DisableForwarding yes' sshd='PermitTTY no'
	lives noforward
}

test_client_alive_every_second() {
	lab_vm alive sshd='ClientAliveInterval 1' sshd='ClientAliveCountMax 1'
	ok cube spawn -w alive
	ok cube run -w alive -- sleep 3
	ok cube events -o jsonl
	is "$(jq -r 'select(.kind == "node" and .node == "alive" and .new == "lost")' "$O")" '' 'times it was lost'
	gone_from_now alive
}
gone_from_now() { ok cube down --purge "$1"; }

test_no_way_out() {
	[ "$(command -v ip)" ] || skip 'ip is not installed (iproute2)'
	lab_vm lonely net=own
	is "$(lab_vm_route lonely default)" '' 'a default route'
	lives lonely
}
lab_vm_route() { nsenter -t "$(cat "$LAB/$1/pid")" -n ip route show "$2"; }

OWN='runs a command of its own instead of ours \(ForceCommand in sshd_config, command= in authorized_keys\)'

test_force_command_is_named() {
	lab_vm forced sshd='ForceCommand echo Backups only.'
	lab_vm_files forced >before
	run cube spawn -w forced
	rc_is 1
	err_has "forced failed: .*$OWN"
	err_has 'Backups only\.'
	ok cube down forced
	lab_vm_files forced | diff before - >&2 || fail 'something stayed'
}

keyed() { printf 'command="%s" %s\n' "$KEYED" "$(cat "$LAB/id.pub")" >"$2/etc/ssh/authorized_keys"; }
test_command_of_a_key_is_named() {
	KEYED='uptime -p' lab_vm keyed setup=keyed
	run cube spawn -w keyed
	rc_is 1
	err_has "keyed failed: .*$OWN"
	ok cube down keyed
}

test_wrapper_that_runs_what_is_asked_for() {
	# shellcheck disable=SC2016
	lab_vm wrapped sshd='ForceCommand logger -s "$USER runs something" 2>/dev/null; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
	lives wrapped
	# shellcheck disable=SC2016
	KEYED='eval \"$SSH_ORIGINAL_COMMAND\"' lab_vm keyed2 setup=keyed
	lives keyed2
}

test_restricted_key() {
	KEYED=x lab_vm restricted setup=restricted
	lives restricted
}
restricted() { printf 'restrict %s\n' "$(cat "$LAB/id.pub")" >"$2/etc/ssh/authorized_keys"; }

test_wrapper_that_refuses() {
	# shellcheck disable=SC2016
	lab_vm refuses sshd='ForceCommand echo "rejected: $SSH_ORIGINAL_COMMAND" >&2; exit 77'
	run cube spawn -w refuses
	rc_is 1
	err_has 'refuses failed: .*status 77.*the host said: .*'
	ok cube down refuses
}

# Nine go on, and the one that does not is told in one line.
test_one_bad_of_ten() {
	local i good=() bad
	for i in 1 2 3 4 5 6 7 8 9; do lab_vm "t$i" && good+=("t$i"); done
	lab_vm t10 shell=/usr/sbin/nologin
	run cube spawn -w 't[1-10]'
	rc_is 1
	bad=$(grep -c 't10.*This account is currently not available' "$E")
	is "$bad" 1 'lines with the reason'
	err_has '9 ready, 1 failed'
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready" and (.name | startswith("t"))) | .name] | length' 9
	ok cube run -w 't[1-9]' --all -N -- hostname
	sorted_is 't1\nt2\nt3\nt4\nt5\nt6\nt7\nt8\nt9\n'
	ok cube down --purge 't[1-10]'
}

# Tasks that are still there when it is taken down: they, their children and files go as well.
test_down_ends_all_of_it() {
	local id
	lab_vm busy
	lab_vm_files busy >"$T/busy.before"
	ok cube spawn -w busy
	head -c 300000 /dev/urandom >data
	ok cube run -d -w busy --push data -- sh -c 'setsid sleep 1000 & (setsid sh -c "trap \"\" TERM; sleep 1000" &); seq 1 100000; sleep 1000'
	id=$(cat "$O")
	soon out_of "$id" 100000
	gone_from busy
	lives busy
}
out_of() { cube logs "$1" | grep -qx "$2"; }

test_sftp_only_account() {
	lab_vm sftp sshd='ForceCommand internal-sftp'
	run cube spawn -w sftp
	rc_is 1
	err_has 'sftp failed: .*This service allows sftp connections only'
	ok cube down sftp
}

test_command_that_waits_is_given_up() {
	lab_until lab_pid_gone "$SILENT"
	cp "$T/silent.err" "$E"
	err_has 'silent failed: probing: no progress for 30 s \(.*ForceCommand'
	ok cube down silent
}

main "$@"
