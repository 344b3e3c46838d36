# shellcheck shell=bash
# Bastions and busy sshds: many hosts behind one jump host, two hops, a proxy command, MaxStartups,
# a bastion that goes away.
# on: openssh
. "$(dirname "$0")/lib.sh"

N=40

# h1 is the bastion, with sshd's own MaxStartups; h2 is another one behind it, h3 the target.
setup() {
	local i
	mkdir -p "$T/lab"/h{1,2,3}
	echo 'MaxStartups 10:30:100' | tee "$T/lab/h1/sshd_extra" >"$T/lab/h2/sshd_extra"
	echo 'MaxStartups 100' >"$T/lab/h3/sshd_extra"
	LAB_SSHD_LINES='' # bastions forward
	hosts 3
	W=h3
	{
		for ((i = 1; i <= 50; i++)); do echo "Host far$i"; echo "	ProxyJump h1"; done
		echo 'Host deep*'
		echo '	ProxyJump h1,h2'
		echo 'Host command*'
		echo "	ProxyCommand ssh -F $LAB_CONFIG -W %h:%p h1"
		echo 'Host far* deep* command* near*'
		echo "	Port $(cat "$LAB/h3/port")"
		cat "$LAB_CONFIG"
	} >"$T/config"
	export CUBE_SSH_CONFIG=$T/config
}

teardown() { ok cube down; }

# Connections to host $1's sshd that are open now.
connections() { ss -Htn state established "sport = :$(cat "$LAB/$1/port")" | wc -l; }

no_errors() {
	err_lacks '[Ee]rror|fail|refused|closed|reset|MaxStartups|timed out'
	is "$(cube nodes -o json | jq -r '[.nodes[] | select(.state == "ready")] | length')" "$1" 'ready nodes'
}

test_forty_behind_one_bastion() {
	ok within 60 cube spawn --workers="far[1-$N]"
	no_errors $N
	is "$(connections h1)" 1 "connections to the bastion"
	ok cube run --all -- sh -c "echo from \$CUBE_TASK_ID"
	out_lines $N
	teardown
}

test_bytes_arrive_whole_through_two_hops() {
	ok within 60 cube spawn --workers='deep[1-3]'
	no_errors 3
	is "$(connections h1) $(connections h2)" '1 1' 'connections'
	head -c 3000000 /dev/urandom >big
	ok cube run --push big -- cat big
	cmp big "$O" || fail 'not what was sent'
	teardown
}

test_proxy_command() {
	ok within 60 cube spawn --workers='command[1-12]'
	no_errors 12
	teardown
}

test_fifty_aliases_of_one_busy_sshd() {
	lab_stop h3
	echo 'MaxStartups 3:100:3' >"$LAB/h3/sshd_extra"
	lab_sshd_start h3
	lab_sshd_ready h3
	ok within 90 cube spawn --workers='near[1-50]'
	no_errors 50
	teardown
	lab_stop h3
	echo 'MaxStartups 100' >"$LAB/h3/sshd_extra"
	lab_sshd_start h3
	lab_sshd_ready h3
}

all_are() { # STATE COUNT
	[ "$(cube nodes -o json | jq -r --arg s "$1" '[.nodes[] | select(.state == $s)] | length')" = "$2" ]
}

# The same by the ssh program: with sshd's own MaxStartups, at the host and at the bastion.
test_forty_by_openssh() {
	echo 'MaxStartups 10:30:100' >"$LAB/h3/sshd_extra"
	lab_stop h3
	lab_sshd_start h3
	lab_sshd_ready h3
	ok within 90 cube spawn --workers="near[1-$N]" --transport=openssh
	no_errors $N
	teardown
	ok within 90 cube spawn --workers="far[1-$N]" --transport=openssh
	no_errors $N
	teardown
}

# The programs that go through the bastion end with a manager that is killed.
test_openssh_ends_with_the_manager() {
	ok within 60 cube spawn --workers='far[1-3]' --transport=openssh
	[ "$(ssh_of_ours)" ] || fail 'no ssh to be seen'
	kill -9 "$(manager_pid)"
	soon no_ssh_of_ours
	ok within 60 cube run --all -- true
	teardown
}
ssh_of_ours() {
	local comm
	grep -lsx ssh /proc/[0-9]*/comm | while read -r comm; do
		! grep -qzxF "CUBE_E2E_MARK=$T" "${comm%comm}environ" 2>/dev/null || echo "${comm%/comm}"
	done
}
no_ssh_of_ours() { [ ! "$(ssh_of_ours)" ]; }

# The bastion dies with all its connections, and is there again later.
test_bastion_goes_and_comes_back() {
	ok within 60 cube spawn --workers="far[1-$N]"
	cut_links h1
	lab_stop h1
	soon all_are lost $N
	lab_sshd_start h1
	lab_sshd_ready h1
	WITHIN=40 soon all_are ready $N
	is "$(connections h1)" 1 "connections to the bastion"
	teardown
}

test_a_bastion_that_refuses_is_named() {
	lab_stop h2
	run within 60 cube spawn --workers='deep9'
	rc_is 1
	err_has 'deep9.*jump host h1: .*connect failed'
	lab_sshd_start h2
	lab_sshd_ready h2
}

# All of them, the bastion too, take a key that libssh2 cannot use. None of them was seen before.
test_forty_with_rsa_only() {
	local h
	if grep -aq 'rsa-sha2-512' "$(ldconfig -p | awk '/libssh2\.so\.1 / { print $NF; exit }')"; then
		skip 'this libssh2 has RSA with SHA-2'
	fi
	ssh-keygen -q -t rsa -b 2048 -N '' -f "$LAB/rsa"
	for h in h1 h3; do
		lab_stop "$h"
		printf '%s\n' 'MaxStartups 10:30:100' 'Match all' "AuthorizedKeysFile $LAB/rsa.pub" >"$LAB/$h/sshd_extra"
		lab_sshd_start "$h"
		lab_sshd_ready "$h"
	done
	sed -e "s,^\s*IdentityFile .*,IdentityFile $LAB/rsa," -e "s,^\s*UserKnownHostsFile .*,UserKnownHostsFile $T/known," \
		-e '/StrictHostKeyChecking/d' "$T/config" >"$T/config.rsa"
	ok within 90 cube spawn -F "$T/config.rsa" --workers="far[1-$N]"
	err_has 'using OpenSSH.s ssh: RSA keys need libssh2 1.11'
	no_errors $N
	grep -q . "$T/known" || fail 'no host key was remembered'
	# not those of before, whose key is refused now
	ok cube down --purge "far[1-$N]"
}

main "$@"
