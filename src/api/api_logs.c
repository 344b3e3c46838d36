/* GET .../logs: one stream's bytes as they are (here), or frames (api_frames.c). */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "api_frames.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/logs.h"
#include "cube/work.h"

struct raw {
	struct cube_pages pages;
	uint64_t task, offset;
	uint8_t stream;
	bool follow, looked;
	bool final; /* when its row was looked at */
	uint32_t attempt;
	struct cube_log_reader *reader;
	struct cube_subscriber grew, changed;
};

static size_t direct(struct cube_pages *p, uint8_t *space, size_t n) {
	struct raw *r = cube_container(p, struct raw, pages);
	struct cube_log_piece piece = {0};
	struct cube_err err;
	if (!r->reader) return 0;
	if (cube_log_reader_next(r->reader, space, n, &piece, &err)) {
		cube_error("task %llu: %s", (unsigned long long)r->task, err.msg);
		p->broken = true;
	}
	if (piece.n) r->looked = false;
	return piece.n;
}

/* The reader has no more. Whether that is the end is asked before it is read once more: bytes come
 * before the state. */
static int fill(struct cube_pages *p) {
	struct raw *r = cube_container(p, struct raw, pages);
	struct cube_task_row row;
	if (r->looked) {
		r->looked = false;
		return r->follow && !r->final ? 0 : -1;
	}
	if (cube_api_task_get(p->api, r->task, &row, NULL)) {
		p->broken = true;
		return 1;
	}
	free((char *)row.reason);
	r->final = cube_task_final(row.state);
	r->looked = true;
	if (row.attempt != r->attempt) {
		cube_log_reader_free(r->reader);
		r->attempt = row.attempt;
		r->reader = cube_log_reader_new(p->api->parts.logs, r->task, row.attempt, r->stream,
						r->offset);
		r->offset = 0; /* of the first attempt that is read */
	}
	return 1;
}

static void release(struct cube_pages *p) {
	struct raw *r = cube_container(p, struct raw, pages);
	cube_subscriber_remove(&r->grew);
	cube_subscriber_remove(&r->changed);
	cube_log_reader_free(r->reader);
	free(r);
}

static void on_news(void *arg, uint64_t task) {
	cube_pages_wake(arg);
}

static void reply_raw(struct cube_api *api, struct cube_request *req, uint64_t task, uint8_t stream,
		      uint64_t offset, bool follow) {
	struct raw *r = cube_alloc(sizeof *r);
	*r = (struct raw){.pages = {.fill = fill, .direct = direct, .free = release},
			  .task = task,
			  .stream = stream,
			  .offset = offset,
			  .follow = follow};
	r->grew = (struct cube_subscriber){
		.first = task, .last = task, .news = on_news, .arg = &r->pages};
	r->changed = (struct cube_subscriber){
		.first = task, .last = task, .news = on_news, .arg = &r->pages};
	if (follow) {
		cube_logs_subscribe(api->parts.logs, &r->grew);
		cube_work_subscribe(api->parts.work, &r->changed);
	}
	cube_pages_reply(api, req, "application/octet-stream", &r->pages);
}

static int read_stream(struct cube_request *req, uint8_t *ret, struct cube_err *err) {
	const char *v = cube_request_query(req, "stream");
	*ret = 0;
	if (!v) return 0;
	if (strcmp(v, "stdout") == 0) *ret = CUBE_STDOUT;
	else if (strcmp(v, "stderr") == 0) *ret = CUBE_STDERR;
	else return cube_fail(err, CUBE_EUSAGE, "stream: must be stdout or stderr");
	return 0;
}

void cube_api_task_logs(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_task_row row;
	struct cube_err err;
	uint64_t offset = 0, tail = UINT64_MAX;
	uint8_t stream;
	int rc = read_stream(req, &stream, &err);
	if (!rc) rc = cube_query_u64(req, "offset", INT64_MAX, &offset, &err);
	if (!rc) rc = cube_query_u64(req, "tail", INT64_MAX, &tail, &err);
	if (!rc && !stream && offset) rc = cube_fail(&err, CUBE_EUSAGE, "offset: only with stream");
	if (!rc && stream && tail != UINT64_MAX)
		rc = cube_fail(&err, CUBE_EUSAGE, "tail: not together with stream");
	if (!rc) rc = cube_api_named_task(api, req, &row, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	bool follow = cube_query_flag(req, "follow");
	if (stream) reply_raw(api, req, row.id, stream, offset, follow);
	else cube_api_reply_frames(api, req, row.id, row.id, follow, tail);
}

void cube_api_job_logs(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	uint64_t id, first, last, tail = UINT64_MAX;
	int rc = cube_segment_id(req, "id", "job", &id, &err);
	if (!rc) rc = cube_query_u64(req, "tail", INT64_MAX, &tail, &err);
	if (!rc) rc = cube_api_job_range(api, id, &first, &last, &err);
	if (rc) cube_reply_error(req, &err);
	else cube_api_reply_frames(api, req, first, last, cube_query_flag(req, "follow"), tail);
}
