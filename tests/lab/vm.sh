# shellcheck shell=bash
# Hosts with a whole userland, a part of lab.sh. Nothing is installed: a host is a namespace whose
# root has this machine's /usr, read-only, and everything else of its own. It needs root.
#
#   lab_vm NAME [OPTION...]   makes and starts a host; 0, or 1 and why on stderr
#   lab_vm_lacks              why there can be none here, or nothing
#   lab_vm_in NAME CMD...     runs a command there as root (its mounts, its pids)
#   lab_vm_files NAME         every file there that can be written: path, type, mode, size, a line each
#   lab_vm_processes NAME     the processes there, its sshd and connections apart: PID COMMAND
#
# Its root is $LAB/NAME/root (what is mounted there is seen by lab_vm_in only): /etc, /home/user,
# /root, /tmp, /var/tmp, /run, /dev with ptys, /proc. It has its own host name, processes, accounts
# and PAM. Files may be put below the root at any time; sshd reads what it looks up by itself
# (Banner, authorized_keys, rc files) at each login. All of it ends with lab_close.
#
#   user=NAME          the account (user, uid 1000); root is possible
#   shell=FILE         its login shell (/bin/bash), a path on this machine or below the root
#   key=FILE|none      the public key it takes ($LAB/id.pub)
#   password=SECRET    its password, as a real shadow entry; sshd then takes passwords
#   pam=yes            sshd asks PAM (pam_unix, pam_motd), also for keyboard-interactive
#   sshd='LINE'        a line for sshd_config, before the others; repeated at will
#   server=dropbear    dropbear without sftp instead of OpenSSH
#   sudo=nopasswd|password   sudo, and whether it asks; without it there is a sudo that refuses;
#                      sudo=requiretty: as nopasswd, from a terminal only
#   home=WHAT          noexec, ro, missing, full:SIZE (that much room), quota:SIZE (see quota.sh)
#   mount=PATH:WHAT    the same for any path, as mount=/tmp:noexec; WHAT may be any tmpfs options
#   net=own            a network of its own with no way out; ssh comes over a veth pair
#   net=of:NAME        the network of that host, and only its loopback: NAME is the way there
#   logind='LINE'      a line of [Login] in /etc/systemd/logind.conf
#   init=systemd       systemd, logind and user sessions (pam=yes is implied); see systemd.sh
#   arch=aarch64|armv7l  another machine's userland: its busybox, run by qemu-user; see arch.sh
#   cgroup=MODE        /sys/fs/cgroup: v2 (root's), delegated (v2, the user's), v1; else there is none
#   setup=FUNCTION     called with NAME and the root folder before the host starts

# shellcheck source=systemd.sh
. "$(dirname "${BASH_SOURCE[0]}")/systemd.sh"
# shellcheck source=arch.sh
. "$(dirname "${BASH_SOURCE[0]}")/arch.sh"
# shellcheck source=quota.sh
. "$(dirname "${BASH_SOURCE[0]}")/quota.sh"

# Why there can be no such hosts here (with arch=$1), or nothing.
lab_vm_lacks() {
	[ "$(id -u)" = 0 ] || { echo 'namespaces and mounts need root'; return; }
	[ -x "$(lab_sshd)" ] || { echo 'no sshd: install openssh-server'; return; }
	[ -L /bin ] || { echo 'this machine keeps /bin apart from /usr/bin'; return; }
	unshare -m -u -p -f true 2>/dev/null ||
		{ echo 'no mount, host name and process namespaces here'; return; }
	[ ! "${1:-}" ] || lab_arch_lacks "$1"
}

# Options become VM_<name>; those that may be repeated are lists.
lab_vm_options() {
	local o
	VM_user=user VM_shell=/bin/bash VM_key='' VM_password='' VM_pam=no VM_server=openssh VM_sudo=none
	VM_net='' VM_cgroup='' VM_init='' VM_arch='' VM_logind='' VM_setup='' VM_sshd=() VM_mount=()
	for o; do
		case $o in
		sshd=*) VM_sshd+=("${o#*=}") ;;
		mount=*) VM_mount+=("${o#*=}") ;;
		home=*) VM_mount+=("HOME:${o#*=}") ;;
		logind=*) VM_logind+="${o#*=}"$'\n' ;;
		user=* | shell=* | key=* | password=* | pam=* | server=* | sudo=* | net=* | init=* | cgroup=* | arch=* | setup=*)
			printf -v "VM_${o%%=*}" %s "${o#*=}"
			;;
		*) lab_say "lab_vm: no option '$o'" && return 1 ;;
		esac
	done
	[ ! "$VM_init" ] || VM_pam=yes
	[ ! "$VM_arch" ] || VM_server=dropbear VM_shell=/bin/sh
	VM_home=/home/$VM_user
	[ "$VM_user" != root ] || VM_home=/root
}

# ---- the root folder ----------------------------------------------------------------------------

# Of the machine's /etc only what programs of /usr look for.
lab_vm_etc() {
	local root=$1 name=$2 f
	mkdir -p "$root"/etc/{pam.d,security,systemd,ssh,sudoers.d}
	for f in ld.so.cache ld.so.conf ld.so.conf.d login.defs shells services protocols \
		terminfo fish zsh csh.cshrc csh.login profile bash.bashrc; do
		[ ! -e "/etc/$f" ] || cp -a "/etc/$f" "$root/etc/"
	done
	mkdir "$root/etc/alternatives"
	find /etc/alternatives -type l ! -name '*.gz' -exec cp -P -t "$root/etc/alternatives" {} +
	echo "$name" >"$root/etc/hostname"
	printf '127.0.0.1 localhost %s\n' "$name" >"$root/etc/hosts"
	printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
	printf '[Login]\n%s' "$VM_logind" >"$root/etc/systemd/logind.conf"
	printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n' \
		>"$root/etc/pam.d/other"
	cp "$root/etc/pam.d/other" "$root/etc/pam.d/sudo"
	printf 'session optional pam_motd.so motd=/etc/motd\n' |
		cat "$root/etc/pam.d/other" - >"$root/etc/pam.d/sshd"
	case $VM_sudo in
	nopasswd) printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$VM_user" ;;
	password) printf '%s ALL=(ALL:ALL) ALL\n' "$VM_user" ;;
	requiretty) printf 'Defaults requiretty\n%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$VM_user" ;;
	esac | cat <(printf 'root ALL=(ALL:ALL) ALL\n') - >"$root/etc/sudoers"
	chmod 440 "$root/etc/sudoers"
}

# A password's hash; the password goes through a pipe.
lab_vm_hash() {
	[ "$1" ] || { echo '*'; return; }
	# shellcheck disable=SC2016
	printf %s "$1" | perl -e 'local $/; print crypt(<STDIN>, q($6$labhosts$)), "\n"'
}

lab_vm_accounts() {
	local root=$1 day
	day=$(($(date +%s) / 86400))
	{
		printf 'root:x:0:0::/root:%s\n' "$([ "$VM_user" = root ] && echo "$VM_shell" || echo /bin/sh)"
		echo 'sshd:x:105:65534::/run/sshd:/usr/sbin/nologin'
		echo 'nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin'
		[ "$VM_user" = root ] || echo "$VM_user:x:1000:1000::$VM_home:$VM_shell"
	} >"$root/etc/passwd"
	{
		printf 'root:x:0:\ntty:x:5:\nshadow:x:42:\nnogroup:x:65534:\nsudo:x:27:\n'
		[ "$VM_user" = root ] || echo "$VM_user:x:1000:"
	} >"$root/etc/group"
	(
		umask 077
		{
			printf 'sshd:*:%s:0:99999:7:::\nnobody:*:%s:0:99999:7:::\n' "$day" "$day"
			[ "$VM_user" = root ] || printf 'root:*:%s:0:99999:7:::\n' "$day"
			printf '%s:%s:%s:0:99999:7:::\n' "$VM_user" "$(lab_vm_hash "$VM_password")" "$day"
		} >"$root/etc/shadow"
	)
	grep -qxF "$VM_shell" "$root/etc/shells" 2>/dev/null || echo "$VM_shell" >>"$root/etc/shells"
}

lab_vm_home() {
	local root=$1
	mkdir -p "$root/root" "$root/home"
	chmod 700 "$root/root"
	mkdir -p "$root$VM_home"
	[ "$VM_user" = root ] || chown 1000:1000 "$root$VM_home"
	# Not in the home, which may be anything.
	if [ "$VM_key" != none ]; then cp "${VM_key:-$LAB/id.pub}" "$root/etc/ssh/authorized_keys"; fi
	if [ "$VM_server" = dropbear ] && [ "$VM_key" != none ]; then
		mkdir -m 700 "$root$VM_home/.ssh"
		cp "$root/etc/ssh/authorized_keys" "$root$VM_home/.ssh/"
		chmod 600 "$root$VM_home/.ssh/authorized_keys"
		[ "$VM_user" = root ] || chown -R 1000:1000 "$root$VM_home/.ssh"
	fi
}

lab_vm_sshd_config() {
	[ ${#VM_sshd[@]} = 0 ] || printf '%s\n' "${VM_sshd[@]}"
	cat <<-END
		ListenAddress $1
		Port $2
		HostKey /etc/ssh/host_key
		PidFile /run/sshd.pid
		AuthorizedKeysFile /etc/ssh/authorized_keys
		UsePAM $VM_pam
		PermitRootLogin yes
		PasswordAuthentication $([ "$VM_password" ] && echo yes || echo no)
		KbdInteractiveAuthentication $VM_pam
		PrintMotd $([ "$VM_pam" = yes ] && echo no || echo yes)
		Subsystem sftp /usr/lib/openssh/sftp-server
		LogLevel ${LAB_SSHD_LOG:-ERROR}
		$(lab_sshd_penalties "$3")
	END
}

lab_vm_root() {
	local root=$1 name=$2 l
	mkdir -p "$root"/{usr,dev/pts,dev/shm,proc,run/sshd,tmp,var/tmp,var/lib,var/log,mnt}
	chmod 1777 "$root/tmp" "$root/var/tmp" "$root/dev/shm"
	ln -s ../run "$root/var/run"
	for l in bin sbin lib lib32 lib64 libx32; do
		[ ! -L "/$l" ] || cp -P "/$l" "$root/$l"
	done
	[ ! "$VM_arch" ] || lab_arch_usr "$root" "$VM_arch" || return 1
	lab_vm_etc "$root" "$name" && lab_vm_accounts "$root" && lab_vm_home "$root" || return 1
	[ ! "$VM_init" ] || lab_systemd_etc "$root" || return 1
	if [ "$VM_server" = dropbear ]; then
		dropbearkey -t ed25519 -f "$root/etc/ssh/host_key" >/dev/null 2>&1
	else
		ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$root/etc/ssh/host_key" </dev/null &&
			cp "$root/etc/ssh/host_key.pub" "$root/../host_key.pub"
	fi
}

# ---- starting it --------------------------------------------------------------------------------

# "PATH OPTIONS" a line, for mount -t tmpfs; a path of which nothing shall be there is "PATH -", and one
# that is a btrfs with a quota "PATH btrfs,SIZE,mode=...".
lab_vm_mounts() {
	local m path what own
	for m in ${VM_mount[@]+"${VM_mount[@]}"}; do
		path=${m%%:*} what=${m#*:} own=mode=1777
		[ "$path" != HOME ] || path=$VM_home
		[ "$path" != "$VM_home" ] || [ "$VM_user" = root ] || own=mode=755,uid=1000,gid=1000
		case $what in
		missing) what=- own='' ;;
		full:*) what=size=${what#*:} ;;
		quota:*)
			case $(lab_quota_kind) in
			tmpfs) what=usrquota_block_hardlimit=${what#*:} ;;
			btrfs) what=btrfs,${what#*:} ;;
			*) lab_quota_lacks >&2 && return 1 ;;
			esac
			;;
		esac
		echo "$path $what${own:+,$own}"
	done
}

# What runs as the first process of the namespaces: $1 the root, $2 the name. The pid is read while
# /proc is still the machine's. Mounts of $1/../mounts come last: they hide what is below.
lab_vm_boot() {
	set -e
	local root=$1 path what d pid size
	read -r pid _ </proc/self/stat
	hostname "$2"
	# systemd 257 gives up where its / is no mount.
	[ ! -f "$root/../cgroup" ] || mount --bind "$root" "$root"
	if [ -d "$root/usr/bin" ]; then mount --bind "$root/usr" "$root/usr"; else mount --bind /usr "$root/usr"; fi
	mount -o remount,bind,ro "$root/usr"
	mount -t tmpfs -o mode=755 dev "$root/dev"
	mkdir -m 1777 "$root/dev/shm"
	mkdir "$root/dev/pts"
	for d in null zero full urandom random tty; do
		: >"$root/dev/$d"
		mount --bind "/dev/$d" "$root/dev/$d"
	done
	mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	while read -r path what; do
		case $what in
		-) rm -rf "${root:?}$path" ;;
		ro,*) mount --bind "$root$path" "$root$path" && mount -o remount,bind,ro "$root$path" ;;
		btrfs,*)
			IFS=, read -r _ size what <<<"$what"
			lab_quota_mount "$root$path" "$root/../quota.img" "$size"
			case $what in *uid=*) chown 1000:1000 "$root$path" ;; esac
			what=${what%%,*}
			chmod "${what#mode=}" "$root$path"
			;;
		*) mount -t tmpfs -o "$what" lab "$root$path" ;;
		esac
	done <"$root/../mounts"
	mount -t proc proc "$root/proc"
	if [ -f "$root/../cgroup_mode" ]; then lab_vm_cgroup "$root"
	elif [ -f "$root/../cgroup" ]; then lab_systemd_boot "$root"; fi
	[ ! -f "$root/../binfmt" ] || lab_arch_register "$root/proc/sys/fs/binfmt_misc" "$root/../binfmt" "$pid"
	echo "$pid" >"$root/../pid.new"
	mv "$root/../pid.new" "$root/../pid"
	mapfile -t words <"$root/../server"
	exec env container=lab chroot "$root" "${words[@]}"
}

# Why there can be no cgroup=$1 here, or nothing.
lab_cgroup_lacks() {
	case $1 in
	v1) [ -e /sys/fs/cgroup/memory/tasks ] || echo 'this machine has no cgroup v1' ;;
	*) lab_systemd_cgroups >/dev/null || echo 'no cgroup v2 that could be written to' ;;
	esac
}

# What lab_vm_boot does for cgroup=MODE; $1 is the root. With a delegation sshd, and so each
# login, is in the cgroup that belongs to the user.
lab_vm_cgroup() {
	local dir=$1/sys/fs/cgroup mode
	mode=$(cat "$1/../cgroup_mode")
	mkdir -p "$dir"
	if [ "$mode" = v1 ]; then
		mount -t tmpfs cgroup "$dir"
		mkdir "$dir/memory"
		mount -t cgroup -o memory cgroup "$dir/memory"
		return
	fi
	mount -t cgroup2 cgroup2 "$dir"
	[ "$mode" = delegated ] || return 0
	mkdir "$dir/user"
	chown -R 1000:1000 "$dir/user"
	echo $$ >"$dir/user/cgroup.procs"
}

# Starts the host made in $LAB/$1, again if it was stopped. Does not wait.
lab_vm_start() {
	local dir=$LAB/$1 into=()
	rm -f "$dir/pid" "$dir/root/run/sshd.pid"
	[ ! -s "$dir/link" ] || into=(unshare -n bash -c "$(declare -f lab_vm_inner_net); lab_vm_inner_net \"\$@\"" lab
		"$(cat "$dir/link")" "$(cat "$dir/address")" $$)
	[ ! -s "$dir/net" ] || into=(nsenter -t "$(cat "$LAB/$(cat "$dir/net")/pid")" -n)
	[ ! -s "$dir/cgroup" ] || into+=(bash -c "$(declare -f lab_systemd_enter); lab_systemd_enter \"\$@\"" lab "$(cat "$dir/cgroup")")
	env -i PATH="$PATH" "${into[@]}" unshare -m -u -p -f --propagation private bash -c \
		"$(declare -f lab_vm_boot lab_vm_cgroup lab_systemd_boot lab_arch_register lab_quota_mount); lab_vm_boot \"\$@\"" lab "$dir/root" "$1" >>"$dir/sshd.log" 2>&1 </dev/null 3>&- &
	echo $! >"$dir/outer"
	disown
	[ ! -s "$dir/link" ] || lab_vm_outer_net "$(cat "$dir/link")" "$(cat "$dir/address")"
}

# The two ends of a veth pair, which goes away with the namespace. No route leads out of it but to
# this machine's end.
lab_vm_inner_net() {
	set -e
	local link=$1 address=$2 outer=$3
	shift 3
	ip link set lo up
	ip link add "${link}b" type veth peer name "$link" netns "$outer"
	ip addr add "$address/30" dev "${link}b"
	ip link set "${link}b" up
	exec "$@"
}
lab_vm_outer_net() {
	lab_until ip link show "$1" >/dev/null 2>&1 &&
		ip addr add "${2%.*}.$((${2##*.} - 1))/30" dev "$1" && ip link set "$1" up
}

lab_vm_settled() {
	lab_pid_gone "$(cat "$LAB/$1/outer")" || { [ -s "$LAB/$1/pid" ] && lab_vm_answers "$1"; }
}
lab_vm_answers() {
	if [ -s "$LAB/$1/net" ]; then
		nsenter -t "$(cat "$LAB/$1/pid")" -n bash -c "exec 3<>/dev/tcp/127.0.0.1/$(cat "$LAB/$1/port")"
	else (exec 3<>"/dev/tcp/$(cat "$LAB/$1/address")/$(cat "$LAB/$1/port")"); fi 2>/dev/null
}

lab_vm_server() {
	local port=$1
	if [ "$VM_init" ]; then echo /lib/systemd/systemd
	elif [ "$VM_server" = dropbear ]; then
		printf '%s\n' /usr/sbin/dropbear -F -E -p "$VM_address:$port" -r /etc/ssh/host_key \
			-P /run/sshd.pid
		[ "$VM_password" ] || echo -s
	else printf '%s\n' "$(lab_sshd)" -D -e -f /etc/ssh/sshd_config; fi
}

lab_vm() {
	local name=$1 dir=$LAB/$1 root=$LAB/$1/root lacks tries=0
	shift
	lab_vm_options "$@" || return 1
	lacks=$(lab_vm_lacks "$VM_arch")
	[ ! "$lacks" ] || { lab_say "no whole hosts: $lacks"; return 1; }
	mkdir -p "$dir" && lab_vm_root "$root" "$name" || return 1
	lab_vm_mounts >"$dir/mounts" || return 1
	[ ! "$VM_setup" ] || "$VM_setup" "$name" "$root" || return 1
	while [ $((tries += 1)) -lt 20 ]; do
		VM_address=127.0.0.1
		while lab_connects $((LAB_PORT += 1)); do :; done
		case $VM_net in
		of:*) echo "${VM_net#of:}" >"$dir/net" ;;
		own)
			VM_address=10.213.$((LAB_PORT / 64 % 256)).$((LAB_PORT % 64 * 4 + 2))
			echo "cl$LAB_PORT" >"$dir/link"
			;;
		esac
		echo $LAB_PORT >"$dir/port"
		echo "$VM_address" >"$dir/address"
		[ ! "$VM_cgroup" ] || echo "$VM_cgroup" >"$dir/cgroup_mode"
		case $VM_init$VM_cgroup in
		systemd | v2 | delegated) echo "$(lab_systemd_cgroups)/lab-$LAB_PORT" >"$dir/cgroup" ;;
		esac
		lab_vm_sshd_config "$VM_address" $LAB_PORT "$root/etc/ssh/host_key" >"$root/etc/ssh/sshd_config"
		lab_vm_server $LAB_PORT >"$dir/server"
		lab_vm_start "$name"
		lab_until lab_vm_settled "$name" || break
		if ! lab_pid_gone "$(cat "$dir/outer")"; then
			lab_alias "$name" $LAB_PORT "HostName $VM_address" "User $VM_user"
			echo "$name" >>"$LAB/hosts"
			return 0
		fi
		# Somebody else may have taken its port just before.
		grep -q 'Address already in use' "$dir/sshd.log" || break
		: >"$dir/sshd.log"
	done
	lab_say "$name does not start: $(tail -n 3 "$dir/sshd.log")"
	return 1
}

# ---- looking inside -----------------------------------------------------------------------------

lab_vm_in() {
	local name=$1 pid
	shift
	pid=$(cat "$LAB/$name/pid")
	nsenter -t "$pid" -m -u -p -r -w -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}

lab_vm_files() {
	# The log of logins and what PAM and sudo keep are the host's own. This machine's find, as
	# the host may have none.
	# shellcheck disable=SC2016
	nsenter -t "$(cat "$LAB/$1/pid")" -m -- sh -c 'cd "$1" && find . \( -path ./usr -o -path ./proc \
		-o -path ./dev/pts -o -path ./run/sudo -o -path ./var/log \) -prune \
		-o ! -type d -printf "/%P %y %m %s\n" -o -type d -printf "/%P %y %m\n" | sort' lab "$LAB/$1/root"
}

lab_vm_processes() {
	local pid
	for pid in $(lab_processes "$1"); do
		printf '%s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 200)"
	done | grep -vE '^[0-9]+ (sshd(-session|-auth)?: |/usr/sbin/sshd |/usr/sbin/dropbear |(/usr)?/lib/systemd/systemd|/usr/bin/dbus-daemon |\(sd-pam\)|$)' || true
}
