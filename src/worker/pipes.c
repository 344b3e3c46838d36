/* The pipes of an attempt: output into spools, stdin out of a buffer. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "attempt.h"
#include "cube/spawn.h"

enum {
	READ_TURN = 256 * 1024, /* bytes from one pipe in one turn */
	READ_SMALL = 4000,
	WIDE_PIPE = 1 << 20,
	/* Pipe memory is accounted per user, and over 64 MiB (pipe-user-pages-soft) every new pipe
	 * of that user shrinks to a page: only a few, busy pipes are made larger. */
	WIDE_MAX = 16,
};

static void on_output(void *arg, uint32_t events);

/* ---- output ----------------------------------------------------------------------------- */

static int watch(struct output *o, struct cube_err *err) {
	if (o->io || o->fd < 0) return 0;
	return cube_io_add(o->owner->r->loop, o->fd, EPOLLIN, on_output, o, &o->io, err);
}

/* Not events 0: a hung-up pipe would be reported in every turn. */
static void unwatch(struct output *o) {
	cube_io_del(o->io);
	o->io = NULL;
}

int output_open(struct output *o, int fd, struct cube_err *err) {
	o->fd = fd;
	if (cube_set_nonblock(fd, true) < 0 || watch(o, err) < 0) {
		close(fd);
		o->fd = -1;
		return cube_fail(err, CUBE_ESYS, "cannot watch a pipe");
	}
	return 0;
}

void output_close(struct output *o) {
	unwatch(o);
	if (o->fd < 0) return;
	close(o->fd);
	o->fd = -1;
	if (o->wide) o->owner->r->wide_pipes--;
	o->wide = false;
}

static void widen(struct output *o) {
	struct runner *r = o->owner->r;

	if (o->wide || r->wide_pipes >= WIDE_MAX) return;
	if (fcntl(o->fd, F_SETPIPE_SZ, WIDE_PIPE) < 0) return;
	o->wide = true;
	r->wide_pipes++;
}

/* One read into the spool. Bytes read, 0 at the end of file, -1: nothing there, or no room. */
static ssize_t read_some(struct output *o, size_t want, size_t *ret_space) {
	uint8_t *space;
	ssize_t n;

	if (spool_reserve(&o->spool, want, &space, ret_space) != 0) return -1;
	do n = read(o->fd, space, *ret_space);
	while (n < 0 && errno == EINTR);
	spool_commit(&o->spool, n > 0 ? (size_t)n : 0);
	return n < 0 && errno != EAGAIN ? 0 : n;
}

void output_drain(struct output *o) {
	size_t total = 0, space = 0, want = READ_SMALL;
	ssize_t n = 0;

	while (o->fd >= 0 && total < READ_TURN) {
		n = read_some(o, want, &space);
		if (n <= 0) break;
		total += (size_t)n;
		if ((size_t)n < space) break; /* the pipe is empty now; a next event tells more */
		want = READ_TURN / 4;
	}
	if (total) runner_mark_unsent(o);
	if (total >= READ_TURN / 4) widen(o);
	if (o->fd >= 0 && n == 0) output_close(o);
	else if (!spool_room(&o->spool)) unwatch(o);
}

static void on_output(void *arg, uint32_t events) {
	struct output *o = arg;

	output_drain(o);
	if (o->fd < 0) attempt_pipes_changed(o->owner);
}

void output_resume(struct output *o) {
	if (spool_room(&o->spool) && watch(o, NULL) < 0) {
		output_close(o); /* epoll has no memory: better an end than a silent stop */
		attempt_pipes_changed(o->owner);
	}
}

/* ---- stdin ------------------------------------------------------------------------------ */

static void on_input(void *arg, uint32_t events) {
	input_flush(arg);
}

int input_open(struct input *in, struct attempt *a, int fd, struct cube_err *err) {
	in->fd = fd;
	if (cube_set_nonblock(fd, true) < 0) {
		close(fd);
		in->fd = -1;
		return cube_fail(err, CUBE_ESYS, "cannot prepare stdin");
	}
	if (cube_buf_len(&in->buf) || in->eof) input_flush(a); /* came while it was queued */
	return 0;
}

void input_close(struct input *in) {
	cube_io_del(in->io);
	in->io = NULL;
	if (in->fd >= 0) close(in->fd);
	in->fd = -1;
	in->taken += cube_buf_len(&in->buf);
	cube_buf_done(&in->buf);
}

/* Waits for room in the pipe only while there is something to write. */
static void watch_input(struct attempt *a) {
	struct input *in = &a->in;
	struct cube_err err;

	if (!cube_buf_len(&in->buf)) {
		cube_io_del(in->io);
		in->io = NULL;
	} else if (!in->io &&
		   cube_io_add(a->r->loop, in->fd, EPOLLOUT, on_input, a, &in->io, &err) < 0)
		input_close(in);
}

void input_flush(struct attempt *a) {
	struct input *in = &a->in;
	uint64_t before = in->taken;
	ssize_t n = 0;

	while (in->fd >= 0 && cube_buf_len(&in->buf)) {
		n = write(in->fd, cube_buf_data(&in->buf), cube_buf_len(&in->buf));
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) break;
		in->taken += (size_t)n;
		cube_buf_consume(&in->buf, (size_t)n);
	}
	if (in->fd >= 0 && n < 0 && errno != EAGAIN) input_close(in); /* EPIPE: it does not read */
	if (in->fd >= 0) watch_input(a);
	if (in->eof && in->fd >= 0 && !cube_buf_len(&in->buf)) input_close(in);
	if (!cube_buf_len(&in->buf)) cube_buf_done(&in->buf); /* nothing is kept while idle */
	if (in->taken != before) runner_need(a, NEED_STDIN_ACK);
}
