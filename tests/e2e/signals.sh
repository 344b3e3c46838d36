# shellcheck shell=bash
# Ctrl-C, terminals, and clients that die.
# on: local openssh dropbear
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

# Starts cube with SIGINT as on a terminal (bash starts background jobs with it ignored).
start() {
	: >"$T/bg.out" # at once: the shell in the background may take its time, and old words are there
	env --default-signal=INT cube "$@" >"$T/bg.out" 2>"$T/bg.err" </dev/null &
	bg=$!
}
ended() { # waits; the exit code is in $rc
	rc=0
	wait $bg || rc=$?
	ran='the command in the background'
	cp "$T/bg.out" "$O" && cp "$T/bg.err" "$E"
}
all_printed() { [ "$(grep -c "$1" "$T/bg.out")" = "$2" ]; }

test_ctrl_c_interrupts_the_task() {
	start run -- sh -c 'trap "echo caught; exit 7" INT; echo begin; while :; do sleep 0.02; done'
	soon grep -q begin "$T/bg.out"
	kill -INT $bg
	ended
	rc_is 7
	out_is 'begin\ncaught\n'
}

test_ctrl_c_kills_a_plain_task() {
	start run -- sh -c 'echo begin; exec sleep 1000'
	soon grep -q begin "$T/bg.out"
	kill -INT $bg
	ended
	rc_is 130
}

test_ctrl_c_reaches_all_hosts() {
	start run --all -- sh -c 'trap "echo caught; exit 1" INT; echo begin; while :; do sleep 0.02; done'
	soon all_printed begin 3
	kill -INT $bg
	ended
	rc_is 3
	is "$(grep -c caught "$O")" 3 'hosts interrupted'
}

test_ctrl_c_twice_leaves() {
	start run --name stubborn -- sh -c 'trap "echo no" INT; echo begin; while :; do sleep 0.02; done'
	soon grep -q begin "$T/bg.out"
	kill -INT $bg
	soon grep -q no "$T/bg.out"
	kill -INT $bg
	ended
	rc_is 130
	err_has 'cube logs -f'
	local id
	id=$(cube ps -o json | jq '.tasks[] | select(.name == "stubborn") | .id')
	[ "$id" ] || fail 'the task does not run on'
	ok cube stop --grace 0.1s "$id"
	run cube wait "$id"
}

test_sigterm_of_the_client_leaves_the_task() {
	start run --name left -- sh -c 'echo begin; exec sleep 1000'
	soon grep -q begin "$T/bg.out"
	kill -KILL $bg
	ended
	ok cube ps -o json
	json_is '.tasks[] | select(.name == "left") | .state' running
	ok cube stop --grace 0.1s "$(jq '.tasks[] | select(.name == "left") | .id' "$O")"
}

test_reader_that_goes_away() {
	run within 20 bash -c 'cube run -- sh -c "while :; do echo y; done" | head -n 1'
	rc_is 0
	out_is 'y\n'
	local id
	for id in $(cube ps -o json | jq '.tasks[].id'); do cube stop --grace 0.1s "$id"; done
}

test_live_lines_on_a_terminal() {
	ok cube down --purge
	unset NO_COLOR
	TERM=xterm run script -qec "cube spawn --workers='$W'" /dev/null
	rc_is 0
	out_has ready
	out_has $'\x1b|\r'
	for n in "${NODES[@]}"; do out_has "$n"; done
	# On a terminal a task's control bytes still arrive as they are.
	TERM=xterm run script -qec "cube run -- sh -c 'printf \"x\\033[31my\\n\"'" /dev/null
	rc_is 0
	out_has $'x\x1b\\[31my'
}

# Of a terminal that nobody described nothing is known but that it prints.
test_dumb_terminal() {
	ok cube down
	run env -u TERM script -qec "cube spawn --workers='$W'; cube top" /dev/null
	rc_is 0
	out_has '3 ready'
	out_lacks $'\x1b'
}

# With the cursor on the last character of a line, clearing what is behind it takes that character.
test_narrow_terminal() {
	ok cube spawn --workers="$W"
	TERM=xterm COLUMNS=40 LINES=12 run script -qec 'cube top' /dev/null < <(echo q)
	rc_is 0
	out_has $'…\r+$'
	out_lacks $'…\x1b\\[K'
	TERM=xterm COLUMNS=40 run script -qec 'cube events' /dev/null
	rc_is 0
	is "$(tr -d '\r' <"$O" | awk 'length > 40' | head -n 3)" '' 'lines that are too long'
}

test_killed_one_shot_is_removable() {
	ok cube down --purge
	start spawn --workers="$W" -- sh -c 'echo begin; exec sleep 1000'
	soon all_printed begin 3
	kill -KILL $bg
	ended
	is "$(mine | grep -c 'sleep 1000')" 3 'tasks go on'
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready")] | length' 3
	ok cube down --purge
	is "$(mine | grep -c 'sleep 1000')" 0 'tasks after down'
	files_left || fail 'files after down --purge'
}

test_interrupted_one_shot_tears_down() {
	start spawn --workers="$W" --purge -- sh -c 'echo begin; exec sleep 1000'
	soon all_printed begin 3
	kill -INT $bg
	ended
	[ $rc != 0 ] || fail 'interrupted tasks are no success'
	is "$(mine | grep -c 'sleep 1000')" 0 'tasks'
	files_left || fail 'files are left'
}

main "$@"
