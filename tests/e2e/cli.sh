# shellcheck shell=bash
# The command line itself: listings in every format, help, errors, logs, events, top, stop, wait.
# on: local openssh
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
	cube run --name listed -- sh -c 'echo one; echo two; echo three; echo bad >&2' >/dev/null 2>&1
	cube run -n 2 -- sh -c 'exit 3' >/dev/null 2>&1
}

test_version() {
	ok cube version
	out_has '[0-9]+\.[0-9]+\.[0-9]+'
	ok cube --version
	ok cube version -o json
	# as git said when it was built; a tarball's build says none
	json_is '.commit // "none" | test("^([0-9a-f]{12}(-dirty)?|none|[0-9a-zA-Z.-]+-g[0-9a-f]{12}(-dirty)?)$")' true
	json_is 'has("built")' false
}

test_help_of_everything() {
	ok cube --help
	ok cube help
	local c
	for c in spawn run ps nodes logs stop wait inspect events top down manager worker version; do
		out_has "^ +$c\b"
	done
	for c in spawn run ps nodes logs stop wait inspect events top down manager worker version; do
		run cube $c --help
		rc_is 0
		out_has "[Uu]sage: cube $c"
		run cube help $c
		rc_is 0
	done
}

test_unknown_words_name_the_nearest() {
	run cube spwan
	rc_is 2
	err_has spawn
	run cube spawn --worker=h1
	rc_is 2
	err_has -- --workers
	run cube run --al -- sh -c :
	rc_is 2
	err_has -- --all
	run cube nodes -o jsn
	rc_is 2
	err_has json
	run cube attach 1
	rc_is 2
	err_has 'did you mean .cube logs -f.'
	run cube -o json nodes
	rc_is 2
	err_has 'after the command'
	run cube run -w "${NODES[0]}" -x "${NODES[0]}" -- true
	rc_is 2
	err_has 'no node is left after --limit and --exclude'
	run cube ps -z
	rc_is 2
	err_has 'unknown option -z \('
	ok cube -V
}

test_listings_are_valid() {
	local what
	for what in ps 'ps -a' nodes events; do
		# shellcheck disable=SC2086
		ok cube $what -o json
		jq -e . "$O" >/dev/null || fail "$what -o json is no JSON"
		# shellcheck disable=SC2086
		ok cube $what -o jsonl
		jq -es 'all(type == "object")' "$O" >/dev/null || fail "$what -o jsonl"
		# shellcheck disable=SC2086
		ok cube $what -o wide
	done
	for what in 'ps -a' nodes; do
		# shellcheck disable=SC2086
		ok cube $what -o csv
		is "$(awk -F, '{ print NF }' "$O" | sort -u | wc -l)" 1 "columns of $what -o csv"
		[ "$(wc -l <"$O")" -gt 1 ] || fail "$what -o csv has no rows"
	done
}

test_ps_lists_tasks() {
	ok cube ps -a -o json
	json_is '[.tasks[] | select(.name == "listed")] | length' 1
	json_is '.tasks[] | select(.name == "listed") | .state' completed
	json_is '[.tasks[] | select(.exit_code == 3) | .state] | unique | join(" ")' failed
	json_is '.tasks[] | select(.name == "listed") | .usage.wall >= 0 and .usage.max_rss > 0' true
	ok cube ps -a
	out_has 'ID.*STATE.*COMMAND'
	out_has 'sh -c'
}

listed() { cube ps -a -o json | jq '.tasks[] | select(.name == "listed") | .id'; }

test_logs() {
	local id
	id=$(listed)
	ok cube logs "$id"
	out_is 'one\ntwo\nthree\n'
	err_has '^bad$'
	ok cube logs -n 2 "$id"
	is "$(cat "$O" "$E" | wc -l)" 2 'lines of both streams'
	out_has three
	ok cube logs -t "$id"
	out_has '^20[0-9]{2}-[0-9-]+T[0-9:.]+Z? one$'
	run cube logs 99999
	[ $rc != 0 ] || fail 'logs of a task that is not there'
	err_has 99999
}

test_logs_follow_to_the_end() {
	local id
	mkfifo gate 2>/dev/null || true
	ok cube run -d -w "${NODES[0]}" -- sh -c 'echo begin; while [ ! -e '"$T"'/go ]; do sleep 0.02; done; echo end'
	id=$(cat "$O")
	cube logs -f "$id" >followed 2>&1 &
	local follower=$!
	soon grep -q begin followed
	touch "$T/go"
	wait $follower || fail "logs -f ended with $?"
	is "$(tr '\n' ' ' <followed)" 'begin end ' 'what was followed'
}

test_inspect() {
	local id
	id=$(listed)
	ok cube inspect "$id"
	ok cube inspect "$id"
	jq -e . "$O" >/dev/null || fail 'no JSON'
	out_has listed
	run cube inspect 99999
	[ $rc != 0 ] || fail 'inspected what is not there'
}

test_events() {
	ok cube events -o jsonl
	is "$(jq -r 'select(.kind == "node" and .new == "ready") | .node' "$O" | sort | tr '\n' ' ')" "${NODES[*]} " 'nodes that got ready'
	is "$(jq -r .seq "$O" | sort -nc 2>&1)" '' 'order'
}

test_events_follow() {
	cube events -f -o jsonl >events.out 2>&1 &
	local follower=$!
	soon test -s events.out
	ok cube run --name seen-by-events -- sh -c :
	local id
	id=$(cube ps -a -o json | jq '.tasks[] | select(.name == "seen-by-events") | .id')
	task_events() { jq -r "select(.task == $id) | .new" events.out 2>/dev/null | tr '\n' ' ' | grep -qx 'pending scheduled running completed '; }
	(WITHIN=5 soon task_events) || { jq -c "select(.task == $id)" events.out >&2; kill $follower; fail 'not every state was told'; }
	kill $follower
	wait $follower || true
}

test_top_snapshot() {
	# Two samples are needed for rates.
	ready() { cube nodes -o json | jq -e '[.nodes[].metrics.cpu | numbers] | length == 3'; }
	soon ready
	ok cube top
	for n in "${NODES[@]}"; do out_has "$n"; done
	ok cube nodes -o wide
	out_has 'CPU|MEM'
}

# What is not there is said by its kind, by every command that takes a number.
test_no_such_number() {
	local command
	for command in stop wait logs inspect; do
		run cube $command job:99999
		[ $rc != 0 ] || fail "$command found a job"
		err_is 'cube: error: there is no job 99999; `cube ps -a` lists them\n'
		run cube $command 99999
		[ $rc != 0 ] || fail "$command found a task"
		err_is 'cube: error: there is no task 99999; `cube ps -a` lists them\n'
	done
}

test_stop() {
	local id begin
	ok cube run -d -- sleep 1000
	id=$(cat "$O")
	begin=$SECONDS
	ok cube stop "$id"
	run cube wait "$id"
	took_at_most 3
	ok cube inspect "$id"
	json_is '.how // .tasks[0].how' stopped
	run cube stop 99999
	[ $rc != 0 ] || fail 'stopped what is not there'
	err_has 99999
}

test_stop_kills_what_forked_away() {
	local id
	ok cube run -d -- sh -c 'setsid sleep 4321 & exec sleep 4321'
	id=$(cat "$O")
	soon sleepers
	ok cube stop --grace 0.2s "$id"
	run cube wait "$id"
	no_sleepers() { ! sleepers; }
	soon no_sleepers
}
sleepers() { mine | grep -q 'sleep 4321'; }

test_wait_for_several() {
	local a b
	a=$(cube run -d -- sh -c :)
	b=$(cube run -d -- sh -c 'exit 1')
	run cube wait "$a" "$b"
	rc_is 1
}

# More tasks than fit one page of an answer.
test_ps_lists_each_task_once() {
	ok cube run -n 2300 --name many -- sh -c :
	cube ps -a -q --name many | sort -u | wc -l >"$T/once"
	cube ps -a -q --name many | wc -l >"$T/all"
	is "$(cat "$T/once") $(cat "$T/all")" '2300 2300' 'tasks listed'
	is "$(cube ps -n 3 -q | wc -l)" 3 'newest tasks'
}

test_names_that_are_no_node() {
	run cube nodes nosuch "${NODES[0]}"
	rc_is 1
	out_has "${NODES[0]}"
	err_has 'nosuch: no such node'
	run cube inspect job:999999
	rc_is 1
}

test_words_too_many() {
	local c
	for c in ps top events info version worker; do
		run cube $c word
		rc_is 2
		err_has "'word' is not expected"
	done
	run cube stop 1 word
	rc_is 2
}

# A standard descriptor that came closed is not taken by something of ours.
test_closed_descriptors() {
	run bash -c 'cube run -- echo hi >&-'
	rc_is 125
	run bash -c 'cube nodes >&-'
	rc_is 1
	run within 20 bash -c 'cube run -i -- cat <&-'
	rc_is 0
	[ ! -w /dev/full ] || {
		run bash -c 'cube run -- echo hi >/dev/full'
		rc_is 125
		err_has 'No space left'
	}
}

test_reader_that_leaves_stops_the_task() {
	run bash -c 'cube run --name endless -- yes | head -n 1; exit ${PIPESTATUS[0]}'
	rc_is 141
	out_lines 1
	none_left() { [ ! "$(cube ps -q --name endless)" ]; }
	soon none_left
}

test_no_manager() {
	CUBE_STATE_DIR=$T/none run cube run -- sh -c :
	rc_is 125
	err_has 'spawn'
	CUBE_STATE_DIR=$T/none run cube ps
	[ ! -e "$T/none/sock" ] || fail 'a listing started a manager'
	CUBE_STATE_DIR=$T/none ok cube down --purge
}

# What was asked for and is not so is said, also where a command is run.
test_node_there_already() {
	ok cube spawn -w "${NODES[0]}" --slots 7 -- echo ran
	out_is 'ran\n'
	err_is "${NODES[0]} ready already; not changed: slots (\`cube down ${NODES[0]}\` first)\n"
	ok cube spawn -w "${NODES[0]}"
	err_is "${NODES[0]} ready already\n1 ready\n"
}

# One in its last moments holds its lock still, and answers no more.
test_a_manager_that_is_about_to_end() {
	local CUBE_STATE_DIR=$T/ending
	mkfifo "$T/end"
	ok cube spawn -w localhost --purge -- true
	curl -s --unix-socket "$T/ending/default/sock" -X POST http://cube/v1/shutdown -o "$T/null" || true
	flock "$T/ending/default/lock" sh -c ': >"$0.held"; read -r _ <"$0"' "$T/end" &
	soon test -e "$T/end.held"
	cube spawn -w localhost --purge -- echo late >"$O" 2>"$E" &
	soon waits_for_the_lock
	echo >"$T/end"
	wait $! || { shown "$E" && fail 'it did not wait'; }
	out_is 'late\n'
	ok curl -s --unix-socket "$T/ending/default/sock" -X POST http://cube/v1/shutdown
}
waits_for_the_lock() {
	mine | grep -q 'manager --cluster default --daemon' && ! curl -s --unix-socket "$T/ending/default/sock" http://cube/healthz
}

# A login session has a runtime folder; cron and su have none, and at logout it is removed.
test_one_manager_whichever_shell() {
	local home="$T/home of another" pid
	mkdir -m 700 "$home" "$T/runtime"
	elsewhere() { env -u CUBE_STATE_DIR -u CUBE_SSH_CONFIG HOME="$home" "$@"; }
	in_session() { elsewhere XDG_RUNTIME_DIR="$T/runtime" "$@"; }
	ok in_session cube spawn -w localhost
	ok in_session cube info -o json
	pid=$(jq .pid "$O")
	ok elsewhere cube info -o json
	json_is .pid "$pid"
	ok elsewhere cube run -- echo from cron
	out_is 'from cron\n'
	rm -r "$T/runtime"
	ok in_session cube nodes -q
	out_is 'localhost\n'
	ok elsewhere cube down --purge
	ok elsewhere cube info -o json
	ok curl -sS --unix-socket "$(jq -r .socket "$O")" -X POST http://cube/v1/shutdown
}

main "$@"
