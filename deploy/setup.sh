#!/bin/sh
# From a fresh Debian (12 or newer) or Ubuntu (24.04) to a running cube, as root or with sudo:
#
#   deploy/setup.sh demo    installs what is missing, builds, and shows cube's main job on three
#                           throw-away sshd on loopback, which are removed afterwards
#   deploy/setup.sh test    installs the test tools as well and runs the whole test suite
#   deploy/setup.sh bench   the same with what `make bench` compares with, and runs it
#   deploy/setup.sh build   installs and builds, nothing else
set -eu
cd "$(dirname "$0")/.."

# ---- packages, all of them here -----------------------------------------------------------------

BUILD='gcc libc6-dev make musl-tools libssh2-1-dev libssl-dev libcurl4-openssl-dev libjansson-dev
	libsqlite3-dev libmicrohttpd-dev'
DEMO='openssh-server openssh-client'
TEST='check libsubunit-dev jq curl shellcheck git dropbear-bin busybox-static fish zsh tcsh sudo tmux python3 python3-paramiko dnsmasq-base
	iproute2 systemd libpam-systemd dbus dbus-user-session qemu-user-static gcc-riscv64-linux-gnu gcc-arm-linux-gnueabihf
	libc6-dev-riscv64-cross libc6-dev-armhf-cross man-db groff openssl libssl-dev psmisc procps
	krb5-kdc krb5-admin-server krb5-user softhsm2
	btrfs-progs'
BENCH='pdsh clustershell'
# Used where the release has it: another version would format in another way.
MAYBE='clang-format-14'
# A docker of another origin would be put out by Debian's.
[ -x /usr/bin/dockerd ] || [ -x /usr/sbin/dockerd ] || MAYBE="$MAYBE docker.io docker-cli"
case $(uname -m) in # the other architecture's worker: compiler, and its musl for the compiler
x86_64) CROSS='gcc-aarch64-linux-gnu libc6-dev-arm64-cross' MUSL=musl-dev:arm64 ;;
aarch64) CROSS='gcc-x86-64-linux-gnu libc6-dev-amd64-cross' MUSL=musl-dev:amd64 ;;
*) CROSS='' MUSL='' ;;
esac

# -------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
die() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt() {
	as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -o DPkg::Lock::Timeout=300 \
		-o Acquire::Retries=3 "$@" </dev/null
}
has() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing() { for p in "$@"; do has "$p" || printf '%s ' "$p"; done; }

updated=''
# A machine that has just booted updates its lists itself; apt-get does not wait for that lock.
update() {
	tries=0
	until [ "$updated" ]; do
		if apt update >"$tmp" 2>&1; then
			updated=1
		else
			if ! grep -q 'Could not get lock' "$tmp" || [ $((tries += 1)) = 60 ]; then
				tail -n 20 "$tmp" >&2
				die 'apt-get update failed'
			fi
			sleep 5
		fi
	done
}

install_packages() {
	need=$(missing "$@")
	[ "$need" ] || return 0
	update
	say "installing: $need"
	# shellcheck disable=SC2086
	apt install -y --no-install-recommends $need >"$tmp" 2>&1 || {
		tail -n 20 "$tmp" >&2
		die 'apt-get install failed'
	}
}

# musl of the other architecture is a foreign package; a mirror without that architecture is no
# error: the worker for it is then linked with the cross compiler's own static libc, and larger.
install_musl() {
	arch=${1#*:}
	! has "$1" || return 0
	had=$(dpkg --print-foreign-architectures | grep -x "$arch" || true)
	[ "$had" ] || as_root dpkg --add-architecture "$arch"
	say "installing: $1"
	if apt update >/dev/null 2>&1 && apt install -y --no-install-recommends "$1" >/dev/null 2>&1; then
		return 0
	fi
	[ "$had" ] || as_root dpkg --remove-architecture "$arch" || true
	updated=''
	update
	say "note: $1 cannot be had from this machine's package sources;" \
		"the worker for $arch is linked with glibc instead and is larger"
}

install() {
	[ -f /etc/debian_version ] || die 'this is neither Debian nor Ubuntu: see deploy/README.md for what cube needs'
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die 'be root, or install sudo'
	install_packages "$@"
	[ ! "$MUSL" ] || install_musl "$MUSL"
}

build() {
	say "building"
	make --no-print-directory -j"$(nproc)"
}

tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
trap 'exit 130' INT TERM
mode=${1:-}
# The lists are words to be split.
# shellcheck disable=SC2086
case $mode in
build)
	install $BUILD $CROSS
	build
	;;
demo)
	install $BUILD $CROSS $DEMO
	build
	rm -f "$tmp"
	exec deploy/demo.sh
	;;
test)
	install $BUILD $CROSS $DEMO $TEST
	for p in $MAYBE; do
		has "$p" || update
		! apt-cache show "$p" >/dev/null 2>&1 || install_packages "$p"
	done
	rm -f "$tmp"
	exec make --no-print-directory test
	;;
bench)
	install $BUILD $CROSS $DEMO $TEST $BENCH
	build
	rm -f "$tmp"
	exec make --no-print-directory bench
	;;
*)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
