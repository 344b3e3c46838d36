# shellcheck shell=bash
# What only a person can answer: asked once on the terminal, tried on one host, kept nowhere. A
# terminal is a tmux session here, and what is typed reaches it through a pipe.
# on: vm
. "$(dirname "$0")/lib.sh"

PASSWORD='pa$$ w"rd-7f3a'
OTHER='other-91c2-word'
PHRASE='phrase of 4e77 words'

setup() {
	local i
	command -v tmux >/dev/null || { echo 'tmux is not installed' >&2; exit 3; }
	LAB_SSHD_LOG=VERBOSE
	hosts 0
	for i in 1 2 3; do lab_vm "p$i" key=none password="$PASSWORD" || exit 3; done
	lab_vm q1 key=none password="$OTHER" || exit 3
	lab_vm k1 key=none password="$PASSWORD" pam=yes sshd='PasswordAuthentication no' setup=count_pam || exit 3
	ssh-keygen -q -t ed25519 -C locked -N "$PHRASE" -f "$T/locked" </dev/null || exit 3
	for i in 1 2 3 4 5; do lab_vm "e$i" key="$T/locked.pub" || exit 3; done
	lab_vm s1 sudo=password password="$PASSWORD" || exit 3
	lab_vm s2 sudo=password password="$PASSWORD" || exit 3
	lab_vm s3 sudo=nopasswd || exit 3
	lab_vm s4 password="$PASSWORD" || exit 3
	lab_vm s5 sudo=password password="$OTHER" || exit 3
	for i in 1 2 3 4; do lab_alias "far$i" "$(cat "$LAB/s4/port")" 'User user' 'ProxyJump k1'; done
	# What a person's own configuration has no line for: the lab's says that nobody is there.
	sed -i '/BatchMode/d; s/PasswordAuthentication no//' "$LAB_CONFIG"
	tty_open
}

# Each login's authentication is a line of $LAB/NAME/root/var/log/pam.
count_pam() {
	printf '#!/bin/sh\necho attempt >>/var/log/pam\n' >"$2/etc/count"
	chmod 755 "$2/etc/count"
	sed -i '1i auth optional pam_exec.so /etc/count' "$2/etc/pam.d/sshd"
}
pam_attempts() { grep -cs attempt "$LAB/$1/root/var/log/pam" || true; }
refused_by_sshd() { grep -c 'Failed password' "$LAB/$1/sshd.log" || true; }

# ---- the terminal -------------------------------------------------------------------------------

tm() { tmux -S "$T/tmux" -f /dev/null "$@"; }
SHELL_THERE="PS1='$ ' exec bash --norc --noprofile -i"
tty_open() { tm new-session -d -x 100 -y 30 -s t "$SHELL_THERE"; }
screen() { tm capture-pane -p -J -S - -t t; }
sees() { screen >"$T/screen"; grep -qE -e "$1" "$T/screen"; }
# Until the screen has a line like this.
expect() { (WITHIN=${2:-20} && soon sees "$1") 2>/dev/null || { cat "$T/screen" >&2 && fail "the terminal has no /$1/"; }; }
say() { # TEXT, and Enter; never in argv
	printf '%s\n' "$1" | tm load-buffer -b said -
	tm paste-buffer -d -b said -t t
}
key() { tm send-keys -t t "$1"; }
fresh() { # COMMAND: on an empty screen of a new shell, its exit code as a last line
	tm respawn-pane -k -t t "$SHELL_THERE"
	tm clear-history -t t
	expect '^\$'
	say "$1; echo \"code \$?\""
}
code() { expect "^code $1\$" 40; }
screen_lacks() { screen >"$T/screen"; ! grep -qE -e "$1" "$T/screen" || { cat "$T/screen" >&2 && fail "the terminal has /$1/"; }; }

state_of() { cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | .state"; }
is_now() { [ "$(state_of "$1")" = "$2" ]; }
reason_of() { cube nodes -o json | jq -r ".nodes[] | select(.name == \"$1\") | .reason"; }

# ---- passwords ----------------------------------------------------------------------------------

test_password_once_for_three() {
	fresh "cube spawn -w 'p[1-3]'"
	expect '^Password for user \(p\[1-3\]\): *$'
	say "$PASSWORD"
	code 0
	screen_lacks 'pa\$'
	is "$(grep -c 'Password for user' "$T/screen")" 1 'questions'
	ok cube run --all -N -- sh -c 'echo fine'
	out_lines 3
}

test_wrong_password_costs_one_host_one_attempt() {
	ok cube down --purge
	fresh "cube spawn -w 'p[1-3]'"
	expect '^Password for user \(p\[1-3\]\): *$'
	say wrong
	expect 'p([123]) refused it; once more, without p[123]$'
	expect '^Password for user \(p[0-9,[-]+\]\): *$'
	say "$PASSWORD"
	code 1
	expect '2 ready, 1 waiting for a login'
	local bad
	bad=$(cube nodes -o json | jq -r '.nodes[] | select(.state == "needs-login") | .name')
	expect "$bad: waiting for a login; .cube login $bad. asks again"
	is "$(refused_by_sshd "$bad")" 1 "attempts refused by $bad"
	# Nothing is tried again by itself; asked for, it is.
	fresh 'cube login'
	expect "^Password for user \\($bad\\): *\$"
	say "$PASSWORD"
	code 0
	expect '1 ready'
	is "$(refused_by_sshd "$bad")" 1 "attempts refused by $bad"
	fresh 'cube login'
	expect 'no node waits for a login'
	code 0
}

test_link_that_breaks_is_not_made_again() {
	local id before
	ok cube run -d -w p1 -- sh -c 'echo begun; exec sleep 1000'
	id=$(cat "$O")
	begun() { cube logs "$id" | grep -q begun; }
	soon begun
	before=$(grep -c 'Connection from' "$LAB/p1/sshd.log")
	drop_links p1
	soon is_now p1 needs-login
	ok cube ps -o wide
	out_has unknown
	is "$(grep -c 'Connection from' "$LAB/p1/sshd.log")" "$before" 'connections'
	# A new task does not wait for a person, and says why.
	run within 20 cube run -w p1 -- true
	[ $rc != 0 ] || fail 'a task was taken by a parked node'
	fresh 'cube login p1'
	expect '^Password for user \(p1\): *$'
	say "$PASSWORD"
	code 0
	soon is_now p1 ready
	ok cube inspect "$id"
	json_is '(.state // .tasks[0].state)' running
	ok cube stop "$id"
}
# Ends the connections to host $1.
drop_links() {
	local pid
	for pid in $(lab_vm_in "$1" sh -c 'cd /proc; for p in [0-9]*; do read -r c <"$p/comm" && [ "${c%-session}" = sshd ] && echo "$p"; done'); do
		[ "$pid" = 1 ] || lab_vm_in "$1" sh -c "kill -9 $pid" || true
	done
}

test_no_terminal_asks_nothing() {
	ok cube down --purge
	run within 30 setsid cube spawn -w p2 </dev/null
	rc_is 1
	err_has 'p2.*password'
	err_has 'cube login p2'
	is "$(state_of p2)" needs-login
	# Nothing of ours is there: it goes without a question.
	ok within 20 setsid cube down --purge
}

test_refused_by_the_person() {
	local before
	before=$(refused_by_sshd p1)
	fresh "cube spawn -w 'p[1-2]'"
	expect '^Password for user'
	key Enter
	code 1
	expect '2 waiting for a login'
	fresh 'cube login p1'
	expect '^Password for user'
	key C-d
	code 1
	case $(reason_of p1) in *'none was given: it was cancelled'*) ;; *) fail "reason: $(reason_of p1)" ;; esac
	is "$(refused_by_sshd p1)" "$before" 'attempts'
}

test_ctrl_c_gives_the_terminal_back() {
	fresh 'cube login p1'
	expect '^Password for user'
	key C-c
	code 130
	expect 'interrupted; .cube login. asks again'
	fresh 'stty -a | tr " ;" "\n\n" | grep -x -e echo -e icanon -e isig | tr "\n" " "'
	expect 'isig icanon echo'
	soon is_now p1 needs-login
	# Stopped and gone on with, it asks again, and the shell had its echo meanwhile.
	fresh 'cube login p1'
	expect '^Password for user'
	key C-z
	expect Stopped
	say 'echo see''n'
	expect '^seen'
	say fg
	expect '^Password for user.*$'
	asks_last() { screen | grep . | tail -n 1 | grep -q 'Password for user'; }
	soon asks_last
	say "$PASSWORD"
	expect '1 ready in'
	ok cube down --purge
}

test_another_password_is_another_question() {
	fresh "cube spawn -w 'p1,q1'"
	expect '^Password for user \(p1,q1\): *$'
	say "$PASSWORD"
	# The one that does not take it is parked; it may have been the first to try.
	expect '^code 1$|Password for user \(p1\): *$'
	sees '^code 1$' || say "$PASSWORD"
	code 1
	is "$(state_of p1),$(state_of q1)" ready,needs-login
	is "$(refused_by_sshd q1)" 1 'attempts at q1'
	fresh 'cube login'
	expect '^Password for user \(q1\): *$'
	say "$OTHER"
	code 0
	ok cube down --purge
}

# ---- PAM ----------------------------------------------------------------------------------------

test_ten_drops_one_attempt() {
	local i
	fresh 'cube spawn -w k1'
	expect '^Password \(k1\): *$'
	say "$PASSWORD"
	code 0
	is "$(pam_attempts k1)" 1 'attempts at PAM'
	for i in 1 2 3 4 5 6 7 8 9 10; do drop_links k1; done
	soon is_now k1 needs-login
	is "$(pam_attempts k1)" 1 'attempts at PAM after ten drops'
	# A manager that was restarted does not knock either.
	kill -9 "$(manager_pid)"
	is_now k1 needs-login || fail "state $(state_of k1)"
	is "$(pam_attempts k1)" 1 'attempts at PAM after a restart'
	fresh 'cube down --purge'
	expect '^Password \(k1\): *$'
	say "$PASSWORD"
	code 0
	is "$(pam_attempts k1)" 2 'attempts at PAM'
}

# A bastion asks once for all hosts behind it; when its connection is gone none of them knocks there
# again by itself. A host that is lost while it is there comes back over it.
test_a_bastion_that_asks() {
	local before i
	touch "$LAB/k1/root/var/log/pam"
	before=$(pam_attempts k1)
	fresh "cube spawn -w 'far[1-4]'"
	expect '^Password \(far\[?[1-4]'
	say "$PASSWORD"
	code 0
	expect '4 ready'
	is "$(pam_attempts k1)" $((before + 1)) 'attempts at the bastion'
	drop_links s4
	lost_and_back() { [ "$(grep -cE 'far[1-4]: starting -> ready' "$CUBE_STATE_DIR/default/manager.log")" = 8 ]; }
	soon lost_and_back
	is "$(pam_attempts k1)" $((before + 1)) 'attempts at the bastion'
	drop_links k1
	for i in 1 2 3 4; do soon is_now "far$i" needs-login; done
	is "$(pam_attempts k1)" $((before + 1)) 'attempts at the bastion'
	case $(reason_of far2) in *'jump host k1'*person*) ;; *) fail "reason: $(reason_of far2)" ;; esac
	# Nor after the manager was restarted.
	kill -9 "$(manager_pid)"
	is_now far1 needs-login || fail "state $(state_of far1)"
	is "$(pam_attempts k1)" $((before + 1)) 'attempts at the bastion'
	fresh 'cube login'
	expect '^Password \(far\[?[1-4]'
	say "$PASSWORD"
	code 0
	expect '4 ready'
	is "$(pam_attempts k1)" $((before + 2)) 'attempts at the bastion'
	ok cube down --purge
}

# The same by OpenSSH's ssh: a code is good for one login, and one login is all it takes.
test_one_code_by_openssh() {
	local i
	: >"$LAB/k1/root/var/log/pam"
	fresh 'cube spawn -w k1 --transport=openssh'
	expect '^\(user@127\.0\.0\.1\) Password \(k1\): *$'
	say "$PASSWORD"
	code 0
	is "$(grep -c 'Password (k1)' "$T/screen")" 1 'questions'
	is "$(pam_attempts k1)" 1 'attempts at PAM'
	ok cube run -w k1 -- true
	for i in 1 2 3; do drop_links k1; done
	soon is_now k1 needs-login
	is "$(pam_attempts k1)" 1 'attempts at PAM after three drops'
	fresh 'cube down --purge'
	expect '^\(user@127\.0\.0\.1\) Password \(k1\): *$'
	say "$PASSWORD"
	code 0
	is "$(pam_attempts k1)" 2 'attempts at PAM'
}

# While hosts join, a line is cut to the terminal; what stays on it is not.
test_a_reason_is_told_whole() {
	ok cube down --purge
	tm resize-window -t t -x 40 -y 30
	fresh 'cube spawn -w p1'
	expect '^Password for user \(p1\): *$'
	key Enter
	code 1
	expect '^p1 needs-login: 127.0.0.1 port [0-9]+ as user: needs a password, and none was given'
	tm resize-window -t t -x 100 -y 30
	ok cube down --purge
}

# ---- keys ---------------------------------------------------------------------------------------

test_passphrase_once_for_five() {
	fresh "cube spawn --identity '$T/locked' -w 'e[1-5]'"
	expect '^Passphrase for .*locked \(e\[1-5\]\): *$'
	say 'not this one'
	expect 'refused it; once more'
	say "$PHRASE"
	code 0
	expect '5 ready'
	screen_lacks 'phrase of'
	# A link that breaks is made again without a person.
	drop_links e3
	soon is_now e3 ready
	again() { [ "$(grep -c 'Accepted publickey' "$LAB/e3/sshd.log")" = 2 ]; }
	soon again
	soon is_now e3 ready
	ok cube down --purge
}

# ---- sudo ---------------------------------------------------------------------------------------

test_sudo_with_a_password() {
	fresh "cube spawn --become -w 's[1-2]'"
	expect '^\[sudo\] password for user \(s\[1-2\]\): *$'
	say "$PASSWORD"
	code 0
	ok cube run --all -N -- sh -c 'id -u; echo "$HOME"'
	sorted_is '/root\n/root\n0\n0\n'
	is "$(find "$LAB/s1/root/home" -name '*cube*')" '' 'files in the home of the user'
	drop_links s1
	soon is_now s1 lost
	soon is_now s1 ready
	fresh 'cube down --purge'
	code 0
	is "$(find "$LAB/s1/root" -xdev -name '*cube*')" '' 'files left'
}

test_sudo_without_a_password() {
	ok within 60 setsid cube spawn --become -w s3 --purge -- sh -c 'id -u'
	out_is '0\n'
	is "$(find "$LAB/s3/root" -xdev -name '*cube*')" '' 'files left'
}

test_sudo_wants_a_terminal() {
	lab_vm s6 sudo=requiretty || fail 'no host'
	run within 60 setsid cube spawn --become -w s6
	rc_is 1
	err_has 's6 failed: .*sudo wants a terminal there: take .Defaults requiretty. out'
	is "$(find "$LAB/s6/root" -xdev -name '*cube*')" '' 'files left'
	ok cube down
}

test_sudo_refuses() {
	fresh 'cube spawn --become -w s1'
	expect '^\[sudo\] password for user \(s1\): *$'
	say wrong
	code 1
	expect 'sudo refused the password'
	is "$(state_of s1)" needs-login
	fresh 'cube spawn --become -w s4'
	expect '^\[sudo\] password for user \(s4\): *$'
	say "$PASSWORD"
	code 1
	expect 'sudo does not allow it there.*sudoers'
	is "$(state_of s4)" failed
	run within 30 setsid cube login s1
	rc_is 1
	err_has 's1.*sudo wants a password'
	ok cube down --purge
}

# ---- nothing keeps it ---------------------------------------------------------------------------

# Where a secret could be found by somebody else, or later.
traces() { # SECRET
	# Not in grep's own argv.
	grep -rlaF -f <(printf '%s\n' "$1") "$CUBE_STATE_DIR" "$HOME" "$T/out" "$T/err" "$LAB" 2>/dev/null
	grep -laF -f <(printf '%s\n' "$1") /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true
}

# How often the manager's memory has it.
in_memory() { # SECRET
	local pid range from to perms n=0
	pid=$(manager_pid)
	while read -r range perms _; do
		case $perms in rw*) ;; *) continue ;; esac
		from=$((16#${range%-*})) to=$((16#${range#*-}))
		n=$((n + $(dd if="/proc/$pid/mem" bs=4096 skip=$((from / 4096)) count=$(((to - from) / 4096)) 2>/dev/null |
			grep -aoF -f <(printf '%s\n' "$1") | wc -l)))
	done <"/proc/$pid/maps"
	echo $n
}

test_nothing_keeps_a_secret() {
	local pid
	fresh "cube spawn --become -w 's1,s5'"
	expect '^\[sudo\] password for user \(s\[1,5\]\): *$'
	say "$PASSWORD"
	expect '^code 1$|password for user \(s1\): *$'
	sees '^code 1$' || say "$PASSWORD"
	code 1
	fresh 'cube login'
	expect '^\[sudo\] password for user \(s5\): *$'
	say "$OTHER"
	code 0
	fresh "cube spawn -w 'p[1-3]'"
	expect '^Password for user'
	is "$(traces "$PASSWORD")" '' 'while it waits'
	say "$PASSWORD"
	code 0
	fresh "cube spawn --identity '$T/locked' -w 'e[1-2]'"
	expect '^Passphrase for'
	say "$PHRASE"
	code 0
	[ "$(in_memory "$PHRASE")" -gt 0 ] || fail 'what is kept is not found: the search is wrong'
	for secret in "$PASSWORD" "$OTHER" "$PHRASE"; do
		is "$(traces "$secret")" '' 'traces'
	done
	screen_lacks 'pa\$|other-|phrase of'
	pid=$(manager_pid)
	is "$(awk '/Max core file size/ { print $5, $6 }' "/proc/$pid/limits")" '0 0' 'limits of cores'
	ok cube down --purge
}

# A password is gone from the manager's memory when all have joined.
test_passwords_are_wiped() {
	api POST /v1/shutdown >/dev/null
	fresh "cube spawn -w 'q1'"
	expect '^Password for user'
	say "$OTHER"
	code 0
	is "$(in_memory "$OTHER")" 0 'copies in memory'
	ok cube down --purge
}

test_the_terminal_ends() {
	local pid pids
	pids=$(tm display-message -p -t t '#{pane_pid} #{pid}')
	tm kill-server
	# An interactive shell may take its time over a hang-up.
	for pid in $pids; do
		kill -9 "$pid" 2>/dev/null || true
		soon lab_pid_gone "$pid"
	done
}

main "$@"
