/* POST /v1/tasks/{id}/stdin: the body becomes the task's input. */
#include <stdlib.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/work.h"

struct input {
	struct cube_api *api;
	struct cube_request *req;
	uint64_t task;
	bool ended; /* the body is in; answered when the task has taken all */
	bool answered;
	struct cube_subscriber changed;
};

static void refuse(struct input *in, const struct cube_err *err) {
	if (in->answered) return;
	in->answered = true;
	cube_reply_error(in->req, err);
}

/* The task while it can take input; else the request is answered. */
static struct cube_task *find(struct input *in) {
	struct cube_err err;
	struct cube_task *task = cube_work_find(in->api->parts.work, in->task);
	if (task && !cube_task_final(task->row.state)) return task;
	cube_fail(&err, CUBE_ECONFLICT, "task %llu ended before it had taken all of its input",
		  (unsigned long long)in->task);
	refuse(in, &err);
	return NULL;
}

static size_t on_data(void *arg, struct cube_request *req, const uint8_t *bytes, size_t n) {
	struct input *in = arg;
	struct cube_err err;
	struct cube_task *task = find(in);
	if (!task) return n;
	ssize_t took = cube_work_input(in->api->parts.work, task, bytes, n, &err);
	if (took < 0) refuse(in, &err);
	return took < 0 ? n : (size_t)took;
}

/* The body is in: done when the task's pipe has it too, or will not take any more. */
static void conclude(struct input *in) {
	struct cube_task *task = cube_work_find(in->api->parts.work, in->task);
	if (task && cube_buf_len(&task->input)) return;
	in->answered = true;
	cube_reply(in->req, 200, CUBE_JSON_TYPE, "{}\n", 3);
}

static void on_end(void *arg, struct cube_request *req) {
	struct input *in = arg;
	struct cube_err err;
	struct cube_task *task = in->answered ? NULL : find(in);
	if (!task) return;
	/* Nothing was put in so far where the body is empty: this tells whether it may be. */
	if (cube_work_input(in->api->parts.work, task, "", 0, &err) < 0) {
		refuse(in, &err);
		return;
	}
	cube_work_input_end(in->api->parts.work, task);
	in->ended = true;
	conclude(in);
}

static void on_gone(void *arg, struct cube_request *req) {
	struct input *in = arg;
	struct cube_work *tasks = in->api->parts.work;
	struct cube_task *task = in->ended || in->answered ? NULL : cube_work_find(tasks, in->task);
	if (task) cube_work_input_end(tasks, task); /* whoever fed it left: no more will come */
	cube_subscriber_remove(&in->changed);
	free(in);
}

static void on_changed(void *arg, uint64_t id) {
	struct input *in = arg;
	if (in->answered) return;
	if (in->ended) conclude(in);
	else if (find(in)) cube_request_wake(in->req);
}

void cube_api_task_stdin(void *arg, struct cube_request *req) {
	static const struct cube_body_sink sink = {on_data, on_end, on_gone};
	struct cube_api *api = arg;
	struct cube_task_row row = {0};
	struct cube_err err;
	int rc = cube_api_named_task(api, req, &row, &err);
	uint64_t id = row.id;
	struct cube_task *task = rc ? NULL : cube_work_find(api->parts.work, id);
	if (!rc && !task)
		rc = cube_fail(&err, CUBE_ECONFLICT, "task %llu has ended", (unsigned long long)id);
	if (!rc && cube_work_input(api->parts.work, task, "", 0, &err) < 0) rc = err.code;
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	struct input *in = cube_alloc(sizeof *in);
	*in = (struct input){.api = api, .req = req, .task = id};
	in->changed =
		(struct cube_subscriber){.first = id, .last = id, .news = on_changed, .arg = in};
	cube_work_subscribe(api->parts.work, &in->changed);
	cube_request_sink(req, &sink, in);
}
