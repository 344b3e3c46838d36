# shellcheck shell=bash
# Streams: `cube exec`, `cube forward`, `cube env`, and the login environment.
# on: local openssh dropbear
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	# shellcheck disable=SC2034 # read by the lab
	LAB_SSHD_LINES='DisableForwarding yes'
	hosts 2
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
	N=${NODES[0]} M=${NODES[1]}
}

worker_of() { # the daemon's pid on node $1
	local pid
	for pid in $(pgrep -f 'cube/bin/[0-9a-f]* attach|cube-worker'); do
		[ -e "/proc/$pid/cwd/sock" ] && grep -qz "CUBE_E2E_MARK=$T" "/proc/$pid/environ" &&
			case $(readlink "/proc/$pid/cwd") in *".$1") echo "$pid" && return ;; esac
	done
}
rss_of() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; } # KiB

test_exec_is_the_command() {
	ok cube exec "$N" -- sh -c 'echo to stdout; echo to stderr >&2'
	out_is 'to stdout\n'
	err_is 'to stderr\n'
	run cube exec "$N" -- sh -c 'exit 7'
	rc_is 7
	# shellcheck disable=SC2016 # for the shell there
	run cube exec "$N" sh -c 'kill -TERM $$'
	rc_is 143
	run cube exec "$N" -- no-such-program
	rc_is 127
	err_has 'no-such-program'
	err_lacks 'sh -c'
	run cube exec "$N" 'ls | wc'
	rc_is 127
	err_has "cube exec $N -- sh -c"
	run cube exec 'web[1-8]' ls
	rc_is 2
	err_has 'web\[1-8\]: this takes one node'
	run cube exec "$N" -- /
	rc_is 126
	ok cube exec -e A=1 -e 'B=two words' -C / "$N" -- sh -c 'echo "$A/$B"; pwd; echo "$CUBE_HOST"'
	out_is "1/two words\n/\n$N\n"
	run cube exec nowhere -- true
	rc_is 125
	err_has 'no node nowhere.*cube spawn --workers=nowhere'
	# no record of any of it
	ok cube ps -a -o json
	json_is '.tasks | length' 0
}

test_input() {
	run cube exec "$N" -- cat <<<'through there'
	rc_is 0
	out_is 'through there\n'
	ok cube exec -n "$N" -- cat </dev/zero
	out_is ''
	run cube exec "$N" -- cat <&-
	rc_is 0
	# a reader that stops early ends neither side badly
	run cube exec "$N" -- sh -c 'head -n 1; exec <&-; echo done' < <(yes)
	rc_is 0
	out_is 'y\ndone\n'
	cube exec "$N" -- sh -c 'while echo y; do :; done' | sh -c 'read -r x; echo "$x"' >"$T/first"
	is "$(cat "$T/first")" y
}

test_bytes_are_exact_both_ways() {
	head -c 33554432 /dev/urandom >"$T/bytes"
	cube exec "$N" -- cat <"$T/bytes" >"$T/back"
	cmp "$T/bytes" "$T/back" || fail 'changed on the way'
	cube exec "$N" -- sh -c 'cat >&2' <"$T/bytes" 2>"$T/back"
	cmp "$T/bytes" "$T/back" || fail 'changed on the way to stderr'
	tee <"$T/bytes" | cube exec "$N" -- cat | cat >"$T/back"
	cmp "$T/bytes" "$T/back" || fail 'changed on the way through pipes'
	rm -f "$T/back"
}

# bash starts background jobs with SIGINT ignored.
test_signals() {
	local bg
	env --default-signal=INT cube exec "$N" -- sh -c 'trap "echo interrupted; exit 5" INT; echo ready; while :; do sleep 0.05; done' \
		>"$T/o" </dev/null &
	bg=$!
	soon grep -q ready "$T/o"
	kill -INT $bg
	rc=0
	wait $bg || rc=$?
	is $rc 5
	grep -q interrupted "$T/o" || fail 'no INT there'
	# the second one leaves a command that does not care; it is killed
	env --default-signal=INT cube exec "$N" -- sh -c 'trap "echo got it" INT; trap "" HUP; echo ready; while :; do sleep 98.7; done' \
		>"$T/o" </dev/null &
	bg=$!
	soon asleep # or the signal comes before what it is to end, and sh waits for that
	kill -INT $bg
	soon grep -q 'got it' "$T/o"
	kill -INT $bg
	rc=0
	wait $bg || rc=$?
	is $rc 130
	soon awake
}
asleep() { mine | grep -q 'sleep 98\.7 $'; }
awake() { ! mine | grep -q 'sleep 98\.7'; }

in_tmux() { tmux -S "$T/tmux" -f "$T/start" "$@"; }
screen() { in_tmux capture-pane -p -t x; }
screen_has() { screen | grep -qE -e "$1"; }

test_terminal() {
	command -v tmux >/dev/null || skip 'tmux is not installed'
	[ "$ON" != dropbear ] || skip 'the chroot has no /dev/ptmx, stty, or ps'
	in_tmux kill-server 2>/dev/null || true
	in_tmux new-session -d -s x -x 90 -y 20 "env HISTFILE= PS1='here> ' bash --norc --noprofile"
	soon screen_has '^here>'
	in_tmux send-keys -t x "stty -a > $T/before; PS1=there\\> cube exec -t -e PS1 -e HISTFILE= $N -- bash --norc --noprofile" Enter
	soon screen_has '^there>'
	in_tmux send-keys -t x 'stty size; tty; echo $TERM' Enter
	soon screen_has '^20 90'
	soon screen_has '^/dev/pts/'
	in_tmux resize-window -t x -x 100 -y 30
	in_tmux send-keys -t x 'stty size' Enter
	soon screen_has '^30 100'
	in_tmux send-keys -t x 'clear; sleep 97.3; echo "after $?"' Enter
	sleeping() { mine | grep -q 'sleep 97.3'; }
	soon sleeping
	in_tmux send-keys -t x C-c
	soon screen_has '^there>$'
	none() { ! sleeping; }
	soon none
	# every key arrives as it is
	in_tmux send-keys -t x 'stty raw -echo; dd bs=1 count=5 2>&- | od -An -tx1; stty sane' Enter
	raw() { mine | grep -q 'dd bs=1 count=5'; }
	soon raw
	in_tmux send-keys -t x C-c C-z C-d C-q Escape
	soon screen_has '03 1a 04 11 1b'
	in_tmux send-keys -t x 'exit 6' Enter
	soon screen_has '^here>'
	in_tmux send-keys -t x "echo \"code \$?\"; stty -a | cmp - $T/before && echo restored" Enter
	soon screen_has '^code 6'
	in_tmux kill-server
}

# The next manager has to reach it first.
test_node_that_comes_back_is_waited_for() {
	kill -9 "$(manager_pid)"
	ok within 30 cube exec "$N" -- sh -c 'echo back'
	out_is 'back\n'
	kill -9 "$(manager_pid)"
	ok within 30 cube env "$N"
	out_has "^CUBE_HOST=$N"
}

test_terminal_is_restored_when_the_peer_is_gone() {
	command -v tmux >/dev/null || skip 'tmux is not installed'
	[ "$ON" != dropbear ] || skip 'the chroot has no /dev/ptmx'
	in_tmux kill-server 2>/dev/null || true
	in_tmux new-session -d -s x -x 90 -y 20 "env HISTFILE= PS1='here> ' bash --norc --noprofile"
	soon screen_has '^here>'
	in_tmux send-keys -t x "stty -a > $T/before; cube exec -t $N -- sh -c 'echo up; sleep 96.5'" Enter
	soon screen_has '^up'
	kill -9 "$(manager_pid)"
	soon screen_has 'went away'
	in_tmux send-keys -t x "stty -a | sed 's/rows.*columns [0-9]*;//' | cmp - <(sed 's/rows.*columns [0-9]*;//' $T/before) && echo is restored" Enter
	soon screen_has '^is restored'
	in_tmux kill-server
	ready_again() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }
	soon ready_again
	nothing() { ! mine | grep -q 'sleep 96.5'; }
	soon nothing
}

test_a_slow_reader_costs_no_memory() {
	[ "$ON" != dropbear ] || skip 'the worker there is the same'
	local bg worker manager before
	manager=$(manager_pid)
	worker=$(worker_of 1)
	[ "$worker" ] || fail 'no worker found'
	before=$(rss_of "$manager")
	mkfifo "$T/slow"
	cube exec "$N" -- sh -c 'head -c 300000000 /dev/zero' >"$T/slow" &
	bg=$!
	exec 3<"$T/slow"
	head -c 1000 <&3 >/dev/null
	# it stands still when the writer is: its windows are used up
	stuck() { mine | grep -q 'head -c 300000000'; }
	soon stuck
	ok cube exec "$N" -- true # and others go on
	[ $(($(rss_of "$manager") - before)) -lt 30000 ] || fail "manager: $before -> $(rss_of "$manager") KiB"
	[ "$(rss_of "$worker")" -lt 20000 ] || [ -s "$T/san/asan" ] || is_sanitized ||
		fail "worker: $(rss_of "$worker") KiB"
	is "$(cat <&3 | wc -c)" 299999000 'bytes'
	wait $bg
	exec 3<&-
	rm "$T/slow"
}
is_sanitized() { [[ $CUBE == */san/* ]]; }

test_a_hundred_at_once() {
	local i bad=0
	for ((i = 0; i < 100; i++)); do
		(seq "$i" 20000 | cube exec "${NODES[i % 2]}" -- cat | cmp -s - <(seq "$i" 20000)) || echo "$i" >>"$T/bad" &
	done
	wait
	[ ! -e "$T/bad" ] || bad=$(wc -l <"$T/bad")
	is "$bad" 0 'streams with wrong bytes'
}

test_a_cut_link_is_told() {
	local bg
	[ "$ON" != local ] || skip 'there is no link to cut'
	cube exec "$N" -- sh -c 'trap "" HUP; echo up; sleep 95.4; sleep 95.4' >"$T/o" 2>"$T/e" </dev/null &
	bg=$!
	soon grep -q up "$T/o"
	cut_links "$N"
	rc=0
	wait $bg || rc=$?
	is $rc 125
	grep -q "stream to $N broke" "$T/e" || fail "$(cat "$T/e")"
	nothing() { ! mine | grep -q 'sleep 95.4'; }
	soon nothing
	ready_again() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }
	soon ready_again
	[ "$ON" = openssh ] || return 0 # whose server can be stopped and started
	cut_links "$N"
	lab_stop "$N"
	away() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 1'; }
	soon away
	run cube exec "$N" -- true
	rc_is 125
	err_has "$N is [a-z-]+: "
	lab_sshd_start "$N"
	lab_sshd_ready "$N"
	soon cube exec "$N" -- true
}

# forward: what listens on node $1 is here, as all nodes are this machine
serve() { # a server that sends back what comes, one process a connection
	rm -f "$T/port"
	python3 -c '
import socket, socketserver
class Echo(socketserver.StreamRequestHandler):
	def handle(self):
		while data := self.rfile.read1(65536): self.wfile.write(data)
class Server(socketserver.ThreadingTCPServer):
	request_queue_size = 128
	daemon_threads = True
with Server(("127.0.0.1", 0), Echo) as s:
	silent = socket.socket()
	silent.bind(("127.0.0.1", 0)) # taken, and nobody listens
	print(s.server_address[1], silent.getsockname()[1], flush=True)
	s.serve_forever()' >"$T/port" &
	server=$!
	soon test -s "$T/port"
	read -r port closed <"$T/port"
}

test_forward() {
	local bg server port closed local_port refused
	[ "$ON" != dropbear ] || skip 'the worker there is the same, and so is this machine'
	command -v python3 >/dev/null || skip 'python3 is not installed'
	serve
	env --default-signal=INT cube forward "0:$M:$port" "127.0.0.1:0:$M:127.0.0.1:$closed" >"$T/fo" 2>"$T/fe" &
	bg=$!
	listening() { [ "$(wc -l <"$T/fo")" = 2 ]; }
	soon listening
	local_port=$(sed -nE "s/^127.0.0.1:([0-9]+) -> $M 127.0.0.1:$port\$/\\1/p" "$T/fo")
	refused=$(sed -nE "s/^127.0.0.1:([0-9]+) -> $M 127.0.0.1:$closed\$/\\1/p" "$T/fo")
	head -c 300000 /dev/urandom >"$T/bytes"
	python3 - "$local_port" "$T/bytes" <<-'PY' || fail 'not the bytes'
		import socket, sys, threading
		data = open(sys.argv[2], "rb").read()
		good = []
		def one():
		    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
		    threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
		    got = b""
		    while part := s.recv(65536): got += part
		    good.append(got == data)
		threads = [threading.Thread(target=one) for _ in range(50)]
		[t.start() for t in threads]
		[t.join() for t in threads]
		sys.exit(0 if good == [True] * 50 else f"{good.count(True)} of {len(good)} good")
	PY
	python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sys.exit(len(s.recv(10)))' "$refused" 2>"$T/pe" || grep -q ConnectionReset "$T/pe" || fail "$(cat "$T/pe")"
	soon grep -q "cube: $M: 127.0.0.1 port $closed: Connection refused" "$T/fe"
	kill -INT $bg
	rc=0
	wait $bg || rc=$?
	is $rc 130
	kill $server
	wait $server || true
	run cube forward 80:nowhere:80
	rc_is 1
	err_has 'no node nowhere'
	run cube forward nonsense
	rc_is 2
	err_has 'LOCALPORT:NODE'
}

# A manager that died is started again for the next connection, and the node waited for.
test_forward_without_a_manager() {
	local bg server port closed local_port
	[ "$ON" != dropbear ] || skip 'the worker there is the same, and so is this machine'
	command -v python3 >/dev/null || skip 'python3 is not installed'
	serve
	: >"$T/fo"
	env --default-signal=INT cube forward "0:$M:$port" >>"$T/fo" 2>"$T/fe" &
	bg=$!
	soon test -s "$T/fo"
	local_port=$(sed -nE "s/^127.0.0.1:([0-9]+) .*/\1/p" "$T/fo")
	echoes() { [ "$(within 15 python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"there and back")
s.shutdown(socket.SHUT_WR)
print(s.makefile().read())' "$local_port")" = 'there and back' ]; }
	echoes || fail "$(cat "$T/fe")"
	kill -9 "$(manager_pid)"
	echoes || fail "$(cat "$T/fe")"
	is "$(cat "$T/fe")" 'cube: the manager went away; it was started again'
	kill -INT $bg
	wait $bg || true
	# one that finds no manager at its start waits for the node as well
	kill -9 "$(manager_pid)"
	: >"$T/fo"
	env --default-signal=INT cube forward "0:$M:$port" >>"$T/fo" 2>"$T/fe" &
	bg=$!
	soon test -s "$T/fo"
	local_port=$(sed -nE "s/^127.0.0.1:([0-9]+) .*/\1/p" "$T/fo")
	echoes || fail "$(cat "$T/fe")"
	kill -INT $bg
	wait $bg || true
	kill $server
	wait $server || true
}

# PAINS 21: what a login shell's files set is there with --login, and only then.
test_login_environment() {
	local home
	[ "$ON" != dropbear ] || skip 'the chroot has no bash'
	home=$(home_of "$M")
	mkdir -p "$home/conda bin"
	printf '#!/bin/sh\necho "tool runs"\n' >"$home/conda bin/my-tool"
	chmod +x "$home/conda bin/my-tool"
	cat >"$home/.bash_profile" <<-'RC'
		echo "Welcome, and beware of the leopard"
		echo noise >&2
		export PATH="$HOME/conda bin:$PATH" CONDA='a
		b'
	RC
	run env SHELL=/bin/bash cube exec "$M" -- my-tool
	rc_is 127
	ok cube exec --login "$M" -- my-tool
	out_is 'tool runs\n'
	run cube run -w "$M" -- my-tool
	rc_is 127
	ok cube run -w "$M" --login -- my-tool
	out_is 'tool runs\n'
	ok cube env "$M"
	out_lacks 'conda'
	out_has "^CUBE_HOST=$M\$"
	out_lacks 'COOKIE'
	sort -c "$O" || fail 'not sorted'
	ok cube env --login "$M"
	out_has '^PATH=.*/conda bin:'
	out_has '^CONDA=a\\nb$'
	ok cube env --login -o json "$M"
	json_is '.CONDA | length' 3
	rm -rf "$home/conda bin" "$home/.bash_profile"
}

test_login_shell_that_fails() {
	local home
	[ "$ON" != dropbear ] || skip 'the chroot has no bash'
	home=$(home_of "$N")
	# the answer is kept for a worker's life: this node has not asked yet
	printf 'echo "quota exceeded" >&2\nexit 3\n' >"$home/.bash_profile"
	run cube exec --login "$N" -- true
	rc_is 125
	err_has 'login shell /bin/bash ended with 3.*: quota exceeded'
	run cube run -w "$N" --login -- true
	[ $rc -gt 0 ] || fail 'no error'
	printf 'export MENDED=1\n' >"$home/.bash_profile"
	ok cube exec --login "$N" -- sh -c 'echo "$MENDED"'
	out_is '1\n'
	rm "$home/.bash_profile"
}

main "$@"
