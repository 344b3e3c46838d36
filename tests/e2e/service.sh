# shellcheck shell=bash
# The manager as a user service, installed as deploy/README.md says, under a real systemd.
# on: vm
. "$(dirname "$0")/lib.sh"

# `loginctl enable-linger` asks polkit, which is not there.
lingers() { mkdir -p "$2/var/lib/systemd/linger" && : >"$2/var/lib/systemd/linger/user"; }

setup() {
	local built=${CUBE%/cube}
	hosts 0
	[ ! "$(lab_systemd_lacks)" ] || return 0
	lab_vm v init=systemd mount=/usr/local:size=64m setup=lingers || exit 3
	make -s -C "$ROOT" install DESTDIR="$T/dest" B="${built#"$ROOT"/}" >"$T/install" 2>&1 || { shown "$T/install" && exit 3; }
	tar cf - -C "$T/dest/usr/local" . | lab_vm_in v /usr/bin/tar xf - -C /usr/local
}

needs_systemd() {
	local lacks
	lacks=$(lab_systemd_lacks)
	[ ! "$lacks" ] || skip "$lacks"
}

on() { ssh -F "$LAB_CONFIG" v "$*"; } # as the user, in a login session
main_pid() { on systemctl --user show -P MainPID cube-manager; }
served_by() { [ "$(on cube info -o json | jq .pid)" = "$1" ]; }
served_by_the_service() {
	local pid
	pid=$(main_pid)
	[ "$pid" != 0 ] && served_by "$pid"
}
all_ready() { on cube nodes -o json | jq -e '[.nodes[] | select(.state == "ready")] | length == 2'; }

test_it_starts() {
	needs_systemd
	ok on systemctl --user daemon-reload
	ok on systemctl --user enable --now cube-manager
	soon served_by_the_service
	run on systemctl --user is-active cube-manager
	out_is 'active\n'
	ok on "cube spawn -w 'localhost*2' && cube run --all -- true"
	served_by_the_service || fail 'a manager of its own serves the commands'
}

test_killed_it_comes_back() {
	needs_systemd
	local pid id
	id=$(on cube run -d -- sh -c "'until [ -e /tmp/go ]; do sleep 0.05; done; echo went on'")
	pid=$(main_pid)
	lab_vm_in v /usr/bin/kill -9 "$pid"
	again() { served_by_the_service && [ "$(main_pid)" != "$pid" ]; }
	soon again
	soon all_ready
	ok on touch /tmp/go
	ok on cube wait "$id"
	ok on cube logs "$id"
	out_is 'went on\n'
}

# A command may start one between a crash and the service's restart; the service still is the manager.
test_it_replaces_one_that_runs() {
	needs_systemd
	ok on systemctl --user stop cube-manager
	ok on cube nodes
	! served_by "$(main_pid)" || fail 'it was not stopped'
	ok on systemctl --user start cube-manager
	soon served_by_the_service
	soon all_ready
	is "$(on systemctl --user show -P NRestarts cube-manager)" 0 'restarts'
}

test_it_stays_without_work_and_sessions() {
	needs_systemd
	local pid
	ok on cube down --purge
	pid=$(main_pid)
	no_session() { ! lab_vm_in v /usr/bin/loginctl --no-legend list-sessions | grep -qv closing; }
	soon no_session
	is "$(main_pid)" "$pid" 'the manager'
}

test_stopped_nothing_is_left() {
	needs_systemd
	ok on systemctl --user disable --now cube-manager
	run on systemctl --user is-active cube-manager
	out_is 'inactive\n'
	no_cube() { ! lab_vm_processes v | grep -q cube; }
	(soon no_cube) || fail "$(lab_vm_processes v)"
	ok on "ls -A ~/.cache/cube ~/.config/systemd/user /run/user/1000/cube 2>/dev/null | grep -v : || true"
	out_lacks 'cube-manager|sock|bin'
	on 'rm -rf ~/.local/state/cube ~/.cache/cube ~/.config/systemd'
}

main "$@"
