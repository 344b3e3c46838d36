/* The local transport: /bin/sh on this machine, pipes, no network.
 *
 * Three streams rather than one: a command that closes its stdin early must not cost its output,
 * and stderr may be held open by a daemon the command left behind.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "cube/stream.h"
#include "outlet.h"

static const uint64_t STDERR_GRACE_NS = CUBE_NS_PER_S;
enum { STREAM_IN_MAX = 64 * 1024 };

struct local {
	struct cube_transport base;
	struct cube_loop *loop;
	const struct cube_transport_events *events;
	void *arg;
	struct cube_timer *grace; /* for stderr, then for untaken output */
	struct cube_stream *in, *out, *err;
	struct cube_outlet outlet;
	pid_t pid;  /* 0 once reaped */
	int status; /* of the reaped command */
	bool open, running, ending;
	bool out_eof, err_eof;
	bool resume_due;
	bool gone;
};

static struct local *local_of(const struct cube_transport *t) {
	return (struct local *)t;
}

/* ---- the end of a command ---------------------------------------------------------------- */

static void drop_streams(struct local *l) {
	cube_stream_free(l->in);
	cube_stream_free(l->out);
	cube_stream_free(l->err);
	l->in = l->out = l->err = NULL;
}

static void finish(struct local *l) {
	cube_timer_disarm(l->grace);
	drop_streams(l);
	cube_outlet_drop(&l->outlet);
	l->running = false;
	l->events->on_end(l->arg, l->status);
}

/* Reaped, stdout at its end, stderr too or out of time, and everything taken. */
static void check_end(struct local *l) {
	if (l->gone || !l->running || l->pid || !l->out_eof) return;
	if (!l->err_eof) {
		if (!cube_timer_armed(l->grace)) cube_timer_after(l->grace, STDERR_GRACE_NS);
		return;
	}
	if (!cube_outlet_held(&l->outlet)) finish(l);
	else cube_timer_after(l->grace, CUBE_OUTLET_GRACE_NS);
}

static void on_grace(void *arg) {
	struct local *l = arg;
	if (!l->err_eof) {
		l->err_eof = true;
		check_end(l);
		return;
	}
	finish(l);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct local *l = arg;
	l->pid = 0;
	l->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	check_end(l);
}

/* ---- streams ----------------------------------------------------------------------------- */

static size_t out_data(void *arg, const uint8_t *bytes, size_t n) {
	struct local *l = arg;
	size_t room = cube_outlet_room(&l->outlet);
	if (n > room) n = room; /* the stream keeps the rest and stops reading */
	if (n && cube_outlet_push(&l->outlet, bytes, n) < 0) return 0;
	return n;
}

/* Only a full outlet leaves bytes in the stream, and then it is paused: the stream would report
 * its end over untaken bytes otherwise. */
static size_t out_data_paused(void *arg, const uint8_t *bytes, size_t n) {
	struct local *l = arg;
	size_t taken = out_data(l, bytes, n);
	if (!l->gone && l->out && taken < n) cube_stream_pause(l->out);
	return taken;
}

static void out_closed(void *arg, const struct cube_err *err) {
	struct local *l = arg;
	l->out_eof = true;
	check_end(l);
}

static size_t err_data(void *arg, const uint8_t *bytes, size_t n) {
	struct local *l = arg;
	if (l->events->on_err) l->events->on_err(l->arg, bytes, n);
	return n;
}

static void err_closed(void *arg, const struct cube_err *err) {
	struct local *l = arg;
	l->err_eof = true;
	cube_timer_disarm(l->grace);
	check_end(l);
}

static size_t in_data(void *arg, const uint8_t *bytes, size_t n) {
	return n;
}

/* The command reads no more: what is still written goes nowhere, as with a remote one. */
static void in_closed(void *arg, const struct cube_err *err) {
	struct local *l = arg;
	bool queued = cube_stream_queued(l->in) > 0;
	cube_stream_free(l->in);
	l->in = NULL;
	if (queued && l->events->on_drained) l->events->on_drained(l->arg);
}

static void in_drained(void *arg) {
	struct local *l = arg;
	if (l->events->on_drained) l->events->on_drained(l->arg);
}

static const struct cube_stream_ops IN_OPS = {
	.data = in_data, .closed = in_closed, .drained = in_drained};
static const struct cube_stream_ops OUT_OPS = {.data = out_data_paused, .closed = out_closed};
static const struct cube_stream_ops ERR_OPS = {.data = err_data, .closed = err_closed};

/* ---- exec -------------------------------------------------------------------------------- */

static void close_pair(int fds[2]) {
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0) close(fds[i]);
		fds[i] = -1;
	}
}

static int make_streams(struct local *l, int pipes[3][2], struct cube_err *err) {
	static const struct cube_stream_limits LIMITS = {
		.max_in = STREAM_IN_MAX, .max_out = CUBE_INPUT_MAX, .low_out = CUBE_INPUT_LOW};
	int in = pipes[0][1], out = pipes[1][0], errfd = pipes[2][0];
	pipes[0][1] = pipes[1][0] = pipes[2][0] = -1;
	int rc = cube_stream_new(l->loop, -1, in, &IN_OPS, l, &LIMITS, &l->in, err);
	if (rc < 0) close(out);
	else rc = cube_stream_new(l->loop, out, -1, &OUT_OPS, l, &LIMITS, &l->out, err);
	if (rc < 0) close(errfd);
	else rc = cube_stream_new(l->loop, errfd, -1, &ERR_OPS, l, &LIMITS, &l->err, err);
	return rc;
}

static int start(struct local *l, const char *line, int pipes[3][2], struct cube_err *err) {
	const char *argv[] = {"/bin/sh", "-c", line, NULL};
	struct cube_spawn spawn = {.argv = argv,
				   .in = pipes[0][0],
				   .out = pipes[1][1],
				   .err = pipes[2][1],
				   .session = true};
	pid_t pid;
	int rc = cube_spawn(&spawn, &pid, err);
	if (rc < 0) return rc;
	rc = cube_loop_on_child(l->loop, pid, on_child, l, err);
	if (rc == 0) l->pid = pid;
	else kill(pid, SIGKILL);
	return rc;
}

static int local_exec(struct cube_transport *t, const char *line, struct cube_err *err) {
	struct local *l = local_of(t);
	int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
	if (!l->open || l->running)
		return cube_fail(err, CUBE_ECONFLICT, "the local shell is not ready for a command");
	l->out_eof = l->err_eof = l->ending = false;
	int rc = 0;
	for (int i = 0; i < 3 && rc == 0; i++) rc = cube_pipe(pipes[i], err);
	if (rc == 0) rc = make_streams(l, pipes, err);
	if (rc == 0) rc = start(l, line, pipes, err);
	for (int i = 0; i < 3; i++) close_pair(pipes[i]);
	if (rc < 0) drop_streams(l);
	else l->running = true;
	return rc;
}

/* ---- the other operations ---------------------------------------------------------------- */

static int local_write(struct cube_transport *t, const void *bytes, size_t n) {
	struct local *l = local_of(t);
	if (!l->running || l->ending) return CUBE_ECONFLICT;
	return l->in ? cube_stream_write(l->in, bytes, n) : 0;
}

static size_t local_queued(const struct cube_transport *t) {
	const struct local *l = local_of(t);
	return l->in ? cube_stream_queued(l->in) : 0;
}

static void local_end_write(struct cube_transport *t) {
	struct local *l = local_of(t);
	if (!l->running || l->ending) return;
	l->ending = true;
	if (l->in) cube_stream_end(l->in);
}

static void resumed(void *arg) {
	struct local *l = arg;
	l->resume_due = false;
	if (l->gone || !l->running) return;
	cube_outlet_offer(&l->outlet);
	if (l->gone) return;
	if (l->out && cube_outlet_room(&l->outlet)) cube_stream_resume(l->out);
	check_end(l);
}

static void local_resume(struct cube_transport *t) {
	struct local *l = local_of(t);
	if (l->resume_due || l->gone) return;
	l->resume_due = true;
	cube_loop_defer(l->loop, resumed, l);
}

static void destroy(void *arg) {
	struct local *l = arg;
	cube_outlet_done(&l->outlet);
	free(l);
}

/* Hangs up as sshd would, on the whole session; a daemon of its own session stays. */
static void local_free(struct cube_transport *t) {
	struct local *l = local_of(t);
	if (l->gone) return;
	l->gone = true;
	if (l->pid) {
		cube_loop_forget_child(l->loop, l->pid);
		kill(-l->pid, SIGHUP);
	}
	drop_streams(l);
	cube_timer_del(l->grace);
	l->grace = NULL;
	cube_loop_defer(l->loop, destroy, l);
}

static const struct cube_transport_ops LOCAL_OPS = {
	.name = "local",
	.exec = local_exec,
	.write = local_write,
	.queued = local_queued,
	.end_write = local_end_write,
	.resume = local_resume,
	.free = local_free,
};

static void opened(void *arg) {
	struct local *l = arg;
	if (l->gone) return;
	l->open = true;
	if (l->events->on_step) l->events->on_step(l->arg, CUBE_STEP_OPEN);
	if (!l->gone) l->events->on_open(l->arg);
}

int cube_transport_local(struct cube_loop *loop, const struct cube_target *target,
			 const struct cube_transport_events *events, void *arg,
			 struct cube_transport **ret, struct cube_err *err) {
	struct local *l = cube_alloc(sizeof *l);
	l->base.ops = &LOCAL_OPS;
	l->loop = loop;
	l->events = events;
	l->arg = arg;
	cube_outlet_init(&l->outlet, events, arg, &l->gone);
	l->grace = cube_timer_add(loop, on_grace, l);
	cube_loop_defer(loop, opened, l);
	*ret = &l->base;
	return 0;
}
