# shellcheck shell=bash
# A cube of before ($BEFORE, whose worker and database know of no epochs), met by this one: everything that its worker runs
# is listed, followed, stopped and ended, and the worker is replaced when it has nothing to do.
# on: local openssh
. "$(dirname "$0")/lib.sh"

BEFORE=fecf6b9
OLD=$ROOT/build/before/$BEFORE/build/cube

# Builds it once, quickly and for this machine only; says why where that cannot be.
build_before() {
	mkdir -p "$ROOT/build/before"
	(
		flock 9
		[ ! -x "$OLD" ] || exit 0
		git -C "$ROOT" cat-file -e "$BEFORE^{commit}" 2>/dev/null || { echo "no commit $BEFORE in the history here" && exit 1; }
		rm -rf "$ROOT/build/before/$BEFORE"
		mkdir "$ROOT/build/before/$BEFORE"
		git -C "$ROOT" archive "$BEFORE" | tar -x -C "$ROOT/build/before/$BEFORE" || exit 1
		make -s -C "$ROOT/build/before/$BEFORE" OPT=-O0 WARCHES="$(uname -m)" >"$ROOT/build/before/log" 2>&1 ||
			{ echo "commit $BEFORE does not build: $ROOT/build/before/log" && exit 1; }
	) 9>"$ROOT/build/before/lock"
}

setup() {
	WHY=$(PATH=${PATH#"$(dirname "$CUBE"):"} build_before) || { echo "$WHY" >"$T/why" && return; }
	hosts 2
	run "$OLD" spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

build_of() { api GET /v1/info | jq -r .version; }
db() { sqlite3 "$CUBE_STATE_DIR/default/cube.db" "$1"; }

# Lines until somebody makes the file $1, as one of the name $2 may be told.
lines() { echo "i=0; while [ ! -e $T/$1 ]; do echo $2 \$i; i=\$((i+1)); sleep 0.05; done; echo $2 over; exit ${3:-0}"; }
says() { cube logs "$1" | grep -q "$2"; }
state_is() { [ "$(cube inspect "$1" | jq -r .state)" = "$2" ]; }
ready() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }
# Processes of this script with words in their command line; `mine` looks at all there are.
named() { pgrep -af -- "$1" | grep -F "$T/"; }
# What the daemons run, who hold their folder's lock (who attaches to them may be of another build): a file's name is its hash.
workers() {
	local pid words
	named '/bin/[0-9a-f]{64} ' | while read -r pid words; do
		find "/proc/$pid/fd" -lname '*/lock' 2>/dev/null | grep -q . || continue
		grep -oE '/bin/[0-9a-f]{64}' <<<"$words" | head -n 1
	done | sort -u
}

test_a_worker_of_before_is_met() {
	[ ! -s "$T/why" ] || skip "$(cat "$T/why")"
	local long ends stopped pending old_worker first slots
	long=$("$OLD" run -d -w "${NODES[0]}" -- sh -c "$(lines end-long long 3)")
	ends=$("$OLD" run -d -w "${NODES[0]}" -- sh -c "$(lines end-away away 4)")
	stopped=$("$OLD" run -d -w "${NODES[1]}" -- sh -c "$(lines end-never stopped)")
	soon says "$long" 'long 3'
	soon says "$ends" 'away 3'
	soon says "$stopped" 'stopped 3'
	# The last of them finds no slot: it waits in the database.
	slots=$(cube nodes -o json | jq '.nodes[1].slots')
	pending=$("$OLD" run -d -n $((slots * 6)) -w "${NODES[1]}" -- sh -c "while [ ! -e $T/go ]; do sleep 0.05; done; echo waited" | tail -n 1)
	state_is "$pending" pending || fail 'it does not wait'
	kill -9 "$(manager_pid)"
	old_worker=$(workers)
	is "$(wc -l <<<"$old_worker")" 1 'one worker, of before'
	touch "$T/end-away"
	away_ended() { ! named end-away; }
	soon away_ended
	is "$(db 'PRAGMA user_version')" 1 'the schema of before'

	ok cube ps -a
	is "$(db 'PRAGMA user_version')" 2 'the schema now'
	soon ready
	is "$(workers)" "$old_worker" 'the worker of before goes on'
	run within 60 cube wait "$ends"
	rc_is 4
	cube logs "$ends" >"$T/away"
	first=$(sed -n '$=' "$T/away")
	{ for ((i = 0; i < first - 1; i++)); do echo "away $i"; done && echo 'away over'; } | cmp - "$T/away" ||
		fail 'the output of the one that ended while no manager was there is not whole'

	ok cube stop "$stopped"
	run within 60 cube wait "$stopped"
	ok cube inspect "$stopped"
	json_is .how stopped
	cube logs -f "$long" >"$T/followed" &
	local bg=$!
	grows() { [ "$(wc -l <"$T/followed")" -gt 5 ]; }
	soon grows
	touch "$T/end-long"
	wait $bg || fail 'the follower failed'
	first=$(sed -n '$=' "$T/followed")
	{ for ((i = 0; i < first - 1; i++)); do echo "long $i"; done && echo 'long over'; } | cmp - "$T/followed" ||
		fail 'the output that was followed is not whole'
	run cube wait "$long"
	rc_is 3
	touch "$T/go"
	run within 60 cube wait "$pending"
	rc_is 0
	ok cube logs "$pending"
	out_is 'waited\n'
	is "$(db "SELECT count(DISTINCT id) FROM tasks WHERE epoch <> 0")" 0 'tasks under an epoch, which that worker does not know'
	is "$(db "SELECT count(*) FROM events WHERE reason LIKE '%never started%'")" 0 'events of unknown attempts'

	# Nothing runs any more: the next link brings this cube's worker.
	kill "$(manager_pid)"
	ok cube nodes
	replaced() { [ "$(workers | grep -c .)" = 1 ] && [ "$(workers)" != "$old_worker" ] && ready; }
	soon replaced
	ok cube run --all -N -- sh -c 'echo new'
	out_is 'new\nnew\n'
	is "$(db "SELECT count(*) FROM tasks WHERE epoch <> 0")" 2 'tasks under an epoch'
}

main "$@"
