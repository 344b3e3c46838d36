#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define WIDE_PIPE (1 << 20)
#define WIDE_AT   (48u << 10) /* so much at once: somebody moves much */

/* Non-blocking mode belongs to the open file, which others share (a shell, the next program on this
 * terminal): pipes and terminals are opened once more, which gives one of our own. */
void cube_sink_open(struct cube_sink *s, int fd, size_t max) {
	struct stat st;
	char path[40];
	*s = (struct cube_sink){.fd = fd, .own = -1};
	cube_buf_init(&s->held, max);
	if (fstat(fd, &st) < 0) return;
	s->sock = S_ISSOCK(st.st_mode);
	s->file = S_ISREG(st.st_mode);
	if (!S_ISFIFO(st.st_mode) && !isatty(fd)) return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	s->own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void cube_sink_close(struct cube_sink *s) {
	if (s->own >= 0) close(s->own);
	s->own = -1;
	cube_buf_done(&s->held);
}

static ssize_t write_some(struct cube_sink *s, const void *bytes, size_t n) {
	if (s->sock) return send(s->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (s->own >= 0) return write(s->own, bytes, n);
	/* Not to be opened again: a ready descriptor takes so much without blocking. */
	return write(s->fd, bytes, s->file || n < PIPE_BUF ? n : PIPE_BUF);
}

/* Writes what goes without waiting. */
static size_t write_all(struct cube_sink *s, const uint8_t *p, size_t n) {
	bool patient = s->sock || s->own >= 0 || s->file; /* none of these blocks */
	size_t done = 0;
	if (n >= WIDE_AT && !s->wide && s->own >= 0) {
		s->wide = true;
		fcntl(s->own, F_SETPIPE_SZ, WIDE_PIPE); /* only a pipe has one */
	}
	while (done < n && !s->sys) {
		ssize_t w = write_some(s, p + done, n - done);
		if (w < 0 && errno == EINTR) continue;
		if (w < 0 && errno == EAGAIN) break;
		if (w < 0) s->sys = errno;
		else done += (size_t)w;
		if (!patient) break;
	}
	return s->sys ? n : done; /* for a broken one everything is gone */
}

size_t cube_sink_put(struct cube_sink *s, const void *bytes, size_t n) {
	bool direct = s->sock || s->own >= 0 || s->file;
	size_t done = 0;
	if (!cube_buf_len(&s->held) && (direct || s->sys)) done = write_all(s, bytes, n);
	if (done < n && cube_buf_add(&s->held, (const uint8_t *)bytes + done, n - done))
		s->sys = ENOBUFS; /* more than the caller said */
	return done;
}

size_t cube_sink_flush(struct cube_sink *s) {
	size_t n = cube_buf_len(&s->held), done;
	if (!n) return 0;
	done = write_all(s, cube_buf_data(&s->held), n);
	if (done == n) cube_buf_clear(&s->held);
	else cube_buf_consume(&s->held, done);
	return done;
}

int cube_sink_fd(const struct cube_sink *s) {
	if (!cube_buf_len(&s->held)) return -1;
	return s->own >= 0 ? s->own : s->fd;
}
