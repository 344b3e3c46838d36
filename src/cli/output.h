/* Printing the output of tasks.
 *
 * One task without prefix: its bytes exactly, stdout and stderr apart. Several: whole lines, each
 * with its host's name in front unless that is turned off. A line longer than
 * CUBE_OUTPUT_PIECE goes out in pieces; until it ends the others are held back, up to
 * CUBE_OUTPUT_HELD bytes, after which it is broken with a newline and its rest gets a prefix of its
 * own. Fold: stdout is gathered and printed at the end, equal outputs once, as clush does.
 */
#ifndef CUBE_CLI_OUTPUT_H
#define CUBE_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/lines.h"
#include "cube/msg.h"

#define CUBE_OUTPUT_PIECE      (64u << 10)
#define CUBE_OUTPUT_HELD       (16u << 20)
#define CUBE_OUTPUT_GATHER     (64u << 20)  /* of one task; a longer one is printed as it comes */
#define CUBE_OUTPUT_GATHER_ALL (512u << 20) /* of all tasks: the same */

struct cube_output_config {
	bool raw;    /* exact bytes; nothing else counts then but `times` */
	bool prefix; /* "host: " */
	bool fold;
	bool times;     /* "2026-11-22T07:54:39.123Z " before each line; makes lines also of raw */
	uint64_t first; /* the tasks are first .. first + count - 1; others are ignored */
	uint64_t count;
};

/* Writes to stdout (1) or stderr (2). Not 0 stops everything and comes back from the call. */
typedef int cube_output_fn(void *arg, int fd, const void *bytes, size_t n);

struct cube_output_source;
struct cube_output {
	struct cube_output_config config;
	cube_output_fn *fn;
	void *arg;
	struct cube_output_source *
		*sources;                 /* [2 * (task - first) + (stream - 1)], made when used */
	struct cube_output_source *owner; /* has an unfinished line on the terminal */
	struct cube_output_source *held, **held_end; /* have bytes that wait for the owner */
	size_t held_bytes, gathered_bytes;
	struct cube_buf out; /* what is to be written, to out_fd */
	int out_fd;
};

void cube_output_init(struct cube_output *o, const struct cube_output_config *config,
		      cube_output_fn *fn, void *arg);
void cube_output_done(struct cube_output *o);

/* All: 0, fn's result, or CUBE_ESYS (no memory). node, time: borrowed; time may be NULL. */
int cube_output_bytes(struct cube_output *o, uint64_t task, const char *node,
		      enum cube_stream_id stream, const char *time, const void *bytes, size_t n);
int cube_output_end(struct cube_output *o,
		    uint64_t task);            /* a last line without newline gets one */
int cube_output_finish(struct cube_output *o); /* ends all tasks; prints what was gathered */

#endif
