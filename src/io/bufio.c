/* Buffered bytes over non-blocking fds: see bufio.h.
 *
 * Callbacks run only from the loop: from the io callbacks, or from `kick`, a deferred call that
 * carries what other calls found out (a failed write, a resume). So no function of this module
 * calls back into an owner that is in the middle of something.
 *
 * SIGPIPE: sockets are written with MSG_NOSIGNAL, but a pipe has no such flag: programs that use
 * programs ignore SIGPIPE (cube_spawn resets it in children).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "cube/bufio.h"

enum {
	CHUNK = 64 * 1024,       /* what a pipe holds */
	TURN_BYTES = 256 * 1024, /* moved a turn in each direction at most */
	IOV_TRY = 64,            /* vectors handed to the kernel at once; the rest is queued */
	OUT_KEEP = 64 * 1024,    /* an empty queue's block may stay so large for good */
};

/* A larger block stays so long after the queue became empty: a busy writer fills it again, and
 * new memory for each burst costs more in page faults than the writing itself. */
static const uint64_t OUT_REST = 100 * CUBE_NS_PER_MS;

struct cube_bufio {
	struct cube_loop *loop;
	const struct cube_bufio_ops *ops;
	void *arg;
	struct cube_bufio_limits limits;
	int rfd, wfd;
	struct cube_io *rio, *wio; /* one fd for both: rio alone */
	struct cube_buf in, out;   /* untaken; not yet accepted by wfd */
	struct cube_timer *rest;   /* NULL until out was large once */
	int fail_sys;              /* errno of the first failure, or 0 */
	bool wsock;
	bool paused;
	bool eof;       /* nothing more can be read: end of file or failure */
	bool wfailed;   /* nothing more can be written: the queue is dropped */
	bool dry;       /* the last reading ended with EAGAIN */
	bool ending;    /* _end was called */
	bool ended;     /* the write side is closed */
	bool above;     /* the queue was longer than low_out: `drained` is owed */
	bool offer_due; /* _resume promised to offer the untaken bytes */
	bool kicked;    /* kick is deferred already */
	bool reported;  /* `closed` was called */
	bool gone;
};

static void on_ready(void *arg, uint32_t events);
static void on_writable(void *arg, uint32_t events);

/* A failure was reported: no callback comes any more. */
static bool over(const struct cube_bufio *s) {
	return s->gone || (s->reported && s->fail_sys);
}

static bool can_read(const struct cube_bufio *s) {
	return s->rfd >= 0 && !s->eof && !s->paused && !over(s) &&
	       cube_buf_len(&s->in) < s->limits.max_in;
}

/* ---- interest ---------------------------------------------------------------------------- */

/* A source without interest is taken out of the loop rather than kept with events 0: a hung-up
 * peer would otherwise wake a paused one for ever. */
static int watch(struct cube_bufio *s, struct cube_io **io, int fd, uint32_t events, bool keep,
		 cube_io_fn *fn, struct cube_err *err) {
	if (!events && !keep) {
		cube_io_del(*io);
		*io = NULL;
		return 0;
	}
	if (!*io) return cube_io_add(s->loop, fd, events, fn, s, io, err);
	cube_io_set(*io, events);
	return 0;
}

static int update_interest(struct cube_bufio *s, struct cube_err *err) {
	uint32_t in = can_read(s) ? EPOLLIN : 0;
	uint32_t out = s->wfd >= 0 && cube_buf_len(&s->out) && !over(s) ? EPOLLOUT : 0;
	if (s->rfd == s->wfd) {
		if (s->rfd < 0) return 0;
		return watch(s, &s->rio, s->rfd, in | out, false, on_ready, err);
	}
	int rc = s->rfd >= 0 ? watch(s, &s->rio, s->rfd, in, false, on_ready, err) : 0;
	if (rc < 0 || s->wfd < 0) return rc;
	/* With nothing to read, only an idle write side can tell that the reader has gone. */
	bool keep = s->rfd < 0 && !s->wfailed && !s->reported;
	return watch(s, &s->wio, s->wfd, out, keep, on_writable, err);
}

/* ---- reporting --------------------------------------------------------------------------- */

static void kick(void *arg);

static void need_kick(struct cube_bufio *s) {
	if (s->kicked || s->gone) return;
	s->kicked = true;
	cube_loop_defer(s->loop, kick, s);
}

static void fail_read(struct cube_bufio *s, int sys) {
	s->eof = true;
	if (!s->fail_sys && !s->reported) s->fail_sys = sys;
}

static void fail_write(struct cube_bufio *s, int sys) {
	s->wfailed = true;
	s->dry = false; /* what came before the failure is read first */
	if (!s->fail_sys && !s->reported) s->fail_sys = sys;
	cube_buf_clear(&s->out);
	need_kick(s);
}

static void refresh(struct cube_bufio *s) {
	struct cube_err err;
	if (s->gone || update_interest(s, &err) == 0) return;
	fail_read(s, err.sys);
	fail_write(s, err.sys);
}

static bool link_broke(int sys) {
	return sys == EPIPE || sys == ECONNRESET || sys == ETIMEDOUT || sys == EHOSTUNREACH ||
	       sys == ENETUNREACH || sys == ENETDOWN;
}

static void report(struct cube_bufio *s) {
	struct cube_err err;
	s->reported = true;
	if (!s->fail_sys) {
		s->ops->closed(s->arg, NULL);
		return;
	}
	cube_fail_sys(&err, s->fail_sys, s->wfailed ? "write" : "read");
	if (link_broke(s->fail_sys)) err.code = CUBE_ECONNECT;
	s->ops->closed(s->arg, &err);
}

/* Shows the untaken bytes; returns how many were taken. */
static size_t offer(struct cube_bufio *s) {
	size_t n = cube_buf_len(&s->in);
	s->offer_due = false;
	size_t taken = s->ops->data(s->arg, cube_buf_data(&s->in), n);
	if (s->gone || !taken) return 0;
	if (taken >= n) cube_buf_clear(&s->in);
	else cube_buf_consume(&s->in, taken);
	return taken;
}

/* Tells the owner what has become true: the queue is short, it is over. */
static void settle(struct cube_bufio *s) {
	if (over(s)) return;
	if (s->above && cube_buf_len(&s->out) <= s->limits.low_out) {
		s->above = false;
		if (s->ops->drained) s->ops->drained(s->arg);
	}
	bool finished = s->eof || (s->wfailed && (s->rfd < 0 || s->dry));
	if (!s->gone && finished && !s->reported) {
		while (!s->gone && cube_buf_len(&s->in) && !s->paused && offer(s)) {}
		/* The owner paused: what is untaken must be offered before the end. */
		bool waits = s->paused && cube_buf_len(&s->in);
		if (!s->gone && !waits) report(s);
	}
	refresh(s);
}

/* ---- reading ----------------------------------------------------------------------------- */

static ssize_t read_retry(struct cube_bufio *s, void *to, size_t n) {
	ssize_t got;
	do got = read(s->rfd, to, n);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) s->dry = true;
	else if (got <= 0) fail_read(s, got < 0 ? errno : 0);
	return got;
}

/* The usual case: nothing lies untaken, so that what is taken at once is never copied and an
 * idle one holds no memory. */
static ssize_t read_fresh(struct cube_bufio *s, size_t n) {
	uint8_t chunk[CHUNK];
	ssize_t got = read_retry(s, chunk, n);
	if (got <= 0) return got;
	size_t taken = s->ops->data(s->arg, chunk, (size_t)got);
	if (s->gone || taken >= (size_t)got) return got;
	if (cube_buf_add(&s->in, chunk + taken, (size_t)got - taken) < 0) fail_read(s, ENOMEM);
	return got;
}

static ssize_t read_more(struct cube_bufio *s, size_t n) {
	uint8_t *space;
	if (cube_buf_reserve(&s->in, n, &space) < 0) {
		fail_read(s, ENOMEM);
		return -1;
	}
	ssize_t got = read_retry(s, space, n);
	if (got <= 0) return got;
	cube_buf_commit(&s->in, (size_t)got);
	offer(s);
	return got;
}

static void pump_in(struct cube_bufio *s) {
	size_t budget = TURN_BYTES;
	s->dry = false;
	while (budget && can_read(s)) {
		size_t held = cube_buf_len(&s->in), n = s->limits.max_in - held;
		if (n > CHUNK) n = CHUNK;
		if (n > budget) n = budget;
		ssize_t got = held ? read_more(s, n) : read_fresh(s, n);
		if (got <= 0 || s->gone) return;
		budget -= (size_t)got;
		/* A short read emptied the fd. Once writing has failed we want to know for sure. */
		if ((size_t)got < n && !s->wfailed) return;
	}
}

/* ---- writing ----------------------------------------------------------------------------- */

/* How many bytes the fd took; 0 also after a failure. */
static size_t put(struct cube_bufio *s, const struct iovec *iov, int count) {
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
	ssize_t n;
	do
		n = s->wsock ? sendmsg(s->wfd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT)
			     : writev(s->wfd, iov, count);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) fail_write(s, errno);
	return n < 0 ? 0 : (size_t)n;
}

static void end_now(struct cube_bufio *s) {
	if (s->ended || s->wfd < 0) return;
	s->ended = true;
	if (s->wsock) shutdown(s->wfd, SHUT_WR);
	if (s->wfd == s->rfd) return;
	cube_io_del(s->wio);
	s->wio = NULL;
	close(s->wfd);
	s->wfd = -1;
}

static void on_rest(void *arg) {
	struct cube_bufio *s = arg;
	if (!cube_buf_len(&s->out)) cube_buf_done(&s->out);
}

static void pump_out(struct cube_bufio *s) {
	size_t budget = TURN_BYTES;
	while (budget && cube_buf_len(&s->out)) {
		size_t n = cube_buf_len(&s->out) < budget ? cube_buf_len(&s->out) : budget;
		struct iovec v = {.iov_base = (void *)cube_buf_data(&s->out), .iov_len = n};
		size_t put_n = put(s, &v, 1);
		if (!put_n) return;
		cube_buf_consume(&s->out, put_n);
		budget -= put_n;
	}
	if (cube_buf_len(&s->out)) return;
	if (s->out.cap > OUT_KEEP) {
		if (!s->rest) s->rest = cube_timer_add(s->loop, on_rest, s);
		cube_timer_after(s->rest, OUT_REST);
	}
	if (s->ending) end_now(s);
}

/* Queues what is left of iov behind its first `skip` bytes. */
static int enqueue(struct cube_bufio *s, const struct iovec *iov, int count, size_t skip) {
	for (int i = 0; i < count; i++) {
		size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;
		skip -= cut;
		if (cut == iov[i].iov_len) continue;
		int rc = cube_buf_add(&s->out, (const uint8_t *)iov[i].iov_base + cut,
				      iov[i].iov_len - cut);
		if (rc < 0) return rc;
	}
	return 0;
}

int cube_bufio_writev(struct cube_bufio *s, const struct iovec *iov, int count) {
	size_t n = 0, room = cube_bufio_room(s), sent = 0;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > SIZE_MAX - n) return CUBE_ETOOBIG;
		n += iov[i].iov_len;
	}
	if (n > room) {
		/* Whoever was refused is told when there is room. */
		if (cube_buf_len(&s->out)) s->above = true;
		return CUBE_ETOOBIG;
	}
	if (!n || s->wfailed || over(s)) return 0;
	if (!cube_buf_len(&s->out)) sent = put(s, iov, count < IOV_TRY ? count : IOV_TRY);
	if (s->wfailed || sent == n) return 0;
	if (enqueue(s, iov, count, sent) < 0) {
		fail_write(s, ENOMEM); /* part of it may be out: what goes out is torn */
		return 0;
	}
	if (cube_buf_len(&s->out) > s->limits.low_out) s->above = true;
	refresh(s);
	return 0;
}

int cube_bufio_write(struct cube_bufio *s, const void *bytes, size_t n) {
	struct iovec v = {.iov_base = (void *)bytes, .iov_len = n};
	return cube_bufio_writev(s, &v, 1);
}

size_t cube_bufio_queued(const struct cube_bufio *s) {
	return cube_buf_len(&s->out);
}

size_t cube_bufio_room(const struct cube_bufio *s) {
	return s->ending || s->wfd < 0 ? 0 : cube_buf_room(&s->out);
}

void cube_bufio_end(struct cube_bufio *s) {
	s->ending = true;
	if (!cube_buf_len(&s->out)) end_now(s);
}

/* ---- events ------------------------------------------------------------------------------ */

static void on_ready(void *arg, uint32_t events) {
	struct cube_bufio *s = arg;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pump_in(s);
	if (!s->gone && events & ~(uint32_t)EPOLLIN) pump_out(s);
	if (!s->gone) settle(s);
}

static void on_writable(void *arg, uint32_t events) {
	struct cube_bufio *s = arg;
	if (cube_buf_len(&s->out)) pump_out(s);
	else if (events & (EPOLLERR | EPOLLHUP)) fail_write(s, EPIPE);
	settle(s);
}

static void kick(void *arg) {
	struct cube_bufio *s = arg;
	s->kicked = false;
	if (over(s)) return;
	if (s->offer_due && !s->paused && !s->reported && cube_buf_len(&s->in)) offer(s);
	s->offer_due = false;
	if (!s->gone && s->wfailed) pump_in(s);
	if (!s->gone) settle(s);
}

void cube_bufio_pause(struct cube_bufio *s) {
	s->paused = true;
	refresh(s);
}

void cube_bufio_resume(struct cube_bufio *s) {
	s->paused = false;
	s->offer_due = true;
	need_kick(s);
}

/* ---- life -------------------------------------------------------------------------------- */

static void close_fds(int rfd, int wfd) {
	if (rfd >= 0) close(rfd);
	if (wfd >= 0 && wfd != rfd) close(wfd);
}

static void destroy(void *arg) {
	struct cube_bufio *s = arg;
	cube_buf_done(&s->in);
	cube_buf_done(&s->out);
	free(s);
}

int cube_bufio_new(struct cube_loop *loop, int rfd, int wfd, const struct cube_bufio_ops *ops,
		   void *arg, const struct cube_bufio_limits *limits, struct cube_bufio **ret,
		   struct cube_err *err) {
	struct stat st;
	struct cube_bufio *s = cube_alloc(sizeof *s);
	*s = (struct cube_bufio){
		.loop = loop, .ops = ops, .arg = arg, .limits = *limits, .rfd = rfd, .wfd = wfd};
	s->wsock = wfd >= 0 && fstat(wfd, &st) == 0 && S_ISSOCK(st.st_mode);
	cube_buf_init(&s->in, limits->max_in);
	cube_buf_init(&s->out, limits->max_out);
	int rc = 0;
	if ((rfd >= 0 && cube_set_nonblock(rfd, true) < 0) ||
	    (wfd >= 0 && cube_set_nonblock(wfd, true) < 0))
		rc = cube_fail_sys(err, errno, "cannot make fds %d, %d non-blocking", rfd, wfd);
	if (rc == 0) rc = update_interest(s, err);
	if (rc < 0) {
		cube_io_del(s->rio);
		cube_io_del(s->wio);
		close_fds(rfd, wfd);
		destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* The memory goes at the end of the turn: a callback of ours may be looking at the bytes, and a
 * kick may be on its way. */
void cube_bufio_free(struct cube_bufio *s) {
	if (!s || s->gone) return;
	s->gone = true;
	cube_io_del(s->rio);
	cube_io_del(s->wio);
	cube_timer_del(s->rest);
	s->rio = s->wio = NULL;
	s->rest = NULL;
	close_fds(s->rfd, s->wfd);
	s->rfd = s->wfd = -1;
	cube_loop_defer(s->loop, destroy, s);
}
