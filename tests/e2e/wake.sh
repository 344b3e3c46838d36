# shellcheck shell=bash
# A laptop wakes up: hundreds of links are gone at once, or seem to be, and all hosts are to be back soon,
# without a storm. 60 hosts; `CUBE_WAKE_HOSTS=500 TEST_TIMEOUT=900` is the whole of it, with the tests
# that take half a minute of silence each. Twenty aliases an sshd, in a network of their own.
# on: openssh
if [ "$(id -u)" = 0 ] && [ ! "${WAKE_NET:-}" ] && unshare -n true 2>/dev/null; then
	WAKE_NET=1 exec unshare -n bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

LAB_SSHD_LOG=VERBOSE
N=${CUBE_WAKE_HOSTS:-60} PER=20 PLACES=8

setup() {
	local i e=$(((N + PER - 1) / PER))
	[ ! "${WAKE_NET:-}" ] || ip link set lo up
	LAB_SSHD_LINES='' hosts "$e" || exit 3
	W=''
	for ((i = 0; i < N; i++)); do
		printf 'Host web%d\n\tPort %s\n' $((i + 1)) "$(cat "$LAB/h$((i % e + 1))/port")"
	done >"$T/config"
	cat "$LAB_CONFIG" >>"$T/config"
	export CUBE_SSH_CONFIG=$T/config
	ok within 400 cube spawn --workers="web[1-$N]"
	err_lacks '[Ee]rror|fail|refused|closed|reset|timed out'
}

count() { cube nodes -o json | jq -r --arg s "$1" '[.nodes[] | select(.state == $s)] | length'; }
all_are() { [ "$(count "$1")" = "$N" ]; }
none_is() { [ "$(count "$1")" = 0 ]; }
whole() { [ "$N" -ge 500 ] || skip 'half a minute of silence: with CUBE_WAKE_HOSTS=500 only'; }
in_net() { [ "${WAKE_NET:-}" ] || skip 'a network of its own needs root'; }
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

all_hosts() { sed -n '/^h/p' "$LAB/hosts"; }

# The most logins that were open at once at any sshd since its log was emptied, as it tells itself.
most_unauthenticated() {
	local log
	for log in "$LAB"/h*/sshd.log; do
		awk '/^Connection from / { n++; open[$5] = 1 }
			/^Accepted / { for (i = 1; i < NF; i++) if ($i == "port") p = $(i + 1); if (open[p]) { n--; delete open[p] } }
			/\[preauth\]/ { for (i = 1; i < NF; i++) if ($i == "port") p = $(i + 1); if (open[p]) { n--; delete open[p] } }
			n > max { max = n } END { print max + 0 }' "$log"
	done | sort -n | tail -n 1
}
forget_logins() { for log in "$LAB"/h*/sshd.log; do : >"$log"; done; }

# Since $1 (EPOCHREALTIME): all are there again, in time, by at most $PLACES logins at once anywhere.
back_in_time() {
	WITHIN=120 soon all_are ready
	local took most
	took=$(seconds_since "$1")
	most=$(most_unauthenticated)
	echo "# $N hosts back after $took s, at most $most logins at once at an sshd" | tee -a "$T/figures" >&2
	[ "${took%.*}" -lt $((10 * ${CUBE_TEST_PACE:-3})) ] || fail "back after $took s"
	[ "$most" -ge 1 ] || fail 'no login was counted'
	[ "$most" -le $PLACES ] || fail "$most logins at once"
	! grep -E ' (error|warning) ' "$CUBE_STATE_DIR/default/manager.log" || fail 'errors in the log'
	none_is failed && none_is needs-login
}

test_every_link_is_cut() {
	local begin
	forget_logins
	# shellcheck disable=SC2046
	cut_links $(all_hosts)
	begin=$EPOCHREALTIME
	soon none_is ready
	back_in_time "$begin"
}

# Nobody answers for a while, so that the pauses grow; then an address comes, as it does with a network.
test_a_new_address_ends_the_pauses() {
	local h begin
	in_net
	# shellcheck disable=SC2046
	links $(all_hosts) >"$T/sessions"
	for h in "$LAB"/h*/; do lab_stop "$(basename "$h")"; done
	xargs kill -9 <"$T/sessions"
	soon all_are lost
	lost_for_long() { [ "$(cube nodes -o json | jq '[.nodes[] | select(.state == "lost")] | length')" = "$N" ] && [ $((SECONDS - since)) -ge 7 ]; }
	since=$SECONDS
	soon lost_for_long
	forget_logins
	for h in "$LAB"/h*/; do lab_sshd_start "$(basename "$h")"; done
	begin=$EPOCHREALTIME
	ip addr add 10.9.8.7/32 dev lo
	for h in "$LAB"/h*/; do lab_sshd_ready "$(basename "$h")"; done
	back_in_time "$begin"
	grep -q 'a new address or default route' "$CUBE_STATE_DIR/default/manager.log" || fail 'the address was not noticed'
}

# An address of before is told of again and again where it is leased; that is no reason to look at all hosts.
test_a_renewed_lease_is_no_news() {
	local told since
	in_net
	news() { grep -c 'a new address or default route' "$CUBE_STATE_DIR/default/manager.log"; }
	for_long() { [ $((${EPOCHREALTIME/./} - since)) -gt 2500000 ]; }
	since=${EPOCHREALTIME/./}
	soon for_long # it is as old as a renewed one is
	told=$(news)
	ip addr change 10.9.8.7/32 dev lo valid_lft 4000 preferred_lft 4000
	since=${EPOCHREALTIME/./}
	soon for_long # and would have been noticed
	is "$(news)" "$told" 'the renewed address was taken for a new one'
}

# The lid is closed for a while: to the manager no time has passed, and no link is given up.
test_stopped_for_longer_than_silence_may_last() {
	local pid before
	whole
	pid=$(manager_pid)
	before=$(grep -c ' -> lost' "$CUBE_STATE_DIR/default/manager.log")
	kill -STOP "$pid"
	sleep 31
	kill -CONT "$pid"
	ok cube run --all -N -- true
	all_are ready
	is "$(grep -c ' -> lost' "$CUBE_STATE_DIR/default/manager.log")" "$before" 'links given up'
}

test_the_network_is_gone_and_comes_back() {
	local begin
	whole
	in_net
	ip addr del 10.9.8.7/32 dev lo
	ip link set lo down
	WITHIN=60 soon all_are lost
	forget_logins
	ip link set lo up
	begin=$EPOCHREALTIME
	ip addr add 10.9.8.7/32 dev lo
	back_in_time "$begin"
}

test_what_a_host_costs() {
	local pid kib
	pid=$(manager_pid)
	kib=$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status")
	echo "# manager with $N hosts: RSS $kib KiB" | tee -a "$T/figures" >&2
	[ "$kib" -lt $((20480 + N * 200)) ] || fail "$kib KiB"
	ok cube down --purge
}

main "$@"
