#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/bufio.h"
#include "daemon.h"
#include "outbox.h"
#include "session.h"

enum {
	SESSIONS_MAX = 8,      /* links that have not said HELLO, or are ending, included */
	LINK_PIPE = 256 << 10, /* where the link is a pipe, it holds this much */
	OUT_MAX = 8 << 20,     /* an ATTEMPT for each attempt must fit */
	HELLO_S = 60,
	GOODBYE_S = 5,
};

enum session_state { SESSION_NEW, SESSION_LIVE, SESSION_ENDING, SESSION_DEAD };

struct session {
	struct worker *w;
	struct cube_list entry;
	enum session_state state;
	struct cube_bufio *stream;
	struct cube_timer *timer; /* waits for HELLO, then METRIC, then the end */
	struct cube_io *conn_io;
	int conn;
};

static const struct cube_bufio_limits LIMITS = {
	.max_in = CUBE_FRAME_MAX + 4, .max_out = OUT_MAX, .low_out = OUTBOX_LOG_HIGH};

/* ---- the end ------------------------------------------------------------------------------ */

static void session_free(void *arg) {
	struct session *s = arg;

	cube_list_remove(&s->entry);
	s->w->nsessions--;
	cube_timer_del(s->timer);
	cube_io_del(s->conn_io);
	cube_bufio_free(s->stream);
	if (s->conn >= 0) close(s->conn);
	free(s);
}

/* What belongs to the link goes with it. */
static void unlink_live(struct worker *w) {
	w->live = NULL;
	files_drop_pushes(&w->files);
	streams_on_link_end(&w->streams);
}

/* Nothing is sent or received any more; freed at the end of the turn. */
static void session_drop(struct session *s) {
	struct worker *w = s->w;

	if (s->state == SESSION_DEAD) return;
	s->state = SESSION_DEAD;
	if (w->live == s) unlink_live(w);
	if (!w->live) sampler_done(&w->sampler);
	cube_timer_after(w->lonely, CUBE_NS_PER_S);
	cube_loop_defer(w->loop, session_free, s);
}

void session_close_all(struct worker *w) {
	cube_list_each (&w->sessions, s, struct session, entry) session_drop(s);
}

static void send_msg(struct session *s, const struct cube_msg *msg) {
	struct cube_buf *b = &s->w->frames;
	int rc = cube_msg_encode(b, msg);

	if (rc == 0) rc = cube_bufio_write(s->stream, cube_buf_data(b), cube_buf_len(b));
	cube_buf_clear(b);
	if (rc == 0) return;
	cube_warn("the manager does not read: link dropped");
	session_drop(s);
}

/* Says why and closes the link once that is out, or soon. */
static void end_with(struct session *s, uint8_t code, const char *text) {
	struct cube_msg m = {.type = CUBE_MSG_ERROR};

	if (s->state >= SESSION_ENDING) return;
	cube_warn("link ended: %s", text);
	m.error.code = code;
	cube_format(m.error.message, sizeof m.error.message, "%s", text);
	send_msg(s, &m);
	if (s->state == SESSION_DEAD) return;
	if (s->w->live == s) unlink_live(s->w);
	s->state = SESSION_ENDING;
	cube_bufio_end(s->stream);
	cube_timer_after(s->timer, GOODBYE_S * CUBE_NS_PER_S);
}

/* ---- what is sent by itself ----------------------------------------------------------------- */

static void send_metric(struct session *s) {
	struct cube_msg m = {.type = CUBE_MSG_METRIC};

	if (cube_bufio_queued(s->stream) >= OUTBOX_CONTROL_HIGH) return; /* a later one will do */
	sampler_take(&s->w->sampler, &m.metric);
	m.metric.running = s->w->runner.running;
	send_msg(s, &m);
}

/* All hosts sample at the same time, as far as their clocks agree: the manager has few turns of it
 * instead of one a host, and what it costs falls together in programs that run over many hosts. */
static uint64_t to_next_second(void) {
	uint64_t left = CUBE_NS_PER_S - (uint64_t)cube_clock_wall() % CUBE_NS_PER_S;

	return left < CUBE_NS_PER_S / 2 ? left + CUBE_NS_PER_S : left;
}

static void on_timer(void *arg) {
	struct session *s = arg;

	if (s->state == SESSION_LIVE) {
		cube_timer_after(s->timer, to_next_second());
		send_metric(s);
	} else session_drop(s); /* no HELLO, or a peer that does not take the goodbye */
}

void session_flush(void *worker) {
	struct worker *w = worker;

	cube_list_each (&w->sessions, s, struct session, entry)
		if (s->state == SESSION_ENDING && !cube_bufio_queued(s->stream)) session_drop(s);
	if (!w->live) return;
	if (outbox_pump(&w->runner, &w->streams, w->live->stream, &w->frames))
		cube_timer_after(w->again, 0);
}

/* ---- HELLO ---------------------------------------------------------------------------------- */

/* As sysconf() of musl counts them, which is 1 KB for the sake of all else that it knows. */
static uint32_t cpu_count(void) {
	cpu_set_t sets[8]; /* 8192 processors */

	memset(sets, 0, sizeof sets);
	if (sched_getaffinity(0, sizeof sets, sets) < 0) return 1;
	return (uint32_t)CPU_COUNT_S(sizeof sets, sets);
}

static void fill_host(struct cube_msg *m) {
	struct utsname u;
	struct sysinfo info;

	if (uname(&u) == 0) {
		cube_format(m->worker_hello.hostname, sizeof m->worker_hello.hostname, "%s",
			    u.nodename);
		cube_format(m->worker_hello.sysname, sizeof m->worker_hello.sysname, "%s",
			    u.sysname);
		cube_format(m->worker_hello.release, sizeof m->worker_hello.release, "%s",
			    u.release);
		cube_format(m->worker_hello.machine, sizeof m->worker_hello.machine, "%s",
			    u.machine);
	}
	m->worker_hello.cpus = cpu_count();
	if (sysinfo(&info) == 0) m->worker_hello.memory = (uint64_t)info.totalram * info.mem_unit;
}

static void answer_hello(struct session *s) {
	struct cube_msg m = {.type = CUBE_MSG_WORKER_HELLO};
	struct worker *w = s->w;

	m.worker_hello.magic = CUBE_PROTO_MAGIC;
	m.worker_hello.version = CUBE_PROTO_VERSION;
	m.worker_hello.cluster = w->cluster;
	m.worker_hello.node = w->node;
	m.worker_hello.boot = w->boot;
	m.worker_hello.pid = (uint32_t)getpid();
	m.worker_hello.wall = cube_clock_wall();
	m.worker_hello.features = CUBE_FEATURES;
	cube_format(m.worker_hello.notice, sizeof m.worker_hello.notice, "%s", w->options->notice);
	cube_format(m.worker_hello.build, sizeof m.worker_hello.build, "%s", w->self->hex);
	fill_host(&m);
	send_msg(s, &m);
}

static void list_attempts(struct session *s) {
	cube_list_each (&s->w->runner.all, a, struct attempt, all) {
		struct cube_msg m = {.type = CUBE_MSG_ATTEMPT,
				     .task = a->task,
				     .attempt = a->attempt,
				     .epoch = a->epoch};

		m.known.state = a->state;
		m.known.out_begin = spool_begin(&a->out.spool);
		m.known.out_end = spool_end(&a->out.spool);
		m.known.err_begin = spool_begin(&a->err.spool);
		m.known.err_end = spool_end(&a->err.spool);
		if (s->state == SESSION_LIVE) send_msg(s, &m);
	}
}

/* Why the manager is refused: a code of PROTOCOL.md section 5 and a text; 0: it is not. */
static uint8_t check_hello(const struct worker *w, const struct cube_msg *m, char *text, size_t n) {
	if (m->hello.magic != CUBE_PROTO_MAGIC) {
		cube_format(text, n, "this is no manager");
		return CUBE_PROTO_ERR_MALFORMED;
	}
	if (m->hello.version != CUBE_PROTO_VERSION) {
		cube_format(text, n, "protocol %u, this worker speaks %u", m->hello.version,
			    CUBE_PROTO_VERSION);
		return CUBE_PROTO_ERR_VERSION;
	}
	if (*m->hello.build && strcmp(m->hello.build, w->self->hex) != 0) {
		cube_format(text, n, "this worker is of another build: %s", w->self->hex);
		return CUBE_PROTO_ERR_BUILD;
	}
	if (m->hello.cluster != w->cluster || m->hello.node != w->node) {
		cube_format(text, n, "this worker belongs to %016" PRIx64 ".%" PRIu32, w->cluster,
			    w->node);
		return CUBE_PROTO_ERR_IDENTITY;
	}
	return 0;
}

static void on_hello(struct session *s, const struct cube_msg *m) {
	struct worker *w = s->w;
	char text[160];
	uint8_t code = check_hello(w, m, text, sizeof text);

	if (code) {
		end_with(s, code, text);
		return;
	}
	if (w->live) end_with(w->live, CUBE_PROTO_ERR_REPLACED, "a newer link took over");
	s->state = SESSION_LIVE;
	w->live = s;
	w->runner.epoch = m->epoch;
	if (m->hello.node_name[0]) memcpy(w->name, m->hello.node_name, sizeof w->name);
	answer_hello(s);
	list_attempts(s);
	if (s->state == SESSION_LIVE) send_msg(s, &(struct cube_msg){.type = CUBE_MSG_READY});
	runner_rewind(&w->runner);
	runner_set_slots(&w->runner, m->hello.slots ? m->hello.slots : cpu_count());
	cube_timer_after(s->timer, 0);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void on_ping(struct session *s, const struct cube_msg *m) {
	struct cube_msg pong = {.type = CUBE_MSG_PONG};

	pong.ping.token = m->ping.token;
	pong.ping.wall = cube_clock_wall();
	send_msg(s, &pong);
}

static int on_push(struct session *s, const struct cube_msg *m, struct cube_err *err) {
	struct cube_msg reply;
	int rc = m->type == CUBE_MSG_PUSH ? files_push(&s->w->files, m, &reply, err)
					  : files_push_data(&s->w->files, m, &reply, err);

	if (rc == 1) send_msg(s, &reply);
	return rc < 0 ? rc : 0;
}

/* Whoever takes the node down is done with copies too; a worker of another build goes on with it.
 */
static void on_shutdown(struct worker *w, enum purge_what purge) {
	if (purge != PURGE_OWN) w->done = true;
	worker_shutdown(w, purge);
}

static int on_live(struct session *s, const struct cube_msg *m, struct cube_err *err) {
	struct runner *r = &s->w->runner;

	switch (m->type) {
	case CUBE_MSG_START: return runner_start(r, m, err);
	case CUBE_MSG_SIGNAL: return runner_signal(r, m, err);
	case CUBE_MSG_STOP: return runner_stop(r, m, err);
	case CUBE_MSG_STDIN: return runner_stdin(r, m, err);
	case CUBE_MSG_ACK: return runner_ack(r, m, err);
	case CUBE_MSG_FORGET: return runner_forget(r, m, err);
	case CUBE_MSG_PUSH:
	case CUBE_MSG_PUSH_DATA: return on_push(s, m, err);
	case CUBE_MSG_OPEN:
	case CUBE_MSG_STREAM_INPUT:
	case CUBE_MSG_STREAM_WINDOW:
	case CUBE_MSG_STREAM_RESIZE:
	case CUBE_MSG_STREAM_SIGNAL:
	case CUBE_MSG_STREAM_CLOSE: return streams_on_msg(&s->w->streams, m, err);
	case CUBE_MSG_PING: on_ping(s, m); return 0;
	case CUBE_MSG_SHUTDOWN: on_shutdown(s->w, (enum purge_what)m->shutdown.purge); return 0;
	default: return cube_fail(err, CUBE_EPROTO, "unexpected %s", cube_msg_name(m->type));
	}
}

static int on_msg(struct session *s, const struct cube_msg *m, struct cube_err *err) {
	if (s->state == SESSION_LIVE) return on_live(s, m, err);
	if (m->type != CUBE_MSG_HELLO)
		return cube_fail(err, CUBE_EPROTO, "%s before HELLO", cube_msg_name(m->type));
	on_hello(s, m);
	return 0;
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct session *s = arg;
	size_t done = 0;

	while (s->state <= SESSION_LIVE && !s->w->closing) {
		struct cube_msg m;
		struct cube_err err;
		size_t used;
		int rc = cube_msg_decode(bytes + done, n - done, &m, &used, &err);

		if (rc == CUBE_AGAIN) return done;
		if (rc == 0) {
			done += used;
			rc = on_msg(s, &m, &err);
		}
		if (rc < 0) end_with(s, CUBE_PROTO_ERR_MALFORMED, err.msg);
	}
	return n; /* what comes on a link that ends is of no interest */
}

/* ---- the link ------------------------------------------------------------------------------- */

static void on_closed(void *arg, const struct cube_err *err) {
	struct session *s = arg;

	if (err) cube_info("link lost: %s", err->msg);
	session_drop(s);
}

/* The attach process has gone (it never writes again): so has the link it stands for. */
static void on_conn(void *arg, uint32_t events) {
	struct session *s = arg;
	char byte;
	ssize_t n = read(s->conn, &byte, 1);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	cube_io_del(s->conn_io); /* not events 0: its end would be told in each turn */
	s->conn_io = NULL;
	if (s->state != SESSION_ENDING) session_drop(s);
}

static const struct cube_bufio_ops OPS = {.data = on_data, .closed = on_closed};

/* Room for a new link: one that has not come to anything goes first. */
static void make_room(struct worker *w) {
	if (w->nsessions < SESSIONS_MAX) return;
	cube_list_each (&w->sessions, s, struct session, entry) {
		if (s->state == SESSION_LIVE || s->state == SESSION_DEAD) continue;
		session_drop(s);
		return;
	}
}

void session_open(struct worker *w, int rfd, int wfd, int conn) {
	struct session *s = cube_alloc(sizeof *s);
	struct cube_err err;

	make_room(w);
	*s = (struct session){.w = w, .conn = conn};
	cube_list_append(&w->sessions, &s->entry);
	w->nsessions++;
	fcntl(rfd, F_SETPIPE_SZ, LINK_PIPE); /* no pipes, or not allowed: fine as it is */
	fcntl(wfd, F_SETPIPE_SZ, LINK_PIPE);
	s->timer = cube_timer_add(w->loop, on_timer, s);
	cube_timer_after(s->timer, HELLO_S * CUBE_NS_PER_S);
	if (cube_bufio_new(w->loop, rfd, wfd, &OPS, s, &LIMITS, &s->stream, &err) < 0 ||
	    (conn >= 0 && cube_io_add(w->loop, conn, EPOLLIN, on_conn, s, &s->conn_io, &err) < 0)) {
		cube_error("%s", err.msg);
		session_drop(s);
	}
}
