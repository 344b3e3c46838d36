# shellcheck shell=bash
# The database is taken back to an earlier state, as by a power cut or a copy that is put back: nothing meets its own past.
# on: local openssh
. "$(dirname "$0")/lib.sh"

D=$CUBE_STATE_DIR/default

setup() {
	hosts 1
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

db() { sqlite3 "$D/cube.db" "$1"; }
ready() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 1'; }
says() { cube logs "$1" | grep -q "$2"; }
is_state() { [ "$(db "SELECT state FROM task_view WHERE id = $1")" = "$2" ]; }
stop_manager() { # SIGNAL
	local pid
	pid=$(manager_pid)
	kill "-$1" "$pid"
	soon lab_pid_gone "$pid"
}
# The database as it is now, with what is committed but in the log only.
copy() { rm -rf "$T/copy" && mkdir "$T/copy" && cp "$D"/cube.db* "$T/copy/"; }
put_back() { rm -f "$D"/cube.db* && cp "$T/copy"/* "$D/"; }
# A line for each time it is run, and its output.
ran() { echo "echo x >>$T/ran.$1; echo begin; $2"; }
runs() { [ -e "$T/ran.$1" ] && wc -l <"$T/ran.$1" || echo 0; }

# A copy in which $1 tasks that block the node's slots run, and one waits: put into $WAITS.
waiting_copy() {
	local slots blocker
	slots=$(cube nodes -o json | jq '.nodes[0].slots')
	blocker=$(cube run -d -n $((slots * 6)) -- sh -c "while [ ! -e $T/go.$1 ]; do sleep 0.05; done" | tail -n 1)
	WAITS=$(cube run -d -- sh -c "$(ran "$1" "$2")")
	is_state "$WAITS" pending || fail 'it does not wait'
	copy
	touch "$T/go.$1"
	run within 60 cube wait "$blocker"
	rc_is 0
}

# In the copy the task waits; in the future that was lost it runs when the copy is put back.
test_a_task_that_runs_is_pending_in_the_copy() {
	local old
	waiting_copy one "while [ ! -e $T/end.one ]; do sleep 0.05; done; echo end"
	soon says "$WAITS" begin
	old=$(db "SELECT attempt || ' ' || epoch FROM tasks WHERE id = $WAITS")
	is "$(runs one)" 1 'runs'
	stop_manager TERM
	put_back
	ok cube nodes
	soon ready
	# The one of the lost future is stopped, not taken over; the task runs as another attempt.
	again() { [ "$(runs one)" = 2 ]; }
	soon again
	touch "$T/end.one"
	run within 60 cube wait "$WAITS"
	rc_is 0
	ok cube logs "$WAITS"
	out_is 'begin\nend\n'
	is "$(runs one)" 2 'runs'
	[ "$(db "SELECT attempt || ' ' || epoch FROM tasks WHERE id = $WAITS")" != "$old" ] || fail 'it ran twice as the same attempt'
	[ "${old#* }" != "$(db "SELECT epoch FROM tasks WHERE id = $WAITS")" ] || fail 'two lives of the database have one epoch'
	ok cube events -o jsonl
	out_has "found that this database never started .*task"
}

# In the lost future it has ended, and the worker has forgotten it.
test_a_task_that_ended_is_pending_in_the_copy() {
	local old
	waiting_copy two 'echo end'
	run within 60 cube wait "$WAITS"
	rc_is 0
	old=$(db "SELECT epoch FROM tasks WHERE id = $WAITS")
	stop_manager KILL
	put_back
	run within 60 cube wait "$WAITS"
	rc_is 0
	ok cube logs "$WAITS"
	out_is 'begin\nend\n'
	is "$(runs two)" 2 'runs'
	[ "$old" != "$(db "SELECT epoch FROM tasks WHERE id = $WAITS")" ] || fail 'it ran twice under one epoch'
}

# Further back: tasks of the lost future are not there at all. Their numbers are not given again.
test_a_new_task_gets_a_new_number() {
	local old new last
	stop_manager TERM
	copy
	old=$(cube run -d --name theirs -- sh -c "$(ran three "while :; do sleep 0.05; done")")
	soon says "$old" begin
	last=$(cube run -d -- sh -c :)
	stop_manager TERM
	put_back
	new=$(cube run -d --name mine -- sh -c 'echo MINE')
	[ "$new" -gt "$last" ] || fail "task $new after task $last"
	run within 60 cube wait "$new"
	rc_is 0
	ok cube logs "$new"
	out_is 'MINE\n'
	gone() { ! pgrep -f -- "$T/ran.three"; }
	soon gone
	run cube inspect "$old"
	[ $rc != 0 ] || fail "task $old of the lost future is known"
}

# The whole folder is put back, with the file that keeps numbers: the same number is given to another task, which is not
# taken for the one that the worker runs.
test_a_whole_folder_is_put_back() {
	local old new
	stop_manager TERM
	copy
	cp "$D/ids" "$T/copy.ids"
	old=$(cube run -d -- sh -c "$(ran four "while :; do sleep 0.05; done")")
	soon says "$old" begin
	stop_manager TERM
	put_back
	cp "$T/copy.ids" "$D/ids"
	new=$(cube run -d -- sh -c 'echo MINE; exit 5')
	run within 60 cube wait "$new"
	rc_is 5
	ok cube logs "$new"
	out_is 'MINE\n'
	gone() { ! pgrep -f -- "$T/ran.four"; }
	soon gone
	is "$(runs four)" 1 'runs'
}

# After a kill some numbers are left out, not many; after a clean end none.
test_numbers_go_on() {
	local a b c
	a=$(cube run -d -- sh -c :)
	stop_manager KILL
	b=$(cube run -d -- sh -c :)
	[ "$b" -gt "$a" ] || fail "task $b after task $a"
	[ "$b" -le $((a + 1 + 4096)) ] || fail "task $b after task $a: many are left out"
	stop_manager TERM
	c=$(cube run -d -- sh -c :)
	is "$c" $((b + 1)) 'the number after a clean end'
	run within 60 cube wait "$c"
	rc_is 0
}

main "$@"
