#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/node.h"
#include "cube/task.h"

#define PROTOCOL   "cube-stream/1"
#define WINDOW     (4u << 20)
#define CHUNK      (256u << 10)
#define STEP_MAX   (1u << 20) /* read in one step */
#define WAIT_NS    (10 * CUBE_NS_PER_S)
#define LEAVING_NS CUBE_NS_PER_S
#define LOOK_MS    200          /* at how long it has been silent */
#define QUEUE_HIGH (256u << 10) /* no more input is taken over this */
/* Small enough that each hop gets whole frames with one read and has them in its cache. */
#define FRAME       (16u << 10)
#define FRAMES      16u        /* sent at once */
#define SOCKET_SEND (1u << 20) /* as far as the system allows: fewer turns */

struct cube_rstream {
	const struct cube_rstream_ops *ops;
	void *arg;
	int fd;
	struct cube_buf in, out;
	uint32_t input;     /* granted and not used */
	uint32_t grant_at;  /* so much used up is granted again */
	uint32_t used[2];   /* used up of fds 1 and 2, and not granted again */
	uint32_t output[2]; /* granted of fds 1 and 2, and not come */
	bool over[2];       /* their ends of file came */
	bool ended, closed;
	uint64_t heard; /* when bytes came, or it was opened */
	bool silent;    /* that was told */
	uint8_t how;
	int32_t value;
	char message[240];
};

/* ---- sending ---- */

static size_t put(struct cube_rstream *s, const struct iovec *iov, int n) {
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
	ssize_t done;
	do done = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (done < 0 && errno == EINTR);
	return done > 0 ? (size_t)done : 0; /* a broken connection is told by reading */
}

/* All of iov but its first `done` bytes. */
static void queue(struct cube_rstream *s, const struct iovec *iov, int n, size_t done) {
	for (int i = 0; i < n; i++) {
		size_t cut = done < iov[i].iov_len ? done : iov[i].iov_len;
		done -= cut;
		if (cut < iov[i].iov_len)
			cube_buf_add(&s->out, (const char *)iov[i].iov_base + cut,
				     iov[i].iov_len - cut);
	}
}

static void send_iov(struct cube_rstream *s, const struct iovec *iov, int n) {
	queue(s, iov, n, cube_buf_len(&s->out) ? 0 : put(s, iov, n));
}

static void flush(struct cube_rstream *s) {
	size_t n = cube_buf_len(&s->out);
	if (!n) return;
	struct iovec iov = {(void *)cube_buf_data(&s->out), n};
	size_t done = put(s, &iov, 1);
	if (done == n) cube_buf_clear(&s->out);
	else cube_buf_consume(&s->out, done);
}

static void send_msg(struct cube_rstream *s, const struct cube_msg *msg) {
	struct cube_buf frame;
	cube_buf_init(&frame, 4096);
	if (!s->closed && cube_msg_encode(&frame, msg) == 0) {
		struct iovec iov = {(void *)cube_buf_data(&frame), cube_buf_len(&frame)};
		send_iov(s, &iov, 1);
	}
	cube_buf_done(&frame);
}

size_t cube_rstream_room(const struct cube_rstream *s) {
	if (s->ended || s->closed || cube_buf_len(&s->out) >= QUEUE_HIGH) return 0;
	size_t room = cube_msg_stream_room(s->input);
	return room < CUBE_DATA_MAX ? room : CUBE_DATA_MAX;
}

void cube_rstream_write(struct cube_rstream *s, const void *bytes, size_t n) {
	uint8_t head[CUBE_STREAM_HEAD];
	if (!n || n > cube_rstream_room(s)) return;
	cube_msg_stream_head(head, CUBE_MSG_STREAM_INPUT, 0, CUBE_STDIN, (uint32_t)n);
	struct iovec iov[2] = {{head, sizeof head}, {(void *)bytes, n}};
	s->input -= cube_msg_stream_cost(n);
	send_iov(s, iov, 2);
}

void cube_rstream_send(struct cube_rstream *s, uint8_t *frame, size_t n) {
	if (!n || n > cube_rstream_room(s)) return;
	cube_msg_stream_head(frame, CUBE_MSG_STREAM_INPUT, 0, CUBE_STDIN, (uint32_t)n);
	struct iovec iov = {frame, CUBE_STREAM_HEAD + n};
	s->input -= cube_msg_stream_cost(n);
	send_iov(s, &iov, 1);
}

/* What of the frames has begun to go out is sent, the rest of the last one by the queue. */
static size_t took(struct cube_rstream *s, const struct iovec *iov, unsigned frames, size_t done) {
	size_t taken = 0;
	for (unsigned i = 0; i < frames; i++) {
		struct iovec rest[2] = {iov[2 * i], iov[2 * i + 1]};
		size_t n = rest[1].iov_len, whole = rest[0].iov_len + n;
		if (i && !done) break;
		taken += n;
		s->input -= cube_msg_stream_cost(n);
		if (done < whole) {
			queue(s, rest, 2, done);
			break;
		}
		done -= whole;
	}
	return taken;
}

size_t cube_rstream_stream(struct cube_rstream *s, const uint8_t *bytes, size_t n) {
	uint8_t heads[FRAMES][CUBE_STREAM_HEAD];
	struct iovec iov[2 * FRAMES];
	uint32_t input = s->input;
	unsigned frames = 0;
	if (s->ended || s->closed || cube_buf_len(&s->out)) return 0;
	for (size_t at = 0; at < n && frames < FRAMES && cube_msg_stream_room(input); frames++) {
		size_t piece = cube_msg_stream_room(input);
		if (piece > FRAME) piece = FRAME;
		if (piece > n - at) piece = n - at;
		cube_msg_stream_head(heads[frames], CUBE_MSG_STREAM_INPUT, 0, CUBE_STDIN,
				     (uint32_t)piece);
		iov[2 * frames] = (struct iovec){heads[frames], CUBE_STREAM_HEAD};
		iov[2 * frames + 1] = (struct iovec){(void *)(uintptr_t)(bytes + at), piece};
		input -= cube_msg_stream_cost(piece);
		at += piece;
	}
	return frames ? took(s, iov, frames, put(s, iov, (int)(2 * frames))) : 0;
}

void cube_rstream_end(struct cube_rstream *s) {
	uint8_t head[CUBE_STREAM_HEAD];
	if (s->ended || s->closed) return;
	s->ended = true;
	cube_msg_stream_head(head, CUBE_MSG_STREAM_INPUT, 0, CUBE_STDIN, 0);
	struct iovec iov = {head, sizeof head};
	send_iov(s, &iov, 1);
}

void cube_rstream_signal(struct cube_rstream *s, int signo) {
	send_msg(s, &(struct cube_msg){.type = CUBE_MSG_STREAM_SIGNAL, .signal.signo = signo});
}

void cube_rstream_resize(struct cube_rstream *s, uint16_t rows, uint16_t cols) {
	send_msg(s, &(struct cube_msg){
			    .type = CUBE_MSG_STREAM_RESIZE, .open.rows = rows, .open.cols = cols});
}

static void send_window(struct cube_rstream *s, int fd, uint32_t n) {
	struct cube_msg msg = {.type = CUBE_MSG_STREAM_WINDOW};
	msg.stream.fd = (uint8_t)fd;
	msg.stream.window = n;
	s->output[fd - 1] += n;
	send_msg(s, &msg);
}

void cube_rstream_grant(struct cube_rstream *s, int fd, size_t n) {
	uint32_t *used = &s->used[fd - 1];
	*used += (uint32_t)n;
	if (*used < (fd == 2 ? s->grant_at / 4 : s->grant_at)) return;
	send_window(s, fd, *used);
	*used = 0;
}

/* ---- receiving ---- */

static int on_output(struct cube_rstream *s, const struct cube_msg *msg, struct cube_err *err) {
	struct cube_slice data = msg->stream.bytes;
	uint32_t *granted = &s->output[msg->stream.fd - 1], cost = cube_msg_stream_cost(data.n);
	bool *over = &s->over[msg->stream.fd - 1];
	if (*over) return cube_fail(err, CUBE_EPROTO, "more output came after its end");
	if (cost > *granted)
		return cube_fail(err, CUBE_EPROTO, "more output came than was granted");
	*granted -= cost;
	*over = !data.n;
	if (data.n) cube_rstream_grant(s, msg->stream.fd, CUBE_STREAM_COST);
	return s->ops->data(s->arg, msg->stream.fd, data.p, data.n, err);
}

static int on_msg(struct cube_rstream *s, const struct cube_msg *msg, struct cube_err *err) {
	switch (msg->type) {
	case CUBE_MSG_STREAM_OUTPUT: return on_output(s, msg, err);
	case CUBE_MSG_STREAM_GRANT:
		if (msg->stream.window <= CUBE_WINDOW_MAX - s->input) {
			s->input += msg->stream.window;
			return 0;
		}
		break;
	case CUBE_MSG_STREAM_CLOSED:
		s->closed = true;
		s->how = msg->closed.how;
		s->value = msg->closed.value;
		memcpy(s->message, msg->closed.message, sizeof s->message);
		return 0;
	default: break;
	}
	return cube_fail(err, CUBE_EPROTO, "the manager sends %s", cube_msg_name((int)msg->type));
}

/* Hands out whole frames that have come. */
static int take_frames(struct cube_rstream *s, struct cube_err *err) {
	int rc = 0;
	while (!rc && !s->closed) {
		struct cube_msg msg;
		size_t used;
		rc = cube_msg_decode(cube_buf_data(&s->in), cube_buf_len(&s->in), &msg, &used, err);
		if (rc == CUBE_AGAIN) return 0;
		if (rc) return rc;
		rc = on_msg(s, &msg, err);
		cube_buf_consume(&s->in, used);
	}
	return rc;
}

int cube_rstream_step(struct cube_rstream *s, struct cube_err *err) {
	flush(s);
	int rc = take_frames(s, err);
	for (size_t total = 0; !rc && !s->closed && total < STEP_MAX;) {
		uint8_t *space;
		if (cube_buf_reserve(&s->in, CHUNK, &space))
			return cube_fail_sys(err, ENOMEM, "stream");
		ssize_t n = recv(s->fd, space, CHUNK, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN) return 0;
		if (n <= 0)
			return cube_fail(err, CUBE_ECONNECT,
					 "the manager went away, and the stream with it; the "
					 "next command starts it again");
		cube_buf_commit(&s->in, (size_t)n);
		s->heard = cube_clock_mono();
		total += (size_t)n;
		rc = take_frames(s, err);
	}
	return rc;
}

int cube_rstream_fd(const struct cube_rstream *s) {
	return s->fd;
}

short cube_rstream_events(const struct cube_rstream *s) {
	return cube_buf_len(&s->out) ? POLLIN | POLLOUT : POLLIN;
}

/* ---- life ---- */

static int send_open(struct cube_rstream *s, const struct cube_rstream_open *o,
		     struct cube_err *err) {
	struct cube_msg_open open = {.argv = o->argv,
				     .env = o->env,
				     .dir = o->dir ? o->dir : "",
				     .flags = o->flags,
				     .rows = o->rows,
				     .cols = o->cols};
	uint32_t window = o->window ? o->window : WINDOW;
	if (cube_msg_encode_open(&s->out, &open))
		return cube_fail(err, CUBE_ETOOBIG,
				 "the command is too long: at most 1 MiB with "
				 "its environment");
	s->grant_at = window / 4;
	send_window(s, CUBE_STDOUT, window);
	if (!(o->flags & CUBE_OPEN_PTY)) send_window(s, CUBE_STDERR, window / 4);
	flush(s);
	return 0;
}

/* A node's name in a path. */
static char *escape(const char *name) {
	char *text = cube_alloc(strlen(name) * 3 + 1), *at = text;
	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == '-' || *p == '_' || *p == '.';
		at += plain ? snprintf(at, 2, "%c", *p) : snprintf(at, 4, "%%%02X", *p);
	}
	return text;
}

int cube_rstream_open(struct cube_client *c, const struct cube_rstream_open *open,
		      const struct cube_rstream_ops *ops, void *arg, struct cube_rstream **ret,
		      struct cube_err *err) {
	cube_autofree char *name = escape(open->node);
	cube_autofree char *path = cube_strf("/v1/nodes/%s/streams", name);
	int fd = -1, size = SOCKET_SEND, rc = cube_client_upgrade(c, path, PROTOCOL, &fd, err);
	if (rc) return rc;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	struct cube_rstream *s = cube_alloc(sizeof *s);
	s->ops = ops;
	s->arg = arg;
	s->fd = fd;
	s->heard = cube_clock_mono();
	cube_buf_init(&s->in, CUBE_FRAME_MAX + 4 + CHUNK);
	cube_buf_init(&s->out, 4 * CUBE_FRAME_MAX);
	rc = send_open(s, open, err);
	if (rc) cube_rstream_free(s);
	else *ret = s;
	return rc;
}

bool cube_rstream_node_may(const json_t *node) {
	enum cube_node_state state;
	if (cube_node_state_parse(cube_json_str(node, "state", ""), &state)) return false;
	return cube_node_joining(state) || state == CUBE_NODE_LOST || state == CUBE_NODE_READY;
}

static bool on_its_way(struct cube_client *c, const char *name) {
	json_t *reply = NULL, *node;
	size_t i;
	bool found = false;
	if (cube_client_json(c, "GET", "/v1/nodes", NULL, &reply, NULL)) return false;
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		if (strcmp(cube_json_str(node, "name", ""), name) == 0)
			found = cube_rstream_node_may(node);
	}
	json_decref(reply);
	return found;
}

int cube_rstream_no_node(const char *name, struct cube_err *err) {
	if (strpbrk(name, "[],@^*"))
		return cube_fail(err, CUBE_EUSAGE,
				 "%.80s: this takes one node; `cube run` takes many", name);
	return cube_fail(err, CUBE_ENOTFOUND,
			 "there is no node %.80s; `cube spawn --workers=%.80s` adds it", name,
			 name);
}

/* One that is just leaving does not let another one start: then once more. */
static int start_again(struct cube_cli *cli, uint64_t waited, struct cube_err *err) {
	int rc = cube_client_start_manager(&cli->paths, err);
	if (rc) return rc == CUBE_ECONNECT && waited < LEAVING_NS ? CUBE_AGAIN : rc;
	cube_fail(err, CUBE_ECONNECT, "the manager went away; it was started again");
	cube_cli_say("%s", err->msg);
	return CUBE_AGAIN;
}

int cube_rstream_try(struct cube_cli *cli, const struct cube_rstream_open *open,
		     const struct cube_rstream_ops *ops, void *arg, uint64_t began,
		     struct cube_rstream **ret, struct cube_err *err) {
	int rc = cube_rstream_open(cli->client, open, ops, arg, ret, err);
	uint64_t waited = cube_clock_mono() - began;
	if (rc == CUBE_ENOTFOUND) return cube_rstream_no_node(open->node, err);
	if (!rc || waited >= WAIT_NS) return rc;
	if (rc == CUBE_ECONNECT) return start_again(cli, waited, err);
	return rc == CUBE_ECONFLICT && on_its_way(cli->client, open->node) ? CUBE_AGAIN : rc;
}

int cube_rstream_open_waiting(struct cube_cli *cli, const struct cube_rstream_open *open,
			      const struct cube_rstream_ops *ops, void *arg,
			      struct cube_rstream **ret, struct cube_err *err) {
	uint64_t began = cube_clock_mono();
	bool told = false;
	int rc;
	while ((rc = cube_rstream_try(cli, open, ops, arg, began, ret, err)) == CUBE_AGAIN) {
		if (!told && cube_clock_mono() - began > CUBE_NS_PER_S) {
			cube_cli_say("%s; waiting for it, at most 10 s", err->msg);
			told = true;
		}
		poll(NULL, 0, 50);
	}
	return rc;
}

bool cube_rstream_silent(struct cube_rstream *s, uint64_t limit, bool working) {
	uint64_t now = cube_clock_mono();
	if (working) s->heard = now;
	if (!limit || s->silent || s->closed || now - s->heard < limit) return false;
	return s->silent = true;
}

void cube_rstream_say_silent(const char *names, uint64_t limit) {
	cube_cli_say("%s: no answer for %llu s; waiting (Ctrl-C ends)", names,
		     (unsigned long long)(limit / CUBE_NS_PER_S));
}

int cube_rstream_finish(struct cube_rstream *s, const char *node, uint64_t limit,
			struct cube_err *err) {
	int rc = 0;
	while (!rc && !s->closed) {
		struct pollfd p = {s->fd, cube_rstream_events(s), 0};
		if (poll(&p, 1, LOOK_MS) > 0) rc = cube_rstream_step(s, err);
		if (!rc && cube_rstream_silent(s, limit, false))
			cube_rstream_say_silent(node, limit);
	}
	return rc;
}

void cube_rstream_free(struct cube_rstream *s) {
	if (!s) return;
	close(s->fd);
	cube_buf_done(&s->in);
	cube_buf_done(&s->out);
	free(s);
}

bool cube_rstream_closed(const struct cube_rstream *s) {
	return s->closed;
}

struct cube_rstream_outcome cube_rstream_result(const struct cube_rstream *s) {
	return (struct cube_rstream_outcome){s->how, s->value, s->message};
}

int cube_rstream_exit(const struct cube_rstream *s, const char *node) {
	struct cube_err err;
	switch (s->how) {
	case CUBE_EXIT_EXITED:
	case CUBE_EXIT_SIGNALED: return cube_task_exit_code(s->how, s->value);
	case CUBE_EXIT_LOST:
		cube_fail(&err, CUBE_ECONNECT, "the stream to %.80s broke: %.140s", node,
			  s->message);
		return cube_cli_fail(&err);
	default:
		cube_fail(&err, CUBE_ECONFLICT, "%.80s: %.150s", node, s->message);
		cube_cli_fail(&err);
		return s->value ? cube_task_exit_code(CUBE_EXIT_NOT_STARTED, s->value) : 125;
	}
}
