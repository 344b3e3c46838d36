#include "cube/wire.h"

#include <string.h>

/* The next n bytes, or NULL (and bad for good) when there are not that many. */
static const uint8_t *take(struct cube_reader *r, size_t n) {
	if (r->bad || n > (size_t)(r->end - r->p)) {
		r->bad = true;
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	return p;
}

static uint64_t get_number(struct cube_reader *r, size_t size) {
	const uint8_t *p = take(r, size);
	uint64_t v = 0;
	for (size_t i = 0; p && i < size; i++) v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t cube_get_u8(struct cube_reader *r) {
	return (uint8_t)get_number(r, 1);
}
uint16_t cube_get_u16(struct cube_reader *r) {
	return (uint16_t)get_number(r, 2);
}
uint32_t cube_get_u32(struct cube_reader *r) {
	return (uint32_t)get_number(r, 4);
}
uint64_t cube_get_u64(struct cube_reader *r) {
	return get_number(r, 8);
}

struct cube_slice cube_get_raw(struct cube_reader *r, size_t n) {
	const uint8_t *p = take(r, n);
	return p ? (struct cube_slice){p, n} : (struct cube_slice){r->p, 0};
}

struct cube_slice cube_get_bytes(struct cube_reader *r, size_t max) {
	size_t n = cube_get_u32(r);
	if (n > max) r->bad = true;
	return cube_get_raw(r, n);
}

void cube_get_str(struct cube_reader *r, char *dst, size_t size) {
	if (size == 0) {
		r->bad = true;
		return;
	}
	struct cube_slice s = cube_get_bytes(r, size - 1);
	if (s.n && memchr(s.p, 0, s.n)) {
		r->bad = true;
		s.n = 0;
	}
	if (s.n) memcpy(dst, s.p, s.n);
	dst[s.n] = 0;
}

static int put_number(struct cube_buf *b, uint64_t v, size_t size) {
	uint8_t bytes[8];
	for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(v >> (8 * i));
	return cube_buf_add(b, bytes, size);
}

int cube_put_u8(struct cube_buf *b, uint8_t v) {
	return put_number(b, v, 1);
}
int cube_put_u16(struct cube_buf *b, uint16_t v) {
	return put_number(b, v, 2);
}
int cube_put_u32(struct cube_buf *b, uint32_t v) {
	return put_number(b, v, 4);
}
int cube_put_u64(struct cube_buf *b, uint64_t v) {
	return put_number(b, v, 8);
}

int cube_put_bytes(struct cube_buf *b, const void *bytes, size_t n) {
	uint8_t *p;
	if (n > UINT32_MAX - 4) return CUBE_ETOOBIG;
	/* Reserved in one go, so that a length never stands without its bytes. */
	int rc = cube_buf_reserve(b, n + 4, &p);
	if (rc) return rc;
	cube_poke_u32(p, (uint32_t)n);
	if (n) memcpy(p + 4, bytes, n);
	cube_buf_commit(b, n + 4);
	return 0;
}

int cube_put_raw(struct cube_buf *b, const void *bytes, size_t n) {
	return n ? cube_buf_add(b, bytes, n) : 0;
}

int cube_put_str(struct cube_buf *b, const char *s) {
	return cube_put_bytes(b, s, strlen(s));
}
