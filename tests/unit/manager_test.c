/* The manager's core: real managers and local workers that are killed at chosen moments, and
 * workers that lie. Nothing sleeps: each step waits for an event of the API. */
#include "manager_host.h"

/* ---- tasks, logs, input, files --------------------------------------------------------------- */

START_TEST(kills_during_output) {
	size_t n, want = 0;
	manager_start();
	add_node("n1", 2);
	/* Every line tells where it is: a byte that is missing or doubled is found. */
	uint64_t id = add_task("seq 1 600000", "");
	uint64_t other = add_task("seq 1 300000 >&2", "");
	for (int kills = 0; kills < 8; kills++) {
		json_int_t bytes = 0, goal = 400000 * (kills + 1);
		bool ended = false;
		/* Each look commits in the middle of a turn. */
		while (bytes < goal && !ended) {
			json_t *o = get_task(id);
			bytes = json_integer_value(json_object_get(o, "stdout_bytes"));
			ended = json_object_get(o, "how") != NULL;
			json_decref(o);
		}
		manager_kill();
		manager_start();
	}
	wait_task(id, "completed");
	wait_task(other, "completed");
	char *out = get_logs(id, "stream=stdout", &n), *p = out;
	for (unsigned i = 1; i <= 600000; i++) {
		char line[16];
		int len = snprintf(line, sizeof line, "%u\n", i);
		ck_assert_msg(memcmp(p, line, (size_t)len) == 0, "line %u: %.20s", i, p);
		p += len;
	}
	ck_assert_uint_eq(n, (size_t)(p - out));
	for (unsigned i = 1; i <= 300000; i++) want += (size_t)snprintf(NULL, 0, "%u\n", i);
	free(out);
	out = get_logs(other, "stream=stderr", &n);
	ck_assert_uint_eq(n, want);
	free(out);
}
END_TEST

/* Input that came while the task had no place is not forgotten when it gets one. */
START_TEST(stdin_before_the_start) {
	manager_start();
	add_node("n1", 1);
	wait_node(0, "n1", "ready");
	ck_assert_int_eq(mkfifo(text_of("%s/fifo", site.root), 0600), 0);
	uint64_t first = add_task(text_of("read x <%s/fifo", site.root), "");
	uint64_t second = add_task("cat", ",\"stdin\":true");
	wait_task(first, "running");
	int fd = http_open("POST", text_of("/v1/tasks/%" PRIu64 "/stdin", second), "hello\n", 6);
	http("GET", "/healthz", NULL, NULL); /* the input was taken in a turn before this one */
	json_t *o = get_task(second);
	ck_assert_str_eq(json_string_value(json_object_get(o, "state")), "pending");
	json_decref(o);
	write_file(text_of("%s/fifo", site.root), "x\n", 2, 0600);
	ck_assert_int_eq(http_finish(fd, NULL, NULL), 200);
	wait_task(second, "completed");
	expect_output(second, "hello\n");
}
END_TEST

/* START waits behind a file; what is about the task must not overtake it. */
START_TEST(stdin_and_stop_behind_a_file) {
	size_t size = 48u << 20;
	char *big = malloc(size);
	memset(big, 'b', size);
	manager_start();
	add_node("n1", 4);
	wait_node(0, "n1", "ready");
	const char *hex = put_file(big, size);
	const char *files =
		text_of(",\"files\":[{\"sha256\":\"%s\",\"name\":\"big\",\"mode\":420}]", hex);
	uint64_t eater = add_task("cat; wc -c <big", text_of(",\"stdin\":true%s", files));
	uint64_t sleeper = add_task("sleep 1000", files);
	int fd = http_open("POST", text_of("/v1/tasks/%" PRIu64 "/stdin", eater), "in\n", 3);
	ck_assert_int_eq(http("DELETE", text_of("/v1/tasks/%" PRIu64, sleeper), NULL, NULL), 202);
	ck_assert_int_eq(http_finish(fd, NULL, NULL), 200);
	wait_task(eater, "completed");
	expect_output(eater, text_of("in\n%zu\n", size));
	json_t *o = NULL;
	do { /* completed or failed, by how far it came */
		json_decref(o);
		o = get_task(sleeper);
	} while (!json_object_get(o, "how"));
	json_decref(o);
	expect_how(sleeper, "stopped");
	free(big);
}
END_TEST

/* Two files; the one that the second task names last is sent first. */
START_TEST(waits_for_all_its_files) {
	size_t size = 8u << 20;
	char *bytes = malloc(size), a[80], b[80];
	memset(bytes, 'a', size);
	manager_start();
	add_node("n1", 4);
	wait_node(0, "n1", "ready");
	snprintf(a, sizeof a, "%s", put_file(bytes, size));
	bytes[0] = 'b';
	snprintf(b, sizeof b, "%s", put_file(bytes, size));
	add_task("true", text_of(",\"files\":[{\"sha256\":\"%s\",\"name\":\"a\"}]", a));
	uint64_t id =
		add_task("wc -c a b", text_of(",\"files\":[{\"sha256\":\"%s\",\"name\":\"b\"},"
					      "{\"sha256\":\"%s\",\"name\":\"a\"}]",
					      b, a));
	wait_task(id, "completed");
	free(bytes);
}
END_TEST

/* The link goes while a file is under way; it is sent again over the next. */
START_TEST(push_over_reconnect) {
	size_t size = 32u << 20;
	char *bytes = malloc(size);
	memset(bytes, 'c', size);
	manager_start();
	add_node("n1", 4);
	uint64_t seq = wait_node(0, "n1", "ready");
	char hex[80];
	snprintf(hex, sizeof hex, "%s", put_file(bytes, size));
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	uint64_t id = add_task("wc -c <c",
			       text_of(",\"files\":[{\"sha256\":\"%s\",\"name\":\"c\"}]", hex));
	wait_task(id, "scheduled");
	manager_kill();
	manager_start();
	wait_node(seq, "n1", "starting");
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	wait_task(id, "completed");
	expect_output(id, text_of("%zu\n", size));
	free(bytes);
}
END_TEST

/* A stop that was confirmed holds, also when the manager dies before the worker could be told. */
START_TEST(stop_is_kept) {
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	uint64_t id = add_task("sleep 1000", "");
	wait_task(id, "running");
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	manager_kill();
	manager_start();
	wait_node(seq, "n1", "starting"); /* the daemon does not answer: no link */
	ck_assert_int_eq(http("DELETE", text_of("/v1/tasks/%" PRIu64, id), NULL, NULL), 202);
	manager_kill();
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	manager_start();
	wait_task(id, "completed");
	expect_how(id, "stopped");
}
END_TEST

START_TEST(daemon_dies) {
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	uint64_t running = add_task("sleep 1000", ""), waiting = add_task("echo fine", "");
	wait_task(running, "running");
	ck_assert_int_eq(kill(find_daemon(), SIGKILL), 0);
	wait_node(seq, "n1", "lost");
	wait_task(running, "failed");
	expect_how(running, "lost");
	wait_task(waiting, "completed");
}
END_TEST

/* A job that may run on one node only does not wait for it for ever. */
START_TEST(job_of_a_node_that_fails) {
	char reason[256];
	manager_start();
	ck_assert_int_eq(http("POST", "/v1/nodes",
			      "{\"nodes\":[{\"name\":\"bad\",\"host\":\"127.0.0.1\",\"port\":1,"
			      "\"user\":\"nobody\"}]}",
			      NULL),
			 202);
	uint64_t id = add_task("true", ",\"nodes\":[\"bad\"]");
	wait_event(0, id, NULL, "failed", reason);
	ck_assert_msg(*reason, "no reason");
	expect_how(id, "not-started");
	id = add_task("true", ",\"nodes\":[\"bad\"]"); /* it has failed already */
	wait_task(id, "failed");
}
END_TEST

/* ---- nodes ---------------------------------------------------------------------------------- */

/* `cat` in the bootstrap waits while the file `hold` is there: the node stays in "pushing". */
static void hold_pushing(void) {
	const char *cat =
		text_of("#!/bin/sh\n[ -e %s/hold ] && read x <%s/go\nexec /bin/cat \"$@\"\n",
			site.root, site.root);
	mkdir(text_of("%s/path", site.root), 0700);
	write_file(text_of("%s/path/cat", site.root), cat, strlen(cat), 0700);
	write_file(text_of("%s/hold", site.root), "", 0, 0600);
	ck_assert_int_eq(mkfifo(text_of("%s/go", site.root), 0600), 0);
	setenv("PATH", text_of("%s/path:%s", site.root, getenv("PATH")), 1);
}

START_TEST(killed_while_pushing) {
	hold_pushing();
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "pushing");
	manager_kill();
	unlink(text_of("%s/hold", site.root));
	/* Meanwhile the worker came there in another way. */
	write_file(text_of("%s/bin/%s", site.dir, site.sha), cube_buf_data(&site.image),
		   cube_buf_len(&site.image), 0700);
	manager_start();
	wait_node(seq, "n1", "ready");
	uint64_t id = add_task("true", "");
	wait_task(id, "completed");
}
END_TEST

START_TEST(down_while_pushing) {
	hold_pushing();
	manager_start();
	add_node("n1", 1);
	add_node("n1", 1); /* asked for twice: once */
	uint64_t seq = wait_node(0, "n1", "pushing");
	ck_assert_int_eq(http("DELETE", "/v1/nodes/n1?purge=1", NULL, NULL), 202);
	ck_assert_int_eq(http("DELETE", "/v1/nodes/n1?purge=1", NULL, NULL), 202);
	ck_assert_int_eq(add_node("n1", 1), 409);
	int fd = open(text_of("%s/go", site.root), O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	unlink(text_of("%s/hold", site.root));
	close(fd);
	seq = wait_node(seq, "n1", "gone");
	ck_assert_msg(!exists(site.dir), "something is left on the host");
	ck_assert_int_eq(http("GET", "/v1/nodes/n1", NULL, NULL), 404);
	ck_assert_int_eq(add_node("n1", 1), 202);
	wait_node(seq, "n1", "ready");
}
END_TEST

START_TEST(down_after_a_restart) {
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	uint64_t id = add_task("sleep 1000", "");
	wait_task(id, "running");
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	ck_assert_int_eq(http("DELETE", "/v1/nodes/n1?purge=1", NULL, NULL), 202);
	manager_kill();
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	manager_start();
	wait_node(seq, "n1", "gone");
	wait_task(id, "failed");
	ck_assert_msg(!exists(site.dir), "something is left on the host");
}
END_TEST

/* A daemon of another cube's build is used no longer than it has something to do. */
START_TEST(other_build_is_replaced) {
	char sha[CUBE_SHA256_HEX], mark[128] = "";
	uint8_t digest[CUBE_SHA256_LEN];
	json_t *o;
	int in[2], out[2]; /* of its own each: the daemon reads what it is given */
	manager_start();
	ck_assert_int_eq(http("GET", "/v1/info", NULL, &o), 200);
	const char *cluster = json_string_value(json_object_get(o, "cluster"));
	cube_buf_add(&site.image, "another", 7);
	cube_sha256_of(cube_buf_data(&site.image), cube_buf_len(&site.image), digest);
	cube_sha256_hex(digest, sha);
	mkdir(site.dir, 0700);
	mkdir(text_of("%s/bin", site.dir), 0700);
	const char *exe = text_of("%s/bin/%s", site.dir, sha);
	write_file(exe, cube_buf_data(&site.image), cube_buf_len(&site.image), 0700);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	if (fork() == 0) {
		dup2(out[1], 1);
		dup2(in[0], 0);
		execl(exe, exe, "attach", sha, "00112233445566aa", cluster, "1", (char *)NULL);
		_exit(99);
	}
	close(in[0]);
	close(out[1]);
	ck_assert_int_gt(read(out[0], mark, sizeof mark - 1), 0);
	ck_assert_str_eq(mark, "CUBE 00112233445566aa attach\n");
	add_node("n1", 1);
	wait_node(0, "n1", "ready");
	ck_assert_msg(!exists(exe), "the old worker is still there");
	uint64_t id = add_task("true", "");
	wait_task(id, "completed");
	close(in[1]);
	close(out[0]);
	json_decref(o);
}
END_TEST

static const char *const bad_nodes[] = {
	"{\"name\":\"a\",\"host\":\"-oProxyCommand=x\"}",
	"{\"name\":\"a\",\"host\":\"a b\"}",
	"{\"name\":\"a\",\"host\":\"a\\nb\"}",
	"{\"name\":\"a\",\"user\":\"-x\"}",
	"{\"name\":\"a\",\"user\":\"\"}",
	"{\"name\":\"\"}",
	"{\"name\":\"a/b\"}",
	"{\"name\":\"a,b\"}",
	"{\"name\":\"a b\"}",
	"{\"name\":\"a\",\"slots\":65537}",
};

START_TEST(bad_names) {
	manager_start();
	ck_assert_int_eq(
		http("POST", "/v1/nodes", text_of("{\"nodes\":[%s]}", bad_nodes[_i]), NULL), 400);
}
END_TEST

static void same_settings(void) {
	json_t *o, *want;
	ck_assert_int_eq(http("GET", "/v1/nodes/n2", NULL, &o), 200);
	want = json_pack("{s:s,s:s,s:s,s:b,s:s,s:i,s:s}", "user", "nobody", "jump", "u@[::1]:1,b",
			 "transport", "ssh", "become", 1, "host", "127.0.0.1", "port", 1, "labels",
			 "x=1");
	const char *key;
	json_t *v;
	json_object_foreach(want, key, v) {
		ck_assert_msg(json_equal(json_object_get(o, key), v), "%s", key);
	}
	json_decref(want);
	json_decref(o);
	ck_assert_int_eq(http("GET", "/v1/nodes/n3", NULL, &o), 200);
	ck_assert_str_eq(json_string_value(json_object_get(o, "transport")), "ssh");
	ck_assert_str_eq(json_string_value(json_object_get(o, "jump")), "general");
	json_decref(o);
}

/* What a node was asked for with outlives the manager. */
START_TEST(settings_are_kept) {
	manager_start();
	ck_assert_int_eq(
		http("POST", "/v1/nodes",
		     "{\"nodes\":[{\"name\":\"n2\",\"host\":\"127.0.0.1\",\"port\":1,"
		     "\"user\":\"nobody\",\"labels\":\"x=1\",\"jump\":\"u@[::1]:1,b\","
		     "\"transport\":\"ssh\"},{\"name\":\"n3\",\"host\":\"127.0.0.1\",\"port\":1}],"
		     "\"options\":[\"ConnectTimeout=1\"],\"jump\":\"general\",\"become\":true,"
		     "\"host_key_check\":\"strict\",\"ask\":false}",
		     NULL),
		202);
	same_settings();
	wait_node(0, "n2", "failed");
	manager_kill();
	manager_start();
	same_settings();
}
END_TEST

/* ---- workers that lie ----------------------------------------------------------------------- */

static void say_log(const struct cube_msg *start, uint64_t offset) {
	struct cube_msg m = {.type = CUBE_MSG_LOG,
			     .task = start->task,
			     .attempt = start->attempt,
			     .epoch = start->epoch};
	m.data.stream = CUBE_STDOUT;
	m.data.offset = offset;
	m.data.bytes = (struct cube_slice){(const uint8_t *)"abc", 3};
	say(&m);
}

static void say_exit(const struct cube_msg *start, uint64_t out_end) {
	struct cube_msg m = {.type = CUBE_MSG_EXIT,
			     .task = start->task,
			     .attempt = start->attempt,
			     .epoch = start->epoch};
	m.exit.out_end = out_end;
	m.exit.started = INT64_MIN + 1;
	m.exit.finished = INT64_MAX;
	m.exit.user_us = m.exit.sys_us = m.exit.max_rss = UINT64_MAX;
	say(&m);
}

static void say_metrics(unsigned n) {
	struct cube_msg m = {.type = CUBE_MSG_METRIC};
	memset(&m.metric, 0xfe, sizeof m.metric);
	while (n--) say(&m);
}

/* The attempt that was started over the first link dies with that daemon, and the next one's link
 * breaks before READY: nothing may be started again over the third. */
static void role_boot(char **argv, int turn) {
	struct cube_msg m = hello_of(argv, turn == 1 ? 1 : 2);
	say(&m);
	if (turn == 2) _exit(0);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_START, &m);
	if (turn == 1) _exit(0);
	write_file(text_of("%s.again", getenv("CUBE_TEST_COUNT")), "", 0, 0600);
	hear(CUBE_MSG_SHUTDOWN, &m);
}

/* Bytes that were acknowledged by a commit that a power cut took. */
static void role_hole(char **argv, int turn) {
	struct cube_msg m = hello_of(argv, 1), start = {.task = 1, .attempt = 1};
	say(&m);
	if (turn > 1) {
		m = (struct cube_msg){.type = CUBE_MSG_ATTEMPT, .task = 1, .attempt = 1};
		m.known.state = CUBE_ATTEMPT_FINISHED;
		m.known.out_begin = 1000;
		m.known.out_end = 1003;
		say(&m);
		say(&(struct cube_msg){.type = CUBE_MSG_READY});
		hear(CUBE_MSG_ACK, &m);
		say_log(&start, 1000);
		say_exit(&start, 1003);
		hear(CUBE_MSG_SHUTDOWN, &m);
	}
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_START, &m);
	_exit(0);
}

/* A HELLO that knows of epochs; the manager's goes to ret. */
static void hello_epochs(char **argv, uint64_t features, struct cube_msg *ret) {
	struct cube_msg m = hello_of(argv, 1);
	hear(CUBE_MSG_HELLO, ret);
	if (!ret->epoch || !(ret->hello.features & CUBE_FEATURE_EPOCH)) _exit(95);
	m.worker_hello.features = features;
	say(&m);
}

static void say_listed(uint64_t task, uint32_t attempt, uint64_t epoch, uint8_t state) {
	struct cube_msg m = {
		.type = CUBE_MSG_ATTEMPT, .task = task, .attempt = attempt, .epoch = epoch};
	m.known.state = state;
	m.known.out_end = 3;
	say(&m);
}

static bool is(const struct cube_msg *m, uint64_t task, uint32_t attempt, uint64_t epoch) {
	return m->task == task && m->attempt == attempt && m->epoch == epoch;
}

/* It runs attempts that the database lost: one of a task that waits, one of a task that is not
 * there. */
static void role_past(char **argv) {
	enum { PAST = 77 };
	struct cube_msg hello, m, old = {.task = 1, .attempt = 3, .epoch = PAST};
	hello_epochs(argv, CUBE_FEATURE_EPOCH, &hello);
	say_listed(1, 3, PAST, CUBE_ATTEMPT_RUNNING);
	say_listed(900, 1, PAST, CUBE_ATTEMPT_FINISHED);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_STOP, &m);
	if (!is(&m, 1, 3, PAST)) _exit(94);
	hear(CUBE_MSG_FORGET, &m);
	if (!is(&m, 900, 1, PAST)) _exit(93);
	hear(CUBE_MSG_START, &m);
	if (!is(&m, 1, 4, hello.epoch)) _exit(92);
	say_log(&old, 0); /* what it said before it was stopped: nobody's */
	say_exit(&old, 3);
	say_log(&m, 0);
	say_exit(&m, 3);
	hear(CUBE_MSG_FORGET, &m);
	if (!is(&m, 1, 3, PAST)) _exit(91);
	hear(CUBE_MSG_SHUTDOWN, &m);
}

/* It has forgotten what the database takes for not begun. (Without check's words: this is no test.)
 */
static void role_forgot(char **argv, int turn) {
	struct cube_msg hello, m;
	uint64_t before;
	int fd = open(text_of("%s.start", getenv("CUBE_TEST_COUNT")), O_RDWR | O_CREAT | O_CLOEXEC,
		      0600);
	hello_epochs(argv, CUBE_FEATURE_EPOCH, &hello);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_START, &m);
	if (!is(&m, 1, (uint32_t)turn, hello.epoch)) _exit(94);
	if (turn == 1) {
		if (write(fd, &m.epoch, sizeof m.epoch) < 0) _exit(93);
		hear(CUBE_MSG_SHUTDOWN, &m);
	}
	if (read(fd, &before, sizeof before) != sizeof before || before == m.epoch) _exit(92);
	say_log(&m, 0);
	say_exit(&m, 3);
	hear(CUBE_MSG_SHUTDOWN, &m);
}

/* It can more than this manager knows of. */
static void role_later(char **argv) {
	struct cube_msg m, hello = hello_of(argv, 1);
	struct cube_buf b;
	hear(CUBE_MSG_HELLO, &m);
	hello.worker_hello.features = UINT64_MAX;
	cube_buf_init(&b, 4096);
	if (cube_msg_encode(&b, &hello) || cube_buf_addstr(&b, "more than is known")) _exit(97);
	cube_poke_u32((uint8_t *)cube_buf_data(&b), (uint32_t)cube_buf_len(&b) - 4);
	if (write(1, cube_buf_data(&b), cube_buf_len(&b)) < 0) _exit(97);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_START, &m);
	say_log(&m, 0);
	say_exit(&m, 3);
	hear(CUBE_MSG_SHUTDOWN, &m);
}

/* Ends badly instead of going. */
static void role_stays(char **argv, int turn) {
	struct cube_msg m = hello_of(argv, 1);
	say(&m);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_SHUTDOWN, &m);
	_exit(7);
}

static void endless(void) {
	static char noise[65536];
	memset(noise, 'n', sizeof noise);
	while (write(1, noise, sizeof noise) > 0) {}
	_exit(0);
}

/* Each says what the manager must find to be wrong. */
static const struct lie {
	const char *name, *reason;
} lies[] = {
	{"noise", "more than 1 MiB"},
	{"nonsense", "makes no sense"},
	{"hello-twice", "HELLO twice"},
	{"ready-twice", "READY twice"},
	{"ready-first", "does not begin with HELLO"},
	{"identity", "another cluster or node"},
	{"version", "version 9"},
	{"gap", "output is missing between 0 and 5"},
	{"far", "no stream is that long"},
	{"length", "ended at 7/0 bytes"},
	{"giant", "protocol"},
	{"type", "protocol"},
	{"hello", "which is not its to send"},
};

static void lie(char **argv, const char *name, int turn) {
	struct cube_msg m = hello_of(argv, 1), start;
	static const uint8_t giant[] = {0xff, 0xff, 0xff, 0xff, 70}, type[] = {1, 0, 0, 0, 99};
	if (!strcmp(name, "ready-first")) say(&(struct cube_msg){.type = CUBE_MSG_READY});
	if (!strcmp(name, "identity")) m.worker_hello.cluster++;
	if (!strcmp(name, "version")) m.worker_hello.version = 9;
	m.worker_hello.cpus = UINT32_MAX;
	m.worker_hello.memory = UINT64_MAX;
	memcpy(m.worker_hello.hostname, "\x1b]0;\xff\n", 7);
	say(&m);
	if (!strcmp(name, "hello-twice")) say(&m);
	say_metrics(5000);
	if (!strcmp(name, "far") && turn > 1) {
		m = (struct cube_msg){.type = CUBE_MSG_ATTEMPT, .task = 1, .attempt = 1};
		m.known.state = CUBE_ATTEMPT_RUNNING;
		m.known.out_begin = m.known.out_end = UINT64_MAX;
		m.epoch = 0; /* as that of its START, as it said nothing of epochs */
		say(&m);
	}
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	hear(CUBE_MSG_START, &start);
	if (!strcmp(name, "ready-twice")) say(&(struct cube_msg){.type = CUBE_MSG_READY});
	if (!strcmp(name, "gap")) say_log(&start, 5);
	if (!strcmp(name, "length")) say_exit(&start, 7);
	if (!strcmp(name, "giant") && write(1, giant, sizeof giant) < 0) _exit(1);
	if (!strcmp(name, "type") && write(1, type, sizeof type) < 0) _exit(1);
	if (!strcmp(name, "hello")) say(&(struct cube_msg){.type = CUBE_MSG_PING});
	if (!strcmp(name, "far")) _exit(0);
	hear(CUBE_MSG_SHUTDOWN, &m);
}

static int attach_main(char **argv) {
	const char *role = getenv("CUBE_TEST_ROLE");
	int turn = count_up(getenv("CUBE_TEST_COUNT"));
	if (!strcmp(role, "noise")) endless();
	if (!strcmp(role, "silent")) return 3;
	printf("CUBE %s %s\n", argv[3], strcmp(role, "nonsense") ? "attach" : "marmalade");
	fflush(stdout);
	if (!strcmp(role, "boot")) role_boot(argv, turn);
	else if (!strcmp(role, "hole")) role_hole(argv, turn);
	else if (!strcmp(role, "stays")) role_stays(argv, turn);
	else if (!strcmp(role, "past")) role_past(argv);
	else if (!strcmp(role, "forgot")) role_forgot(argv, turn);
	else if (!strcmp(role, "later")) role_later(argv);
	else lie(argv, role, turn);
	return 0;
}

START_TEST(not_started_twice) {
	play("boot");
	manager_start();
	add_node("n1", 1);
	uint64_t id = add_task("true", "");
	wait_task(id, "failed");
	expect_how(id, "lost");
	ck_assert_msg(!exists(text_of("%s/count.again", site.root)), "it was started twice");
}
END_TEST

START_TEST(hole_in_the_log) {
	play("hole");
	manager_start();
	add_node("n1", 1);
	uint64_t id = add_task("true", "");
	wait_task(id, "completed");
	json_t *o = get_task(id);
	const char *reason = json_string_value(json_object_get(o, "reason"));
	ck_assert_msg(reason && strstr(reason, "bytes 0 to 1000 of its output were lost"), "%s",
		      json_dumps(o, 0));
	expect_output(id, "abc");
	json_decref(o);
}
END_TEST

/* What a lost future of the database started is stopped and forgotten, which an event tells; the
 * task that has the same number runs as another attempt, with its own output. */
START_TEST(a_past_that_is_not_ours) {
	char reason[256];
	play("past");
	manager_start();
	uint64_t seq = 0, id = add_task("true", "");
	add_node("n1", 1);
	wait_task(id, "completed");
	expect_output(id, "abc");
	json_t *o = get_task(id);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "attempt")), 4);
	json_decref(o);
	do seq = wait_event(seq, 0, "n1", "starting", reason);
	while (!*reason);
	ck_assert_str_eq(reason,
			 "2 attempts were found that this database never started (the first of "
			 "task 1) and stopped: the database was taken back to an earlier state, or "
			 "is in use twice");
	ck_assert_uint_gt(add_task("true", ""), 900); /* numbers go on above those it told */
}
END_TEST

/* A START whose task may have run in a future that was lost is not sent again: another one is. */
START_TEST(forgotten_by_the_worker) {
	play("forgot");
	manager_start();
	add_node("n1", 1);
	uint64_t id = add_task("true", "");
	struct stat st = {0};
	while (stat(text_of("%s/count.start", site.root), &st) < 0 || !st.st_size) poll(NULL, 0, 5);
	manager_kill();
	manager_start();
	wait_task(id, "completed");
	expect_output(id, "abc");
	json_t *o = get_task(id);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "attempt")), 2);
	json_decref(o);
}
END_TEST

START_TEST(a_worker_of_later) {
	play("later");
	manager_start();
	add_node("n1", 1);
	uint64_t id = add_task("true", "");
	wait_task(id, "completed");
	expect_output(id, "abc");
}
END_TEST

static int post_keyed(const char *key, const char *body, json_t **ret) {
	return http_raw(text_of("POST /v1/tasks HTTP/1.1\r\nHost: cube\r\nConnection: close\r\n"
				"Idempotency-Key: %s\r\nContent-Length: %zu\r\n\r\n%s",
				key, strlen(body), body),
			ret);
}

/* The same request again, also to the next manager: one job. */
START_TEST(a_request_made_twice) {
	json_t *a, *b;
	const char *body = "{\"argv\":[\"true\"],\"count\":3}", *other = "{\"argv\":[\"false\"]}";
	manager_start();
	ck_assert_int_eq(post_keyed("k1", body, &a), 201);
	ck_assert_int_eq(post_keyed("k1", body, &b), 200);
	ck_assert(json_equal(a, b));
	json_decref(b);
	manager_kill();
	manager_start();
	ck_assert_int_eq(post_keyed("k1", body, &b), 200);
	ck_assert(json_equal(a, b));
	ck_assert_int_eq(json_integer_value(json_object_get(b, "count")), 3);
	json_decref(a);
	json_decref(b);
	ck_assert_int_eq(post_keyed("k1", other, NULL), 409);
	ck_assert_int_eq(post_keyed("k 1", body, NULL), 400);
	ck_assert_int_eq(post_keyed("k2", other, NULL), 201);
	ck_assert_int_eq(post_keyed("", other, NULL), 400);
	ck_assert_int_eq(http("GET", "/v1/tasks", NULL, &a), 200);
	ck_assert_uint_eq(json_array_size(json_object_get(a, "tasks")), 4);
	json_decref(a);
}
END_TEST

START_TEST(worker_that_stays) {
	char reason[256];
	play("stays");
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	http("DELETE", "/v1/nodes/n1?purge=1", NULL, NULL);
	wait_event(seq, 0, "n1", "failed", reason);
	ck_assert_str_eq(reason, "the worker's channel ended (status 7)");
}
END_TEST

/* What lies in the worker's place and does not run is replaced. */
START_TEST(damaged_worker) {
	play("silent");
	manager_start();
	add_node("n1", 1);
	wait_node(0, "n1", "ready");
	wait_task(add_task("true", ""), "completed");
}
END_TEST

START_TEST(lying_worker) {
	const struct lie *l = &lies[_i];
	json_t *o = NULL;
	const char *reason = NULL, *state = "";
	play(l->name);
	manager_start();
	add_node("n1", 0);
	add_task("true", ",\"count\":1000");
	do {
		json_decref(o);
		ck_assert_int_eq(http("GET", "/v1/nodes/n1", NULL, &o), 200);
		reason = json_string_value(json_object_get(o, "reason"));
		state = json_string_value(json_object_get(o, "state"));
	} while ((strcmp(state, "lost") && strcmp(state, "failed")) || !reason ||
		 !strstr(reason, l->reason));
	json_t *facts = json_object_get(o, "facts");
	if (json_is_object(facts)) {
		ck_assert_str_eq(json_string_value(json_object_get(facts, "hostname")), "?]0;??");
		ck_assert_int_le(json_integer_value(json_object_get(facts, "cpus")), 65536);
	}
	json_decref(o);
	manager_kill(); /* and what was kept of it can be read again */
	manager_start();
	ck_assert_int_eq(http("GET", "/v1/nodes/n1", NULL, NULL), 200);
}
END_TEST

int main(int argc, char **argv) {
	if (argc == 7 && strcmp(argv[1], "attach") == 0) return attach_main(argv);
	Suite *s = suite_create("manager");
	TCase *t = tcase_create("manager");
	tcase_set_timeout(t, 40);
	tcase_add_checked_fixture(t, site_open, site_close);
	tcase_add_test(t, kills_during_output);
	tcase_add_test(t, stdin_before_the_start);
	tcase_add_test(t, stdin_and_stop_behind_a_file);
	tcase_add_test(t, waits_for_all_its_files);
	tcase_add_test(t, push_over_reconnect);
	tcase_add_test(t, stop_is_kept);
	tcase_add_test(t, daemon_dies);
	tcase_add_test(t, job_of_a_node_that_fails);
	tcase_add_test(t, killed_while_pushing);
	tcase_add_test(t, down_while_pushing);
	tcase_add_test(t, down_after_a_restart);
	tcase_add_test(t, other_build_is_replaced);
	tcase_add_loop_test(t, bad_names, 0, sizeof bad_nodes / sizeof bad_nodes[0]);
	tcase_add_test(t, settings_are_kept);
	tcase_add_test(t, not_started_twice);
	tcase_add_test(t, hole_in_the_log);
	tcase_add_test(t, worker_that_stays);
	tcase_add_test(t, damaged_worker);
	tcase_add_loop_test(t, lying_worker, 0, sizeof lies / sizeof lies[0]);
	suite_add_tcase(s, t);
	t = tcase_create("identity");
	tcase_set_timeout(t, 40);
	tcase_add_checked_fixture(t, site_open, site_close);
	tcase_add_test(t, a_past_that_is_not_ours);
	tcase_add_test(t, forgotten_by_the_worker);
	tcase_add_test(t, a_worker_of_later);
	tcase_add_test(t, a_request_made_twice);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
