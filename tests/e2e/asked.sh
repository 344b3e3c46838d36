# shellcheck shell=bash
# Questions on the terminal of any command that reaches hosts, and what is done there meanwhile: keys,
# Ctrl-C, Ctrl-Z, a hang-up. (login.sh has what becomes of the answers.)
# on: vm
. "$(dirname "$0")/lib.sh"

PASSWORD='geheim-5c1e'

setup() {
	local i
	hosts 0
	lab_vm p1 key=none password="$PASSWORD" || exit 3
	lab_vm p2 key=none password="$PASSWORD" || exit 3
	KEY=$T/a-key-with-a-name-that-is-longer-than-the-terminal-is-wide
	ssh-keygen -q -t ed25519 -N 'a phrase' -f "$KEY" </dev/null || exit 3
	for i in 1 2 3; do lab_vm "e$i" key="$KEY.pub" || exit 3; done
	# A person is there, other than the lab's configuration says.
	sed -i '/BatchMode/d; s/PasswordAuthentication no//' "$LAB_CONFIG"
	lab_terminal "$T" || exit 3
	# Hosts whose way opens when told to, by the file "open".
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nuntil [ -e "%s/open" ]; do sleep 0.05; done\nexec "$@"\n' "$T" >"$T/held"
	chmod 755 "$T/held"
}

Q='^Password for user \(p1\): *$'
state_of() { cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | .state"; }

test_doctor_asks() {
	COLS=200 on_tty -e "$Q" -t "$PASSWORD\n" -- cube doctor p1
	rc_is 0
	out_has '^  ok       login '
	out_has '^  ok       folder .*the worker goes there'
	out_lacks "$PASSWORD"
	on_tty -e '^Password for user \((p1,p2|p\[1-2\])\): *$' -t "$PASSWORD\n" -- cube doctor p1,p2
	rc_is 0
	is "$(grep -c '^  ok       login ' "$O")" 2 'logins'
}

test_doctor_is_refused_an_answer() {
	local key
	for key in '\n' '\x04'; do
		on_tty -e "$Q" -t "$key" -- cube doctor p1
		rc_is 1
		out_has '^  failed   login '
	done
	on_tty -e "$Q" -t '\x03' -- cube doctor p1
	rc_is 130
}

# What ends a command while it waits for a line that must not be seen: the echo is back.
test_signals_at_a_question() {
	KILLED=3 on_tty -e "$Q" -t '\x1c' -- cube doctor p1
	# shellcheck disable=SC2016
	KILLED=1 on_tty -e "$Q" -x 'kill -HUP $TTY_PID' -- cube doctor p1
	# shellcheck disable=SC2016
	on_tty -e "$Q" -x 'kill -TERM $TTY_PID' -- cube doctor p1
	rc_is 143
}

test_spawn_login_and_a_shell_there() {
	on_tty -e "$Q" -t '\n' -- cube spawn -w p1
	rc_is 1
	is "$(state_of p1)" needs-login
	on_tty -e "$Q" -t "$PASSWORD\n" -- cube login
	rc_is 0
	out_has '^1 ready in '
	out_lacks "$PASSWORD"
	TERM=dumb on_tty -e '[$#]$' -t 'echo there-$((40 + 2)); exit 5\n' -- cube exec -t p1
	rc_is 5
	out_has '^there-42'
	echo text >file
	on_tty -- cube cp file p1:copied
	rc_is 0
	ok cube exec p1 -- rm copied
	on_tty -- cube down --purge p1
	rc_is 0
	out_is 'p1 gone\n'
}

# A question wider than the terminal, put away when more hosts want the same, leaves nothing behind.
test_a_wide_question_is_put_away() {
	COLS=40 on_tty -e 'wide \(3 nodes\)' -t '\n' -- cube spawn --identity "$KEY" -w 'e[1-3]'
	rc_is 1
	is "$(grep -c 'Passphrase for' "$O")" 1 'questions'
	ok cube down --purge
}

# Keys pressed while nothing is asked are for the shell: nobody is woken by them again and again.
test_keys_while_nothing_is_asked() {
	rm -f "$T/open"
	on_tty -e 'late' -t 'ls\n' -x "sleep 2; touch $T/open" -- cube spawn --connect-timeout=300s --transport="$T/held" -w late
	rc_is 0
	[ "$(tty_said cpu)" -lt 1000 ] || fail "$(tty_said cpu) ms of CPU"
	ok cube down --purge
}

# What a shell wrote while the command was stopped is not drawn over.
test_stopped_and_gone_on_with() {
	rm -f "$T/open"
	PS1='$ ' on_tty -e '^\$' -t "cube spawn --connect-timeout=300s --transport=$T/held -w one,two\n" -e '^two ' -t '\x1a' -e Stopped \
		-t 'echo se''en\n' -e '^(\$ )?seen$' -t 'fg\n' -e '^(\$ )?cube spawn' -x "touch $T/open" -e '^2 ready in' -t 'exit 0\n' -- bash --norc --noprofile --noediting -i
	out_has Stopped
	out_has '^(\$ )?seen$'
	out_has '^2 ready in'
	ok cube down --purge
}

main "$@"
