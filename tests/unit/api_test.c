/* The API over its socket, in one thread with the manager's parts; no hosts: states and output of
 * tasks are made by hand. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cube/task.h"

#include "cube/api.h"
#include "cube/events.h"
#include "cube/files.h"
#include "../../src/api/api_impl.h"
#include "cube/logs.h"
#include "cube/fleet.h"
#include "../../src/work/work_impl.h"
#include "cube/clock.h"
#include "cube/listen.h"
#include "cube/userenv.h"
#include "cube/sha256.h"

enum { TURNS = 20000, ROOM = 8 << 20 };

static struct { /* as main.c of the manager has them, but no way to any host */
	struct cube_loop *loop;
	struct cube_store *store;
	struct cube_turn turn;
	struct cube_paths paths;
	struct cube_userenv *userenv;
	struct cube_reach reach;
	struct cube_prompts *prompts;
	struct cube_events *events;
	struct cube_files *files;
	struct cube_logs *logs;
	struct cube_fleet *fleet;
	struct cube_work *work;
	struct cube_api *api;
	bool stopping;
} m;
static char answer[ROOM];
static size_t answer_len;
static int status;

static void tick(void *arg) {
	cube_work_tick(m.work);
}
static void commit(void *arg) {
	cube_turn_commit(&m.turn);
}
static void flush(void *arg) {
	cube_work_flush(m.work);
	cube_fleet_flush(m.fleet);
	cube_prompts_flush(m.prompts);
	cube_logs_flush(m.logs);
	cube_events_flush(m.events);
	cube_api_flush(m.api);
}

static void on_stop(void *arg) {
	m.stopping = true;
}

static int no_way(struct cube_reach *reach, const char *name, const struct cube_node_settings *set,
		  const struct cube_reach_how *how, const struct cube_transport_events *events,
		  void *arg, struct cube_transport **ret, struct cube_err *err) {
	ck_abort_msg("%s was to be reached", name);
	return CUBE_ECONNECT;
}

static void new_parts(void) {
	m.reach.open = no_way;
	struct cube_fleet_parts fleet = {.turn = &m.turn,
					 .events = m.events,
					 .prompts = m.prompts,
					 .reach = &m.reach,
					 .cluster = 0x1234,
					 .epoch = 1};
	cube_fleet_new(&fleet, &m.fleet);
	struct cube_work_parts work = {.turn = &m.turn,
				       .events = m.events,
				       .fleet = m.fleet,
				       .files = m.files,
				       .logs = m.logs,
				       .cluster = 0x1234,
				       .epoch = 1,
				       .spec_read = cube_api_spec_read};
	ck_assert_int_eq(cube_work_new(&work, &m.work, NULL), 0);
	ck_assert_int_eq(cube_fleet_load(m.fleet, NULL), 0);
	ck_assert_int_eq(cube_work_load(m.work, NULL), 0);
	struct cube_api_parts api = {.turn = &m.turn,
				     .events = m.events,
				     .prompts = m.prompts,
				     .fleet = m.fleet,
				     .work = m.work,
				     .files = m.files,
				     .logs = m.logs,
				     .userenv = m.userenv,
				     .paths = &m.paths,
				     .cluster = 0x1234,
				     .started = cube_clock_wall(),
				     .stop = on_stop};
	cube_api_new(&api, &m.api);
}

static void setup(void) {
	int fd;
	memset(&m, 0, sizeof m);
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	snprintf(m.paths.cluster, sizeof m.paths.cluster, "test");
	snprintf(m.paths.state, sizeof m.paths.state, "/tmp/api-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(m.paths.state));
	snprintf(m.paths.socket, sizeof m.paths.socket, "%.100s/sock", m.paths.state);
	m.userenv = cube_userenv_new();
	ck_assert_int_eq(cube_loop_new(&m.loop, NULL), 0);
	ck_assert_int_eq(cube_store_memory(&m.store, NULL), 0);
	cube_turn_init(&m.turn, m.loop, m.store, NULL, NULL);
	ck_assert_int_eq(cube_events_new(&m.turn, &m.events, NULL), 0);
	ck_assert_int_eq(cube_prompts_new(m.loop, &m.prompts, NULL), 0);
	ck_assert_int_eq(cube_files_new(m.paths.state, &m.files, NULL), 0);
	ck_assert_int_eq(cube_logs_new(&m.turn, m.paths.state, &m.logs, NULL), 0);
	new_parts();
	ck_assert_int_eq(cube_listen_unix_fd(m.paths.socket, &fd, NULL), 0);
	ck_assert_int_eq(cube_api_serve(m.api, fd, NULL), 0);
	cube_loop_before_sleep(m.loop, 5, tick, NULL);
	cube_loop_before_sleep(m.loop, 10, commit, NULL);
	cube_loop_before_sleep(m.loop, 20, flush, NULL);
}

static void empty_dir(const char *sub) {
	char path[200];
	snprintf(path, sizeof path, "%.100s/%s", m.paths.state, sub);
	DIR *d = opendir(path);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d) closedir(d);
	rmdir(path);
}

static void teardown(void) {
	cube_api_free(m.api);
	cube_fleet_free(m.fleet);
	cube_work_free(m.work);
	cube_prompts_free(m.prompts);
	cube_logs_free(m.logs);
	cube_files_free(m.files);
	cube_events_free(m.events);
	cube_store_free(m.store);
	cube_loop_free(m.loop);
	cube_userenv_free(m.userenv);
	empty_dir("logs");
	empty_dir("files");
	empty_dir("");
}

static void turn(void) {
	if (cube_loop_turn(m.loop, 0, NULL)) ck_abort_msg("the loop failed");
}

static int dial(void) {
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%.100s", m.paths.socket);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static void put(int fd, const char *p, size_t n) {
	for (int i = 0; n; i++) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		if (w < 0 && errno == EPIPE) return;
		if (w > 0) p += w, n -= (size_t)w;
		else turn();
		if (i > TURNS) ck_abort_msg("nobody reads");
	}
}

static int begin(const char *method, const char *path, const char *body, size_t n) {
	char head[2048];
	int fd = dial();
	int len = snprintf(head, sizeof head,
			   "%s %s HTTP/1.1\r\nHost: cube\r\nConnection: close\r\nContent-Length: "
			   "%zu\r\n\r\n",
			   method, path, n);
	put(fd, head, (size_t)len);
	put(fd, body, n);
	answer_len = 0;
	answer[0] = 0;
	return fd;
}

/* Reads until the text was seen, or the end (NULL). */
static void hear(int fd, const char *until) {
	for (int i = 0; i < TURNS; i++) {
		if (until && strstr(answer, until)) return;
		ssize_t r = recv(fd, answer + answer_len, ROOM - 1 - answer_len, 0);
		if (r > 0) answer_len += (size_t)r, i = 0;
		answer[answer_len] = 0;
		if (r == 0 && !until) return;
		if (r == 0) break;
		turn();
	}
	ck_abort_msg("no '%s' comes; so far: %s", until ? until : "end", answer);
}

static void unchunk(void) {
	char *from = strstr(answer, "\r\n\r\n"), *to = answer, *end = answer + answer_len;
	status = (int)strtol(answer + 9, NULL, 10);
	bool chunked = strstr(answer, "chunked") && strstr(answer, "chunked") < from;
	for (from += 4; from < end;) {
		size_t len = chunked ? strtoul(from, &from, 16) : (size_t)(end - from);
		if (chunked) from += 2;
		memmove(to, from, len);
		to += len;
		from += len + 2;
		if (!len) break;
	}
	*to = 0;
	answer_len = (size_t)(to - answer);
}

static const char *ask(const char *method, const char *path, const char *body) {
	int fd = begin(method, path, body ? body : "", body ? strlen(body) : 0);
	hear(fd, NULL);
	close(fd);
	unchunk();
	return answer;
}

static json_t *ask_json(const char *method, const char *path, const char *body) {
	json_error_t je;
	json_t *v = json_loads(ask(method, path, body), 0, &je);
	ck_assert_msg(v, "%s %s: no JSON (%s): %s", method, path, je.text, answer);
	return v;
}

static json_int_t num(const json_t *v, const char *key) {
	ck_assert_msg(json_is_integer(json_object_get(v, key)), "%s in %s", key, answer);
	return json_integer_value(json_object_get(v, key));
}
static const char *str(const json_t *v, const char *key) {
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "(none)";
}

/* --- tasks by hand --- */

static uint64_t add(const char *body) {
	json_t *v = ask_json("POST", "/v1/tasks", body);
	ck_assert_int_eq(status, 201);
	uint64_t first = (uint64_t)num(v, "first");
	json_decref(v);
	return first;
}

static void set(uint64_t id, enum cube_task_state state) {
	struct cube_task *task = cube_work_find(m.work, id);
	ck_assert_ptr_nonnull(task);
	if (state == CUBE_TASK_SCHEDULED) task->row.attempt = 1;
	if (state == CUBE_TASK_RUNNING) task->row.started = cube_clock_wall();
	if (cube_task_final(state)) task->row.finished = cube_clock_wall();
	cube_task_set(m.work, task, state, "");
}

static void print(uint64_t id, uint8_t stream, const char *text, size_t n) {
	struct cube_task *task = cube_work_find(m.work, id);
	uint64_t *end = stream == CUBE_STDOUT ? &task->row.out_end : &task->row.err_end;
	ck_assert_int_eq(cube_logs_append(m.logs, id, 1, stream, *end, text, n, NULL), 0);
	*end += n;
	cube_task_changed(m.work, task);
}
static void say(uint64_t id, uint8_t stream, const char *text) {
	print(id, stream, text, strlen(text));
}

/* --- tests --- */

static const struct {
	const char *method, *path, *body;
	int status;
	const char *code, *field;
} errors[] = {
	{"GET", "/nope", NULL, 404, "not-found", NULL},
	{"GET", "/v1/tasks/7", NULL, 404, "not-found", NULL},
	{"GET", "/v1/tasks/x", NULL, 404, "not-found", NULL},
	{"GET", "/v1/tasks/99999999999999999999", NULL, 404, "not-found", NULL},
	{"PATCH", "/v1/tasks", NULL, 405, "usage", NULL},
	{"PUT", "/v1/environment", "{\"LD_PRELOAD\":\"/x\"}", 400, "usage", "LD_PRELOAD"},
	{"PUT", "/v1/environment", "{\"KRB5CCNAME\":1}", 400, "usage", "KRB5CCNAME"},
	{"PUT", "/v1/environment", "{\"KRB5CCNAME\":\"a\\u0000b\"}", 400, "usage", NULL},
	{"POST", "/v1/tasks", "", 400, "usage", "argv"},
	{"POST", "/v1/tasks", "{", 400, "usage", NULL},
	{"POST", "/v1/tasks", "[]", 400, "usage", NULL},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"argv\":[\"y\"]}", 400, "usage", NULL},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"cuont\":2}", 400, "usage", "cuont"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"count\":0}", 400, "usage", "count"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"count\":1000001}", 400, "usage", "count"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"count\":1.5}", 400, "usage", "count"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"all\":1}", 400, "usage", "all"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"nodes\":\"a\"}", 400, "usage", "nodes"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"nodes\":[]}", 400, "usage", "nodes"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"nodes\":[\"a\"]}", 404, "not-found", NULL},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"all\":true}", 409, "conflict", NULL},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"stdin\":true,\"count\":2}", 400, "usage",
	 "stdin"},
	{"POST", "/v1/tasks", "{\"argv\":[\"x\"],\"env\":{\"1\":\"\"}}", 400, "usage", "env"},
	{"POST", "/v1/tasks",
	 "{\"argv\":[\"x\"],\"files\":[{\"sha256\":"
	 "\"35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f\",\"name\":\"f\"}]}",
	 409, "conflict", NULL},
	{"GET", "/v1/tasks?state=ready", NULL, 400, "usage", "state"},
	{"GET", "/v1/tasks?limit=-1", NULL, 400, "usage", "limit"},
	{"GET", "/v1/tasks?node=nobody", NULL, 404, "not-found", NULL},
	{"DELETE", "/v1/tasks/3", NULL, 404, "not-found", NULL},
	{"DELETE", "/v1/jobs/3", NULL, 404, "not-found", NULL},
	{"POST", "/v1/jobs/3/signal", "{\"signal\":\"INT\"}", 404, "not-found", NULL},
	{"POST", "/v1/tasks/3/signal", "{\"signal\":\"NONE\"}", 400, "usage", "signal"},
	{"POST", "/v1/tasks/3/signal", "{}", 400, "usage", "signal"},
	{"POST", "/v1/tasks/3/stdin", "x", 404, "not-found", NULL},
	{"GET", "/v1/tasks/3/logs", NULL, 404, "not-found", NULL},
	{"GET", "/v1/tasks/3/logs?stream=stdin", NULL, 400, "usage", "stream"},
	{"GET", "/v1/tasks/3/logs?offset=3", NULL, 400, "usage", "offset"},
	{"GET", "/v1/jobs/3/logs", NULL, 404, "not-found", NULL},
	{"POST", "/v1/nodes", "{}", 400, "usage", "nodes"},
	{"POST", "/v1/nodes", "{\"nodes\":[{}]}", 400, "usage", "nodes.name"},
	{"POST", "/v1/nodes", "{\"nodes\":[{\"name\":\"a\",\"prot\":1}]}", 400, "usage",
	 "nodes.prot"},
	{"POST", "/v1/nodes", "{\"nodes\":[{\"name\":\"a\",\"port\":70000}]}", 400, "usage",
	 "nodes.port"},
	{"POST", "/v1/nodes", "{\"nodes\":[],\"connect_timeout\":\"1\"}", 400, "usage",
	 "connect_timeout"},
#define NODE_WITH(more) "{\"nodes\":[{\"name\":\"a\"}]," more "}"
	{"POST", "/v1/nodes", NODE_WITH("\"host_key_check\":\"no\""), 400, "usage",
	 "host_key_check"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":\"Port=1\""), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[1]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"Port\"]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"Port=\"]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"=1\"]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"-v=1\"]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"Po rt=1\"]"), 400, "usage", "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"options\":[\"User=a\\nPort=1\"]"), 400, "usage",
	 "options"},
	{"POST", "/v1/nodes", NODE_WITH("\"jump\":\"\""), 400, "usage", "jump"},
	{"POST", "/v1/nodes", NODE_WITH("\"jump\":\"-oProxyCommand=x\""), 400, "usage", "jump"},
	{"POST", "/v1/nodes", NODE_WITH("\"jump\":\"a b\""), 400, "usage", "jump"},
	{"POST", "/v1/nodes", NODE_WITH("\"jump\":[\"a\"]"), 400, "usage", "jump"},
	{"POST", "/v1/nodes", NODE_WITH("\"become\":1"), 400, "usage", "become"},
	{"POST", "/v1/nodes", NODE_WITH("\"ask\":\"yes\""), 400, "usage", "ask"},
	{"POST", "/v1/nodes", NODE_WITH("\"transport\":1"), 400, "usage", "transport"},
	{"GET", "/v1/nodes/a", NULL, 404, "not-found", NULL},
	{"GET", "/v1/nodes/a/metrics", NULL, 404, "not-found", NULL},
	{"DELETE", "/v1/nodes/a", NULL, 404, "not-found", NULL},
	{"DELETE", "/v1/nodes", "{\"nodes\":[\"a\"]}", 404, "not-found", NULL},
	{"GET", "/v1/events?after=x", NULL, 400, "usage", "after"},
	{"PUT", "/v1/files/xyz", "abc", 400, "usage", "sha256"},
};

START_TEST(refusals) {
	json_t *v = ask_json(errors[_i].method, errors[_i].path, errors[_i].body);
	const json_t *e = json_object_get(v, "error");
	ck_assert_msg(status == errors[_i].status, "%s %s %s: %d %s", errors[_i].method,
		      errors[_i].path, errors[_i].body ? errors[_i].body : "", status, answer);
	ck_assert_str_eq(str(e, "code"), errors[_i].code);
	ck_assert_str_eq(str(e, "field"), errors[_i].field ? errors[_i].field : "(none)");
	ck_assert_str_ne(str(e, "message"), "(none)");
	json_decref(v);
}
END_TEST

static void no_nodes(void) {
	json_t *v = ask_json("GET", "/v1/nodes", NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(v, "nodes")), 0);
	json_decref(v);
}

/* One that is refused keeps the others out as well. */
START_TEST(nodes_all_or_none) {
	ask("POST", "/v1/nodes",
	    "{\"nodes\":[{\"name\":\"a\",\"local\":true},{\"name\":\"b\",\"jump\":\"-x\"}]}");
	ck_assert_int_eq(status, 400);
	no_nodes();
	ask("POST", "/v1/nodes",
	    "{\"nodes\":[{\"name\":\"a\",\"local\":true},{\"name\":\"b/c\"}]}");
	ck_assert_int_eq(status, 400);
	no_nodes();
	struct cube_buf many;
	cube_buf_init(&many, 8192);
	cube_buf_addstr(&many, "{\"nodes\":[{\"name\":\"a\"}],\"options\":[\"Port=1\"");
	for (int i = 0; i < 64; i++) cube_buf_addstr(&many, ",\"Port=1\"");
	cube_buf_addstr(&many, "]}");
	ask("POST", "/v1/nodes", cube_buf_str(&many));
	cube_buf_done(&many);
	ck_assert_int_eq(status, 400);
	no_nodes();
}
END_TEST

START_TEST(environment_follows) {
	ask("PUT", "/v1/environment", "{\"SSH_AUTH_SOCK\":\"/a\",\"KRB5CCNAME\":\"FILE:/t\"}");
	ck_assert_int_eq(status, 200);
	ck_assert_str_eq(getenv("SSH_AUTH_SOCK"), "/a");
	ck_assert_str_eq(getenv("KRB5CCNAME"), "FILE:/t");
	ask("PUT", "/v1/environment", "{\"KRB5CCNAME\":null}");
	ck_assert_str_eq(getenv("SSH_AUTH_SOCK"), "/a");
	ck_assert_ptr_null(getenv("KRB5CCNAME"));
	/* All or nothing. */
	ask("PUT", "/v1/environment", "{\"SSH_AUTH_SOCK\":\"/b\",\"PATH\":\"/evil\"}");
	ck_assert_int_eq(status, 400);
	ck_assert_str_eq(getenv("SSH_AUTH_SOCK"), "/a");
}
END_TEST

START_TEST(small_things) {
	ck_assert_str_eq(ask("GET", "/healthz", NULL), "ok\n");
	json_t *v = ask_json("GET", "/v1/info", NULL);
	ck_assert_str_eq(str(v, "cluster"), "0000000000001234");
	ck_assert_str_eq(str(v, "name"), "test");
	ck_assert_int_eq(num(v, "pid"), getpid());
	json_decref(v);
	v = ask_json("GET", "/v1/nodes", NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(v, "nodes")), 0);
	json_decref(v);
	v = ask_json("DELETE", "/v1/nodes?purge=1", NULL);
	ck_assert_int_eq(status, 202);
	json_decref(v);
	ck_assert_ptr_nonnull(
		strstr(ask("GET", "/metrics", NULL), "cube_tasks{state=\"pending\"} 0\n"));
	ask("POST", "/v1/shutdown", NULL);
	ck_assert_int_eq(status, 202);
	ck_assert(m.stopping);
}
END_TEST

START_TEST(adds_and_shows) {
	uint64_t first = add("{\"argv\":[\"sh\",\"-c\",\"echo 'a b'\",{\"base64\":\"/w==\"}],"
			     "\"name\":\"n\\u00e9\",\"count\":3,\"timeout\":2.5}");
	ck_assert_uint_eq(first, 1);
	json_t *v = ask_json("GET", "/v1/tasks/2", NULL);
	ck_assert_int_eq(num(v, "id"), 2);
	ck_assert_int_eq(num(v, "job"), 1);
	ck_assert_int_eq(num(v, "index"), 1);
	ck_assert_str_eq(str(v, "name"), "n\xc3\xa9");
	ck_assert_str_eq(str(v, "state"), "pending");
	ck_assert_str_eq(str(v, "command"), "sh -c 'echo '\\''a b'\\''' '\xef\xbf\xbd'");
	ck_assert(json_is_null(json_object_get(v, "node")));
	ck_assert(json_is_null(json_object_get(v, "started")));
	ck_assert(json_is_false(json_object_get(v, "unknown")));
	const json_t *spec = json_object_get(v, "spec");
	ck_assert_int_eq(num(spec, "count"), 3);
	ck_assert(json_real_value(json_object_get(spec, "timeout")) == 2.5);
	json_decref(v);
	v = ask_json("DELETE", "/v1/tasks/2", NULL);
	ck_assert_int_eq(status, 202);
	json_decref(v);
	v = ask_json("DELETE", "/v1/tasks/2", NULL);
	ck_assert_int_eq(status, 200);
	ck_assert_str_eq(str(v, "state"), "failed");
	ck_assert_str_eq(str(v, "how"), "stopped");
	json_decref(v);
	v = ask_json("POST", "/v1/tasks/1/signal", "{\"signal\":\"SIGINT\"}");
	ck_assert_int_eq(status, 409); /* not running */
	json_decref(v);
	v = ask_json("DELETE", "/v1/jobs/1", NULL);
	ck_assert_int_eq(status, 202);
	ck_assert_int_eq(num(v, "tasks"), 2);
	json_decref(v);
	ask("DELETE", "/v1/jobs/1", NULL);
	ck_assert_int_eq(status, 200);
	ask("GET", "/metrics", NULL);
	ck_assert_ptr_nonnull(strstr(answer, "cube_tasks{state=\"failed\"} 3\n"));
}
END_TEST

START_TEST(long_command) {
	char body[3000];
	int n = snprintf(body, sizeof body, "{\"argv\":[\"echo\",\"");
	for (int i = 0; i < 600; i++) n += snprintf(body + n, sizeof body - (size_t)n, "\xc3\xa9");
	snprintf(body + n, sizeof body - (size_t)n, "\"]}");
	add(body);
	json_t *v = ask_json("GET", "/v1/tasks/1", NULL);
	size_t len = strlen(str(v, "command"));
	ck_assert_uint_le(len, 512);
	ck_assert_uint_ge(len, 508);
	ck_assert_str_eq(str(v, "command") + len - 3, "...");
	json_decref(v);
}
END_TEST

/* Every way of listing against the plain truth: rows put straight into the store. */
START_TEST(lists) {
	enum { N = 3000 };
	uint8_t states[N + 1];
	struct cube_store *s = cube_turn_tx(&m.turn);
	for (unsigned job = 1; job < 4; job++)
		s->ops->job_put(s,
				&(struct cube_job_row){.id = job,
						       .name = job == 2 ? "two" : "",
						       .spec = "{\"argv\":[\"x\"]}",
						       .tasks = N / 3},
				NULL);
	for (unsigned i = 1; i <= N; i++) {
		states[i] = i % 7 ? CUBE_TASK_COMPLETED : CUBE_TASK_FAILED;
		s->ops->task_put(s,
				 &(struct cube_task_row){.id = i,
							 .job = (i - 1) / (N / 3) + 1,
							 .state = states[i],
							 .reason = ""},
				 NULL);
	}
	cube_turn_commit(&m.turn);
	for (unsigned mode = 0; mode < 64; mode++) {
		char path[200];
		bool newest = mode & 1, failed = mode & 4;
		unsigned limit = mode & 2 ? 700 : N, job = mode & 8 ? 2 : 0;
		unsigned after = mode & 16 ? 1500 : 0;
		snprintf(path, sizeof path, "/v1/tasks?x=1%s%s%s%s%s%s", newest ? "&newest=1" : "",
			 mode & 2 ? "&limit=700" : "", failed ? "&state=failed,running" : "",
			 job ? "&job=2" : "", after ? "&after=1500" : "",
			 mode & 32 ? "&name=two" : "");
		json_t *v = ask_json("GET", path, NULL);
		const json_t *rows = json_object_get(v, "tasks");
		size_t at = 0;
		for (unsigned k = 1; k <= N && at < limit; k++) {
			unsigned id = newest ? N + 1 - k : k;
			bool two = id > N / 3 && id <= 2 * N / 3;
			if (id <= after || (failed && states[id] != CUBE_TASK_FAILED) ||
			    ((job || mode & 32) && !two))
				continue;
			if (num(json_array_get(rows, at), "id") != id)
				ck_abort_msg("%s: row %zu is %d, not %u", path, at,
					     (int)num(json_array_get(rows, at), "id"), id);
			at++;
		}
		ck_assert_uint_eq(json_array_size(rows), at);
		json_decref(v);
	}
}
END_TEST

START_TEST(raw_logs) {
	uint64_t id = add("{\"argv\":[\"x\"]}");
	ck_assert_str_eq(ask("GET", "/v1/tasks/1/logs?stream=stdout", NULL), "");
	ck_assert_int_eq(status, 200);
	int fd = begin("GET", "/v1/tasks/1/logs?stream=stdout&follow=1&offset=2", "", 0);
	hear(fd, "\r\n\r\n");
	set(id, CUBE_TASK_SCHEDULED);
	turn();
	set(id, CUBE_TASK_RUNNING);
	say(id, CUBE_STDOUT, "hello\n");
	say(id, CUBE_STDERR, "not this\n");
	hear(fd, "llo\n");
	ck_assert_ptr_null(strstr(answer, "hello"));
	say(id, CUBE_STDOUT, "more\n");
	hear(fd, "more\n");
	say(id, CUBE_STDOUT, "last\n");
	set(id, CUBE_TASK_COMPLETED); /* in the same turn */
	hear(fd, NULL);
	close(fd);
	unchunk();
	ck_assert_str_eq(answer, "llo\nmore\nlast\n");
	ck_assert_str_eq(ask("GET", "/v1/tasks/1/logs?stream=stdout", NULL), "hello\nmore\nlast\n");
	ck_assert_str_eq(ask("GET", "/v1/tasks/1/logs?stream=stderr&follow=1", NULL), "not this\n");
	ck_assert_str_eq(ask("GET", "/v1/tasks/1/logs?stream=stdout&offset=12", NULL), "ast\n");
	ck_assert_str_eq(ask("GET", "/v1/tasks/1/logs?stream=stdout&offset=99", NULL), "");
}
END_TEST

/* Decodes the frames of the answer into lines like "1 out 0 5", "1 completed", and their bytes. */
static void frames(char *story, size_t size, char *out, char *err) {
	char *p = answer, *end = answer + answer_len;
	size_t n = 0;
	while (p < end) {
		char *nl = memchr(p, '\n', (size_t)(end - p));
		ck_assert_ptr_nonnull(nl);
		json_t *v = json_loadb(p, (size_t)(nl - p), 0, NULL);
		ck_assert_ptr_nonnull(v);
		p = nl + 1;
		if (json_object_get(v, "len")) {
			bool is_out = !strcmp(str(v, "stream"), "stdout");
			size_t len = (size_t)num(v, "len");
			char **to = is_out ? &out : &err;
			memcpy(*to, p, len);
			*to += len;
			**to = 0;
			p += len;
			n += (size_t)snprintf(story + n, size - n, "%d %s %d %zu\n",
					      (int)num(v, "task"), is_out ? "out" : "err",
					      (int)num(v, "offset"), len);
		} else {
			const json_t *row = json_object_get(v, "task_row");
			ck_assert_str_eq(str(row, "state"), str(v, "state"));
			ck_assert_int_eq(num(row, "id"), num(v, "task"));
			n += (size_t)snprintf(story + n, size - n, "%d %s\n", (int)num(v, "task"),
					      str(v, "state"));
		}
		json_decref(v);
	}
}

START_TEST(frames_of_a_job) {
	static char story[4096], out[65536], err[65536];
	uint64_t a = add("{\"argv\":[\"x\"],\"count\":2}"), b = a + 1;
	add("{\"argv\":[\"other\"]}");
	int fd = begin("GET", "/v1/jobs/1/logs?follow=1", "", 0);
	hear(fd, "\r\n\r\n");
	set(a, CUBE_TASK_SCHEDULED);
	hear(fd, "scheduled");
	set(a, CUBE_TASK_RUNNING);
	hear(fd, "running");
	say(a, CUBE_STDOUT, "one\n");
	hear(fd, "one\n");
	say(a, CUBE_STDERR, "two\n");
	say(a, CUBE_STDOUT, "three\n");
	hear(fd, "three\n");
	set(b, CUBE_TASK_SCHEDULED);
	set(b, CUBE_TASK_RUNNING);
	say(b, CUBE_STDOUT, "b");
	set(b, CUBE_TASK_COMPLETED);
	hear(fd, "completed");
	for (int i = 0; i < 20; i++) turn();
	set(a, CUBE_TASK_FAILED);
	hear(fd, NULL);
	close(fd);
	unchunk();
	frames(story, sizeof story, out, err);
	ck_assert_str_eq(story, "1 scheduled\n1 running\n1 out 0 4\n1 err 0 4\n1 out 4 6\n"
				"2 completed\n2 out 0 1\n2 completed\n1 failed\n1 failed\n");
	ck_assert_str_eq(out, "one\nthree\nb");
	ck_assert_str_eq(err, "two\n");
	/* afterwards: the same bytes, and the end of each twice */
	ask("GET", "/v1/jobs/1/logs?follow=1", NULL);
	frames(story, sizeof story, out, err);
	ck_assert_uint_eq(strlen(out), 11);
	ck_assert_str_eq(story,
			 "1 failed\n1 out 0 4\n2 completed\n2 out 0 1\n1 err 0 4\n2 completed\n"
			 "1 out 4 6\n1 failed\n");
	ask("GET", "/v1/jobs/1/logs", NULL);
	frames(story, sizeof story, out, err);
	ck_assert_str_eq(out, "one\nthree\nb");
	ck_assert_ptr_null(strstr(story, "failed"));
	ask("GET", "/v1/tasks/1/logs?tail=2", NULL);
	frames(story, sizeof story, out, err);
	ck_assert_str_eq(story, "1 err 0 4\n1 out 4 6\n");
	ask("GET", "/v1/tasks/1/logs?tail=0", NULL);
	ck_assert_str_eq(answer, "");
}
END_TEST

/* Followers of many tasks that all write at once get every byte, whatever the order. */
START_TEST(frames_under_load) {
	enum { TASKS = 200, ROUNDS = 60 };
	static char story[1 << 20], out[4 << 20], err[65536], body[64], line[400];
	snprintf(body, sizeof body, "{\"argv\":[\"x\"],\"count\":%d}", TASKS);
	uint64_t first = add(body);
	int fd = begin("GET", "/v1/jobs/1/logs?follow=1", "", 0);
	uint64_t total = 0;
	for (uint64_t i = 0; i < TASKS; i++) set(first + i, CUBE_TASK_SCHEDULED);
	for (uint64_t i = 0; i < TASKS; i++) set(first + i, CUBE_TASK_RUNNING);
	for (int r = 0; r < ROUNDS; r++) {
		for (uint64_t i = 0; i < TASKS; i++) {
			int n = snprintf(line, sizeof line, "%d %0*d\n", (int)i, (int)(i % 50) + 1,
					 r);
			print(first + i, CUBE_STDOUT, line, (size_t)n);
			total += (size_t)n;
		}
		ssize_t got = recv(fd, answer + answer_len, r % 3 ? 20000 : 1, 0);
		if (got > 0) answer_len += (size_t)got;
		turn();
	}
	for (uint64_t i = 0; i < TASKS; i++) set(first + i, CUBE_TASK_COMPLETED);
	hear(fd, NULL);
	close(fd);
	unchunk();
	frames(story, sizeof story, out, err);
	ck_assert_uint_eq(strlen(out), total);
	unsigned ends = 0;
	for (char *p = story; (p = strstr(p, "completed")); p++) ends++;
	ck_assert_uint_eq(ends, 2 * TASKS);
}
END_TEST

/* Followers that go away in the middle leave nothing behind (a sanitizer build looks for it). */
START_TEST(followers_leave) {
	static const char *const paths[] = {"/v1/jobs/1/logs?follow=1",
					    "/v1/tasks/1/logs?stream=stdout&follow=1",
					    "/v1/events?follow=1&after=-1"};
	uint64_t id = add("{\"argv\":[\"x\"]}");
	set(id, CUBE_TASK_SCHEDULED);
	set(id, CUBE_TASK_RUNNING);
	for (int i = 0; i < 3; i++) {
		int fd = begin("GET", paths[i], "", 0);
		hear(fd, "\r\n\r\n");
		close(fd);
		say(id, CUBE_STDOUT, "x");
		for (int k = 0; k < 10; k++) turn();
		ck_assert_uint_eq(cube_httpd_connections(m.api->httpd), 0);
	}
}
END_TEST

START_TEST(a_million_tasks) {
	uint64_t first = add("{\"argv\":[\"x\"],\"count\":1000000}");
	int fd = begin("GET", "/v1/jobs/1/logs?follow=1", "", 0);
	hear(fd, "\r\n\r\n");
	set(first + 777777, CUBE_TASK_SCHEDULED);
	say(first + 777777, CUBE_STDOUT, "needle\n");
	hear(fd, "needle\n");
	close(fd);
}
END_TEST

START_TEST(events) {
	add("{\"argv\":[\"x\"],\"count\":2}");
	ask("DELETE", "/v1/tasks/1", NULL);
	ask("GET", "/v1/events", NULL);
	ck_assert_ptr_eq(strstr(answer, "id: 1\nevent: task\ndata: {\"seq\":1,"), answer);
	ck_assert_ptr_nonnull(
		strstr(answer, "\"task\":2,\"node\":null,\"old\":null,\"new\":\"pending\""));
	ck_assert_ptr_nonnull(strstr(answer, "\"new\":\"failed\""));
	uint64_t last = cube_events_last(m.events);
	char path[64];
	snprintf(path, sizeof path, "/v1/events?after=%d", (int)last - 1);
	ask("GET", path, NULL);
	ck_assert_int_eq(strncmp(answer, "id: ", 4), 0);
	ck_assert_int_eq((int)strtol(answer + 4, NULL, 10), (int)last);
	int fd = begin("GET", "/v1/events?after=-1&follow=1", "", 0);
	hear(fd, ":\n\n");
	ck_assert_ptr_null(strstr(answer, "id:"));
	struct cube_task *task = cube_work_find(m.work, 2);
	cube_work_stop(m.work, task, 0);
	hear(fd, "\"new\":\"failed\"");
	cube_events_progress(m.events, 0, "pushing", 0.25);
	hear(fd,
	     "event: progress\ndata: {\"node\":\"\",\"step\":\"pushing\",\"progress\":0.25}\n\n");
	/* Who does not read gets no more progress than 64 KiB of it. */
	for (int i = 0; i < 100000; i++) cube_events_progress(m.events, 0, "pushing", 0.25);
	add("{\"argv\":[\"after\"]}");
	answer_len = 0;
	hear(fd, "\"new\":\"pending\"");
	ck_assert_uint_lt(answer_len, 400000);
	close(fd);
}
END_TEST

START_TEST(files_and_stdin) {
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX], path[128], body[512];
	static char big[600000];
	memset(big, 'z', sizeof big);
	cube_sha256_of(big, sizeof big, digest);
	cube_sha256_hex(digest, hex);
	snprintf(path, sizeof path, "/v1/files/%s", hex);
	ask("HEAD", path, NULL);
	ck_assert_int_eq(status, 404);
	int fd = begin("PUT", path, big, sizeof big);
	hear(fd, NULL);
	close(fd);
	unchunk();
	ck_assert_int_eq(status, 201);
	ask("HEAD", path, NULL);
	ck_assert_int_eq(status, 200);
	ask("PUT", path, "other");
	ck_assert_int_eq(status, 400);
	snprintf(
		body, sizeof body,
		"{\"argv\":[\"cat\"],\"stdin\":true,\"files\":[{\"sha256\":\"%s\",\"name\":\"f\"}]}",
		hex);
	uint64_t id = add(body);
	add("{\"argv\":[\"cat\"]}");
	ask("POST", "/v1/tasks/2/stdin", "x");
	ck_assert_int_eq(status, 409);
	/* Until the task takes it, no more than its buffer is let in. */
	char head[256];
	fd = dial();
	int n = snprintf(head, sizeof head,
			 "POST /v1/tasks/1/stdin HTTP/1.1\r\nHost: x\r\nConnection: "
			 "close\r\nContent-Length: %zu\r\n\r\n",
			 sizeof big);
	put(fd, head, (size_t)n);
	size_t sent = 0, taken = 0;
	struct cube_task *task = cube_work_find(m.work, id);
	for (int i = 0; taken < sizeof big; i++) {
		ssize_t w = send(fd, big + sent, sizeof big - sent, MSG_NOSIGNAL);
		if (w > 0) sent += (size_t)w;
		turn();
		if (i < 100) continue;
		size_t have = cube_buf_len(&task->input);
		ck_assert_uint_le(have, 256 << 10);
		cube_task_input_acked(m.work, task, task->input_acked + have);
		taken += have;
		if (i > TURNS) ck_abort_msg("the input does not come");
	}
	answer_len = 0;
	hear(fd, NULL);
	close(fd);
	unchunk();
	ck_assert_int_eq(status, 200);
	ck_assert(task->input_end);
	/* A task that ends while its input waits. */
	id = add("{\"argv\":[\"cat\"],\"stdin\":true}");
	fd = begin("POST", "/v1/tasks/3/stdin", big, 1000);
	for (int i = 0; i < 10; i++) turn();
	cube_work_stop(m.work, cube_work_find(m.work, id), 0);
	hear(fd, NULL);
	close(fd);
	unchunk();
	ck_assert_int_eq(status, 200); /* all had been taken from the client */
	id = add("{\"argv\":[\"cat\"],\"stdin\":true}");
	fd = dial();
	n = snprintf(
		head, sizeof head,
		"POST /v1/tasks/4/stdin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3\r\nabc\r\n");
	put(fd, head, (size_t)n);
	for (int i = 0; i < 10; i++) turn();
	cube_work_stop(m.work, cube_work_find(m.work, id), 0);
	answer_len = 0;
	hear(fd, NULL);
	close(fd);
	unchunk();
	ck_assert_int_eq(status, 409);
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("api");
	Suite *s = suite_create("api");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, refusals, 0, (int)(sizeof errors / sizeof errors[0]));
	tcase_add_test(tc, nodes_all_or_none);
	tcase_add_test(tc, environment_follows);
	tcase_add_test(tc, small_things);
	tcase_add_test(tc, adds_and_shows);
	tcase_add_test(tc, long_command);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, raw_logs);
	tcase_add_test(tc, frames_of_a_job);
	tcase_add_test(tc, frames_under_load);
	tcase_add_test(tc, followers_leave);
	tcase_add_test(tc, a_million_tasks);
	tcase_add_test(tc, events);
	tcase_add_test(tc, files_and_stdin);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
