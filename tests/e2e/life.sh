# shellcheck shell=bash
# The manager's life: it ends when nobody needs it, whatever its clients left behind, and no command's
# end ends what another asked for.
# on: local openssh
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	FIRST=$([ "$ON" = local ] && echo localhost || echo h1)
}

sock() { echo "$CUBE_STATE_DIR/${1:-default}/sock"; }

# A client that connects to cluster $1's manager, sends $2, and stays, without reading, until it is
# killed; $3: it says no more ("half").
holds() {
	exec python3 -c 'import signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.send(sys.argv[2].encode().decode("unicode_escape").encode())
if sys.argv[3:]: s.shutdown(socket.SHUT_WR)
signal.pause()' "$(sock "$1")" "$2" ${3:+"$3"}
}

clients_of() { # CLUSTER: how many connections it serves
	awk -v path="$(sock "$1")" '$8 == path && $6 == "03"' /proc/net/unix | wc -l
}
has_client() { [ "$(clients_of "$1")" -gt "$2" ]; }

WAYS=(killed stopped closed unread half silent head body paused idle upload listing)
# A client of way $1 at cluster $2, whose task $3 writes without end.
leave_client() {
	local way=$1 c=$2 id=$3 before pid
	before=$(clients_of "$c")
	case $way in
	killed) cube logs -f "$id" >"$T/null" & ;;
	stopped) cube events -f >"$T/null" & ;;
	closed) cube logs -f "$id" & ;;
	unread) holds "$c" "GET /v1/tasks/$id/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n" & ;;
	half) holds "$c" "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n" half & ;;
	silent) holds "$c" "" & ;;
	head) holds "$c" "GET /healthz HT" & ;;
	body) holds "$c" "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{" & ;;
	paused) cube exec localhost -- yes >"$T/null" & ;;
	idle) holds "$c" "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" & ;;
	upload) holds "$c" "POST /v1/nodes/localhost/streams HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: cube-stream/1\r\nContent-Length: 0\r\n\r\n" & ;;
	listing) holds "$c" "GET /v1/tasks/$id/logs?stream=stdout HTTP/1.1\r\nHost: x\r\n\r\n" & ;;
	esac >/dev/null 2>&1
	pid=$!
	clients+=("$pid")
	soon has_client "$c" "$before"
	case $way in
	killed | closed) kill -9 $pid ;;
	stopped | paused) kill -STOP $pid ;;
	esac
}

gone() { flock -n "$CUBE_STATE_DIR/$1/lock" true; }

# CUBE_LIFE_MANAGERS=50 is the bar: none of 50 lives 10 s after its `down`.
test_no_manager_outlives_down() {
	command -v python3 >/dev/null || skip 'python3 is not installed'
	local n=${CUBE_LIFE_MANAGERS:-${#WAYS[@]}} i id clients=() alive=''
	for ((i = 0; i < n; i++)); do
		export CUBE_CLUSTER=c$i
		ok cube spawn -w localhost
		id=$(cube run -d -- sh -c 'seq 1 100000; while :; do echo more; sleep 0.1; done')
		leave_client "${WAYS[i % ${#WAYS[@]}]}" "c$i" "$id"
	done
	for ((i = 0; i < n; i++)); do CUBE_CLUSTER=c$i ok cube down --purge; done
	unset CUBE_CLUSTER
	for ((i = 0; i < n; i++)); do
		(WITHIN=10 && soon gone "c$i") 2>/dev/null || alive+=" ${WAYS[i % ${#WAYS[@]}]}"
	done
	for i in "${clients[@]}"; do
		kill -9 "$i" 2>/dev/null || true
		kill -CONT "$i" 2>/dev/null || true
	done
	is "$alive" '' "managers alive, of $n"
}

# Who follows gets an end and not a broken stream, and the exit code says so.
test_followers_get_their_end() {
	ok cube spawn -w localhost
	cube events -f >"$T/followed" 2>"$T/followed.err" &
	local events=$!
	soon grep -q ready "$T/followed"
	ok cube down --purge
	wait $events || fail "$? $(cat "$T/followed.err")"
	grep -q gone "$T/followed" || fail 'its last event is missing'
	grep -q 'the manager ended' "$T/followed.err" || fail 'it does not say why it ends'
}

# 40 KiB ten times a second; curl's --limit-rate may rest for seconds at a time.
reads_slowly() {
	exec python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.send(b"GET %s HTTP/1.0\r\n\r\n" % sys.argv[2].encode())
while True:
    piece = s.recv(40 << 10)
    if not piece: break
    sys.stdout.buffer.write(piece)
    time.sleep(0.1)' "$(sock)" "$1"
}

# A client that reads goes on to the end, if slowly.
test_a_reader_keeps_its_manager() {
	command -v python3 >/dev/null || skip 'python3 is not installed'
	local id
	ok cube spawn -w localhost
	id=$(cube run -d -- sh -c 'seq 1 400000')
	ok cube wait "$id"
	reads_slowly "/v1/tasks/$id/logs?stream=stdout" >"$T/read" &
	local reader=$!
	ok cube down --purge
	wait $reader || fail "cut off: $?"
	grep -qx 400000 "$T/read" || fail 'the last line is missing'
}

# ---- one command's end is not another's ---------------------------------------------------------

test_twenty_one_shots_at_once() {
	local i pids=()
	for ((i = 0; i < 20; i++)); do
		cube spawn -w "$FIRST" --purge -- sh -c "sleep 0.$((i * 7 % 10)); echo did $i" >"$T/o.$i" 2>"$T/e.$i" &
		pids+=($!)
	done
	for ((i = 0; i < 20; i++)); do
		wait "${pids[i]}" || { shown "$T/e.$i" && fail "$i ended with $?"; }
		is "$(cat "$T/o.$i")" "did $i" "output of $i"
	done
	ok cube nodes -q
	out_is ''
}

# Joined to stay: before, or while the one-shot runs; and a task of somebody's.
test_one_shots_leave_what_is_not_theirs() {
	local shot id
	ok cube spawn -w "$FIRST"
	ok cube spawn -w "$FIRST" -- true
	ok cube nodes -q
	out_is "$FIRST\n"
	ok cube down --purge

	cube spawn -w "$FIRST" -- sh -c 'until [ -e "$0" ]; do sleep 0.05; done' "$T/go" 2>"$T/shot" &
	shot=$!
	soon cube run -w "$FIRST" -- true
	ok cube spawn -w "$FIRST"
	touch "$T/go"
	wait $shot || fail "$(cat "$T/shot")"
	ok cube nodes -q
	out_is "$FIRST\n"
	ok cube down --purge
	rm "$T/go"

	cube spawn -w "$FIRST" -- sh -c 'until [ -e "$0" ]; do sleep 0.05; done' "$T/go" 2>"$T/shot" &
	shot=$!
	soon cube run -w "$FIRST" -- true
	id=$(cube run -d -w "$FIRST" -- sh -c 'until [ -e "$0" ]; do sleep 0.05; done; echo lived' "$T/later")
	touch "$T/go"
	wait $shot || fail "$(cat "$T/shot")"
	grep -q 'not taken down, others use it still' "$T/shot" || fail "$(cat "$T/shot")"
	touch "$T/later"
	ok cube wait "$id"
	ok cube down --purge
}

# A client that was killed keeps nobody from taking down what is theirs.
test_a_killed_one_shot_is_no_user() {
	local shot
	cube spawn -w "$FIRST" -- sleep 1000 2>"$T/shot" &
	shot=$!
	soon cube run -w "$FIRST" -- true
	kill -9 $shot
	wait $shot || true
	ok cube spawn -w "$FIRST" -- true
	ok cube nodes -q
	out_is "$FIRST\n"
	ok cube down --purge
}

# Manager of one cluster, workers of two in one folder: the other's go on.
test_two_clusters_on_one_host() {
	ok cube spawn --cluster=a -w "$FIRST"
	ok cube spawn --cluster=b -w "$FIRST"
	ok cube down --cluster=a --purge
	ok cube run --cluster=b -- echo on
	out_is 'on\n'
	ok cube spawn --cluster=a -w "$FIRST" --purge -- true
	ok cube run --cluster=b -- echo on
	out_is 'on\n'
	ok cube down --cluster=b --purge
}

main "$@"
