#include "sse.h"

#include <stdio.h>
#include <string.h>

#define DATA_MAX (1u << 20)

void cube_sse_init(struct cube_sse *s) {
	cube_lines_init(&s->lines, DATA_MAX);
	s->event[0] = '\0';
	cube_buf_init(&s->data, DATA_MAX);
}

void cube_sse_done(struct cube_sse *s) {
	cube_lines_done(&s->lines);
	cube_buf_done(&s->data);
}

struct feeding {
	struct cube_sse *s;
	cube_sse_fn *fn;
	void *arg;
};

/* An empty line ends the event. */
static int dispatch(struct feeding *f) {
	struct cube_sse *s = f->s;
	int rc = 0;
	json_t *json =
		json_loadb((const char *)cube_buf_data(&s->data), cube_buf_len(&s->data), 0, NULL);
	if (json_is_object(json)) rc = f->fn(f->arg, s->event[0] ? s->event : "message", json);
	json_decref(json);
	cube_buf_clear(&s->data);
	s->event[0] = '\0';
	return rc;
}

/* The value of "name: value", or NULL where the line is another field. */
static const char *field(const char *line, size_t n, const char *name, size_t *ret_n) {
	size_t len = strlen(name);
	if (n <= len || memcmp(line, name, len) != 0 || line[len] != ':') return NULL;
	len++;
	if (len < n && line[len] == ' ') len++;
	*ret_n = n - len;
	return line + len;
}

static int on_line(void *arg, const uint8_t *bytes, size_t n, bool first, bool whole) {
	struct feeding *f = arg;
	const char *line = (const char *)bytes, *value;
	size_t len = 0;
	if (!first || !whole) return 0; /* over the limit */
	if (n > 0 && line[n - 1] == '\r') n--;
	if (n == 0) return dispatch(f);
	if ((value = field(line, n, "event", &len)))
		snprintf(f->s->event, sizeof f->s->event, "%.*s", (int)(len < 31 ? len : 31),
			 value);
	else if ((value = field(line, n, "data", &len))) cube_buf_add(&f->s->data, value, len);
	return 0;
}

int cube_sse_feed(struct cube_sse *s, const void *bytes, size_t n, cube_sse_fn *fn, void *arg) {
	struct feeding f = {s, fn, arg};
	return cube_lines_feed(&s->lines, bytes, n, on_line, &f);
}
