# shellcheck shell=bash
# cube doctor: what it says of hosts that are well and of hosts that are not, and that it leaves none
# of them changed.
# on: vm
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 0
	lab_vm well shell=/usr/bin/fish
	lab_vm tight home=noexec mount=/var/tmp:ro logind='KillUserProcesses=yes' logind='KillExcludeUsers='
	lab_vm small home=full:64k
	lab_vm asks key=none password=geheim
	lab_vm forced sshd='ForceCommand /bin/echo go away'
	lab_vm nowhere home=noexec mount=/var/tmp:noexec mount=/tmp:noexec mount=/dev/shm:noexec
}

finding() { # HOST CHECK VERDICT [PATTERN]
	jq -e --arg h "$1" --arg c "$2" --arg v "$3" --arg p "${4:-.}" \
		'.hosts[$h][] | select(.check == $c and .verdict == $v and (.text | test($p)))' "$O" >/dev/null ||
		fail "no finding '$2' $3 /${4:-}/ for $1: $(jq -c --arg h "$1" '.hosts[$h][] | [.check, .verdict, .text]' "$O")"
}

test_a_host_that_is_well() {
	local before
	ssh -F "$LAB_CONFIG" well true # fish makes its folders at the first login
	before=$(lab_vm_files well)
	ok cube doctor well --output json
	finding well configuration ok 'User=user .*Port='
	finding well connect ok '^127.0.0.1 port [0-9]+$'
	finding well server ok '^SSH-2.0-OpenSSH'
	finding well 'key exchange' ok 'sha2'
	finding well 'host key' ok '^ssh-ed25519 SHA256:[A-Za-z0-9+/]{43} (new|known)$'
	finding well methods ok publickey
	finding well login ok "^publickey .*/id$"
	finding well shell ok '/usr/bin/fish'
	finding well home ok '^/home/user, umask 0022'
	finding well folder ok '/home/user/.cache/cube.*the worker goes there'
	finding well architecture ok "^$(uname -m), Linux"
	finding well clock ok 'against this machine'
	finding well logout ok
	diff <(echo "$before") <(lab_vm_files well) >changes || fail "$(cat changes)"
	is "$(cube nodes -q)" '' 'nodes'
}

test_output_that_nobody_takes() {
	run eval 'cube doctor well >/dev/full'
	rc_is 1
	err_has 'cannot write to stdout'
	run eval 'cube doctor well --output json >/dev/full'
	rc_is 1
}

test_another_host_key() {
	cp "$LAB/known_hosts" known.before
	sed -i "s#^\(\[127.0.0.1\]:$(cat "$LAB/well/port") [^ ]*\) .*#\1 $(ssh-keygen -y -f "$LAB/id" | cut -d' ' -f2)#" "$LAB/known_hosts"
	run cube doctor well --output json
	cp known.before "$LAB/known_hosts"
	rc_is 1
	finding well 'host key' warning 'changed$'
	finding well 'host key' failed 'ssh-keygen -R'
}

test_what_is_odd_is_told_with_what_to_do() {
	ok cube doctor tight
	out_has 'note +folder +/home/user/.cache/cube: programs cannot be run'
	out_has 'note +folder +/var/tmp/cube-user: cannot be written to'
	out_has 'ok +folder +/dev/shm/cube-user.*the worker goes there'
}

# The home has no room for it.
test_the_worker_is_where_it_was_put() {
	ok cube spawn -w small -- true
	ok cube doctor small
	out_has 'ok +worker +is there: /var/tmp/cube-user/bin/'
	out_lacks 'the worker goes there'
	ok cube spawn -w small
	ok cube down --purge
}

goes_to() { # HOST FOLDER: doctor says so, and it does
	ok cube doctor "$1"
	out_has "ok +folder +$2: programs can be kept and run \\(the worker goes there\\)"
	cube spawn -w "$1" -- sh -c 'tr "\\0" "\\n" </proc/$PPID/cmdline' >"$O" 2>"$E" || fail "$(cat "$E")"
	out_has "^$2/bin/"
	cube spawn -w "$1" >/dev/null 2>&1 && ok cube down --purge "$1"
}

# What it says of room is what the push finds, and nothing of the trial stays.
test_no_room() {
	lab_vm_files small >before
	ok cube doctor small
	lab_vm_files small | diff before - || fail 'something stayed'
	out_has 'note +folder +/home/user/.cache/cube: no room for the worker \(No space left on device\)'
	out_has '-> free some space there'
	goes_to small /var/tmp/cube-user
}

# Why there is none is read by words: the host is to say it in English.
test_english_is_asked_for() {
	mkdir "$T/fake"
	# shellcheck disable=SC2016
	printf '#!/bin/sh\necho "mkdir: in ${LC_ALL:-any language}" >&2\nexit 1\n' >"$T/fake/mkdir"
	chmod 755 "$T/fake/mkdir"
	run cube doctor --transport="env -u LC_ALL PATH=$T/fake:$PATH" talker
	out_has 'cannot be written to \(in C\)'
	out_lacks 'any language'
}

test_no_room_anywhere() {
	lab_vm packed home=full:64k mount=/var/tmp:full:64k mount=/dev/shm:full:64k mount=/tmp:noexec
	run cube doctor packed
	rc_is 1
	out_has 'note +folder +/var/tmp/cube-user: no room for the worker \(No space left on device\)'
	out_has 'failed +folder +there is none'
	out_has '-> free some space in one of them'
	run cube spawn -w packed
	rc_is 1
}

test_quota() {
	local lacks
	lacks=$(lab_quota_lacks)
	[ ! "$lacks" ] || skip "$lacks"
	lab_vm quota home=quota:120k
	lab_vm_files quota >before
	ok cube doctor quota
	lab_vm_files quota | diff before - || fail 'something stayed'
	out_has 'note +folder +/home/user/.cache/cube: no room for the worker \(Disk quota exceeded\)'
	goes_to quota /var/tmp/cube-user
}

cgroup_is() { # MODE VERDICT TEXT
	local lacks
	lacks=$(lab_cgroup_lacks "$1")
	[ ! "$lacks" ] || skip "$lacks"
	lab_vm "cg-$1" cgroup="$1"
	ok cube doctor "cg-$1" --output json
	finding "cg-$1" cgroup "$2" "$3"
}
test_cgroup_delegated() { cgroup_is delegated ok '^v2, writable: /user$'; }
test_cgroup_of_root() { cgroup_is v2 note '^v2, not ours to write: limits by rlimits'; }
test_cgroup_v1() { cgroup_is v1 note '^v1: limits by rlimits$'; }
test_cgroup_none() {
	ok cube doctor well --output json
	finding well cgroup note '^none: limits by rlimits$'
}

test_a_command_of_the_hosts_own() {
	run within 60 cube doctor forced
	rc_is 1
	out_has 'failed +shell +the host did not run our command.*go away'
	out_has '-> a ForceCommand'
}

test_a_password_is_wanted_and_nobody_is_there() {
	run within 60 cube doctor asks
	rc_is 1
	out_has 'ok +methods .*password'
	out_has 'failed +login .*needs a password'
	out_has '-> run .cube spawn. or .cube login'
}

test_no_folder() {
	run within 60 cube doctor nowhere
	rc_is 1
	out_has 'failed +folder +there is none'
	out_has '-> set CUBE_DIR'
}

test_several_hosts_and_one_that_is_not_there() {
	lab_alias gone 9
	run within 60 cube doctor 'well,gone' --output jsonl
	rc_is 1
	jq -es 'any(.[]; .node == "gone" and .check == "connect" and .verdict == "failed" and .fix != null)' "$O" >/dev/null ||
		fail "$(cat "$O")"
	jq -es 'any(.[]; .node == "well" and .check == "folder" and .verdict == "ok")' "$O" >/dev/null || fail "$(cat "$O")"
}

test_no_host_is_an_error() {
	run cube doctor
	rc_is 2
	err_has 'which host'
}

main "$@"
