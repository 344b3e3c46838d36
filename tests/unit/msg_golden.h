/* Each message exists here twice, on purpose: as struct cube_msg (sample) and as bytes written
 * field by field in the order of PROTOCOL.md (golden). The code under test never makes these. */
#ifndef CUBE_TEST_MSG_GOLDEN_H
#define CUBE_TEST_MSG_GOLDEN_H

#include <stdio.h>
#include <string.h>

#include "cube/msg.h"

static const int types[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
			    17, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78};
#define NTYPES ((int)(sizeof types / sizeof *types))

static uint8_t hash[32];
#define EPOCH 0x7172737475767778u

/* ---- golden frames ------------------------------------------------------------------------ */

struct golden {
	uint8_t bytes[2048];
	size_t n;
	size_t counts[16]; /* where the length and count fields are */
	int ncounts;
	size_t later[4]; /* where older ends stop: frames that end there are whole too */
	int nlater;
};

static void raw(struct golden *g, const void *bytes, size_t n) {
	memcpy(g->bytes + g->n, bytes, n);
	g->n += n;
}
static void num(struct golden *g, int size, uint64_t v) {
	for (int i = 0; i < size; i++) g->bytes[g->n++] = (uint8_t)(v >> (8 * i));
}
static void count(struct golden *g, uint32_t n) {
	g->counts[g->ncounts++] = g->n;
	num(g, 4, n);
}
static void str(struct golden *g, const char *s) {
	count(g, (uint32_t)strlen(s));
	raw(g, s, strlen(s));
}
static void later(struct golden *g) {
	g->later[g->nlater++] = g->n;
}
static void later_num(struct golden *g, uint64_t v) {
	later(g);
	num(g, 8, v);
}
static void attempt(struct golden *g) {
	num(g, 8, 0x1122334455667788);
	num(g, 4, 7);
}

static void golden_start(struct golden *g) {
	attempt(g);
	count(g, 3);
	str(g, "sh");
	str(g, "");
	str(g, "-c x");
	count(g, 2);
	str(g, "A=1");
	str(g, "B=");
	str(g, "/tmp/some where");
	num(g, 8, 0x0102030405060708);
	num(g, 4, 5000);
	num(g, 1, CUBE_START_STDIN);
	count(g, 2);
	raw(g, hash, 32);
	str(g, "prog");
	num(g, 4, 0755);
	raw(g, hash, 32);
	str(g, "..data");
	num(g, 4, 0644);
}

static void golden_open(struct golden *g) {
	num(g, 8, 1ull << 49);
	count(g, 2);
	str(g, "tail");
	str(g, "-f");
	count(g, 1);
	str(g, "TERM=xterm");
	str(g, "/var/log");
	num(g, 1, CUBE_OPEN_PTY | CUBE_OPEN_LOGIN);
	num(g, 2, 0x0102);
	num(g, 2, 0x0304);
}

static void golden_metric(struct golden *g) {
	uint64_t v = 100;
	num(g, 8, (uint64_t)-5);
	for (int i = 0; i < 5; i++) num(g, 8, (v++) << 40);
	for (int i = 0; i < 3; i++) num(g, 4, v++);
	for (int i = 0; i < 10; i++) num(g, 8, (v++) << 40);
	num(g, 4, v++);
	for (int i = 0; i < 3; i++) num(g, 4, v++);
	num(g, 8, (v++) << 40);
}

static void golden_manager(struct golden *g, int type) {
	switch (type) {
	case 1:
		num(g, 4, 0x45425543);
		num(g, 2, 0x0102);
		str(g, "build-1");
		num(g, 8, 0xc1c2c3c4c5c6c7c8);
		num(g, 4, 12);
		str(g, "web1.example.org");
		num(g, 4, 16);
		later_num(g, 0xf1f2f3f4f5f6f7f8);
		later_num(g, EPOCH);
		break;
	case 2: golden_start(g); break;
	case 3: attempt(g), num(g, 4, (uint32_t)-9); break;
	case 4: attempt(g), num(g, 4, 10000); break;
	case 5: attempt(g), num(g, 8, 1ull << 40), num(g, 1, 1), str(g, "input\n"); break;
	case 6: attempt(g), num(g, 1, 2), num(g, 8, 1ull << 41); break;
	case 7: attempt(g); break;
	case 8: raw(g, hash, 32), num(g, 8, 1ull << 33); break;
	case 9: raw(g, hash, 32), num(g, 8, 1ull << 34), str(g, "part of a file"); break;
	case 10: num(g, 8, 0xa1a2a3a4a5a6a7a8); break;
	case 11: num(g, 1, 1); break;
	case 12: golden_open(g); break;
	case 13: num(g, 8, 1ull << 50), num(g, 1, 0), str(g, "typed"); break;
	case 14: num(g, 8, 1ull << 51), num(g, 1, 2), num(g, 4, 0x800000); break;
	case 15: num(g, 8, 1ull << 52), num(g, 2, 0x0304), num(g, 2, 0x0506); break;
	case 16: num(g, 8, 1ull << 53), num(g, 4, (uint32_t)-15); break;
	case 17: num(g, 8, 1ull << 54); break;
	}
}

static void golden_worker(struct golden *g, int type) {
	switch (type) {
	case 65:
		num(g, 4, 0x45425543), num(g, 2, 0x0102), str(g, "build-1");
		num(g, 8, 0xc1c2c3c4c5c6c7c8), num(g, 4, 12), num(g, 8, 0xb1b2b3b4b5b6b7b8);
		num(g, 4, 4321), str(g, "web1"), str(g, "Linux"), str(g, "6.1.0"), str(g, "x86_64");
		num(g, 4, 64), num(g, 8, 1ull << 38), num(g, 8, 1700000000000000000);
		later(g), str(g, "take care"), later_num(g, 0xe1e2e3e4e5e6e7e8);
		break;
	case 66:
		attempt(g), num(g, 1, 3), num(g, 8, 1ull << 42), num(g, 8, 1ull << 43);
		num(g, 8, 1ull << 44), num(g, 8, 1ull << 45);
		break;
	case 67: break;
	case 68: attempt(g), num(g, 4, 4322), num(g, 8, (uint64_t)-2); break;
	case 69:
		attempt(g), num(g, 1, 2), num(g, 4, (uint32_t)-13), num(g, 8, 1ull << 46);
		num(g, 8, 1ull << 47), num(g, 8, 1700000000000000001);
		num(g, 8, 1700000000000000002), num(g, 8, 11), num(g, 8, 12), num(g, 8, 13);
		str(g, "cannot execute");
		break;
	case 70: attempt(g), num(g, 1, 1), num(g, 8, 1ull << 48), str(g, "some\noutput"); break;
	case 71: attempt(g), num(g, 8, 1ull << 49); break;
	case 72: raw(g, hash, 32), num(g, 1, 1), str(g, "stored"); break;
	case 73: golden_metric(g); break;
	case 74: num(g, 8, 0xa1a2a3a4a5a6a7a8), num(g, 8, (uint64_t)-3); break;
	case 76: num(g, 8, 1ull << 55), num(g, 1, 1), str(g, "shown"); break;
	case 77: num(g, 8, 1ull << 56), num(g, 1, 0), num(g, 4, 0x400000); break;
	case 78:
		num(g, 8, 1ull << 57), num(g, 1, 5), num(g, 4, (uint32_t)-1);
		str(g, "the link broke");
		break;
	case 75: num(g, 1, 5), str(g, "replaced by a newer session"); break;
	}
}

static bool is_of_attempt(int type) {
	return (type >= 2 && type <= 7) || type == 66 || (type >= 68 && type <= 71);
}

static void golden(struct golden *g, int type) {
	g->n = 0;
	g->ncounts = g->nlater = 0;
	num(g, 4, 0);
	num(g, 1, (uint64_t)type);
	if (type < 65) golden_manager(g, type);
	else golden_worker(g, type);
	if (is_of_attempt(type)) later_num(g, EPOCH);
	cube_poke_u32(g->bytes, (uint32_t)g->n - 4);
}

/* ---- the same as structs ------------------------------------------------------------------ */

/* A literal into a text field. */
#define SET(field, s) memcpy(field, s, sizeof(s))

static struct cube_slice slice(const char *s) {
	return (struct cube_slice){(const uint8_t *)s, strlen(s)};
}

static void sample_metric(struct cube_metric *m) {
	*m = (struct cube_metric){
		-5,           100ull << 40, 101ull << 40, 102ull << 40, 103ull << 40, 104ull << 40,
		105,          106,          107,          108ull << 40, 109ull << 40, 110ull << 40,
		111ull << 40, 112ull << 40, 113ull << 40, 114ull << 40, 115ull << 40, 116ull << 40,
		117ull << 40, 118,          119,          120,          121,          122ull << 40};
}

static void sample_manager(struct cube_msg *m) {
	switch (m->type) {
	case CUBE_MSG_HELLO:
		m->hello.magic = CUBE_PROTO_MAGIC;
		m->hello.version = 0x0102;
		m->hello.cluster = 0xc1c2c3c4c5c6c7c8;
		m->hello.node = 12;
		m->hello.slots = 16;
		SET(m->hello.build, "build-1");
		SET(m->hello.node_name, "web1.example.org");
		m->hello.features = 0xf1f2f3f4f5f6f7f8;
		m->epoch = EPOCH;
		break;
	case CUBE_MSG_SIGNAL: m->signal.signo = -9; break;
	case CUBE_MSG_STOP: m->stop.grace_ms = 10000; break;
	case CUBE_MSG_STDIN:
		m->data.offset = 1ull << 40;
		m->data.eof = 1;
		m->data.bytes = slice("input\n");
		break;
	case CUBE_MSG_ACK:
		m->ack.stream = CUBE_STDERR;
		m->ack.offset = 1ull << 41;
		break;
	case CUBE_MSG_PUSH:
		memcpy(m->push.sha256, hash, 32);
		m->push.size = 1ull << 33;
		break;
	case CUBE_MSG_PUSH_DATA:
		memcpy(m->data.sha256, hash, 32);
		m->data.offset = 1ull << 34;
		m->data.bytes = slice("part of a file");
		break;
	case CUBE_MSG_PING: m->ping.token = 0xa1a2a3a4a5a6a7a8; break;
	case CUBE_MSG_SHUTDOWN: m->shutdown.purge = 1; break;
	case CUBE_MSG_STREAM_INPUT: m->stream.bytes = slice("typed"); break;
	case CUBE_MSG_STREAM_WINDOW:
		m->stream.fd = 2;
		m->stream.window = 0x800000;
		break;
	case CUBE_MSG_STREAM_RESIZE:
		m->open.rows = 0x0304;
		m->open.cols = 0x0506;
		break;
	case CUBE_MSG_STREAM_SIGNAL: m->signal.signo = -15; break;
	default: break;
	}
}

static void sample_worker_hello(struct cube_msg *m) {
	m->worker_hello.magic = CUBE_PROTO_MAGIC;
	m->worker_hello.version = 0x0102;
	m->worker_hello.cluster = 0xc1c2c3c4c5c6c7c8;
	m->worker_hello.node = 12;
	m->worker_hello.boot = 0xb1b2b3b4b5b6b7b8;
	m->worker_hello.pid = 4321;
	m->worker_hello.cpus = 64;
	m->worker_hello.memory = 1ull << 38;
	m->worker_hello.wall = 1700000000000000000;
	SET(m->worker_hello.build, "build-1");
	SET(m->worker_hello.hostname, "web1");
	SET(m->worker_hello.sysname, "Linux");
	SET(m->worker_hello.release, "6.1.0");
	SET(m->worker_hello.machine, "x86_64");
	SET(m->worker_hello.notice, "take care");
	m->worker_hello.features = 0xe1e2e3e4e5e6e7e8;
}

static void sample_exit(struct cube_msg *m) {
	m->exit.how = CUBE_EXIT_NOT_STARTED;
	m->exit.value = -13;
	m->exit.out_end = 1ull << 46;
	m->exit.err_end = 1ull << 47;
	m->exit.started = 1700000000000000001;
	m->exit.finished = 1700000000000000002;
	m->exit.user_us = 11;
	m->exit.sys_us = 12;
	m->exit.max_rss = 13;
	SET(m->exit.message, "cannot execute");
}

static void sample_worker(struct cube_msg *m) {
	switch (m->type) {
	case CUBE_MSG_WORKER_HELLO: sample_worker_hello(m); break;
	case CUBE_MSG_ATTEMPT:
		m->known.state = CUBE_ATTEMPT_FINISHED;
		m->known.out_begin = 1ull << 42;
		m->known.out_end = 1ull << 43;
		m->known.err_begin = 1ull << 44;
		m->known.err_end = 1ull << 45;
		break;
	case CUBE_MSG_STARTED:
		m->started.pid = 4322;
		m->started.wall = -2;
		break;
	case CUBE_MSG_EXIT: sample_exit(m); break;
	case CUBE_MSG_LOG:
		m->data.stream = CUBE_STDOUT;
		m->data.offset = 1ull << 48;
		m->data.bytes = slice("some\noutput");
		break;
	case CUBE_MSG_STDIN_ACK: m->ack.offset = 1ull << 49; break;
	case CUBE_MSG_PUSH_DONE:
		memcpy(m->push.sha256, hash, 32);
		m->push.ok = 1;
		SET(m->push.message, "stored");
		break;
	case CUBE_MSG_METRIC: sample_metric(&m->metric); break;
	case CUBE_MSG_PONG:
		m->ping.token = 0xa1a2a3a4a5a6a7a8;
		m->ping.wall = -3;
		break;
	case CUBE_MSG_STREAM_OUTPUT:
		m->stream.fd = 1;
		m->stream.bytes = slice("shown");
		break;
	case CUBE_MSG_STREAM_GRANT: m->stream.window = 0x400000; break;
	case CUBE_MSG_STREAM_CLOSED:
		m->closed.how = CUBE_EXIT_LOST;
		m->closed.value = -1;
		SET(m->closed.message, "the link broke");
		break;
	case CUBE_MSG_ERROR:
		m->error.code = CUBE_PROTO_ERR_REPLACED;
		SET(m->error.message, "replaced by a newer session");
		break;
	default: break;
	}
}

static void sample(struct cube_msg *m, int type) {
	memset(m, 0, sizeof *m);
	m->type = (enum cube_msg_type)type;
	m->task = 0x1122334455667788;
	m->attempt = 7;
	if (is_of_attempt(type)) m->epoch = EPOCH;
	if (type >= CUBE_MSG_OPEN && type <= CUBE_MSG_STREAM_CLOSE)
		m->task = 1ull << (type - CUBE_MSG_OPEN + 49);
	if (type >= CUBE_MSG_STREAM_OUTPUT) m->task = 1ull << (type - CUBE_MSG_STREAM_OUTPUT + 55);
	if (type < 65) sample_manager(m);
	else sample_worker(m);
}

static struct cube_msg_file sample_files[2];

static struct cube_msg_start sample_start(void) {
	static const char *const argv[] = {"sh", "", "-c x", NULL};
	static const char *const env[] = {"A=1", "B=", NULL};
	for (int i = 0; i < 2; i++) memcpy(sample_files[i].sha256, hash, 32);
	SET(sample_files[0].name, "prog");
	SET(sample_files[1].name, "..data");
	sample_files[0].mode = 0755;
	sample_files[1].mode = 0644;
	return (struct cube_msg_start){
		.task = 0x1122334455667788,
		.epoch = EPOCH,
		.attempt = 7,
		.argv = argv,
		.env = env,
		.dir = "/tmp/some where",
		.timeout_ms = 0x0102030405060708,
		.grace_ms = 5000,
		.flags = CUBE_START_STDIN,
		.files = sample_files,
		.nfiles = 2,
	};
}

static int encode_sample_open(struct cube_buf *b) {
	static const char *const argv[] = {"tail", "-f", NULL}, *const env[] = {"TERM=xterm", NULL};
	struct cube_msg_open open = {
		1ull << 49, argv, env, "/var/log", CUBE_OPEN_PTY | CUBE_OPEN_LOGIN, 0x0102, 0x0304};
	return cube_msg_encode_open(b, &open);
}

static int encode_sample(struct cube_buf *b, int type) {
	struct cube_msg m;
	struct cube_msg_start start = sample_start();
	if (type == CUBE_MSG_START) return cube_msg_encode_start(b, &start);
	if (type == CUBE_MSG_OPEN) return encode_sample_open(b);
	sample(&m, type);
	return cube_msg_encode(b, &m);
}

#endif
