# shellcheck shell=bash
# A host that lies: the worker is a real one, but what it says passes somebody who changes it. The
# host fails alone, and is named with what it did.
# on: local
# smoke
. "$(dirname "$0")/lib.sh"

# `liar HOST PROGRAM...`, as a transport. What a copy begins with is not what it should be, and a
# stream in which "lie" is written is over and goes on.
make_liar() {
	cat >"$T/bin/liar" <<-'END'
		#!/usr/bin/env python3
		import os, subprocess, sys, threading
		os.environ['HOME'] = os.environ['HOMES'] + sys.argv[1]
		child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
		def carry():
		    while data := os.read(0, 65536):
		        child.stdin.write(data)
		    child.stdin.close()
		threading.Thread(target=carry, daemon=True).start()
		while data := os.read(child.stdout.fileno(), 65536):
		    data = data.replace(b'cubecp1\n', b'cubecpX\n')
		    at = data.find(b'lie\n')
		    if at >= 18: # the head before it: length, type, stream, fd, bytes
		        frame = data[at - 18:at + 4]
		        end = (14).to_bytes(4, 'little') + frame[4:14] + bytes(4)
		        data = data[:at + 4] + end + frame
		    os.write(1, data)
		sys.exit(child.wait())
	END
	printf '#!/bin/sh\nHOME=$HOMES$1\nshift\nexec "$@"\n' >"$T/bin/honest"
	chmod 755 "$T/bin/liar" "$T/bin/honest"
}

setup() {
	command -v python3 >/dev/null || exit 3
	mkdir -p "$T/bin" "$T/homes/good1" "$T/homes/bad" "$T/homes/good2"
	export HOMES=$T/homes/
	make_liar
	cd "$T/t" || return 1
	printf '%s transport="%s {host}"\n' good1 "$T/bin/honest" bad "$T/bin/liar" good2 "$T/bin/honest" >hosts
	cube spawn -i hosts >"$T/out" 2>"$T/err" || { shown "$T/err"; return 1; }
	mkdir there
	head -c 3000000 /dev/urandom >there/large
	echo small >there/small
}

# One bad host; the others have all of it, and the exit code counts it.
test_copy_from() {
	run within 100 cube cp "good1,bad,good2:$T/t/there" back
	rc_is 1
	err_is 'cube: error: bad: copy: the other end speaks another version\n'
	diff -r there back/good1/there
	diff -r there back/good2/there
	[ ! -e back/bad/there ] || fail 'something of the liar arrived'
}

test_copy_to() {
	run within 100 cube cp -o json there/large good1,bad,good2:
	rc_is 1
	json_is '[.hosts[] | select(.ok) | .node] | join(" ")' 'good1 good2'
	json_is '.hosts[] | select(.ok | not) | .error' 'copy: the other end speaks another version'
	cmp there/large "$T/homes/good1/large"
	cmp there/large "$T/homes/good2/large"
	[ ! -e "$T/homes/bad/large" ] || fail 'it arrived at the liar all the same'
}

test_exec() {
	run within 100 cube exec bad -- sh -c 'echo lie; sleep 100'
	rc_is 125
	err_has '^cube: error: the stream to bad broke: .*sends more than was granted$'
	run within 100 cube exec good1 -- echo lie
	rc_is 0
	out_is 'lie\n'
	ok within 100 cube down --purge
}

main "$@"
