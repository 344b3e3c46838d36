/* GET .../wait: an answer that comes when a task, or all of a job's, have ended. */
#include <stdlib.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/work.h"

struct wait {
	struct cube_pages pages;
	uint64_t job; /* 0: one task */
	uint64_t first, last;
	struct cube_subscriber changed;
};

/* NULL: it goes on. */
static json_t *ended_job(const struct wait *w) {
	if (cube_work_job(w->pages.api->parts.work, w->job)) return NULL;
	return json_pack("{s:o, s:o, s:o}", "job", cube_jv_u64(w->job), "first",
			 cube_jv_u64(w->first), "tasks", cube_jv_u64(w->last - w->first + 1));
}

static json_t *ended_task(struct wait *w) {
	struct cube_task_row row;
	if (cube_api_task_get(w->pages.api, w->first, &row, NULL)) {
		w->pages.broken = true;
		return NULL;
	}
	bool ended = cube_task_final(row.state);
	json_t *task = ended ? cube_api_task_json(w->pages.api, &row) : NULL;
	free((char *)row.reason);
	return task;
}

static int fill(struct cube_pages *p) {
	struct wait *w = cube_container(p, struct wait, pages);
	json_t *is = w->job ? ended_job(w) : ended_task(w);
	if (!is) return p->broken;
	cube_pages_json(p, is);
	cube_buf_addstr(&p->out, "\n");
	return -1;
}

static void on_changed(void *arg, uint64_t task) {
	struct wait *w = arg;
	cube_pages_wake(&w->pages);
}

static void release(struct cube_pages *p) {
	struct wait *w = cube_container(p, struct wait, pages);
	cube_subscriber_remove(&w->changed);
	free(w);
}

static void reply(struct cube_api *api, struct cube_request *req, uint64_t job, uint64_t first,
		  uint64_t last) {
	struct wait *w = cube_alloc(sizeof *w);
	*w = (struct wait){
		.pages = {.fill = fill, .free = release}, .job = job, .first = first, .last = last};
	w->changed = (struct cube_subscriber){
		.first = first, .last = last, .news = on_changed, .arg = w};
	cube_work_subscribe(api->parts.work, &w->changed);
	cube_pages_reply(api, req, CUBE_JSON_TYPE, &w->pages);
}

void cube_api_task_wait(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_task_row row;
	struct cube_err err;
	if (cube_api_named_task(api, req, &row, &err)) cube_reply_error(req, &err);
	else reply(api, req, 0, row.id, row.id);
}

void cube_api_job_wait(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_err err;
	uint64_t id, first, last;
	int rc = cube_segment_id(req, "id", "job", &id, &err);
	if (!rc) rc = cube_api_job_range(api, id, &first, &last, &err);
	if (rc) cube_reply_error(req, &err);
	else reply(api, req, id, first, last);
}
