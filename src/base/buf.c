#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cube/assert.h"
#include "cube/buf.h"
#include "cube/format.h"
#include "cube/mem.h"

enum { BUF_FIRST = 128, BUF_KEEP = 64 * 1024 };

/* An allocated block always has a byte to spare behind the content: cube_buf_str cannot fail. */

void cube_buf_init(struct cube_buf *b, size_t max) {
	/* Past a quarter of the address space there is no memory anyway, and sums stay exact. */
	*b = (struct cube_buf){.max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4};
}

/* Wipes n bytes of the block that hold nothing any more. */
static void forget(struct cube_buf *b, size_t at, size_t n) {
	if (b->secret && b->data) explicit_bzero(b->data + at, n);
}

static void give_back(const struct cube_buf *b, void *block) {
	if (b->secret && block) explicit_bzero(block, b->cap);
	free(block);
}

void cube_buf_done(struct cube_buf *b) {
	if (!b) return;
	give_back(b, b->data);
	b->data = NULL;
	b->off = b->len = b->cap = 0;
}

/* The block may be a quarter larger than the content may get, so that also a full queue moves
 * its bytes only after a fair share of them has been consumed. */
static size_t block_limit(const struct cube_buf *b) {
	return b->max + b->max / 4 + 64;
}

static int grow(struct cube_buf *b, size_t need) {
	size_t cap = b->cap ? b->cap * 2 : BUF_FIRST;
	uint8_t *data;

	if (cap > block_limit(b)) cap = block_limit(b);
	if (cap < need) cap = need;
	if (b->off == 0 && !b->secret) {
		data = realloc(b->data, cap);
		if (!data) return CUBE_ESYS;
	} else { /* not realloc: it would copy the consumed bytes too, and wipe nothing */
		data = malloc(cap);
		if (!data) return CUBE_ESYS;
		if (b->len) memcpy(data, b->data + b->off, b->len);
		give_back(b, b->data);
	}
	b->data = data;
	b->off = 0;
	b->cap = cap;
	return 0;
}

int cube_buf_reserve(struct cube_buf *b, size_t n, uint8_t **ret_space) {
	size_t need;

	if (n > b->max - b->len) return CUBE_ETOOBIG;
	need = b->len + n + 1;
	if (need > b->cap - b->off) {
		if (need <= b->cap && b->off >= b->cap / 8) {
			memmove(b->data, b->data + b->off, b->len);
			forget(b, b->len, b->off);
			b->off = 0;
		} else {
			int r = grow(b, need);
			if (r < 0) return r;
		}
	}
	*ret_space = b->data + b->off + b->len;
	return 0;
}

void cube_buf_commit(struct cube_buf *b, size_t n) {
	cube_assert(n == 0 || n < b->cap - b->off - b->len);
	cube_assert(n <= b->max - b->len);
	b->len += n;
}

int cube_buf_add(struct cube_buf *b, const void *bytes, size_t n) {
	uint8_t *space;
	int r;

	if (n == 0) return 0;
	r = cube_buf_reserve(b, n, &space);
	if (r < 0) return r;
	memcpy(space, bytes, n);
	b->len += n;
	return 0;
}

int cube_buf_addstr(struct cube_buf *b, const char *s) {
	return cube_buf_add(b, s, strlen(s));
}

int cube_buf_printf(struct cube_buf *b, const char *fmt, ...) {
	size_t spare = b->cap - b->off - b->len;
	va_list ap;
	uint8_t *space;
	int n, r;

	/* Most texts fit the space at hand: format there, and again only when they do not. */
	va_start(ap, fmt);
	n = cube_vformat(spare ? (char *)b->data + b->off + b->len : NULL, spare, fmt, ap);
	va_end(ap);
	if (n < 0) return CUBE_ETOOBIG;
	if ((size_t)n > b->max - b->len) return CUBE_ETOOBIG;
	if ((size_t)n >= spare) {
		r = cube_buf_reserve(b, (size_t)n, &space);
		if (r < 0) return r;
		va_start(ap, fmt);
		cube_vformat((char *)space, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
	return 0;
}

void cube_buf_consume(struct cube_buf *b, size_t n) {
	cube_assert(n <= b->len);
	forget(b, b->off, n);
	b->len -= n;
	b->off = b->len ? b->off + n : 0;
}

void cube_buf_truncate(struct cube_buf *b, size_t len) {
	cube_assert(len <= b->len);
	forget(b, b->off + len, b->len - len);
	b->len = len;
	if (len == 0) b->off = 0;
}

void cube_buf_clear(struct cube_buf *b) {
	forget(b, b->off, b->len);
	b->off = b->len = 0;
	if (b->cap > BUF_KEEP) cube_buf_done(b);
}

const char *cube_buf_str(struct cube_buf *b) {
	if (!b->data) return "";
	b->data[b->off + b->len] = '\0';
	return (const char *)b->data + b->off;
}

char *cube_buf_take(struct cube_buf *b, size_t *ret_len) {
	size_t len = b->len;
	char *out, *tight;

	if (!b->data) {
		out = cube_alloc(1);
	} else {
		out = (char *)b->data;
		if (b->off) memmove(out, out + b->off, len);
		out[len] = '\0';
		tight = realloc(out, len + 1);
		if (tight) out = tight;
	}
	b->data = NULL;
	b->off = b->len = b->cap = 0;
	if (ret_len) *ret_len = len;
	return out;
}
