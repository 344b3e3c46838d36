# shellcheck shell=bash
# `cube run`: exit codes, arguments, output and input byte for byte, prefixes, folding.
# on: local openssh dropbear
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

test_exit_code_is_the_tasks() {
	for code in 0 1 7 126 127 255; do
		run cube run -- sh -c "exit $code"
		rc_is $code
	done
}

test_exit_code_of_a_signal() {
	# shellcheck disable=SC2016
	run cube run -- sh -c 'kill -9 $$'
	rc_is 137
	# shellcheck disable=SC2016
	run cube run -- sh -c 'kill -TERM $$'
	rc_is 143
}

test_program_that_is_not_there_is_127() {
	run cube run -- /no/such/program
	rc_is 127
	err_has 'No such file'
	run cube run -- no-such-program-at-all
	rc_is 127
}

test_file_that_cannot_run_is_126() {
	run cube run -- /etc/passwd
	rc_is 126
	err_has '[Pp]ermission denied'
}

test_timeout_is_124() {
	local begin=$SECONDS
	run cube run --timeout 0.3s -- sh -c 'while :; do :; done'
	rc_is 124
	took_at_most 3
}

test_usage_is_2() {
	run cube run
	rc_is 2
	run cube run --no-such-option -- sh -c :
	rc_is 2
	run cube run --timeout nonsense -- sh -c :
	rc_is 2
	run cube nonsense
	rc_is 2
}

# The task prints its arguments one by one, each ended by a byte that cannot be in them.
test_arguments_arrive_byte_for_byte() {
	local args=('a b;$c' "it's" '"double"' '' ' ' $'new\nline' $'tab\there' '\' '$(id)' '`id`' '*' '~' '-n' '--' 'ü€🙂'
		$'\xff\xfe invalid \x80' '%s%n' '{}' '!' '#' '&& false' $'\r' $'\x01\x1b[31m')
	# shellcheck disable=SC2016
	ok cube run -- sh -c 'for a; do printf "%s\0" "$a"; done' sh "${args[@]}"
	printf '%s\0' "${args[@]}" | cmp - "$O" || fail 'arguments differ'
}

test_many_long_arguments() {
	local long
	long=$(head -c 100000 /dev/zero | tr '\0' x)
	# shellcheck disable=SC2016
	ok cube run -- sh -c 'echo $# ${#1} ${#2}' sh "$long" "$long" 3 4
	out_is '4 100000 100000\n'
}

test_environment_and_folder() {
	printf '# comment\nFROM_FILE=1\nBOTH=file\n\nSPACES=a b  c\n' >envfile
	# shellcheck disable=SC2016
	ok cube run -e 'K=V w=x' -e BOTH=word --env-file envfile -C /tmp -- \
		sh -c 'echo "$K|$FROM_FILE|$BOTH|$SPACES|$(pwd)"'
	out_is 'V w=x|1|word|a b  c|/tmp\n'
	SET_HERE='from here' ok cube run -e SET_HERE -- sh -c 'echo "$SET_HERE"'
	out_is 'from here\n'
	run cube run -e 'bad-name=1' -- sh -c :
	rc_is 2
	echo 'no equals sign' >bad
	run cube run --env-file bad -- sh -c :
	rc_is 2
	err_has 'bad:1'
}

test_folder_that_is_not_there() {
	run cube run -C /no/such/folder -- sh -c :
	[ $rc != 0 ] || fail 'succeeded'
	err_has '/no/such/folder'
}

test_stdout_and_stderr_stay_apart() {
	ok cube run -- sh -c 'echo out; echo err >&2; printf no-newline'
	out_is 'out\nno-newline'
	err_has '^err$'
	out_lacks err
}

test_binary_output_8_mib() {
	head -c 8388608 /dev/urandom >"$T/random"
	# Through the task's input and back.
	cube run -i -- cat <"$T/random" >"$T/back" || fail "exit code $?"
	cmp "$T/random" "$T/back" || fail 'bytes differ'
}

test_input_ends() {
	printf 'one\ntwo' >in
	ok cube run -i -- cat <in
	out_is 'one\ntwo'
	ok cube run -i -- cat </dev/null
	out_is ''
	# Without -i the task has an empty input, and ours is left alone.
	{ cube run -- cat >"$O"; cat; } < <(echo rest) >rest
	grep -qx rest rest || fail 'input was taken'
}

test_input_that_nobody_reads() {
	run within 30 cube run -i -- sh -c 'exec <&-; echo done' < <(head -c 4000000 /dev/zero)
	rc_is 0
	out_is 'done\n'
}

test_all_has_a_prefix() {
	ok cube run --all -- sh -c 'echo hello'
	sorted_is "${NODES[0]}: hello\n${NODES[1]}: hello\n${NODES[2]}: hello\n"
	ok cube run --all -N -- sh -c 'echo hello'
	out_is 'hello\nhello\nhello\n'
}

test_fold_equal_outputs() {
	ok cube run --all -b -- sh -c 'echo same'
	out_has "^$(cube_fold)"
	is "$(grep -c same "$O")" 1 'same printed once'
}
cube_fold() { if [ "$ON" = local ]; then echo 'localhost-\[1-3\]'; else echo "${NODES[0]%1}\\[1-3\\]"; fi; }

test_prefix_of_stderr() {
	ok cube run --all -- sh -c 'echo oops >&2'
	out_is ''
	is "$(grep -c ': oops$' "$E")" 3 'lines on stderr'
}

test_a_mib_without_newline_is_not_torn() {
	ok cube run --all -- sh -c 'head -c 1048576 /dev/zero | tr "\0" x; echo; for i in 1 2 3; do echo short; done'
	is "$(wc -l <"$O")" 12 lines
	for n in "${NODES[@]}"; do
		grep -qE "^$n: x+\$" "$O" || fail "no long line of $n"
		is "$(grep -c "^$n: short$" "$O")" 3 "short lines of $n"
	done
	is "$(grep x "$O" | awk '{ print length($2) }' | sort -u)" 1048576 'length of the long lines'
}

test_lines_of_hosts_never_mix() {
	# shellcheck disable=SC2016
	ok cube run --all -- sh -c 'i=0; while [ $i -lt 2000 ]; do echo "$CUBE_HOST line $i"; i=$((i+1)); done'
	out_lines 6000
	for n in "${NODES[@]}"; do
		grep "^$n: " "$O" | cmp -s - <(for ((i = 0; i < 2000; i++)); do echo "$n: $n line $i"; done) ||
			fail "the lines of $n are not whole and in order"
	done
}

test_several_tasks() {
	ok cube run -n 5 -N -- sh -c 'echo task'
	out_is 'task\ntask\ntask\ntask\ntask\n'
	run cube run -n 5 -- sh -c 'exit 1'
	rc_is 5
	run cube run --all -- sh -c '[ "$CUBE_HOST" != '"${NODES[1]}"' ]'
	rc_is 1
	err_has "${NODES[1]}"
}

test_more_tasks_than_slots() {
	ok cube run -n 40 -N -- sh -c 'echo x'
	out_lines 40
}

test_only_these_hosts() {
	# shellcheck disable=SC2016
	ok cube run -w "${NODES[1]}" -n 3 -N -- sh -c 'echo "$CUBE_HOST"'
	out_is "${NODES[1]}\n${NODES[1]}\n${NODES[1]}\n"
	ok cube run -w "${NODES[0]},${NODES[2]},${NODES[0]}" -- sh -c 'echo hi'
	sorted_is "${NODES[0]}: hi\n${NODES[2]}: hi\n"
	ok cube run -w "${NODES[0]},${NODES[2]}" -n 1 -- sh -c 'echo hi'
	out_is 'hi\n'
	ok cube run -w "${NODES[0]},${NODES[2]}" -n 4 -- sh -c 'echo hi'
	is "$(sort "$O" | uniq -c | tr -s ' ' | tr '\n' ,)" " 2 ${NODES[0]}: hi, 2 ${NODES[2]}: hi,"
	ok cube run -x "${NODES[0]}" -- sh -c 'echo hi'
	out_is 'hi\n'
	run cube run -i -w "${NODES[0]},${NODES[2]}" -- cat </dev/null
	rc_is 2
	err_has 'stdin: only one task'
	run cube run -w "${NODES[0]},no-such-node" -- sh -c 'echo never'
	out_is ''
	err_has no-such-node
	run cube run -w no-such-node -- sh -c :
	[ $rc != 0 ] || fail 'a node that is not there was taken'
	err_has no-such-node
}

test_detached() {
	ok cube run -d --name fine -- sh -c 'echo later; exit 4'
	local id
	id=$(cat "$O")
	[[ $id =~ ^[0-9]+$ ]] || fail "'$id' is no id"
	run cube wait "$id"
	rc_is 4
	ok cube logs "$id"
	out_is 'later\n'
	ok cube inspect "$id"
	json_is '.name // .tasks[0].name' fine
	json_is '.exit_code // .tasks[0].exit_code' 4
}

main "$@"
