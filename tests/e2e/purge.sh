# shellcheck shell=bash
# After `cube down --purge` said so, nothing of cube's is on the host; else it says why not.
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() {
	LAB_SETENV="CUBE_DIR=$T/elsewhere $LAB_SETENV" hosts 2
}

clean() { # what is left of cube's where the hosts may have it
	local found
	found=$(find "$LAB"/h*/home "$T/elsewhere" ! -type d 2>/dev/null | grep -v /.ssh/ || true)
	[ ! "$found" ] && [ ! -e "$T/elsewhere" ] || fail "left: $found"
}
cached() { [ "$(find "$T/elsewhere" -type f | grep -cE '/bin/[0-9a-f]{64}$')" = 1 ]; }
second() { CUBE_STATE_DIR=$T/state2 cube "$@"; }

test_down_and_then_purge() {
	ok cube spawn -w 'h[1-2]'
	ok cube down
	cached
	ok cube down --purge
	out_is 'h[1-2] gone\n'
	clean
	ok cube down --purge
	err_has 'no node to take down'
}

test_purge_after_a_command() {
	ok cube spawn -w h1 -- true
	cached
	ok cube down --purge h1
	out_is 'h1 gone\n'
	clean
	run cube down --purge h1
	rc_is 1
	err_has "no node 'h1', and none of that name left its worker"
}

test_purge_after_a_restart() {
	ok cube spawn -w h1 -- true
	api POST /v1/shutdown
	ok cube down --purge h1
	clean
}

test_names_nobody_knows() {
	run cube down --purge h9
	rc_is 1
	err_has 'cube spawn --workers=HOST'
	run cube down h9
	rc_is 1
	err_has h9
	run second down h9
	rc_is 1
	ok second down --purge
	err_has 'no node to take down'
}

test_host_that_is_away() {
	ok cube spawn -w h1 -- true
	lab_stop h1
	run cube down --purge h1
	rc_is 1
	err_has 'left behind: h1: .*refused'
	run cube spawn -w h1
	rc_is 1
	run cube down --purge
	rc_is 1
	err_has 'left behind: h1'
	lab_sshd_start h1
	lab_sshd_ready h1
	ok cube down --purge
	clean
}

# One of an earlier build, in the folder that is used and in another one; and half an upload.
test_other_folders() {
	local name home
	home=$(home_of h1)/.cache/cube
	name=$(printf '%064d' 7)
	ok cube spawn -w h1
	mkdir -p "$home/bin"
	touch "$home/.made-parent" "$home/bin/.tmp.half" "$T/elsewhere/bin/$name"
	cp "$T/elsewhere/bin/$name" "$home/bin/$name"
	ok cube run -d -- sleep 1000
	ok cube down --purge
	clean
	[ ! -e "$(home_of h1)/.cache" ] || fail 'the folder that was made for it is there'
}

test_another_cluster() {
	ok cube spawn -w h1
	ok second spawn -w h1
	ok cube down --purge
	out_is 'h1 gone\n'
	err_has 'h1: its worker stays cached for that of another cluster: .*/elsewhere/run/'
	ok second down --purge
	err_is ''
	clean
}

# Who asks for less, or for more, while it is under way.
test_two_at_once() {
	local pids=()
	ok cube spawn -w 'h[1-2]'
	cube down >/dev/null 2>&1 &
	pids+=($!)
	cube down --purge >/dev/null 2>&1 &
	pids+=($!)
	wait "${pids[@]}"
	cube down --purge >/dev/null 2>&1
	clean
}

main "$@"
