# shellcheck shell=bash
# What a person sees: every command on terminals of several widths, with questions, keys, signals.
# Whatever it is, the terminal is left as it was found: on_tty looks at that.
# on: local
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	lab_terminal "$T" || exit 3
	unset NO_COLOR
	echo text >"$T/file"
}

at_any_width() { # COMMAND...: for each width
	for COLS in 60 100 200; do "$@"; done
}
once() { [ "$COLS" = 60 ]; } # for what is no matter of width
fits() { is "$(tty_said wrapped)" 0 "lines wider than $COLS columns"; }
lines_are() { # REGEX...: the screen's lines, sorted
	local line i=0
	is "$(wc -l <"$O")" $# "lines of: $(cat "$O")"
	while IFS= read -r line; do
		i=$((i + 1))
		[[ $line =~ ^${!i}$ ]] || { shown "$O"; fail "'$line' is not /${!i}/"; }
	done < <(sort "$O")
}

# ---- every command ------------------------------------------------------------------------------

# One function a command of `cube help`, in its order: the nodes are joined by the first.
N=
try_spawn() {
	on_tty -- cube spawn -w "$W"
	rc_is 0
	fits
	lines_are '3 ready in [0-9.]+ m?s' "${NODES[0]} ready [0-9.]+ m?s" "${NODES[1]} ready [0-9.]+ m?s" "${NODES[2]} ready [0-9.]+ m?s"
	once || return 0
	on_tty -- cube spawn -w "$W"
	rc_is 0
	lines_are '3 ready' "${NODES[0]} ready already" "${NODES[1]} ready already" "${NODES[2]} ready already"
}
try_run() {
	on_tty -- cube run -- sh -c 'echo hello; exit 3'
	rc_is 3
	out_is 'hello\n'
	once || return 0
	on_tty -t 'word\n\x04' -- cube run -i -- tr a-z A-Z
	rc_is 0
	out_is 'word\nWORD\n'
	on_tty -e up -t '\x03' -- cube run -- sh -c 'echo up; exec sleep 1000'
	rc_is 130
	out_has '^\^Ccube: interrupt sent; Ctrl-C again'
}
try_exec() {
	# shellcheck disable=SC2016
	on_tty -e "24 $COLS" -z 30x70 -t 'on\n' -e '30 70' -t '\x03' -e INT -t '\x1c' -e QUIT -t '\x04' -- cube exec -t "$N" -- sh -c \
		'stty size; trap "echo INT" INT; trap "echo QUIT; cat; exit 3" QUIT; read x; stty size; while :; do sleep 0.05; done'
	rc_is 3
	once || return 0
	on_tty -t 'word\n\x04' -- cube exec "$N" -- tr a-z A-Z
	rc_is 0
	out_is 'word\nWORD\n'
}
try_cp() {
	on_tty -- cube cp "$T/file" "$N:copied"
	rc_is 0
	fits
	lines_are "cube: 1 file, 5 B to $N in .*"
	ok cube exec "$N" -- rm copied
}
try_forward() {
	on_tty -e "-> $N 127.0.0.1:9" -t '\x03' -- cube forward "0:$N:9"
	lines_are "127.0.0.1:[0-9]+ -> $N 127.0.0.1:9" '\^C'
}
try_env() {
	on_tty -- cube env "$N"
	rc_is 0
	out_has "^CUBE_HOST=$N\$"
}
try_ps() {
	on_tty -- cube ps -a
	rc_is 0
	fits
	out_has '^ID '
}
try_nodes() {
	on_tty -- cube nodes
	rc_is 0
	fits
	out_lines 4
}
try_logs() {
	local id
	id=$(cube run -d -w "$N" -- sh -c 'echo hello; exec sleep 1000')
	on_tty -e hello -t '\x03' -- cube logs -f "$id"
	rc_is 130
	out_is 'hello\n^C\n'
	echo "$id" >"$T/task"
}
try_stop() {
	on_tty -- cube stop --grace 0.1s "$(cat "$T/task")"
	rc_is 0
	fits
}
try_wait() {
	on_tty -- cube wait "$(cat "$T/task")"
	rc_is 143
	fits
}
try_top() {
	on_tty -e 'nodes: 3 ready of 3' -t q -- cube top
	rc_is 0
	out_is ''
	once || return 0
	on_tty -e 'nodes: 3 ready' -z 6x40 -e '…' -z "24x$COLS" -e LOAD\|CPU -t '\x03' -- cube top -d 100ms
	rc_is 0
	on_tty -e 'nodes: 3 ready' -x 'kill -TERM $TTY_PID' -- cube top -d 1h
}
try_inspect() {
	on_tty -- cube inspect "$N"
	rc_is 0
	json_is .name "$N"
}
try_events() {
	on_tty -- cube events
	rc_is 0
	fits
	once || return 0
	on_tty -e 'completed|failed' -t '\x03' -- cube events -f
	rc_is 130
	fits
}
try_login() {
	on_tty -- cube login
	rc_is 0
	out_is 'cube: no node waits for a login\n'
}
try_down() {
	on_tty -- cube down
	rc_is 0
	lines_are '.* gone'
}
try_doctor() {
	on_tty -- cube doctor localhost
	rc_is 0
	fits
	out_has '^  ok       shell '
	once || return 0
	on_tty -- cube doctor --output json localhost
	rc_is 0
	json_is .version 1
}
try_info() {
	on_tty -- cube info
	rc_is 0
	fits
}
try_manager() {
	on_tty -e 'sock|listen|ready|manager' -t '\x03' -- cube manager --cluster other --store memory
	rc_is 0
}
try_worker() {
	on_tty -e . -t '\x03' -- cube worker
	[ "$rc" -le 130 ] || fail "code $rc"
}
try_version() {
	on_tty -- cube version
	rc_is 0
}
try_help() {
	local c
	on_tty -- cube help
	rc_is 0
	fits
	once || return 0
	for c in $COMMANDS; do
		on_tty -- cube help "$c"
		rc_is 0
		fits
	done
	on_tty -- cube
	rc_is 2
	fits
}

try_all() {
	local c
	for c in $COMMANDS; do
		declare -F "try_$c" >/dev/null || fail "no test of \`cube $c\` on a terminal: write try_$c"
		(set -e; "try_$c") || fail "cube $c at $COLS columns"
	done
}
test_every_command() {
	N=${NODES[0]}
	COMMANDS=$(cube help | sed -nE 's/^  ([a-z]+) .*/\1/p')
	[ "$(wc -w <<<"$COMMANDS")" -ge 20 ] || fail "commands: $COMMANDS"
	at_any_width try_all
}

# ---- colours, cursor ----------------------------------------------------------------------------

test_colours_only_where_they_are_wanted() {
	ok cube spawn -w "$W"
	local c
	for c in nodes 'ps -a' 'doctor localhost'; do
		# shellcheck disable=SC2086
		on_tty -- cube $c
		[ "$(tty_said coloured)" -gt 0 ] || fail "no colours: cube $c"
		# shellcheck disable=SC2086
		NO_COLOR=1 on_tty -- cube $c
		is "$(tty_said coloured)" 0 "NO_COLOR: cube $c"
		# shellcheck disable=SC2086
		TERM=dumb on_tty -- cube $c
		is "$(tty_said coloured),$(tty_said moves)" 0,0 "TERM=dumb: cube $c"
	done
	for c in "spawn -w $W" "cp $T/file $W:copied" top; do
		# shellcheck disable=SC2086
		TERM=dumb on_tty -- cube ${c//\*3:/-1:}
		is "$(tty_said coloured),$(tty_said moves)" 0,0 "TERM=dumb: cube $c"
	done
	ok cube exec "${NODES[0]}" -- rm copied
	ok cube down
}

main "$@"
