/* Streams between a client's upgraded connection and a worker's process (PROTOCOL.md section 6).
 *
 * The manager keeps nothing of them: it gives each an id of its node's link, checks frames and
 * windows, and relays. What the worker sends is bounded by what the client granted and is queued
 * for the client; what the client sends is read from its socket only as fast as the node's link
 * takes it, data in turns with other streams and with files, behind all control frames.
 */
#ifndef CUBE_STREAMS_H
#define CUBE_STREAMS_H

#include <stdbool.h>

#include "cube/err.h"
#include "cube/fleet.h"

struct cube_work;

#define CUBE_STREAM_PROTOCOL "cube-stream/1"

/* 0 where a stream to the node can be opened now; else CUBE_ECONFLICT with the reason. */
int cube_streams_check(const struct cube_node *node, struct cube_err *err);
/* Takes a client's connection: a non-blocking socket, which is the stream's from now on, and what
 * came over it already. over: called once, when the stream has ended and the socket is closed. */
void cube_streams_begin(struct cube_work *work, struct cube_node *node, int fd, const void *early,
			size_t n, void (*over)(void *arg), void *arg);

#endif
