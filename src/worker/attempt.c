#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/spawn.h"

/* How long a reaped attempt waits for the end of its pipes (PROTOCOL.md section 6), and the
 * longest time that is told apart from for ever. */
#define PIPE_GRACE_NS  (2 * CUBE_NS_PER_S)
#define TIMEOUT_MAX_MS (10ull * 366 * 86400 * 1000)

static void on_timer(void *arg);

static void arm(struct attempt *a, uint64_t deadline) {
	if (!a->timer) a->timer = cube_timer_add(a->r->loop, on_timer, a);
	cube_timer_arm(a->timer, deadline);
}

static void disarm(struct attempt *a) {
	if (a->timer) cube_timer_disarm(a->timer);
}

void attempt_release(struct attempt *a) {
	sweep_cancel(&a->sweep);
	cube_timer_del(a->timer);
	a->timer = NULL;
	place_release(&a->place);
	input_close(&a->in);
	output_close(&a->out);
	output_close(&a->err);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void finish(struct attempt *a) {
	attempt_release(a);
	runner_finished(a, true);
}

static void maybe_finish(struct attempt *a) {
	if (a->state != CUBE_ATTEMPT_RUNNING || !a->reaped) return;
	if (a->stopping && !a->swept) return;
	if (a->out.fd >= 0 || a->err.fd >= 0) return;
	finish(a);
}

void attempt_pipes_changed(struct attempt *a) {
	maybe_finish(a);
}

static void wait_for_pipes(struct attempt *a) {
	maybe_finish(a);
	if (a->state == CUBE_ATTEMPT_RUNNING) arm(a, cube_loop_now(a->r->loop) + PIPE_GRACE_NS);
}

static void on_swept(void *arg) {
	struct attempt *a = arg;

	a->swept = true;
	if (a->reaped) wait_for_pipes(a);
}

static void start_sweep(struct attempt *a, pid_t session) {
	sweep_start(a->r->sweeper, &a->sweep, a->cookie, session, a->kill_at, on_swept, a);
}

/* Something left behind holds a pipe open: what is in the pipe now is taken, then it is closed.
 * While the spool is full nothing is lost by waiting on. */
static void cut_pipe(struct output *o) {
	if (o->fd < 0) return;
	output_drain(o);
	if (o->fd >= 0 && spool_room(&o->spool)) output_close(o);
}

static void on_timer(void *arg) {
	struct attempt *a = arg;

	if (a->reaped) {
		cut_pipe(&a->out);
		cut_pipe(&a->err);
		wait_for_pipes(a);
	} else if (!a->stopping) {
		attempt_end(a, CUBE_EXIT_TIMEOUT, a->grace_ms);
	} else {
		kill(-a->pid, SIGKILL);
		start_sweep(a, a->pid);
	}
}

void attempt_end(struct attempt *a, uint8_t how, uint32_t grace_ms) {
	uint64_t kill_at = cube_loop_now(a->r->loop) + grace_ms * CUBE_NS_PER_MS;

	if (a->stopping) { /* a second STOP can only hasten it */
		if (kill_at >= a->kill_at) return;
		a->kill_at = kill_at;
		if (sweep_running(&a->sweep)) sweep_kill_at(a->r->sweeper, &a->sweep, kill_at);
		else if (!a->reaped) arm(a, kill_at);
		return;
	}
	a->stopping = how;
	a->kill_at = kill_at;
	if (a->reaped) { /* only what it left behind is there yet */
		disarm(a);
		start_sweep(a, 0);
		return;
	}
	kill(-a->pid, SIGTERM);
	kill(-a->pid, SIGCONT); /* a stopped process takes no TERM */
	arm(a, kill_at);
}

static uint64_t micros(const struct timeval *tv) {
	return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

static void set_outcome(struct attempt *a, int status) {
	bool signaled = WIFSIGNALED(status);

	a->how = a->stopping ? a->stopping : signaled ? CUBE_EXIT_SIGNALED : CUBE_EXIT_EXITED;
	if (signaled) a->value = WTERMSIG(status);
	else if (a->how == CUBE_EXIT_EXITED) a->value = WEXITSTATUS(status);
	else a->value = a->how == CUBE_EXIT_TIMEOUT ? SIGTERM : 0; /* it left on the TERM */
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct attempt *a = arg;

	a->reaped = true;
	a->finished = cube_clock_wall();
	a->user_us = micros(&usage->ru_utime);
	a->sys_us = micros(&usage->ru_stime);
	a->max_rss = (uint64_t)usage->ru_maxrss * 1024;
	set_outcome(a, status);
	disarm(a);
	output_drain(&a->out); /* mostly all there is, and the end */
	output_drain(&a->err);
	/* A session's number stays taken while it has members, and they are looked for at once. */
	if (a->stopping && !a->swept) start_sweep(a, a->pid);
	else wait_for_pipes(a);
}

/* ---- the beginning ------------------------------------------------------------------------ */

struct ends { /* the six ends of the three pipes; [0] reads */
	int in[2], out[2], err[2];
};

static void close_pair(int fds[2]) {
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0) close(fds[i]);
		fds[i] = -1;
	}
}

static int open_ends(struct ends *e, bool has_stdin, struct cube_err *err) {
	int rc = 0;

	*e = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}};
	if (has_stdin) rc = cube_pipe(e->in, err);
	if (rc == 0) rc = cube_pipe(e->out, err);
	if (rc == 0) rc = cube_pipe(e->err, err);
	return rc;
}

static void close_ends(struct ends *e) {
	close_pair(e->in);
	close_pair(e->out);
	close_pair(e->err);
}

static int take(int *fd) {
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* The process runs: watch it and its pipes. */
static int watch(struct attempt *a, struct ends *e, struct cube_err *err) {
	int rc = cube_loop_on_child(a->r->loop, a->pid, on_child, a, err);

	if (rc < 0) return rc;
	rc = output_open(&a->out, take(&e->out[0]), err);
	if (rc == 0) rc = output_open(&a->err, take(&e->err[0]), err);
	if (rc == 0 && e->in[1] >= 0) rc = input_open(&a->in, a, take(&e->in[1]), err);
	if (rc < 0) cube_loop_forget_child(a->r->loop, a->pid);
	return rc;
}

static int spawn(struct attempt *a, const char *scratch, struct cube_err *err) {
	char **argv = start_spec_argv(a->spec, 0), **env = environ_make(a, scratch);
	struct cube_spawn s = {.argv = (const char *const *)argv,
			       .envp = (const char *const *)env,
			       .session = true,
			       .nofile = &a->r->nofile};
	struct ends ends;
	int rc = open_ends(&ends, a->has_stdin, err);

	s.dir = *a->spec->dir ? a->spec->dir : scratch ? scratch : a->r->home;
	s.in = ends.in[0];
	s.out = ends.out[1];
	s.err = ends.err[1];
	if (rc == 0 && (!argv || !env)) rc = cube_fail_sys(err, ENOMEM, "START");
	if (rc == 0) rc = cube_spawn(&s, &a->pid, err);
	if (rc == 0) {
		rc = watch(a, &ends, err);
		if (rc < 0) kill(-a->pid, SIGKILL);
	}
	close_ends(&ends);
	environ_free(env);
	free(argv);
	return rc;
}

static void not_started(struct attempt *a, const struct cube_err *err) {
	a->how = CUBE_EXIT_NOT_STARTED;
	a->value = err->sys ? err->sys : EIO;
	a->message = cube_strdup(err->msg);
	a->started = 0;
	a->finished = cube_clock_wall();
	attempt_release(a);
	runner_finished(a, true);
}

static bool may_start_later(const struct attempt *a, const struct cube_err *err) {
	bool scarce = err->sys == EMFILE || err->sys == ENFILE || err->sys == EAGAIN ||
		      err->sys == ENOMEM;

	return scarce && err->code == CUBE_ESYS && !a->pid && a->r->running > 1;
}

static void on_placed(void *arg, const struct cube_err *err) {
	struct attempt *a = arg;

	a->placed = !err;
	if (!a->stopping && !err) {
		runner_placed(a);
	} else if (!a->stopping) {
		not_started(a, err);
	} else {
		a->how = a->stopping;
		a->finished = cube_clock_wall();
		finish(a);
	}
}

bool attempt_place(struct attempt *a) {
	char name[FILES_SCRATCH_LEN];
	struct cube_err err;

	files_scratch_name(a->task, a->attempt, name);
	a->place.done = on_placed;
	a->place.arg = a;
	if (place_start(&a->place, a->r->files, name, &a->spec->files, &err) == 0)
		a->scratch = true;
	else if (may_start_later(a, &err)) return false;
	else not_started(a, &err);
	return true;
}

void attempt_stop_placing(struct attempt *a) {
	a->stopping = CUBE_EXIT_STOPPED;
	place_kill(&a->place);
}

bool attempt_begin(struct attempt *a) {
	char name[FILES_SCRATCH_LEN];
	struct cube_err err = {0};
	int rc;

	a->started = cube_clock_wall();
	files_scratch_name(a->task, a->attempt, name);
	rc = spawn(a, a->scratch ? name : NULL, &err);
	if (rc < 0 && may_start_later(a, &err)) return false;
	if (rc < 0) {
		not_started(a, &err);
		return true;
	}
	if (a->timeout_ms) {
		uint64_t ms = a->timeout_ms < TIMEOUT_MAX_MS ? a->timeout_ms : TIMEOUT_MAX_MS;

		arm(a, cube_loop_now(a->r->loop) + ms * CUBE_NS_PER_MS);
	}
	runner_need(a, NEED_STARTED);
	return true;
}
