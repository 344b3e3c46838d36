/* Numbers and byte strings of the protocol, little-endian (src/proto/PROTOCOL.md section 1).
 *
 * The reader borrows its bytes and never reads past them: a field beyond the end sets `bad`,
 * gives zero or an empty slice, and all further reads do the same, so callers check once.
 */
#ifndef CUBE_WIRE_H
#define CUBE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"

struct cube_slice {
	const uint8_t *p;
	size_t n;
};

struct cube_reader {
	const uint8_t *p, *end;
	bool bad;
};

static inline void cube_reader_init(struct cube_reader *r, const void *bytes, size_t n) {
	r->p = bytes;
	r->end = r->p + n;
	r->bad = false;
}
uint8_t cube_get_u8(struct cube_reader *r);
uint16_t cube_get_u16(struct cube_reader *r);
uint32_t cube_get_u32(struct cube_reader *r);
uint64_t cube_get_u64(struct cube_reader *r);
struct cube_slice cube_get_bytes(struct cube_reader *r, size_t max); /* longer than max is bad */
struct cube_slice cube_get_raw(struct cube_reader *r, size_t n);     /* exactly n */
/* A str into dst as a C string: bad when it does not fit or holds a NUL. */
void cube_get_str(struct cube_reader *r, char *dst, size_t size);

/* Each returns as cube_buf_add. */
int cube_put_u8(struct cube_buf *b, uint8_t v);
int cube_put_u16(struct cube_buf *b, uint16_t v);
int cube_put_u32(struct cube_buf *b, uint32_t v);
int cube_put_u64(struct cube_buf *b, uint64_t v);
int cube_put_bytes(struct cube_buf *b, const void *bytes, size_t n);
int cube_put_raw(struct cube_buf *b, const void *bytes, size_t n);
int cube_put_str(struct cube_buf *b, const char *s);

/* Sum of room needed by string lists etc. is the caller's; stores at fixed places: */
static inline void cube_poke_u32(uint8_t *p, uint32_t v) {
	for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint32_t cube_peek_u32(const uint8_t *p) {
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
