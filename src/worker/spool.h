/* What is held of one output stream: the bytes between the last ACK and the end.
 *
 * A spool is a window over a byte stream that is numbered from 0: bytes are appended at `end`,
 * may be looked at as often as wanted by their offset, and leave at `begin` when they are
 * acknowledged. It lies in memory, in segments that are made as bytes come (small ones first) and
 * freed as they are acknowledged: an empty spool owns no memory. While a fast stream flows, up to
 * 1 MiB of acknowledged segments are kept for its next bytes. At most `limit` bytes are held; a
 * full spool is a fact to ask for (spool_room), not an error.
 */
#ifndef WORKER_SPOOL_H
#define WORKER_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cube/err.h"

#define SPOOL_LIMIT (8u << 20) /* PROTOCOL.md section 6 */

struct spool_seg;

struct spool { /* fields are private */
	struct spool_seg *head, *tail, *cursor;
	struct spool_seg *spare; /* acknowledged ones, to be filled again */
	unsigned spares;
	uint64_t begin, end;
	size_t limit;
};

void spool_init(struct spool *s, size_t limit);
void spool_done(struct spool *s); /* frees all bytes; begin and end stay as they are */

static inline uint64_t spool_begin(const struct spool *s) {
	return s->begin;
}
static inline uint64_t spool_end(const struct spool *s) {
	return s->end;
}
static inline size_t spool_room(const struct spool *s) {
	return s->limit - (size_t)(s->end - s->begin);
}

/* Space for the next bytes: *ret_n bytes at *ret_space, at least 1, about `want` where that many
 * are free. 0; CUBE_AGAIN when the spool is full; CUBE_ESYS without memory. */
int spool_reserve(struct spool *s, size_t want, uint8_t **ret_space, size_t *ret_n);
/* The first n bytes of the reserved space were filled. */
void spool_commit(struct spool *s, size_t n);

/* Up to max bytes from offset on (begin <= offset <= end) as pieces in iov, which holds `pieces`
 * of them. Returns how many are used and the bytes in *ret_n. They live until the next ack. */
int spool_peek(struct spool *s, uint64_t offset, size_t max, struct iovec *iov, int pieces,
	       size_t *ret_n);

/* Bytes before offset are not needed any more. An offset before begin changes nothing; one past
 * the end is CUBE_EPROTO. */
int spool_ack(struct spool *s, uint64_t offset, struct cube_err *err);

#endif
