/* A stream to a process on a node, as `cube exec`, `cube cp` and `cube forward` use it: bytes in
 * both directions with credits, through the manager.
 *
 * Nothing here blocks but cube_rstream_open (the manager's answer). The owner polls the stream's fd
 * for cube_rstream_events and calls cube_rstream_step when it is ready; what has come is handed to
 * its `data`. The peer may send only what was granted: the owner grants again what it has used up.
 *
 *	cube_rstream_open(...);
 *	while (!cube_rstream_closed(s)) { poll; cube_rstream_step(s); write while _room > 0; }
 */
#ifndef CUBE_CLI_STREAM_H
#define CUBE_CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "cube/clock.h"
#include "cube/msg.h"

#define CUBE_RSTREAM_HEAD CUBE_STREAM_HEAD /* bytes before the data for cube_rstream_send */

struct cube_cli;
struct cube_rstream;

struct cube_rstream_open {
	const char *node;
	const char *const *argv; /* NULL-terminated; empty or NULL: the user's login shell */
	const char *const *env;  /* "K=V", NULL-terminated; NULL for none */
	const char *dir;         /* NULL: home */
	uint8_t flags;           /* CUBE_OPEN_PTY, _LOGIN, _OWN (argv are the worker's own words) */
	uint16_t rows, cols;
	uint32_t window; /* granted at once for fd 1, and a quarter of it for fd 2; 0: 4 MiB */
};

struct cube_rstream_ops {
	/* What the process wrote on fd 1 or 2; n 0: its end of file. The bytes are gone after the
	 * call. It may grant and write, but never frees the stream, nor what it is called with:
	 * they are in use. A failure (not 0, with *err filled) stops cube_rstream_step, which
	 * returns it, and the owner frees after that. */
	int (*data)(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err);
};

/* CUBE_ENOTFOUND: no such node; CUBE_ECONFLICT: it is not ready, with the reason. That the process
 * could not be started comes later, as the stream's end. open is borrowed during the call. */
int cube_rstream_open(struct cube_client *c, const struct cube_rstream_open *open,
		      const struct cube_rstream_ops *ops, void *arg, struct cube_rstream **ret,
		      struct cube_err *err);
/* One try of several, made since `began` (cube_clock_mono). CUBE_AGAIN, and *err says it in words,
 * while a later one may do: the node is on its way (joining, or lost and tried again), or the
 * manager went away and was started again. That lasts ten seconds at most. */
int cube_rstream_try(struct cube_cli *cli, const struct cube_rstream_open *open,
		     const struct cube_rstream_ops *ops, void *arg, uint64_t began,
		     struct cube_rstream **ret, struct cube_err *err);
/* Tries until it is no CUBE_AGAIN; that something is waited for is told after a second. */
int cube_rstream_open_waiting(struct cube_cli *cli, const struct cube_rstream_open *open,
			      const struct cube_rstream_ops *ops, void *arg,
			      struct cube_rstream **ret, struct cube_err *err);
/* Whether a node (a row of /v1/nodes) has streams, or may have soon. */
bool cube_rstream_node_may(const json_t *node);
/* The failure for a name that is no node: CUBE_ENOTFOUND with what to do, or CUBE_EUSAGE where it
 * is an expression for several. */
int cube_rstream_no_node(const char *name, struct cube_err *err);
void cube_rstream_free(struct cube_rstream *s); /* NULL is fine; hangs up a process that runs */

int cube_rstream_fd(const struct cube_rstream *s);
short cube_rstream_events(const struct cube_rstream *s); /* POLLIN, POLLOUT */
/* Reads and writes what can be done now, a bounded amount. 0, CUBE_ECONNECT when the manager is
 * gone, what `data` returned, or CUBE_EPROTO where what came is no stream: malformed, more than was
 * granted, behind its end. *err says it, but not of which host: the caller does. */
int cube_rstream_step(struct cube_rstream *s, struct cube_err *err);

#define CUBE_RSTREAM_SILENCE (10 * CUBE_NS_PER_S) /* is told: nobody waits in silence */
/* Has nothing come for so long (ns; 0: never mind)? True once in a stream's life, for the caller to
 * say so. working: the caller has work of its own, and did not wait for the host until now. */
bool cube_rstream_silent(struct cube_rstream *s, uint64_t limit, bool working);
void cube_rstream_say_silent(const char *names, uint64_t limit);
/* Steps until the stream is closed, for callers that wait for nothing else; a silence is told. */
int cube_rstream_finish(struct cube_rstream *s, const char *node, uint64_t limit,
			struct cube_err *err);

/* So many more bytes may come on fd 1 or 2. Small grants are gathered. */
void cube_rstream_grant(struct cube_rstream *s, int fd, size_t n);
/* How many bytes of input may be sent now (granted, and the socket is not far behind). */
size_t cube_rstream_room(const struct cube_rstream *s);
/* n <= room, at most CUBE_DATA_MAX. */
void cube_rstream_write(struct cube_rstream *s, const void *bytes, size_t n);
/* The same without a copy: the n bytes lie behind CUBE_RSTREAM_HEAD free bytes at frame. */
void cube_rstream_send(struct cube_rstream *s, uint8_t *frame, size_t n);
/* Sends what the socket takes of bytes that can wait, as many frames at a time, without a copy.
 * Returns how much that was; 0 while there is no room, or something is queued. */
size_t cube_rstream_stream(struct cube_rstream *s, const uint8_t *bytes, size_t n);
void cube_rstream_end(struct cube_rstream *s); /* end of input */
void cube_rstream_signal(struct cube_rstream *s, int signo);
void cube_rstream_resize(struct cube_rstream *s, uint16_t rows, uint16_t cols);

/* The process has ended and all of its output was handed out. */
bool cube_rstream_closed(const struct cube_rstream *s);
/* Of a closed stream: how it ended (enum cube_exit_how), the exit code, signal or errno, and why it
 * could not start ("" otherwise). how LOST: the link to the node broke. */
struct cube_rstream_outcome {
	uint8_t how;
	int32_t value;
	const char *message;
};
struct cube_rstream_outcome cube_rstream_result(const struct cube_rstream *s);
/* The exit code for it, as `cube run` would give; what is not the command's own is told on stderr
 * ("cube: error: NODE: ..."). */
int cube_rstream_exit(const struct cube_rstream *s, const char *node);

#endif
