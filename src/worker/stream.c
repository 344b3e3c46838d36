/* The table of streams, and what the manager says about them. stream_process.c has the processes.
 */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "cube/mem.h"
#include "stream_impl.h"

enum {
	BATCH = 16 << 10, /* bytes of control frames a write */
	CONTROL_HIGH = 256 << 10,
	ALL_MAX = 4 * STREAMS_MAX, /* with those that are being killed */
};

/* ---- the table ------------------------------------------------------------------------------ */

void streams_init(struct streams *s, struct runner *runner, const char *self) {
	*s = (struct streams){.runner = runner, .self = self};
	cube_list_init(&s->all);
	cube_list_init(&s->dirty);
	cube_list_init(&s->ready);
}

static void stream_free(struct stream *st) {
	struct streams *s = st->s;

	stream_release(st);
	login_forget(&st->wait);
	sweep_cancel(&st->sweep);
	cube_timer_del(st->timer);
	if (st->pid && !st->reaped) cube_loop_forget_child(s->runner->loop, st->pid);
	if (!st->hung) s->count--;
	s->total--;
	s->granted -= st->window;
	cube_list_remove(&st->all);
	cube_list_remove(&st->dirty);
	free(st->spec);
	free(st->message);
	free(st);
	if (s->total) return;
	free(s->space);
	s->space = NULL;
}

void streams_done(struct streams *s) {
	cube_list_each (&s->all, st, struct stream, all) stream_free(st);
}

static struct stream *find(struct streams *s, uint64_t id) {
	cube_list_each (&s->all, st, struct stream, all)
		if (st->id == id && !st->hung) return st;
	return NULL;
}

void stream_need(struct stream *st) {
	if (!st->hung && !cube_list_linked(&st->dirty)) cube_list_append(&st->s->dirty, &st->dirty);
}

void stream_finish(struct stream *st, uint8_t how, int32_t value, const char *message) {
	st->closed = true;
	st->how = how;
	st->value = value;
	if (message) st->message = cube_strdup(message);
	stream_need(st);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void on_swept(void *arg) {
	stream_free(arg);
}

/* Nobody listens any more: the process is told, and everything of it killed a little later. */
static void hang_up(struct stream *st) {
	struct streams *s = st->s;
	uint64_t kill_at = cube_loop_now(s->runner->loop) + STREAM_HUP_NS;

	if (st->hung) return;
	st->hung = true;
	s->count--;
	cube_list_remove(&st->dirty);
	login_forget(&st->wait);
	if (st->timer) cube_timer_disarm(st->timer);
	stream_release(st);
	if (!st->pid) {
		stream_free(st);
		return;
	}
	if (!st->reaped) {
		kill(-st->pid, SIGHUP);
		kill(-st->pid, SIGCONT); /* a stopped process takes no HUP */
	}
	/* once it was reaped its number may be another session's by now */
	sweep_start(s->runner->sweeper, &st->sweep, st->cookie, st->reaped ? 0 : st->pid, kill_at,
		    on_swept, st);
}

void streams_on_link_end(struct streams *s) {
	cube_list_each (&s->all, st, struct stream, all) hang_up(st);
	s->last = 0;
}

/* ---- OPEN ----------------------------------------------------------------------------------- */

static void on_login(void *arg, const struct cube_err *err) {
	struct stream *st = arg;

	if (err) stream_finish(st, CUBE_EXIT_NOT_STARTED, err->sys ? err->sys : EIO, err->msg);
	else stream_begin(st);
}

/* So much input may be on its way to one stream. The first ones get enough for a fast and distant
 * link; many together must not fill the memory. */
static uint32_t window_for(const struct streams *s) {
	return s->granted < STREAM_WINDOWS ? STREAM_WINDOW : STREAM_WINDOW_SMALL;
}

static struct stream *new_stream(struct streams *s, const struct cube_msg *msg) {
	struct stream *st = cube_alloc(sizeof *st);

	st->s = s;
	st->id = msg->task;
	st->flags = msg->open.flags;
	st->rows = msg->open.rows;
	st->cols = msg->open.cols;
	st->window = window_for(s);
	st->in.fd = -1;
	cube_buf_init(&st->in.buf, st->window + 1); /* and a ^D */
	for (int i = 0; i < 2; i++)
		st->out[i] = (struct flow){.owner = st, .fd = -1, .number = (uint8_t)(i + 1)};
	memcpy(st->cookie, "CUBE_COOKIE=", 12);
	cube_id_hex(cube_id_u64(), st->cookie + 12);
	s->granted += st->window;
	s->count++;
	s->total++;
	cube_list_append(&s->all, &st->all);
	return st;
}

static int on_open(struct streams *s, const struct cube_msg *msg, struct cube_err *err) {
	struct runner *r = s->runner;
	struct stream *st;
	int rc = start_spec_check(msg, err);

	if (rc < 0) return rc;
	if (msg->task <= s->last)
		return cube_fail(err, CUBE_EPROTO, "OPEN of stream %" PRIu64 " after %" PRIu64,
				 msg->task, s->last);
	s->last = msg->task;
	st = new_stream(s, msg);
	if (s->count > STREAMS_MAX || s->total > ALL_MAX) {
		stream_finish(st, CUBE_EXIT_NOT_STARTED, EAGAIN,
			      "this node has 256 streams, and can have no more");
		return 0;
	}
	st->spec = start_spec_copy(msg);
	if (!s->space) s->space = malloc(STREAM_SPACE);
	if (!st->spec || !s->space) {
		stream_finish(st, CUBE_EXIT_NOT_STARTED, ENOMEM, "no memory for a stream");
	} else if (st->flags & CUBE_OPEN_LOGIN && !login_environ(r->login)) {
		st->wait = (struct login_wait){.done = on_login, .arg = st};
		login_ask(r->login, &st->wait);
	} else stream_begin(st);
	return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static int on_input(struct stream *st, const struct cube_msg *msg, struct cube_err *err) {
	struct cube_slice data = msg->stream.bytes;

	uint32_t cost = cube_msg_stream_cost(data.n);

	if (cost > st->in.open || st->in.eof)
		return cube_fail(err, CUBE_EPROTO, "%zu bytes for a stream that takes %" PRIu32,
				 data.n, st->in.eof ? 0 : st->in.open);
	st->in.open -= cost;
	if (!data.n) st->in.eof = true;
	stream_input(st, data);
	return 0;
}

static int on_window(struct stream *st, const struct cube_msg *msg, struct cube_err *err) {
	struct flow *f = &st->out[msg->stream.fd - 1];

	if (msg->stream.window > CUBE_WINDOW_MAX - f->window)
		return cube_fail(err, CUBE_EPROTO, "more than %u bytes granted", CUBE_WINDOW_MAX);
	f->window += msg->stream.window;
	stream_watch(f);
	return 0;
}

static int on_signal(struct stream *st, const struct cube_msg *msg, struct cube_err *err) {
	if (msg->signal.signo < 1 || msg->signal.signo > 64)
		return cube_fail(err, CUBE_EPROTO, "STREAM_SIGNAL %" PRId32, msg->signal.signo);
	if (!st->pid) st->early = (uint8_t)msg->signal.signo;
	else if (!st->reaped) kill(-st->pid, msg->signal.signo);
	return 0;
}

int streams_on_msg(struct streams *s, const struct cube_msg *msg, struct cube_err *err) {
	struct stream *st;

	if (msg->type == CUBE_MSG_OPEN) return on_open(s, msg, err);
	st = find(s, msg->task);
	if (!st) return 0;
	switch (msg->type) {
	case CUBE_MSG_STREAM_INPUT: return on_input(st, msg, err);
	case CUBE_MSG_STREAM_WINDOW: return on_window(st, msg, err);
	case CUBE_MSG_STREAM_SIGNAL: return on_signal(st, msg, err);
	case CUBE_MSG_STREAM_RESIZE:
		st->rows = msg->open.rows;
		st->cols = msg->open.cols;
		stream_resize(st);
		return 0;
	default: hang_up(st); return 0;
	}
}

/* ---- what is sent -----------------------------------------------------------------------------
 */

static void encode_grant(struct stream *st, struct cube_buf *out) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_GRANT, .task = st->id};

	m.stream.fd = CUBE_STDIN;
	m.stream.window = st->in.credit;
	st->in.open += st->in.credit;
	st->in.credit = 0;
	cube_msg_encode(out, &m);
}

static void encode_closed(const struct stream *st, struct cube_buf *out) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_CLOSED, .task = st->id};

	m.closed.how = st->how;
	m.closed.value = st->value;
	if (st->message) cube_format(m.closed.message, sizeof m.closed.message, "%s", st->message);
	cube_msg_encode(out, &m);
}

static void encode_due(struct stream *st, struct cube_buf *out) {
	cube_list_remove(&st->dirty);
	if (st->closed) {
		encode_closed(st, out);
		stream_free(st);
	} else if (st->in.credit) encode_grant(st, out);
}

bool streams_pump_control(struct streams *s, struct cube_bufio *out, struct cube_buf *frames) {
	while (!cube_list_empty(&s->dirty)) {
		int rc;

		if (cube_bufio_queued(out) >= CONTROL_HIGH) return false;
		while (!cube_list_empty(&s->dirty) && cube_buf_len(frames) < BATCH)
			encode_due(cube_container(s->dirty.next, struct stream, dirty), frames);
		rc = cube_bufio_write(out, cube_buf_data(frames), cube_buf_len(frames));
		cube_buf_clear(frames);
		if (rc < 0) return false;
	}
	return true;
}

size_t streams_pump_data(struct streams *s, struct cube_bufio *out) {
	size_t n = 0;

	while (!n && !cube_list_empty(&s->ready))
		n = stream_send(cube_container(s->ready.next, struct flow, ready), out);
	return n;
}
