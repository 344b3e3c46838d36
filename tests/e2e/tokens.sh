# shellcheck shell=bash
# Keys in tokens: FIDO (made in software, as a provider of OpenSSH's security keys) and PKCS#11
# (softhsm). ssh-keygen, ssh, ssh-agent and sshd are the real ones.
# on: openssh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../lab/tokens.sh
. "$ROOT/tests/lab/tokens.sh"

TOKEN=$T/token
FIDO='using OpenSSH.s ssh: FIDO keys'

setup() {
	LAB_SSHD_LOG=VERBOSE
	hosts 2
	if [ ! "$(lab_fido_lacks)" ]; then lab_fido "$TOKEN" || exit 3; fi
	if [ ! "$(lab_hsm_lacks)" ]; then
		lab_hsm "$T/hsm" 4711 || exit 3
		hsm_keys || exit 3
	fi
}

hsm_keys() {
	ssh-keygen -q -t ecdsa -m PKCS8 -N '' -f "$T/hsm/ec" </dev/null && lab_hsm_key "$T/hsm/ec" a1 &&
		rm "$T/hsm/ec" # only the token has it now
}

# ---- hosts and keys -----------------------------------------------------------------------------

# Both hosts take the public key in file $1, with options $2 of authorized_keys; more lines of
# sshd_config may follow.
hosts_take() {
	local host
	printf '%s%s\n' "${2:+$2 }" "$(cat "$1")" >"$LAB/taken"
	for host in "${NODES[@]}"; do
		lab_stop "$host"
		printf 'Match all\nAuthorizedKeysFile %s\n%b\n' "$LAB/taken" "${3:-}" >"$LAB/$host/sshd_extra"
		lab_sshd_start "$host"
	done
	for host in "${NODES[@]}"; do lab_sshd_ready "$host"; done
}

# The lab's configuration for a person, with these lines for all hosts before the others.
config() {
	{ printf '%b\n' "$1" && sed '/^IdentityFile/d; /BatchMode/d' "$LAB_CONFIG"; } >"$T/config"
	[ "${2:-}" ] || return 0
	sed -i "/$2/d" "$T/config"
}

fido_key() { # NAME TYPE [WORDS OF ssh-keygen]
	local lacks
	lacks=$(lab_fido_lacks)
	[ ! "$lacks" ] || skip "$lacks"
	[ -f "$T/$1" ] || ssh-keygen -q -w "$TOKEN/sk_token.so" -t "$2" -N '' -f "$T/$1" "${@:3}" </dev/null
	config "IdentityFile $T/$1\nSecurityKeyProvider $TOKEN/sk_token.so"
	: >"$TOKEN/log"
}

# How often the token did something.
token() { grep -cx "$1" "$TOKEN/log" || true; }

# Each cold join of a host signs once, however many lines cube has for it.
each_once() { is "$(token "$1")" "$2" "$1"; }

# A finger on the token, $1 times.
touch_token() {
	local i
	# shellcheck disable=SC2016
	for ((i = 0; i < $1; i++)); do within 20 sh -c 'echo >"$1"' touch "$TOKEN/finger" || fail 'the token waits for no touch'; done
}

# ---- a person at a terminal ---------------------------------------------------------------------

at_terminal() { # COMMAND
	command -v script >/dev/null || skip 'script is not installed (bsdutils)'
	rm -f typed shown && mkfifo typed
	within 60 script -qefc "$1" shown <typed >/dev/null 2>&1 &
	TERMINAL=$!
	exec 7>typed
}
sees() { soon grep -qaE "$1" shown; }
types() { printf '%s\n' "$1" >&7; }
terminal_ends() { # CODE
	local rc=0
	wait "$TERMINAL" || rc=$?
	exec 7>&-
	[ "$rc" = "$1" ] || { cat -v shown >&2 && fail "exit code $rc, not $1"; }
}
times_shown() { grep -caE "$1" shown || true; }

# The whole of it, unattended.
joins() { # PATTERN OF THE LINE THAT SAYS WHY
	ok within 60 cube spawn -F "$T/config" -w "$W" </dev/null
	err_has "$1"
	is "$(grep -c 'using OpenSSH' "$E")" 1 'lines that say so'
	err_has '^2 ready'
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\n'
	ok cube down --purge
}

# ---- FIDO ---------------------------------------------------------------------------------------

test_fido_ecdsa() {
	fido_key ecdsa ecdsa-sk -O no-touch-required
	hosts_take "$T/ecdsa.pub" no-touch-required
	joins "$FIDO"
	[ "$(token sign)" -ge 2 ] || fail 'the token signed nothing'
	is "$(token touch)" 0 'touches'
}

test_fido_ed25519() {
	fido_key ed25519 ed25519-sk -O no-touch-required
	hosts_take "$T/ed25519.pub" no-touch-required
	joins "$FIDO"
	[ "$(token sign)" -ge 2 ] || fail 'the token signed nothing'
}

test_fido_doctor() {
	fido_key ecdsa ecdsa-sk -O no-touch-required
	hosts_take "$T/ecdsa.pub" no-touch-required
	ok within 60 cube doctor -F "$T/config" h1 </dev/null
	out_has 'note +transport +FIDO keys need the ssh program'
	out_has 'ok +shell'
}

test_fido_touch() {
	fido_key touch ecdsa-sk
	hosts_take "$T/touch.pub"
	mkfifo "$TOKEN/finger"
	at_terminal "cube spawn -F '$T/config' -w h1"
	sees 'Confirm user presence for key ECDSA-SK SHA256'
	is "$(times_shown '1 ready')" 0 'joined untouched'
	touch_token 1
	terminal_ends 0
	sees '1 ready'
	each_once touch 1
	ok cube run --all -- echo in
	# A link that breaks does not make the token blink again by itself.
	cut_links h1
	soon is_now h1 needs-login
	each_once sign 1
	at_terminal 'cube login h1'
	sees 'Confirm user presence for key ECDSA-SK SHA256'
	touch_token 1
	terminal_ends 0
	each_once touch 2
	rm "$TOKEN/finger"
	ok cube down --purge
}
state_of() { cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | .state"; }
is_now() { [ "$(state_of "$1")" = "$2" ]; }

# Who can touch it may be there without a terminal; not for long.
test_fido_not_touched() {
	fido_key touch ecdsa-sk
	hosts_take "$T/touch.pub"
	mkfifo "$TOKEN/finger"
	run within 60 setsid cube spawn -F "$T/config" --connect-timeout="$(seconds 2)" -w h1 </dev/null
	rc_is 1
	err_has 'h1: Confirm user presence for key'
	err_has 'h1 needs-login: its key has to be touched'
	each_once touch 0
	rm "$TOKEN/finger"
	ok within 60 cube login h1 </dev/null
	each_once touch 1
	ok cube down --purge
}

test_fido_pin() {
	echo 2580 >"$TOKEN/pin"
	# ssh-keygen asks for the PIN by its askpass.
	printf '#!/bin/sh\necho 2580\n' >"$T/tells_pin"
	chmod 755 "$T/tells_pin"
	SSH_ASKPASS=$T/tells_pin SSH_ASKPASS_REQUIRE=force fido_key pin ecdsa-sk -O verify-required
	hosts_take "$T/pin.pub" verify-required
	at_terminal "cube spawn -F '$T/config' -w h1"
	sees 'Enter PIN for ECDSA-SK key .*: *\(h1\)|Enter PIN for ECDSA-SK key'
	types 1111
	terminal_ends 1
	each_once 'wrong pin' 1
	at_terminal 'cube login h1'
	sees 'Enter PIN for ECDSA-SK key'
	types 2580
	terminal_ends 0
	sees '1 ready'
	each_once pin 1
	! grep -rqaF 2580 "$CUBE_STATE_DIR" shown || fail 'the PIN was kept or shown'
	ok cube down --purge
	rm "$TOKEN/pin"
}

test_fido_nobody_there() {
	[ -f "$T/pin" ] || skip 'there is no such key'
	fido_key pin ecdsa-sk
	hosts_take "$T/pin.pub" verify-required
	run within 60 setsid cube spawn -F "$T/config" -w h1 </dev/null
	rc_is 1
	err_has 'h1 needs-login: .*nobody was there to be asked'
	# A token locks itself after some wrong PINs: none is sent, not even an empty one.
	run within 60 setsid cube doctor -F "$T/config" h1 </dev/null
	rc_is 1
	each_once 'wrong pin' 0
	ok cube down --purge
}

test_fido_certificate() {
	fido_key ecdsa ecdsa-sk -O no-touch-required
	ssh-keygen -q -t ed25519 -N '' -f "$T/ca"
	ssh-keygen -q -s "$T/ca" -I lab -n "$(id -un)" -V +1h -O no-touch-required "$T/ecdsa.pub"
	hosts_take /dev/null '' "TrustedUserCAKeys $T/ca.pub"
	joins 'using OpenSSH.s ssh: (certificates|FIDO keys)'
	[ "$(token sign)" -ge 2 ] || fail 'the token signed nothing'
	rm "$T/ecdsa-cert.pub"
}

# ---- PKCS#11 ------------------------------------------------------------------------------------

hsm_only() {
	local lacks
	lacks=$(lab_hsm_lacks)
	[ ! "$lacks" ] || skip "$lacks"
	hosts_take "$T/hsm/ec.pub"
}

test_pkcs11() {
	hsm_only
	config "PKCS11Provider $LAB_HSM" 'IdentitiesOnly' # it would leave out what no file names
	at_terminal "cube spawn -F '$T/config' -w 'h[1-2]'"
	sees 'Enter PIN for .lab.'
	types 4711 # once: another question would wait in vain
	terminal_ends 0
	sees 'using OpenSSH.s ssh: PKCS11Provider'
	sees '2 ready'
	ok cube run --all -- echo in
	ok cube down --purge
}

test_pkcs11_in_an_agent() {
	hsm_only
	config "IdentityAgent $T/agent" 'IdentityAgent none\|IdentitiesOnly'
	printf '#!/bin/sh\necho 4711\n' >"$T/tells_pin"
	chmod 755 "$T/tells_pin"
	ssh-agent -D -a "$T/agent" >/dev/null 2>&1 &
	# shellcheck disable=SC2064
	trap "kill $!" EXIT
	soon test -S "$T/agent"
	SSH_AUTH_SOCK=$T/agent SSH_ASKPASS=$T/tells_pin SSH_ASKPASS_REQUIRE=force ssh-add -s "$LAB_HSM" </dev/null 2>/dev/null
	ok within 60 cube spawn -F "$T/config" --transport=ssh -w "$W" </dev/null
	err_has '^2 ready'
	ok cube run --all -- echo in
	ok cube down --purge
}

main "$@"
