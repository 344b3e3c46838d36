/* Unix sockets and lock files: see listen.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "cube/listen.h"
#include "cube/mem.h"

enum {
	BACKLOG = 128,
	ACCEPT_BATCH = 64, /* connections taken a turn */
	PASS_FDS = 4,
	LOCK_TRIES = 16,
};

/* How long to leave the queue alone when fds or memory are out; the socket stays ready
 * meanwhile, and would spin the loop. */
static const uint64_t ACCEPT_REST = 100 * CUBE_NS_PER_MS;

struct cube_listen {
	struct cube_loop *loop;
	cube_listen_fn *fn;
	void *arg;
	char *path;
	int fd;
	dev_t dev; /* of the socket file: only this one is ours to unlink */
	ino_t ino;
	struct cube_io *io;
	struct cube_timer *rest;
	bool gone;
};

/* ---- addresses --------------------------------------------------------------------------- */

/* A path that does not fit goes through its folder's fd, which *ret_dir holds until the address
 * has been used (-1 when there is none). */
static int address(const char *path, struct sockaddr_un *sa, int *ret_dir, struct cube_err *err) {
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	size_t len = strlen(path);
	*ret_dir = -1;
	if (!len) return cube_fail(err, CUBE_EUSAGE, "empty socket path");
	if (len < sizeof sa->sun_path) {
		memcpy(sa->sun_path, path, len + 1);
		if (*path == '@') *sa->sun_path = '\0';
		return 0;
	}
	const char *slash = strrchr(path, '/');
	if (!slash)
		return cube_fail(err, CUBE_ETOOBIG, "socket name over %zu bytes: %s",
				 sizeof sa->sun_path - 1, path);
	cube_autofree char *folder = cube_strndup(path, slash == path ? 1 : (size_t)(slash - path));
	int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) return cube_fail_sys(err, errno, "cannot open %s", folder);
	int n = cube_format(sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/%s", dir,
			    slash + 1);
	if (n < 0 || (size_t)n >= sizeof sa->sun_path) {
		close(dir);
		return cube_fail(err, CUBE_ETOOBIG, "socket name too long: %s", slash + 1);
	}
	*ret_dir = dir;
	return 0;
}

/* ---- listening --------------------------------------------------------------------------- */

/* Anything but a socket in our place is somebody's file: never removed. */
static int remove_stale(const char *path, struct cube_err *err) {
	struct stat st;
	if (*path == '@') return 0;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : cube_fail_sys(err, errno, "cannot look at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return cube_fail(err, CUBE_ECONFLICT, "%s exists and is not a socket", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return cube_fail_sys(err, errno, "cannot remove the old %s", path);
	return 0;
}

static int bind_and_listen(int fd, const char *path, const struct sockaddr_un *sa,
			   struct cube_err *err) {
	/* Linux gives the file the mode of the unbound socket (minus the umask), so that there is
	 * no moment in which others may connect. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)sa, sizeof *sa) < 0)
		return cube_fail_sys(err, errno, "cannot make the socket %s", path);
	bool abstract = *path == '@';
	if ((abstract || chmod(path, 0600) == 0) && listen(fd, BACKLOG) == 0) return 0;
	int sys = errno;
	if (!abstract) unlink(path);
	return cube_fail_sys(err, sys, "cannot listen at %s", path);
}

int cube_listen_unix_fd(const char *path, int *ret_fd, struct cube_err *err) {
	struct sockaddr_un sa;
	int dir;
	int rc = address(path, &sa, &dir, err);
	if (rc < 0) return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) rc = cube_fail_sys(err, errno, "cannot make a socket");
	if (rc == 0) rc = remove_stale(path, err);
	if (rc == 0) rc = bind_and_listen(fd, path, &sa, err);
	if (dir >= 0) close(dir);
	if (rc == 0) *ret_fd = fd;
	else if (fd >= 0) close(fd);
	return rc;
}

static bool peer_allowed(int fd) {
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) return false;
	return cred.uid == geteuid() || cred.uid == 0;
}

static void on_connection(void *arg, uint32_t events) {
	struct cube_listen *l = arg;
	for (int i = 0; i < ACCEPT_BATCH && !l->gone; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			if (peer_allowed(fd)) l->fn(l->arg, fd);
			else close(fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED) continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			cube_io_set(l->io, 0);
			cube_timer_after(l->rest, ACCEPT_REST);
		}
		return;
	}
}

static void on_rested(void *arg) {
	struct cube_listen *l = arg;
	cube_io_set(l->io, EPOLLIN);
}

int cube_listen_unix(struct cube_loop *loop, const char *path, cube_listen_fn *fn, void *arg,
		     struct cube_listen **ret, struct cube_err *err) {
	struct stat st = {0};
	int fd;
	bool abstract = *path == '@';
	int rc = cube_listen_unix_fd(path, &fd, err);
	if (rc < 0) return rc;
	struct cube_listen *l = cube_alloc(sizeof *l);
	*l = (struct cube_listen){.loop = loop, .fn = fn, .arg = arg, .fd = fd};
	if (!abstract && lstat(path, &st) < 0)
		rc = cube_fail_sys(err, errno, "cannot look at %s", path);
	else rc = cube_io_add(loop, fd, EPOLLIN, on_connection, l, &l->io, err);
	if (rc < 0) {
		if (!abstract) unlink(path);
		close(fd);
		free(l);
		return rc;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->path = cube_strdup(path);
	l->rest = cube_timer_add(loop, on_rested, l);
	*ret = l;
	return 0;
}

bool cube_listen_is_there(const struct cube_listen *l) {
	struct stat st;
	return *l->path == '@' ||
	       (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino);
}

void cube_listen_free(struct cube_listen *l) {
	if (!l || l->gone) return;
	l->gone = true;
	cube_io_del(l->io);
	cube_timer_del(l->rest);
	if (*l->path != '@' && cube_listen_is_there(l)) unlink(l->path);
	close(l->fd);
	free(l->path);
	cube_loop_defer(l->loop, free, l); /* on_connection may stand on it */
}

/* ---- connecting -------------------------------------------------------------------------- */

static int connect_failed(struct cube_err *err, int sys, const char *path) {
	int rc = cube_fail_sys(err, sys, "cannot connect to %s", path);
	if (sys != ENOENT && sys != ECONNREFUSED) return rc;
	if (err) err->code = CUBE_ECONNECT;
	return CUBE_ECONNECT;
}

int cube_connect_unix(const char *path, int *ret_fd, struct cube_err *err) {
	struct sockaddr_un sa;
	struct cube_err why;
	int dir, rc;
	if (address(path, &sa, &dir, &why) < 0) {
		if (why.sys) return connect_failed(err, why.sys, path);
		return cube_fail(err, why.code, "%s", why.msg);
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		rc = cube_fail_sys(err, errno, "cannot make a socket");
	} else {
		/* An interrupted connect of a unix socket leaves nothing behind: try again. */
		do rc = connect(fd, (struct sockaddr *)&sa, sizeof sa);
		while (rc < 0 && errno == EINTR);
		if (rc < 0) {
			rc = connect_failed(err, errno, path);
			close(fd);
		}
	}
	if (dir >= 0) close(dir);
	if (rc == 0) *ret_fd = fd;
	return rc;
}

int cube_connect_unix_now(const char *path, int *ret_fd) {
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof sa.sun_path) return ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	if (*path == '@') *sa.sun_path = '\0';
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return errno;
	int sys = connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? errno : 0;
	if (sys) close(fd);
	else *ret_fd = fd;
	return sys;
}

/* ---- passing fds ------------------------------------------------------------------------- */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASS_FDS * sizeof(int))];
};

static bool wait_for(int fd, short events) {
	struct pollfd p = {.fd = fd, .events = events};
	return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

/* Goes on after EINTR, and waits where the socket is non-blocking. */
static bool again(int sock, short events) {
	if (errno == EINTR) return true;
	return (errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(sock, events);
}

static void attach_fds(struct msghdr *msg, union control *c, const int *fds, int nfds) {
	*c = (union control){0};
	msg->msg_control = c->bytes;
	msg->msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
	struct cmsghdr *h = CMSG_FIRSTHDR(msg);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
	memcpy(CMSG_DATA(h), fds, (size_t)nfds * sizeof(int));
}

int cube_send_fds(int sock, const void *bytes, size_t n, const int *fds, int nfds,
		  struct cube_err *err) {
	union control c;
	if (!n || nfds < 0 || nfds > PASS_FDS)
		return cube_fail(err, CUBE_EUSAGE, "%d fds with %zu bytes cannot be passed", nfds,
				 n);
	for (size_t sent = 0; sent < n;) {
		struct iovec v = {.iov_base = (char *)bytes + sent, .iov_len = n - sent};
		struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
		if (!sent && nfds)
			attach_fds(&msg, &c, fds, nfds); /* they go with the first byte */
		ssize_t k = sendmsg(sock, &msg, MSG_NOSIGNAL);
		if (k < 0 && !again(sock, POLLOUT))
			return cube_fail_sys(err, errno, "cannot pass fds");
		if (k > 0) sent += (size_t)k;
	}
	return 0;
}

/* Keeps up to max fds of one control message; the peer may have sent more than was asked for. */
static int keep_fds(const struct cmsghdr *h, int *fds, int have, int max) {
	if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) return have;
	size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
		if (have < max) fds[have++] = fd;
		else close(fd);
	}
	return have;
}

ssize_t cube_recv_fds(int sock, void *bytes, size_t n, int *fds, int *nfds, struct cube_err *err) {
	union control c;
	struct iovec v = {.iov_base = bytes, .iov_len = n};
	struct msghdr msg;
	ssize_t got;
	do {
		msg = (struct msghdr){.msg_iov = &v,
				      .msg_iovlen = 1,
				      .msg_control = c.bytes,
				      .msg_controllen = sizeof c.bytes};
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && again(sock, POLLIN));
	if (got < 0) return cube_fail_sys(err, errno, "cannot receive fds");
	int have = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h))
		have = keep_fds(h, fds, have, *nfds);
	*nfds = have;
	return got;
}

/* ---- locks ------------------------------------------------------------------------------- */

/* Whether fd is still the file at path: a holder may have removed its folder before it went. */
static bool still_there(int fd, const char *path) {
	struct stat held, now;
	return fstat(fd, &held) == 0 && stat(path, &now) == 0 && held.st_dev == now.st_dev &&
	       held.st_ino == now.st_ino;
}

static int lock_retry(int fd) {
	int rc;
	do rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc < 0 && errno == EINTR);
	return rc;
}

int cube_lock_file(const char *path, int *ret_fd, struct cube_err *err) {
	for (int i = 0; i < LOCK_TRIES; i++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (fd < 0) return cube_fail_sys(err, errno, "cannot open the lock %s", path);
		int sys = lock_retry(fd) < 0 ? errno : 0;
		if (!sys && still_there(fd, path)) {
			*ret_fd = fd;
			return 0;
		}
		close(fd);
		if (sys == EWOULDBLOCK)
			return cube_fail(err, CUBE_ECONFLICT, "another process holds %s", path);
		if (sys) return cube_fail_sys(err, sys, "cannot lock %s", path);
	}
	return cube_fail(err, CUBE_ECONFLICT, "%s keeps being replaced", path);
}
