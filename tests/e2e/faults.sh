# shellcheck shell=bash
# What goes wrong between manager and worker: dead managers, workers and links lose nothing.
# on: local openssh dropbear
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

# 300 lines in about three seconds, the end on request.
COUNTING='i=0; while [ $i -lt 300 ]; do echo "line $i"; i=$((i+1)); [ $((i % 10)) != 0 ] || sleep 0.1; done'
counted() { for ((i = 0; i < 300; i++)); do echo "line $i"; done; }
has_begun() { cube logs "$1" | grep -q 'line 50'; }
ready_again() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }

test_killed_manager_loses_nothing() {
	local id pid
	id=$(cube run -d -- sh -c "$COUNTING")
	soon has_begun "$id"
	pid=$(manager_pid)
	kill -9 "$pid"
	soon lab_pid_gone "$pid"
	run within 60 cube logs -f "$id"
	rc_is 0
	counted | cmp - "$O" || fail 'output differs'
	ok cube wait "$id"
	soon ready_again
	ok cube run --all -N -- sh -c 'echo fine'
	out_lines 2
}

# Who is attached stays so: nothing is lost, nothing comes twice.
test_attached_run_survives_the_manager() {
	local bg pid
	cube run --name attached -- sh -c "$COUNTING; exit 9" >"$T/attached" 2>"$T/attached.err" &
	bg=$!
	printed() { grep -q 'line 50' "$T/attached"; }
	soon printed
	pid=$(manager_pid)
	kill -9 "$pid"
	rc=0
	wait $bg || rc=$?
	is $rc 9 'exit code'
	counted | cmp - "$T/attached" || fail 'output differs'
	grep -q 'started again' "$T/attached.err" || fail 'not told'
}

test_task_ends_while_the_manager_is_dead() {
	local id pid
	id=$(cube run -d -- sh -c "echo begin; sleep 0.5; head -c 3000000 /dev/zero | tr '\\0' z; echo; exit 6")
	begun() { cube logs "$id" | grep -q begin; }
	soon begun
	pid=$(manager_pid)
	kill -9 "$pid"
	# The task's shell is gone when it has ended; nobody is there to hear of it.
	no_task() { ! mine | grep -q 'sleep 0.5; head'; }
	soon no_task
	run within 60 cube wait "$id"
	rc_is 6
	cube logs "$id" | wc -c >"$T/size"
	is "$(cat "$T/size")" 3000007 'bytes of output'
}

test_killed_worker_is_told() {
	local id daemon begin=$SECONDS
	id=$(cube run -d -w "${NODES[0]}" -- sh -c 'echo begin; exec sleep 1000')
	begun() { cube logs "$id" | grep -q begin; }
	soon begun
	daemon=$(worker_of_task)
	kill -9 "$daemon" || fail 'no worker found'
	run within 60 cube wait "$id"
	case $rc in 0 | 124) fail "exit code $rc" ;; esac
	took_at_most 13
	ok cube inspect "$id"
	json_is '(.how // .tasks[0].how)' lost
	soon ready_again
	none() { ! mine | grep -q 'sleep 1000'; }
	soon none
	ok cube run -w "${NODES[0]}" -- sh -c 'echo again'
	out_is 'again\n'
}
# The daemon is the parent of the task's process.
worker_of_task() {
	local pid
	pid=$(mine | awk '/sleep 1000$|sleep 1000 $/ { print $1; exit }')
	awk '{ print $4 }' "/proc/$pid/stat"
}

test_cut_link_loses_nothing() {
	[ "$ON" != local ] || skip 'no link to cut'
	local id
	id=$(cube run -d -w "${NODES[0]}" -- sh -c "$COUNTING")
	soon has_begun "$id"
	cut_links "${NODES[0]}"
	run within 60 cube logs -f "$id"
	rc_is 0
	counted | cmp - "$O" || fail 'output differs'
	ok cube wait "$id"
	soon ready_again
}

test_host_that_is_away_for_a_while() {
	[ "$ON" = openssh ] || skip 'for sshd that can be stopped and started'
	local id h=${NODES[1]}
	id=$(cube run -d -w "$h" -- sh -c "$COUNTING")
	soon has_begun "$id"
	cut_links "$h"
	lab_stop "$h"
	lost() { cube nodes -o json | jq -e ".nodes[] | select(.name == \"$h\") | .state == \"lost\""; }
	soon lost
	cube ps -o wide >ps.out
	grep -q unknown ps.out || { cat ps.out >&2; fail 'a task of a lost node is not shown as unknown'; }
	lab_sshd_start "$h"
	lab_sshd_ready "$h"
	run within 60 cube wait "$id"
	rc_is 0
	cube logs "$id" | cmp - <(counted) || fail 'output differs'
}

lost_is() { cube nodes -o json | jq -e ".nodes[] | select(.name == \"$1\") | .state == \"lost\""; }

# Ctrl-C, when one of the hosts is away: it is said, and done when it is back.
test_interrupt_of_a_lost_host() {
	[ "$ON" = openssh ] || skip 'for sshd that can be stopped and started'
	local bg h=${NODES[1]}
	env --default-signal=INT cube run -w "${NODES[0]},$h" -- sh -c 'trap "echo caught; exit 7" INT; echo begin
		while :; do sleep 0.02; done' >"$T/bg.out" 2>"$T/bg.err" </dev/null &
	bg=$!
	two() { [ "$(grep -c "$1" "$T/bg.out")" = 2 ]; }
	soon two begin
	cut_links "$h"
	lab_stop "$h"
	soon lost_is "$h"
	kill -INT $bg
	soon grep -q 'to 1 of 2 tasks only when their nodes are back' "$T/bg.err"
	lab_sshd_start "$h"
	lab_sshd_ready "$h"
	rc=0
	wait $bg || rc=$?
	is $rc 2 'exit code'
	two caught || { shown "$T/bg.out" && fail 'not both were interrupted'; }
	soon ready_again
}

# A cleaner of old files on the host, and then one dropped link.
test_files_of_a_worker_removed() {
	[ "$ON" = openssh ] || skip 'no link to cut, or no home to look into'
	local id h=${NODES[0]} base how i=0
	base=$(home_of "$h")/.cache/cube
	# Each cut makes the next pause longer; unit/worker_life has all the ways.
	for how in 'rm run/*/sock' 'rm -rf ../cube'; do
		for ((i = 0; i < 2; i++)); do
			id=$(cube run -d -w "$h" -- sh -c 'echo begin; exec sleep 1000')
			begun() { cube logs "$id" | grep -q begin; }
			soon begun
			[ $i = 0 ] || cut_links "$h"
			(cd "$base" && eval "$how") || fail "$how"
			[ $i = 1 ] || cut_links "$h"
			soon ready_again
			ok cube spawn -w "$h" -F "$LAB_CONFIG"
			ok cube run -w "$h" -- echo more
			ok cube inspect "$id"
			json_is '(.state // .tasks[0].state)' running
			ok cube stop "$id"
			ok cube logs "$id"
			out_is 'begin\n'
		done
	done
	ok cube down --purge "$h"
	[ ! -e "$base" ] || { find "$base" >&2; fail 'something is left'; }
	ok cube spawn -w "$h" -F "$LAB_CONFIG"
}

test_stopped_manager_goes_on() {
	local id pid
	id=$(cube run -d -- sh -c "$COUNTING")
	soon has_begun "$id"
	pid=$(manager_pid)
	kill -TERM "$pid"
	soon lab_pid_gone "$pid"
	run within 60 cube logs -f "$id"
	rc_is 0
	counted | cmp - "$O" || fail 'output differs'
}

main "$@"
