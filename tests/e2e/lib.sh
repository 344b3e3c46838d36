# shellcheck shell=bash
# What every script of tests/e2e shares. A script sources it, defines `setup` (optional) and functions
# `test_...`, and ends with `main`. Tests run in the order written, each in a subshell with set -e;
# a failed assertion ends its test, not the script.
#
# $ON is where the nodes are: local, openssh, dropbear or vm. $W names three of them for --workers,
# $NODES their names. Everything lies under $T, also HOME and the manager's state.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lab/lab.sh
. "$ROOT/tests/lab/lab.sh"
# shellcheck source=../lab/terminal.sh
. "$ROOT/tests/lab/terminal.sh"

ON=${ON:-local}
SCRIPT=$(basename "$0" .sh)
FILE=$(cd "$(dirname "$0")" && pwd)/$SCRIPT.sh
T=${T:-$(mktemp -d /tmp/cube-e2e.XXXXXX)}
CUBE=${CUBE:-$ROOT/build/cube}
PATH=$(dirname "$CUBE"):$PATH
HOME=$T/home
CUBE_STATE_DIR=$T/state
CUBE_E2E_MARK=$T
unset XDG_RUNTIME_DIR XDG_STATE_HOME XDG_CACHE_HOME SSH_AUTH_SOCK CUBE_DIR
unset MAKEFLAGS MFLAGS MAKELEVEL
export PATH HOME CUBE_STATE_DIR CUBE_E2E_MARK NO_COLOR=1 LC_ALL=C.UTF-8 TZ=UTC
mkdir -p "$HOME" "$T/san" "$T/t"
LAB_NEVER=$T/never # see lab_pause
[ -p "$LAB_NEVER" ] || mkfifo "$LAB_NEVER"
export ASAN_OPTIONS=log_path=$T/san/asan:detect_stack_use_after_return=1
export UBSAN_OPTIONS=log_path=$T/san/ubsan:print_stacktrace=1
LAB_SETENV="ASAN_OPTIONS=$ASAN_OPTIONS UBSAN_OPTIONS=$UBSAN_OPTIONS CUBE_E2E_MARK=$T ${LAB_SETENV:-}"

# ---- assertions ---------------------------------------------------------------------------------

fail() {
	printf '# %s: %s\n' "${FUNCNAME[2]:-}:${BASH_LINENO[1]:-}" "$*" >&2
	exit 1
}

skip() {
	printf '%s\n' "$*" >"$T/skipped"
	exit 0
}

shown() { head -c 600 "$1" | cat -v | sed 's/^/#    /' >&2; }

# Runs a command; its exit code is in $rc, its output in the files $O and $E.
O=$T/out E=$T/err
run() {
	rc=0
	"$@" >"$O" 2>"$E" || rc=$?
	ran=$*
	cat "$E" >>"$T/stderr"
}

rc_is() {
	[ "$rc" = "$1" ] && return
	printf '# %s\n# stdout:\n' "${ran:0:200}" >&2
	shown "$O"
	echo '# stderr:' >&2
	shown "$E"
	fail "exit code $rc, not $1"
}

ok() { run "$@" && rc_is 0; }

is() { [ "$1" = "$2" ] || fail "${3:-}: '${1:0:300}' is not '${2:0:300}'"; }
out_is() { printf '%b' "$1" | cmp -s - "$O" || { shown "$O"; fail "stdout is not '$1'"; }; }
err_is() { printf '%b' "$1" | cmp -s - "$E" || { shown "$E"; fail "stderr is not '$1'"; }; }
out_has() { grep -qE -e "$1" "$O" || { shown "$O"; shown "$E"; fail "stdout has no /$1/"; }; }
err_has() { grep -qE -e "$1" "$E" || { shown "$E"; fail "stderr has no /$1/"; }; }
out_lacks() { ! grep -qE -e "$1" "$O" || { shown "$O"; fail "stdout has /$1/"; }; }
err_lacks() { ! grep -qE -e "$1" "$E" || { shown "$E"; fail "stderr has /$1/"; }; }
out_lines() { is "$(wc -l <"$O")" "$1" "lines of stdout"; }
sorted_is() { sort "$O" | cmp -s - <(printf '%b' "$1") || { shown "$O"; fail "sorted stdout is not '$1'"; }; }
json_is() { # FILTER VALUE, of the last output
	local got
	got=$(jq -cr "$1" "$O" 2>&1) || { shown "$O"; fail "jq $1: $got"; }
	is "$got" "$2" "$1"
}

# Runs a command on a terminal of $COLS (80) columns and 24 rows; the steps before -- are those of
# tests/lab/terminal.c. Then $O is what stays on it, with what scrolled off. It is to be left as it was
# found, and no signal ends the command, unless $KILLED says which. After lab_terminal "$T".
on_tty() { # [STEP...] -- COMMAND...
	TERM=${TERM-xterm} run "$T/terminal" -s "24x${COLS:-80}" -r "$T/tty" "$@"
	[ "$rc" != 250 ] || { cat "$E" >&2 && fail "$ran"; }
	! grep '^fault' "$T/tty" >&2 || fail "the terminal after: $ran"
	is "$(tty_said signal)" "${KILLED:-0}" "the signal that ended: $ran"
}
tty_said() { sed -n "s/^$1 //p" "$T/tty"; } # a line of the report

# Until COMMAND... succeeds, within ${WITHIN:-20} seconds of a quick machine. To look costs processes as
# well: it is done less often the longer it takes.
soon() {
	local end=$((SECONDS + ${WITHIN:-20} * ${CUBE_TEST_PACE:-3})) hundredths=2 pause
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "never: $*"
		printf -v pause '0.%02d' $hundredths
		lab_pause "$pause"
		hundredths=$((hundredths < 20 ? hundredths + hundredths / 4 + 1 : 20))
	done
}

# COMMAND..., ended (124) when it still runs after SECONDS of a quick machine: it hangs.
within() { timeout $(($1 * ${CUBE_TEST_PACE:-3})) "${@:2}"; }
# .. and as a --connect-timeout: within it whoever answers at all has been reached.
seconds() { echo $(($1 * ${CUBE_TEST_PACE:-3}))s; }
# Since $begin, a value of $SECONDS, so many seconds of a quick machine at most: not waited for in vain.
# shellcheck disable=SC2154
took_at_most() {
	local took=$((SECONDS - begin))
	[ $took -le $(($1 * ${CUBE_TEST_PACE:-3})) ] || fail "took $took s"
}

# ---- nodes --------------------------------------------------------------------------------------

# Makes the hosts: $1 of them (3). $W, $NODES and the option --ssh-config by environment. A script on
# vm that makes its hosts itself, with options, says `hosts 0`.
hosts() {
	local n=${1:-3} i p
	NODES=()
	case $ON in
	local) p=localhost- ;;
	openssh) p=h ;;
	dropbear) p=d ;;
	vm) p=v ;;
	esac
	for ((i = 1; i <= n; i++)); do NODES+=("$p$i"); done
	W="${p}[1-$n]"
	[ "$n" -gt 1 ] || W=${p}1
	case $ON in
	local)
		export W="localhost*$n"
		# A single local node is called localhost.
		[ "$n" -gt 1 ] || NODES=(localhost)
		;;
	openssh)
		lab_open "$T/lab" || exit 3
		# Everything must do with one session and no forwarding. sshd takes the first value it
		# finds: a script whose hosts forward says so in LAB_SSHD_LINES.
		LAB_SSHD_LINES=${LAB_SSHD_LINES-$'MaxSessions 1\nDisableForwarding yes'} lab_openssh h "$n" || exit 3
		export CUBE_SSH_CONFIG=$LAB_CONFIG
		;;
	dropbear)
		lab_open "$T/lab" && lab_dropbear d "$n" || exit 3
		export CUBE_SSH_CONFIG=$LAB_CONFIG
		;;
	vm)
		lab_open "$T/lab" || exit 3
		for i in ${NODES[@]+"${NODES[@]}"}; do lab_vm "$i" || exit 3; done
		[ "$n" -gt 0 ] || W=''
		export CUBE_SSH_CONFIG=$LAB_CONFIG
		;;
	esac
}

# The home of node $1's user, as seen from here.
home_of() {
	case $ON in
	local) echo "$HOME" ;;
	vm) echo "$LAB/$1/root/home/user" ;;
	*) echo "$LAB/$1/home${2:-}" ;;
	esac
}

# .. and what its tasks call HOME.
user_home() { case $ON in dropbear) home_of "$1" /root ;; *) home_of "$1" ;; esac; }

api() { # METHOD PATH [curl's words]: the body on stdout, the status in $T/status
	local method=$1 path=$2
	shift 2
	curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" -X "$method" -o "$T/body" -w '%{http_code}' \
		"$@" "http://cube$path" >"$T/status" || fail "curl $method $path"
	cat "$T/body"
}
status_is() { is "$(cat "$T/status")" "$1" "HTTP status ($(head -c 300 "$T/body"))"; }

manager_pid() { api GET /v1/info | jq -r .pid; }

# Processes of this test but the shells that run it: they carry its mark, or live in one of its
# chroots. "PID COMMAND" a line. Three processes look at all there are, as this is asked again and again.
mine() {
	local pid words line
	local -A seen=()
	{
		grep -lszxF "CUBE_E2E_MARK=$T" /proc/[0-9]*/environ
		find /proc/[0-9]*/root -maxdepth 0 -lname "$T/*"
	} 2>/dev/null | while IFS=/ read -r _ _ pid _; do
		[ ! "${seen[$pid]:-}" ] && mapfile -d '' -t words <"/proc/$pid/cmdline" || continue
		seen[$pid]=1 line=${words[*]:+${words[*]} }
		printf '%s %s\n' "$pid" "${line:0:200}"
	done 2>/dev/null | grep -vE "^[0-9]+ ((timeout|bash) .*$SCRIPT.sh|grep |find )" || true
}
none_of_mine() { [ ! "$(mine)" ]; }

# The same inside of whole hosts, their sshd apart.
in_vms() {
	local host
	while read -r host; do [ ! -d "$LAB/$host/root" ] || lab_vm_processes "$host"; done <"$LAB/hosts"
}
none_in_vms() { [ ! "$(in_vms)" ]; }

# Options of a whole host where the worker can live at home only.
# shellcheck disable=SC2034 # for the scripts
ELSEWHERE=(mount=/var/tmp:noexec mount=/dev/shm:noexec mount=/tmp:noexec)
# The folder of the worker that runs on host $1.
worker_of() {
	lab_vm_processes "$1" | sed -nE 's|^[0-9]+ (/.*)/bin/[0-9a-f]{64} .*|\1|p' | sort -u
}
# What spawn says of a worker that found no room at home on host $1, for reason $2.
elsewhere() { err_has "^cube: $1: the worker is in /var/tmp/cube-user \\(${2:-Disk quota exceeded}: /home/user/.cache/cube\\)\$"; }

# The whole of it on whole host $1: it joins (more words are more options of spawn), a task's output
# and code come back, and when it is taken down nothing of cube stays, no file, no process.
lives() {
	local host=$1 id
	shift
	[ -f "$T/$host.before" ] || lab_vm_files "$host" >"$T/$host.before"
	ok cube spawn -w "$host" "$@"
	run cube run -d -w "$host" -- sh -c 'echo out; echo err >&2; exit 7'
	rc_is 0
	id=$(cat "$O")
	run cube wait "$id"
	rc_is 7
	ok cube logs "$id"
	out_is 'out\n'
	err_is 'err\n'
	gone_from "$host"
}

gone_from() {
	ok cube down --purge "$1"
	(soon vm_is_empty "$1") || { lab_vm_processes "$1" >&2 && fail "processes on $1"; }
	lab_vm_files "$1" | diff "$T/$1.before" - >&2 || fail "files of $1 are not as they were"
}
vm_is_empty() { [ ! "$(lab_vm_processes "$1")" ]; }

# The pids of the server's processes for connections to the hosts: one each, or two without root, and
# with OpenSSH 10 always. Killing the first of two is not enough there.
links() {
	local pids
	pids=$(for h; do cat "$LAB/$h/pid"; done | paste -sd,)
	pids=$(pgrep -P "$pids" | paste -sd,)
	[ ! "$pids" ] || { tr , '\n' <<<"$pids"; pgrep -P "$pids" '^sshd' || true; }
}
cut_links() { links "$@" | xargs -r kill -9 2>/dev/null || true; }

# ---- the end ------------------------------------------------------------------------------------

# Takes everything down and looks what stayed: nothing of cube may.
ending() {
	local left
	# A one-shot spawn leaves its worker in the cache: join once more, to purge.
	[ ! "${W:-}" ] || { cube spawn --workers="$W"; cube down --purge; } >"$T/down.out" 2>&1
	if [ -S "$CUBE_STATE_DIR/default/sock" ]; then
		curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" -X POST http://cube/v1/shutdown >/dev/null 2>&1
	fi
	if [ "${LAB:-}" ]; then
		local host
		# A whole host's processes all end with it: look before.
		(WITHIN=10 && soon none_in_vms) 2>/dev/null || {
			in_vms | sed '1s/^/# processes left over:\n/; s/^/#   /' >&2
			return 1
		}
		while read -r host; do lab_stop "$host"; done <"$LAB/hosts"
	fi
	(WITHIN=10 && soon none_of_mine) 2>/dev/null || {
		left=$(mine)
		echo "$left" | while read -r pid _; do kill -9 "$pid" 2>/dev/null; done
		printf '# processes left over:\n%s\n' "$left" | sed '1!s/^/#   /' >&2
		return 1
	}
	files_left || return 1
}

# What is done instead where a script is ended early: nothing of it goes on.
abandon() {
	local pid
	trap '' INT TERM
	mine | while read -r pid _; do kill -9 "$pid" 2>/dev/null; done
	lab_close
}

# Files of cube's that are still on a node.
files_left() {
	local where=() named=() left host
	if [ "$ON" = local ]; then where=("$HOME"); else
		while read -r host; do
			[ ! -d "$LAB/$host/home" ] || where+=("$LAB/$host/home")
			[ ! -d "$LAB/$host/root" ] || named+=("$LAB/$host/root")
		done <"$LAB/hosts"
	fi
	# Of a whole host, whose files a test writes too, those that cube named.
	left=$([ ${#where[@]} = 0 ] || find "${where[@]}" -newer "$T/start" ! -type d ! -path '*/proc/*' ! -path '*/dev/*' \
		! -path '*/.ssh/*' ! -path '*/etc/*' ! -path "$HOME/keep/*" 2>/dev/null | head -n 20
		find "${where[@]}" "${named[@]}" -name '*cube*' 2>/dev/null | head -n 20)
	[ ! "$left" ] || {
		printf '# files left over:\n%s\n' "$left" | sed '1!s/^/#   /' >&2
		return 1
	}
}

sanitizer_reports() {
	cat "$T"/san/* "$T"/state/default/manager.log "$T/stderr" 2>/dev/null |
		grep -aE -m 1 -A 30 'ERROR: AddressSanitizer|runtime error:|LeakSanitizer'
}

# Prints a line a test and at last "N passed, N failed, N skipped".
main() {
	local t passed=0 failed=0 skipped=0 rc report begin
	local all only=("$@")
	trap abandon EXIT
	trap 'exit 130' INT TERM
	cd "$T/t" || exit 3
	mkdir -p "$HOME"
	if declare -F setup >/dev/null; then
		(set -e; :) && setup
	fi
	touch "$T/start"
	mapfile -t all < <(grep -oE '^test_[a-z0-9_]+' "$FILE")
	for t in "${all[@]}"; do
		[ ${#only[@]} = 0 ] || [[ " ${only[*]} " == *" $t "* ]] || continue
		rm -f "$T/skipped"
		begin=${EPOCHREALTIME/./}
		(set -e; "$t")
		rc=$?
		begin=$((${EPOCHREALTIME/./} - begin))
		if [ $rc != 0 ]; then
			failed=$((failed + 1))
			echo "not ok $SCRIPT/$ON $t ($((begin / 1000)) ms)"
		elif [ -f "$T/skipped" ]; then
			skipped=$((skipped + 1))
			echo "skip $SCRIPT/$ON $t: $(cat "$T/skipped")"
		else
			passed=$((passed + 1))
			echo "ok $SCRIPT/$ON $t ($((begin / 1000)) ms)"
		fi
	done
	trap lab_close EXIT
	if ending; then passed=$((passed + 1)) && echo "ok $SCRIPT/$ON nothing_is_left"; else
		failed=$((failed + 1)) && echo "not ok $SCRIPT/$ON nothing_is_left"
	fi
	lab_close
	report=$(sanitizer_reports)
	if [ "$report" ]; then
		failed=$((failed + 1))
		printf '%s\n' "$report" >&2
		echo "not ok $SCRIPT/$ON no_sanitizer_report"
	fi
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed = 0 ]
}
