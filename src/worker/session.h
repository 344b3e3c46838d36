/* Links to a manager: the handshake, the messages, the metrics, the end. */
#ifndef WORKER_SESSION_H
#define WORKER_SESSION_H

#include "worker.h"

/* A link over rfd and wfd, which are owned from here on, as is conn: the attach process's
 * connection, whose end is the link's end and the other way round (-1: none). */
void session_open(struct worker *w, int rfd, int wfd, int conn);
/* Before each sleep: writes what is due and buries what is over. */
void session_flush(void *worker);
/* Closes all links, at the latest when the loop is freed. */
void session_close_all(struct worker *w);

#endif
