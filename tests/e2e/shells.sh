# shellcheck shell=bash
# Login shells as they are, and all that prints before a command runs.
# on: vm
. "$(dirname "$0")/lib.sh"

# What takes its 30 s goes on beside the other tests.
setup() {
	hosts 0
	lab_vm waits setup=blocking_rc
	cube spawn -w waits >"$T/waits.out" 2>"$T/waits.err" &
	WAITS=$!
}
blocking_rc() { printf 'echo "Welcome"\nprintf "Press return to go on: "\nread -r answer\n' >"$2/home/user/.bashrc"; }

# A host with login shell $2, if that is installed.
with_shell() {
	local name=$1 shell=$2
	shift 2
	[ -x "$shell" ] || skip "$shell is not installed"
	lab_vm "$name" "shell=$shell" "$@"
}

test_bash() { with_shell bash /bin/bash && lives bash; }
test_dash() { with_shell dash /bin/dash && lives dash; }
test_zsh() { with_shell zsh /usr/bin/zsh && lives zsh; }
test_fish() {
	with_shell fish /usr/bin/fish
	ssh -F "$LAB_CONFIG" fish true # it makes folders of its own, the first time
	lives fish
}
test_tcsh() { with_shell tcsh /bin/tcsh && lives tcsh; }

busybox_shell() { # NAME ROOT
	mkdir -p "$2/opt"
	cp "$(command -v busybox)" "$2/opt/ash"
}
test_busybox_ash() {
	command -v busybox >/dev/null || skip 'busybox is not installed'
	lab_vm ash shell=/opt/ash setup=busybox_shell
	lives ash
}

# Each shell reads an rc file of its own also where it runs a single command.
noisy_rc() { # NAME ROOT
	local home=$2/home/user f
	for f in .bashrc .zshenv .tcshrc .profile; do
		printf 'echo "Welcome, $USER"; echo "warning: disk is 93%% full" >/dev/stderr\n' >"$home/$f"
	done
	mkdir -p "$home/.config/fish"
	printf 'echo "Welcome to fish"\necho warn >&2\n' >"$home/.config/fish/config.fish"
	chown -R 1000:1000 "$home"
}
test_rc_files_that_print() {
	local s
	for s in bash zsh tcsh fish; do
		[ -x "/usr/bin/$s" ] || continue
		lab_vm "rc-$s" "shell=/usr/bin/$s" setup=noisy_rc
		run ssh -F "$LAB_CONFIG" "rc-$s" true
		out_has Welcome
		lives "rc-$s"
	done
}

no_newline_rc() { printf 'printf "you have mail"\numask 077\n' >"$2/home/user/.bashrc"; }
test_rc_file_that_prints_half_a_line() {
	lab_vm half setup=no_newline_rc
	lives half
}

# It would take the first line of what is sent to the shell.
greedy_rc() { printf 'read -r -t 1 answer\necho "got $answer"\n' >"$2/home/user/.bashrc"; }
test_rc_file_that_reads_stdin() {
	lab_vm greedy setup=greedy_rc
	lives greedy
}

exiting_rc() { printf 'echo "This account is closed, ask ops@example.org" >&2\nexit 9\n' >"$2/home/user/.bashrc"; }
test_rc_file_that_exits_is_quoted() {
	lab_vm exits setup=exiting_rc
	run cube spawn -w exits
	rc_is 1
	err_has 'exits.*status 9.*This account is closed, ask ops@example.org'
	cube down exits >/dev/null 2>&1 || true
}

endless_rc() { printf 'while :; do echo "spam spam spam spam"; done\n' >"$2/home/user/.bashrc"; }
test_rc_file_that_never_ends_printing() {
	lab_vm endless setup=endless_rc
	run cube spawn -w endless
	rc_is 1
	err_has 'prints more than 1 MiB'
	cube down endless >/dev/null 2>&1 || true
}

banners() { # NAME ROOT
	head -c 49152 /dev/urandom | base64 -w 76 >"$2/etc/banner"
	cp "$2/etc/banner" "$2/etc/motd"
	cat "$2/etc/banner" >"$2/etc/rc.banner"
	echo 'cat /etc/rc.banner; cat /etc/rc.banner >&2' >"$2/home/user/.bashrc"
}
test_banner_of_64_kib() {
	lab_vm banner sshd='Banner /etc/banner' pam=yes setup=banners
	run ssh -o LogLevel=INFO -F "$LAB_CONFIG" banner true
	[ "$(stat -c %s "$E")" -gt 120000 ] || fail 'no banner'
	lives banner
}

test_nologin_shell_is_quoted() {
	lab_vm nologin shell=/usr/sbin/nologin
	run cube spawn -w nologin
	rc_is 1
	err_has 'nologin.*This account is currently not available'
	cube down nologin >/dev/null 2>&1 || true
	lab_vm false shell=/bin/false
	run cube spawn -w false
	rc_is 1
	err_has 'false failed: .*ended without an answer \(status 1\)'
	cube down false >/dev/null 2>&1 || true
}

test_shell_that_does_not_exist() {
	lab_vm noshell shell=/opt/missing/shell
	run cube spawn -w noshell
	rc_is 1
	err_has noshell
	cube down noshell >/dev/null 2>&1 || true
}

test_rc_file_that_waits_for_ever_is_given_up() {
	# Of this shell's children: the test is one of a subshell's.
	lab_until lab_pid_gone "$WAITS"
	cp "$T/waits.err" "$E"
	err_has 'waits failed: probing: no progress for 30 s \(the host said: .*Press return to go on'
	ok cube down waits
}

main "$@"
