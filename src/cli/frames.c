#include "frames.h"

#include <string.h>

void cube_frames_init(struct cube_frames *f) {
	memset(f, 0, sizeof *f);
	cube_buf_init(&f->head, CUBE_FRAME_HEAD_MAX);
}

void cube_frames_done(struct cube_frames *f) {
	cube_buf_done(&f->head);
	json_decref(f->json);
	f->json = NULL;
}

/* A member that must be an integer of at least 0 when it is there; *ret keeps its value else. */
static int get_number(const json_t *json, const char *key, uint64_t max, uint64_t *ret,
		      struct cube_err *err) {
	json_t *v = json_object_get(json, key);
	if (!v) return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return cube_fail(err, CUBE_EPROTO, "log frame: bad %s", key);
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

static int get_stream(const json_t *json, enum cube_stream_id *ret, struct cube_err *err) {
	const char *name = json_string_value(json_object_get(json, "stream"));
	if (!name) return 0;
	if (strcmp(name, "stdout") == 0) *ret = CUBE_STDOUT;
	else if (strcmp(name, "stderr") == 0) *ret = CUBE_STDERR;
	else return cube_fail(err, CUBE_EPROTO, "log frame: unknown stream");
	return 0;
}

static int parse_head(struct cube_frames *f, const char *text, size_t n, struct cube_err *err) {
	json_error_t at;
	json_t *json = json_loadb(text, n, 0, &at);
	struct cube_frame frame = {0};
	uint64_t left = 0;
	if (!json_is_object(json)) {
		json_decref(json);
		return cube_fail(err, CUBE_EPROTO, "log frame: its head is no JSON object");
	}
	int rc = get_number(json, "task", INT64_MAX, &frame.task, err);
	if (!rc) rc = get_number(json, "offset", INT64_MAX, &frame.offset, err);
	if (!rc) rc = get_number(json, "len", CUBE_FRAME_LEN_MAX, &left, err);
	if (!rc) rc = get_stream(json, &frame.stream, err);
	if (!rc && left > 0 && frame.stream == CUBE_STDIN)
		rc = cube_fail(err, CUBE_EPROTO, "log frame: bytes of no stream");
	if (rc) {
		json_decref(json);
		return rc;
	}
	const char *node = json_string_value(json_object_get(json, "node"));
	frame.node = node ? node : "";
	frame.time = json_string_value(json_object_get(json, "time"));
	frame.state = json_string_value(json_object_get(json, "state"));
	frame.task_row = json_object_get(json, "task_row");
	json_decref(f->json);
	f->json = json;
	f->frame = frame;
	f->left = left;
	return 0;
}

/* Takes bytes up to and with the head's newline. */
static int feed_head(struct cube_frames *f, const uint8_t **p, size_t *n, cube_frames_fn *fn,
		     void *arg, struct cube_err *err) {
	const uint8_t *newline = memchr(*p, '\n', *n);
	size_t len = newline ? (size_t)(newline - *p) : *n;
	int rc = cube_buf_add(&f->head, *p, len);
	if (rc)
		return cube_fail(err, rc, "log frame: its head is longer than %u",
				 CUBE_FRAME_HEAD_MAX);
	*p += len + (newline != NULL);
	*n -= len + (newline != NULL);
	if (!newline) return 0;
	rc = parse_head(f, (const char *)cube_buf_data(&f->head), cube_buf_len(&f->head), err);
	cube_buf_clear(&f->head);
	if (rc) return rc;
	return f->left == 0 && f->frame.state ? fn(arg, &f->frame) : 0;
}

int cube_frames_feed(struct cube_frames *f, const void *bytes, size_t n, cube_frames_fn *fn,
		     void *arg, struct cube_err *err) {
	const uint8_t *p = bytes;
	while (n > 0) {
		int rc = 0;
		if (f->left == 0) {
			rc = feed_head(f, &p, &n, fn, arg, err);
			if (rc) return rc;
			continue;
		}
		f->frame.bytes = p;
		f->frame.n = n < f->left ? n : (size_t)f->left;
		p += f->frame.n;
		n -= f->frame.n;
		f->left -= f->frame.n;
		rc = fn(arg, &f->frame);
		if (rc) return rc;
		f->frame.offset += f->frame.n;
	}
	return 0;
}

int cube_frames_end(const struct cube_frames *f, struct cube_err *err) {
	if (f->left == 0 && cube_buf_len(&f->head) == 0) return 0;
	return cube_fail(err, CUBE_EPROTO, "the log stream broke off inside a frame");
}
