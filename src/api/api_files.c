/* PUT and HEAD of contents. */
#include <stdlib.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/files.h"

struct upload {
	struct cube_api *api;
	struct cube_file_in *in;
};

void cube_api_file_head(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	bool has = cube_files_has(api->parts.files, cube_request_segment(req, "sha256"));
	cube_reply(req, has ? 200 : 404, "application/octet-stream", NULL, 0);
}

static void fail(struct upload *u, struct cube_request *req, const struct cube_err *err) {
	cube_file_in_abort(u->in);
	u->in = NULL;
	cube_reply_error(req, err);
}

static size_t on_data(void *arg, struct cube_request *req, const uint8_t *bytes, size_t n) {
	struct upload *u = arg;
	struct cube_err err;
	if (u->in && cube_file_in_add(u->in, bytes, n, &err)) fail(u, req, &err);
	return n;
}

static void on_end(void *arg, struct cube_request *req) {
	struct upload *u = arg;
	struct cube_err err;
	if (!u->in) return;
	int rc = cube_file_in_commit(u->in, &err);
	u->in = NULL;
	if (rc) cube_reply_error(req, &err);
	else cube_reply(req, 201, CUBE_JSON_TYPE, "{}\n", 3);
}

static void on_gone(void *arg, struct cube_request *req) {
	struct upload *u = arg;
	cube_file_in_abort(u->in);
	free(u);
}

void cube_api_file_put(void *arg, struct cube_request *req) {
	static const struct cube_body_sink sink = {on_data, on_end, on_gone};
	struct cube_api *api = arg;
	struct cube_err err;
	struct cube_file_in *in;
	if (cube_file_in_begin(api->parts.files, cube_request_segment(req, "sha256"), &in, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	struct upload *u = cube_alloc(sizeof *u);
	*u = (struct upload){api, in};
	cube_request_sink(req, &sink, u);
}
