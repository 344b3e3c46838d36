#include "replace.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/listen.h"
#include "cube/lockholder.h"
#include "cube/log.h"
#include "cube/mem.h"

#define ENDS_MS 30000
#define LOCK_NS (30 * CUBE_NS_PER_S)

static bool is_served(const char *socket) {
	int fd, sys = cube_connect_unix_now(socket, &fd);
	if (sys == EAGAIN) return true; /* its queue is full */
	if (sys == ENAMETOOLONG) sys = cube_connect_unix(socket, &fd, NULL);
	if (sys == 0) close(fd);
	return sys == 0;
}

/* The pidfd says when it has ended, and that no other process got its number meanwhile. One that
 * was stopped goes on, to end. */
static int end(pid_t pid, const char *lock, struct cube_err *err) {
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 && errno == ESRCH) return 0;
	if (fd < 0) return cube_fail_sys(err, errno, "the manager with pid %d", (int)pid);
	int rc = 0, n = 1;
	if (cube_lock_holder(lock) == pid) {
		cube_info("taking the place of the manager with pid %d", (int)pid);
		if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
			rc = cube_fail_sys(err, errno, "cannot stop the manager with pid %d",
					   (int)pid);
		syscall(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		while (!rc && (n = poll(&p, 1, ENDS_MS)) < 0 && errno == EINTR) {}
	}
	if (!rc && n <= 0)
		rc = cube_fail(err, CUBE_ETIMEOUT,
			       "the manager with pid %d does not stop; `kill -9 %d` ends it, and "
			       "its workers and tasks go on",
			       (int)pid, (int)pid);
	close(fd);
	return rc;
}

static int explain(const struct cube_paths *paths, const char *lock, struct cube_err *err) {
	pid_t pid = cube_lock_holder(lock);
	struct stat st;
	if (is_served(paths->socket))
		return cube_fail(err, CUBE_ECONFLICT,
				 "a manager of cluster '%s' is running already (pid %d); "
				 "--replace takes its place",
				 paths->cluster, (int)pid);
	if (lstat(paths->socket, &st) == 0 && !S_ISSOCK(st.st_mode))
		return cube_fail(err, CUBE_ECONFLICT,
				 "the manager of cluster '%s' (pid %d) cannot listen: %.160s is "
				 "no socket; move it away",
				 paths->cluster, (int)pid, paths->socket);
	return cube_fail(err, CUBE_ECONFLICT,
			 "the manager of cluster '%s' (pid %d) runs, and nobody listens at %.120s; "
			 "`cube manager --replace` takes its place, workers and tasks go on",
			 paths->cluster, (int)pid, paths->socket);
}

int cube_manager_lock(const struct cube_paths *paths, bool replace, int *ret_fd,
		      struct cube_err *err) {
	cube_autofree char *lock = cube_strf("%s/lock", paths->state);
	uint64_t until = cube_clock_mono() + LOCK_NS;
	for (;; poll(NULL, 0, 10)) { /* flock(2) has no time limit */
		int rc = cube_lock_file(lock, ret_fd, err);
		if (rc != CUBE_ECONFLICT) return rc;
		if (cube_clock_mono() >= until) break;
		pid_t pid = replace ? cube_lock_holder(lock) : 0;
		if (pid > 0 && (rc = end(pid, lock, err))) return rc;
		if (!replace && is_served(paths->socket)) break;
	}
	return explain(paths, lock, err);
}
