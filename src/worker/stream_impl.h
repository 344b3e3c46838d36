/* One stream; shared by stream.c (messages) and stream_process.c (its process and pipes). */
#ifndef WORKER_STREAM_IMPL_H
#define WORKER_STREAM_IMPL_H

#include "attempt.h"
#include "cube/clock.h"
#include "cube/id.h"
#include "stream.h"

#define STREAM_WINDOW       (4u << 20)   /* input granted to one stream .. */
#define STREAM_WINDOWS      (32u << 20)  /* .. while all together have less than this .. */
#define STREAM_WINDOW_SMALL (128u << 10) /* .. and else */
#define STREAM_FRAME        (128u << 10) /* output in one frame */
#define STREAM_SPACE        (CUBE_STREAM_HEAD + STREAM_FRAME)
#define STREAM_HUP_NS       (5 * CUBE_NS_PER_S)

struct flow { /* one output of a stream: read only while `ready` comes to its turn */
	struct stream *owner;
	struct cube_list ready; /* in streams.ready */
	struct cube_io *io;     /* while it waits for something to read */
	uint32_t window;        /* granted and not used */
	uint32_t left;          /* while cut: bytes that are still taken */
	int fd;                 /* -1: end of file was sent, or never open */
	uint8_t number;
	bool cut; /* the process is gone, and what it left behind does not close this */
	bool wide;
};

struct stream {
	struct streams *s;
	struct cube_list all, dirty;
	uint64_t id;
	struct {
		struct cube_buf buf;
		struct cube_io *io;
		uint32_t open;   /* granted and not come */
		uint32_t credit; /* taken by the process and not granted again */
		int fd;          /* -1: the process takes nothing any more */
		bool eof, wide;
	} in;
	struct flow out[2];
	struct start_spec *spec; /* until it begins */
	struct login_wait wait;
	struct cube_timer *timer; /* after the reap, for the pipes' end */
	struct sweep sweep;       /* after hang_up */
	pid_t pid;                /* 0: not begun */
	uint32_t window;
	uint16_t rows, cols;
	uint8_t flags;
	uint8_t early; /* the last signal that came before it began, or 0 */
	bool reaped;
	bool hung;   /* the manager does not know it any more */
	bool closed; /* STREAM_CLOSED is due, as .. */
	uint8_t how;
	int32_t value;
	char *message;
	char cookie[RUNNER_COOKIE_LEN];
};

/* stream.c */
void stream_need(struct stream *st); /* a control frame is due */
void stream_finish(struct stream *st, uint8_t how, int32_t value, const char *message);

/* stream_process.c */
void stream_begin(struct stream *st); /* starts the process, or finishes it as how 2 */
void stream_input(struct stream *st, struct cube_slice data);
void stream_resize(struct stream *st);
void stream_watch(struct flow *f); /* waits for output, where it may be sent */
/* Reads a piece and sends it: its size, 0 when nothing was sent (f is no longer ready then). */
size_t stream_send(struct flow *f, struct cube_bufio *out);
void stream_release(struct stream *st); /* closes its pipes or terminal */

#endif
