#include "api_util.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
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

/* --- writing JSON --- */

/* One well-formed UTF-8 sequence at s, or 0. */
static size_t sequence(const char *s, size_t n) {
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	return len && len <= n && (c == 0 || cube_text_is_utf8(s, len)) ? len : 0;
}

static bool is_bare(unsigned char c) {
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void put(struct cube_jw *j, const void *bytes, size_t n) {
	if (cube_buf_add(j->out, bytes, n)) j->bad = true;
}

static void putf(struct cube_jw *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct cube_jw *j, const char *fmt, ...) {
	char text[64];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put(j, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void escape(struct cube_jw *j, const char *s, size_t n) {
	for (size_t i = 0; i < n;) {
		size_t run = i;
		while (run < n && is_bare((unsigned char)s[run])) run++;
		put(j, s + i, run - i);
		i = run;
		if (i == n) break;
		unsigned char c = (unsigned char)s[i];
		size_t len = sequence(s + i, n - i);
		if (c == '"' || c == '\\') put(j, (char[]){'\\', (char)c}, 2);
		else if (c == '\n') put(j, "\\n", 2);
		else if (c == '\t') put(j, "\\t", 2);
		else if (c < 0x20) putf(j, "\\u%04x", c);
		else if (len) put(j, s + i, len);
		else put(j, "\xef\xbf\xbd", 3);
		i += len ? len : 1;
	}
}

static void lead(struct cube_jw *j, const char *key) {
	if (j->comma) put(j, ",", 1);
	j->comma = true;
	if (!key) return;
	put(j, "\"", 1);
	escape(j, key, strlen(key));
	put(j, "\":", 2);
}

void cube_jw_open(struct cube_jw *j, const char *key, char bracket) {
	lead(j, key);
	put(j, &bracket, 1);
	j->comma = false;
}

void cube_jw_close(struct cube_jw *j, char bracket) {
	put(j, &bracket, 1);
	j->comma = true;
}

void cube_jw_strn(struct cube_jw *j, const char *key, const char *s, size_t n) {
	lead(j, key);
	put(j, "\"", 1);
	escape(j, s, n);
	put(j, "\"", 1);
}

void cube_jw_str(struct cube_jw *j, const char *key, const char *s) {
	if (s) cube_jw_strn(j, key, s, strlen(s));
	else cube_jw_null(j, key);
}

void cube_jw_u64(struct cube_jw *j, const char *key, uint64_t v) {
	char text[24], *p = text + sizeof text;
	do *--p = (char)('0' + v % 10);
	while (v /= 10);
	lead(j, key);
	put(j, p, (size_t)(text + sizeof text - p));
}

void cube_jw_i64(struct cube_jw *j, const char *key, int64_t v) {
	lead(j, key);
	putf(j, "%" PRId64, v);
}

void cube_jw_real(struct cube_jw *j, const char *key, double v) {
	if (!isfinite(v)) {
		cube_jw_null(j, key);
		return;
	}
	lead(j, key);
	putf(j, "%.9g", v);
}

void cube_jw_bool(struct cube_jw *j, const char *key, bool v) {
	lead(j, key);
	putf(j, "%s", v ? "true" : "false");
}

void cube_jw_null(struct cube_jw *j, const char *key) {
	lead(j, key);
	put(j, "null", 4);
}

void cube_jw_time(struct cube_jw *j, const char *key, int64_t wall) {
	char text[32];
	if (wall) cube_jw_str(j, key, cube_clock_rfc3339(wall, text));
	else cube_jw_null(j, key);
}

void cube_jw_raw(struct cube_jw *j, const char *key, const char *json) {
	lead(j, key);
	put(j, json, strlen(json));
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
	cube_buf_init(&out, 8192);
	struct cube_jw j = {.out = &out};
	size_t field = field_length(err);
	cube_jw_open(&j, NULL, '{');
	cube_jw_open(&j, "error", '{');
	cube_jw_str(&j, "code", cube_err_name(err->code));
	cube_jw_str(&j, "message", err->msg);
	if (field) cube_jw_strn(&j, "field", err->msg, field);
	cube_jw_close(&j, '}');
	cube_jw_close(&j, '}');
	cube_buf_add(&out, "\n", 1);
	int status = cube_request_refusal(req);
	cube_reply(req, status ? status : cube_err_http(err->code), CUBE_JSON_TYPE,
		   cube_buf_data(&out), cube_buf_len(&out));
	cube_buf_done(&out);
}

void cube_reply_json(struct cube_request *req, int status, struct cube_jw *j) {
	put(j, "\n", 1);
	if (j->bad) {
		struct cube_err err;
		cube_fail(&err, CUBE_ETOOBIG, "the answer is over %u bytes; ask for a part",
			  CUBE_REPLY_MAX);
		cube_reply_error(req, &err);
	} else {
		cube_reply(req, status, CUBE_JSON_TYPE, cube_buf_data(j->out),
			   cube_buf_len(j->out));
	}
	cube_buf_done(j->out);
}
