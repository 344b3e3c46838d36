/* Reading: a cursor for each stream, with the chunk rows ahead of it; both streams together go by
 * the place of their bytes in the segments, which is the order of arrival. */
#include <stdlib.h>
#include <string.h>

#include "cube/assert.h"
#include "cube/mem.h"
#include "cube/msg.h"
#include "logs_impl.h"

#define ROWS     8
#define TAIL_MIN (64u << 10)
#define TAIL_MAX (64u << 20) /* of a stream: tail looks no further back */
#define BLOCK    (64u << 10)

struct row { /* of struct cube_chunk_row, what reading needs */
	uint64_t offset, len, pos;
	uint32_t segment;
	int64_t wall;
};

struct cursor {
	uint8_t stream; /* 0: not used */
	uint64_t offset;
	struct row rows[ROWS];
	size_t nrows;
	uint64_t version; /* of the logs when there was nothing more; 0 never looked */
};

struct cube_log_reader {
	struct cube_logs *logs;
	uint64_t task;
	uint32_t attempt;
	struct cursor cursors[2];
};

struct cube_log_reader *cube_log_reader_new(struct cube_logs *logs, uint64_t task, uint32_t attempt,
					    uint8_t stream, uint64_t offset) {
	struct cube_log_reader *r = cube_alloc(sizeof *r);
	r->logs = logs;
	r->task = task;
	r->attempt = attempt;
	r->cursors[0] = (struct cursor){.stream = stream ? stream : CUBE_STDOUT, .offset = offset};
	if (!stream) r->cursors[1] = (struct cursor){.stream = CUBE_STDERR};
	return r;
}

void cube_log_reader_free(struct cube_log_reader *r) {
	free(r);
}

/* --- the rows ahead of a cursor --- */

static struct cube_store *committed(const struct cube_log_reader *r) {
	cube_assert(!cube_turn_open(r->logs->turn));
	return r->logs->turn->store;
}

static int add_row(void *arg, const struct cube_chunk_row *row) {
	struct cursor *c = arg;
	c->rows[c->nrows++] =
		(struct row){row->offset, row->len, row->pos, row->segment, row->wall};
	return c->nrows == ROWS;
}

static int look_ahead(struct cube_log_reader *r, struct cursor *c, struct cube_err *err) {
	struct cube_store *s = committed(r);
	/* version + 1, so that 0 means never */
	if (c->version == r->logs->version + 1) return 0;
	c->nrows = 0;
	int rc = s->ops->chunk_list(s, r->task, r->attempt, c->stream, c->offset, add_row, c, err);
	if (rc < 0) return rc;
	while (c->nrows && c->rows[0].offset + c->rows[0].len <= c->offset) {
		memmove(c->rows, c->rows + 1, --c->nrows * sizeof c->rows[0]);
	}
	c->version = c->nrows ? 0 : r->logs->version + 1;
	return 0;
}

/* The row that holds the cursor's next byte, or NULL: no more for now. */
static int present(struct cube_log_reader *r, struct cursor *c, const struct row **ret,
		   struct cube_err *err) {
	*ret = NULL;
	if (!c->stream) return 0;
	if (c->nrows && c->offset >= c->rows[0].offset + c->rows[0].len)
		memmove(c->rows, c->rows + 1, --c->nrows * sizeof c->rows[0]);
	if (!c->nrows) {
		int rc = look_ahead(r, c, err);
		if (rc) return rc;
	}
	if (!c->nrows) return 0;
	if (c->offset < c->rows[0].offset)
		c->offset = c->rows[0].offset; /* a hole: nothing is there */
	*ret = &c->rows[0];
	return 0;
}

static bool earlier(const struct cursor *a, const struct row *ra, const struct cursor *b,
		    const struct row *rb) {
	if (ra->segment != rb->segment) return ra->segment < rb->segment;
	return ra->pos + (a->offset - ra->offset) < rb->pos + (b->offset - rb->offset);
}

int cube_log_reader_next(struct cube_log_reader *r, uint8_t *space, size_t n,
			 struct cube_log_piece *ret, struct cube_err *err) {
	const struct row *row, *other;
	struct cursor *c = &r->cursors[0], *d = &r->cursors[1];
	int rc = present(r, c, &row, err);
	if (!rc) rc = present(r, d, &other, err);
	if (rc) return rc;
	if (other && (!row || earlier(d, other, c, row))) c = d, row = other;
	ret->n = 0;
	if (!row) return 0;
	uint64_t skip = c->offset - row->offset, left = row->len - skip;
	if (n > left) n = (size_t)left;
	rc = cube_logs_pread(r->logs, row->segment, row->pos + skip, space, n, err);
	if (rc) return rc;
	*ret = (struct cube_log_piece){c->stream, c->offset, row->wall, n};
	c->offset += n;
	return 0;
}

/* --- the last lines --- */

/* One stream's rows behind its tail's window, walked backwards. */
struct back {
	struct cube_log_reader *r;
	struct cursor *c;
	struct row *rows;
	size_t nrows, cap;
	uint64_t end, from; /* the stream's end, and where the window begins */
	uint64_t at;        /* all from here on has been looked at */
	bool done;
	uint8_t *block;
};

static int back_row(void *arg, const struct cube_chunk_row *row) {
	struct back *b = arg;
	if (row->offset >= b->end) return 1;
	if (b->nrows == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 64;
		b->rows = cube_realloc_array(b->rows, b->cap, sizeof *b->rows);
	}
	uint64_t skip = row->offset < b->from ? b->from - row->offset : 0, len = row->len;
	if (len > b->end - row->offset) len = b->end - row->offset;
	b->rows[b->nrows++] = (struct row){row->offset + skip, len - skip, row->pos + skip,
					   row->segment, row->wall};
	return 0;
}

static int any_row(void *arg, const struct cube_chunk_row *row) {
	uint64_t *beyond = arg;
	*beyond = row->offset;
	return 1;
}

/* Whether there is a byte at or behind an offset is all the store can tell; halving finds the end.
 */
static int find_end(struct cube_log_reader *r, struct cursor *c, uint64_t *ret,
		    struct cube_err *err) {
	struct cube_store *s = committed(r);
	uint64_t low = 0, high = INT64_MAX, row;
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		int rc = s->ops->chunk_list(s, r->task, r->attempt, c->stream, mid, any_row, &row,
					    err);
		if (rc < 0) return rc;
		if (rc) low = mid + 1;
		else high = mid;
	}
	*ret = low;
	return 0;
}

static int open_window(struct back *b, uint64_t size, struct cube_err *err) {
	struct cube_store *s = b->r->logs->turn->store;
	b->nrows = 0;
	b->at = b->end;
	b->from = b->end > size ? b->end - size : 0;
	b->done = b->end == 0;
	b->c->offset = b->end;
	if (b->done) return 0;
	int rc = s->ops->chunk_list(s, b->r->task, b->r->attempt, b->c->stream, b->from, back_row,
				    b, err);
	return rc < 0 ? rc : 0;
}

/* Looks at the last block of the newest row not yet looked at. A line is counted where it ends. */
static int step_back(struct back *b, uint64_t *lines, struct cube_err *err) {
	struct row *row = &b->rows[b->nrows - 1];
	size_t n = row->len < BLOCK ? (size_t)row->len : BLOCK;
	uint64_t begin = row->offset + row->len - n;
	int rc = cube_logs_pread(b->r->logs, row->segment, row->pos + row->len - n, b->block, n,
				 err);
	if (rc) return rc;
	for (size_t i = n; i--;) {
		if (b->block[i] != '\n' && begin + i + 1 != b->end) continue;
		if (*lines == 0) {
			b->c->offset = begin + i + 1;
			b->done = true;
			return 0;
		}
		--*lines;
	}
	b->at = begin;
	b->c->offset = begin;
	row->len -= n;
	if (!row->len) b->nrows--;
	return 0;
}

static bool later(const struct back *a, const struct back *b) {
	const struct row *ra = &a->rows[a->nrows - 1], *rb = &b->rows[b->nrows - 1];
	if (ra->segment != rb->segment) return ra->segment > rb->segment;
	return ra->pos > rb->pos;
}

/* Walks both windows back. *ret_short: a window was too small. */
static int walk(struct back b[2], uint64_t lines, bool *ret_short, struct cube_err *err) {
	*ret_short = false;
	for (;;) {
		struct back *next = NULL;
		for (int i = 0; i < 2; i++) {
			if (b[i].done || !b[i].c->stream) continue;
			if (!b[i].nrows) {
				if (b[i].at > 0 && b[i].from > 0) *ret_short = true;
				b[i].done = true;
				continue;
			}
			if (!next || later(&b[i], next)) next = &b[i];
		}
		if (!next || *ret_short) return 0;
		int rc = step_back(next, &lines, err);
		if (rc) return rc;
	}
}

int cube_log_reader_tail(struct cube_log_reader *r, uint64_t lines, struct cube_err *err) {
	struct back b[2] = {{.r = r, .c = &r->cursors[0]}, {.r = r, .c = &r->cursors[1]}};
	uint8_t *block = cube_alloc(BLOCK);
	bool too_short = true;
	int rc = 0;
	for (int i = 0; i < 2 && !rc; i++) {
		b[i].block = block;
		b[i].c->nrows = 0;
		b[i].c->version = 0;
		if (b[i].c->stream) rc = find_end(r, b[i].c, &b[i].end, err);
	}
	for (uint64_t size = TAIL_MIN; !rc && too_short && size <= TAIL_MAX; size *= 4) {
		for (int i = 0; i < 2 && !rc; i++)
			if (b[i].c->stream) rc = open_window(&b[i], size, err);
		if (!rc) rc = walk(b, lines, &too_short, err);
	}
	free(b[0].rows);
	free(b[1].rows);
	free(block);
	return rc;
}
