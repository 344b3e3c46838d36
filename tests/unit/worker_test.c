/* Attempts on a real worker: output, ends, stdin, stopping, and what a lost link costs. */
#include <sys/resource.h>

#include "worker_link.h"

static struct host host;
static struct link worker;
static struct seen seen;

static void setup(void) {
	char name[32];

	snprintf(name, sizeof name, "host.%d", (int)getpid());
	host_make(&host, name);
	link_open(&worker, &host, 4);
	seen_init(&seen);
}

static void teardown(void) {
	link_shutdown(&worker, true);
	seen_done(&seen);
	ck_assert(!exists(host.base));
}

static void reopen(unsigned want_known, struct cube_msg *known) {
	link_close(&worker);
	link_open_raw(&worker, &host);
	ck_assert_uint_eq(link_hello(&worker, 4, known, want_known), want_known);
}

/* ---- output and ends ---------------------------------------------------------------------- */

START_TEST(output_exact) {
	struct cube_buf want;

	link_sh(&worker, 1,
		"i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done;"
		"printf 'err\\0or' >&2");
	link_watch(&worker, &seen, true);
	cube_buf_init(&want, 256);
	for (int i = 0; i < 256; i++) cube_buf_add(&want, &(uint8_t){(uint8_t)i}, 1);
	ck_assert(seen.started);
	ck_assert_uint_eq(cube_buf_len(&seen.out[1]), 256);
	ck_assert_mem_eq(cube_buf_data(&seen.out[1]), cube_buf_data(&want), 256);
	ck_assert_uint_eq(cube_buf_len(&seen.out[2]), 6);
	ck_assert_mem_eq(cube_buf_data(&seen.out[2]), "err\0or", 6);
	ck_assert_int_ge(seen.exit.exit.finished, seen.exit.exit.started);
	ck_assert_uint_gt(seen.exit.exit.max_rss, 1000);
	cube_buf_done(&want);
}
END_TEST

static const struct {
	const char *program, *arg, *dir;
	uint8_t how;
	int32_t value;
} ENDS[] = {
	{"/bin/true", NULL, "/", CUBE_EXIT_EXITED, 0},
	{"/bin/sh", "exit 41", "/", CUBE_EXIT_EXITED, 41},
	{"/bin/sh", "exit 127", "/", CUBE_EXIT_EXITED, 127},
	{"/bin/sh", "kill -9 $$", "/", CUBE_EXIT_SIGNALED, SIGKILL},
	{"/bin/sh", "kill -15 $$", "/", CUBE_EXIT_SIGNALED, SIGTERM},
	{"true", NULL, "", CUBE_EXIT_EXITED, 0},
	{"/no/such/program", NULL, "/", CUBE_EXIT_NOT_STARTED, ENOENT},
	{"no-such-program-anywhere", NULL, "/", CUBE_EXIT_NOT_STARTED, ENOENT},
	{"/etc/passwd", NULL, "/", CUBE_EXIT_NOT_STARTED, EACCES},
	{"/bin/true", NULL, "/no/such/folder", CUBE_EXIT_NOT_STARTED, ENOENT},
	{"/bin/true", NULL, "/etc/passwd", CUBE_EXIT_NOT_STARTED, ENOTDIR},
};

START_TEST(ends) {
	const char *argv[] = {ENDS[_i].program, ENDS[_i].arg ? "-c" : NULL, ENDS[_i].arg, NULL};
	struct cube_msg_start s = start_of(1, argv);

	s.dir = ENDS[_i].dir;
	link_start_with(&worker, &s);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, ENDS[_i].how);
	ck_assert_int_eq(seen.exit.exit.value, ENDS[_i].value);
	ck_assert_int_eq(seen.started, ENDS[_i].how != CUBE_EXIT_NOT_STARTED);
	ck_assert_int_eq(seen.exit.exit.message[0] != '\0', !seen.started);
}
END_TEST

START_TEST(environment) {
	const char *argv[] = {"/usr/bin/env", NULL};
	const char *env[] = {"A=1", "HOME=/changed", "A=2", "CUBE_COOKIE=forged", NULL};
	struct cube_msg_start s = start_of(12, argv);
	const char *text;

	s.env = env;
	s.attempt = 3;
	link_start_with(&worker, &s);
	link_watch(&worker, &seen, false);
	ck_assert_int_eq(cube_buf_add(&seen.out[1], "", 1), 0);
	text = (const char *)cube_buf_data(&seen.out[1]);
	ck_assert_ptr_nonnull(strstr(text, "A=2\n"));
	ck_assert_ptr_null(strstr(text, "A=1\n"));
	ck_assert_ptr_nonnull(strstr(text, "HOME=/changed\n"));
	ck_assert_ptr_nonnull(strstr(text, "PATH="));
	ck_assert_ptr_nonnull(strstr(text, "CUBE_TASK_ID=12\n"));
	ck_assert_ptr_nonnull(strstr(text, "CUBE_ATTEMPT=3\n"));
	ck_assert_ptr_nonnull(strstr(text, "CUBE_HOST=web1\n"));
	ck_assert_ptr_null(strstr(text, "CUBE_SCRATCH"));
	ck_assert_ptr_null(strstr(text, "forged"));
}
END_TEST

/* The main process leaves, a child keeps the pipe: its end comes after 2 s, with all output. */
START_TEST(grandchild_holds_pipe) {
	link_sh(&worker, 1, "echo first; sleep 1000 & echo pid $!");
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_EXITED);
	ck_assert_ptr_nonnull(strstr(cube_buf_str(&seen.out[1]), "first\npid "));
	/* after a normal end what it left behind goes on */
	ck_assert(alive((pid_t)strtol(cube_buf_str(&seen.out[1]) + 10, NULL, 10)));
}
END_TEST

/* ---- stopping ----------------------------------------------------------------------------- */

/* Prints the pid of a process that left group and session, is nobody's child and minds no TERM. */
#define STUBBORN "trap '' TERM; setsid sh -c 'sh -c \"echo pid \\$\\$; sleep 1000; sleep 1000\" &'"

static pid_t wait_pid(void) {
	return (pid_t)strtol(strstr(link_wait_text(&worker, &seen, "\n"), "pid ") + 4, NULL, 10);
}

START_TEST(timeout_ends) {
	const char *argv[] = {"/bin/sh", "-c",
			      _i ? "trap '' TERM; sleep 1000; sleep 1000" : "sleep 1000", NULL};
	struct cube_msg_start s = start_of(1, argv);

	s.timeout_ms = 60;
	s.grace_ms = _i ? 60 : 10000;
	link_start_with(&worker, &s);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_TIMEOUT);
	ck_assert_int_eq(seen.exit.exit.value, _i ? SIGKILL : SIGTERM);
}
END_TEST

START_TEST(stop_kills_grandchild) {
	pid_t orphan;

	link_sh(&worker, 1, STUBBORN "; sleep 1000");
	orphan = wait_pid();
	ck_assert(alive(orphan));
	link_stop(&worker, 1, 100);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_STOPPED);
	ck_assert(!alive(orphan));
}
END_TEST

/* No cookie and a group of its own (timeout makes one), but the session tells. */
START_TEST(stop_finds_cleared_environment) {
	pid_t orphan;

	link_sh(&worker, 1,
		"env -i timeout 1000 sh -c 'echo pid $$; sleep 1000; sleep 1000' & sleep 1000");
	orphan = wait_pid();
	ck_assert(alive(orphan));
	link_stop(&worker, 1, 100);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_STOPPED);
	ck_assert(!alive(orphan));
}
END_TEST

/* Many at once, which TERM does not impress. */
START_TEST(stop_many) {
	enum { MANY = 40 };
	struct cube_msg m;
	unsigned started = 0;
	pid_t pids[MANY];

	link_close(&worker);
	link_open_raw(&worker, &host);
	link_hello(&worker, MANY, NULL, 0);
	for (uint64_t i = 1; i <= MANY; i++)
		link_sh(&worker, i, "trap '' TERM; echo; setsid sleep 1000; sleep 1000");
	for (unsigned lines = 0; lines < MANY;) {
		ck_assert(link_next(&worker, &m));
		if (m.type == CUBE_MSG_STARTED) pids[started++] = (pid_t)m.started.pid;
		else lines++;
	}
	ck_assert_uint_eq(started, MANY);
	for (uint64_t i = 1; i <= MANY; i++) link_stop(&worker, i, 50);
	for (unsigned i = 0; i < MANY; i++) {
		link_expect(&worker, CUBE_MSG_EXIT, &m);
		ck_assert_int_eq(m.exit.how, CUBE_EXIT_STOPPED);
		ck_assert_int_eq(m.exit.value, SIGKILL);
	}
	for (unsigned i = 0; i < MANY; i++) ck_assert(!alive(pids[i]));
}
END_TEST

/* A long grace is cut short by a second STOP, and not waited for when all left on the TERM. */
START_TEST(stop_grace) {
	link_sh(&worker, 1,
		_i ? "trap '' TERM; echo up; while :; do sleep 1000; done"
		   : "trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done");
	link_wait_text(&worker, &seen, "up\n");
	link_stop(&worker, 1, 100000);
	if (_i) link_stop(&worker, 1, 0);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_STOPPED);
	ck_assert_int_eq(seen.exit.exit.value, _i ? SIGKILL : 0);
}
END_TEST

START_TEST(signal_reaches_group) {
	struct cube_msg m = {.type = CUBE_MSG_SIGNAL, .task = 1, .attempt = 1};

	link_sh(&worker, 1, "trap 'echo usr1; exit 9' USR1; echo up; while :; do sleep 0.01; done");
	link_wait_text(&worker, &seen, "up\n");
	m.signal.signo = SIGUSR1;
	link_send(&worker, &m);
	link_watch(&worker, &seen, true);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), "up\nusr1\n");
	ck_assert_int_eq(seen.exit.exit.value, 9);
	m.task = 99;
	link_send(&worker, &m); /* unknown: ignored */
}
END_TEST

/* ---- stdin -------------------------------------------------------------------------------- */

static struct cube_msg_start start_stdin(const char *const *argv) {
	struct cube_msg_start s = start_of(1, argv);

	s.flags = CUBE_START_STDIN;
	return s;
}

/* Sends up to 256 KiB ahead of what the worker has taken, takes what comes, up to EXIT. */
static void feed(const uint8_t *bytes, size_t n) {
	size_t sent = 0, acked = 0;
	bool eof = false;
	struct cube_msg m;

	while (!seen.exited) {
		while (!eof && sent - acked < 262144) {
			struct cube_msg in = {.type = CUBE_MSG_STDIN, .task = 1, .attempt = 1};
			size_t k = 262144 - (sent - acked);

			if (k > n - sent) k = n - sent;
			if (k > 70001) k = 70001;
			in.data.offset = sent;
			in.data.bytes = (struct cube_slice){bytes + sent, k};
			in.data.eof = eof = sent + k == n;
			link_send(&worker, &in);
			sent += k;
		}
		ck_assert(link_next(&worker, &m));
		seen_take(&seen, &m);
		if (m.type == CUBE_MSG_STDIN_ACK) acked = m.ack.offset;
		if (m.type == CUBE_MSG_LOG)
			link_ack(&worker, 1, m.data.stream, m.data.offset + m.data.bytes.n);
	}
}

START_TEST(stdin_echo) {
	const char *argv[] = {"/bin/cat", NULL};
	struct cube_msg_start s = start_stdin(argv);
	size_t n = 5000003;
	uint8_t *bytes = malloc(n);

	for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 7 + i / 251);
	link_start_with(&worker, &s);
	feed(bytes, n);
	ck_assert_uint_eq(cube_buf_len(&seen.out[1]), n);
	ck_assert_mem_eq(cube_buf_data(&seen.out[1]), bytes, n);
	free(bytes);
}
END_TEST

/* A task that closes its input takes everything silently. */
START_TEST(stdin_not_read) {
	const char *argv[] = {"/bin/sh", "-c", "exec <&-; echo closed; read x; exit 4", NULL};
	struct cube_msg_start s = start_stdin(argv);
	uint8_t *bytes = calloc(1, 2000000);

	link_start_with(&worker, &s);
	feed(bytes, _i ? 0 : 2000000);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_EXITED);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), "closed\n");
	free(bytes);
}
END_TEST

/* ---- much output, late ACKs, lost links --------------------------------------------------- */

enum { PATTERN = 20000000 };

/* 20 MB whose every place is known: lines of a counter. */
static void start_pattern(void) {
	link_sh(&worker, 1, "seq -f %019.0f 0 999999");
}

static void check_pattern(const struct cube_buf *b) {
	char line[32];

	ck_assert_uint_eq(cube_buf_len(b), PATTERN);
	for (unsigned i = 0; i < 1000000; i += 997) {
		snprintf(line, sizeof line, "%019u\n", i);
		ck_assert_mem_eq(cube_buf_data(b) + 20 * i, line, 20);
	}
}

START_TEST(late_acks) {
	uint64_t acked = 0, most = 0;
	struct cube_msg m;

	start_pattern();
	while (!seen.exited) {
		ck_assert(link_next(&worker, &m));
		seen_take(&seen, &m);
		if (m.type != CUBE_MSG_LOG) continue;
		uint64_t got = cube_buf_len(&seen.out[1]);
		if (got - acked > most) most = got - acked;
		/* only when the window is used up, and then half of it */
		if (got - acked == 8u << 20) link_ack(&worker, 1, 1, acked += 4u << 20);
	}
	ck_assert_uint_eq(most, 8u << 20);
	check_pattern(&seen.out[1]);
}
END_TEST

/* Cut again and again; what was not acknowledged comes again, nothing twice, nothing missing. */
START_TEST(reconnect_resumes) {
	struct cube_msg m, known;
	uint64_t acked = 0;

	start_pattern();
	for (int cuts = 0; !seen.exited;) {
		uint64_t stop = acked + 2500000;

		while (!seen.exited && (cuts == 6 || cube_buf_len(&seen.out[1]) < stop)) {
			ck_assert(link_next(&worker, &m));
			seen_take(&seen, &m);
			if (m.type != CUBE_MSG_LOG) continue;
			if (cuts == 6 || cube_buf_len(&seen.out[1]) < stop - 500000)
				link_ack(&worker, 1, 1, acked = cube_buf_len(&seen.out[1]));
		}
		if (seen.exited) break;
		cuts++;
		reopen(1, &known);
		ck_assert_uint_le(known.known.out_begin, acked);
		ck_assert_uint_ge(known.known.out_end, cube_buf_len(&seen.out[1]));
		acked = cube_buf_len(&seen.out[1]) - 100000; /* more than the worker heard of */
		cube_buf_truncate(&seen.out[1], acked);
		link_ack(&worker, 1, 1, acked);
		link_ack(&worker, 1, 2, 0);
	}
	check_pattern(&seen.out[1]);
}
END_TEST

/* What ended while nobody was there is told afterwards; FORGET ends it. */
START_TEST(finished_while_away) {
	struct cube_msg m, known;

	link_sh(&worker, 1, "echo up; sleep 0.2; echo bye; exit 6");
	link_wait_text(&worker, &seen, "up\n");
	link_ack(&worker, 1, 1, 3);
	reopen(1, &known);
	ck_assert_uint_eq(known.known.out_begin, 3);
	link_ack(&worker, 1, 1, 3);
	link_ack(&worker, 1, 2, 0);
	link_watch(&worker, &seen, false);
	ck_assert_int_eq(seen.exit.exit.value, 6);
	reopen(1, &known); /* not forgotten */
	ck_assert_int_eq(known.known.state, CUBE_ATTEMPT_FINISHED);
	ck_assert_uint_eq(known.known.out_end, 7);
	link_ack(&worker, 1, 1, 7);
	link_expect(&worker, CUBE_MSG_EXIT, &m);
	ck_assert_int_eq(m.exit.value, 6);
	link_forget(&worker, 1);
	reopen(0, NULL);
}
END_TEST

/* A manager that does not know a finished attempt only sends STOP, and gets its EXIT. */
START_TEST(unknown_to_the_manager) {
	struct cube_msg known;

	link_sh(&worker, 1, "echo text");
	link_watch(&worker, &seen, false);
	reopen(1, &known);
	seen_done(&seen);
	seen_init(&seen);
	link_stop(&worker, 1, 0);
	link_watch(&worker, &seen, false);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), "text\n");
}
END_TEST

START_TEST(newer_link_replaces) {
	struct cube_msg m, known;
	struct link newer;

	link_sh(&worker, 1, "echo up; exec sleep 1000");
	link_wait_text(&worker, &seen, "up\n");
	link_open_raw(&newer, &host);
	ck_assert_uint_eq(link_hello(&newer, 4, &known, 1), 1);
	link_expect(&worker, CUBE_MSG_ERROR, &m);
	ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_REPLACED);
	ck_assert(!link_next(&worker, &m));
	link_close(&worker);
	worker = newer;
}
END_TEST

/* ---- START again, slots ------------------------------------------------------------------- */

START_TEST(start_again_is_harmless) {
	struct cube_msg m;
	uint32_t pid;

	link_sh(&worker, 1, "echo up");
	link_watch(&worker, &seen, false);
	link_sh(&worker, 2, "sleep 1000");
	link_expect(&worker, CUBE_MSG_STARTED, &m);
	pid = m.started.pid;
	link_sh(&worker, 2, "echo another");
	link_expect(&worker, CUBE_MSG_STARTED, &m);
	ck_assert_uint_eq(m.started.pid, pid);
	link_sh(&worker, 1, "echo another");
	link_expect(&worker, CUBE_MSG_EXIT, &m);
	ck_assert_uint_eq(m.task, 1);
}
END_TEST

/* Of the attempt's first epoch, as of any: the link's frames keep two lives of a database apart. */
enum { FIRST_LIFE = 11, SECOND_LIFE = 22 };

static void hello_under(uint64_t epoch, uint64_t features, struct cube_msg *known, unsigned want) {
	struct cube_msg m = hello_msg(&host, 4);
	unsigned n = 0;

	m.epoch = epoch;
	m.hello.features = features;
	link_send(&worker, &m);
	link_expect(&worker, CUBE_MSG_WORKER_HELLO, &m);
	ck_assert_uint_eq(m.worker_hello.features, CUBE_FEATURES);
	while (link_next(&worker, &m) && m.type == CUBE_MSG_ATTEMPT)
		if (n < want) known[n++] = m;
	ck_assert_int_eq(m.type, CUBE_MSG_READY);
	ck_assert_uint_eq(n, want);
}

static void start_under(uint64_t epoch, const char *script) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	struct cube_msg_start s = start_of(1, argv);

	s.epoch = epoch;
	link_start_with(&worker, &s);
}

static void next_life(uint64_t epoch, struct cube_msg *known, unsigned want) {
	link_close(&worker);
	link_open_raw(&worker, &host);
	hello_under(epoch, CUBE_FEATURES, known, want);
}

static void expect_of(enum cube_msg_type type, uint64_t epoch, struct cube_msg *m) {
	link_expect(&worker, type, m);
	ck_assert_uint_eq(m->task, 1);
	ck_assert_uint_eq(m->attempt, 1);
	ck_assert_uint_eq(m->epoch, epoch);
}

/* A database that was taken back gives a number again: both run, neither takes what is the other's.
 */
START_TEST(epochs_are_kept_apart) {
	struct cube_msg m, known, stop = {.type = CUBE_MSG_STOP, .task = 1, .attempt = 1};

	next_life(FIRST_LIFE, NULL, 0);
	start_under(FIRST_LIFE, "echo first; exec sleep 1000");
	expect_of(CUBE_MSG_STARTED, FIRST_LIFE, &m);
	expect_of(CUBE_MSG_LOG, FIRST_LIFE, &m);
	next_life(SECOND_LIFE, &known, 1);
	ck_assert_uint_eq(known.epoch, FIRST_LIFE);
	expect_of(CUBE_MSG_STARTED, FIRST_LIFE, &m); /* its output is held back until an ACK */
	start_under(SECOND_LIFE, "echo second");
	expect_of(CUBE_MSG_STARTED, SECOND_LIFE, &m);
	expect_of(CUBE_MSG_LOG, SECOND_LIFE, &m);
	ck_assert_uint_eq(m.data.offset, 0);
	ck_assert(m.data.bytes.n == 7 && memcmp(m.data.bytes.p, "second\n", 7) == 0);
	expect_of(CUBE_MSG_EXIT, SECOND_LIFE, &m);
	ck_assert_int_eq(m.exit.how, CUBE_EXIT_EXITED);
	stop.epoch = FIRST_LIFE;
	link_send(&worker, &stop);
	expect_of(CUBE_MSG_LOG, FIRST_LIFE, &m);
	expect_of(CUBE_MSG_EXIT, FIRST_LIFE, &m);
	ck_assert_int_eq(m.exit.how, CUBE_EXIT_STOPPED);
	m = (struct cube_msg){.type = CUBE_MSG_FORGET, .task = 1, .attempt = 1};
	m.epoch = FIRST_LIFE;
	link_send(&worker, &m);
	next_life(SECOND_LIFE, &known, 1);
	ck_assert_uint_eq(known.epoch, SECOND_LIFE);
	ck_assert_int_eq(known.known.state, CUBE_ATTEMPT_FINISHED);
}
END_TEST

/* An attempt of an earlier life is answered for, and not begun where it is not known. */
START_TEST(earlier_epochs_begin_nothing) {
	struct cube_msg m, known;

	next_life(FIRST_LIFE, NULL, 0);
	start_under(FIRST_LIFE, "exec sleep 1000");
	expect_of(CUBE_MSG_STARTED, FIRST_LIFE, &m);
	next_life(SECOND_LIFE, &known, 1);
	expect_of(CUBE_MSG_STARTED, FIRST_LIFE, &m);
	start_under(FIRST_LIFE, "exec sleep 1000");
	expect_of(CUBE_MSG_STARTED, FIRST_LIFE, &m);
	start_under(FIRST_LIFE + 1, "echo never");
	link_expect(&worker, CUBE_MSG_ERROR, &m);
	ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_MALFORMED);
	ck_assert_msg(strstr(m.error.message, "another epoch") != NULL, "%s", m.error.message);
	next_life(SECOND_LIFE, &known, 1); /* and what runs goes on */
	ck_assert_uint_eq(known.epoch, FIRST_LIFE);
}
END_TEST

/* A manager of before, of later, and of a later version of the protocol: the first two are served,
 * the last is told; what runs goes on. */
START_TEST(managers_of_other_times) {
	struct cube_msg m, known;
	struct cube_buf b;
	static const uint8_t appended[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

	link_sh(&worker, 1, "exec sleep 1000"); /* by a HELLO without features, and no epoch */
	expect_of(CUBE_MSG_STARTED, 0, &m);
	link_close(&worker);
	link_open_raw(&worker, &host);
	m = hello_msg(&host, 4);
	m.hello.version = CUBE_PROTO_VERSION + 1;
	m.hello.features = UINT64_MAX;
	m.epoch = SECOND_LIFE;
	cube_buf_init(&b, 4096);
	ck_assert_int_eq(cube_msg_encode(&b, &m), 0);
	cube_buf_add(&b, appended, sizeof appended);
	cube_poke_u32((uint8_t *)cube_buf_data(&b), (uint32_t)cube_buf_len(&b) - 4);
	cube_buf_add(&worker.out, cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
	link_flush(&worker);
	link_expect(&worker, CUBE_MSG_ERROR, &m);
	ck_assert_int_eq(m.error.code, CUBE_PROTO_ERR_VERSION);
	ck_assert_str_eq(m.error.message, "protocol 2, this worker speaks 1");
	ck_assert(!link_next(&worker, &m));
	link_close(&worker);
	link_open_raw(&worker, &host);
	hello_under(SECOND_LIFE, UINT64_MAX, &known, 1);
	ck_assert_uint_eq(known.epoch, 0);
	expect_of(CUBE_MSG_STARTED, 0, &m);
	link_stop(&worker, 1, 0);
	expect_of(CUBE_MSG_EXIT, 0, &m);
	link_forget(&worker, 1);
	start_under(SECOND_LIFE, "exit 3");
	expect_of(CUBE_MSG_STARTED, SECOND_LIFE, &m);
	expect_of(CUBE_MSG_EXIT, SECOND_LIFE, &m);
	ck_assert_int_eq(m.exit.value, 3);
}
END_TEST

START_TEST(slots_and_queue) {
	struct cube_msg m;

	link_close(&worker);
	link_open_raw(&worker, &host);
	link_hello(&worker, 2, NULL, 0);
	for (uint64_t i = 1; i <= 5; i++) link_sh(&worker, i, "exec sleep 1000");
	for (uint64_t i = 1; i <= 2; i++) {
		link_expect(&worker, CUBE_MSG_STARTED, &m);
		ck_assert_uint_eq(m.task, i);
	}
	link_stop(&worker, 4, 1000); /* waits in the queue: ends at once, starts never */
	link_expect(&worker, CUBE_MSG_EXIT, &m);
	ck_assert_uint_eq(m.task, 4);
	ck_assert_int_eq(m.exit.how, CUBE_EXIT_STOPPED);
	ck_assert_int_eq(m.exit.value, 0);
	link_stop(&worker, 2, 1000);
	for (int got = 0; got < 2; got++) {
		ck_assert(link_next(&worker, &m));
		if (m.type == CUBE_MSG_EXIT) ck_assert_uint_eq(m.task, 2);
		else ck_assert_uint_eq(m.task, 3);
	}
	link_stop(&worker, 1, 1000);
	for (int got = 0; got < 2; got++) {
		ck_assert(link_next(&worker, &m));
		ck_assert_uint_eq(m.task, m.type == CUBE_MSG_EXIT ? 1 : 5);
	}
}
END_TEST

/* More slots than the host has descriptors for: tasks wait for one another, and none fails. */
START_TEST(descriptors_run_out) {
	enum { MANY = 30 };
	struct rlimit few = {.rlim_cur = 36, .rlim_max = 36};
	struct cube_msg m;

	link_close(&worker);
	link_open_raw(&worker, &host);
	link_hello(&worker, MANY, NULL, 0);
	ck_assert_int_eq(prlimit(worker.daemon, RLIMIT_NOFILE, &few, NULL), 0);
	for (uint64_t i = 1; i <= MANY; i++) link_sh(&worker, i, "sleep 0.05");
	for (unsigned exits = 0; exits < MANY;) {
		ck_assert(link_next(&worker, &m));
		if (m.type != CUBE_MSG_EXIT) continue;
		ck_assert_msg(m.exit.how == CUBE_EXIT_EXITED, "%s", m.exit.message);
		exits++;
	}
}
END_TEST

/* The worker raises its own limit, tasks have the one of the login. */
START_TEST(descriptor_limit_of_tasks) {
	struct rlimit own, workers;
	char want[32];

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &own), 0);
	own.rlim_cur = own.rlim_max < 100 ? own.rlim_max : 100;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &own), 0);
	link_shutdown(&worker, false);
	link_open(&worker, &host, 4);
	ck_assert_int_eq(prlimit(worker.daemon, RLIMIT_NOFILE, NULL, &workers), 0);
	ck_assert(workers.rlim_cur > own.rlim_cur || own.rlim_max == own.rlim_cur);
	link_sh(&worker, 1, "ulimit -n");
	link_watch(&worker, &seen, true);
	snprintf(want, sizeof want, "%llu\n", (unsigned long long)own.rlim_cur);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), want);
}
END_TEST

START_TEST(many_small) {
	enum { MANY = 400 };
	const char *argv[] = {"/bin/true", NULL};
	bool ended[MANY + 1] = {false};
	struct cube_msg m;

	for (uint64_t i = 1; i <= MANY; i++) {
		struct cube_msg_start s = start_of(i, argv);

		ck_assert_int_eq(cube_msg_encode_start(&worker.out, &s), 0);
	}
	link_flush(&worker);
	for (unsigned n = 0, started = 0; n < MANY;) {
		ck_assert(link_next(&worker, &m));
		if (m.type == CUBE_MSG_STARTED) {
			ck_assert_uint_eq(m.task, ++started); /* in the order of arrival */
			continue;
		}
		ck_assert_int_eq(m.type, CUBE_MSG_EXIT);
		ck_assert_int_eq(m.exit.how, CUBE_EXIT_EXITED);
		ck_assert(!ended[m.task]);
		ended[m.task] = true;
		ck_assert_uint_ge(started, ++n); /* STARTED comes before EXIT */
		link_forget(&worker, m.task);
	}
	reopen(0, NULL);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("worker");
	TCase *tc = tcase_create("worker");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, output_exact);
	tcase_add_loop_test(tc, ends, 0, sizeof ENDS / sizeof *ENDS);
	tcase_add_test(tc, environment);
	tcase_add_test(tc, grandchild_holds_pipe);
	tcase_add_loop_test(tc, timeout_ends, 0, 2);
	tcase_add_test(tc, stop_kills_grandchild);
	tcase_add_test(tc, stop_finds_cleared_environment);
	tcase_add_test(tc, stop_many);
	tcase_add_loop_test(tc, stop_grace, 0, 2);
	tcase_add_test(tc, signal_reaches_group);
	tcase_add_test(tc, stdin_echo);
	tcase_add_loop_test(tc, stdin_not_read, 0, 2);
	tcase_add_test(tc, late_acks);
	tcase_add_test(tc, reconnect_resumes);
	tcase_add_test(tc, finished_while_away);
	tcase_add_test(tc, unknown_to_the_manager);
	tcase_add_test(tc, newer_link_replaces);
	tcase_add_test(tc, start_again_is_harmless);
	tcase_add_test(tc, epochs_are_kept_apart);
	tcase_add_test(tc, earlier_epochs_begin_nothing);
	tcase_add_test(tc, managers_of_other_times);
	tcase_add_test(tc, slots_and_queue);
	tcase_add_test(tc, descriptors_run_out);
	tcase_add_test(tc, descriptor_limit_of_tasks);
	tcase_add_test(tc, many_small);
	suite_add_tcase(suite, tc);
	return worker_test_main(suite);
}
