/* A stream's process: pipes or a terminal, bytes in and out, the end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "self.h"
#include "stream_impl.h"

enum {
	WIDE_PIPE = 1 << 20,
	WIDE_MAX = 16, /* see pipes.c */
	/* What may lie in a pipe when its writer is gone, at most. */
	CUT_BYTES = 1 << 20,
};
#define PIPE_GRACE_NS (2 * CUBE_NS_PER_S)
#define PTY_GRACE_NS  (200 * CUBE_NS_PER_MS)

/* ---- output --------------------------------------------------------------------------------- */

static void make_ready(struct flow *f) {
	if (f->fd >= 0 && cube_msg_stream_room(f->window) && !cube_list_linked(&f->ready))
		cube_list_append(&f->owner->s->ready, &f->ready);
}

/* Not events 0 while it waits for its turn: a hung-up pipe would be told in each of the loop's. */
static void on_readable(void *arg, uint32_t events) {
	struct flow *f = arg;

	cube_io_del(f->io);
	f->io = NULL;
	make_ready(f);
}

void stream_watch(struct flow *f) {
	if (f->fd < 0 || !cube_msg_stream_room(f->window) || f->io || cube_list_linked(&f->ready))
		return;
	if (f->cut || cube_io_add(f->owner->s->runner->loop, f->fd, EPOLLIN, on_readable, f, &f->io,
				  NULL) < 0)
		make_ready(f);
}

static void flow_close(struct flow *f) {
	cube_io_del(f->io);
	f->io = NULL;
	cube_list_remove(&f->ready);
	if (f->fd >= 0) close(f->fd);
	f->fd = -1;
	if (f->wide) f->owner->s->runner->wide_pipes--;
	f->wide = false;
}

static void widen(struct flow *f) {
	struct runner *r = f->owner->s->runner;

	if (f->wide || r->wide_pipes >= WIDE_MAX) return;
	if (fcntl(f->fd, F_SETPIPE_SZ, WIDE_PIPE) < 0) return;
	f->wide = true;
	r->wide_pipes++;
}

static void maybe_finish(struct stream *st) {
	if (st->hung || st->closed || !st->reaped) return;
	if (st->out[0].fd >= 0 || st->out[1].fd >= 0) return;
	if (st->timer) cube_timer_disarm(st->timer);
	stream_finish(st, st->how, st->value, NULL);
}

static void send_end(struct flow *f, struct cube_bufio *out) {
	uint8_t head[CUBE_STREAM_HEAD];

	cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, f->owner->id, f->number, 0);
	cube_bufio_write(out, head, sizeof head);
	flow_close(f);
	maybe_finish(f->owner);
}

/* How much may be read now. */
static size_t portion(const struct flow *f) {
	size_t n = cube_msg_stream_room(f->window);

	if (n > STREAM_FRAME) n = STREAM_FRAME;
	return f->cut && f->left < n ? f->left : n;
}

size_t stream_send(struct flow *f, struct cube_bufio *out) {
	struct streams *s = f->owner->s;
	size_t want = portion(f);
	ssize_t n = 0;

	cube_list_remove(&f->ready);
	if (want) do
			n = read(f->fd, s->space + CUBE_STREAM_HEAD, want);
		while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN && !f->cut) {
		stream_watch(f);
		return 0;
	}
	if (n <= 0) { /* the end; of a terminal EIO */
		send_end(f, out);
		return 0;
	}
	cube_msg_stream_head(s->space, CUBE_MSG_STREAM_OUTPUT, f->owner->id, f->number,
			     (uint32_t)n);
	cube_bufio_write(out, s->space, CUBE_STREAM_HEAD + (size_t)n); /* only with room for it */
	f->window -= cube_msg_stream_cost((size_t)n);
	if (f->cut) f->left -= (uint32_t)n;
	if ((size_t)n >= STREAM_FRAME / 2) widen(f);
	if ((size_t)n == want || f->cut) make_ready(f);
	else stream_watch(f);
	return (size_t)n;
}

/* ---- input ---------------------------------------------------------------------------------- */

static void input_end(struct stream *st) {
	cube_io_del(st->in.io);
	st->in.io = NULL;
	if (st->in.fd >= 0) close(st->in.fd);
	st->in.fd = -1;
	if (st->in.wide) st->s->runner->wide_pipes--;
	st->in.wide = false;
	cube_buf_done(&st->in.buf);
}

static void on_writable(void *arg, uint32_t events);

static void watch_input(struct stream *st) {
	if (st->in.io || cube_io_add(st->s->runner->loop, st->in.fd, EPOLLOUT, on_writable, st,
				     &st->in.io, NULL) == 0)
		return;
	input_end(st);
}

/* Room is granted again in large steps: each costs a frame. */
static void credit(struct stream *st, size_t n) {
	st->in.credit += (uint32_t)n;
	if (st->in.credit >= st->window / 4) stream_need(st);
}

/* How much of it the process took; what cannot be written ever ends the input. */
static size_t feed(struct stream *st, const uint8_t *p, size_t n) {
	struct runner *r = st->s->runner;
	size_t done = 0;

	if (n >= STREAM_FRAME / 2 && !st->in.wide && r->wide_pipes < WIDE_MAX &&
	    fcntl(st->in.fd, F_SETPIPE_SZ, WIDE_PIPE) >= 0) {
		st->in.wide = true;
		r->wide_pipes++;
	}
	while (done < n) {
		ssize_t w = write(st->in.fd, p + done, n - done);

		if (w < 0 && errno == EINTR) continue;
		if (w < 0 && errno != EAGAIN) input_end(st);
		if (w < 0) break;
		done += (size_t)w;
	}
	if (done) credit(st, done);
	return done;
}

static void on_writable(void *arg, uint32_t events) {
	struct stream *st = arg;
	size_t n = feed(st, cube_buf_data(&st->in.buf), cube_buf_len(&st->in.buf));

	if (st->in.fd < 0) return;
	cube_buf_consume(&st->in.buf, n);
	if (cube_buf_len(&st->in.buf)) return;
	cube_buf_clear(&st->in.buf);
	cube_io_del(st->in.io);
	st->in.io = NULL;
	if (st->in.eof && !(st->flags & CUBE_OPEN_PTY)) input_end(st);
}

/* What the process does not want is dropped, and no more asked for. */
void stream_input(struct stream *st, struct cube_slice data) {
	static const uint8_t END = 4;
	size_t n = 0;

	if (st->in.fd < 0) return;
	if (data.n) credit(st, CUBE_STREAM_COST);
	if (!data.n && st->flags & CUBE_OPEN_PTY) data = (struct cube_slice){&END, 1};
	if (!cube_buf_len(&st->in.buf)) n = feed(st, data.p, data.n);
	if (st->in.fd < 0) return;
	if (n < data.n) {
		if (cube_buf_add(&st->in.buf, data.p + n, data.n - n) < 0) input_end(st);
		else watch_input(st);
	} else if (st->in.eof && !cube_buf_len(&st->in.buf) && !(st->flags & CUBE_OPEN_PTY))
		input_end(st);
}

/* ---- the end -------------------------------------------------------------------------------- */

void stream_release(struct stream *st) {
	input_end(st);
	flow_close(&st->out[0]);
	flow_close(&st->out[1]);
}

/* Something that the process left behind keeps a pipe open: what is in there now is the rest. */
static void on_grace(void *arg) {
	struct stream *st = arg;

	for (int i = 0; i < 2; i++) {
		struct flow *f = &st->out[i];

		if (f->fd < 0) continue;
		f->cut = true;
		f->left = CUT_BYTES;
		cube_io_del(f->io);
		f->io = NULL;
		make_ready(f);
	}
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct stream *st = arg;
	bool pty = st->flags & CUBE_OPEN_PTY;

	st->reaped = true;
	if (st->hung) return; /* the sweep has the rest */
	st->how = WIFSIGNALED(status) ? CUBE_EXIT_SIGNALED : CUBE_EXIT_EXITED;
	st->value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	if (!pty) input_end(st);
	maybe_finish(st);
	if (st->closed) return;
	st->timer = cube_timer_add(st->s->runner->loop, on_grace, st);
	cube_timer_after(st->timer, pty ? PTY_GRACE_NS : PIPE_GRACE_NS);
}

/* ---- the beginning -------------------------------------------------------------------------- */

struct ends { /* ours and the process's, of fds 0, 1, 2; a terminal has the same for all */
	int mine[3], its[3];
};

static void close_ends(int fds[3]) {
	for (int i = 0; i < 3; i++) {
		bool same = i && fds[i] == fds[0];

		if (fds[i] >= 0 && !same) close(fds[i]);
	}
}

static int open_pipes(struct ends *e, struct cube_err *err) {
	for (int i = 0; i < 3; i++) {
		int fds[2], rc = cube_pipe(fds, err);

		if (rc < 0) return rc;
		e->mine[i] = fds[i == 0];
		e->its[i] = fds[i != 0];
	}
	return 0;
}

static int open_slave(int master) {
	char name[40];
	unsigned number = 0;
	int off = 0, fd;

	if (ioctl(master, TIOCSPTLCK, &off) < 0) return -1;
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 || ioctl(master, TIOCGPTN, &number) < 0) return fd;
	cube_format(name, sizeof name, "/dev/pts/%u", number); /* kernels before 4.13 */
	return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static int open_terminal(struct ends *e, struct cube_err *err) {
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;
	int slave;

	if (master < 0) return cube_fail_sys(err, errno, "this host gives no terminal: /dev/ptmx");
	e->mine[0] = master;
	e->mine[1] = fcntl(master, F_DUPFD_CLOEXEC, 3);
	slave = open_slave(master);
	e->its[0] = e->its[1] = e->its[2] = slave;
	if (e->mine[1] < 0 || slave < 0)
		return cube_fail_sys(err, errno, "this host gives no terminal");
	if (tcgetattr(slave, &t) == 0) {
		t.c_iflag |= IUTF8;
		tcsetattr(slave, TCSANOW, &t);
	}
	return 0;
}

void stream_resize(struct stream *st) {
	struct winsize size = {.ws_row = st->rows, .ws_col = st->cols};

	if (!(st->flags & CUBE_OPEN_PTY) || st->in.fd < 0 || !st->rows || !st->cols) return;
	ioctl(st->in.fd, TIOCSWINSZ, &size);
}

/* What is run: the worker's own file, the words, or the login shell. */
static char **make_argv(const struct stream *st, char *name, char *sh, size_t size, char *proc,
			const char **ret_file) {
	bool own = st->flags & CUBE_OPEN_OWN, shell = !own && !st->spec->argv.count;
	char **argv = start_spec_argv(st->spec, own || shell);

	if (!argv) return NULL;
	if (shell) login_shell(sh, size);
	*ret_file = own ? self_runnable(st->s->self, proc) : shell ? sh : NULL;
	if (own) cube_format(name, size, "cube-worker");
	if (shell) login_argv0(*ret_file, name, size);
	if (own || shell) argv[0] = name;
	if (shell) argv[1] = NULL;
	return argv;
}

static int spawn(struct stream *st, struct ends *e, struct cube_err *err) {
	const struct runner *r = st->s->runner;
	const char *file = NULL;
	char name[256], sh[256], proc[SELF_PROC];
	char **argv = make_argv(st, name, sh, sizeof name, proc, &file);
	char **env = environ_for_stream(r, st->spec, st->cookie);
	struct cube_spawn s = {.argv = (const char *const *)argv,
			       .file = file,
			       .envp = (const char *const *)env,
			       .dir = *st->spec->dir ? st->spec->dir : r->home,
			       .session = true,
			       .terminal = st->flags & CUBE_OPEN_PTY,
			       .nofile = &r->nofile,
			       .in = e->its[0],
			       .out = e->its[1],
			       .err = e->its[2]};
	int rc = argv && env ? cube_spawn(&s, &st->pid, err) : cube_fail_sys(err, ENOMEM, "OPEN");

	if (rc < 0) st->pid = 0;
	environ_free(env);
	free(argv);
	return rc;
}

/* Takes over our ends. */
static int watch(struct stream *st, struct ends *e, struct cube_err *err) {
	int rc = cube_loop_on_child(st->s->runner->loop, st->pid, on_child, st, err);

	if (rc < 0) return rc;
	st->in.fd = e->mine[0];
	for (int i = 0; i < 2; i++) st->out[i].fd = e->mine[i + 1];
	for (int i = 0; i < 3; i++) {
		if (e->mine[i] >= 0) cube_set_nonblock(e->mine[i], true);
		e->mine[i] = -1;
	}
	stream_resize(st);
	stream_watch(&st->out[0]);
	stream_watch(&st->out[1]);
	st->in.credit = st->window;
	stream_need(st);
	/* what came while it waited for the login environment */
	if (st->in.eof) stream_input(st, (struct cube_slice){NULL, 0});
	if (st->early) kill(-st->pid, st->early);
	return 0;
}

void stream_begin(struct stream *st) {
	struct ends e = {{-1, -1, -1}, {-1, -1, -1}};
	struct cube_err err;
	int rc = st->flags & CUBE_OPEN_PTY ? open_terminal(&e, &err) : open_pipes(&e, &err);

	if (rc == 0) rc = spawn(st, &e, &err);
	if (rc == 0) {
		rc = watch(st, &e, &err);
		if (rc < 0) kill(-st->pid, SIGKILL);
	}
	close_ends(e.mine);
	close_ends(e.its);
	free(st->spec);
	st->spec = NULL;
	if (rc == 0) return;
	stream_finish(st, CUBE_EXIT_NOT_STARTED, err.sys ? err.sys : EIO, err.msg);
}
