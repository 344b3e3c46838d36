# shellcheck shell=bash
# How a host is reached: flags, hosts file, ~/.ssh/config, and what of it is remembered.
# on: openssh
. "$(dirname "$0")/lib.sh"

setup() {
	LAB_SSHD_LOG=INFO LAB_SSHD_LINES='' # h1 is a jump host as well
	hosts 3
	PORT1=$(cat "$LAB/h1/port") PORT2=$(cat "$LAB/h2/port") PORT3=$(cat "$LAB/h3/port")
	ME=$(id -un)
	# Nothing of the lab's configuration but what has to be: the rest is given by flags.
	cat >"$T/bare" <<-END
		UserKnownHostsFile $T/bare_known
		GlobalKnownHostsFile /dev/null
	END
}

logins() { grep -c 'Accepted publickey' "$LAB/$1/sshd.log"; }
spawned() { # WORDS... : the command ran on one host
	ok cube spawn "$@" -- echo through
	out_is 'through\n'
}
refused() { # and stderr has it: PATTERN WORDS...
	local pattern=$1
	shift
	run within 60 cube spawn "$@" -- echo never
	[ $rc != 0 ] || fail 'got in'
	out_is ''
	err_has "$pattern"
}
stop_manager() {
	local pid
	pid=$(curl -s --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/v1/info | jq -r .pid)
	[ "$pid" ] || return 0
	api POST /v1/shutdown >/dev/null
	soon ended "$pid"
}
ended() { ! grep -q '^State:.[^Z]' "/proc/$1/status"; } # init may take its time to reap it

test_flags() {
	local flags=(-F "$T/bare" -l "$ME" -p "$PORT1" --identity "$LAB/id" -w 127.0.0.1)
	spawned "${flags[@]}"
	spawned -F "$T/bare" --user "$ME" --port "$PORT2" -o "IdentityFile=$LAB/id" -w 127.0.0.1
	spawned -F "$T/bare" -o User="$ME" -o "Port $PORT3" -o "IdentityFile=$LAB/id" -o HostName=127.0.0.1 -w anything
	spawned -F "$T/bare" -o Port=1 "${flags[@]}"
	# The expression goes before the flags.
	spawned "${flags[@]:0:4}" -p 1 --identity "$LAB/id" -w "$ME@127.0.0.1:$PORT1"
	refused 'no-such-user|[Dd]enied|refuse' -F "$T/bare" -l no-such-user -p "$PORT1" --identity "$LAB/id" -w 127.0.0.1
	(cd "$LAB" && spawned -F "$T/bare" -l "$ME" -p "$PORT1" -o IdentityFile=id -w 127.0.0.1)
}

test_options_without_openssh() {
	local bin=$PWD/bin p
	mkdir -p "$bin"
	for p in sh cat env; do ln -sf "$(command -v $p)" "$bin/"; done
	ln -sf "$CUBE" "$bin/cube"
	stop_manager
	run env PATH="$bin" cube spawn -F none -o User="$ME" -o Port="$PORT3" -o "IdentityFile=$LAB/id" \
		-o "UserKnownHostsFile=$T/bare_known" -o HostName=127.0.0.1 -w anything -- echo through
	rc_is 0
	out_is 'through\n'
	stop_manager
}

test_bad_options() {
	refused 'KEY=VALUE' -o nonsense -w h1
	rc_is 2
	refused 'not like Key=Value' -o -oPort=1 -w h1
	rc_is 2
	refused '[Bb]ad configuration|nosuchoption' -o NoSuchOption=1 -w h1
	refused 'jump' -J -oProxyCommand=x -w h1
	rc_is 2
	refused 'not one of strict.accept-new' --host-key-check=no -w h1
	rc_is 2
}

test_none_of_several() {
	printf '%s\n' h1 'h2 transport="ssh {nothing}"' >hosts
	refused 'transport|nothing' -i hosts
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state != "gone") | .name] | length' 0
}

# Logins on host $1 before a new manager's: one that runs keeps a jump host's connection for a moment.
fresh_logins() {
	stop_manager >/dev/null 2>&1
	logins "$1"
}

test_jump() {
	local before
	before=$(fresh_logins h1)
	spawned -J h1 -w h2
	[ "$(logins h1)" -gt "$before" ] || fail 'not through h1'
	before=$(fresh_logins h1)
	spawned -J "$ME@127.0.0.1:$PORT1" -w h3
	[ "$(logins h1)" -gt "$before" ] || fail 'not through h1'
	before=$(fresh_logins h1)
	spawned -o ProxyJump=h1 -w h2
	[ "$(logins h1)" -gt "$before" ] || fail 'not through h1'
	refused '.' -J nowhere.invalid -w h2
}

test_hosts_file() {
	local before
	cat >hosts <<-END
		h2 jump=h1
		h3 transport="ssh -F $LAB_CONFIG -o LogLevel=QUIET {host} {line}"
		h1 transport=openssh
	END
	before=$(fresh_logins h1)
	spawned -i hosts -w h2
	[ "$(logins h1)" -gt "$before" ] || fail 'not through h1'
	# -J goes before jump=, a host's own transport= before --transport.
	before=$(fresh_logins h1)
	spawned -i hosts -w h2 -J none
	is "$(logins h1)" "$before" 'logins on h1'
	spawned -i hosts -w h3 --transport=/nonexistent
	spawned -i hosts -w h1 --transport=/nonexistent
	refused '.' -i hosts -w h2 -J none --transport=/nonexistent
	ok cube spawn -i hosts
	api GET /v1/nodes/h2 >"$O"
	json_is '[.jump, .become] | @csv' '"h1",false'
	api GET /v1/nodes/h1 >"$O"
	json_is .transport openssh
	ok cube down
}

test_transports() {
	spawned --transport=ssh -w h1
	spawned --transport=openssh -w h1
	spawned --transport=auto -w h1
	spawned --transport=openssh -J h1 -o LogLevel=QUIET -w h2
	spawned --transport="ssh -F '$LAB_CONFIG' {host} {line}" -w h1
}

# PAINS 5: what ~/.ssh/config can say.
test_config_in_full() {
	mkdir -p conf.d
	cat >config <<-END
		Include $PWD/conf.d/*.conf
		Match originalhost by-match
		  HostName 127.0.0.1
		  Port $PORT1
		Match user nobody-there host by-user
		  HostName 127.0.0.1
		  Port $PORT2
		  User $ME
		Host by-command-*
		  ProxyCommand env bash -c 'exec 3<>/dev/tcp/127.0.0.1/%p; cat <&3 & cat >&3; kill %%1'
		  Port $PORT3
		  HostKeyAlias %h
		Host by-jump
		  HostName 127.0.0.1
		  Port $PORT2
		  ProxyJump $ME@127.0.0.1:$PORT1
		Host *
		  User $ME
		  IdentityFile $LAB/%%wrong
		  UserKnownHostsFile $PWD/known
	END
	sed -i '/HostKeyAlias/d; s/%%wrong/i${CUBE_TEST_D}/' config
	printf 'Host by-include\n  HostName 127.0.0.1\n  Port %s\n' "$PORT2" >conf.d/a.conf
	stop_manager
	export CUBE_TEST_D=d
	spawned -F config -w by-match
	spawned -F config -w by-include
	spawned -F config -w by-command-1
	spawned -F config -w by-jump
	stop_manager
	unset CUBE_TEST_D
}

# PAINS 5: a key that only the agent has.
test_agent_only() {
	local sock=$T/agent pid
	ssh-keygen -q -t ed25519 -N '' -f agent_key <<<y >/dev/null
	cp "$LAB/id.pub" id.pub.was
	cat agent_key.pub >>"$LAB/id.pub"
	ssh-agent -D -a "$sock" >/dev/null &
	pid=$!
	# shellcheck disable=SC2064
	trap "kill $pid" EXIT
	soon test -S "$sock"
	SSH_AUTH_SOCK=$sock ssh-add -q agent_key 2>/dev/null
	rm agent_key agent_key.pub
	stop_manager
	refused '.' -F "$T/bare" -l "$ME" -p "$PORT1" -w 127.0.0.1
	stop_manager
	run env SSH_AUTH_SOCK="$sock" cube spawn -F "$T/bare" -l "$ME" -p "$PORT1" -w 127.0.0.1 -- echo through
	cp id.pub.was "$LAB/id.pub"
	rc_is 0
	out_is 'through\n'
	stop_manager
}

# The user logged in anew to this machine: the agent is another one, which any command tells the
# manager that was started with the first.
test_agent_of_a_new_session() {
	ssh-keygen -q -t ed25519 -N '' -f session_key <<<y >/dev/null
	cp "$LAB/id.pub" id.pub.was
	cat session_key.pub >>"$LAB/id.pub"
	AGENTS=''
	trap 'kill $AGENTS 2>/dev/null || true; cp id.pub.was "$LAB/id.pub"' EXIT
	agent first
	stop_manager
	ok env SSH_AUTH_SOCK="$T/first" cube spawn -F "$T/bare" -l "$ME" -p "$PORT1" -w 127.0.0.1
	kill "$AGENTS"
	agent second
	rm session_key session_key.pub
	# Without a terminal, no agent here does not mean that there is none.
	ok setsid cube nodes </dev/null
	ok env SSH_AUTH_SOCK="$T/second" cube nodes
	cut_links h1
	ok within 60 cube run -w 127.0.0.1 -- echo back
	out_is 'back\n'
	grep -q 'SSH_AUTH_SOCK is now .*/second' "$CUBE_STATE_DIR/default/manager.log" || fail 'not told'
	ok cube down --purge
	stop_manager
}
agent() { # NAME: an agent that has the key
	ssh-agent -D -a "$T/$1" >/dev/null &
	AGENTS=$!
	soon test -S "$T/$1"
	SSH_AUTH_SOCK=$T/$1 ssh-add -q session_key 2>/dev/null
}

# PAINS 9: a ControlMaster is neither needed nor in the way.
test_control_master() {
	local how
	for how in 'ControlPath none' "ControlMaster auto\nControlPath $T/cm-%%C\nControlPersist 1"; do
		# shellcheck disable=SC2059
		{ printf "$how\n" && cat "$LAB_CONFIG"; } >config
		spawned -F config --transport=ssh -w h1
		spawned -F config --transport=openssh -w h2
	done
	# One that is there already is used.
	# shellcheck disable=SC2064
	trap "ssh -F '$PWD/config' -O exit h3 2>/dev/null" EXIT
	ssh -F config -o ControlPersist=60 -fN h3
	is "$(ssh -F config -O check h3 2>&1 | tr -d '\r' | cut -d' ' -f1,2)" 'Master running'
	local before
	before=$(logins h3)
	spawned -F config --transport=openssh -w h3
	is "$(logins h3)" "$before" 'logins'
	spawned -F config --transport=ssh -w h3
}

# The second manager asks ssh nothing; a changed Include does.
test_remembered() {
	local real asked
	real=$(command -v ssh)
	mkdir -p counting
	printf '#!/bin/sh\necho >>"%s/asked"\nexec %s "$@"\n' "$PWD" "$real" >counting/ssh
	chmod 755 counting/ssh
	printf 'Include %s/more.conf\n' "$PWD" >config
	cat "$LAB_CONFIG" >>config
	: >more.conf
	stop_manager
	PATH=$PWD/counting:$PATH
	spawned -F config --transport=ssh -w h1
	stop_manager
	asked=$(wc -l <asked)
	[ "$asked" -ge 1 ] || fail 'ssh was not asked'
	spawned -F config --transport=ssh -w h1
	stop_manager
	is "$(wc -l <asked)" "$asked" 'questions to ssh'
	printf 'Host h1\n  Port %s\n' "$PORT2" >more.conf
	spawned -F config --transport=ssh -w h1
	stop_manager
	[ "$(wc -l <asked)" -gt "$asked" ] || fail 'not asked again'
	[ "$(grep -c 'Accepted' "$LAB/h2/sshd.log")" -ge 1 ] || fail 'h1 is not where the file says now'
}

main "$@"
