# shellcheck shell=bash
# Host keys and keys, many at a time: PAINS 6 (agents full of keys) and 7 (host keys of fresh machines).
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() { hosts 20; }

twenty() { for i in {1..20}; do [ "h$i" = "${1:-}" ] || echo "h$i: hi"; done | sort; }
spawn() { run within 90 cube spawn "$@" --workers='h[1-20]' -- sh -c 'echo hi'; }
joined() { is "$(sort "$O")" "$(twenty "${1:-}")" 'who said hi'; }

rekey() { # HOST KEY
	lab_stop "$1"
	cp "$2" "$LAB/$1/host_key"
	cp "$2.pub" "$LAB/$1/host_key.pub"
	lab_sshd_start "$1"
	lab_sshd_ready "$1"
}

# Every line is whole: a name, a type and the key that the host has.
all_known() { # FILE COUNT
	is "$(wc -l <"$1")" "$2" 'lines of known_hosts'
	is "$(ssh-keygen -l -f "$1" 2>/dev/null | grep -c ' (ED25519)$')" "$2" 'keys that can be read'
	for i in {1..20}; do
		ssh-keygen -F "[127.0.0.1]:$(cat "$LAB/h$i/port")" -f "$1" >found || fail "h$i is not known"
		grep -qF "$(cut -d' ' -f2 "$LAB/h$i/host_key.pub")" found || fail "h$i is known by another key"
	done
}

test_twenty_new_hosts_join_unasked() {
	rm -f "$LAB/known_hosts"
	spawn --purge
	rc_is 0
	joined
	err_lacks 'yes/no|fingerprint|HOST KEY'
	all_known "$LAB/known_hosts" 20
	spawn --purge --host-key-check=strict
	rc_is 0
	joined
}

test_one_with_another_key_is_refused() {
	local fix
	cp "$LAB/h7/host_key" old && cp "$LAB/h7/host_key.pub" old.pub
	ssh-keygen -q -t ed25519 -N '' -f new
	rekey h7 new
	spawn --purge
	[ "$rc" != 0 ] || fail 'exit code 0'
	joined h7
	is "$(grep -cE '\bh7\b' "$E")" 1 'lines that name h7'
	err_has 'h7.*HOST KEY CHANGED'
	grep -q "^\[127.0.0.1\]:$(cat "$LAB/h7/port") " "$LAB/known_hosts" || fail 'the old key is gone'
	# The line it prints can be pasted, and helps.
	fix=$(grep -oE "ssh-keygen -R .*known_hosts" "$E") || fail 'no ssh-keygen line'
	eval "$fix" 2>/dev/null || fail "$fix"
	spawn --purge
	rc_is 0
	joined
	all_known "$LAB/known_hosts" 20
}

test_names_are_hashed_where_ssh_hashes_them() {
	sed 's/^Host \*/&\nHashKnownHosts yes/' "$LAB_CONFIG" >config
	rm -f "$LAB/known_hosts"
	spawn -F config --purge
	rc_is 0
	is "$(grep -c '^|1|' "$LAB/known_hosts")" 20 'hashed names'
	all_known "$LAB/known_hosts" 20
	spawn -F config --purge --host-key-check=strict
	rc_is 0
	rm -f "$LAB/known_hosts"
}

# Managers that learn the same hosts at the same time: lines may come twice, but never torn.
test_two_managers_learn_at_once() {
	local one two
	rm -f "$LAB/known_hosts"
	CUBE_STATE_DIR=$PWD/one within 90 cube spawn --workers='h[1-20]' --purge -- sh -c : >first 2>&1 &
	one=$!
	CUBE_STATE_DIR=$PWD/two within 90 cube spawn --workers='h[1-20]' --purge -- sh -c : >second 2>&1 &
	two=$!
	wait $one || fail "the first: $(cat first)"
	wait $two || fail "the second: $(cat second)"
	sort -u "$LAB/known_hosts" >known
	all_known known 20
	CUBE_STATE_DIR=$PWD/one cube down --purge >/dev/null 2>&1 || true
	CUBE_STATE_DIR=$PWD/two cube down --purge >/dev/null 2>&1 || true
}

test_an_agent_full_of_keys() {
	local i pid config=$PWD/config
	for i in 1 2 3 4 5 6 7 8; do ssh-keygen -q -t ed25519 -N '' -f "key$i"; done
	cat key8.pub >>"$LAB/id.pub"
	ssh-agent -D -a "$PWD/agent" >/dev/null &
	pid=$!
	soon test -S agent
	SSH_AUTH_SOCK=$PWD/agent ssh-add -q key[1-8]
	sed "s|^IdentityAgent .*|IdentityAgent $PWD/agent|; s|^IdentitiesOnly .*|IdentitiesOnly no|; s|^IdentityFile .*|IdentityFile none|" \
		"$LAB_CONFIG" >"$config"
	run within 60 cube spawn -F "$config" --workers=h1 -- echo never
	[ "$rc" != 0 ] || fail 'exit code 0'
	err_has 'h1.*Too many authentication failures.*--identity KEY'
	ok within 60 cube spawn -F "$config" --workers=h1 --identity key8 --purge -- echo in
	out_is 'in\n'
	kill $pid
}

# A host that was ready refuses us: no login would help, and it is not called one that waits for one.
# What it runs goes on, and is there again when the user has mended it.
test_refused_after_it_was_ready() {
	local id
	ok cube spawn -w h1
	ok cube run -d -w h1 -- sh -c 'echo begun; exec sleep 1000'
	id=$(cat "$O")
	begun() { cube logs "$id" | grep -q begun; }
	soon begun
	cut_links h1
	lost() { cube nodes -o json | jq -e '.nodes[] | select(.name == "h1" and .state == "lost")'; }
	lab_stop h1
	soon lost
	run cube spawn -w h1 --user nobody
	rc_is 1
	err_has "h1 is a node already, logged in to as .*; not as asked for: user"
	printf 'Match all\nAuthorizedKeysFile none\n' >"$LAB/h1/sshd_extra"
	lab_sshd_start h1
	lab_sshd_ready h1
	run within 60 cube spawn -w h1
	rc_is 1
	err_has 'h1 failed: .*permission denied .*cube spawn -w h1. with the right --user or --identity'
	err_lacks 'waiting for a login'
	ok cube ps -o wide
	out_has unknown
	rm "$LAB/h1/sshd_extra"
	lab_stop h1
	lab_sshd_start h1
	lab_sshd_ready h1
	ok cube spawn -w h1
	ok cube inspect "$id"
	json_is '(.state // .tasks[0].state)' running
	ok cube down --purge
}

main "$@"
