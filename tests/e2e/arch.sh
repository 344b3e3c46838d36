# shellcheck shell=bash
# Hosts of another architecture than this machine's: each gets its own worker.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 0
	NONE7=$(lab_vm_lacks armv7l)
	[ "$NONE7" ] || lab_vm arm7 arch=armv7l
	LACKS=$(lab_vm_lacks aarch64)
	[ ! "$LACKS" ] || return 0
	lab_vm arm arch=aarch64
	lab_vm native
}

carried() { cube version -o json 2>/dev/null | grep -q aarch64 || cube version | grep -q aarch64; }
machine() { readelf -h "$1" | sed -n 's/^ *Machine: *//p'; }

test_aarch64_gets_its_own_worker() {
	[ ! "$LACKS" ] || skip "$LACKS"
	carried || command -v aarch64-linux-gnu-gcc >/dev/null ||
		skip 'this cube carries no worker for aarch64, and there is no compiler for one'
	lab_vm_files arm >"$T/arm.before"
	ok cube spawn -w arm --connect-timeout 60s
	is "$(machine "$LAB/arm/root"/home/user/.cache/cube/bin/*)" AArch64 'the worker there'
	ok cube run -w arm -- uname -m
	out_is 'aarch64\n'
	ok cube nodes -o json
	json_is '.nodes[] | select(.name == "arm") | .facts.machine // .machine' aarch64
	lives arm
}

test_one_spawn_over_a_mix() {
	[ ! "$LACKS" ] || skip "$LACKS"
	ok cube spawn -w arm,native -- uname -m
	sorted_is "arm: aarch64\nnative: $(uname -m)\n"
	gone_from_both
}
gone_from_both() {
	ok cube spawn -w arm,native
	ok cube down --purge
	is "$(find "$LAB/arm/root" "$LAB/native/root" -name '*cube*')" '' 'files left'
}

# cube carries none for it: built here from its own sources, once, and kept for the next manager.
test_armv7_gets_a_worker_built_on_demand() {
	local built
	[ ! "$NONE7" ] || skip "$NONE7"
	command -v arm-linux-gnueabihf-gcc >/dev/null || skip 'there is no arm-linux-gnueabihf-gcc'
	lab_vm_files arm7 >"$T/arm7.before"
	ok cube spawn -w arm7 --connect-timeout 60s
	is "$(machine "$LAB/arm7/root"/home/user/.cache/cube/bin/*)" ARM 'the worker there'
	ok cube run -w arm7 -- uname -m
	out_is 'armv7l\n'
	built=$(echo "$HOME/.cache/cube/workers"/armv7l-*)
	is "$(sha256sum <"$built" | cut -c1-64)" "${built##*-}" 'the kept worker'
	ok cube down --purge arm7
	lives arm7
}

test_the_built_one_is_kept_for_other_managers() {
	[ ! "$NONE7" ] || skip "$NONE7"
	export CUBE_CC_ARMV7L=/bin/false CUBE_STATE_DIR=$T/other7
	ok cube spawn -w arm7 --purge -- uname -m
	out_is 'armv7l\n'
	ok api_shutdown
}

# Each with a manager and a cache of its own: nothing was built for it yet.
test_a_compiler_that_fails_is_quoted() {
	[ ! "$NONE7" ] || skip "$NONE7"
	export CUBE_STATE_DIR=$T/fails XDG_CACHE_HOME=$T/fails CUBE_CC_ARMV7L='echo x.c:1: error: no such thing; false'
	run cube spawn -w arm7
	rc_is 1
	err_has 'arm7.*building its worker.*error: no such thing.*armv7l.log'
	api_shutdown
}

test_no_compiler_names_the_package() {
	[ ! "$NONE7" ] || skip "$NONE7"
	mkdir "$T/bin" && cp -as /usr/bin/. "$T/bin" && rm -f "$T/bin"/*gcc*
	export CUBE_STATE_DIR=$T/none XDG_CACHE_HOME=$T/none PATH=$T/bin
	run "$CUBE" spawn -F "$LAB_CONFIG" -w arm7
	rc_is 1
	err_has 'arm7.*apt-get install gcc-arm-linux-gnueabihf'
	api_shutdown
}

# A home that hosts share may hold the other one's worker at a path of ours: it is not run there.
test_worker_of_another_architecture_in_the_cache() {
	local bin theirs ours
	[ ! "$LACKS" ] || skip "$LACKS"
	ok cube spawn -w arm,native -- true
	theirs=$(echo "$LAB/arm/root/home/user/.cache/cube/bin"/*)
	bin=$LAB/native/root/home/user/.cache/cube/bin
	ours=$(echo "$bin"/*)
	cp "$theirs" "$bin/"
	chown 1000:1000 "$bin/${theirs##*/}"
	ok cube spawn -w native -- uname -m
	out_is "$(uname -m)\n"
	CUBE_STATE_DIR=$T/other ok cube spawn -w native -- uname -m # a manager that knows nothing of it
	out_is "$(uname -m)\n"
	CUBE_STATE_DIR=$T/other ok api_shutdown
	# Under our name: it is replaced.
	mv "$bin/${theirs##*/}" "$ours"
	ok cube spawn -w native -- uname -m
	out_is "$(uname -m)\n"
	is "$(machine "$ours")" "$(machine "$CUBE")" 'the worker there'
	gone_from_both
}

api_shutdown() { curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" -X POST http://cube/v1/shutdown; }

main "$@"
