# shellcheck shell=bash
# Hosts with systemd and logind: what becomes of the worker when the user's last session ends.
# on: vm
. "$(dirname "$0")/lib.sh"

lingers() { mkdir -p "$2/var/lib/systemd/linger" && : >"$2/var/lib/systemd/linger/user"; }

setup() {
	hosts 0
	[ ! "$(lab_systemd_lacks)" ] || return 0
	lab_vm stays init=systemd
	lab_vm kills init=systemd logind='KillUserProcesses=yes'
	lab_vm lingers init=systemd logind='KillUserProcesses=yes' setup=lingers
}

needs_systemd() {
	local lacks
	lacks=$(lab_systemd_lacks)
	[ ! "$lacks" ] || skip "$lacks"
}

# The connections of host $1 die, and with them its login sessions; its sshd goes on.
cut_off() {
	local pid
	for pid in $(lab_vm_in "$1" /usr/bin/pgrep -f '^sshd(-session)?: user'); do lab_vm_in "$1" /usr/bin/kill -9 "$pid" || true; done
}
no_session() { ! lab_vm_in "$1" /usr/bin/loginctl --no-legend list-sessions | grep -qv closing; }
worker_in() { # HOST: the cgroup its worker is in
	lab_vm_in "$1" /bin/sh -c 'for p in $(pgrep -f "cube/bin/[0-9a-f]{64} attach"); do cat /proc/$p/cgroup; done' | grep '^0::' | sort -u
}
state_is() { api GET "/v1/tasks/$1" | jq -e --arg s "$2" '.state == $s' >/dev/null; }
ready() { [ "$(cube nodes "$1" -o json | jq -r '.nodes[0].state')" = ready ]; }
not_ready() { ! ready "$1"; }

survives() { # HOST: a task goes on and its output is whole, after all sessions ended
	local id
	run cube run -d -w "$1" -- sh -c 'echo before; until [ -e /tmp/go ]; do sleep 0.05; done; echo after'
	id=$(cat "$O")
	soon state_is "$id" running
	cut_off "$1"
	soon not_ready "$1"
	soon ready "$1"
	lab_vm_in "$1" /usr/bin/touch /tmp/go
	ok cube wait "$id"
	ok cube logs "$id"
	out_is 'before\nafter\n'
	lab_vm_in "$1" /usr/bin/rm /tmp/go
}

test_the_default_lets_it_live() {
	needs_systemd
	ok cube spawn -w stays
	err_lacks 'logind'
	survives stays
}

test_one_who_lingers_keeps_the_worker() {
	needs_systemd
	ok cube spawn -w lingers
	err_lacks 'logind'
	[[ $(worker_in lingers) == *user@1000.service*cube-worker-*.scope ]] || fail "the worker is in $(worker_in lingers)"
	survives lingers
}

test_one_who_does_not_is_told() {
	needs_systemd
	ok cube spawn -w kills
	err_has 'kills: logind ends the worker.*loginctl enable-linger'
	is "$(cube nodes kills -o json | jq -r '.nodes[0].notice' | grep -c linger)" 1 'the notice'
	[[ $(worker_in kills) == *session-*.scope ]] || fail "the worker is in $(worker_in kills)"
}

test_doctor_tells() {
	needs_systemd
	ok cube doctor 'kills,lingers,stays' --output jsonl
	jq -es 'map(select(.check == "logout")) | map({(.node): .verdict}) | add ==
		{"kills": "warning", "lingers": "ok", "stays": "ok"}' "$O" >/dev/null || fail "$(grep logout "$O")"
}

test_all_go() {
	needs_systemd
	ok cube down --purge
	(soon none_in_vms) || fail "$(in_vms)"
}

main "$@"
