/* What the handlers of the API share: reading bodies and queries, making JSON, errors. */
#ifndef CUBE_API_UTIL_H
#define CUBE_API_UTIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/metric.h"
#include "httpd.h"

/* --- bodies: one table of fields a kind of object --- */

enum cube_field_type {
	CUBE_FIELD_STRING,  /* const char * into the JSON value */
	CUBE_FIELD_BOOL,    /* bool */
	CUBE_FIELD_INTEGER, /* uint64_t, min..max */
	CUBE_FIELD_SECONDS, /* uint64_t nanoseconds, min..max seconds */
	CUBE_FIELD_ARRAY,   /* json_t *, borrowed */
	CUBE_FIELD_ANY,     /* json_t *, borrowed; checked by whoever uses it */
};
struct cube_field {
	const char *name;
	enum cube_field_type type;
	bool required;
	uint64_t min, max;
	size_t at; /* offset in the struct that is filled */
};
/* Fills dst's members of the fields that are there (null counts as absent), leaves the others.
 * Unknown names, wrong types, values out of range: CUBE_EUSAGE beginning with "<name>: ". */
int cube_fields_read(const json_t *object, const struct cube_field *fields, size_t n, void *dst,
		     struct cube_err *err);
/* The request's body as one JSON object; an empty body is an empty one. To be decref'd. */
int cube_body_json(struct cube_request *req, json_t **ret, struct cube_err *err);

/* Query values: *ret stays as it is where the key is absent. */
int cube_query_u64(struct cube_request *req, const char *key, uint64_t max, uint64_t *ret,
		   struct cube_err *err);
bool cube_query_flag(struct cube_request *req, const char *key); /* "1", "true" or no value */
/* A segment that is an id; CUBE_ENOTFOUND (what: "task") where it is no number. */
int cube_segment_id(struct cube_request *req, const char *name, const char *what, uint64_t *ret,
		    struct cube_err *err);

/* --- JSON values (new references), and their text --- */

json_t *cube_jv_u64(uint64_t v);    /* INT64_MAX at most */
json_t *cube_jv_real(double v);     /* not finite: null */
json_t *cube_jv_time(int64_t wall); /* 0: null */
/* Any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *cube_jv_textn(const char *s, size_t n);
json_t *cube_jv_text(const char *s);     /* NULL: null */
json_t *cube_jv_optional(const char *s); /* NULL or empty: null */

/* Appends the compact text of an object or array, which is taken. 0, or -1 where it does not fit or
 * is NULL: nothing was added then. */
int cube_json_add(struct cube_buf *out, json_t *taken);
#define CUBE_JSON_FLAGS (JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15))

/* --- answers --- */

#define CUBE_JSON_TYPE "application/json"
#define CUBE_TEXT_TYPE "text/plain; charset=utf-8"
#define CUBE_REPLY_MAX (64u << 20)

/* {"error": ...} with the status that belongs to err's code; the field is named where the message
 * of a usage error begins with one. */
void cube_reply_error(struct cube_request *req, const struct cube_err *err);
/* One object, which is taken; an error where it does not fit. */
void cube_reply_json(struct cube_request *req, int status, json_t *taken);

#endif
