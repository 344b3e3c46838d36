# shellcheck shell=bash
# Hosts as they are: dead ones, noisy shells, cut pushes, folders that cannot be used, changed keys.
# on: openssh
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 10
	cat >"$T/forced" <<-END
		#!/bin/sh
		# With a number in $T/cut_at the connection dies after that many bytes of input.
		n=\$(cat "$T/cut_at" 2>/dev/null)
		[ "\$n" ] || exec /bin/sh -c "\$SSH_ORIGINAL_COMMAND"
		{ head -c "\$n"; kill -9 \$PPID; } | /bin/sh -c "\$SSH_ORIGINAL_COMMAND"
	END
	chmod 755 "$T/forced"
}

restart() { # HOST [LINE of sshd_config]
	lab_stop "$1"
	printf '%s\n' "${2:-}" >"$LAB/$1/sshd_extra"
	lab_sshd_start "$1"
	lab_sshd_ready "$1"
}

no_worker() { ok cube spawn --workers="$1" --purge -- sh -c :; }

nine_work() { # the bad one, within seconds
	is "$(sort -V "$O" | tr '\n' ' ')" "$(for i in {1..10}; do [ h$i = "$1" ] || printf 'h%d: hi ' "$i"; done)" 'the nine'
	[ $rc != 0 ] || fail 'exit code 0'
	is "$(grep -cE "\b$1\b" "$E")" 1 "lines that name $1"
	took_at_most "$2"
}

test_one_refuses_of_ten() {
	local begin=$SECONDS
	lab_stop h5
	run within 60 cube spawn --workers='h[1-10]' --connect-timeout "$(seconds 4)" -- sh -c 'echo hi'
	restart h5
	nine_work h5 4
	err_has 'h5.*(refused|onnect)'
}

test_one_never_answers_of_ten() {
	local begin=$SECONDS
	# A stopped sshd: the kernel accepts the connection and nobody speaks.
	kill -STOP "$(cat "$LAB/h3/pid")"
	run within 60 cube spawn --workers='h[1-10]' --connect-timeout "$(seconds 2)" -- sh -c 'echo hi'
	kill -CONT "$(cat "$LAB/h3/pid")"
	nine_work h3 6
	err_has "h3.*($(seconds 2)|time)"
}

test_one_has_no_name_of_ten() {
	local begin=$SECONDS
	cp "$LAB_CONFIG" config
	printf 'Host h7\nHostName no-such-host.invalid\n%s\n' "$(cat config)" >config
	run within 60 cube spawn -F config --workers='h[1-10]' --connect-timeout "$(seconds 4)" -- sh -c 'echo hi'
	nine_work h7 5
}

test_no_login() {
	ssh-keygen -q -t ed25519 -N '' -f other <<<y >/dev/null
	run within 60 cube spawn --workers=h1 --identity other -- sh -c :
	[ $rc != 0 ] || fail 'logged in with a foreign key'
	err_has 'h1.*([Ll]og|[Aa]uth|key)'
}

test_changed_host_key_is_refused() {
	ok cube spawn --workers=h2 -- sh -c :
	ssh-keygen -q -t ed25519 -N '' -f "$LAB/h2/new_key" <<<y >/dev/null
	cp "$LAB/h2/host_key" old_key
	cp "$LAB/h2/new_key" "$LAB/h2/host_key"
	restart h2
	run within 60 cube spawn --workers=h2 -- echo never
	[ $rc != 0 ] || fail 'a changed key was accepted'
	out_is ''
	err_has 'ssh-keygen -R'
	cp old_key "$LAB/h2/host_key"
	restart h2
	ok cube spawn --workers=h2 -- sh -c 'echo again'
}

test_strict_refuses_the_unknown() {
	grep -v "$(cat "$LAB/h6/port")" "$LAB/known_hosts" >known || true
	sed "s|UserKnownHostsFile .*|UserKnownHostsFile $PWD/known|" "$LAB_CONFIG" >config
	run within 60 cube spawn -F config --host-key-check=strict --workers=h6 -- sh -c :
	[ $rc != 0 ] || fail 'an unknown key was accepted'
	ok cube spawn -F config --workers=h6 -- echo learnt
	ok cube spawn -F config --host-key-check=strict --workers=h6 -- echo known
}

test_noise_of_rc_files_and_banner() {
	case $(getent passwd "$(id -un)") in *bash) ;; *) skip 'the login shell is no bash' ;; esac
	printf 'echo "welcome to h4"; echo noise >&2; head -c 300000 /dev/zero | tr "\\0" n; printf "no newline"\n' >"$LAB/h4/home/.bashrc"
	printf 'Authorised use only\n' >"$T/banner"
	restart h4 "Banner $T/banner"
	ok cube spawn --workers=h4 --purge -- echo through
	out_is 'through\n'
	rm "$LAB/h4/home/.bashrc"
	restart h4
}

test_shell_that_only_talks() {
	restart h4 "ForceCommand echo 'this account is disabled'"
	run within 60 cube spawn --workers=h4 -- sh -c :
	[ $rc != 0 ] || fail succeeded
	err_has 'h4.*this account is disabled'
	restart h4 "ForceCommand cat /dev/zero"
	run within 60 cube spawn --workers=h4 -- sh -c :
	[ $rc != 0 ] || fail succeeded
	err_has 'h4'
	restart h4
}

# Where the worker lies on host $1: only whole files have a name that is a hash.
whole_or_nothing() {
	local f
	find "$LAB/$1/home" -type f -path '*/bin/*' | while read -r f; do
		[ "$(sha256sum <"$f" | cut -d' ' -f1)" = "$(basename "$f")" ] || echo "$f"
	done
}

all_whole() { [ ! "$(whole_or_nothing "$1")" ]; }

test_push_cut_at_any_byte() {
	local size n
	no_worker h8
	restart h8 "ForceCommand $T/forced"
	size=$(stat -c %s "$(dirname "$CUBE")/worker/$(uname -m)/cube-worker")
	for n in 0 1 64 65 66 1000 $((size / 2)) $((size + 64)); do
		echo "$n" >"$T/cut_at"
		run within 30 cube spawn --workers=h8 --connect-timeout 3s -- echo ran
		[ $rc != 0 ] || fail "cut at $n and yet fine"
		out_is ''
		[ $rc != 124 ] || fail "cut at $n: hangs"
		rm "$T/cut_at"
		(WITHIN=5 soon all_whole h8) || fail "damaged files after a cut at $n: $(whole_or_nothing h8)"
		ok within 60 cube spawn --workers=h8 --purge -- echo ran
		out_is 'ran\n'
	done
	restart h8
}

test_damaged_worker_is_repaired() {
	local f
	ok cube spawn --workers=h8 -- sh -c :
	f=$(find "$LAB/h8/home" -type f -path '*/bin/*')
	[ "$f" ] || fail 'no cached worker'
	chmod u+w "$f"
	head -c 20000 "$f" >"$T/part"
	cat "$T/part" >"$f"
	ok cube spawn --workers=h8 -- echo repaired
	out_is 'repaired\n'
	is "$(whole_or_nothing h8)" ''
	f=$(find "$LAB/h8/home" -type f -path '*/bin/*')
	chmod u+w "$f"
	printf '#!/bin/sh\necho stranger\n' >"$f"
	ok cube spawn --workers=h8 --purge -- sh -c 'echo again'
	out_is 'again\n'
}

test_home_that_cannot_be_used() {
	no_worker h9
	: >"$LAB/h9/home/.cache"
	ok cube spawn --workers=h9 -- echo placed
	out_is 'placed\n'
	is "$(find "$LAB/h9/home" -type f ! -name .cache)" '' 'files in the home'
	ok cube spawn --workers=h9 --purge -- echo placed
	is "$(find /var/tmp -path "/var/tmp/cube-lab-$(cat "$LAB/h9/port")*" 2>/dev/null)" ''
	rm "$LAB/h9/home/.cache"
}

test_noexec_home() {
	[ "$(id -u)" = 0 ] || skip 'mounting needs root'
	unshare -m --propagation private true 2>/dev/null || skip 'no mount namespaces here'
	no_worker h9
	lab_stop h9
	mkdir -p "$LAB/h9/home/.cache"
	unshare -m --propagation private sh -c 'mount -t tmpfs -o noexec none "$1/home/.cache" && exec env -i PATH="$PATH" "$2" -D -e -f "$1/sshd_config"' \
		sh "$LAB/h9" "$(lab_sshd)" >"$LAB/h9/sshd.log" 2>&1 </dev/null &
	echo $! >"$LAB/h9/pid"
	lab_sshd_ready h9
	ok cube spawn --workers=h9 --purge -- sh -c 'mount | grep -c noexec.*h9/home/.cache || grep -c h9/home/.cache /proc/mounts'
	is "$(find /var/tmp -path "/var/tmp/cube-lab-$(cat "$LAB/h9/port")*" 2>/dev/null)" ''
	restart h9
	rm -rf "$LAB/h9/home/.cache"
}

test_user_and_port_in_the_name() {
	sed -n '/^Host \*/,$p' "$LAB_CONFIG" >config
	ok cube spawn --workers="$(id -un)@127.0.0.1:$(cat "$LAB/h1/port")" -F config --purge -- echo direct
	out_is 'direct\n'
}

test_wrong_architecture_is_said() {
	local home=$LAB/h10/home
	no_worker h10
	mkdir -p "$home/bin"
	printf '#!/bin/sh\necho "Linux sparc64"\n' >"$home/bin/uname"
	chmod 755 "$home/bin/uname"
	LAB_SETENV="$LAB_SETENV PATH=$home/bin:$PATH" restart h10
	run within 60 cube spawn --workers=h10 -- sh -c :
	[ $rc != 0 ] || fail succeeded
	err_has 'h10.*sparc64'
	rm "$home/bin/uname"
	rmdir "$home/bin"
	restart h10
}

main "$@"
