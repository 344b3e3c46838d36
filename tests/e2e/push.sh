# shellcheck shell=bash
# `cube run --push`: the laptop's own file on the host, executable, once per host and content.
# on: local openssh dropbear
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
	printf '#!/bin/sh\necho "tool $*"\n' >tool
	chmod 755 tool
}

# The pushed copies of file $1 on the hosts, with their inodes: one written anew has another.
copies() {
	local n sha
	sha=$(sha256sum "$1" | cut -d' ' -f1)
	for n in "${NODES[@]}"; do
		find "$(home_of "$n")" -type f -path '*cube*' -size "$(stat -c %s "$1")c" -printf '%p %i %T@\n' 2>/dev/null |
			while read -r path rest; do
				[ "$(sha256sum <"$path" | cut -d' ' -f1)" != "$sha" ] || echo "$path $rest"
			done
	done | sort -u
}

test_runs_what_was_pushed() {
	ok cube run --push ./tool -- ./tool 1 'two 2'
	out_is 'tool 1 two 2\n'
	ok cube run --all -N --push tool -- ./tool
	out_is 'tool \ntool \n'
}

test_sent_once_per_content() {
	local before
	head -c 3000000 /dev/urandom >data
	ok cube run --all -N --push data -- sh -c 'cat data | wc -c'
	out_is '3000000\n3000000\n'
	before=$(copies data)
	[ "$before" ] || fail 'no copy on the hosts'
	ok cube run --all -N --push data -- sh -c 'cat data | wc -c'
	ok cube run -n 4 -N --push data -- sh -c 'cat data | wc -c'
	is "$(copies data)" "$before" 'copies after more runs'
	cp data same-content
	ok cube run --push same-content -- sh -c 'cat same-content | wc -c'
	out_is '3000000\n'
	is "$(copies data)" "$before" 'copies under another name'
}

test_changed_content_is_sent() {
	ok cube run -w "${NODES[0]}" --push tool -- ./tool
	printf '#!/bin/sh\necho other\n' >tool2
	chmod 755 tool2
	mv tool2 tool
	ok cube run -w "${NODES[0]}" --push tool -- ./tool
	out_is 'other\n'
}

test_bytes_and_modes() {
	head -c 1000003 /dev/urandom >odd
	chmod 640 odd
	run cube run --push odd -- cat odd
	rc_is 0
	cmp odd "$O" || fail 'bytes differ'
	: >empty
	ok cube run --push empty --push odd -- sh -c 'test -f empty && test ! -s empty && test -s odd && echo both'
	out_is 'both\n'
	run cube run --push odd -- ./odd
	rc_is 126
}

test_each_task_has_its_own_folder() {
	ok cube run -n 4 -N --push tool -- sh -c 'echo x >>mine; cat mine'
	out_is 'x\nx\nx\nx\n'
}

# A task that has the files it was given waits until it has been looked at: `look COMMAND...` starts
# one on the first host with these words for `cube run`, and ends with it running; `seen` lets it go.
look() {
	local home
	home=$(user_home "${NODES[0]}")
	rm -f "$home/up" "$home/go"
	mkfifo "$home/up" "$home/go"
	cube run -N -w "${NODES[0]}" "$@" >"$T/looked" 2>&1 &
	LOOKER=$!
	exec 9<>"$home/up"
	read -r -t 20 _ <&9 || fail "it did not come up: $(cat "$T/looked")"
}

seen() {
	exec 9<&-
	echo >"$(user_home "${NODES[0]}")/go"
	wait "$LOOKER" || fail "the task failed: $(cat "$T/looked")"
	rm "$(user_home "${NODES[0]}")"/{up,go}
}

HOLD='echo >"$HOME/up"; read -r _ <"$HOME/go"'

# Modes and numbers of links of the first host's scratch files, by name.
scratch_files() {
	find "$(home_of "${NODES[0]}")" -path '*/scratch/*' -type f -printf '%f %m %n\n' | sort
}

test_a_task_writes_into_its_own_copy() {
	local before
	printf 'as it was\n' >f
	chmod 644 f
	cp f same
	ok cube run -w "${NODES[0]}" --push f -- sh -c 'echo X >>f && cat f'
	out_has '^([^:]*: )?X$'
	before=$(copies same)
	for how in 'echo X >>f' ': >f' 'chmod 777 f; echo X >f' 'rm f; echo X >f' 'mkdir d; cat f >d/f; echo X >>d/f'; do
		ok cube run -N -w "${NODES[0]}" --push f -- sh -c "$how" # may have no chmod or rm there
		ok cube run -N -w "${NODES[0]}" --push same --push f -- sh -c 'cat same f'
		out_is 'as it was\nas it was\n'
	done
	[ "$before" ] || fail 'no copy on the host'
	is "$(copies same)" "$before" 'the stored content'
}

test_two_tasks_do_not_share_a_file() {
	printf 'one\n' >f
	look --push f -- sh -c "echo mine >>f; $HOLD; cat f"
	ok cube run -N -w "${NODES[0]}" --push f -- sh -c 'cat f; echo other >>f'
	out_is 'one\n'
	seen
	is "$(cat "$T/looked")" "$(printf 'one\nmine')" 'what the first task has'
}

# Whatever umask the host's user has; the same content under each of them.
test_modes_are_kept() {
	printf '#!/bin/sh\necho ran\n' >m644
	for m in 600 755 400 666; do cp -p m644 m$m; done
	for m in 644 600 755 400 666; do chmod $m m$m; done
	look --push m644 --push m600 --push m755 --push m400 --push m666 -- sh -c "$HOLD; ./m755"
	is "$(scratch_files)" "$(printf 'm%s %s 1\n' 400 400 600 600 644 644 666 666 755 755)" 'files'
	seen
	is "$(cat "$T/looked")" ran 'the executable one'
	run cube run -N -w "${NODES[0]}" --push m755 --push m644 -- ./m644
	rc_is 126
}

# The store is the user's as the tasks are. What one does to it must not become another's program.
test_a_changed_store_is_not_used() {
	local stored how
	printf 'right\n' >f
	ok cube run -N -w "${NODES[0]}" --push f -- cat f
	for how in 'chmod 600 S; echo wrong >S' 'rm S' 'rm S; ln -s /etc/passwd S' 'rm S; mkdir S' 'chmod 0 S' \
		'echo wrong >S.new; mv -f S.new S' 'rm -r "$(dirname S)"' 'd=$(dirname S)/../scratch; rm -rf "$d"; ln -s / "$d"'; do
		stored=$(copies f | cut -d' ' -f1)
		[ -f "$stored" ] || fail "no copy after: $how"
		sh -c "${how//S/$stored}"
		ok cube run -N -w "${NODES[0]}" --push f -- cat f
		out_is 'right\n'
	done
}

# The laptop's disk: what was changed there is no more that content, and is not given to hosts.
test_changed_on_the_laptop() {
	local sha
	printf 'right\n' >f
	sha=$(sha256sum f | cut -d' ' -f1)
	ok cube run -N -w "${NODES[0]}" --push f -- cat f
	printf 'wrong\n' >"$CUBE_STATE_DIR/default/files/$sha"
	ok cube down
	ok cube spawn --workers="$W"
	run cube run -N -w "${NODES[0]}" --push f -- cat f
	rc_is 125
	err_has "files/${sha:0:8}.* was changed on this computer's disk; it is removed"
	ok cube run -N -w "${NODES[0]}" --push f -- cat f
	out_is 'right\n'
}

test_refused_pushes() {
	run cube run --push no-such-file -- sh -c :
	[ $rc != 0 ] || fail 'pushed what is not there'
	err_has no-such-file
	run cube run --push / -- sh -c :
	[ $rc != 0 ] || fail 'pushed a folder'
}

test_kept_over_down_and_up() {
	ok cube down
	ok cube spawn --workers="$W"
	ok cube run --all -N --push tool -- ./tool
	out_lines 2
}

main "$@"
