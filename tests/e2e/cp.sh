#!/usr/bin/env bash
# on: local openssh dropbear
# cube cp: what arrives is what was sent, there and back, to many hosts; what was cut off goes on. dropbear
# hosts have neither scp nor sftp (PAINS 16).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	cube spawn --workers="$W" || return 1
	cd "$T/t" || return 1
	mkdir -p tree/sub/empty
	head -c 3000000 /dev/urandom >tree/large
	echo one >tree/one
	printf x >"tree/sub/a b;\$c"
	printf '' >tree/sub/none
	ln -s ../one tree/sub/link
	chmod 640 tree/one
	chmod 755 tree/large
	chmod 500 tree/sub/empty
	touch -d '2001-02-03 04:05:06.123456789' tree/one tree/sub/empty tree/large
	touch -h -d '2001-02-03 04:05:06.5' tree/sub/link
	touch -d '2002-03-04 05:06:07.25' tree/sub tree
}

# Type, mode, mtime (ns), size or link target, and name of all below $1; folders' sizes mean nothing.
listing() { (cd "$1" && find . -printf '%y %m %T@ %l %P ' \( -type d -printf '\n' -o -printf '%s\n' \) | sort -k 5); }
same_tree() {
	listing "$1" >"$T/a"
	listing "$2" >"$T/b"
	cmp -s "$T/a" "$T/b" || { diff "$T/a" "$T/b" | sed 's/^/#    /' >&2; fail "$2 is not $1"; }
	diff -r --no-dereference "$1" "$2" >/dev/null || fail "$2 has other contents than $1"
}
host_file() { echo "$(user_home "$1")/$2"; }
# On a dropbear host HOME is /root in its chroot; local nodes have no home of their own.
N() { echo "${NODES[$1]}"; }

test_a_file_there_and_back() {
	ok cube cp tree/one "$(N 0):copy-of-one"
	out_is ''
	err_is ''
	cmp tree/one "$(host_file "$(N 0)" copy-of-one)"
	ok cube cp "$(N 0):copy-of-one" back
	cmp tree/one back
	is "$(stat -c '%a %y' back)" "$(stat -c '%a %y' tree/one)"
	rm "$(host_file "$(N 0)" copy-of-one)"
}

test_a_folder_there_and_back() {
	ok cube cp -r tree "$(N 0):"
	same_tree tree "$(host_file "$(N 0)" tree)"
	ok cube cp "$(N 0):tree" tree-back
	same_tree tree tree-back
	# over what is there, read-only files and folders too, and with the home written out
	ok cube cp tree "$(N 0):~/"
	same_tree tree "$(host_file "$(N 0)" tree)"
	ok cube cp tree "$(N 0):~/tree"
	same_tree tree "$(host_file "$(N 0)" tree/tree)"
	chmod -R u+w "$(host_file "$(N 0)" tree)" tree-back
	rm -rf "$(host_file "$(N 0)" tree)" tree-back
}

test_to_several_hosts_and_from_them() {
	ok cube cp tree/one tree/large "$(N 0),$(N 1):"
	for node in "${NODES[@]}"; do
		cmp tree/large "$(host_file "$node" large)"
		cmp tree/one "$(host_file "$node" one)"
	done
	ok cube cp "$(N 0),$(N 1):large" "$(N 0):one" down
	cmp tree/large "down/$(N 0)/large"
	cmp tree/large "down/$(N 1)/large"
	cmp tree/one "down/$(N 0)/one"
	[ ! -e "down/$(N 1)/one" ] || fail 'fetched from the wrong host'
	for node in "${NODES[@]}"; do rm -f "$(host_file "$node" large)" "$(host_file "$node" one)"; done
}

test_names_like_options_and_the_home() {
	local home
	home=$(user_home "$(N 0)")
	echo dash >"$home/-a"
	ok cube cp "$(N 0):-a" .
	is "$(cat ./-a)" dash
	rm ./-a "$home/-a"
	mkdir in-home
	echo kept >"$home/of-the-home"
	(cd in-home && cube cp "$(N 0):~/of-the-home" .) || fail 'not copied'
	is "$(cat in-home/of-the-home)" kept
	rm -r in-home "$home/of-the-home"
}

test_summary_as_json() {
	ok cube cp -o json tree/one tree/large "$(N 0):"
	json_is '.ok, .version, .hosts[0].node, .hosts[0].files, .hosts[0].bytes, .hosts[0].moved, .hosts[0].problems' \
		"$(printf 'true\n1\n%s\n2\n3000004\n3000004\n[]' "$(N 0)")"
	rm -f "$(host_file "$(N 0)" large)" "$(host_file "$(N 0)" one)"
}

test_problems_do_not_stop_the_rest() {
	run cube cp tree/one no-such-file tree/large "$(N 0):"
	rc_is 1
	err_is 'cube: error: no-such-file: No such file or directory\n'
	cmp tree/large "$(host_file "$(N 0)" large)"
	run cube cp "$(N 0),$(N 1):large" got
	rc_is "$([ "$ON" = local ] && echo 0 || echo 1)"
	[ "$ON" = local ] || err_is "cube: error: $(N 1): large: No such file or directory\n"
	cmp tree/large "got/$(N 0)/large"
	run cube cp tree/one tree/large "$(N 0):nowhere/"
	rc_is 1
	err_is "cube: error: $(N 0): nowhere/: no such folder\n"
	rm -f "$(host_file "$(N 0)" large)" "$(host_file "$(N 0)" one)"
}

test_wrong_words() {
	run cube cp tree/one tree/large
	rc_is 2
	err_has 'no host is named'
	run cube cp tree/one
	rc_is 2
	run cube cp "$(N 0):x" "$(N 1):y"
	rc_is 2
	err_has 'from host to host'
	run cube cp "$(N 0):x" tree/one .
	rc_is 2
	run cube cp tree/one stranger:x
	rc_is 1
	err_has 'stranger: .*'
	echo colon >'a:b'
	ok cube cp './a:b' "$(N 0):"
	rm "$(host_file "$(N 0)" a:b)"
}

test_many_small_files() {
	mkdir many
	for i in {1..1000}; do echo "$i" >"many/$i"; done
	ok cube cp many "$(N 0):"
	diff -r many "$(host_file "$(N 0)" many)"
	ok cube cp "$(N 0):many" many-back
	diff -r many many-back
	rm -rf "$(host_file "$(N 0)" many)"
}

test_modes_of_a_careful_umask() {
	umask 077
	ok cube cp tree/large "$(N 0):"
	is "$(stat -c %a "$(host_file "$(N 0)" large)")" 755 mode
	rm "$(host_file "$(N 0)" large)"
}

part_of() { compgen -G "$(user_home "$(N 0)")/.big.*.cube-part"; }
part_grows() { [ "$(stat -c %s "$(part_of)" 2>/dev/null || echo 0)" -gt 4000000 ]; }

# Stopped by hand: the part stays, and the next run sends only the rest.
test_stopped_and_taken_up() {
	local have
	head -c 100000000 /dev/zero | openssl enc -aes-128-ctr -K 0123 -iv 0 2>/dev/null >big
	cube cp big "$(N 0):" 2>"$T/stopped" &
	soon part_grows
	kill -TERM $!
	wait $! && fail 'it was not stopped'
	grep -q 'goes on where it was' "$T/stopped"
	[ ! -e "$(host_file "$(N 0)" big)" ]
	soon eval '! fuser -s "$(part_of)"'
	have=$(stat -c %s "$(part_of)")
	[ "$have" -gt 4000000 ] || fail "the part has $have bytes"
	ok cube cp -o json big "$(N 0):"
	json_is '.hosts[0].bytes, .hosts[0].moved' "$(printf '100000000\n%d' $((100000000 - have)))"
	cmp big "$(host_file "$(N 0)" big)"
	[ ! "$(part_of)" ] || fail 'the part is still there'
	rm "$(host_file "$(N 0)" big)"
}

# Waits until the part $1 (a pattern) has over 4 MB of the copy $2 (a process), and then has the worker
# stand still, so that what comes next comes in the middle of it, however quick the copy and slow this
# shell: the worker runs a moment at a time, and nothing but this shell itself is between two.
WORKERS=''
stopped_midway() {
	local part size=0
	WORKERS=$(mine | grep -E '/bin/[0-9a-f]{64} ' | cut -d' ' -f1)
	[ "$WORKERS" ] || fail 'no worker is to be seen'
	# shellcheck disable=SC2086
	until [ "$size" -gt 4000000 ]; do
		kill -CONT $WORKERS
		lab_pause 0.01
		kill -STOP $WORKERS
		kill -0 "$2" || fail 'it ended before it could be cut'
		part=$(compgen -G "$1") || continue
		size=$(stat -c %s "$part")
	done
	[ "$size" -lt 100000000 ] || fail 'all of it was there before it could be cut'
}
# shellcheck disable=SC2086
goes_on() { kill -CONT $WORKERS; }

# The ssh session dies in the middle: the same run waits for the node and goes on.
test_link_breaks() {
	[ "$ON" = openssh ] || return 0
	local home
	home=$(user_home "$(N 0)")
	cube cp -o json big "$(N 0):" >"$O" 2>"$T/broken" &
	stopped_midway "$home/.big.*.cube-part" $!
	cut_links "$(N 0)"
	goes_on
	wait $! || fail "it did not go on: $(cat "$T/broken")"
	grep -q "^cube: $(N 0): the link broke; waiting for it, at most 60 s" "$T/broken"
	json_is '.ok, .hosts[0].bytes, .hosts[0].rounds' "$(printf 'true\n100000000\n2')"
	# what was under way when the link broke is sent again, the part is not
	jq -e '.hosts[0].moved < 130000000' "$O" >/dev/null || fail "sent again: $(jq .hosts[0].moved "$O")"
	cmp big "$(host_file "$(N 0)" big)"
	# and from there
	rm -f here .here.*
	cube cp -o json "$(N 0):big" here >"$O" 2>"$T/broken" &
	stopped_midway '.here.*.cube-part' $!
	cut_links "$(N 0)"
	goes_on
	wait $! || fail "it did not go on: $(cat "$T/broken")"
	json_is '.hosts[0].bytes, .hosts[0].moved, .hosts[0].rounds' "$(printf '100000000\n100000000\n2')"
	cmp big here
	rm -f here "$(host_file "$(N 0)" big)"
}

# So does it when the manager dies: another one is started, and reaches the node again.
test_manager_dies() {
	local pid
	pid=$(manager_pid)
	cube cp -o json big "$(N 0):" >"$O" 2>"$T/broken" &
	stopped_midway "$(user_home "$(N 0)")/.big.*.cube-part" $!
	kill -9 "$pid"
	goes_on
	wait $! || fail "it did not go on: $(cat "$T/broken")"
	grep -q "^cube: $(N 0): the link broke; waiting for it, at most 60 s" "$T/broken"
	json_is '.ok, .hosts[0].bytes, .hosts[0].rounds' "$(printf 'true\n100000000\n2')"
	[ "$(manager_pid)" != "$pid" ] || fail 'the same manager'
	cmp big "$(host_file "$(N 0)" big)"
	rm -f "$(host_file "$(N 0)" big)"
}

test_full_disk() {
	local dir
	[ "$ON" = openssh ] || return 0
	[ "$(id -u)" = 0 ] || skip 'mounting a small file system needs root'
	dir=$(host_file "$(N 0)" full)
	mkdir "$dir"
	mount -t tmpfs -o size=2m none "$dir" || skip 'no tmpfs may be mounted here'
	run cube cp tree/large tree/one "$(N 0):full"
	is "$(ls -A "$dir")" '' 'what is left'
	umount "$dir"
	rc_is 1
	err_is "cube: error: $(N 0): full/large: No space left on device\n"
	rmdir "$dir"
}

# The host stands still until the line is there: a copy may be quicker than an eye.
test_progress_on_a_terminal() {
	local pids
	pids=$(mine | grep -E '/bin/[0-9a-f]{64} ' | cut -d' ' -f1)
	[ "$pids" ] || fail 'no worker is to be seen'
	# shellcheck disable=SC2086
	kill -STOP $pids
	script -qefc "stty cols 60; TERM=xterm cube cp big $(N 0):" "$T/shown" >/dev/null 2>&1 </dev/null &
	(soon grep -q '%  .* of 95\.3 MB' "$T/shown") || { kill -CONT $pids && fail 'no progress is shown'; }
	# shellcheck disable=SC2086
	kill -CONT $pids
	wait $! || fail 'the copy'
	grep -q "1 file, 95\.3 MB to $(N 0) in " "$T/shown" || fail "$(cat -v "$T/shown")"
	# no line is longer than the terminal
	tr '\r' '\n' <"$T/shown" | sed 's/\x1b\[K//; /^Script /d' | wc -L >"$T/width"
	[ "$(cat "$T/width")" -le 60 ] || fail "a line of $(cat "$T/width") columns"
	rm "$(host_file "$(N 0)" big)"
}

# The worker notes the parts that may be left, and only those: a node may live for years.
notes() { (cd "$(user_home "$(N 0)")/.cache/cube/run" && compgen -G '*/copies/*' | wc -l); }
noted() { [ "$(notes)" = "$1" ]; }
# The worker sees a copy's end when it has reaped its process; the client may have seen it before.
notes_are() { soon noted "$1"; }

# A copy that was cut, and one that is under way: whoever takes the node down is done with both. What
# is no part of ours stays.
test_down_takes_parts_along() {
	local home
	home=$(user_home "$(N 0)")
	cube cp big "$(N 0):" 2>/dev/null &
	soon part_grows
	kill -TERM $!
	wait $! && fail 'it was not stopped'
	soon eval '! fuser -s "$(part_of)"'
	notes_are 1
	# what got its name needs none
	ok cube cp tree/large tree/one "$(N 0):"
	notes_are 1
	mkdir "$home/deep"
	cube cp big "$(N 0):deep/" 2>/dev/null &
	# shellcheck disable=SC2016
	soon eval 'compgen -G "$home/deep/.big.*.cube-part"'
	: >"$home/.other.0123456789abcdef.cube-part"
	ok cube down "$(N 0)"
	wait $! && fail 'it ended well'
	[ ! "$(part_of)" ] || fail 'the part is still there'
	is "$(ls -A "$home/deep")" '' 'what is left'
	rm "$home/.other.0123456789abcdef.cube-part"
	rmdir "$home/deep"
	cube spawn --workers="$W" 2>/dev/null
}

main "$@"
