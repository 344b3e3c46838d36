/* Decoder of application/vnd.cube.frames (the manager's API.md, "Logs"): bytes in, frames out. */
#ifndef CUBE_CLI_FRAMES_H
#define CUBE_CLI_FRAMES_H

#include <jansson.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/msg.h"

#define CUBE_FRAME_HEAD_MAX (256u << 10)
#define CUBE_FRAME_LEN_MAX  (1ull << 40) /* of one frame's bytes, which are never collected */

struct cube_frame {
	uint64_t task;
	const char *node;
	/* bytes of output; a frame's payload may come in several pieces, offset moves along */
	enum cube_stream_id stream; /* CUBE_STDIN: this is a state frame */
	uint64_t offset;
	const char *time;
	const uint8_t *bytes;
	size_t n;
	/* or a change of state */
	const char *state;
	const json_t *task_row; /* may be NULL */
};

/* All of frame is borrowed until fn returns. Not 0 stops. */
typedef int cube_frames_fn(void *arg, const struct cube_frame *frame);

struct cube_frames { /* cube_frames_init, cube_frames_done */
	struct cube_buf head;
	json_t *json; /* of the frame whose payload is coming */
	struct cube_frame frame;
	uint64_t left;
};

void cube_frames_init(struct cube_frames *f);
void cube_frames_done(struct cube_frames *f);
/* 0, fn's first non-zero result, or CUBE_EPROTO / CUBE_ETOOBIG: the stream cannot be used further.
 */
int cube_frames_feed(struct cube_frames *f, const void *bytes, size_t n, cube_frames_fn *fn,
		     void *arg, struct cube_err *err);
/* At the stream's end: 0, or CUBE_EPROTO when it ended inside a frame. */
int cube_frames_end(const struct cube_frames *f, struct cube_err *err);

#endif
