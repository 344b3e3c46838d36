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
#include "cube/msg.h"
#include "cube/httpd.h"
#include "cube/nodes.h"

struct cube_mstream;

#define CUBE_STREAM_PROTOCOL "cube-stream/1"

/* 0 where a stream to the node can be opened now; else CUBE_ECONFLICT with the reason. */
int cube_streams_check(const struct cube_mnode *node, struct cube_err *err);
/* Takes the upgraded connection as cube_upgrade_fn gets it; the stream lives until both sides know
 * its end. */
void cube_streams_begin(struct cube_mnode *node, struct cube_upgraded *up, int fd,
			const void *early, size_t n);

/* --- for link.c --- */
/* STREAM_OUTPUT, STREAM_GRANT, STREAM_CLOSED of the worker. CUBE_EPROTO. */
int cube_streams_on_msg(struct cube_mnode *node, const struct cube_msg *msg, struct cube_err *err);
/* Sends one piece of a client's data to the worker; false: there is none now. */
bool cube_streams_pump(struct cube_mnode *node);
/* The link is gone: every client is told (how 5) with the reason. */
void cube_streams_link_down(struct cube_mnode *node, const char *why);
/* Those that are over and whose clients still read: they are cut. */
void cube_streams_free(struct cube_manager *m);

#endif
