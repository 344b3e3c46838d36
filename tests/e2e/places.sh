# shellcheck shell=bash
# Where the worker can live: homes and folders that are missing, full, read-only or without exec.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() { hosts 0; }

ELSEWHERE=(mount=/var/tmp:noexec mount=/dev/shm:noexec mount=/tmp:noexec)

# Where the worker runs on host $1 while it is joined: the folder.
lives_in() {
	ok cube spawn -w "$1"
	is "$(worker_of "$1")" "$2" 'the folder of the worker'
	gone_from "$1"
}
worker_of() {
	lab_vm_processes "$1" | sed -nE 's|^[0-9]+ (/.*)/bin/[0-9a-f]{64} .*|\1|p' | sort -u
}
lives_also_in() { # HOST FOLDER: lives, and there
	lives "$1"
	lives_in "$@"
}

test_home_is_preferred() {
	lab_vm plain
	lives_also_in plain /home/user/.cache/cube
}

test_home_without_exec() {
	lab_vm noexec home=noexec
	lives_also_in noexec /var/tmp/cube-user
}

test_home_read_only() {
	lab_vm ro home=ro
	lives_also_in ro /var/tmp/cube-user
}

test_home_missing() {
	lab_vm missing home=missing
	lives_also_in missing /var/tmp/cube-user
}

# Root could make it, and it would stay.
test_home_of_root_missing() {
	lab_vm rootless user=root home=missing
	lives_also_in rootless /var/tmp/cube-root
}

test_home_and_tmp_without_exec() {
	lab_vm shm home=noexec mount=/tmp:noexec mount=/var/tmp:noexec
	lives_also_in shm /dev/shm/cube-user
}

no_home_shell() { # sshd sets HOME whatever happens: the login shell takes it away
	mkdir -p "$2/opt"
	printf '#!/bin/sh\nunset HOME\nexec /bin/bash "$@"\n' >"$2/opt/nohome"
	chmod 755 "$2/opt/nohome"
}
test_home_unset() {
	lab_vm unset shell=/opt/nohome setup=no_home_shell
	# shellcheck disable=SC2016
	run ssh -F "$LAB_CONFIG" unset 'echo "${HOME-none}"'
	out_is 'none\n'
	lives_also_in unset /var/tmp/cube-user
}

tight_umask() { echo 'umask 077' >"$2/home/user/.bashrc"; }
loose_umask() { echo 'umask 000' >"$2/home/user/.bashrc"; }
test_umask() {
	lab_vm tight setup=tight_umask
	lives_also_in tight /home/user/.cache/cube
	ok cube spawn -w tight -- sh -c umask
	out_is '0077\n'
	lab_vm loose setup=loose_umask
	ok cube spawn -w loose
	# Whatever the user's umask: nobody else gets at the worker, or at its socket.
	is "$(lab_vm_in loose find /home/user/.cache/cube -perm /077 ! -type l)" '' 'files open to others'
	ok cube run -w loose -- sh -c umask
	out_is '0000\n'
	ok cube down --purge loose
	cube spawn -w tight >/dev/null 2>&1
	gone_from tight
}

test_nowhere_names_every_folder_tried() {
	lab_vm nowhere home=ro "${ELSEWHERE[@]}"
	lab_vm_files nowhere >before
	run cube spawn -w nowhere
	rc_is 1
	err_has 'nowhere failed: .*no folder can hold the worker'
	err_has ' \(Read-only file system: /home/user/\.cache/cube; noexec: /var/tmp/cube-user /dev/shm/cube-user /tmp/cube-user\)$'
	ok cube down nowhere
	lab_vm_files nowhere | diff before - >&2 || fail 'something stayed'
}

test_full_home_is_passed_over() {
	lab_vm full home=full:32k
	lives_also_in full /var/tmp/cube-user
	ok cube spawn -w full
	elsewhere full 'No space left on device'
	ok cube events -o jsonl
	is "$(jq -r 'select(.kind == "node" and .node == "full" and .new == "failed")' "$O")" '' 'failures'
	gone_from full
}

# Nothing half-written stays or runs, and once there is room it joins there.
test_full_everywhere_and_repaired() {
	lab_vm tight2 home=full:32k mount=/var/tmp:full:32k mount=/dev/shm:full:32k mount=/tmp:full:32k
	lab_vm_files tight2 >before
	run cube spawn -w tight2
	rc_is 1
	err_has 'No space left on device: /home/user/\.cache/cube /var/tmp/cube-user /dev/shm/cube-user /tmp/cube-user'
	lab_vm_files tight2 | diff before - >&2 || fail 'something stayed'
	is "$(lab_vm_processes tight2)" '' processes
	lab_vm_in tight2 mount -o remount,size=64M /home/user
	lives_also_in tight2 /home/user/.cache/cube
}

small_files_rc() { echo 'ulimit -f 64' >"$2/home/user/.bashrc"; }
test_file_size_limit() {
	lab_vm small setup=small_files_rc
	lab_vm_files small >before
	run cube spawn -w small
	rc_is 1
	err_has 'small failed: .*no folder can hold the worker \(.*(too large|limit exceeded).*: /home/user/\.cache/cube'
	lab_vm_files small | diff before - >&2 || fail 'something stayed'
	is "$(lab_vm_processes small)" '' processes
}

# It fits, but nothing more does: tasks' output goes to the manager all the same.
test_disk_full_behind_the_worker() {
	lab_vm brim home=full:4M
	lab_vm_files brim >"$T/brim.before"
	ok cube spawn -w brim
	lab_vm_in brim sh -c 'cat /dev/zero >/home/user/filler; chown 1000 /home/user/filler' 2>/dev/null || true
	ok cube run -w brim -- sh -c 'seq 1 20000'
	seq 1 20000 | cmp - "$O" || fail 'output differs'
	head -c 2000000 /dev/urandom >data
	run cube run -w brim --push data -- cat data
	[ $rc != 0 ] || fail 'there was room'
	err_has 'No space left on device'
	lab_vm_in brim rm /home/user/filler
	ok cube run -w brim --push data -- cat data
	cmp data "$O" || fail 'pushed bytes differ'
	gone_from brim
}

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
elsewhere() { err_has "^cube: $1: the worker is in /var/tmp/cube-user \\(${2:-Disk quota exceeded}: /home/user/.cache/cube\\)\$"; }

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

# The worker in the cache is on a disk that can only be read by now. A daemon lives where it lives,
# whatever becomes of the folders before it.
test_read_only_since() {
	local id
	lab_vm rosince home=full:64M
	lab_vm_files rosince >"$T/rosince.before"
	ok cube spawn -w rosince
	ok cube down rosince
	lab_vm_in rosince mount -o remount,ro /home/user
	ok cube spawn -w rosince
	elsewhere rosince 'Read-only file system'
	lab_vm_in rosince mkfifo -m 666 /tmp/go
	run cube run -d -w rosince -- sh -c 'read -r _ </tmp/go; echo went'
	id=$(cat "$O")
	lab_vm_in rosince mount -o remount,rw /home/user
	lab_vm_in rosince rm -r /run/mount # mount's own
	cut_link rosince
	soon back_again rosince
	is "$(worker_of rosince)" /var/tmp/cube-user 'the folder of the worker'
	lab_vm_in rosince timeout 20 sh -c 'echo >/tmp/go; rm /tmp/go'
	run cube wait "$id"
	rc_is 0
	ok cube down --purge rosince
	ok cube spawn -w rosince # the other one is cached there still
	gone_from rosince
}
cut_link() {
	for pid in $(lab_vm_in "$1" /usr/bin/pgrep -f '^sshd(-session)?: user'); do lab_vm_in "$1" /usr/bin/kill -9 "$pid" || true; done
}
back_again() {
	cube events -o jsonl | jq -es --arg n "$1" '[.[] | select(.kind == "node" and .node == $n)] | any(.new == "lost") and last.new == "ready"'
}

# Of what is sent only the first half arrives: it is removed by the host itself.
half_shell() {
	mkdir -p "$2/opt"
	printf '#!/bin/sh\n[ -e /opt/whole ] || exec head -c 50000 | /bin/sh "$@"\nexec /bin/sh "$@"\n' >"$2/opt/half"
	chmod 755 "$2/opt/half"
}
test_half_of_a_worker() {
	lab_vm half shell=/opt/half setup=half_shell
	lab_vm_files half >"$T/half.before"
	run cube spawn -w half
	rc_is 1
	err_has 'half failed: '
	is "$(lab_vm_processes half)" '' processes
	lab_vm_files half | diff "$T/half.before" - >&2 || fail 'something stayed'
	touch "$LAB/half/root/opt/whole"
	rm "$T/half.before"
	lives half
}

main "$@"
