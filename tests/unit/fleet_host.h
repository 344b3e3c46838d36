/* A fleet over hosts in memory, whose transports do what the test says, when it says it; and clocks
 * that only the test moves. */
#ifndef TESTS_FLEET_HOST_H
#define TESTS_FLEET_HOST_H

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/images.h"
#include "node_link.h"

enum { HOSTS = 3, RECEIVERS = 3 };
#define CLUSTER 0x1234u
#define SECOND  CUBE_NS_PER_S

struct host {
	struct cube_transport transport; /* first */
	const struct cube_transport_events *ev;
	void *arg;
	bool up;
	bool opening; /* a limit of the transport's own runs, or its line waits (cube/transport.h)
		       */
	bool changed; /* its key: nobody tries again unasked */
	bool ended_write;
	int refuses; /* opening returns this */
	unsigned opened, answered;
	char line[4096], nonce[17];
	struct cube_buf in; /* what the line that runs was given */
	size_t queued;
};

static struct {
	uint64_t now, asleep;
	struct cube_loop *loop;
	struct cube_store *store;
	struct cube_turn turn;
	struct cube_events *events;
	struct cube_prompts *prompts;
	struct cube_builds *builds;
	struct cube_reach reach;
	struct cube_fleet *fleet;
	struct host hosts[HOSTS];
	bool busy;           /* tasks may run there */
	int verdict;         /* what receivers return */
	char story[1 << 20]; /* what the fleet told, a line each */
	size_t told;
} w;

static inline uint64_t clock_mono(void) {
	return w.now;
}
static inline uint64_t clock_asleep(void) {
	return w.asleep;
}
static inline int64_t clock_wall(void) {
	return (int64_t)(1000000 * SECOND + w.now);
}
static const struct cube_clock_source clocks = {clock_mono, clock_asleep, clock_wall};

/* What this machine's network does is not the fleet's to hear of here. */
int socket(int domain, int type, int protocol) {
	if (domain != AF_NETLINK) return (int)syscall(SYS_socket, domain, type, protocol);
	errno = EAFNOSUPPORT;
	return -1;
}

/* ---- hosts -------------------------------------------------------------------------------- */

static inline struct host *host_named(const char *name) {
	return &w.hosts[(unsigned)(name[1] - '0') % HOSTS];
}
static inline struct host *host_of(const struct cube_transport *t) {
	return (struct host *)t;
}

static inline int host_exec(struct cube_transport *t, const char *line, struct cube_err *err) {
	struct host *h = host_of(t);
	ck_assert(h->up);
	snprintf(h->line, sizeof h->line, "%s", line);
	const char *at = strstr(line, "CUBE ");
	ck_assert_ptr_nonnull(at);
	snprintf(h->nonce, sizeof h->nonce, "%.16s", at + 5);
	cube_buf_clear(&h->in);
	h->ended_write = false;
	return 0;
}
static inline int host_write(struct cube_transport *t, const void *bytes, size_t n) {
	struct host *h = host_of(t);
	ck_assert(h->up && *h->line);
	return cube_buf_add(&h->in, bytes, n);
}
static inline size_t host_queued(const struct cube_transport *t) {
	return ((const struct host *)t)->queued;
}
static inline void host_end_write(struct cube_transport *t) {
	host_of(t)->ended_write = true;
}
static inline void host_resume(struct cube_transport *t) {}
static inline void host_answer(struct cube_transport *t, const char *const *answers) {
	host_of(t)->answered++;
}
static inline void host_free(struct cube_transport *t) {
	struct host *h = host_of(t);
	ck_assert(h->up);
	h->up = h->opening = false;
	*h->line = 0;
}
static const struct cube_transport_ops host_ops = {.name = "memory",
						   .exec = host_exec,
						   .write = host_write,
						   .queued = host_queued,
						   .end_write = host_end_write,
						   .resume = host_resume,
						   .answer = host_answer,
						   .free = host_free};

static inline int host_open(struct cube_reach *reach, const char *name,
			    const struct cube_node_settings *set, const struct cube_reach_how *how,
			    const struct cube_transport_events *events, void *arg,
			    struct cube_transport **ret, struct cube_err *err) {
	struct host *h = host_named(name);
	h->opened++;
	if (h->refuses) return cube_fail(err, h->refuses, "%s is not there", name);
	ck_assert(!h->up); /* a node has at most one transport */
	h->transport.ops = &host_ops;
	h->ev = events;
	h->arg = arg;
	h->up = true;
	h->queued = 0;
	*ret = &h->transport;
	return 0;
}

/* ---- what the fleet tells ------------------------------------------------------------------- */

static inline void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void tell(const char *format, ...) {
	va_list ap;
	va_start(ap, format);
	w.told += (size_t)vsnprintf(w.story + w.told, sizeof w.story - w.told, format, ap);
	va_end(ap);
	ck_assert_uint_lt(w.told, sizeof w.story);
}
static inline void forget_story(void) {
	w.told = 0;
	*w.story = 0;
}

static inline void on_added(void *arg, struct cube_node *n) {
	tell("added %s\n", n->name);
}
static inline void on_removed(void *arg, struct cube_node *n) {
	tell("removed %s\n", n->name);
}
static inline void on_listed(void *arg, struct cube_node *n) {
	ck_assert_int_ne(n->state, CUBE_NODE_READY);
}
static inline void on_ready(void *arg, struct cube_node *n, bool new_boot) {
	tell("ready %s%s\n", n->name, new_boot ? " anew" : "");
}
static inline void on_ended(void *arg, struct cube_node *n, const char *why) {
	tell("ended %s\n", n->name);
}
static inline bool is_idle(void *arg, const struct cube_node *n) {
	return !w.busy;
}
static inline void on_answered(void *arg, struct cube_node *n, uint64_t asked) {
	tell("answered %s %d\n", n->name, (int)((w.now - asked) / SECOND));
}
static const struct cube_fleet_listener listener = {.added = on_added,
						    .removed = on_removed,
						    .listed = on_listed,
						    .ready = on_ready,
						    .ended = on_ended,
						    .idle = is_idle,
						    .answered = on_answered};

static const char *const receiver_names[RECEIVERS] = {"a", "b", "c"};
static inline int on_message(void *arg, struct cube_node *n, const struct cube_msg *msg,
			     struct cube_err *err) {
	tell("%s %s %s\n", *(const char *const *)arg, n->name, cube_msg_name(msg->type));
	return w.verdict ? cube_fail(err, w.verdict, "a bad message") : 0;
}
static inline void on_down(void *arg, struct cube_node *n, const char *why) {
	tell("down %s %s\n", *(const char *const *)arg, n->name);
}
#define RECEIVER(i, from, to)                                                          \
	{                                                                              \
		.first = (from), .last = (to), .message = on_message, .down = on_down, \
		.arg = (void *)&receiver_names[i]                                      \
	}
static const struct cube_fleet_receiver receivers[RECEIVERS] = {
	RECEIVER(0, CUBE_MSG_ATTEMPT, CUBE_MSG_ATTEMPT),
	RECEIVER(1, CUBE_MSG_STARTED, CUBE_MSG_STDIN_ACK),
	RECEIVER(2, CUBE_MSG_STREAM_OUTPUT, CUBE_MSG_STREAM_CLOSED),
};

/* ---- turns ---------------------------------------------------------------------------------- */

/* Nothing waits for ever: but what its user has to mend, a node has a timer, or a transport that
 * opens within a limit of its own, or a person who is asked. */
static inline void check_node(const struct cube_node *n) {
	const struct host *h = host_named(n->name);
	bool armed = cube_timer_armed(n->link->timer);
	bool rests = n->state == CUBE_NODE_FAILED || n->state == CUBE_NODE_NEEDS_LOGIN ||
		     (n->state == CUBE_NODE_LOST && h->changed);
	if (rests) ck_assert_msg(!armed && !h->up, "%s rests", n->name);
	else
		ck_assert_msg(armed || (h->up && h->opening) || n->link->asker.prompt,
			      "%s is %s, and nothing ends that", n->name,
			      cube_node_state_name(n->state));
	ck_assert(!h->up || n->link->transport == &h->transport);
}

static inline void turn(void) {
	ck_assert_int_eq(cube_loop_turn(w.loop, 0, NULL), 0);
	cube_list_each (cube_fleet_list(w.fleet), n, struct cube_node, hook) check_node(n);
}

static inline void pass(uint64_t ns) {
	w.now += ns;
	turn();
}

static inline void commit(void *arg) {
	cube_turn_commit(&w.turn);
}
static inline void flush(void *arg) {
	cube_fleet_flush(w.fleet);
	cube_prompts_flush(w.prompts);
	cube_events_flush(w.events);
}
static inline void not_kept(void *arg, const struct cube_err *err) {
	ck_abort_msg("%s", err->msg);
}

static inline void setup(void) {
	memset(&w, 0, sizeof w);
	w.now = 1000 * SECOND;
	cube_clock_set_source(&clocks);
	for (int i = 0; i < HOSTS; i++) cube_buf_init(&w.hosts[i].in, 8u << 20);
	ck_assert_int_eq(cube_loop_new(&w.loop, NULL), 0);
	ck_assert_int_eq(cube_store_memory(&w.store, NULL), 0);
	cube_turn_init(&w.turn, w.loop, w.store, not_kept, NULL);
	ck_assert_int_eq(cube_events_new(&w.turn, &w.events, NULL), 0);
	ck_assert_int_eq(cube_prompts_new(w.loop, &w.prompts, NULL), 0);
	cube_builds_new(w.loop, NULL, &w.builds);
	w.reach.open = host_open;
	struct cube_fleet_parts parts = {.turn = &w.turn,
					 .events = w.events,
					 .prompts = w.prompts,
					 .builds = w.builds,
					 .reach = &w.reach,
					 .cluster = CLUSTER,
					 .epoch = 5};
	cube_fleet_new(&parts, &w.fleet);
	cube_fleet_tell(w.fleet, &listener, receivers, RECEIVERS);
	ck_assert_int_eq(cube_fleet_load(w.fleet, NULL), 0);
	cube_loop_before_sleep(w.loop, 10, commit, NULL);
	cube_loop_before_sleep(w.loop, 20, flush, NULL);
}

static inline void teardown(void) {
	cube_fleet_free(w.fleet);
	cube_turn_commit(&w.turn);
	for (int i = 0; i < HOSTS; i++) {
		ck_assert(!w.hosts[i].up);
		cube_buf_done(&w.hosts[i].in);
	}
	cube_prompts_free(w.prompts);
	cube_events_free(w.events);
	cube_builds_free(w.builds);
	cube_store_free(w.store);
	cube_loop_free(w.loop);
	cube_clock_set_source(NULL);
}

/* ---- what a host says ----------------------------------------------------------------------- */

static inline void give(struct host *h, const void *bytes, size_t n) {
	ck_assert(h->up);
	size_t used = h->ev->on_out(h->arg, bytes, n);
	ck_assert(!h->up || used == n);
}
static inline void say(struct host *h, const char *answer) {
	char text[400];
	int n = snprintf(text, sizeof text, "CUBE %s %s\n", h->nonce, answer);
	give(h, text, (size_t)n);
}
static inline void end(struct host *h, int status) {
	h->ev->on_end(h->arg, status);
}
static inline void drop(struct host *h, int code, const char *why) {
	struct cube_err err;
	cube_fail(&err, code, "%s", why);
	h->ev->on_fail(h->arg, &err);
}
static inline void frame(struct host *h, const struct cube_msg *msg) {
	struct cube_buf out;
	cube_buf_init(&out, 1 << 20);
	ck_assert_int_eq(cube_msg_encode(&out, msg), 0);
	give(h, cube_buf_data(&out), cube_buf_len(&out));
	cube_buf_done(&out);
}
static inline struct cube_msg hello_of(uint32_t node, uint64_t boot) {
	struct cube_msg msg = {.type = CUBE_MSG_WORKER_HELLO};
	unsigned long size;
	char sha[65];
	cube_worker_image(cube_worker_machine(0), &size, sha);
	msg.worker_hello.magic = CUBE_PROTO_MAGIC;
	msg.worker_hello.version = CUBE_PROTO_VERSION;
	msg.worker_hello.cluster = CLUSTER;
	msg.worker_hello.node = node;
	msg.worker_hello.boot = boot;
	msg.worker_hello.cpus = 4;
	snprintf(msg.worker_hello.build, sizeof msg.worker_hello.build, "%s", sha);
	snprintf(msg.worker_hello.machine, sizeof msg.worker_hello.machine, "%s",
		 cube_worker_machine(0));
	return msg;
}

/* How many frames of a type the worker was sent; the last of them. */
static inline unsigned sent(struct host *h, enum cube_msg_type type, struct cube_msg *ret) {
	const uint8_t *at = cube_buf_data(&h->in);
	size_t left = cube_buf_len(&h->in), used;
	unsigned n = 0;
	struct cube_msg msg;
	while (left) {
		ck_assert_int_eq(cube_msg_decode(at, left, &msg, &used, NULL), 0);
		at += used;
		left -= used;
		if (msg.type != type) continue;
		n++;
		if (ret) *ret = msg;
	}
	return n;
}

/* ---- the way of a node ------------------------------------------------------------------------
 */

enum stage { OPENING, DIALLING, PROBING, PUSHING, INSTALLED, ATTACHED, LISTING, READY, STAGES };

static inline void next_stage(struct host *h, const struct cube_node *n, enum stage stage,
			      uint64_t boot) {
	char text[100];
	struct cube_msg msg = hello_of(n->id, boot);
	switch (stage) {
	case DIALLING:
		h->opening = true;
		h->ev->on_step(h->arg, CUBE_STEP_CONNECT);
		break;
	case PROBING:
		h->opening = false;
		h->ev->on_step(h->arg, CUBE_STEP_OPEN);
		h->ev->on_open(h->arg);
		break;
	case PUSHING:
		h->queued = 1 << 20; /* it takes nothing yet */
		snprintf(text, sizeof text, "none Linux %s", cube_worker_machine(0));
		say(h, "hello");
		say(h, text);
		break;
	case INSTALLED:
		h->queued = 0;
		h->ev->on_drained(h->arg);
		ck_assert(h->ended_write);
		say(h, "installed");
		end(h, 0);
		break;
	case ATTACHED: say(h, "attach /d"); break;
	case LISTING: frame(h, &msg); break;
	case READY: frame(h, &(struct cube_msg){.type = CUBE_MSG_READY}); break;
	default: break;
	}
	turn();
}

/* From the opened transport on. */
static inline void go_to(struct host *h, const struct cube_node *n, enum stage stage,
			 uint64_t boot) {
	for (int s = DIALLING; s <= (int)stage; s++) next_stage(h, n, (enum stage)s, boot);
}

static inline struct cube_node *add(const char *name) {
	struct cube_node_request r = {.name = name, .set.connect_timeout_ns = 10 * SECOND};
	struct cube_node *n;
	bool added;
	ck_assert_int_eq(cube_fleet_add(w.fleet, &r, &n, &added, NULL), 0);
	ck_assert(added);
	turn();
	return n;
}

/* Until its state is another one, at most so many seconds; returns how many it took. id: it may be
 * gone. */
static inline unsigned wait_change(uint32_t id, unsigned most) {
	enum cube_node_state before = cube_fleet_by_id(w.fleet, id)->state;
	for (unsigned s = 1; s <= most; s++) {
		pass(SECOND);
		const struct cube_node *n = cube_fleet_by_id(w.fleet, id);
		if (!n || n->state != before) return s;
	}
	return most + 1;
}
/* Until it is reached again. */
static inline void wait_opened(struct host *h) {
	for (unsigned s = 0, was = h->opened; h->opened == was; s++) {
		ck_assert_uint_lt(s, 400);
		pass(SECOND / 10);
	}
}

#endif
