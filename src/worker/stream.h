/* Streams: one process on this host for each, its input and output relayed as they come, no record
 * kept (PROTOCOL.md section 6). They belong to the link that opened them and end with it.
 *
 * Output is read from the process only when it may be sent: the manager granted it and the link
 * has room. Input is held up to what was granted, until the process takes it.
 */
#ifndef WORKER_STREAM_H
#define WORKER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/list.h"
#include "cube/loop.h"
#include "cube/msg.h"
#include "cube/bufio.h"
#include "runner.h"

#define STREAMS_MAX 256u

struct streams {
	struct runner *runner; /* whose host, folder and login environment they share */
	struct cube_list all;
	struct cube_list dirty; /* with control frames to send */
	struct cube_list ready; /* with output to read and send */
	uint64_t last;          /* the highest id of this link */
	unsigned count, total;  /* those the manager knows; and all, with those being killed */
	uint64_t granted;       /* bytes of input that may come, or lie here, over all */
	const char *self;       /* the worker's own file */
	uint8_t *space;         /* to read output into; NULL while there is no stream */
};

void streams_init(struct streams *s, struct runner *runner, const char *self);
void streams_done(struct streams *s); /* frees all; processes are not looked after any more */

/* Takes OPEN and the manager's STREAM_ messages. 0, or CUBE_EPROTO. */
int streams_on_msg(struct streams *s, const struct cube_msg *msg, struct cube_err *err);
/* The link is gone: all streams end (HUP, and KILL 5 s later); ids begin anew. */
void streams_on_link_end(struct streams *s);

/* Writes control frames that are due. False when `out` takes no more. `frames` is empty before and
 * after. */
bool streams_pump_control(struct streams *s, struct cube_bufio *out, struct cube_buf *frames);
/* Reads and sends one piece of output of the stream whose turn it is. Its size, 0 when there is
 * nothing to send. */
size_t streams_pump_data(struct streams *s, struct cube_bufio *out);

#endif
