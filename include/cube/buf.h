/* A growing byte queue with a stated maximum: append at the end, consume at the front.
 *
 * Every buffer names its maximum when it is initialised, so a peer can never make it grow
 * without bound; "too big" is an ordinary error. Consumed space is reused by moving the rest
 * down only when needed (amortised O(1)). A pointer into the buffer lives until the next
 * call that adds to it.
 */
#ifndef CUBE_BUF_H
#define CUBE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

struct cube_buf {
	uint8_t *data; /* use cube_buf_data/len; these fields are private */
	size_t off, len, cap, max;
	bool secret;
};

void cube_buf_init(struct cube_buf *b, size_t max); /* allocates nothing yet */
void cube_buf_done(struct cube_buf *b);             /* frees; may be inited again */

static inline const uint8_t *cube_buf_data(const struct cube_buf *b) {
	return b->data ? b->data + b->off : (const uint8_t *)"";
}
static inline size_t cube_buf_len(const struct cube_buf *b) {
	return b->len;
}
/* To be called right after init: what leaves the buffer is wiped from its memory, and what the
 * buffer gives back to the system too. */
static inline void cube_buf_set_secret(struct cube_buf *b) {
	b->secret = true;
}
/* How many bytes may still be added. */
static inline size_t cube_buf_room(const struct cube_buf *b) {
	return b->max - b->len;
}

/* All return 0, CUBE_ETOOBIG (over max; nothing was added) or CUBE_ESYS (no memory). */
int cube_buf_add(struct cube_buf *b, const void *bytes, size_t n);
int cube_buf_addstr(struct cube_buf *b, const char *s);
int cube_buf_printf(struct cube_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for n bytes and gives their address; cube_buf_commit says how many were filled. */
int cube_buf_reserve(struct cube_buf *b, size_t n, uint8_t **ret_space);
void cube_buf_commit(struct cube_buf *b, size_t n);

void cube_buf_consume(struct cube_buf *b, size_t n);    /* drops n <= len bytes at the front */
void cube_buf_truncate(struct cube_buf *b, size_t len); /* keeps the first len bytes */
void cube_buf_clear(struct cube_buf *b);                /* empties; gives memory over 64 KiB back */
/* NUL-terminates (not counted in len) and returns the content as a string; "" while empty. */
const char *cube_buf_str(struct cube_buf *b);
/* Moves the content out as a NUL-terminated malloc'd block; the buffer is then empty. */
char *cube_buf_take(struct cube_buf *b, size_t *ret_len);

#endif
