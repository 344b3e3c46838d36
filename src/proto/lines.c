#include "cube/assert.h"
#include "cube/lines.h"

#include <string.h>

void cube_lines_init(struct cube_lines *l, size_t limit) {
	cube_assert(limit > 0);
	cube_buf_init(&l->partial, limit);
	l->limit = limit;
	l->open = false;
}

void cube_lines_done(struct cube_lines *l) {
	cube_buf_done(&l->partial);
	l->open = false;
}

/* Hands out what is kept and these n bytes as one piece; no copy where nothing is kept. */
static int piece(struct cube_lines *l, const uint8_t *p, size_t n, bool whole, cube_lines_fn *fn,
		 void *arg) {
	bool kept = cube_buf_len(&l->partial) > 0, first = !l->open;
	if (kept) {
		int rc = n ? cube_buf_add(&l->partial, p, n) : 0;
		if (rc) return rc;
		p = cube_buf_data(&l->partial);
		n = cube_buf_len(&l->partial);
	}
	l->open = !whole;
	int rc = fn(arg, p, n, first, whole);
	if (kept) cube_buf_clear(&l->partial);
	return rc;
}

/* n bytes of one line; ended: a newline follows them. A piece of limit bytes goes out only when
 * the line is known to go on, so the pieces do not depend on how the input was chunked. */
static int feed_line(struct cube_lines *l, const uint8_t *p, size_t n, bool ended,
		     cube_lines_fn *fn, void *arg) {
	while (n > l->limit - cube_buf_len(&l->partial)) {
		size_t fit = l->limit - cube_buf_len(&l->partial);
		int rc = piece(l, p, fit, false, fn, arg);
		if (rc) return rc;
		p += fit;
		n -= fit;
	}
	if (ended) return piece(l, p, n, true, fn, arg);
	return n ? cube_buf_add(&l->partial, p, n) : 0;
}

int cube_lines_feed(struct cube_lines *l, const void *bytes, size_t n, cube_lines_fn *fn,
		    void *arg) {
	const uint8_t *p = bytes;
	while (n > 0) {
		const uint8_t *newline = memchr(p, '\n', n);
		size_t len = newline ? (size_t)(newline - p) : n;
		int rc = feed_line(l, p, len, newline != NULL, fn, arg);
		if (rc) return rc;
		len += newline != NULL;
		p += len;
		n -= len;
	}
	return 0;
}

int cube_lines_flush(struct cube_lines *l, cube_lines_fn *fn, void *arg) {
	if (cube_buf_len(&l->partial) == 0 && !l->open) return 0;
	return piece(l, (const uint8_t *)"", 0, true, fn, arg);
}
