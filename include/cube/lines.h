/* Whole lines out of byte chunks, for output that several sources share.
 *
 * Each source has one cube_lines. Fed bytes come out as runs of complete lines, so a printer that
 * writes a run at a time never tears or mixes lines. A line longer than the limit comes out
 * in pieces of limit bytes, each marked as unfinished but the last; the printer must keep
 * others out until it is finished, or end it with a newline of its own: fn gets `whole`.
 */
#ifndef CUBE_LINES_H
#define CUBE_LINES_H

#include <stdbool.h>

#include "cube/buf.h"

struct cube_lines {
	struct cube_buf partial;
	size_t limit;
	bool open; /* pieces of the present line went out already */
};

/* One line without its newline. whole: a newline (or the stream's end) followed it. first: the
 * piece begins a line. */
typedef int cube_lines_fn(void *arg, const uint8_t *line, size_t n, bool first, bool whole);

void cube_lines_init(struct cube_lines *l, size_t limit); /* limit > 0 */
void cube_lines_done(struct cube_lines *l);
/* Stops at fn's first non-zero return and gives it back; what was left of bytes is lost then.
 * Fails else only as cube_buf_add does. The same bytes give the same pieces in any chunking. */
int cube_lines_feed(struct cube_lines *l, const void *bytes, size_t n, cube_lines_fn *fn,
		    void *arg);
int cube_lines_flush(struct cube_lines *l, cube_lines_fn *fn, void *arg); /* at end of file */

#endif
