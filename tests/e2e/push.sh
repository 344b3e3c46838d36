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
