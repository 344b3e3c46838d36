/* Shared by logs.c (writing, telling) and logs_reader.c. */
#ifndef CUBE_LOGS_IMPL_H
#define CUBE_LOGS_IMPL_H

#include "cube/logs.h"

#define CUBE_LOGS_FDS 16

struct cube_logs {
	struct cube_turn *turn;
	int dir, fd; /* fd: the segment that is written; -1 until needed */
	uint32_t segment;
	uint64_t pos, segment_max;
	struct {
		uint32_t segment; /* 0: free */
		int fd;
		uint64_t used;
	} open[CUBE_LOGS_FDS]; /* for reading */
	uint64_t clock;

	uint64_t *dirty; /* tasks that got bytes in this turn; some more than once */
	size_t ndirty, dirty_cap;
	uint64_t version; /* counts appends */
	struct cube_subscribers subscribers;
};

/* Reads n bytes, all of them, from a segment. */
int cube_logs_pread(struct cube_logs *logs, uint32_t segment, uint64_t pos, void *bytes, size_t n,
		    struct cube_err *err);
/* For tests: closes segments at another size. */
void cube_logs_set_segment_max(struct cube_logs *logs, uint64_t bytes);

#endif
