# shellcheck shell=bash
# Hosts of another architecture than this machine's: each gets its own worker.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 0
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
