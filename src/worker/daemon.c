#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "cube/id.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "daemon.h"
#include "folder.h"
#include "parts.h"
#include "purge.h"
#include "reach.h"
#include "session.h"
#include "worker.h"

#define LONELY_NS (10 * CUBE_NS_PER_S)

enum { ARRIVALS_MAX = 64, FRAMES_MAX = 1 << 20, FLUSH_ORDER = 20 };

/* What became of the start; an error with its errno before the text. */
static void tell(int *fd, char what, const struct cube_err *err) {
	char line[256] = {what};
	int n = 1;

	if (*fd < 0) return;
	if (err) n = cube_format(line, sizeof line, "%c%d %s", what, err->sys, err->msg);
	if (write(*fd, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1) < 0)
		cube_warn("nobody waits for this worker");
	close(*fd);
	*fd = -1;
}

/* ---- connections ---------------------------------------------------------------------------- */

struct arrival { /* a connection whose fds have not come yet */
	struct worker *w;
	struct cube_list entry;
	struct cube_io *io;
	int fd;
};

static void arrival_free(struct arrival *a) {
	cube_list_remove(&a->entry);
	cube_io_del(a->io);
	free(a);
}

/* One byte with the two ends of the link; the connection stays as the link's companion. */
static void on_arrival(void *arg, uint32_t events) {
	struct arrival *a = arg;
	struct worker *w = a->w;
	int fd = a->fd, fds[2] = {-1, -1}, nfds = 2;
	char byte;

	arrival_free(a);
	reach_mend(w); /* it may have come by the name, and the next one should find the folder */
	if (cube_recv_fds(fd, &byte, 1, fds, &nfds, NULL) > 0 && nfds == 2) {
		session_open(w, fds[0], fds[1], fd);
		return;
	}
	for (int i = 0; i < nfds; i++) close(fds[i]);
	close(fd);
}

static void on_connection(void *arg, int fd) {
	struct worker *w = arg;
	struct arrival *a = cube_alloc(sizeof *a);
	unsigned waiting = 0;

	cube_list_each (&w->arrivals, old, struct arrival, entry) waiting++;
	*a = (struct arrival){.w = w, .fd = fd};
	cube_list_append(&w->arrivals, &a->entry);
	if (waiting < ARRIVALS_MAX &&
	    cube_io_add(w->loop, fd, EPOLLIN, on_arrival, a, &a->io, NULL) == 0)
		return;
	arrival_free(a);
	close(fd);
}

static void drop_arrivals(struct worker *w) {
	cube_list_each (&w->arrivals, a, struct arrival, entry) {
		close(a->fd);
		arrival_free(a);
	}
}

/* ---- the end -------------------------------------------------------------------------------- */

static void on_all_killed(void *arg) {
	struct worker *w = arg;

	if (w->done) parts_remove();
	purge_folder(w->folder, w->managed);
	if (w->managed) purge_base(w->self->path, w->purge);
	cube_loop_stop(w->loop);
}

void worker_shutdown(struct worker *w, enum purge_what purge) {
	if (purge != PURGE_NOTHING && w->purge != PURGE_ALL) w->purge = purge;
	if (w->closing) return;
	w->closing = true;
	reach_close(w);
	runner_kill_all(&w->runner);
	sweep_start(&w->sweeper, &w->sweep, w->runner.node_cookie, 0, 0, on_all_killed, w);
}

static void on_signal(void *arg, int signo) {
	struct worker *w = arg;

	cube_info("signal %d: the end", signo);
	worker_shutdown(w, PURGE_NOTHING);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static void on_swept(void *arg) {
	struct worker *w = arg;
	struct cube_err err;

	files_init(&w->files, w->loop, w->self->path, w->runner.node_cookie);
	if (reach_open(w, on_connection, &err) < 0) {
		tell(&w->ready_fd, err.code == CUBE_ECONFLICT ? 'C' : 'E', &err);
		w->failed = true;
		cube_error("%s", err.msg);
		cube_loop_stop(w->loop);
		return;
	}
	if (w->managed && !folder_is_here(w->folder)) {
		tell(&w->ready_fd, 'C', NULL); /* an earlier daemon took the folder away with it */
		cube_loop_stop(w->loop);
		return;
	}
	tell(&w->ready_fd, 'R', NULL);
	if (w->options->ready) w->options->ready(w->options);
}

static void nothing(void *arg) {}

/* Somebody removed or moved the folder, or what it is found by in there. One that has nothing to
 * do then ends, as whoever did it may have meant; one with work can be reached all the same, and
 * makes it again. */
static void on_lonely(void *arg) {
	struct worker *w = arg;

	cube_timer_after(w->lonely, LONELY_NS);
	if (w->closing) return;
	if (w->nsessions || w->runner.count || !reach_is_lost(w)) {
		reach_mend(w);
		return;
	}
	cube_warn("the folder is gone: the end");
	worker_shutdown(w, PURGE_NOTHING);
}

static void init(struct worker *w, const struct daemon_options *o, const char *cookie) {
	w->options = o;
	w->self = o->self;
	w->managed = o->managed;
	w->cluster = o->cluster;
	w->node = o->node;
	w->boot = cube_id_u64();
	w->ready_fd = o->ready_fd;
	cube_format(w->name, sizeof w->name, "%s", o->name);
	cube_format(w->folder, sizeof w->folder, "%s", o->folder);
	cube_list_init(&w->arrivals);
	cube_list_init(&w->sessions);
	cube_buf_init(&w->frames, FRAMES_MAX);
	sampler_init(&w->sampler);
	sweeper_init(&w->sweeper, w->loop);
	runner_init(&w->runner, w->loop, &w->files, &w->sweeper);
	w->runner.folder = w->folder;
	w->runner.node_name = w->name;
	w->runner.node_cookie = cookie;
	w->login = login_new(w->loop, w->self->path, w->runner.home, cookie);
	w->runner.login = w->login;
	streams_init(&w->streams, &w->runner, w->self->path);
	w->again = cube_timer_add(w->loop, nothing, w); /* only to wake the loop */
	w->lonely = cube_timer_add(w->loop, on_lonely, w);
	cube_timer_after(w->lonely, LONELY_NS);
	cube_loop_before_sleep(w->loop, FLUSH_ORDER, session_flush, w);
}

static void done(struct worker *w) {
	session_close_all(w);
	drop_arrivals(w);
	streams_done(&w->streams);
	runner_done(&w->runner);
	login_free(w->login);
	sweeper_done(&w->sweeper);
	if (w->files.loop) files_done(&w->files);
	reach_close(w);
	cube_timer_del(w->again);
	cube_timer_del(w->lonely);
	cube_buf_done(&w->frames);
	cube_loop_free(w->loop);
}

static int run(struct worker *w, const struct daemon_options *o, struct cube_err *err) {
	static const int ENDS[] = {SIGTERM, SIGINT, SIGHUP};
	char cookie[SELF_PATH + 80];
	int rc = 0;

	/* With the folder: the same node of the same cluster may be served from two places, and one
	 * must not take the other's tasks for its own orphans. */
	cube_format(cookie, sizeof cookie, "CUBE_NODE_COOKIE=%016" PRIx64 ".%" PRIu32 "@%s",
		    o->cluster, o->node, o->folder);
	init(w, o, cookie);
	for (size_t i = 0; rc == 0 && i < sizeof ENDS / sizeof *ENDS; i++)
		rc = cube_loop_on_signal(w->loop, ENDS[i], on_signal, w, err);
	if (rc == 0) {
		/* What a daemon that was killed left running dies before this one is ready. */
		sweep_start(&w->sweeper, &w->sweep, cookie, 0, 0, on_swept, w);
		rc = cube_loop_run(w->loop, err);
	}
	done(w);
	return rc;
}

int daemon_run(const struct daemon_options *o) {
	struct worker *w = cube_alloc(sizeof *w);
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct cube_err err;
	int rc, ready = o->ready_fd;

	sigaction(SIGPIPE, &ignore, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	w->lock = -1;
	rc = reach_lock(w, &err);
	if (rc == 0) rc = cube_loop_new(&w->loop, &err);
	if (rc == 0) rc = run(w, o, &err);
	else tell(&ready, rc == CUBE_ECONFLICT ? 'C' : 'E', &err);
	if (rc < 0) cube_error("%s", err.msg);
	rc = rc < 0 || w->failed;
	free(w);
	return rc;
}
