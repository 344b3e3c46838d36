/* The tasks' output: bytes in append-only segment files under <state>/logs, index in the store.
 *
 * A segment (00000001.seg ...) is closed at 1 GiB and never written again. Bytes of all tasks lie
 * in it in the order of arrival, so (segment, pos) orders chunks across streams. After a kill a
 * segment may end with bytes that no committed chunk names; they are never read, and the worker
 * sends them again. Writes are not fsynced: killing the manager loses nothing, a power cut may lose
 * the newest seconds of acknowledged bytes.
 */
#ifndef CUBE_LOGS_H
#define CUBE_LOGS_H

#include <stdint.h>
#include <sys/types.h>

#include "cube/turn.h"
#include "cube/subscribers.h"

struct cube_logs;

/* state: the state folder. */
int cube_logs_new(struct cube_turn *turn, const char *state, struct cube_logs **ret,
		  struct cube_err *err);
void cube_logs_free(struct cube_logs *logs);

/* Appends within the turn's transaction. offset is the stream's end so far (the caller checks
 * gaps and cuts overlaps). CUBE_ESYS when the disk refuses. */
int cube_logs_append(struct cube_logs *logs, uint64_t task, uint32_t attempt, uint8_t stream,
		     uint64_t offset, const void *bytes, size_t n, struct cube_err *err);

/* A position in a task's output. Only what is committed is ever shown: read while the turn has
 * nothing open (cube_turn_open), as whoever answers a request does. */
struct cube_log_reader;
struct cube_log_piece {
	uint8_t stream;
	uint64_t offset;
	int64_t wall; /* arrival of the chunk it lies in */
	size_t n;
};
/* stream: CUBE_STDOUT or CUBE_STDERR from offset on, or 0 for both in order of arrival (offset
 * must be 0). */
struct cube_log_reader *cube_log_reader_new(struct cube_logs *logs, uint64_t task, uint32_t attempt,
					    uint8_t stream, uint64_t offset);
void cube_log_reader_free(struct cube_log_reader *r);
/* Moves to the beginning of the last `lines` lines (both streams counted together). */
int cube_log_reader_tail(struct cube_log_reader *r, uint64_t lines, struct cube_err *err);
/* Fills at most n bytes of one piece: 0 and *ret (ret->n 0: no more for now), or CUBE_ESYS. */
int cube_log_reader_next(struct cube_log_reader *r, uint8_t *space, size_t n,
			 struct cube_log_piece *ret, struct cube_err *err);

/* The subscriber is called from flush, after the commit, once for each of its tasks that got bytes
 * in this turn. cube_subscriber_remove ends it. */
void cube_logs_subscribe(struct cube_logs *logs, struct cube_subscriber *s);
void cube_logs_flush(struct cube_logs *logs);

#endif
