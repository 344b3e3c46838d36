#include "life.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/listen.h"
#include "cube/log.h"
#include "cube/mem.h"

#define LOOK_NS   (1 * CUBE_NS_PER_S)
#define QUIET     3 /* looks in a row that find nothing to do */
#define MINUTE_NS (60 * CUBE_NS_PER_S)

struct cube_life {
	struct cube_manager *m;
	int lock_fd;
	char *lock;
	struct stat folder, socket; /* ours */
	int notify;                 /* inotify's, or -1: then the folder is looked at each minute */
	struct cube_io *notify_io;
	struct cube_timer *idle, *minute;
	unsigned quiet;
	bool in_the_way; /* was told of */
};

static bool same(const struct stat *a, const struct stat *b) {
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* --- the socket --- */

static int listen_here(struct cube_life *l, struct cube_err *err) {
	struct cube_manager *m = l->m;
	int fd, rc = cube_listen_unix_fd(m->paths.socket, &fd, err);
	if (rc) return rc;
	if (lstat(m->paths.socket, &l->socket) < 0) l->socket = (struct stat){0};
	return cube_api_serve(m->api, fd, err);
}

static bool socket_is_there(const struct cube_life *l) {
	struct stat st;
	return lstat(l->m->paths.socket, &st) == 0 && same(&st, &l->socket);
}

static void look_at_socket(struct cube_life *l) {
	struct cube_err err;
	if (socket_is_there(l)) return;
	int rc = listen_here(l, &err);
	if (!rc) cube_info("the socket was removed: listening anew");
	else if (!l->in_the_way) cube_error("cannot listen anew: %s", err.msg);
	l->in_the_way = rc != 0;
}

/* --- the folder and the lock --- */

static bool folder_is_there(const struct cube_life *l) {
	struct stat st;
	return stat(l->m->paths.state, &st) == 0 && same(&st, &l->folder);
}

/* A lock that was removed keeps nobody out: another one is taken, if it can be had. */
static bool keep_lock(struct cube_life *l) {
	struct stat ours, there;
	struct cube_err err;
	int fd;
	if (fstat(l->lock_fd, &ours) == 0 && stat(l->lock, &there) == 0 && same(&ours, &there))
		return true;
	if (cube_lock_file(l->lock, &fd, &err)) {
		cube_error("the lock was removed, and no other is to be had: %s", err.msg);
		return false;
	}
	cube_info("the lock was removed: holding another");
	close(l->lock_fd);
	l->lock_fd = fd;
	return true;
}

static void look(struct cube_life *l) {
	struct cube_manager *m = l->m;
	struct cube_err gone;
	if (m->stopping) return;
	if (!folder_is_there(l)) {
		cube_turn_must(&m->turn,
			       cube_fail(&gone, CUBE_ENOTFOUND, "the state folder %s was deleted",
					 m->paths.state),
			       &gone);
	} else if (!keep_lock(l)) {
		cube_manager_stop(m);
	} else {
		look_at_socket(l);
	}
}

static void on_change(void *arg, uint32_t events) {
	struct cube_life *l = arg;
	_Alignas(struct inotify_event) char changes[4096];
	while (read(l->notify, changes, sizeof changes) > 0) {}
	look(l);
}

/* What is deleted under us is seen each minute too, where inotify cannot be had. */
static void watch_folder(struct cube_life *l) {
	l->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (l->notify < 0) return;
	inotify_add_watch(l->notify, l->m->paths.state,
			  IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
				  IN_MOVE_SELF);
	cube_io_add(l->m->loop, l->notify, EPOLLIN, on_change, l, &l->notify_io, NULL);
}

static void on_minute(void *arg) {
	struct cube_life *l = arg;
	struct cube_err err;
	look(l);
	struct cube_store *s = cube_turn_tx(&l->m->turn);
	cube_turn_must(&l->m->turn, s->ops->metric_thin(s, cube_clock_wall(), &err), &err);
	cube_timer_after(l->minute, MINUTE_NS);
}

/* --- the end --- */

static bool is_busy(const struct cube_life *l) {
	struct cube_manager *m = l->m;
	if (cube_api_busy(m->api) || cube_work_active(m->work)) return true;
	cube_list_each (cube_fleet_list(m->fleet), node, struct cube_node, hook) {
		if (node->state != CUBE_NODE_FAILED && node->state != CUBE_NODE_NEEDS_LOGIN)
			return true;
	}
	return false;
}

/* Nobody new can come once the socket is gone; who came before is served, and keeps us. */
static bool leave(struct cube_life *l) {
	struct cube_manager *m = l->m;
	struct cube_err err;
	if (socket_is_there(l)) unlink(m->paths.socket);
	cube_api_catch_up(m->api);
	if (is_busy(l)) {
		if (listen_here(l, &err)) cube_error("cannot listen anew: %s", err.msg);
		return false;
	}
	cube_api_finish(m->api);
	cube_info("nothing to do: the manager ends");
	cube_manager_stop(m);
	return true;
}

static void on_idle(void *arg) {
	struct cube_life *l = arg;
	l->quiet = is_busy(l) ? 0 : l->quiet + 1;
	if (l->quiet >= QUIET) {
		if (leave(l)) return;
		l->quiet = 0;
	}
	cube_timer_after(l->idle, LOOK_NS);
}

int cube_life_new(struct cube_manager *m, int lock_fd, bool ends, struct cube_life **ret,
		  struct cube_err *err) {
	struct cube_life *l = *ret = cube_alloc(sizeof *l);
	*l = (struct cube_life){.m = m, .lock_fd = lock_fd, .notify = -1};
	l->lock = cube_strf("%s/lock", m->paths.state);
	l->minute = cube_timer_add(m->loop, on_minute, l);
	l->idle = cube_timer_add(m->loop, on_idle, l);
	if (stat(m->paths.state, &l->folder) < 0)
		return cube_fail_sys(err, errno, "%.160s", m->paths.state);
	int rc = listen_here(l, err);
	if (rc) return rc;
	watch_folder(l);
	cube_timer_after(l->minute, MINUTE_NS);
	if (ends) cube_timer_after(l->idle, LOOK_NS);
	return 0;
}

void cube_life_free(struct cube_life *l) {
	if (!l) return;
	if (l->socket.st_ino && socket_is_there(l)) unlink(l->m->paths.socket);
	cube_io_del(l->notify_io);
	if (l->notify >= 0) close(l->notify);
	cube_timer_del(l->idle);
	cube_timer_del(l->minute);
	close(l->lock_fd);
	free(l->lock);
	free(l);
}
