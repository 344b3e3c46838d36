# shellcheck shell=bash
# That a manager which runs can be reached: its socket and lock are removed, it is out of descriptors,
# or a thousand clients never get to the point.
# on: local
. "$(dirname "$0")/lib.sh"

setup() { hosts 1; }

sock() { echo "$CUBE_STATE_DIR/default/sock"; }


free_lock() { flock -n "$CUBE_STATE_DIR/default/lock" true; }
child_of() { pgrep -P "$1" >/dev/null; }


listens() { curl -sS --unix-socket "$(sock)" http://cube/healthz; }

test_the_socket_is_removed() {
	local pid
	ok cube spawn -w localhost
	pid=$(manager_pid)
	rm "$(sock)"
	ok cube nodes -q
	out_is 'localhost\n'
	is "$(manager_pid)" "$pid" 'the manager'
	mv "$(sock)" "$(sock).moved"
	ok cube run -- echo there
	is "$(manager_pid)" "$pid" 'the manager'
	rm "$(sock)" "$(sock).moved"
	ok cube info -o json
	json_is .pid "$pid"
	rm "$(sock)" "$CUBE_STATE_DIR/default/lock"
	soon listens
	ok cube nodes -q
	is "$(manager_pid)" "$pid" 'the manager'
	ok cube down --purge
}

# Somebody's file is not removed; it is said what is in the way.
test_another_file_in_the_sockets_place() {
	local pid
	ok cube spawn -w localhost
	pid=$(manager_pid)
	: >"$T/other"
	mv "$T/other" "$(sock)"
	ok cube info -o json
	json_is .pid "$pid"
	json_is .manager 'running, does not listen'
	rm "$(sock)"
	soon listens
	is "$(manager_pid)" "$pid" 'the manager'
	ok cube down --purge
}

test_replaced_without_a_socket() {
	local pid
	ok cube spawn -w localhost
	pid=$(manager_pid)
	kill -STOP "$pid"
	rm "$(sock)"
	cube nodes -q >"$T/nodes" 2>"$T/nodes.err" &
	local nodes=$!
	soon grep -q "waiting for the manager with pid $pid" "$T/nodes.err"
	cube manager --replace 2>"$T/replace.err" &
	local manager=$!
	wait $nodes || fail "$(cat "$T/nodes.err")"
	is "$(cat "$T/nodes")" localhost nodes
	is "$(manager_pid)" "$manager" 'the manager'
	ok cube down --purge
	kill $manager
	wait $manager
}

# Its place was taken while it started: the command does not fail for that.
test_stopped_while_it_starts() {
	local held nodes
	ok cube spawn -w localhost
	kill "$(manager_pid)"
	soon free_lock
	exec {held}>>"$CUBE_STATE_DIR/default/lock"
	flock "$held"
	cube nodes -q >"$T/nodes" 2>"$T/nodes.err" {held}>&- &
	nodes=$!
	soon child_of $nodes
	pkill -TERM -P $nodes
	exec {held}>&-
	wait $nodes || fail "$(cat "$T/nodes.err")"
	is "$(cat "$T/nodes")" localhost nodes
	ok cube down --purge
}

# ---- it is not deaf -----------------------------------------------------------------------------

# Out of descriptors; then half of them come back.
test_out_of_descriptors() {
	command -v python3 >/dev/null || skip 'python3 is not installed'
	local pid i
	(ulimit -n 64 && ok cube spawn -w localhost) || exit 1
	python3 -c 'import signal, socket, sys
held = []
for i in range(200):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(0.2)
    try: s.connect(sys.argv[1]); s.send(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    except OSError: break
    held.append(s)
print(len(held), flush=True)
signal.pause()' "$(sock)" >"$T/held" &
	pid=$!
	soon grep -q . "$T/held"
	for i in 1 2 3; do WITHIN=10 ok within 10 cube nodes -q && ok within 10 cube info -o json; done
	ok within 20 cube run -- echo still
	out_is 'still\n'
	kill -9 $pid
	ok cube down --purge
}

# A thousand that never get to the point: the one who does is served.
test_a_thousand_unfinished_heads() {
	command -v python3 >/dev/null || skip 'python3 is not installed'
	local pid
	ok cube spawn -w localhost
	python3 -c 'import resource, signal, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held = []
for i in range(1000):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.send(b"GET /healthz HT" if i % 2 else b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    held.append(s)
print(len(held), flush=True)
signal.pause()' "$(sock)" >"$T/held" &
	pid=$!
	soon grep -q 1000 "$T/held"
	ok within 10 cube info -o json
	ok within 10 cube run -- echo served
	out_is 'served\n'
	ok within 10 cube down --purge
	kill -9 $pid
}

main "$@"
