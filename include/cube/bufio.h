/* Buffered bytes over a pair of non-blocking fds: pipes, sockets, a terminal.
 *
 * Reading: ops->data is called with what arrived and returns how many bytes it took; the rest
 * is kept and offered again with the next arrival, or by cube_bufio_resume. At most 256 KiB
 * are read in one turn, so that a busy one cannot starve the others. While paused, or
 * while more than `max_in` bytes lie untaken, nothing is read and the kernel's own buffer
 * holds the writer back.
 * Writing: cube_bufio_write queues up to max_out bytes in all and tries the fd at once;
 * ops->drained tells when the queue has become shorter than low_out after being longer.
 * A failure is reported once by ops->closed, after which no callback comes; the owner frees.
 * When a write fails, the queue is dropped (later writes too, without an error), what can be
 * read without waiting is still offered, and then the failure is reported.
 *
 * Callbacks come from the loop only, never from inside a call of this module. Regular files and
 * /dev/null work too: they are always ready. Programs ignore SIGPIPE (sockets are written with
 * MSG_NOSIGNAL, but pipes have no such flag).
 */
#ifndef CUBE_BUFIO_H
#define CUBE_BUFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cube/err.h"
#include "cube/loop.h"

struct cube_bufio;

struct cube_bufio_ops {
	/* Returns how many of the n bytes were taken, 0 included. May free the stream: the bytes
	 * stay until it returns. An owner that calls its own owner from here either allows that
	 * too, and looks whether it is gone after each call, or has failures returned to it, and
	 * is freed after that. */
	size_t (*data)(void *arg, const uint8_t *bytes, size_t n);
	/* The peer's end of file (err NULL), or a failure. All data was offered before, untaken
	 * bytes again until none is taken; while paused that waits for _resume. Called once. After
	 * an end of file writing goes on to work until its own failure, which then only drops the
	 * queue. */
	void (*closed)(void *arg, const struct cube_err *err);
	void (*drained)(void *arg); /* may be NULL */
};

struct cube_bufio_limits {
	size_t max_in;  /* untaken bytes held at most; at least the largest unit `data` waits for */
	size_t max_out; /* queued bytes at most */
	size_t low_out; /* drained is called when the queue falls to this, after having been longer
			 * or after having refused a write */
};

/* Takes ownership of the fds (rfd == wfd for a socket; either may be -1) and sets them
 * non-blocking. On failure they are closed too. */
int cube_bufio_new(struct cube_loop *loop, int rfd, int wfd, const struct cube_bufio_ops *ops,
		   void *arg, const struct cube_bufio_limits *limits, struct cube_bufio **ret,
		   struct cube_err *err);
/* Closes the fds; may be called from the stream's own callbacks; NULL is fine. */
void cube_bufio_free(struct cube_bufio *s);

/* Queues all n bytes or nothing: 0, or CUBE_ETOOBIG when they do not fit in max_out. A broken
 * peer is reported by `closed`, not here. */
int cube_bufio_write(struct cube_bufio *s, const void *bytes, size_t n);
int cube_bufio_writev(struct cube_bufio *s, const struct iovec *iov, int count);
size_t cube_bufio_queued(const struct cube_bufio *s); /* bytes not yet accepted by the fd */
size_t cube_bufio_room(const struct cube_bufio *s);   /* bytes a write may have now */
/* Closes the write side once the queue is out; there is no room from now on. */
void cube_bufio_end(struct cube_bufio *s);

void cube_bufio_pause(struct cube_bufio *s);
/* Reads again; untaken bytes are offered at the end of this turn. */
void cube_bufio_resume(struct cube_bufio *s);

#endif
