/* Answers of any length, made a page at a time. */
#include <string.h>

#include "api_impl.h"

static ssize_t pages_pull(void *arg, uint8_t *space, size_t n) {
	struct cube_pages *p = arg;
	for (;;) {
		size_t have = cube_buf_len(&p->out);
		if (have) {
			if (have > n) have = n;
			memcpy(space, cube_buf_data(&p->out), have);
			cube_buf_consume(&p->out, have);
			return (ssize_t)have;
		}
		if (p->ended) return -1;
		size_t got = p->direct ? p->direct(p, space, n) : 0;
		if (got) return (ssize_t)got;
		if (p->broken) return -2;
		int rc = p->fill(p);
		if (rc < 0) p->ended = true;
		else if (rc == 0 && !cube_buf_len(&p->out)) return 0;
	}
}

static void pages_free(void *arg) {
	struct cube_pages *p = arg;
	cube_buf_done(&p->out);
	p->free(p);
}

void cube_pages_reply(struct cube_api *api, struct cube_request *req, const char *content_type,
		      struct cube_pages *p) {
	static const struct cube_reply_source source = {pages_pull, pages_free};
	p->api = api;
	cube_buf_init(&p->out, CUBE_REPLY_MAX);
	p->rs = cube_reply_begin(req, 200, content_type, &source, p);
}

void cube_pages_wake(struct cube_pages *p) {
	cube_reply_wake(p->rs);
}

void cube_pages_json(struct cube_pages *p, json_t *taken) {
	if (cube_json_add(&p->out, taken)) p->broken = true;
}

void cube_pages_element(struct cube_pages *p, json_t *taken) {
	if (p->elements && cube_buf_addstr(&p->out, ",")) p->broken = true;
	p->elements = true;
	cube_pages_json(p, taken);
}
