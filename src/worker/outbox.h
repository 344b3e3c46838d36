/* What goes to the manager: control frames first, then logs, fair between streams. */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include "cube/bufio.h"
#include "runner.h"
#include "stream.h"

/* Queued bytes up to which control frames and LOG frames are made. */
#define OUTBOX_CONTROL_HIGH (256u << 10)
#define OUTBOX_LOG_HIGH     (64u << 10)

/* Writes what attempts and streams have due into s. True: there is more to write now than one
 * call may do; call again in the next turn. False: all is written or s is full enough. `frames`
 * is a buffer to work in, empty before and after. */
bool outbox_pump(struct runner *r, struct streams *streams, struct cube_bufio *s,
		 struct cube_buf *frames);

#endif
