#include "api_util.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/parse.h"
#include "cube/text.h"

/* --- bodies --- */

static int wrong(const struct cube_field *f, const char *what, struct cube_err *err) {
	return cube_fail(err, CUBE_EUSAGE, "%s: must be %s", f->name, what);
}

static int read_integer(const struct cube_field *f, const json_t *v, uint64_t *ret,
			struct cube_err *err) {
	json_int_t i = json_is_integer(v) ? json_integer_value(v) : -1;
	if (!json_is_integer(v) || i < 0 || (uint64_t)i < f->min || (uint64_t)i > f->max)
		return cube_fail(err, CUBE_EUSAGE,
				 "%s: must be an integer of %" PRIu64 "..%" PRIu64, f->name, f->min,
				 f->max);
	*ret = (uint64_t)i;
	return 0;
}

static int read_seconds(const struct cube_field *f, const json_t *v, uint64_t *ret,
			struct cube_err *err) {
	double s = json_is_number(v) ? json_number_value(v) : -1;
	if (!(s >= (double)f->min && s <= (double)f->max))
		return cube_fail(err, CUBE_EUSAGE,
				 "%s: must be a number of %" PRIu64 "..%" PRIu64 " seconds",
				 f->name, f->min, f->max);
	*ret = (uint64_t)(s * 1e9 + 0.5);
	return 0;
}

static int read_field(const struct cube_field *f, json_t *v, void *at, struct cube_err *err) {
	switch (f->type) {
	case CUBE_FIELD_STRING:
		if (!json_is_string(v)) return wrong(f, "a string", err);
		*(const char **)at = json_string_value(v);
		return 0;
	case CUBE_FIELD_BOOL:
		if (!json_is_boolean(v)) return wrong(f, "true or false", err);
		*(bool *)at = json_is_true(v);
		return 0;
	case CUBE_FIELD_INTEGER: return read_integer(f, v, at, err);
	case CUBE_FIELD_SECONDS: return read_seconds(f, v, at, err);
	case CUBE_FIELD_ARRAY:
		if (!json_is_array(v)) return wrong(f, "an array", err);
		*(json_t **)at = v;
		return 0;
	case CUBE_FIELD_ANY: *(json_t **)at = v; return 0;
	}
	return cube_fail(err, CUBE_EINTERNAL, "%s: unknown type of field", f->name);
}

int cube_fields_read(const json_t *object, const struct cube_field *fields, size_t n, void *dst,
		     struct cube_err *err) {
	const char *key;
	json_t *v;
	if (!json_is_object(object))
		return cube_fail(err, CUBE_EUSAGE, "a JSON object is expected");
	json_object_foreach((json_t *)object, key, v) {
		size_t i = 0;
		while (i < n && strcmp(fields[i].name, key) != 0) i++;
		if (i == n) return cube_fail(err, CUBE_EUSAGE, "%.64s: unknown field", key);
		if (json_is_null(v)) continue;
		int rc = read_field(&fields[i], v, (char *)dst + fields[i].at, err);
		if (rc) return rc;
	}
	for (size_t i = 0; i < n; i++) {
		v = json_object_get(object, fields[i].name);
		if (fields[i].required && (!v || json_is_null(v)))
			return cube_fail(err, CUBE_EUSAGE, "%s: is required", fields[i].name);
	}
	return 0;
}

int cube_body_json(struct cube_request *req, json_t **ret, struct cube_err *err) {
	size_t n;
	const char *body = cube_request_body(req, &n);
	json_error_t je;
	json_t *v = n ? json_loadb(body, n, JSON_REJECT_DUPLICATES, &je) : json_object();
	if (!v)
		return cube_fail(err, CUBE_EUSAGE, "the body is not JSON: line %d column %d, %s",
				 je.line, je.column, je.text);
	if (!json_is_object(v)) {
		json_decref(v);
		return cube_fail(err, CUBE_EUSAGE, "the body must be a JSON object");
	}
	*ret = v;
	return 0;
}

int cube_query_u64(struct cube_request *req, const char *key, uint64_t max, uint64_t *ret,
		   struct cube_err *err) {
	const char *v = cube_request_query(req, key);
	if (!v) return 0;
	struct cube_err why;
	if (cube_parse_u64(v, 0, max, ret, &why))
		return cube_fail(err, CUBE_EUSAGE, "%s: %s", key, why.msg);
	return 0;
}

bool cube_query_flag(struct cube_request *req, const char *key) {
	const char *v = cube_request_query(req, key);
	return v && (!*v || strcmp(v, "1") == 0 || strcmp(v, "true") == 0);
}

int cube_segment_id(struct cube_request *req, const char *name, const char *what, uint64_t *ret,
		    struct cube_err *err) {
	const char *v = cube_request_segment(req, name);
	if (cube_parse_u64(v, 1, INT64_MAX, ret, NULL) == 0) return 0;
	return cube_fail(err, CUBE_ENOTFOUND, "there is no %s '%.40s'", what, v);
}

/* --- JSON --- */

json_t *cube_jv_u64(uint64_t v) {
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

json_t *cube_jv_real(double v) {
	return isfinite(v) ? json_real(v) : json_null();
}

json_t *cube_jv_time(int64_t wall) {
	char text[32];
	return wall ? json_string(cube_clock_rfc3339(wall, text)) : json_null();
}

/* The bytes of the character s begins with, or 0. */
static size_t character(const char *s, size_t n) {
	for (size_t len = 1; len <= n && len <= 4; len++)
		if (cube_text_is_utf8(s, len)) return len;
	return 0;
}

json_t *cube_jv_textn(const char *s, size_t n) {
	json_t *v = json_stringn(s, n);
	if (v) return v;
	struct cube_buf b;
	cube_buf_init(&b, 3 * n);
	for (size_t i = 0, len; i < n; i += len ? len : 1) {
		len = character(s + i, n - i);
		if (len) cube_buf_add(&b, s + i, len);
		else cube_buf_addstr(&b, "\xef\xbf\xbd");
	}
	v = json_stringn((const char *)cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
	return v;
}

json_t *cube_jv_text(const char *s) {
	return s ? cube_jv_textn(s, strlen(s)) : json_null();
}

json_t *cube_jv_optional(const char *s) {
	return cube_jv_text(s && *s ? s : NULL);
}

static int add_text(const char *text, size_t n, void *out) {
	return cube_buf_add(out, text, n) ? -1 : 0;
}

int cube_json_add(struct cube_buf *out, json_t *taken) {
	size_t before = cube_buf_len(out);
	int rc = json_dump_callback(taken, add_text, out, CUBE_JSON_FLAGS);
	json_decref(taken);
	if (rc) cube_buf_truncate(out, before);
	return rc;
}

/* --- answers --- */

/* "count: must ..." -> 5; 0 where the message does not begin with a field's name. */
static size_t field_length(const struct cube_err *err) {
	size_t n = 0;
	if (err->code != CUBE_EUSAGE && err->code != CUBE_ETOOBIG) return 0;
	while (err->msg[n] && (isalnum((unsigned char)err->msg[n]) || strchr("_.[]", err->msg[n])))
		n++;
	return err->msg[n] == ':' && err->msg[n + 1] == ' ' ? n : 0;
}

void cube_reply_error(struct cube_request *req, const struct cube_err *err) {
	struct cube_buf out;
	size_t field = field_length(err);
	int status = cube_request_refusal(req);
	cube_buf_init(&out, 8192);
	cube_json_add(&out, json_pack("{s:{s:s, s:o, s:o*}}", "error", "code",
				      cube_err_name(err->code), "message", cube_jv_text(err->msg),
				      "field", field ? cube_jv_textn(err->msg, field) : NULL));
	cube_buf_addstr(&out, "\n");
	cube_reply(req, status ? status : cube_err_http(err->code), CUBE_JSON_TYPE,
		   cube_buf_data(&out), cube_buf_len(&out));
	cube_buf_done(&out);
}

void cube_reply_json(struct cube_request *req, int status, json_t *taken) {
	struct cube_buf out;
	cube_buf_init(&out, CUBE_REPLY_MAX);
	if (cube_json_add(&out, taken) || cube_buf_addstr(&out, "\n")) {
		struct cube_err err;
		cube_fail(&err, CUBE_ETOOBIG, "the answer is over %u bytes; ask for a part",
			  CUBE_REPLY_MAX);
		cube_reply_error(req, &err);
	} else {
		cube_reply(req, status, CUBE_JSON_TYPE, cube_buf_data(&out), cube_buf_len(&out));
	}
	cube_buf_done(&out);
}
