# shellcheck shell=bash
# A lab of throw-away ssh hosts on loopback, for tests, demo and bench. Source it, then
#
#   lab_open DIR          where everything lies; also set a trap that calls lab_close
#   lab_openssh h 3       hosts h1..h3: OpenSSH's sshd with its defaults, any user, no root needed
#   lab_dropbear d 2      hosts d1..d2: dropbear in a chroot that has only sh and cat (root)
#   lab_vm NAME [OPTION]  a host with a whole userland, accounts and PAM of its own (root): vm.sh
#   lab_slurm NAME...     nodes of a Slurm cluster, reached by srun (root): slurm.sh
#   lab_close             ends everything by pid, also what was left running on the hosts
#
# $LAB_CONFIG is an ssh configuration with an alias a host (`ssh -F`, `cube -F`). A host's home is
# $LAB/<host>/home, its port is in $LAB/<host>/port, its sshd's pid in $LAB/<host>/pid.
#
# All hosts run on this machine as this user, so each gets a HOME of its own by SetEnv: what is
# put on a host lies in its folder and nowhere else. Its LOGNAME, lab-<port>, keeps hosts apart that
# have to make do with /var/tmp. LAB_SETENV (NAME=VALUE words) adds to that. LAB_SSHD_LINES are
# lines for sshd_config of hosts that are made meanwhile, LAB_SSHD_ENV words for the environment of
# every sshd itself.

# shellcheck source=vm.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm.sh"
# shellcheck source=slurm.sh
. "$(dirname "${BASH_SOURCE[0]}")/slurm.sh"

lab_say() { printf 'lab: %s\n' "$*" >&2; }

lab_open() {
	LAB=$1
	LAB_CONFIG=$LAB/ssh_config
	LAB_PORT=$((10240 + (RANDOM * 32768 + RANDOM) % 21000))
	export LAB LAB_CONFIG
	LAB_NEVER=${LAB_NEVER:-$LAB/never}
	mkdir -p "$LAB" && chmod 700 "$LAB" || return 1
	[ -p "$LAB_NEVER" ] || mkfifo "$LAB_NEVER" || return 1
	ssh-keygen -q -t ed25519 -N '' -C lab -f "$LAB/id" </dev/null || return 1
	cat >"$LAB_CONFIG" <<-END
		IdentityFile $LAB/id
		IdentitiesOnly yes
		IdentityAgent none
		User $(id -un)
		HostName 127.0.0.1
		UserKnownHostsFile $LAB/known_hosts
		GlobalKnownHostsFile /dev/null
		StrictHostKeyChecking accept-new
		BatchMode yes
		LogLevel ERROR
	END
	: >"$LAB/hosts"
}

# The Host blocks come before what is common, as ssh takes the first value it finds. More words are
# more lines of the block.
lab_alias() {
	{
		printf 'Host %s\n\tPort %s\n' "$1" "$2"
		[ $# -lt 3 ] || printf '\t%s\n' "${@:3}"
		cat "$LAB_CONFIG"
	} >"$LAB_CONFIG.new"
	# What is common must not belong to the last Host block.
	grep -q '^Host \*' "$LAB_CONFIG.new" || sed -i '0,/^IdentityFile/s//Host *\n&/' "$LAB_CONFIG.new"
	mv "$LAB_CONFIG.new" "$LAB_CONFIG"
}

# So many seconds, without a process that sleeps where lab_open made the pipe: nothing ever comes through it.
lab_pause() {
	if [ "${LAB_NEVER:-}" ]; then read -rt "$1" _ <>"$LAB_NEVER" || :; else sleep "$1"; fi
}

# Waits until `test ...` holds, at most LAB_WAIT seconds (20) of a quick machine.
lab_until() {
	local end=$((SECONDS + ${LAB_WAIT:-20} * ${CUBE_TEST_PACE:-3}))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		lab_pause 0.01
	done
}

lab_pid_gone() { ! kill -0 "$1" 2>/dev/null; }
lab_connects() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ---- OpenSSH ------------------------------------------------------------------------------------

lab_sshd_config() {
	local dir=$1 port=$2 pam=no
	# Without PAM sshd refuses an account whose password is locked.
	if [ "$(id -u)" = 0 ] && grep -q "^$(id -un):!" /etc/shadow 2>/dev/null; then pam=yes; fi
	# sshd takes the first value it finds.
	cat <<-END
		$([ ! -f "$dir/sshd_extra" ] || cat "$dir/sshd_extra")
		ListenAddress 127.0.0.1
		Port $port
		HostKey $dir/host_key
		PidFile $dir/sshd.pid
		AuthorizedKeysFile $LAB/id.pub
		StrictModes no
		UsePAM $pam
		PermitRootLogin yes
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		MaxStartups 100
		$(lab_sshd_penalties "$dir/host_key")
		PrintMotd no
		LogLevel ${LAB_SSHD_LOG:-ERROR}
		SetEnv HOME=$dir/home XDG_RUNTIME_DIR= XDG_CACHE_HOME= CUBE_DIR= LAB_HOST=${dir##*/} LOGNAME=lab-$port ${LAB_SETENV:-}
	END
}

# Starts host $1's sshd on port $2, or on the one it had. Does not wait.
lab_sshd_start() {
	local dir=$LAB/$1
	[ $# -lt 2 ] || echo "$2" >"$dir/port"
	lab_sshd_config "$dir" "$(cat "$dir/port")" >"$dir/sshd_config"
	rm -f "$dir/sshd.pid"
	# shellcheck disable=SC2086 # words
	env -i PATH="$PATH" ${LAB_SSHD_ENV:-} "$(lab_sshd)" -D -e -f "$dir/sshd_config" >>"$dir/sshd.log" 2>&1 </dev/null 3>&- &
	echo $! >"$dir/pid"
	disown
}

# The line that keeps tests which fail to log in from being shut out, for an sshd that does that.
lab_sshd_penalties() { # HOST_KEY
	if [ "$(id -u)" = 0 ] && [ ! -d /run/sshd ]; then mkdir -m 755 /run/sshd || return 1; fi
	! "$(lab_sshd)" -t -h "$1" -f /dev/null -o 'PerSourcePenalties no' 2>/dev/null || echo 'PerSourcePenalties no'
}

lab_sshd() { command -v sshd || echo /usr/sbin/sshd; }

# The pid file comes after the port is ours; a process that is gone could not get the port.
lab_sshd_settled() {
	[ -s "$LAB/$1/sshd.pid" ] || lab_pid_gone "$(cat "$LAB/$1/pid")"
}

lab_sshd_ready() {
	local host=$1 tries=0
	while :; do
		lab_until lab_sshd_settled "$host" || break
		[ ! -s "$LAB/$host/sshd.pid" ] || return 0
		[ $((tries += 1)) -lt 20 ] || break
		grep -q 'Address already in use' "$LAB/$host/sshd.log" || break
		: >"$LAB/$host/sshd.log"
		lab_sshd_start "$host" $((LAB_PORT += 1))
	done
	lab_say "sshd of $host does not start: $(tail -n 3 "$LAB/$host/sshd.log")"
	return 1
}

lab_openssh() {
	local prefix=$1 count=$2 i host dir
	[ -x "$(lab_sshd)" ] || { lab_say 'no sshd: install openssh-server'; return 1; }
	if [ "$(id -u)" = 0 ] && [ ! -d /run/sshd ]; then mkdir -m 755 /run/sshd || return 1; fi
	for ((i = 1; i <= count; i++)); do
		host=$prefix$i dir=$LAB/$prefix$i
		mkdir -p "$dir/home"
		[ ! "${LAB_SSHD_LINES:-}" ] || printf '%s\n' "$LAB_SSHD_LINES" >"$dir/sshd_extra"
		if [ "${LAB_ONE_KEY:-}" ] && [ -f "$LAB/host_key" ]; then
			cp "$LAB/host_key" "$LAB/host_key.pub" "$dir/"
		else
			ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$dir/host_key" </dev/null || return 1
			[ ! "${LAB_ONE_KEY:-}" ] || mv "$dir/host_key" "$dir/host_key.pub" "$LAB/"
			[ ! "${LAB_ONE_KEY:-}" ] || cp "$LAB/host_key" "$LAB/host_key.pub" "$dir/"
		fi
		lab_sshd_start "$host" $((LAB_PORT += 1))
	done
	for ((i = 1; i <= count; i++)); do
		host=$prefix$i
		lab_sshd_ready "$host" || return 1
		lab_alias "$host" "$(cat "$LAB/$host/port")"
		echo "$host" >>"$LAB/hosts"
	done
}

# Makes the hosts known beforehand, so that no client has to learn them.
lab_know() {
	local host
	while read -r host; do
		printf '[127.0.0.1]:%s %s\n' "$(cat "$LAB/$host/port")" "$(cut -d' ' -f1,2 "$LAB/$host/host_key.pub")"
	done <"$LAB/hosts" >"$LAB/known_hosts"
}

# ---- dropbear and busybox -----------------------------------------------------------------------

# Why there can be no dropbear hosts here, or nothing.
lab_dropbear_lacks() {
	local busybox
	[ "$(id -u)" = 0 ] || { echo 'a chroot needs root'; return; }
	command -v dropbear >/dev/null || { echo 'dropbear is not installed (dropbear-bin)'; return; }
	busybox=$(command -v busybox) || { echo 'busybox is not installed (busybox-static)'; return; }
	! ldd "$busybox" >/dev/null 2>&1 || { echo 'busybox is not static (busybox-static)'; return; }
	unshare -m true 2>/dev/null || echo 'no mount namespaces here'
}

# A root folder with sh, cat, dropbear and its libraries, and nothing else that runs.
lab_chroot_make() {
	local root=$1 file
	mkdir -p "$root"/{bin,dev,etc,proc,tmp,var/tmp,root/.ssh,usr/sbin} || return 1
	chmod 1777 "$root/tmp" "$root/var/tmp"
	cp "$(command -v busybox)" "$root/bin/sh" && ln "$root/bin/sh" "$root/bin/cat" || return 1
	cp "$(command -v dropbear)" "$root/usr/sbin/dropbear"
	while read -r file; do
		mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file"
	done < <(ldd "$(command -v dropbear)" | grep -o '/[^ ]*')
	echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	echo /bin/sh >"$root/etc/shells"
	mknod -m 666 "$root/dev/null" c 1 3 2>/dev/null || : >"$root/dev/null"
	cp "$LAB/id.pub" "$root/root/.ssh/authorized_keys"
	chmod 700 "$root/root" "$root/root/.ssh"
	chmod 600 "$root/root/.ssh/authorized_keys"
}

# The mounts are seen by this dropbear and its children only, and go away with them. $1 is the
# chroot, $2 the port.
lab_dropbear_start() {
	# shellcheck disable=SC2016
	env -i PATH="$PATH" unshare -m --propagation private sh -c '
		root=$1
		mount -t proc proc "$root/proc" || exit 1
		for d in null zero urandom random; do
			[ -e "$root/dev/$d" ] || : >"$root/dev/$d"
			mount --bind "/dev/$d" "$root/dev/$d" || exit 1
		done
		exec chroot "$root" /usr/sbin/dropbear -F -E -s -p "127.0.0.1:$2" -r /etc/host_key -P /etc/dropbear.pid
	' lab "$1" "$2" >>"$1/../sshd.log" 2>&1 </dev/null 3>&- &
	echo $! >"$1/../pid"
	disown
}

lab_dropbear_settled() { lab_connects "$2" || lab_pid_gone "$(cat "$LAB/$1/pid")"; }

lab_dropbear() {
	local prefix=$1 count=$2 i host root lacks
	lacks=$(lab_dropbear_lacks)
	[ ! "$lacks" ] || { lab_say "no dropbear hosts: $lacks"; return 1; }
	for ((i = 1; i <= count; i++)); do
		host=$prefix$i root=$LAB/$prefix$i/home
		lab_chroot_make "$root" || return 1
		dropbearkey -t ed25519 -f "$root/etc/host_key" >/dev/null 2>&1 || return 1
		while lab_connects $((LAB_PORT += 1)); do :; done
		echo $LAB_PORT >"$LAB/$host/port"
		lab_dropbear_start "$root" $LAB_PORT
		lab_until lab_dropbear_settled "$host" $LAB_PORT
		lab_connects $LAB_PORT || { lab_say "dropbear of $host: $(tail -n 3 "$LAB/$host/sshd.log")"; return 1; }
		lab_alias "$host" $LAB_PORT
		echo "$host" >>"$LAB/hosts"
	done
}

# ---- the end ------------------------------------------------------------------------------------

# The processes of host $1 but its sshd: those that carry its name in their environment, or live in
# its chroot.
lab_processes() {
	local dir=$LAB/$1
	# One program that looks at all: a busy machine has thousands of processes, a lab dozens of hosts.
	{
		grep -lzxF "HOME=$dir/home" /proc/[0-9]*/environ 2>/dev/null
		find /proc/[0-9]* -maxdepth 1 -name root \( -lname "$dir/home" -o -lname "$dir/root" \) 2>/dev/null
	} | cut -d/ -f3 | sort -u | grep -vx "$(cat "$dir/pid")" || true
}

lab_stop() {
	local pid
	pid=$(cat "$LAB/$1/pid" 2>/dev/null) || return 0
	lab_arch_unregister "$1" 2>/dev/null
	# A systemd asked to end starts itself anew; killed, it takes all of its host along.
	if [ -f "$LAB/$1/cgroup" ]; then kill -9 "$pid" 2>/dev/null; fi
	kill "$pid" 2>/dev/null || return 0
	lab_until lab_pid_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
}

lab_close() {
	local host pid
	[ "${LAB:-}" ] && [ -f "$LAB/hosts" ] || return 0
	for host in "$LAB"/*/pid; do
		[ -f "$host" ] || continue
		host=${host%/pid}
		lab_stop "${host##*/}"
		for pid in $(lab_processes "${host##*/}"); do kill -9 "$pid" 2>/dev/null; done
	done
	lab_systemd_tidy
	rm -f "$LAB/hosts"
}
