# shellcheck shell=bash
# `cube spawn`, `nodes` and `down`: deploy and run in one go, deploy and stay, hosts files.
# on: local openssh dropbear
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	# A single node: there is no localhost-1 but among several.
	FIRST=${NODES[0]} SECOND=${NODES[1]}
	[ "$ON" != local ] || FIRST=localhost SECOND='localhost*2'
}

nothing_there() { files_left 2>&1; }

# Not by asking it: whoever asks keeps it.
manager_gone() { flock -n "$CUBE_STATE_DIR/default/lock" true; }

test_one_shot_runs_and_tears_down() {
	ok cube spawn --workers="$W" -- sh -c 'echo "$CUBE_HOST says hello"'
	sorted_is "${NODES[0]}: ${NODES[0]} says hello\n${NODES[1]}: ${NODES[1]} says hello\n${NODES[2]}: ${NODES[2]} says hello\n"
	is "$(workers_running)" '' 'workers after a one-shot'
}
workers_running() { mine | grep -E '/bin/[0-9a-f]{64}|cube-worker' || true; }

test_one_shot_gives_exit_codes() {
	run cube spawn --workers="$W" -- sh -c 'exit 3'
	rc_is 3
	run cube spawn --workers="$FIRST" -- sh -c 'exit 9'
	rc_is 9
}

test_one_shot_single_host_is_raw() {
	ok cube spawn --workers="$FIRST" -- sh -c 'printf "a\0b"'
	printf 'a\0b' | cmp - "$O" || fail 'not the exact bytes'
}

test_stays_and_leaves() {
	ok cube spawn --workers="$W"
	for n in "${NODES[@]}"; do
		grep -qE "$n.*ready" "$O" "$E" || { shown "$O" && shown "$E" && fail "no line of $n"; }
	done
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready") | .name] | sort | join(" ")' "${NODES[*]}"
	json_is '.nodes[0].slots > 0' true
	# Again: nothing to do, and quickly said.
	ok cube spawn --workers="$W"
	ok cube down "${NODES[0]}"
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready") | .name] | sort | join(" ")' "${NODES[1]} ${NODES[2]}"
	ok cube down
	is "$(workers_running)" '' 'workers after down'
}

test_warm_start_pushes_nothing() {
	ok cube spawn --workers="$W"
	ok cube down
	ok cube spawn --workers="$W"
	ok cube events -o jsonl
	cp "$O" events
	is "$(jq -r 'select(.new == "pushing") | .node' "$O" | sort | uniq -d)" '' 'nodes that were pushed to twice'
	ok cube down --purge
	nothing_there || fail 'files are left'
	ok cube spawn --workers="$FIRST"
	ok cube down --purge
	nothing_there || fail 'files are left'
}

test_exclude() {
	ok cube spawn --workers="$W" -x "${NODES[2]}"
	ok cube nodes -o json
	json_is '[.nodes[].name] | sort | join(" ")' "${NODES[0]} ${NODES[1]}"
	ok cube down --purge
}

test_hosts_file() {
	local first=${NODES[0]} second=${NODES[1]} third=${NODES[2]}
	[ "$ON" != local ] || skip 'a hosts file names ssh hosts'
	cat >hosts <<-END
		# three of them
		$first slots=2 labels=big,zone=eu
		$second
		$third slots=1

		[gpu]
		$first $third
	END
	ok cube spawn -i hosts --limit @gpu
	ok cube nodes -o json
	json_is '[.nodes[] | "\(.name)=\(.slots)"] | sort | join(" ")' "$first=2 $third=1"
	ok cube down --purge
	ok cube spawn -i hosts -w @gpu -x "$third" -- sh -c 'echo yes'
	out_is 'yes\n'
}

test_hosts_from_a_file_and_stdin() {
	printf '%s\n' "$FIRST" "$SECOND" >list
	ok cube spawn --workers=^list -- sh -c 'echo hi'
	cp "$O" first
	[ "$(wc -l <first)" -ge 2 ] || fail 'fewer than two hosts'
	ok cube spawn --workers=- -- sh -c 'echo hi' <list
	is "$(wc -l <"$O")" "$(wc -l <first)"
}

test_bad_hosts_file_names_the_line() {
	printf 'web1\nweb[1-\n' >bad
	run cube spawn -i bad
	rc_is 2
	err_has 'bad:2'
	printf 'web1 nonsense=1\n' >bad
	run cube spawn -i bad
	rc_is 2
	err_has 'bad:1.*nonsense'
	printf 'a\n\n# x\nweb1 slots=many\n' >bad
	run cube spawn -i bad
	rc_is 2
	err_has 'bad:4'
	run cube spawn -i no-such-file
	[ $rc != 0 ] || fail 'succeeded'
	err_has no-such-file
	printf 'web1\n[db]\nweb1\n' >bad
	run cube spawn -i bad --limit @dv
	rc_is 2
	err_has 'db'
}

test_bad_expressions() {
	for w in 'web[1-' 'web[3-1]' 'web[a]' '@none' '' 'web[x-3]'; do
		run cube spawn --workers="$w"
		rc_is 2
	done
}

test_nothing_to_spawn() {
	run cube spawn --workers="$FIRST" -x "$FIRST"
	[ $rc != 0 ] || fail 'nothing to do is no success'
}

test_two_clients_start_one_manager() {
	soon manager_gone
	cube spawn --workers="$FIRST" >a 2>a.err &
	local a=$! b
	cube spawn --workers="$SECOND" >b 2>b.err &
	b=$!
	wait $a || { cat a.err >&2; fail 'the first failed'; }
	wait $b || { cat b.err >&2; fail 'the second failed'; }
	is "$(mine | grep -c ' manager ')" 1 managers
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready")] | length >= 2' true
	ok cube down --purge
}

test_manager_leaves_when_there_is_nothing() {
	ok cube spawn --workers="$FIRST" -- sh -c :
	WITHIN=15 soon manager_gone
	run cube ps -a -o json
	rc_is 0
}

main "$@"
