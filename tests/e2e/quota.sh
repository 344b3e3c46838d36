# shellcheck shell=bash
# Homes with a quota: hit by the worker that comes, by a copy, by a task, or used up before.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() { hosts 0; }

# As the user: a quota is not root's.
as_user() { # HOST COMMAND...
	local host=$1
	shift
	lab_vm_in "$host" setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/user "$@"
}
# Until there is no room for a byte, or a name.
# btrfs sets aside more for what is being written than it takes in the end.
fill_home() {
	as_user "$1" sh -c 'cd; for i in 1 2 3 4; do cat /dev/zero >>filler; sync -f filler; done
		seq 9999 | while read -r i; do mkdir fill.$i && sync -f . || break; done' 2>/dev/null || true
}
empty_home() { as_user "$1" sh -c 'rm -rf /home/user/filler /home/user/fill.*'; }
quota_host() { # NAME SIZE [OPTION...]
	local lacks
	lacks=$(lab_quota_lacks)
	[ ! "$lacks" ] || skip "$lacks"
	lab_vm "$1" home="quota:$2" "${@:3}"
	lab_vm_files "$1" >"$T/$1.before"
}
# It is hit while the worker comes: the next folder, and a word about it.
test_quota() {
	quota_host quota 120k
	ok cube spawn -w quota
	elsewhere quota
	is "$(worker_of quota)" /var/tmp/cube-user 'the folder of the worker'
	gone_from quota
}

test_quota_and_nowhere_else() {
	quota_host quota1 120k "${ELSEWHERE[@]}"
	run cube spawn -w quota1
	rc_is 1
	err_has 'no folder can hold the worker \(Disk quota exceeded: /home/user/\.cache/cube; noexec: /var/tmp/cube-user /dev/shm/cube-user /tmp/cube-user\)'
	lab_vm_files quota1 | diff "$T/quota1.before" - >&2 || fail 'something stayed'
}

# In the middle of a copy: nothing of the file stays, since that would keep the disk full.
test_quota_in_a_copy() {
	quota_host quota2 4M
	head -c 10000000 /dev/urandom >data
	head -c 1000 data >little
	ok cube spawn -w quota2
	run cube cp data quota2:
	rc_is 1
	err_is 'cube: error: quota2: data: Disk quota exceeded\n'
	is "$(lab_vm_in quota2 find /home/user -name '*data*')" '' 'what is left'
	mkdir -p tree/sub
	cp data tree/sub/
	run cube cp tree quota2:
	rc_is 1
	err_is 'cube: error: quota2: tree/sub/data: Disk quota exceeded\n'
	as_user quota2 rm -r /home/user/tree
	fill_home quota2
	run cube cp little quota2:
	rc_is 1
	err_is 'cube: error: quota2: little: Disk quota exceeded\n'
	empty_home quota2
	ok cube cp little quota2:
	as_user quota2 rm /home/user/little
	gone_from quota2
}

# While a task runs: what it says arrives all the same, what it writes fails as it does by hand, and
# what is pushed for the next one is refused with the reason.
test_quota_under_a_task() {
	quota_host quota3 4M
	ok cube spawn -w quota3
	run cube run -w quota3 -- sh -c 'seq 1 20000; cat /dev/zero >filler; rc=$?; seq 20001 40000; exit $rc'
	rc_is 1
	seq 1 40000 | cmp - "$O" || fail 'output differs'
	err_has 'cat: .*: Disk quota exceeded'
	fill_home quota3
	head -c 1000 /dev/urandom >little
	run cube run -w quota3 --push little -- cat little
	rc_is 125
	err_has '^cube: error: quota3: a file for it was refused: cannot .* /home/user/\.cache/cube/run/[^ ]*: Disk quota exceeded$'
	ok cube run -w quota3 -- seq 1 20000
	seq 1 20000 | cmp - "$O" || fail 'output differs'
	empty_home quota3
	ok cube run -w quota3 --push little -- cat little
	cmp little "$O" || fail 'pushed bytes differ'
	gone_from quota3
}

# Used up beforehand, without and with a worker in the cache there.
test_quota_used_up() {
	quota_host quota4 4M
	fill_home quota4
	ok cube spawn -w quota4
	elsewhere quota4
	is "$(worker_of quota4)" /var/tmp/cube-user 'the folder of the worker'
	ok cube down --purge quota4
	empty_home quota4
	ok cube spawn -w quota4
	is "$(worker_of quota4)" /home/user/.cache/cube 'the folder of the worker'
	ok cube down quota4
	fill_home quota4
	ok cube spawn -w quota4
	elsewhere quota4
	is "$(worker_of quota4)" /var/tmp/cube-user 'the folder of the worker'
	# A worker that is there goes on there.
	ok cube spawn -w quota4
	err_has '^quota4 ready already'
	ok cube down --purge quota4
	empty_home quota4
	lab_vm_files quota4 | diff "$T/quota4.before" - >&2 || fail 'something stayed'
}

no_device() { ! losetup -l | grep -q "$LAB/quota4/"; }
test_quota_leaves_no_device() {
	[ -d "$LAB/quota4" ] || skip 'no quota here'
	lab_stop quota4
	ssh-keygen -q -R "[127.0.0.1]:$(cat "$LAB/quota4/port")" -f "$LAB/known_hosts" 2>/dev/null # another host may get it
	soon no_device
	sed -i '/^quota4$/d' "$LAB/hosts"
}

main "$@"
