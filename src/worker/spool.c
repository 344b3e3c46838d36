#include <inttypes.h>
#include <stdlib.h>

#include "cube/assert.h"
#include "spool.h"

/* A segment's whole allocation stays a bit below a power of two, which suits allocators. */
enum { SEG_SMALL = 4096 - 64, SEG_MIDDLE = 16384 - 64, SEG_LARGE = 65536 + 4096 - 64 };

/* Large segments go back to the system page by page, and come again as page faults: that was a
 * third of the worker's time for a fast stream. */
enum { SPARES_MAX = 15 };

struct spool_seg {
	struct spool_seg *next;
	uint64_t start; /* offset of bytes[0] in the stream */
	uint32_t used, cap;
	uint8_t bytes[];
};

void spool_init(struct spool *s, size_t limit) {
	*s = (struct spool){.limit = limit};
}

static void free_all(struct spool_seg *seg) {
	while (seg) {
		struct spool_seg *next = seg->next;

		free(seg);
		seg = next;
	}
}

void spool_done(struct spool *s) {
	free_all(s->head);
	free_all(s->spare);
	s->head = s->tail = s->cursor = s->spare = NULL;
	s->spares = 0;
	s->begin = s->end;
}

static void retire(struct spool *s, struct spool_seg *seg) {
	if (seg->cap != SEG_LARGE || s->spares == SPARES_MAX) {
		free(seg);
		return;
	}
	seg->next = s->spare;
	s->spare = seg;
	s->spares++;
}

static struct spool_seg *new_segment(struct spool *s, size_t cap) {
	struct spool_seg *seg = s->spare;

	if (cap != SEG_LARGE || !seg) return malloc(sizeof *seg + cap);
	s->spare = seg->next;
	s->spares--;
	return seg;
}

static int add_segment(struct spool *s, size_t want) {
	size_t held = (size_t)(s->end - s->begin);
	size_t cap = want > SEG_MIDDLE || held > 4 * SEG_MIDDLE ? SEG_LARGE
		     : want > SEG_SMALL || held > SEG_SMALL     ? SEG_MIDDLE
								: SEG_SMALL;
	struct spool_seg *seg = new_segment(s, cap);

	if (!seg) return CUBE_ESYS;
	*seg = (struct spool_seg){.start = s->end, .cap = (uint32_t)cap};
	if (s->tail) s->tail->next = seg;
	else s->head = s->cursor = seg;
	s->tail = seg;
	return 0;
}

int spool_reserve(struct spool *s, size_t want, uint8_t **ret_space, size_t *ret_n) {
	size_t room = spool_room(s), n;

	if (!room) return CUBE_AGAIN;
	if ((!s->tail || s->tail->used == s->tail->cap) && add_segment(s, want) < 0)
		return CUBE_ESYS;
	n = s->tail->cap - s->tail->used;
	*ret_space = s->tail->bytes + s->tail->used;
	*ret_n = n < room ? n : room;
	return 0;
}

void spool_commit(struct spool *s, size_t n) {
	cube_assert(n == 0 || (s->tail && n <= s->tail->cap - s->tail->used && n <= spool_room(s)));
	if (n) s->tail->used += (uint32_t)n;
	s->end += n;
	if (s->begin == s->end) spool_done(s); /* reserved, but nothing came */
}

/* The segment that holds the byte at offset. Sending goes forward, so the last place is near. */
static struct spool_seg *seek(struct spool *s, uint64_t offset) {
	struct spool_seg *seg = s->cursor && s->cursor->start <= offset ? s->cursor : s->head;

	while (seg && offset >= seg->start + seg->used) seg = seg->next;
	if (seg) s->cursor = seg;
	return seg;
}

int spool_peek(struct spool *s, uint64_t offset, size_t max, struct iovec *iov, int pieces,
	       size_t *ret_n) {
	struct spool_seg *seg;
	size_t total = 0;
	int used = 0;

	cube_assert(offset >= s->begin && offset <= s->end);
	for (seg = seek(s, offset); seg && used < pieces && total < max; seg = seg->next) {
		size_t skip = (size_t)(offset + total - seg->start), n = seg->used - skip;

		if (n > max - total) n = max - total;
		if (!n) break; /* an empty tail */
		iov[used++] = (struct iovec){.iov_base = seg->bytes + skip, .iov_len = n};
		total += n;
	}
	*ret_n = total;
	return used;
}

int spool_ack(struct spool *s, uint64_t offset, struct cube_err *err) {
	if (offset > s->end)
		return cube_fail(err, CUBE_EPROTO,
				 "ACK of byte %" PRIu64 " of a stream of %" PRIu64, offset, s->end);
	if (offset <= s->begin) return 0;
	s->begin = offset;
	if (s->begin == s->end) {
		spool_done(s);
		return 0;
	}
	while (s->head->start + s->head->used <= offset) {
		struct spool_seg *seg = s->head;

		s->head = seg->next;
		if (s->cursor == seg) s->cursor = s->head;
		retire(s, seg);
	}
	return 0;
}
