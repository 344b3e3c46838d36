# shellcheck shell=bash
# lab_vm NAME init=systemd: the host's first process is systemd, with logind and PAM, so that logins
# are sessions and logouts end them. A part of vm.sh; needs cgroup v2 and the packages systemd,
# libpam-systemd and dbus.

# Why there can be none here, or nothing.
lab_systemd_lacks() {
	local f
	for f in /lib/systemd/systemd /lib/systemd/systemd-logind /usr/bin/dbus-daemon /usr/bin/busctl; do
		[ -x "$f" ] || { echo "there is no $f (packages systemd, libpam-systemd, dbus)"; return; }
	done
	lab_systemd_cgroups >/dev/null || echo 'no cgroup v2 that could be written to'
}

# The folder of cgroup v2 on this machine.
lab_systemd_cgroups() {
	local d
	for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do
		[ -f "$d/cgroup.procs" ] && [ -w "$d" ] && [ "$(stat -f -c %T "$d")" = cgroup2fs ] && echo "$d" && return
	done
	return 1
}

# Of all units only these: what a machine starts is masked, and nothing is put into a sandbox, which
# would need more rights than a host made of namespaces has.
lab_systemd_etc() {
	local root=$1 etc=$1/etc unit
	mkdir -p "$etc/systemd/system" "$root/sys" "$root/var/lib/systemd"
	cp -a /etc/dbus-1 "$etc/"
	echo 'messagebus:x:104:104::/nonexistent:/usr/sbin/nologin' >>"$etc/passwd"
	echo 'messagebus:x:104:' >>"$etc/group"
	printf '%032x\n' "$LAB_PORT" >"$etc/machine-id"
	printf '[Manager]\nLogTarget=console\nLogColor=no\nShowStatus=no\nDefaultStandardOutput=null\nDefaultTimeoutStopSec=5s\n' \
		>"$etc/systemd/system.conf"
	for unit in /lib/systemd/system/{sysinit,local-fs,basic,sockets,timers,paths,multi-user}.target.wants/* \
		/lib/systemd/system/systemd-journald*.{service,socket}; do
		[ ! -e "$unit" ] || ln -sf /dev/null "$etc/systemd/system/${unit##*/}"
	done
	rm -f "$etc/systemd/system/dbus.socket"
	mkdir "$etc/systemd/system/dbus.socket.d"
	printf '[Unit]\nDefaultDependencies=no\n' >"$etc/systemd/system/dbus.socket.d/lab.conf"
	lab_systemd_unit "$etc" dbus '/usr/bin/dbus-daemon --system --nofork --nopidfile --address=systemd:'
	lab_systemd_unit "$etc" systemd-logind /lib/systemd/systemd-logind Type=dbus BusName=org.freedesktop.login1
	lab_systemd_unit "$etc" lab "$(lab_sshd) -D -e -f /etc/ssh/sshd_config" StandardError=append:/var/log/sshd.log
	ln -s systemd-logind.service "$etc/systemd/system/dbus-org.freedesktop.login1.service"
	cat >"$etc/systemd/system/default.target" <<-END
		[Unit]
		DefaultDependencies=no
		Requires=lab.service
	END
	printf 'session required pam_systemd.so\n' >>"$etc/pam.d/sshd"
	printf 'account required pam_unix.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n' \
		>"$etc/pam.d/systemd-user"
}

lab_systemd_unit() { # ETC NAME PROGRAM LINE...; in this order, each after the one before
	local etc=$1 name=$2 program=$3 after=
	shift 3
	case $name in
	dbus) after=dbus.socket ;;
	systemd-logind) after=dbus.service ;;
	lab) after='dbus.service systemd-logind.service' ;;
	esac
	rm -f "$etc/systemd/system/$name.service" # it may be masked
	printf '%s\n' '[Unit]' DefaultDependencies=no "Requires=$after" "After=$after" '[Service]' \
		"ExecStart=$program" "$@" >"$etc/systemd/system/$name.service"
}

# What lab_vm_boot does more; in the host's namespaces, $1 is the root.
lab_systemd_boot() {
	mount -t sysfs -o ro sysfs "$1/sys"
	mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup" # its root is the cgroup this host was put into
	mount -t tmpfs -o mode=755 run "$1/run"
	mkdir "$1/run/sshd" "$1/run/dbus"
	: >"$1/../console" && : >"$1/dev/console"
	mount --bind "$1/../console" "$1/dev/console"
}

# Runs the words after $1 in a cgroup of that name, as the root of a cgroup namespace.
lab_systemd_enter() {
	mkdir -p "$1" && echo $$ >"$1/cgroup.procs" && shift && exec unshare -C "$@"
}

# The cgroups that a host made are gone with their processes but have to be removed.
lab_systemd_tidy() {
	local d
	for d in "$LAB"/*/cgroup; do
		[ ! -f "$d" ] || find "$(cat "$d")" -depth -type d -exec rmdir {} + 2>/dev/null
	done
}
