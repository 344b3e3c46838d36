#include "replace.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/listen.h"
#include "cube/log.h"

#define ENDS_MS 30000

/* The pidfd says when it has ended, and that no other process got its number meanwhile. */
static int end(pid_t pid, struct cube_err *err) {
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 && errno == ESRCH) return 0;
	if (fd < 0) return cube_fail_sys(err, errno, "the manager with pid %d", (int)pid);
	cube_info("taking the place of the manager with pid %d", (int)pid);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int rc = 0, n = 1;
	if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
		rc = cube_fail_sys(err, errno, "cannot stop the manager with pid %d", (int)pid);
	while (!rc && (n = poll(&p, 1, ENDS_MS)) < 0 && errno == EINTR) {}
	if (!rc && n <= 0)
		rc = cube_fail(err, CUBE_ETIMEOUT, "the manager with pid %d does not stop",
			       (int)pid);
	close(fd);
	return rc;
}

int cube_manager_replace(const char *socket, struct cube_err *err) {
	struct ucred peer = {0};
	socklen_t n = sizeof peer;
	int fd, rc = cube_connect_unix(socket, &fd, err);
	if (rc) return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		rc = cube_fail_sys(err, errno, "%.160s", socket);
	close(fd);
	return rc ? rc : end(peer.pid, err);
}
