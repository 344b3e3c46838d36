# shellcheck shell=bash
# Names that `cube forward` is given, looked up on the host: /etc/hosts, resolv.conf, name servers.
# The worker's own part is run in a network of its own, where /etc and the name server are the test's.
# on: local
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 1
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
	WORKER=$(find "$HOME" -path '*/bin/*' -type f -perm -100 | head -n 1)
	[ -n "$WORKER" ] || { echo 'where is the worker?' && exit 3; }
}

# Servers on one port of several addresses; each says which it is. Prints the port.
write_server() {
	cat >"$T/server.py" <<-'PY'
		import socket, threading
		def serve(s, text):
		    while True:
		        c, _ = s.accept()
		        c.sendall(text)
		        c.close()
		port = 0
		for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.9")):
		    s = socket.socket(family)
		    s.bind((address, port))
		    port = s.getsockname()[1]
		    s.listen()
		    threading.Thread(target=serve, args=(s, address.encode())).start()
		print(port, flush=True)
	PY
}

# Runs the words of $1 in a network with a name server: "connect NAME" prints what answers there.
in_a_net() {
	unshare -n -m --propagation private true 2>/dev/null || skip 'no namespaces here'
	command -v dnsmasq >/dev/null || skip 'dnsmasq is not installed'
	command -v python3 >/dev/null || skip 'python3 is not installed'
	[ -f /etc/resolv.conf ] || skip 'this machine has no /etc/resolv.conf to lay another over'
	[ -p "$T/ready" ] || mkfifo "$T/ready"
	: >"$T/hosts" && : >"$T/resolv" && rm -f "$T/port" "$T/trouble"
	export T WORKER
	write_server
	# shellcheck disable=SC2016 # for the inner shell
	within 60 unshare -n -m --propagation private bash -c '
		ip link set lo up
		mount --bind "$T/hosts" /etc/hosts && mount --bind "$T/resolv" "$(realpath /etc/resolv.conf)" || exit 3
		python3 "$T/server.py" >"$T/ready" & children=$!
		read -r port <"$T/ready"
		echo "$port" >"$T/port"
		names() { # a name server on $1 with the options behind
			local at=$1; shift
			dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --user=root \
				--bind-interfaces --listen-address="$at" --local=/test/ --log-facility="$T/dnsmasq" "$@" 2>/dev/null &
			children="$children $!"
			until python3 -c "
import socket, sys
s = socket.socket(socket.AF_INET6 if \":\" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.2)
s.connect((sys.argv[1], 53))
s.send(b\"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1x\\4test\\0\\0\\1\\0\\1\")
s.recv(512)" "$at" 2>/dev/null; do kill -0 $! || exit 3; done
		}
		connect() { "$WORKER" connect "$1" "$port" </dev/null 2>"$T/trouble" || cat "$T/trouble"; echo; }
		'"$1"'
		kill $children' >"$O" 2>"$E" || { shown "$E"; fail 'the network'; }
}

test_literals_and_hosts() {
	in_a_net '
		printf "127.0.0.1 first\n::1 second other # third\n127.0.0.77 both\n127.0.0.1\tboth" >"$T/hosts"
		for name in 127.0.0.1 127.1 ::1 first OTHER both third; do connect "$name"; done'
	is "$(sed '/^$/d' "$O")" "127.0.0.1
127.0.0.1
::1
127.0.0.1
::1
127.0.0.1
third port $(cat "$T/port"): No name server has an answer"
}

test_name_servers() {
	in_a_net '
		names 127.0.0.53 --host-record=v4.cube.test,127.0.0.1 --host-record=v6.cube.test,::1 \
			--host-record=two.cube.test,127.0.0.9,::1 --cname=alias.cube.test,v4.cube.test
		printf "nameserver 127.0.0.99\nnameserver 127.0.0.53\nsearch none.test cube.test\n" >"$T/resolv"
		for name in v4.cube.test v4.cube.test. v4 V6 two alias nothing.cube.test nothing a..b; do connect "$name"; done'
	is "$(sed '/^$/d' "$O")" "127.0.0.1
127.0.0.1
127.0.0.1
::1
::1
127.0.0.1
nothing.cube.test port $(cat "$T/port"): Name does not resolve
nothing port $(cat "$T/port"): No name server has an answer
a..b port $(cat "$T/port"): Name does not resolve"
}

test_name_server_over_ipv6() {
	in_a_net '
		names ::1 --host-record=v4.cube.test,127.0.0.1
		echo "nameserver ::1" >"$T/resolv"
		connect v4.cube.test'
	is "$(sed '/^$/d' "$O")" 127.0.0.1
}

# One that is silent costs its time-out, one that refuses costs nothing, and both are told alike.
test_no_name_server() {
	in_a_net '
		python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((\"127.0.0.2\", 53))
print(flush=True)
time.sleep(60)" >"$T/ready" & children="$children $!"
		read -r <"$T/ready"
		printf "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n" >"$T/resolv"
		connect silent.cube.test
		names 127.0.0.3 --host-record=v4.cube.test,127.0.0.1
		printf "nameserver 127.0.0.2\nnameserver 127.0.0.3\noptions timeout:30\n" >"$T/resolv"
		connect v4.cube.test'
	is "$(sed '/^$/d' "$O")" "silent.cube.test port $(cat "$T/port"): No name server has an answer
127.0.0.1"
}

main "$@"
