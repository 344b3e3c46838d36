#!/usr/bin/env bash
# shellcheck disable=SC2016 # what is in single quotes is for the shell on the host
# cube's main job on three throw-away ssh hosts on loopback: deploy/setup.sh demo calls it.
set -eu
cd "$(dirname "$0")/.."
. tests/lab/lab.sh

dir=$(mktemp -d /tmp/cube-demo.XXXXXX)
export CUBE_STATE_DIR=$dir/state
PATH=$PWD/build:$PATH
unset CUBE_CLUSTER XDG_RUNTIME_DIR

# Each command is shown as it would be typed, then run.
show() {
	local word line='$' bold='' plain=''
	[ ! -t 2 ] || [ "${NO_COLOR:-}" ] || bold=$'\033[1m' plain=$'\033[0m'
	for word in "$@"; do
		case $word in
		*[!A-Za-z0-9_./:=@%+,-]* | '') line+=" '$word'" ;;
		*) line+=" $word" ;;
		esac
	done
	printf '\n%s%s%s\n' "$bold" "$line" "$plain"
	"$@"
}
finish() {
	cube down --purge >/dev/null 2>&1 || true
	lab_close
	# The manager holds its lock for the seconds until it ends by itself, and makes anew what is removed there.
	flock -w 20 "$CUBE_STATE_DIR/default/lock" true 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

echo 'starting three sshd on 127.0.0.1, each with its own key and home ...'
lab_open "$dir/lab"
lab_openssh h 3
export CUBE_SSH_CONFIG=$LAB_CONFIG
sed -n '/^Host h/,/Port/p' "$LAB_CONFIG"

show cube spawn --workers=h[1-3] -- sh -c 'echo "$CUBE_HOST runs $(uname -sm)"'
show cube spawn --workers=h[1-3]
show cube nodes
show cube run --all -- uptime
show cube run -- sh -c 'echo "arguments arrive as they are: $1"; exit 3' sh 'a b;$c' || echo "exit code $?"
show cube run --all -b -- sh -c 'head -c 20000000 /dev/zero | wc -c'
show cube run -d --name slow -- sh -c 'for i in 1 2 3; do echo "line $i"; sleep 0.3; done' | tee "$dir/id"
show cube logs -f -t "$(tail -n 1 "$dir/id")"
show cube ps -a
show cube nodes -o wide
show cube top
show cube down --purge

echo
left=$(find "$dir"/lab/h*/home -mindepth 1 | head)
if [ "$left" ]; then
	printf 'left on the hosts:\n%s\n' "$left"
	exit 1
fi
echo 'nothing of cube is left in the homes of h1, h2 and h3'
