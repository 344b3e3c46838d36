# shellcheck shell=bash
# Where the worker can live: homes and folders that are missing, full, read-only or without exec.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() { hosts 0; }

# Where the worker runs on host $1 while it is joined: the folder.
lives_in() {
	ok cube spawn -w "$1"
	is "$(worker_of "$1")" "$2" 'the folder of the worker'
	gone_from "$1"
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
