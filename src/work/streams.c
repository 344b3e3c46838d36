#include "streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "work_impl.h"
#include "cube/bufio.h"

#define BULK_MAX  (512u << 10) /* held of a client while its turn has not come */
#define OUT_MAX   (2 * CUBE_WINDOW_MAX + (64u << 10))
#define WAITS_MAX (1u << 20)   /* while more waits for the link, clients wait too */
#define BATCH     (128u << 10) /* of one stream goes out before the next one's */

struct cube_mstream {
	struct cube_list entry; /* in cube_node.streams; in cube_manager.streams_over */
	struct cube_list bulk;  /* in cube_node.stream_bulk: the frame at the front of in waits */
	struct cube_node *node; /* NULL: over; the client still gets what is queued */
	struct cube_work *work;
	void (*over)(void *arg);
	void *arg;
	struct cube_bufio *io;
	struct cube_buf in;
	uint64_t id;        /* 0: OPEN has not come */
	uint32_t input;     /* granted by the worker and not used */
	uint32_t output[2]; /* the same by the client, of fds 1 and 2 */
	bool eof, ended[2]; /* ends of file that came: of input, and of fds 1 and 2 */
};

int cube_streams_check(const struct cube_node *node, struct cube_err *err) {
	if (node->state == CUBE_NODE_READY && cube_node_linked(node)) return 0;
	return cube_fail(err, CUBE_ECONFLICT, "%.80s is %s%s%.120s", node->name,
			 cube_node_state_name(node->state), *node->reason ? ": " : "",
			 node->reason);
}

/* --- the end --- */

static void detach(struct cube_mstream *st) {
	cube_list_remove(&st->bulk);
	cube_list_remove(&st->entry);
	cube_list_append(&st->work->streams_over, &st->entry);
	st->node = NULL;
	cube_buf_done(&st->in);
}

static void stream_free(struct cube_mstream *st) {
	cube_list_remove(&st->bulk);
	cube_list_remove(&st->entry);
	cube_buf_done(&st->in);
	cube_bufio_free(st->io);
	st->over(st->arg);
	free(st);
}

static void send_client(struct cube_mstream *st, const struct cube_msg *msg) {
	struct cube_buf frame;
	cube_buf_init(&frame, 4096);
	if (cube_msg_encode(&frame, msg) == 0)
		cube_bufio_write(st->io, cube_buf_data(&frame), cube_buf_len(&frame));
	cube_buf_done(&frame);
}

/* The client's last frame; the connection ends once that is out and the client closed too. */
static void finish(struct cube_mstream *st, uint8_t how, int32_t value, const char *message) {
	struct cube_msg msg = {.type = CUBE_MSG_STREAM_CLOSED};
	msg.closed.how = how;
	msg.closed.value = value;
	snprintf(msg.closed.message, sizeof msg.closed.message, "%s", message);
	send_client(st, &msg);
	detach(st);
	cube_bufio_end(st->io);
}

static void send_worker(struct cube_mstream *st, enum cube_msg_type type) {
	struct cube_msg msg = {.type = type, .task = st->id};
	if (st->node && st->id) cube_node_send(st->node, &msg);
}

/* The client broke the rules. */
static void refuse(struct cube_mstream *st, const char *why) {
	send_worker(st, CUBE_MSG_STREAM_CLOSE);
	finish(st, CUBE_EXIT_NOT_STARTED, 0, why);
}

/* --- what the client says --- */

/* The frame at p, n bytes, goes to the worker as it is but for the id. */
static void relay(struct cube_mstream *st, uint8_t *p, size_t n) {
	struct cube_node *node = st->node;
	cube_msg_set_stream(p, st->id);
	cube_node_send_bytes(node, p, n);
}

/* Words are checked here, so that the worker sees no client's mistake as the manager's. */
static const char *check_open(const struct cube_msg *msg) {
	struct cube_slice word;
	size_t pos = 0;
	while (cube_msg_next_bytes(&msg->open.env, &pos, &word)) {
		const uint8_t *eq = memchr(word.p, '=', word.n);
		if (!eq || eq == word.p) return "env: no NAME=";
	}
	return !msg->open.argv.count && msg->open.flags & CUBE_OPEN_OWN ? "no command" : NULL;
}

static const char *check_frame(struct cube_mstream *st, const struct cube_msg *msg) {
	const char *wrong;
	if ((msg->type == CUBE_MSG_OPEN) != !st->id) return "a stream begins with one OPEN";
	switch (msg->type) {
	case CUBE_MSG_OPEN:
		wrong = check_open(msg);
		if (!wrong) st->id = ++cube_seat_of(st->node)->stream_last;
		return wrong;
	case CUBE_MSG_STREAM_WINDOW:
		if (msg->stream.window > CUBE_WINDOW_MAX - st->output[msg->stream.fd - 1])
			return "more granted than may be";
		st->output[msg->stream.fd - 1] += msg->stream.window;
		return NULL;
	case CUBE_MSG_STREAM_SIGNAL:
		return msg->signal.signo < 1 || msg->signal.signo > 64 ? "no such signal" : NULL;
	case CUBE_MSG_STREAM_RESIZE:
	case CUBE_MSG_STREAM_CLOSE: return NULL;
	case CUBE_MSG_STREAM_INPUT:
		if (st->eof || cube_msg_stream_cost(msg->stream.bytes.n) > st->input)
			return "more data than was granted";
		st->input -= cube_msg_stream_cost(msg->stream.bytes.n);
		st->eof = !msg->stream.bytes.n;
		return NULL;
	default: return "a frame that is not the client's to send";
	}
}

/* Data waits for its turn; the rest goes at once, but while a link is slow not without end. */
static bool has_to_wait(const struct cube_mstream *st, enum cube_msg_type type) {
	return (type == CUBE_MSG_STREAM_INPUT && st->id) ||
	       cube_buf_len(cube_node_outbox(st->node)) > WAITS_MAX;
}

/* Takes frames from the front up to one that has to wait. */
static void take_frames(struct cube_mstream *st) {
	struct cube_msg msg;
	struct cube_err err;
	size_t used;
	while (st->node) {
		uint8_t *p = (uint8_t *)cube_buf_data(&st->in);
		int rc = cube_msg_decode(p, cube_buf_len(&st->in), &msg, &used, &err);
		if (rc == CUBE_AGAIN) return;
		if (rc == 0 && has_to_wait(st, msg.type)) {
			if (!cube_list_linked(&st->bulk)) {
				cube_list_append(&cube_seat_of(st->node)->stream_bulk, &st->bulk);
				cube_node_flush_soon(st->node);
			}
			return;
		}
		const char *wrong = rc ? err.msg : check_frame(st, &msg);
		if (wrong) {
			refuse(st, wrong);
			return;
		}
		relay(st, p, used);
		cube_buf_consume(&st->in, used);
		if (!cube_buf_len(&st->in)) cube_buf_clear(&st->in);
	}
}

/* The frames of data at the front that go out together: how many bytes they have. What is wrong
 * with the first of them; another such frame is the first next time. */
static const char *gather(struct cube_mstream *st, size_t *ret_n) {
	uint8_t *p = (uint8_t *)cube_buf_data(&st->in);
	size_t n = 0, used;
	const char *wrong = NULL;
	struct cube_msg msg;
	struct cube_err err;
	while (!wrong &&
	       cube_msg_decode(p + n, cube_buf_len(&st->in) - n, &msg, &used, &err) == 0) {
		if (n && (msg.type != CUBE_MSG_STREAM_INPUT || n + used > BATCH)) break;
		wrong = check_frame(st, &msg);
		if (wrong) break;
		cube_msg_set_stream(p + n, st->id);
		n += used;
	}
	*ret_n = n;
	return n ? NULL : wrong;
}

bool cube_streams_pump(void *arg, struct cube_node *node) {
	size_t n;
	if (cube_list_empty(&cube_seat_of(node)->stream_bulk)) return false;
	struct cube_mstream *st =
		cube_container(cube_seat_of(node)->stream_bulk.next, struct cube_mstream, bulk);
	uint8_t *p = (uint8_t *)cube_buf_data(&st->in);
	cube_list_remove(&st->bulk);
	const char *wrong = gather(st, &n);
	if (wrong) {
		refuse(st, wrong);
		return true;
	}
	/* what the transport may not take at once goes out in pieces */
	if (n > CUBE_STREAM_HEAD + CUBE_DATA_MAX) relay(st, p, n);
	else cube_node_send_now(node, p, n);
	cube_buf_consume(&st->in, n);
	take_frames(st);
	if (st->node) cube_bufio_resume(st->io);
	return true;
}

/* How much more is taken of a client: whole frames are not gathered without end. */
static size_t room(const struct cube_mstream *st) {
	size_t held = cube_buf_len(&st->in);
	if (!cube_list_linked(&st->bulk)) return cube_buf_room(&st->in);
	return held < BULK_MAX ? BULK_MAX - held : 0;
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_mstream *st = arg;
	if (!st->node) return n;
	size_t most = room(st), take = n < most ? n : most;
	if (cube_buf_add(&st->in, bytes, take)) refuse(st, "no memory");
	else take_frames(st);
	return st->node ? take : n;
}

/* The client has gone, or has read its last frame. */
static void on_closed(void *arg, const struct cube_err *err) {
	struct cube_mstream *st = arg;
	send_worker(st, CUBE_MSG_STREAM_CLOSE);
	stream_free(st);
}

void cube_streams_begin(struct cube_work *work, struct cube_node *node, int fd, const void *early,
			size_t n, void (*over)(void *arg), void *arg) {
	static const struct cube_bufio_ops ops = {.data = on_data, .closed = on_closed};
	static const struct cube_bufio_limits limits = {
		.max_in = 64u << 10, .max_out = OUT_MAX, .low_out = 0};
	struct cube_mstream *st = cube_alloc(sizeof *st);
	struct cube_err err;
	st->work = work;
	st->over = over;
	st->arg = arg;
	cube_buf_init(&st->in, CUBE_FRAME_MAX + 4);
	if (cube_bufio_new(work->is.turn->loop, fd, fd, &ops, st, &limits, &st->io, &err)) {
		stream_free(st);
		return;
	}
	st->node = node;
	cube_list_append(&cube_seat_of(node)->streams, &st->entry);
	if (cube_streams_check(node, &err)) finish(st, CUBE_EXIT_NOT_STARTED, 0, err.msg);
	else if (n) on_data(st, early, n);
}

/* --- what the worker says --- */

static struct cube_mstream *find(struct cube_node *node, uint64_t id) {
	cube_list_each (&cube_seat_of(node)->streams, st, struct cube_mstream, entry) {
		if (st->id == id && id) return st;
	}
	return NULL;
}

static int on_output(struct cube_mstream *st, const struct cube_msg *msg, struct cube_err *err) {
	uint8_t head[CUBE_STREAM_HEAD];
	struct cube_slice data = msg->stream.bytes;
	uint32_t *granted = &st->output[msg->stream.fd - 1], cost = cube_msg_stream_cost(data.n);
	bool *over = &st->ended[msg->stream.fd - 1];
	if (cost > *granted || *over)
		return cube_fail(err, CUBE_EPROTO, "stream %llu sends more than was granted",
				 (unsigned long long)st->id);
	*granted -= cost;
	*over = !data.n;
	cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, 0, msg->stream.fd, (uint32_t)data.n);
	struct iovec iov[2] = {{head, sizeof head}, {(void *)data.p, data.n}};
	if (cube_bufio_writev(st->io, iov, data.n ? 2 : 1))
		refuse(st, "the client does not read what it asked for");
	return 0;
}

static int on_grant(struct cube_mstream *st, const struct cube_msg *msg, struct cube_err *err) {
	if (msg->stream.window > CUBE_WINDOW_MAX - st->input)
		return cube_fail(err, CUBE_EPROTO, "stream %llu grants more than it may",
				 (unsigned long long)st->id);
	st->input += msg->stream.window;
	struct cube_msg grant = *msg;
	grant.task = 0;
	send_client(st, &grant);
	return 0;
}

int cube_streams_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
			 struct cube_err *err) {
	struct cube_mstream *st = find(node, msg->task);
	if (!st) return 0; /* closed on this side already */
	switch (msg->type) {
	case CUBE_MSG_STREAM_OUTPUT: return on_output(st, msg, err);
	case CUBE_MSG_STREAM_GRANT: return on_grant(st, msg, err);
	default: finish(st, msg->closed.how, msg->closed.value, msg->closed.message); return 0;
	}
}

void cube_streams_link_down(struct cube_node *node, const char *why) {
	cube_list_each (&cube_seat_of(node)->streams, st, struct cube_mstream, entry)
		finish(st, CUBE_EXIT_LOST, 0, why);
	cube_seat_of(node)->stream_last = 0;
}

void cube_streams_free(struct cube_work *work) {
	cube_list_each (&work->streams_over, st, struct cube_mstream, entry) stream_free(st);
}
