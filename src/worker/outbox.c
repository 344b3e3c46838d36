#include <string.h>

#include "cube/format.h"
#include "outbox.h"

enum {
	PUMP_MAX = 4 << 20,    /* log bytes a turn */
	BATCH = 16 << 10,      /* control bytes a write */
	FAIR_FRAME = 64 << 10, /* payload while several streams want to send */
	PIECES = 8,
};

static struct cube_msg about(const struct attempt *a, enum cube_msg_type type) {
	return (struct cube_msg){
		.type = type, .task = a->task, .attempt = a->attempt, .epoch = a->epoch};
}

static void encode_started(const struct attempt *a, struct cube_buf *out) {
	struct cube_msg m = about(a, CUBE_MSG_STARTED);

	m.started.pid = (uint32_t)a->pid;
	m.started.wall = a->started;
	cube_msg_encode(out, &m);
}

static void encode_stdin_ack(const struct attempt *a, struct cube_buf *out) {
	struct cube_msg m = about(a, CUBE_MSG_STDIN_ACK);

	m.ack.offset = a->in.taken;
	cube_msg_encode(out, &m);
}

static void encode_exit(const struct attempt *a, struct cube_buf *out) {
	struct cube_msg m = about(a, CUBE_MSG_EXIT);

	m.exit.how = a->how;
	m.exit.value = a->value;
	m.exit.out_end = spool_end(&a->out.spool);
	m.exit.err_end = spool_end(&a->err.spool);
	m.exit.started = a->started;
	m.exit.finished = a->finished;
	m.exit.user_us = a->user_us;
	m.exit.sys_us = a->sys_us;
	m.exit.max_rss = a->max_rss;
	if (a->message) cube_format(m.exit.message, sizeof m.exit.message, "%s", a->message);
	cube_msg_encode(out, &m);
}

static bool logs_sent(const struct attempt *a) {
	return a->out.sent == spool_end(&a->out.spool) && a->err.sent == spool_end(&a->err.spool);
}

/* An EXIT whose logs are not all out keeps its bit; the last LOG makes it due again. */
static void encode_due(struct attempt *a, struct cube_buf *out) {
	if (a->needs & NEED_STARTED) encode_started(a, out); /* also when it has ended already */
	if (a->needs & NEED_STDIN_ACK) encode_stdin_ack(a, out);
	a->needs &= NEED_EXIT;
	if (!a->needs || !logs_sent(a)) return;
	encode_exit(a, out);
	a->needs = 0;
}

/* False when s takes no more. */
static bool pump_control(struct runner *r, struct cube_bufio *s, struct cube_buf *frames) {
	while (!cube_list_empty(&r->dirty)) {
		int rc;

		if (cube_bufio_queued(s) >= OUTBOX_CONTROL_HIGH) return false;
		while (!cube_list_empty(&r->dirty) && cube_buf_len(frames) < BATCH) {
			struct attempt *a = cube_container(r->dirty.next, struct attempt, dirty);

			cube_list_remove(&a->dirty);
			encode_due(a, frames);
		}
		rc = cube_bufio_write(s, cube_buf_data(frames), cube_buf_len(frames));
		cube_buf_clear(frames);
		if (rc < 0) return false;
	}
	return true;
}

/* One LOG frame of the stream whose turn it is. Returns its payload, 0 when s is full. */
static size_t send_log(struct runner *r, struct cube_bufio *s) {
	struct output *o = cube_container(r->unsent.next, struct output, unsent);
	bool alone = r->unsent.next == r->unsent.prev;
	struct cube_msg_log_id id = {o->owner->task, o->owner->epoch, o->owner->attempt, o->stream};
	struct iovec iov[1 + PIECES + 1];
	uint8_t head[CUBE_LOG_HEAD], tail[CUBE_LOG_TAIL];
	size_t n, tail_len;
	int pieces;

	pieces = spool_peek(&o->spool, o->sent, alone ? CUBE_DATA_MAX : FAIR_FRAME, iov + 1, PIECES,
			    &n);
	tail_len = cube_msg_log_ends(head, tail, &id, o->sent, (uint32_t)n);
	iov[0] = (struct iovec){.iov_base = head, .iov_len = sizeof head};
	iov[pieces + 1] = (struct iovec){.iov_base = tail, .iov_len = tail_len};
	if (cube_bufio_writev(s, iov, pieces + 1 + (tail_len > 0)) < 0) return 0;
	o->sent += n;
	cube_list_remove(&o->unsent); /* to the end of the row, or out of it */
	runner_mark_unsent(o);
	if (o->owner->needs & NEED_EXIT && logs_sent(o->owner)) runner_need(o->owner, NEED_EXIT);
	return n;
}

bool outbox_pump(struct runner *r, struct streams *streams, struct cube_bufio *s,
		 struct cube_buf *frames) {
	size_t total = 0, n;

	for (;;) {
		if (!pump_control(r, s, frames) || !streams_pump_control(streams, s, frames))
			return false;
		if (cube_bufio_queued(s) >= OUTBOX_LOG_HIGH) return false;
		if (total >= PUMP_MAX) return true;
		n = cube_list_empty(&r->unsent) ? 0 : send_log(r, s);
		if (cube_bufio_queued(s) < OUTBOX_LOG_HIGH) n += streams_pump_data(streams, s);
		/* the last piece of a stream makes its end due */
		if (!n && cube_list_empty(&streams->dirty)) return false;
		total += n;
	}
}
