# shellcheck shell=bash
# Hosts that take Kerberos tickets (GSSAPI) and nothing else, with a KDC of our own; and whose
# environment ssh has: that of the newest command, not that of the one which started the manager.
# on: openssh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../lab/kerberos.sh
. "$ROOT/tests/lab/kerberos.sh"

LACKS=$(lab_kerberos_lacks)
WHY='using OpenSSH.s ssh: GSSAPI'

setup() {
	LAB_SSHD_LOG=VERBOSE
	if [ "$LACKS" ]; then
		hosts 2
		return
	fi
	hosts 0
	lab_kdc || exit 3
	LAB_SSHD_ENV=$LAB_KERBEROS_ENV
	LAB_SSHD_LINES=$(lab_kerberos_sshd) lab_openssh h 2 || exit 3
	W='h[1-2]'
	sed -i '/BatchMode/d; s/^IdentityFile.*/&\nGSSAPIAuthentication yes/' "$LAB_CONFIG"
	unset KRB5CCNAME
}

kerberos() { [ ! "$LACKS" ] || skip "$LACKS"; }

state_of() { cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | .state"; }
is_now() { [ "$(state_of "$1")" = "$2" ]; }

fresh_tickets() { # LIFE: where tickets are by default
	rm -f "$LAB/kdc/default_tickets"
	lab_ticket "$LAB/kdc/default_tickets" "${1:-10h}"
}

# ---- tickets ------------------------------------------------------------------------------------

test_no_ticket() {
	kerberos
	run within 60 setsid cube spawn -w h1 </dev/null
	rc_is 1
	err_has 'h1 needs-login: .*no valid Kerberos ticket.*kinit'
	is_now h1 needs-login
	# What it says to do does it.
	fresh_tickets
	ok within 60 setsid cube login h1 </dev/null
	err_has '^1 ready'
	ok cube down --purge
}

test_ticket() {
	kerberos
	fresh_tickets
	ok within 60 cube doctor h1 </dev/null
	out_has 'ok +methods +gssapi-with-mic'
	out_has 'note +transport +GSSAPI needs the ssh program'
	ok within 60 cube spawn -w "$W" </dev/null
	err_has "^cube: h\[1-2\]: ${WHY}"
	is "$(grep -c 'using OpenSSH' "$E")" 1 'lines that say so'
	err_has '^2 ready'
	ok cube run --all -- sh -c 'echo "$CUBE_HOST"'
	sorted_is 'h1: h1\nh2: h2\n'
	grep -q "Accepted gssapi-with-mic for $(id -un)" "$LAB/h1/sshd.log" || fail 'not by GSSAPI'
}

test_reconnect() {
	kerberos
	local id
	id=$(cube run -d -w h1 -- sh -c 'i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo $i; sleep 0.02; done')
	cut_links h1
	run within 60 cube logs -f "$id"
	rc_is 0
	seq 50 | cmp - "$O" || fail 'output differs'
	soon is_now h1 ready
	ok cube down --purge
}

test_expired_ticket() {
	kerberos
	local over
	fresh_tickets 2s
	is_over() { ! KRB5CCNAME=FILE:$LAB/kdc/default_tickets klist -s; }
	soon is_over
	# klist has it over in the last second in which it counts, and one login takes no longer.
	over=$(date +%s)
	second_is_over() { [ "$(date +%s)" -gt "$over" ]; }
	soon second_is_over
	run within 60 setsid cube spawn -w h1 </dev/null
	rc_is 1
	err_has 'h1 needs-login: .*no valid Kerberos ticket.*kinit'
	fresh_tickets
	ok within 60 cube spawn -w h1 </dev/null
	ok cube down --purge
}

# One that takes keys as well: a ticket is not all that could be missing.
test_keys_or_tickets() {
	kerberos
	rm -f "$LAB/kdc/default_tickets"
	lab_stop h2
	printf 'Match all\nGSSAPIAuthentication yes\nGSSAPIStrictAcceptorCheck no\nAuthorizedKeysFile none\n' >"$LAB/h2/sshd_extra"
	lab_sshd_start h2
	lab_sshd_ready h2
	run within 60 setsid cube spawn -w h2 </dev/null
	rc_is 1
	err_has 'h2 failed: .*Permission denied \(publickey,.*gssapi-with-mic\)\. A Kerberos ticket might do: .kinit'
	fresh_tickets
	ok within 60 setsid cube spawn -w h2 </dev/null
	ok cube down --purge
}

# A link that breaks when the ticket is over: parked, and kinit and cube login take it from there.
test_ticket_ends_while_joined() {
	kerberos
	local id
	fresh_tickets
	ok within 60 cube spawn -w h1 </dev/null
	id=$(cube run -d -w h1 -- sh -c 'echo begun; exec sleep 1000')
	rm "$LAB/kdc/default_tickets"
	cut_links h1
	soon is_now h1 needs-login
	ok cube nodes
	out_has 'h1 .*kinit'
	fresh_tickets
	ok within 60 cube login h1 </dev/null
	ok cube inspect "$id"
	json_is '(.state // .tasks[0].state)' running
	ok cube stop "$id"
	ok cube down --purge
}

# ---- whose environment --------------------------------------------------------------------------

# Another shell, with tickets in another place: what works there by ssh works by cube.
test_tickets_of_another_shell() {
	kerberos
	rm -f "$LAB/kdc/default_tickets"
	ok cube nodes # there is a manager, which knows of no such place
	lab_ticket "$T/elsewhere"
	(
		export KRB5CCNAME=FILE:$T/elsewhere
		ok within 60 cube spawn -w h1 </dev/null
	)
	# Where there is no terminal, what is not set changes nothing.
	ok within 60 setsid cube spawn -w h2 </dev/null
	ok cube down --purge
	# On one, it does: this shell has no tickets.
	command -v script >/dev/null || skip 'script is not installed (bsdutils)'
	run within 60 script -qefc 'cube spawn -w h1' /dev/null </dev/null
	rc_is 1
	out_has 'kinit'
	ok cube down --purge
}

main "$@"
