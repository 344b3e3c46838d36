/* Server-sent events (text/event-stream), bytes in, events out. */
#ifndef CUBE_CLI_SSE_H
#define CUBE_CLI_SSE_H

#include <jansson.h>

#include "cube/lines.h"

struct cube_sse {
	struct cube_lines lines;
	char event[32];
	struct cube_buf data;
};

/* data: the event's data as JSON object, borrowed. Not 0 stops. */
typedef int cube_sse_fn(void *arg, const char *event, const json_t *data);

void cube_sse_init(struct cube_sse *s);
void cube_sse_done(struct cube_sse *s);
/* 0 or fn's first non-zero result. Events that are no JSON objects or over 1 MiB are skipped. */
int cube_sse_feed(struct cube_sse *s, const void *bytes, size_t n, cube_sse_fn *fn, void *arg);

#endif
