/* The records of FORMAT.md: bytes to struct and back. */
#ifndef COPY_RECORD_H
#define COPY_RECORD_H

#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/sha256.h"
#include "cube/wire.h"

enum record_type {
	REC_BEGIN = 1,
	REC_DIR,
	REC_UP,
	REC_FILE,
	REC_FROM,
	REC_DATA,
	REC_HOLE,
	REC_END,
	REC_LINK,
	REC_PROBLEM,
	REC_DONE,
	REC_HAVE = 65, /* of the receiver */
	REC_HASH,
	REC_REPLY_PROBLEM,
	REC_REPLY_DONE,
};
#define RECORD_HEAD  3
#define RECORD_MAX   4600              /* fields of a record */
#define RECORD_DATA  (256u << 10)      /* raw bytes behind a DATA */
#define RECORD_NONE  UINT64_MAX        /* HAVE: do not send it */
#define DATA_HEAD    (RECORD_HEAD + 4) /* of a whole DATA record */
#define PREAMBLE     "cubecp1\n"
#define PREAMBLE_LEN 8

struct record {
	uint8_t type, flag; /* BEGIN, END, PROBLEM: fatal */
	uint32_t mode, length;
	int64_t mtime;
	uint64_t number, more; /* FILE: size and id; BEGIN: bytes and files; else the u64 it has */
	uint64_t entry;
	uint8_t hash[CUBE_SHA256_LEN];
	char name[256];  /* PROBLEM: the message */
	char text[4096]; /* a link's target; PROBLEM: the path */
};

/* Returns as cube_buf_add. */
int record_put(struct cube_buf *out, const struct record *r);
/* The record at the front. 0, CUBE_AGAIN (not whole yet) or CUBE_EPROTO. */
int record_get(const uint8_t *bytes, size_t n, struct record *ret, size_t *ret_used,
	       struct cube_err *err);
/* The head of a DATA record. */
void record_data_head(uint8_t head[DATA_HEAD], uint32_t n);

/* A stream of records that comes in pieces of any size. Zero-initialise. */
struct record_reader {
	uint8_t held[RECORD_HEAD + RECORD_MAX];
	size_t nheld, preamble;
};
/* Takes the next record out of bytes; *ret_used says how many of them were used, also with
 * CUBE_AGAIN: then all. */
int record_read(struct record_reader *r, const uint8_t *bytes, size_t n, struct record *ret,
		size_t *ret_used, struct cube_err *err);

#endif
