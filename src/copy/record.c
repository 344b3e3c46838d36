#include "record.h"

#include <string.h>

/* The fields of each record, in order: a letter each (see field()). */
static const char *fields_of(uint8_t type) {
	static const char *const of_sender[] = {
		[REC_BEGIN] = "fim", [REC_DIR] = "otn",      [REC_UP] = "",    [REC_FILE] = "otmin",
		[REC_FROM] = "m",    [REC_DATA] = "l",       [REC_HOLE] = "m", [REC_END] = "f",
		[REC_LINK] = "tnx",  [REC_PROBLEM] = "efnx", [REC_DONE] = "",
	};
	static const char *const of_receiver[] = {"em", "eh", "efnx", ""};

	if (type >= REC_BEGIN && type <= REC_DONE) return of_sender[type];
	if (type >= REC_HAVE && type <= REC_REPLY_DONE) return of_receiver[type - REC_HAVE];
	return NULL;
}

static int put_field(struct cube_buf *out, char field, const struct record *r) {
	switch (field) {
	case 'f': return cube_put_u8(out, r->flag);
	case 'o': return cube_put_u32(out, r->mode);
	case 'l': return cube_put_u32(out, r->length);
	case 't': return cube_put_u64(out, (uint64_t)r->mtime);
	case 'm': return cube_put_u64(out, r->number);
	case 'i': return cube_put_u64(out, r->more);
	case 'e': return cube_put_u64(out, r->entry);
	case 'h': return cube_put_raw(out, r->hash, sizeof r->hash);
	case 'n': return cube_put_str(out, r->name);
	default: return cube_put_str(out, r->text);
	}
}

static void get_field(struct cube_reader *in, char field, struct record *r) {
	struct cube_slice raw;

	switch (field) {
	case 'f': r->flag = cube_get_u8(in); break;
	case 'o': r->mode = cube_get_u32(in); break;
	case 'l': r->length = cube_get_u32(in); break;
	case 't': r->mtime = (int64_t)cube_get_u64(in); break;
	case 'm': r->number = cube_get_u64(in); break;
	case 'i': r->more = cube_get_u64(in); break;
	case 'e': r->entry = cube_get_u64(in); break;
	case 'h':
		raw = cube_get_raw(in, sizeof r->hash);
		if (!in->bad) memcpy(r->hash, raw.p, sizeof r->hash);
		break;
	case 'n': cube_get_str(in, r->name, sizeof r->name); break;
	default: cube_get_str(in, r->text, sizeof r->text); break;
	}
}

int record_put(struct cube_buf *out, const struct record *r) {
	size_t at = cube_buf_len(out);
	uint8_t head[RECORD_HEAD] = {r->type};
	int rc = cube_buf_add(out, head, sizeof head);

	for (const char *f = fields_of(r->type); rc == 0 && *f; f++) rc = put_field(out, *f, r);
	if (rc < 0) {
		cube_buf_truncate(out, at);
		return rc;
	}
	uint8_t *p = (uint8_t *)cube_buf_data(out) + at;
	size_t n = cube_buf_len(out) - at - RECORD_HEAD;
	p[1] = (uint8_t)n;
	p[2] = (uint8_t)(n >> 8);
	return 0;
}

void record_data_head(uint8_t head[DATA_HEAD], uint32_t n) {
	head[0] = REC_DATA;
	head[1] = 4;
	head[2] = 0;
	cube_poke_u32(head + RECORD_HEAD, n);
}

int record_get(const uint8_t *bytes, size_t n, struct record *ret, size_t *ret_used,
	       struct cube_err *err) {
	struct cube_reader in;
	const char *f;
	size_t length;

	if (n < RECORD_HEAD) return CUBE_AGAIN;
	length = bytes[1] | (size_t)bytes[2] << 8;
	f = fields_of(bytes[0]);
	if (!f || length > RECORD_MAX)
		return cube_fail(err, CUBE_EPROTO, "copy: a record of type %d with %zu bytes",
				 bytes[0], length);
	if (n - RECORD_HEAD < length) return CUBE_AGAIN;
	cube_reader_init(&in, bytes + RECORD_HEAD, length);
	ret->type = bytes[0];
	while (*f) get_field(&in, *f++, ret);
	if (in.bad || (ret->type == REC_DATA && ret->length > RECORD_DATA))
		return cube_fail(err, CUBE_EPROTO, "copy: a malformed record of type %d", bytes[0]);
	*ret_used = RECORD_HEAD + length;
	return 0;
}

static int read_preamble(struct record_reader *r, const uint8_t *bytes, size_t n, size_t *ret_used,
			 struct cube_err *err) {
	size_t take = PREAMBLE_LEN - r->preamble;

	if (take > n) take = n;
	if (memcmp(bytes, &PREAMBLE[r->preamble], take) != 0)
		return cube_fail(err, CUBE_EPROTO, "copy: the other end speaks another version");
	r->preamble += take;
	*ret_used = take;
	return 0;
}

int record_read(struct record_reader *r, const uint8_t *bytes, size_t n, struct record *ret,
		size_t *ret_used, struct cube_err *err) {
	size_t used = 0, before = r->nheld, take;
	int rc = r->preamble < PREAMBLE_LEN ? read_preamble(r, bytes, n, &used, err) : 0;

	if (rc < 0) return rc;
	bytes += used;
	n -= used;
	*ret_used = used + n;
	if (r->preamble < PREAMBLE_LEN || n == 0) return CUBE_AGAIN;
	if (before == 0) {
		size_t whole;
		rc = record_get(bytes, n, ret, &whole, err);
		if (rc == 0) *ret_used = used + whole;
		if (rc != CUBE_AGAIN) return rc;
	}
	take = sizeof r->held - before; /* a whole record fits: what does not is not a record */
	if (take > n) take = n;
	memcpy(r->held + before, bytes, take);
	r->nheld += take;
	if (before == 0) return CUBE_AGAIN;
	rc = record_get(r->held, r->nheld, ret, &take, err);
	if (rc != 0) return rc;
	*ret_used = used + take - before;
	r->nheld = 0;
	return 0;
}
