# shellcheck shell=bash
# ssh agents that take their time: one that hangs, and one that asks a person before it signs. Nobody
# else waits meanwhile.
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	ok cube spawn -w h1
}

# The agent at socket $1 for h2, which only it has a key for ($2: the key's public half).
with_agent() {
	sed -e "s,^\s*IdentityAgent .*,IdentityAgent $1," -e "s,^\s*IdentityFile .*,IdentityFile $2," "$LAB_CONFIG" >"$T/config"
}

# A line to another host and back, twenty times, while somebody waits: the median counts.
others_go_on() {
	local i line ms
	coproc ECHO { exec cube exec h1 -- cat; }
	: >"$T/ms"
	for i in first {1..20}; do
		ms=$EPOCHREALTIME
		echo "$i" >&"${ECHO[1]}"
		read -r -t 20 line <&"${ECHO[0]}" && is "$line" "$i"
		[ "$i" = first ] || awk -v a="$ms" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$T/ms"
	done
	kill "$ECHO_PID"
	sort -n -o "$T/ms" "$T/ms"
	ms=$(sed -n 10p "$T/ms")
	echo "# a line to another host and back meanwhile: $ms ms (at most $(tail -n 1 "$T/ms") ms)" >&2
	[ "$(wc -l <"$T/ms")" = 20 ] || fail 'it stopped'
	[ "${ms%.*}" -lt $((35 * ${CUBE_TEST_PACE:-3})) ] || fail "$ms ms"
}
step_is() { cube nodes -o json | jq -e --arg s "$1" '.nodes[] | select(.name == "h2") | .step == $s'; }

test_an_agent_that_hangs() {
	local hung spawn begin=$SECONDS
	command -v python3 >/dev/null || skip 'python3 is not installed'
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(16)
while True: c = s.accept()[0]; globals().setdefault("kept", []).append(c)' "$T/hung" &
	hung=$!
	soon test -S "$T/hung"
	with_agent "$T/hung" "$LAB/id"
	within 60 cube spawn -F "$T/config" -w h2 >"$T/spawn" 2>&1 &
	spawn=$!
	soon step_is authenticating
	others_go_on
	# It is given up after five seconds, and the key file does.
	wait $spawn || { cat "$T/spawn" >&2 && fail 'not joined'; }
	took_at_most 10
	kill $hung
	ok cube down --purge h2
}

# An agent whose key a person has to allow each time: "yes" or "no" in $T/said. $AGENT is its pid.
asking_agent() {
	rm -f "$T/said" "$T/asked"
	printf '#!/bin/sh\nwhile [ ! -f "%s/said" ]; do sleep 0.05; done\ngrep -q yes "%s/said"\n' "$T" "$T" >"$T/askpass"
	chmod 755 "$T/askpass"
	ssh-keygen -q -t ed25519 -N '' -f "$T/asked" </dev/null
	SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force DISPLAY=:9 ssh-agent -D -a "$T/agent" >/dev/null 2>&1 &
	AGENT=$!
	soon test -S "$T/agent"
	SSH_AUTH_SOCK=$T/agent ssh-add -q -c "$T/asked" 2>/dev/null
	rm "$T/asked" # its public half names the key
	cat "$T/asked.pub" >>"$LAB/id.pub"
	with_agent "$T/agent" "$T/asked.pub"
}

test_an_agent_that_asks_a_person() {
	local spawn
	asking_agent
	within 60 cube spawn -F "$T/config" -w h2 >"$T/spawn" 2>&1 &
	spawn=$!
	soon grep -q 'h2: waiting for the ssh agent' "$T/spawn"
	others_go_on
	echo yes >"$T/said"
	wait $spawn || { cat "$T/spawn" >&2 && fail 'not joined'; }
	ok cube down --purge h2
	# Who says no is not asked again, and told.
	echo no >"$T/said"
	run within 60 cube spawn -F "$T/config" -w h2
	rc_is 1
	err_has 'h2.*permission denied .*agent \(1 key\)'
	kill "$AGENT"
	ok cube down --purge
}

# ssh-agent serves nobody while it asks: the second host cannot even see its keys, and is not refused for that.
test_two_hosts_and_one_person() {
	local spawn begin=$SECONDS
	asking_agent
	within 60 cube spawn -F "$T/config" -w 'h[1-2]' >"$T/spawn" 2>&1 &
	spawn=$!
	soon grep -q 'waiting for the ssh agent' "$T/spawn"
	takes_its_time() { [ $((SECONDS - begin)) -ge 8 ]; }
	soon takes_its_time
	echo yes >"$T/said"
	wait $spawn || { cat "$T/spawn" >&2 && fail 'not joined'; }
	grep -q '2 ready' "$T/spawn" || { cat "$T/spawn" >&2 && fail 'not both'; }
	kill "$AGENT"
	ok cube down --purge
}

main "$@"
