# shellcheck shell=bash
# The HTTP API over its unix socket, as src/api/API.md says.
# on: local
# smoke
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 2
	run cube spawn --workers="$W"
	[ $rc = 0 ] || { shown "$E" && exit 3; }
}

jqe() { jq -e "$@" >/dev/null; }
post() { api POST "$1" --data-binary "$2" >/dev/null; }
error_is() { is "$(jq -r .error.code "$T/body")" "$1" 'error code' && is "$(jq -r .error.field "$T/body")" "$2" 'error field'; }

test_health() {
	is "$(api GET /healthz | tr -d '\n')" ok
	status_is 200
}

test_info() {
	api GET /v1/info | jqe '.pid > 1 and (.version | test("^[0-9]")) and .nodes == 2 and .node_states == {ready: 2}' || fail "$(cat "$T/body")"
}

test_bad_bodies_name_the_field() {
	post /v1/tasks '{"argv": ["true"], "nonsense": 1}'
	status_is 400
	error_is usage nonsense
	post /v1/tasks '{"argv": "true"}'
	status_is 400
	error_is usage argv
	post /v1/tasks '{}'
	status_is 400
	error_is usage argv
	post /v1/tasks '{"argv": ["true"], "count": 0}'
	status_is 400
	error_is usage count
	post /v1/tasks '{"argv": ["true"], "timeout": "x"}'
	status_is 400
	error_is usage timeout
	post /v1/nodes '{"nodes": [{"host": "x"}]}'
	status_is 400
	is "$(jq -r .error.code "$T/body")" usage
	for body in '' '{' '[]' 'null' '{"argv": ["a\u0000b"]}' '{"argv": []}' '{"argv": ["true"]} trailing'; do
		post /v1/tasks "$body"
		status_is 400
		jq -e .error.message "$T/body" >/dev/null || fail "no message for $body"
	done
}

test_deep_json_is_refused() {
	post /v1/tasks "$(printf '[%.0s' {1..5000})"
	status_is 400
}

test_not_found_and_methods() {
	api GET /v1/nothing >/dev/null
	status_is 404
	jq -e .error.code "$T/body" >/dev/null || fail 'no JSON error'
	api GET / >/dev/null
	status_is 404
	api GET /v1/tasks/424242 >/dev/null
	status_is 404
	api DELETE /v1/tasks/424242 >/dev/null
	status_is 404
	api GET /v1/nodes/nobody >/dev/null
	status_is 404
	api PUT /v1/tasks >/dev/null
	status_is 405
	api POST /healthz >/dev/null
	status_is 405
	api GET /v1/tasks/notanumber >/dev/null
	[[ $(cat "$T/status") == 40[04] ]] || fail "$(cat "$T/status")"
}

test_task_life() {
	local id
	post /v1/tasks '{"argv": ["sh", "-c", "echo $GREETING; echo bad >&2; exit 5"], "env": {"GREETING": "hi"}, "name": "by-api"}'
	status_is 201
	id=$(jq .first "$T/body")
	is "$(jq .count "$T/body")" 1
	is "$(api GET "/v1/tasks/$id/logs?stream=stdout&follow=1")" hi
	is "$(api GET "/v1/tasks/$id/logs?stream=stderr&follow=1")" bad
	is "$(api GET "/v1/tasks/$id/logs?stream=stdout&offset=1")" i
	is "$(api GET "/v1/tasks/$id" | jq -r '"\(.state) \(.how) \(.code) \(.exit_code) \(.name)"')" 'failed exited 5 5 by-api'
	api GET "/v1/tasks/$id" | jqe '.spec.argv[0] == "sh" and .spec.env.GREETING == "hi"' || fail "$(cat "$T/body")"
	api GET '/v1/tasks?state=failed&name=by-api' | jqe ".tasks | length == 1 and .[0].id == $id" || fail "$(cat "$T/body")"
	api DELETE "/v1/tasks/$id" >/dev/null
	status_is 200
}

test_bytes_that_are_no_utf8() {
	local id
	post /v1/tasks "{\"argv\": [\"printf\", \"%s\", {\"base64\": \"$(printf '\xff\xfe' | base64)\"}]}"
	status_is 201
	id=$(jq .first "$T/body")
	api GET "/v1/tasks/$id/logs?stream=stdout&follow=1" | cmp - <(printf '\xff\xfe') || fail 'bytes differ'
}

test_input_by_api() {
	local id
	post /v1/tasks '{"argv": ["cat"], "stdin": true}'
	id=$(jq .first "$T/body")
	head -c 3000000 /dev/urandom >in
	api POST "/v1/tasks/$id/stdin" --data-binary @in >/dev/null
	status_is 200
	api GET "/v1/tasks/$id/logs?stream=stdout&follow=1" >out
	cmp in out || fail 'bytes differ'
	api POST "/v1/tasks/$id/stdin" --data-binary @in >/dev/null
	status_is 409
}

test_signal() {
	local id
	post /v1/tasks '{"argv": ["sleep", "1000"]}'
	id=$(jq .first "$T/body")
	running() { api GET "/v1/tasks/$id" | jqe '.state == "running"'; }
	soon running
	post "/v1/tasks/$id/signal" '{"signal": "INT"}'
	status_is 202
	ended() { api GET "/v1/tasks/$id" | jqe '.signal == "INT" and .exit_code == 130'; }
	soon ended
	post "/v1/tasks/$id/signal" '{"signal": "NONSENSE"}'
	status_is 400
}

test_files() {
	local sha
	echo content >file
	sha=$(sha256sum file | cut -d' ' -f1)
	api PUT "/v1/files/$sha" --data-binary @file >/dev/null
	status_is 201
	curl -sS --unix-socket "$CUBE_STATE_DIR/default/sock" -I "http://cube/v1/files/$sha" | grep -q ' 200' || fail 'HEAD'
	api PUT "/v1/files/${sha/[0-9a-f]/0}" --data-binary @/etc/passwd >/dev/null
	status_is 400
	api PUT /v1/files/zz --data-binary @file >/dev/null
	[[ $(cat "$T/status") == 40[04] ]] || fail "$(cat "$T/status")"
}

test_events_stream() {
	curl -sSN --unix-socket "$CUBE_STATE_DIR/default/sock" 'http://cube/v1/events?after=-1&follow=1' >sse &
	local c=$!
	follows() { [ -e sse ]; }
	soon follows
	# The stream is open once the first event is in it: tasks are sent until then.
	told() {
		post /v1/tasks '{"argv": ["true"]}'
		grep -q '^event: task' sse
	}
	soon told
	grep -q '^id: [0-9]' sse || fail 'no id'
	grep '^data: ' sse | head -n 1 | cut -c7- | jqe '.kind == "task" and .seq > 0' || fail 'data'
	kill $c
	wait $c 2>/dev/null || true
	api GET '/v1/events?after=0' | grep -c '^id: ' >/dev/null || fail 'no events without follow'
}

test_metrics_text() {
	sampled() { api GET /metrics | grep -q '^cube_node'; }
	soon sampled
	api GET /metrics >metrics
	status_is 200
	# Each sample line is NAME{LABELS} NUMBER, each name has a TYPE.
	grep -vE '^#|^[a-z0-9_]+(\{([a-z0-9_]+="[^"]*",?)*\})? -?[0-9.e+-]+$|^$' metrics && fail 'lines that are no samples'
	grep -q '^# TYPE cube_' metrics || fail 'no types'
	grep -E '^cube_nodes\{state="ready"\} 2$' metrics >/dev/null || fail "$(grep ^cube_nodes metrics)"
}

test_node_metrics_history() {
	local n=${NODES[0]}
	two() { api GET "/v1/nodes/$n/metrics" | jqe '.metrics | length >= 2'; }
	soon two
	api GET "/v1/nodes/$n/metrics" | jqe '[.metrics[].time] | . == sort and (. | unique | length) == length' || fail order
	api GET "/v1/nodes/$n/metrics" | jqe '.metrics[-1] | .memory_total > 0 and (.load | length) == 3 and .cpu >= 0' || fail "$(cat "$T/body")"
	api GET "/v1/nodes/$n/metrics?since=2099-01-01T00:00:00Z" | jqe '.metrics == []' || fail since
}

test_garbage_on_the_socket() {
	for text in 'nonsense\r\n\r\n' 'GET / HTTP/9.9\r\n\r\n' '\0\1\2\3' 'POST /v1/tasks HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n' \
		'POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 17000000\r\n\r\n'; do
		printf '%b' "$text" | timeout 5 curl -s --unix-socket "$CUBE_STATE_DIR/default/sock" telnet://cube >/dev/null || true
	done
	api GET /healthz >/dev/null
	status_is 200
}

test_socket_is_private() {
	is "$(stat -c %a "$CUBE_STATE_DIR/default/sock")" 600
	is "$(stat -c %a "$CUBE_STATE_DIR/default")" 700
}

main "$@"
