# shellcheck shell=bash
# Hosts of another architecture, a part of vm.sh (arch=aarch64, arch=armv7l): a /usr with Debian's busybox
# for that architecture in it, which qemu-user runs, and this machine's dropbear. lab_vm_lacks ARCH tells
# why there can be none. The package is fetched once and unpacked below build/lab; nothing is installed.

# "DEBIAN'S NAME, QEMU'S NAME, ELF CLASS AND MACHINE" of an architecture as uname -m names it.
lab_arch_table() {
	case $1 in
	aarch64) echo 'arm64 aarch64 02 b7' ;;
	armv7l) echo 'armhf arm 01 28' ;;
	esac
}
lab_arch_debian() { lab_arch_table "$1" | cut -d' ' -f1; }
lab_arch_qemu() { echo "/usr/bin/qemu-$(lab_arch_table "$1" | cut -d' ' -f2)-static"; }

# Where files that took a download are kept from run to run.
lab_cache() { echo "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/lab"; }

# Why there can be no host of architecture $1, or nothing.
lab_arch_lacks() {
	[ "$(lab_arch_table "$1")" ] || { echo "no userland of $1 is known"; return; }
	[ "$(uname -m)" != "$1" ] || { echo "this machine is $1 itself"; return; }
	[ -x "$(lab_arch_qemu "$1")" ] || { echo 'qemu-user-static is not installed'; return; }
	command -v dropbear >/dev/null || { echo 'dropbear is not installed (dropbear-bin)'; return; }
	grep -q binfmt_misc /proc/filesystems || { echo 'this kernel has no binfmt_misc'; return; }
	lab_arch_busybox "$1" || echo "busybox-static for $(lab_arch_debian "$1") cannot be had from Debian's mirrors"
}

# Its busybox out of Debian's package, which is not installed but unpacked. The lists of packages for
# that architecture are apt's of this call alone: the machine's own settings stay as they are.
lab_arch_busybox() {
	local cache dir debian
	cache=$(lab_cache) debian=$(lab_arch_debian "$1")
	[ ! -x "$cache/busybox-$1" ] || return 0
	mkdir -p "$cache" && dir=$(mktemp -d "$cache/deb.XXXXXX") || return 1
	(
		cd "$dir" && mkdir -p lists/partial && chmod 755 . lists || exit 1
		apt=(timeout 120 apt-get -qq -o "Dir::State::Lists=$dir/lists" -o "APT::Architecture=$debian"
			-o "APT::Architectures::=$debian" -o APT::Sandbox::User=root)
		"${apt[@]}" update || : # one list that cannot be had is not to stop it
		"${apt[@]}" download "busybox-static:$debian" &&
			dpkg -x busybox-static_*_"$debian".deb . && mv bin/busybox "$cache/busybox-$1"
	) >/dev/null 2>&1
	rm -rf "$dir"
	[ -x "$cache/busybox-$1" ]
}

# A /usr with nothing of this machine in it but dropbear and its libraries. $2: the architecture.
lab_arch_usr() {
	local root=$1 file
	mkdir -p "$root"/usr/{bin,sbin,lib,lib32,lib64} || return 1
	cp "$(lab_cache)/busybox-$2" "$root/usr/bin/busybox"
	while read -r file; do
		ln -s busybox "$root/usr/bin/$file"
	done < <("$(lab_arch_qemu "$2")" "$root/usr/bin/busybox" --list | grep -vx busybox)
	cp "$(command -v dropbear)" "$root/usr/sbin/dropbear"
	while read -r file; do
		mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file"
	done < <(ldd "$(command -v dropbear)" | grep -o '/[^ ]*')
	: >"$root/../binfmt"
	echo "$2 $(lab_arch_qemu "$2") $(lab_arch_table "$2")" >"$root/../arch"
}

# Has the kernel give programs of the host's architecture to qemu, unless it does already: P keeps
# argv[0], which is what tells busybox its applet; F opens qemu now, so that it is found from inside a
# chroot. $1 is where binfmt_misc is, or shall be; the entry's name goes to file $2. It belongs to the
# whole machine: lab_stop takes it away.
lab_arch_register() {
	local at=$1 name=cube-lab-$3 qemu known class machine
	read -r _ qemu _ known class machine <"${2%/*}/arch"
	[ -e "$at/register" ] || mount -t binfmt_misc none "$at" || return 1
	! grep -qs "^flags: .*P.*F" "$at/qemu-$known" || return 0
	printf '%s' ":$name:M::\\x7fELF\\x$class"'\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'"\\x$machine"'\x00:'\
'\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'":$qemu:PF" >"$at/register" || return 1
	echo "$name" >"$2"
}
lab_arch_unregister() { # HOST
	local pid
	[ -s "$LAB/$1/binfmt" ] && pid=$(cat "$LAB/$1/pid") || return 0
	# shellcheck disable=SC2016
	nsenter -t "$pid" -m -- sh -c 'echo -1 >"$1"' lab "$LAB/$1/root/proc/sys/fs/binfmt_misc/$(cat "$LAB/$1/binfmt")"
	: >"$LAB/$1/binfmt"
}
