# shellcheck shell=bash
# Exit codes: one rule for all commands (include/cube/err.h). Each table has a line a case, the code
# and the words behind `cube`; test_every_command_is_here sees to it that no command is left out.
# on: local
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	export XDG_CACHE_HOME=$T/cache
	N=${NODES[0]}
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
	echo something >"$T/t/file"
}

# Runs each line of the table on stdin; $1 is added behind its words, for a redirection.
codes() {
	local want words
	while read -r want words; do
		run eval "within 20 cube $words ${1:-} </dev/null"
		[ "$rc" = "$want" ] || { shown "$E" && fail "cube $words ${1:-}: exit code $rc, not $want"; }
		[ "$want" = 0 ] || [ -s "$E" ] || [ -s "$O" ] || fail "cube $words: no reason"
		err_lacks 'curl|jansson|libssh2|errno|HTTP'
	done
}

test_unknown_node() {
	codes <<-END
		125 run -w nosuch -- true
		125 exec nosuch -- true
		1 cp file nosuch:
		1 cp nosuch:file .
		1 forward 0:nosuch:80
		1 env nosuch
		1 nodes nosuch
		1 ps -w nosuch
		1 inspect nosuch
		1 login nosuch
		1 down nosuch
		1 spawn -w nosuch.invalid
		1 doctor nosuch.invalid
	END
	for c in 'run -w nosuch -- true' 'down nosuch' 'login nosuch' 'ps -w nosuch'; do
		# shellcheck disable=SC2086
		run cube $c
		err_is "cube: error: there is no node 'nosuch'; \`cube nodes\` lists them\n"
	done
	for c in 'exec nosuch -- true' 'env nosuch' 'forward 0:nosuch:80'; do
		# shellcheck disable=SC2086
		run cube $c
		err_is 'cube: error: there is no node nosuch; `cube spawn --workers=nosuch` adds it\n'
	done
}

test_unknown_task() {
	codes <<-END
		125 wait 999
		125 wait job:999
		1 logs 999
		1 logs job:999
		1 stop 999
		1 stop job:999
		1 inspect 999
		1 inspect job:999
	END
}

# A manager is not there, and there is nothing for one to take up.
test_nothing_there() {
	export CUBE_STATE_DIR=$T/none
	codes <<-END
		125 run -- true
		125 exec $N -- true
		125 wait 1
		1 cp file $N:
		1 forward 0:$N:80
		1 env $N
		1 logs 1
		1 stop 1
		1 top
		1 inspect 1
		1 events
		1 login
		0 ps
		0 nodes
		0 down
		0 info
	END
}

# None can be started.
test_broken_state() {
	export CUBE_STATE_DIR=$T/broken
	mkdir -p "$T/broken/default"
	head -c 100000 /dev/urandom >"$T/broken/default/cube.db"
	codes <<-END
		125 run -- true
		125 exec $N -- true
		125 wait 1
		125 spawn -w localhost -- true
		1 spawn -w localhost
		1 cp file $N:
		1 forward 0:$N:80
		1 env $N
		1 ps
		1 nodes
		1 logs 1
		1 stop 1
		1 top
		1 inspect 1
		1 events
		1 login
		1 down
		1 doctor localhost
		1 manager
		0 info
		0 version
		0 help
	END
	run cube nodes
	err_has 'the manager could not start: /.*cube.db: .*move it away'
}

# The laptop's disk is full: it is said by each command, and all goes on once there is room.
test_full_disk() {
	local words
	[ "$(id -u)" = 0 ] || skip 'only root can mount a small disk'
	export CUBE_STATE_DIR=$T/full
	mkdir "$T/full"
	mount -t tmpfs -o size=4m none "$T/full" || skip 'no tmpfs can be mounted'
	# shellcheck disable=SC2064
	trap "umount -l '$T/full'" EXIT
	ok cube spawn -w localhost
	kill -9 "$(manager_pid)"
	head -c 10000000 /dev/zero >"$T/full/fill" 2>/dev/null || true
	for words in nodes ps 'run -- true'; do
		# shellcheck disable=SC2086
		run cube $words
		[ $rc != 0 ] || fail "$words on a full disk"
		err_has '^cube: error: the manager could not start: cannot keep the state: .*No space left on device'
		is "$(wc -l <"$E")" 1 'lines of stderr'
	done
	rm "$T/full/fill"
	ok cube run -- echo on
	out_is 'on\n'
	ok cube down --purge
}

test_usage() {
	local c
	while read -r c; do
		codes <<-END
			2 $c --nosuch
			2 $c --cluster
			2 --cluster ../x $c x
		END
	done < <(commands)
	codes <<-END
		2 run
		2 exec
		2 cp
		2 cp file
		2 forward
		2 forward nonsense
		2 env
		2 logs
		2 logs word
		2 stop
		2 stop word
		2 wait
		2 wait word
		2 inspect
		2 spawn
		2 spawn -w 'a[1-'
		2 doctor
		2 ps word
		2 ps --state nosuch
		2 ps -o nosuch
		2 events --last x
		2 exec 'a[1-2]' true
		2 env 'a[1-2]'
		2 forward '0:a[1-2]:80'
		2 nosuch
		2 help nosuch
		2 --nosuch
		2
	END
}

printing() {
	cat <<-END
		nodes
		nodes -o json
		ps -a
		top
		inspect $N
		events -n 1
		env $N
		info
		version
		help
		help run
		--help
		doctor localhost
	END
}

test_stdout_that_takes_nothing() {
	codes '>&-' < <(printing | sed 's/^/1 /')
	codes '>&-' <<-END
		125 run -- echo hi
		125 exec $N -- echo hi
	END
	[ -w /dev/full ] || return 0
	codes '>/dev/full' < <(printing | sed 's/^/1 /')
	codes '>/dev/full' <<-END
		125 run -- echo hi
		125 exec $N -- echo hi
	END
	err_has 'cannot write to stdout: No space left'
}

# What is said when the manager is killed under a command: in words, and what to do.
test_manager_killed() {
	local words pid
	for words in "exec $N -- sh -c 'echo begun; exec sleep 50'" "run -i -- sh -c 'echo begun; exec sleep 51' </dev/zero"; do
		within 60 bash -c "cube $words" >killed.out 2>"$E" &
		pid=$!
		soon grep -q begun killed.out
		kill -9 "$(manager_pid)"
		rc=0
		wait $pid || rc=$?
		is $rc 125
		err_has '^cube: error: the manager went away(, and the stream with it; the next command starts it again|; the work goes on: .cube logs -f [0-9]+. comes back to it)$'
		is "$(wc -l <"$E")" 1 'lines of stderr'
	done
	ok cube stop "$(cube ps -q)"
	all_ready() { cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }
	soon all_ready
}

test_the_users_own() {
	local id
	codes <<-END
		0 run -- true
		3 run -- sh -c 'echo why >&2; exit 3'
		127 run -- no-such-program
		126 run -- /
		124 run --timeout 0.1s -- sleep 5
		143 run -- sh -c 'kill -TERM \$\$'
		127 exec $N -- no-such-program
		126 exec $N -- /
		9 exec $N -- sh -c 'echo why >&2; exit 9'
	END
	id=$(cube run -d -- sh -c 'exit 4')
	run cube wait "$id"
	rc_is 4
	run cube logs "$id"
	rc_is 0
}

commands() { cube help | sed -nE 's/^  ([a-z]+) .*/\1/p'; }

test_every_command_is_here() {
	local c
	while read -r c; do
		grep -qE "^		[0-9]+ $c\b" "$FILE" || [[ " version help worker " == *" $c "* ]] || fail "no case of cube $c"
	done < <(commands)
}

main "$@"
