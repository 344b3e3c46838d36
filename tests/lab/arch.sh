# shellcheck shell=bash
# Hosts of another architecture, a part of vm.sh (arch=aarch64): a /usr with Debian's busybox for that
# architecture in it, which qemu-user runs, and this machine's dropbear. lab_vm_lacks aarch64 tells why
# there can be none. The package is fetched once and unpacked below build/lab; nothing is installed.

# Where files that took a download are kept from run to run.
lab_cache() { echo "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/lab"; }

# Why there can be no host of architecture $1, or nothing.
lab_arch_lacks() {
	[ "$1" = aarch64 ] || { echo "no userland of $1 is known"; return; }
	[ "$(uname -m)" != "$1" ] || { echo "this machine is $1 itself"; return; }
	[ -x /usr/bin/qemu-aarch64-static ] || { echo 'qemu-user-static is not installed'; return; }
	command -v dropbear >/dev/null || { echo 'dropbear is not installed (dropbear-bin)'; return; }
	grep -q binfmt_misc /proc/filesystems || { echo 'this kernel has no binfmt_misc'; return; }
	lab_arch_busybox || echo 'busybox-static:arm64 cannot be had (dpkg --add-architecture arm64; apt-get update)'
}

# Its busybox out of Debian's package, which is not installed but unpacked.
lab_arch_busybox() {
	local cache dir
	cache=$(lab_cache)
	[ ! -x "$cache/busybox-aarch64" ] || return 0
	mkdir -p "$cache" && dir=$(mktemp -d "$cache/deb.XXXXXX") || return 1
	(
		cd "$dir" && timeout 60 apt-get -qq download busybox-static:arm64 &&
			dpkg -x busybox-static_*_arm64.deb . && mv bin/busybox "$cache/busybox-aarch64"
	) >/dev/null 2>&1
	rm -rf "$dir"
	[ -x "$cache/busybox-aarch64" ]
}

# A /usr with nothing of this machine in it but dropbear and its libraries.
lab_arch_usr() {
	local root=$1 file
	mkdir -p "$root"/usr/{bin,sbin,lib,lib32,lib64} || return 1
	cp "$(lab_cache)/busybox-aarch64" "$root/usr/bin/busybox"
	while read -r file; do
		ln -s busybox "$root/usr/bin/$file"
	done < <(qemu-aarch64-static "$root/usr/bin/busybox" --list | grep -vx busybox)
	cp "$(command -v dropbear)" "$root/usr/sbin/dropbear"
	while read -r file; do
		mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file"
	done < <(ldd "$(command -v dropbear)" | grep -o '/[^ ]*')
	: >"$root/../binfmt"
}

# Has the kernel give programs for aarch64 to qemu, unless it does already: P keeps argv[0], which is
# what tells busybox its applet; F opens qemu now, so that
# it is found from inside a chroot. $1 is where binfmt_misc is, or shall be; the entry's name goes to
# file $2. It belongs to the whole machine: lab_stop takes it away.
lab_arch_register() {
	local at=$1 name=cube-lab-$3
	[ -e "$at/register" ] || mount -t binfmt_misc none "$at" || return 1
	! grep -qs "^flags: .*P.*F" "$at/qemu-aarch64" || return 0
	printf '%s' ":$name:M::"'\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'":"\
'\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'":/usr/bin/qemu-aarch64-static:PF" \
		>"$at/register" || return 1
	echo "$name" >"$2"
}
lab_arch_unregister() { # HOST
	local pid
	[ -s "$LAB/$1/binfmt" ] && pid=$(cat "$LAB/$1/pid") || return 0
	# shellcheck disable=SC2016
	nsenter -t "$pid" -m -- sh -c 'echo -1 >"$1"' lab "$LAB/$1/root/proc/sys/fs/binfmt_misc/$(cat "$LAB/$1/binfmt")"
	: >"$LAB/$1/binfmt"
}
