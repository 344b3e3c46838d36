# shellcheck shell=bash
# After `cube down --purge` said so, nothing of cube's is on the host; else it says why not.
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
}

clean() { # what is left of cube's where the hosts may have it
	local found
	found=$(find "$LAB"/h*/home -path '*/.cache*')
	[ ! "$found" ] || fail "left: $found"
}
cached() { find "$(home_of "$1")" -type f | grep -qE '/bin/[0-9a-f]{64}$' || fail "nothing is cached on $1"; }
second() { CUBE_STATE_DIR=$T/state2 cube "$@"; }

test_down_and_then_purge() {
	ok cube spawn -w 'h[1-2]'
	ok cube down
	cached h1
	cached h2
	ok cube down --purge
	out_is 'h[1-2] gone\n'
	clean
	ok cube down --purge
	err_has 'no node to take down'
}

test_purge_after_a_command() {
	ok cube spawn -w h1 -- true
	cached h1
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

# One of an earlier build, and half an upload.
test_earlier_builds() {
	local home name
	home=$(home_of h1)/.cache/cube
	name=$(printf '%064d' 7)
	ok cube spawn -w h1
	touch "$home/bin/.tmp.half" "$home/bin/$name"
	ok cube run -d -- sleep 1000
	ok cube down --purge
	clean
}

test_another_cluster() {
	ok cube spawn -w h1
	ok second spawn -w h1
	ok cube down --purge
	out_is 'h1 gone\n'
	err_has 'h1: its worker stays cached for that of another cluster: .*/.cache/cube/run/'
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
