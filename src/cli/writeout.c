#include "writeout.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much a descriptor that is ready takes without blocking. */
static size_t portion(int fd, size_t n) {
	struct stat st;
	int unread = 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) return n;
	size_t most = PIPE_BUF;
	if (n > most && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0 && S_ISFIFO(st.st_mode))
		most = 32768;
	return n < most ? n : most;
}

int cube_write_broken(int sys) {
	if (sys == EPIPE || sys == ECONNRESET) return CUBE_WRITE_GONE;
	fprintf(stderr, "cube: error: cannot write to stdout: %s\n", strerror(sys));
	return CUBE_WRITE_FAILED;
}

int cube_write_out(int fd, const void *bytes, size_t n, int wake_fd, int (*woken)(void *arg),
		   void *arg) {
	const uint8_t *p = bytes;
	while (n > 0) {
		struct pollfd w[2] = {{.fd = fd, .events = POLLOUT},
				      {.fd = wake_fd, .events = POLLIN}};
		if (poll(w, 2, -1) < 0) continue;
		if (w[0].revents == 0) {
			int rc = woken(arg);
			if (rc) return rc;
			continue;
		}
		ssize_t done = write(fd, p, portion(fd, n));
		if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
		if (done < 0) return fd == STDOUT_FILENO ? cube_write_broken(errno) : 0;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}
