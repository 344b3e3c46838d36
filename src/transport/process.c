/* Transports of child processes: see process.h.
 *
 * Three streams rather than one: a command that closes its stdin early must not cost its output,
 * and stderr may be held open by a daemon the command left behind.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "cube/bufio.h"
#include "cube/hangup.h"
#include "outlet.h"
#include "process.h"

static const uint64_t STDERR_GRACE_NS = CUBE_NS_PER_S;
enum { STREAM_IN_MAX = 64 * 1024, SAID_MAX = 4096 };

struct cube_process {
	struct cube_transport base;
	struct cube_loop *loop;
	struct cube_transport_ops ops;
	const struct cube_process_kind *kind;
	void *of;
	const struct cube_transport_events *events;
	void *arg;
	struct cube_list *dying;
	struct cube_timer *grace;      /* for stderr, then for untaken output */
	struct cube_timer *limit;      /* for the first byte of the first line */
	struct cube_timer *pause;      /* before the line is tried again */
	uint64_t limit_ns;             /* 0: none, or it was kept */
	uint64_t limit_at, limit_left; /* when it is over; what was left of it when it was held */
	struct cube_bufio *in, *out, *err;
	int stdin_fd;     /* the line's end of its stdin, until it needs no other program; or -1 */
	uint64_t written; /* to the line's stdin, queued or in the pipe */
	char *line;
	struct cube_outlet outlet;
	pid_t pid;           /* 0 once reaped */
	int status;          /* of the reaped command */
	char said[SAID_MAX]; /* the newest of the line's stderr */
	size_t said_len;
	bool open, running, ending;
	bool waits, told_waits; /* for its turn */
	bool printed, out_eof, err_eof;
	bool resume_due;
	bool stopped; /* failed or gone: no event any more */
	bool gone;
};

static struct cube_process *process_of(const struct cube_transport *t) {
	return (struct cube_process *)t;
}

/* ---- the end: of a command, or of all ---------------------------------------------------- */

static void close_stdin(struct cube_process *p) {
	if (p->stdin_fd >= 0) close(p->stdin_fd);
	p->stdin_fd = -1;
}

static void drop_streams(struct cube_process *p) {
	close_stdin(p);
	cube_bufio_free(p->in);
	cube_bufio_free(p->out);
	cube_bufio_free(p->err);
	p->in = p->out = p->err = NULL;
}

/* Hangs up: locally as sshd would, on the whole session; a daemon of its own session stays. */
static void stop(struct cube_process *p) {
	if (p->stopped) return;
	p->stopped = true;
	if (p->pid && p->dying) {
		cube_hang_up(p->loop, p->dying, p->pid);
	} else if (p->pid) {
		cube_loop_forget_child(p->loop, p->pid);
		kill(-p->pid, SIGHUP);
	}
	p->pid = 0;
	p->running = false;
	drop_streams(p);
	cube_timer_del(p->grace);
	cube_timer_del(p->limit);
	cube_timer_del(p->pause);
	p->grace = p->limit = p->pause = NULL;
	if (p->kind->stop) p->kind->stop(p->of);
}

void cube_process_fail(struct cube_process *p, const struct cube_err *err) {
	struct cube_err copy = *err;
	if (p->stopped) return;
	stop(p);
	p->events->on_fail(p->arg, &copy);
}

static struct cube_process_end end_of(const struct cube_process *p) {
	return (struct cube_process_end){.status = p->status,
					 .printed = p->printed,
					 .said = p->said,
					 .said_len = p->said_len};
}

/* What is in the pipe is all that ever left the queue. */
static bool stdin_untouched(const struct cube_process *p) {
	int unread = 0;
	if (p->stdin_fd < 0 || ioctl(p->stdin_fd, FIONREAD, &unread) < 0) return false;
	return p->written == (uint64_t)unread + (p->in ? cube_bufio_queued(p->in) : 0);
}

/* The next program finds the stdin of this one as it was: one that read of it has run. */
static bool try_again(struct cube_process *p, const struct cube_process_end *end) {
	if (!p->kind->again || p->printed || !stdin_untouched(p)) return false;
	uint64_t pause = p->kind->again(p->of, end);
	if (!pause) return false;
	cube_bufio_free(p->out);
	cube_bufio_free(p->err);
	p->out = p->err = NULL;
	p->out_eof = false; /* nothing ends meanwhile */
	cube_timer_after(p->pause, pause);
	return true;
}

static void finish(struct cube_process *p) {
	struct cube_process_end end = end_of(p);
	struct cube_err err;
	cube_timer_disarm(p->grace);
	if (p->kind->known && !p->kind->known(p->of, &end)) return;
	if (try_again(p, &end)) return;
	cube_timer_disarm(p->limit);
	drop_streams(p);
	cube_outlet_drop(&p->outlet);
	p->running = false;
	if (p->kind->judge && p->kind->judge(p->of, &end, &err) < 0) cube_process_fail(p, &err);
	else p->events->on_end(p->arg, p->status);
}

static void on_limit(void *arg) {
	struct cube_process *p = arg;
	struct cube_process_end end = end_of(p);
	struct cube_err err;
	p->kind->late(p->of, &end, &err);
	cube_process_fail(p, &err);
}

void cube_process_hold(struct cube_process *p, bool hold) {
	if (p->stopped) return;
	uint64_t now = cube_loop_now(p->loop);
	if (hold && cube_timer_armed(p->limit)) {
		p->limit_left = p->limit_at > now ? p->limit_at - now : 1;
		cube_timer_disarm(p->limit);
	} else if (!hold && p->limit_left) {
		p->limit_at = now + p->limit_left;
		p->limit_left = 0;
		cube_timer_arm(p->limit, p->limit_at);
	}
}

/* Reaped, stdout at its end, stderr too or out of time, and everything taken. */
static void check_end(struct cube_process *p) {
	if (p->stopped || !p->running || p->pid || !p->out_eof) return;
	if (!p->err_eof) {
		if (!cube_timer_armed(p->grace)) cube_timer_after(p->grace, STDERR_GRACE_NS);
		return;
	}
	if (!cube_outlet_held(&p->outlet)) finish(p);
	else cube_timer_after(p->grace, CUBE_OUTLET_GRACE_NS);
}

static void on_grace(void *arg) {
	struct cube_process *p = arg;
	if (!p->err_eof) {
		p->err_eof = true;
		check_end(p);
		return;
	}
	finish(p);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct cube_process *p = arg;
	p->pid = 0;
	p->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	check_end(p);
}

bool cube_process_waits(const struct cube_process *p) {
	return p->waits;
}

void cube_process_known(struct cube_process *p) {
	check_end(p);
}

void cube_process_end(struct cube_process *p) {
	if (!p->stopped && p->pid) kill(-p->pid, SIGTERM);
}

/* ---- streams ----------------------------------------------------------------------------- */

static size_t out_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_process *p = arg;
	size_t room = cube_outlet_room(&p->outlet);
	if (n && !p->printed) {
		p->printed = true;
		p->limit_ns = p->limit_left = 0;
		cube_timer_disarm(p->limit);
		close_stdin(p);
		if (p->kind->begun) p->kind->begun(p->of);
		if (p->stopped) return n; /* an event freed us */
	}
	if (n > room) n = room; /* the stream keeps the rest and stops reading */
	if (n && cube_outlet_push(&p->outlet, bytes, n) < 0) return 0;
	return n;
}

/* Only a full outlet leaves bytes in the stream, and then it is paused: the stream would report
 * its end over untaken bytes otherwise. */
static size_t out_data_paused(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_process *p = arg;
	size_t taken = out_data(p, bytes, n);
	if (!p->stopped && p->out && taken < n) cube_bufio_pause(p->out);
	return taken;
}

static void out_closed(void *arg, const struct cube_err *err) {
	struct cube_process *p = arg;
	p->out_eof = true;
	check_end(p);
}

static void keep_said(struct cube_process *p, const uint8_t *bytes, size_t n) {
	if (n > SAID_MAX) bytes += n - SAID_MAX, n = SAID_MAX;
	size_t keep = p->said_len + n > SAID_MAX ? SAID_MAX - n : p->said_len;
	memmove(p->said, p->said + p->said_len - keep, keep);
	memcpy(p->said + keep, bytes, n);
	p->said_len = keep + n;
}

static size_t err_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_process *p = arg;
	keep_said(p, bytes, n);
	if (p->events->on_err) p->events->on_err(p->arg, bytes, n);
	return n;
}

static void err_closed(void *arg, const struct cube_err *err) {
	struct cube_process *p = arg;
	p->err_eof = true;
	cube_timer_disarm(p->grace);
	check_end(p);
}

static size_t in_data(void *arg, const uint8_t *bytes, size_t n) {
	return n;
}

/* The command reads no more: what is still written goes nowhere, as with a remote one. */
static void in_closed(void *arg, const struct cube_err *err) {
	struct cube_process *p = arg;
	bool queued = cube_bufio_queued(p->in) > 0;
	cube_bufio_free(p->in);
	p->in = NULL;
	if (queued && p->events->on_drained) p->events->on_drained(p->arg);
}

static void in_drained(void *arg) {
	struct cube_process *p = arg;
	if (p->events->on_drained) p->events->on_drained(p->arg);
}

static const struct cube_bufio_ops IN_OPS = {
	.data = in_data, .closed = in_closed, .drained = in_drained};
static const struct cube_bufio_ops OUT_OPS = {.data = out_data_paused, .closed = out_closed};
static const struct cube_bufio_ops ERR_OPS = {.data = err_data, .closed = err_closed};

/* ---- exec -------------------------------------------------------------------------------- */

static void close_pair(int fds[2]) {
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0) close(fds[i]);
		fds[i] = -1;
	}
}

static const struct cube_bufio_limits LIMITS = {
	.max_in = STREAM_IN_MAX, .max_out = CUBE_INPUT_MAX, .low_out = CUBE_INPUT_LOW};

static int make_stdin(struct cube_process *p, struct cube_err *err) {
	int fds[2];
	int rc = cube_pipe(fds, err);
	if (rc < 0) return rc;
	p->stdin_fd = fds[0];
	return cube_bufio_new(p->loop, -1, fds[1], &IN_OPS, p, &LIMITS, &p->in, err);
}

static int make_streams(struct cube_process *p, int pipes[2][2], struct cube_err *err) {
	int out = pipes[0][0], errfd = pipes[1][0];
	pipes[0][0] = pipes[1][0] = -1;
	int rc = cube_bufio_new(p->loop, out, -1, &OUT_OPS, p, &LIMITS, &p->out, err);
	if (rc < 0) close(errfd);
	else rc = cube_bufio_new(p->loop, errfd, -1, &ERR_OPS, p, &LIMITS, &p->err, err);
	return rc;
}

static int start(struct cube_process *p, int out, int errfd, struct cube_err *err) {
	struct cube_strv argv = {0};
	pid_t pid;
	int rc = p->kind->argv(p->of, p->line, &argv, err);
	struct cube_spawn spawn = {.argv = (const char *const *)cube_strv_argv(&argv),
				   .envp = p->kind->envp ? p->kind->envp(p->of) : NULL,
				   .in = p->stdin_fd,
				   .out = out,
				   .err = errfd,
				   .session = true,
				   .mortal = p->kind->mortal};
	if (rc == 0) rc = cube_spawn(&spawn, &pid, err);
	cube_strv_done(&argv);
	if (rc < 0) return rc;
	rc = cube_loop_on_child(p->loop, pid, on_child, p, err);
	if (rc == 0) p->pid = pid;
	else kill(pid, SIGKILL);
	return rc;
}

static void start_limit(struct cube_process *p) {
	if (!p->limit_ns || cube_timer_armed(p->limit)) return;
	p->limit_at = cube_loop_now(p->loop) + p->limit_ns;
	cube_timer_arm(p->limit, p->limit_at);
}

static int launch(struct cube_process *p, struct cube_err *err) {
	int pipes[2][2] = {{-1, -1}, {-1, -1}};
	p->out_eof = p->err_eof = false;
	p->said_len = 0;
	int rc = cube_pipe(pipes[0], err);
	if (rc == 0) rc = cube_pipe(pipes[1], err);
	if (rc == 0) rc = make_streams(p, pipes, err);
	if (rc == 0) rc = start(p, pipes[0][1], pipes[1][1], err);
	for (int i = 0; i < 2; i++) close_pair(pipes[i]);
	if (!p->kind->again) close_stdin(p);
	if (rc == 0) start_limit(p);
	return rc;
}

static void tell_step(struct cube_process *p, enum cube_transport_step step) {
	p->told_waits = step == CUBE_STEP_CONNECT;
	if (p->events->on_step) p->events->on_step(p->arg, step);
}

void cube_process_go(struct cube_process *p) {
	struct cube_err err;
	if (p->stopped || !p->running || p->pid) return;
	p->waits = false;
	cube_process_hold(p, false);
	if (launch(p, &err) < 0) cube_process_fail(p, &err);
	else if (p->told_waits) tell_step(p, CUBE_STEP_OPEN);
}

/* Not within the exec: no event comes from there. */
static void on_waits(void *arg) {
	struct cube_process *p = arg;
	if (!p->stopped && p->waits && !p->told_waits) tell_step(p, CUBE_STEP_CONNECT);
}

static bool may_start(struct cube_process *p) {
	if (!p->kind->enter || p->kind->enter(p->of)) return true;
	p->waits = true;
	cube_process_hold(p, true);
	cube_loop_defer(p->loop, on_waits, p);
	return false;
}

static void on_pause(void *arg) {
	struct cube_process *p = arg;
	if (may_start(p)) cube_process_go(p);
}

static int process_exec(struct cube_transport *t, const char *line, struct cube_err *err) {
	struct cube_process *p = process_of(t);
	if (!p->open || p->running || p->stopped)
		return cube_fail(err, CUBE_ECONFLICT, "the transport is not ready for a command");
	p->ending = p->printed = p->out_eof = false;
	p->written = 0;
	free(p->line);
	p->line = cube_strdup(line);
	int rc = make_stdin(p, err);
	if (rc == 0 && may_start(p)) rc = launch(p, err);
	if (rc < 0) {
		drop_streams(p);
		return rc;
	}
	p->running = true;
	return 0;
}

/* ---- the other operations ---------------------------------------------------------------- */

static int process_write(struct cube_transport *t, const void *bytes, size_t n) {
	struct cube_process *p = process_of(t);
	if (!p->running || p->ending) return CUBE_ECONFLICT;
	int rc = p->in ? cube_bufio_write(p->in, bytes, n) : 0;
	if (rc == 0) p->written += n;
	return rc;
}

static size_t process_queued(const struct cube_transport *t) {
	const struct cube_process *p = process_of(t);
	return p->in ? cube_bufio_queued(p->in) : 0;
}

static void process_end_write(struct cube_transport *t) {
	struct cube_process *p = process_of(t);
	if (!p->running || p->ending) return;
	p->ending = true;
	if (p->in) cube_bufio_end(p->in);
}

static void resumed(void *arg) {
	struct cube_process *p = arg;
	p->resume_due = false;
	if (p->stopped || !p->running) return;
	cube_outlet_offer(&p->outlet);
	if (p->stopped) return;
	if (p->out && cube_outlet_room(&p->outlet)) cube_bufio_resume(p->out);
	check_end(p);
}

static void process_resume(struct cube_transport *t) {
	struct cube_process *p = process_of(t);
	if (p->resume_due || p->stopped) return;
	p->resume_due = true;
	cube_loop_defer(p->loop, resumed, p);
}

static void process_answer(struct cube_transport *t, const char *const *answers) {
	struct cube_process *p = process_of(t);
	if (!p->stopped) p->kind->answer(p->of, answers);
}

static void process_settled(struct cube_transport *t) {
	struct cube_process *p = process_of(t);
	if (!p->stopped) p->kind->settled(p->of);
}

static void destroy(void *arg) {
	struct cube_process *p = arg;
	if (p->kind->free) p->kind->free(p->of);
	cube_outlet_done(&p->outlet);
	free(p->line);
	free(p);
}

static void process_free(struct cube_transport *t) {
	struct cube_process *p = process_of(t);
	if (p->gone) return;
	p->gone = true;
	stop(p);
	cube_loop_defer(p->loop, destroy, p);
}

/* ---- opening ----------------------------------------------------------------------------- */

void cube_process_open(struct cube_process *p) {
	if (p->stopped) return;
	p->open = true;
	if (p->events->on_step) p->events->on_step(p->arg, CUBE_STEP_OPEN);
	if (!p->stopped) p->events->on_open(p->arg);
}

static void opened(void *arg) {
	cube_process_open(arg);
}

void cube_process_open_soon(struct cube_process *p) {
	cube_loop_defer(p->loop, opened, p);
}

struct cube_transport *cube_process_transport(struct cube_process *p) {
	return &p->base;
}

struct cube_process *cube_process_new(struct cube_loop *loop,
				      const struct cube_process_spec *spec) {
	struct cube_process *p = cube_alloc(sizeof *p);
	p->ops = (struct cube_transport_ops){
		.name = spec->kind->name,
		.exec = process_exec,
		.write = process_write,
		.queued = process_queued,
		.end_write = process_end_write,
		.resume = process_resume,
		.answer = spec->kind->answer ? process_answer : NULL,
		.settled = spec->kind->settled ? process_settled : NULL,
		.free = process_free,
	};
	p->base.ops = &p->ops;
	p->loop = loop;
	p->kind = spec->kind;
	p->of = spec->of;
	p->events = spec->events;
	p->arg = spec->arg;
	p->dying = spec->dying;
	p->stdin_fd = -1;
	p->limit_ns = spec->kind->late ? spec->limit_ns : 0;
	cube_outlet_init(&p->outlet, spec->events, spec->arg, &p->stopped);
	p->grace = cube_timer_add(loop, on_grace, p);
	p->limit = cube_timer_add(loop, on_limit, p);
	p->pause = cube_timer_add(loop, on_pause, p);
	return p;
}
