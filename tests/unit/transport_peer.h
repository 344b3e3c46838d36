/* What the tests of all transports share: a client that runs one command after another, feeds
 * it a pattern and hashes what comes back. Included by test programs. */
#ifndef TRANSPORT_PEER_H
#define TRANSPORT_PEER_H

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/loop.h"
#include "cube/sha256.h"
#include "cube/transport.h"
#include "transport_shim.h"

struct peer {
	struct cube_loop *loop;
	struct cube_transport *t;
	bool open, ended, failed;
	int status, ends, fails, after_fail;
	unsigned steps; /* bits */
	struct cube_err err;
	struct cube_buf out, errs;
	uint64_t got, hash; /* of stdout */
	uint64_t to_send, sent, sent_hash;
	bool sending;
	unsigned take; /* 0: all, else at most so many bytes a call */
	bool hold;     /* take nothing */
	char free_in;  /* 's'tep, 'o'pen, 'd'ata, 'e'nd, 'f'ail: free the transport there */
};

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t n) {
	if (!h) h = 14695981039346656037ull;
	while (n--) h = (h ^ *p++) * 1099511628211ull;
	return h;
}

static void peer_drop(struct peer *p) {
	cube_transport_free(p->t);
	p->t = NULL;
}

static void note(struct peer *p, char what) {
	if (p->failed && what != 'f') p->after_fail++;
	if (p->free_in == what && p->t) peer_drop(p);
}

static void p_step(void *arg, enum cube_transport_step step) {
	struct peer *p = arg;
	p->steps |= 1u << step;
	note(p, 's');
}

static void p_open(void *arg) {
	struct peer *p = arg;
	ck_assert(!p->open);
	p->open = true;
	note(p, 'o');
}

static size_t p_out(void *arg, const uint8_t *bytes, size_t n) {
	struct peer *p = arg;
	ck_assert(n > 0);
	if (p->hold) return 0;
	if (p->take && n > p->take) n = p->take;
	p->hash = fnv(p->hash, bytes, n);
	p->got += n;
	if (cube_buf_room(&p->out) >= n) cube_buf_add(&p->out, bytes, n);
	if (p->take && p->t) cube_transport_resume(p->t);
	note(p, 'd');
	return n;
}

static void p_err(void *arg, const uint8_t *bytes, size_t n) {
	struct peer *p = arg;
	cube_buf_add(&p->errs, bytes, n);
}

static uint8_t pattern(uint64_t i) {
	return (uint8_t)(i * 2654435761u >> 13 ^ i);
}

static void peer_pump(struct peer *p) {
	uint8_t chunk[8192];
	while (p->sending && p->t && p->sent < p->to_send) {
		size_t n = p->to_send - p->sent < sizeof chunk ? (size_t)(p->to_send - p->sent)
							       : sizeof chunk;
		for (size_t i = 0; i < n; i++) chunk[i] = pattern(p->sent + i);
		if (cube_transport_write(p->t, chunk, n) != 0) return;
		p->sent_hash = fnv(p->sent_hash, chunk, n);
		p->sent += n;
	}
	if (p->sending && p->t && p->sent == p->to_send) {
		p->sending = false;
		cube_transport_end_write(p->t);
	}
}

static void p_drained(void *arg) {
	peer_pump(arg);
}

static void p_end(void *arg, int status) {
	struct peer *p = arg;
	p->ended = true;
	p->ends++;
	p->status = status;
	note(p, 'e');
}

static void p_fail(void *arg, const struct cube_err *err) {
	struct peer *p = arg;
	p->failed = true;
	p->fails++;
	p->err = *err;
	note(p, 'f');
}

static const struct cube_transport_events PEER_EVENTS = {
	.on_step = p_step,
	.on_open = p_open,
	.on_out = p_out,
	.on_err = p_err,
	.on_drained = p_drained,
	.on_end = p_end,
	.on_fail = p_fail,
};

static void peer_init(struct peer *p, struct cube_loop *loop) {
	memset(p, 0, sizeof *p);
	p->loop = loop;
	cube_buf_init(&p->out, 1 << 20);
	cube_buf_init(&p->errs, 1 << 20);
}

static void turn(struct cube_loop *loop) {
	struct cube_err err;
	ck_assert_int_eq(cube_loop_turn(loop, 1000, &err), 0);
}

static void peer_done(struct peer *p) {
	if (p->t) peer_drop(p);
	cube_buf_done(&p->out);
	cube_buf_done(&p->errs);
	ck_assert_int_eq(p->after_fail, 0);
	ck_assert_int_le(p->fails, 1);
}

/* Every wait has an end: libcheck's time limit kills a test that hangs. */
#define RUN_UNTIL(p, cond)                       \
	do {                                     \
		while (!(cond)) turn((p)->loop); \
	} while (0)

/* The limit of what has to come: it only matters where something hangs. See tests/pace. */
static inline uint64_t patience(void) {
	const char *pace = getenv("CUBE_TEST_PACE");
	return 20 * CUBE_NS_PER_S * (pace ? strtoul(pace, NULL, 10) : 3);
}

static void peer_wait_open(struct peer *p) {
	RUN_UNTIL(p, p->open || p->failed);
	if (p->failed) ck_abort_msg("open failed: %s", p->err.msg);
}

static inline void peer_exec(struct peer *p, const char *line) {
	struct cube_err err;
	p->ended = false;
	p->got = p->hash = p->sent = p->sent_hash = 0;
	cube_buf_clear(&p->out);
	cube_buf_clear(&p->errs);
	if (cube_transport_exec(p->t, line, &err)) ck_abort_msg("exec: %s", err.msg);
}

static inline void peer_run(struct peer *p, const char *line) {
	peer_exec(p, line);
	RUN_UNTIL(p, p->ended || p->failed);
	if (p->failed) ck_abort_msg("%s: %s", line, p->err.msg);
}

static inline void peer_send(struct peer *p, uint64_t n) {
	p->to_send = n;
	p->sending = true;
	peer_pump(p);
}

#define ck_out(p, s) ck_assert_str_eq(cube_buf_str(&(p)->out), s)

#endif
