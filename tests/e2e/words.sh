# shellcheck shell=bash
# The words of ssh's configuration against a real sshd, and whose login a command gets.
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() {
	LAB_SSHD_LOG=INFO
	hosts 2
	ME=$(id -un) PORT=$(cat "$LAB/h1/port")
}

through() { # TRANSPORT REASON WORDS...: it runs, and why by that
	local transport=$1 reason=$2
	shift 2
	ok within 60 cube spawn "$@" -w h1
	ok cube run -w h1 -- echo through
	out_is 'through\n'
	ok cube nodes -o json
	json_is '.nodes[0].transport' "$transport"
	[[ $(jq -r '.nodes[0].transport_reason // ""' "$O") =~ ^$reason$ ]] || fail "why: $(jq -r '.nodes[0].transport_reason' "$O")"
	ok cube down
}
refused() { # PATTERN WORDS...
	local pattern=$1
	shift
	run within 60 cube spawn "$@" -w h1 -- echo never
	[ "$rc" != 0 ] || fail "got in: $*"
	out_is ''
	err_has "$pattern"
}
logins() { grep -c 'Accepted publickey' "$LAB/h1/sshd.log"; }

test_what_is_allowed_there() {
	cube down >/dev/null 2>&1
	through ssh ''
	refused 'host key|HostKeyAlgorithms' -o HostKeyAlgorithms=ecdsa-sha2-nistp256
	refused 'pubkey|[Dd]enied|not allowed' -o PubkeyAcceptedAlgorithms=rsa-sha2-512
	refused '[Dd]enied' -o PubkeyAuthentication=no
	refused 'AddressFamily inet6' -o AddressFamily=inet6
	through ssh '' -o AddressFamily=inet
}

test_how_it_is_kept_secret() {
	cube down >/dev/null 2>&1
	local word
	for word in Ciphers=aes256-ctr KexAlgorithms=ecdh-sha2-nistp521 MACs=hmac-sha2-512; do
		run cube doctor -o "$word" h1
		out_has "${word#*=}"
	done
	through openssh 'Ciphers of the configuration has nothing that libssh2 .* knows' -o Ciphers=chacha20-poly1305@openssh.com
}

# The two that used to be passed over, and what else libssh2 has no way to do.
test_revoked_keys_and_a_command_for_known_ones() {
	cube down >/dev/null 2>&1
	cp "$LAB/h1/host_key.pub" revoked
	refused '[Rr]evoked' -o RevokedHostKeys="$PWD/revoked"
	refused '[Rr]evoked' -o RevokedHostKeys=revoked
	cp "$LAB/h2/host_key.pub" revoked
	through openssh 'RevokedHostKeys needs the ssh program' -o RevokedHostKeys="$PWD/revoked"
	printf '#!/bin/sh\necho "[127.0.0.1]:%s $(cat %s)"\n' "$PORT" "$LAB/h1/host_key.pub" >known && chmod 755 known
	through openssh 'KnownHostsCommand needs the ssh program' -o KnownHostsCommand="$PWD/known" -o UserKnownHostsFile=/dev/null \
		-o StrictHostKeyChecking=yes
	refused 'not known|[Hh]ost key' -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes
	through openssh 'CheckHostIP needs the ssh program' -o CheckHostIP=yes
	refused 'CheckHostIP needs the ssh program' --transport ssh -o CheckHostIP=yes
}

# A configuration made for people does not cost the ssh program its stdin, its command or itself.
test_words_against_a_pipe() {
	cube down >/dev/null 2>&1
	{ printf 'SessionType none\nStdinNull yes\nForkAfterAuthentication yes\n' && cat "$LAB_CONFIG"; } >config
	through openssh '' -F "$PWD/config" --transport openssh
	through ssh '' -F "$PWD/config"
}

test_another_users_login_is_not_used() {
	cube down >/dev/null 2>&1
	local words
	ok cube spawn -w h1
	for words in '-l nobody -w h1' '-w nobody@h1' "--become -w h1" "-p 1 -w h1" "--identity $LAB/id -w h1" \
		'-J h2 -w h1' '-o Compression=yes -w h1' '--transport openssh -w h1' '--host-key-check=strict -w h1'; do
		# shellcheck disable=SC2086
		run cube spawn $words -- echo never
		[ "$rc" != 0 ] || fail "ran: $words"
		out_is ''
		err_has "h1 is a node already, logged in to as $ME; not as asked for: .*\`cube down h1\` first"
	done
	ok cube spawn -l "$ME" -w h1 -- echo mine
	out_is 'mine\n'
	for words in 'run -w nobody@h1 -- echo' 'login nobody@h1' 'down nobody@h1' 'cp nobody@h1:/etc/passwd .' \
		"cp $LAB_CONFIG nobody@h1:x"; do
		# shellcheck disable=SC2086
		run cube $words
		[ "$rc" != 0 ] || fail "did: $words"
		err_has "h1 is logged in to as $ME, not as nobody: "
	done
	ok cube run -w "$ME@h1" -- echo mine
	out_is 'mine\n'
	ok cube down
}

# ssh does not tell whose a socket is that has the same name for every user.
test_a_master_of_who_knows_whom() {
	cube down >/dev/null 2>&1
	local before path
	for path in "$T/cm" "$T/cm-%r"; do
		{ printf 'ControlPath %s\n' "$path" && cat "$LAB_CONFIG"; } >config
		ssh -F config -o ControlMaster=yes -o ControlPersist=yes -o StrictHostKeyChecking=no -fN h1 </dev/null
		before=$(logins)
		ok cube spawn -F "$PWD/config" --transport openssh -w h1 -- echo through
		out_is 'through\n'
		case $path in
		*%r) is "$(logins)" "$before" logins ;;
		*) [ "$(logins)" -gt "$before" ] || fail 'the login behind a name for all was used' ;;
		esac
		ssh -F config -O exit h1 2>/dev/null
	done
}

main "$@"
