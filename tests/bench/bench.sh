#!/usr/bin/env bash
# `make bench`: speed and size, each ratio measured side by side in one run, as a table.
# tests/bench/bench.sh [ROW...] with ROW of: size jump idle fleet logs latency tasks many stop nodes resolve cp cpmany
# RUNS is how often each side is run (5), in turn; medians count. Raw figures come first.
set -u
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=../lab/lab.sh
. tests/lab/lab.sh
B=$PWD/build HELPERS=$PWD/build/tests/bench
PATH=$B:$PATH
RUNS=${RUNS:-5}
T=$(mktemp -d /tmp/cube-bench.XXXXXX)
HOME=$T/home CUBE_STATE_DIR=$T/state
export PATH HOME CUBE_STATE_DIR
unset XDG_RUNTIME_DIR XDG_STATE_HOME CUBE_DIR CUBE_CLUSTER SSH_AUTH_SOCK
mkdir -p "$HOME"

finish() {
	cube down --purge >/dev/null 2>&1
	shut_down
	lab_close
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 130' INT TERM

die() {
	echo "bench: $*" >&2
	exit 1
}

# ---- measuring ----------------------------------------------------------------------------------

now() { echo "${EPOCHREALTIME/./}"; } # microseconds

timed() { # FILE COMMAND...: adds the wall time in ms to FILE
	local file=$1 begin
	shift
	begin=$(now)
	"$@" >"$T/out" 2>"$T/err" || die "$* failed: $(tail -n 3 "$T/err")"
	awk -v us=$(($(now) - begin)) 'BEGIN { printf "%.1f\n", us / 1000 }' >>"$file"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
# The median of the ratios of two files' lines: what the machine does beside falls on both sides of a pair.
ratio() {
	paste "$1" "$2" | awk '{ print $1 / $2 }' >"$T/ratios"
	median "$T/ratios"
}
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
raw() { printf '  %-44s %s\n' "$1" "$2"; }
raw_runs() { raw "$1" "$(sort -n "$2" | tr '\n' ' ')ms"; }

ROWS=()
# WHAT VALUE UNIT BAR [STRETCH] [more]: more is better where `more` is said.
row() {
	local verdict
	verdict=$(awk -v v="$2" -v bar="$4" -v stretch="${5:-}" -v more="${6:-}" 'BEGIN {
		if (more ? v < bar : v > bar) print "missed"
		else if (stretch != "" && (more ? v >= stretch : v <= stretch)) print "met, stretch too"
		else print "met" }')
	ROWS+=("$(printf '%-58s %10s %10s %10s  %s' "$1" "$2 $3" "$4 $3" "${5:+$5 $3}" "$verdict")")
}

# ---- cube ---------------------------------------------------------------------------------------

manager_pid() { curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/v1/info | sed -E 's/.*"pid": ?([0-9]+).*/\1/'; }
shut_down() {
	local pid
	[ -S "$CUBE_STATE_DIR/default/sock" ] || return 0
	pid=$(manager_pid 2>/dev/null)
	[ "$pid" ] || return 0
	curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" -X POST http://cube/v1/shutdown >/dev/null
	lab_until lab_pid_gone "$pid"
}
fresh() { # no manager, and no state of one
	cube down >/dev/null 2>&1
	shut_down
	rm -rf "$CUBE_STATE_DIR"
}
# Of all the processes named: CPU time so far, resident memory, and the part of it that is theirs alone.
cpu_ns() {
	local p
	for p; do cat "/proc/$p"/task/*/schedstat; done | awk '{ s += $1 } END { print s }'
}
of_status() { # FIELD PID...
	local field=$1 p
	shift
	for p; do cat "/proc/$p/status"; done | awk -v f="$field:" '$1 == f { s += $2 } END { print s }'
}
rss_kib() { of_status VmRSS "$@"; }
# The worker's processes on the host whose HOME is $1: the daemon, and the one that stands for the channel.
workers_of() {
	local p
	for p in /proc/[0-9]*; do
		grep -qzE '/bin/[0-9a-f]{64}$' "$p/cmdline" 2>/dev/null || continue
		! grep -qzxF "HOME=$1" "$p/environ" 2>/dev/null || echo "${p#/proc/}"
	done
}

fleet() {
	[ ! "${FLEET:-}" ] || return 0
	command -v pdsh >/dev/null || die 'pdsh is not installed'
	lab_open "$T/lab"
	local i
	for i in {1..32}; do # for scp, with a home of its own
		mkdir -p "$LAB/h$i"
		echo "Subsystem sftp internal-sftp -d $LAB/h$i/home" >"$LAB/h$i/sshd_extra"
	done
	LAB_ONE_KEY=1 lab_openssh h 32 || die 'no hosts'
	lab_know
	export CUBE_SSH_CONFIG=$LAB_CONFIG PDSH_SSH_ARGS_APPEND="-F $LAB_CONFIG"
	FLEET=1
}
no_workers() { rm -rf "$LAB"/h*/home/.cache; }

# ---- the rows -----------------------------------------------------------------------------------

bench_size() {
	local size
	size=$(stat -c %s "$B/worker/x86_64/cube-worker")
	raw 'worker, bytes' "x86_64 $size, aarch64 $(stat -c %s "$B/worker/aarch64/cube-worker" 2>/dev/null || echo -)"
	row 'stripped x86_64 worker' "$(calc %.1f "$size/1000")" KB 160 100
}

bench_idle() {
	local pids before after
	fleet
	fresh
	cube spawn --workers=h1 >/dev/null 2>&1 || die 'spawn'
	mapfile -t pids < <(workers_of "$LAB/h1/home")
	[ ${#pids[@]} -gt 0 ] || die 'no worker found'
	sleep 3 # let it settle: what is measured is its idling
	before=$(cpu_ns "${pids[@]}")
	sleep 10
	after=$(cpu_ns "${pids[@]}")
	raw "idle worker, ${#pids[@]} processes" "RSS $(rss_kib "${pids[@]}") KiB ($(of_status RssAnon "${pids[@]}") anonymous), CPU $(((after - before) / 1000)) us in 10 s"
	row 'worker idle: RSS' "$(calc %.2f "$(rss_kib "${pids[@]}") / 1024")" MB 1
	row 'worker idle: CPU of one core' "$(calc %.3f "($after - $before) / 1e10 * 100")" % 0.2
	fresh
}

cold_spawn() { cube spawn -w 'h[1-32]' -- true; }
fleet_pdsh() { pdsh -R ssh -f 32 -w 'h[1-32]' true; }

bench_fleet() {
	local i pid cpu
	fleet
	rm -f "$T"/{cold,warm,pdsh,pdsh2}
	for ((i = 0; i < RUNS; i++)); do
		fresh
		no_workers
		timed "$T/cold" cold_spawn
		timed "$T/pdsh" fleet_pdsh
	done
	for ((i = 0; i < RUNS; i++)); do
		timed "$T/warm" cold_spawn
		timed "$T/pdsh2" fleet_pdsh
	done
	raw_runs 'cube spawn of 32, cold' "$T/cold"
	raw_runs 'pdsh -f 32 beside it' "$T/pdsh"
	raw_runs 'cube spawn of 32, warm' "$T/warm"
	raw_runs 'pdsh -f 32 beside it' "$T/pdsh2"
	row "cold spawn of 32 hosts / pdsh's wall time" "$(calc %.2f "$(median "$T/cold") / $(median "$T/pdsh")")" x 0.7 0.4
	row "warm spawn of 32 hosts / pdsh's wall time" "$(calc %.2f "$(median "$T/warm") / $(median "$T/pdsh2")")" x 0.5 0.3
	fresh
	no_workers
	cube manager >/dev/null 2>"$T/manager.log" &
	pid=$!
	lab_until test -S "$CUBE_STATE_DIR/default/sock"
	cpu=$(cpu_ns $pid)
	cube spawn -w 'h[1-32]' >/dev/null 2>&1 || die 'spawn'
	cpu=$(($(cpu_ns $pid) - cpu))
	raw 'manager CPU for 32 joins, pushes included' "$((cpu / 1000)) us; its children (ssh -G): $(awk '{ print ($16 + $17) * 10 }' /proc/$pid/stat) ms; RSS $(rss_kib $pid) KiB"
	row 'manager CPU per host joined' "$(calc %.2f "$cpu / 1e6 / 32")" ms 5 3
	fresh
}

no_error_said() { # of 40 that join
	grep -q '^40 ready' "$T/err" && ! grep -qiE 'error|fail|refused|closed|reset' "$T/err"
}
spawn_direct() { cube spawn -w 'j[1-40]' && no_error_said; }
spawn_jump() { cube spawn -F "$T/jump_config" -w 'j[1-40]' && no_error_said; }

# The bastion's sshd has its own defaults. It lies on this machine too, so all of its work, and the
# second encryption, is paid by the same cores.
bench_jump() {
	local i
	[ ! "${FLEET:-}" ] || die 'jump makes a fleet of its own: run it alone, or first'
	lab_open "$T/jump-lab"
	mkdir -p "$LAB/bastion1" && echo 'MaxStartups 10:30:100' >"$LAB/bastion1/sshd_extra"
	LAB_ONE_KEY=1 lab_openssh bastion 1 || die 'no bastion'
	LAB_ONE_KEY=1 lab_openssh j 40 || die 'no hosts'
	lab_know
	export CUBE_SSH_CONFIG=$LAB_CONFIG
	{ echo 'Host j*'; echo '	ProxyJump bastion1'; cat "$LAB_CONFIG"; } >"$T/jump_config"
	rm -f "$T"/{direct,jump}
	for ((i = 0; i < RUNS; i++)); do
		fresh
		rm -rf "$LAB"/j*/home/.cache
		timed "$T/direct" spawn_direct
		fresh
		rm -rf "$LAB"/j*/home/.cache
		timed "$T/jump" spawn_jump
	done
	raw_runs '40 hosts, cold, direct' "$T/direct"
	raw_runs 'the same behind one bastion' "$T/jump"
	row "40 hosts behind one bastion, cold / the same direct" "$(calc %.2f "$(median "$T/jump") / $(median "$T/direct")")" x 1.5
	fresh
	lab_close
}

MB=256
log_by_cube() { cube wait "$(cube run -d -- cat "$T/log")"; }
log_by_ssh() { ssh -F "$LAB_CONFIG" h1 cat "$T/log" >/dev/null; }

bench_logs() {
	local i size
	fleet
	fresh
	head -c $((MB * 1000000)) /dev/urandom >"$T/log"
	rm -f "$T"/{logs,ssh}
	cube spawn -w h1 >/dev/null 2>&1 || die 'spawn'
	for ((i = 0; i < RUNS; i++)); do
		timed "$T/logs" log_by_cube
		timed "$T/ssh" log_by_ssh
	done
	size=$(cube logs "$(cube ps -a -o csv | awk -F, 'NR > 1 { print $1 }' | sort -n | tail -n 1)" | wc -c)
	[ "$size" = $((MB * 1000000)) ] || die "the log has $size bytes"
	raw_runs "$MB MB of log into its segment" "$T/logs"
	raw_runs 'ssh host cat to /dev/null' "$T/ssh"
	row "$MB MB of log, rate / ssh's" "$(calc %.2f "$(median "$T/ssh") / $(median "$T/logs")")" x 0.6 0.9 more
	fresh
	rm -f "$T/log"
}

bench_latency() {
	local id n p50 p99 max
	fleet
	fresh
	cube spawn -w h1 >/dev/null 2>&1 || die 'spawn'
	id=$(cube run -d -- "$HELPERS/latency" emit 2000 3000)
	read -r n p50 p99 max < <(cube logs -f "$id" | "$HELPERS/latency" read 100)
	raw 'a line to cube logs -f' "$n lines: p50 $p50, p99 $p99, max $max ms"
	row "a task's line to cube logs -f, p99" "$p99" ms 10 3
	fresh
}

tasks_by_cube() { cube run -n 2000 -N -- /bin/true; }
tasks_by_loop() { "$HELPERS/spawn_loop" 2000 4 /bin/true; }

bench_tasks() {
	local i
	fleet
	fresh
	rm -f "$T"/{tasks,loop}
	cube spawn -w h1 --slots 4 >/dev/null 2>&1 || die 'spawn'
	for ((i = 0; i < RUNS; i++)); do
		timed "$T/tasks" tasks_by_cube
		timed "$T/loop" tasks_by_loop
	done
	raw_runs '2000 x /bin/true by cube, 4 slots' "$T/tasks"
	raw_runs 'posix_spawn loop, 4 at a time' "$T/loop"
	row "2,000 tasks, rate / a posix_spawn loop's" "$(calc %.2f "$(median "$T/loop") / $(median "$T/tasks")")" x 0.5 0.8 more
	fresh
}

bench_many() {
	local pid id busy
	fresh
	cube spawn -w 'localhost*200' >"$T/out" 2>&1 || die "spawn: $(tail -n 3 "$T/out")"
	pid=$(manager_pid)
	raw 'manager with 200 local nodes' "RSS $(rss_kib "$pid") KiB"
	row 'manager RSS with 200 nodes' "$(calc %.1f "$(rss_kib "$pid") / 1024")" MB 60 30
	sleep 3 # let it settle: what is measured is its idling
	busy=$(cpu_of 10 "$pid")
	row 'manager with 200 idle nodes: CPU of one core' "$busy" % 1
	id=$(cube run -d -w localhost-1 -- sh -c 'while :; do echo line; sleep 1; done')
	cube logs -f "$id" >"$T/followed" 2>&1 &
	busy=$(cpu_of 10 "$pid")
	row '.. with one task that runs and one follower' "$busy" % 2
	kill $!
	fresh
}

cpu_of() { # SECONDS PID: percent of a core
	local before after
	before=$(cpu_ns "$2")
	sleep "$1"
	after=$(cpu_ns "$2")
	calc %.2f "($after - $before) / 1e9 / $1 * 100"
}

# What others wait meanwhile, in ms: the longest of requests one after the other until FILE is there.
longest_wait() {
	while [ ! -e "$1" ]; do
		curl -s -o /dev/null -w '%{time_total}\n' --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/v1/info
	done | sort -n | tail -n 1 | awk '{ printf "%.0f", $1 * 1000 }'
}

bench_stop() {
	local waited
	fresh
	rm -f "$T/stop" "$T/stopped"
	cube spawn -w localhost --slots 1 >/dev/null 2>&1 || die 'spawn'
	cube run -d -- sleep 1000 >"$T/out"
	cube run -d -n 100000 -- true >"$T/out"
	{
		timed "$T/stop" cube stop job:2
		touch "$T/stopped"
	} &
	waited=$(longest_wait "$T/stopped")
	wait $!
	row 'cube stop of a job with 100,000 pending' "$(calc %.2f "$(median "$T/stop") / 1000")" s 1
	row '.. the longest that another request waits' "$waited" ms 100
	fresh
}

# None of them is reached: the manager is killed once it has answered.
bench_nodes() {
	fresh
	cube spawn -w localhost >/dev/null 2>&1 || die 'spawn'
	seq 16000 | awk 'BEGIN { printf "{\"nodes\":[" } { printf "%s{\"name\":\"n%d\",\"host\":\"127.0.0.1\",\"port\":1}", (NR > 1 ? "," : ""), $1 } END { print "]}" }' >"$T/nodes"
	rm -f "$T/add"
	timed "$T/add" curl -sS -f -o /dev/null --data-binary "@$T/nodes" --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/v1/nodes
	kill -9 "$(manager_pid)"
	row 'adding 16,000 nodes by the API' "$(calc %.2f "$(median "$T/add") / 1000")" s 3
	rm -rf "$CUBE_STATE_DIR"
}

# A new process each time: what the second one knows it has from disk.
resolve() { "$HELPERS/resolve" "$T/cache" "$T/config" 1000; }

bench_resolve() {
	local i
	for ((i = 1; i <= 20; i++)); do
		printf 'Host n%d* m%d\n  HostName %%h.example.com\n  User u%d\n  IdentityFile ~/.ssh/k%d\n' $i $i $i $i
	done >"$T/config"
	rm -f "$T"/{first,second}
	for ((i = 0; i < RUNS; i++)); do
		rm -rf "$T/cache"
		timed "$T/first" resolve
		timed "$T/second" resolve
	done
	raw_runs '1000 names by ssh -G, 8 at once' "$T/first"
	raw_runs 'the same 1000 in the next process' "$T/second"
	row '1,000 names with one config of 20 Hosts, second time' "$(calc %.3f "$(median "$T/second") / 1000")" s 0.2
}

cp_by_cube() { cube cp -q "$T/file" h1:by-cube; }
cp_by_scp() { scp -q -F "$LAB_CONFIG" "$T/file" h1:by-scp; }
arrived() { # HOST NAME: is whole, and is removed
	cmp "$T/file" "$LAB/$1/home/$2" || die "$2 on $1 is not what was sent"
	rm "$LAB/$1/home/$2"
}

cp_once() { # SIDE FILE: the target is not there before
	timed "$2" "cp_by_$1"
	arrived h1 "by-$1"
}

# Seven pairs at least, and who is first changes: what is compared differs by less than single runs do.
# The first pair does not count: memory and page cache are warm after it, and the file is on disk.
bench_cp() {
	local i pairs=$((RUNS > 7 ? RUNS : 7))
	fleet
	fresh
	head -c $((MB * 1000000)) /dev/urandom >"$T/file"
	sync "$T/file"
	cube spawn -w h1 >/dev/null 2>&1 || die 'spawn'
	cp_once cube "$T/cp"
	cp_once scp "$T/scp"
	rm -f "$T"/{cp,scp}
	for ((i = 0; i < pairs; i++)); do
		((i % 2)) || cp_once cube "$T/cp"
		cp_once scp "$T/scp"
		((i % 2 == 0)) || cp_once cube "$T/cp"
	done
	raw_runs "cube cp of $MB MB to a joined host" "$T/cp"
	raw_runs 'scp of the same' "$T/scp"
	row "cube cp of $MB MB / scp's wall time" "$(calc %.2f "$(ratio "$T/cp" "$T/scp")")" x 1.0
	fresh
	rm -f "$T/file"
}

many_by_cube() { cube cp -q "$T/file" 'h[1-32]:by-cube'; }
many_by_clush() { clush -q -f 64 -o "-F $LAB_CONFIG" -w 'h[1-32]' --copy "$T/file" --dest by-clush; }

bench_cpmany() {
	local i h
	command -v clush >/dev/null || die 'clush is not installed (clustershell)'
	fleet
	fresh
	head -c 10000000 /dev/urandom >"$T/file"
	rm -f "$T"/{cp,clush}
	cube spawn -w 'h[1-32]' >/dev/null 2>&1 || die 'spawn'
	for ((i = 0; i < RUNS; i++)); do
		timed "$T/cp" many_by_cube
		for h in {1..32}; do arrived "h$h" by-cube; done
		timed "$T/clush" many_by_clush
		for h in {1..32}; do arrived "h$h" by-clush; done
	done
	raw_runs 'cube cp of 10 MB to 32 joined hosts' "$T/cp"
	raw_runs 'clush --copy of the same' "$T/clush"
	row "cube cp of 10 MB to 32 hosts / clush's wall time" "$(calc %.2f "$(median "$T/cp") / $(median "$T/clush")")" x 0.7
	fresh
	rm -f "$T/file"
}

[ -x "$B/cube" ] || die 'run make first'
wanted=("$@")
[ $# -gt 0 ] || wanted=(size jump idle fleet logs latency tasks many stop nodes resolve cp cpmany)
echo "raw figures ($(nproc) cores, $RUNS runs a side):"
for w in "${wanted[@]}"; do "bench_$w"; done
echo
printf '%-58s %10s %10s %10s\n' what measured bar stretch
printf '%s\n' "${ROWS[@]}"
[[ "${ROWS[*]}" != *missed* ]]
