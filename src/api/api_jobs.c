/* Jobs: their tasks, ending and signalling them all. */
#include "api_impl.h"

static int take_first(void *arg, const struct cube_task_row *row) {
	*(uint64_t *)arg = row->id;
	return 0;
}

static int take_count(void *arg, const struct cube_job_row *row) {
	*(uint32_t *)arg = row->tasks;
	return 0;
}

int cube_api_job_range(struct cube_api *api, uint64_t job, uint64_t *ret_first, uint64_t *ret_last,
		       struct cube_err *err) {
	struct cube_store *s = api->parts.turn->store;
	const struct cube_job *now = cube_work_job(api->parts.work, job);
	uint64_t first = 0;
	uint32_t count = 0;
	if (now) { /* it may not be in the store yet */
		*ret_first = now->first;
		*ret_last = now->first + now->count - 1;
		return 0;
	}
	int rc = s->ops->job_get(s, job, take_count, &count, err);
	struct cube_task_filter filter = {.job = job, .limit = 1};
	if (!rc) rc = s->ops->task_list(s, &filter, take_first, &first, err);
	if (rc == CUBE_ENOTFOUND || (!rc && !first))
		return cube_fail(err, CUBE_ENOTFOUND,
				 "there is no job %llu; `cube ps -a` lists them",
				 (unsigned long long)job);
	if (rc) return rc;
	*ret_first = first;
	*ret_last = first + count - 1;
	return 0;
}

/* Each of the job's tasks to which it applies; the answer counts them. */
static void order_all(struct cube_api *api, struct cube_request *req, cube_api_order_fn *read) {
	struct cube_api_order order;
	struct cube_err err;
	uint64_t job, first, last, n = 0, waiting = 0;
	bool waits;
	int rc = cube_segment_id(req, "id", "job", &job, &err);
	if (!rc) rc = read(req, &order, &err);
	if (!rc) rc = cube_api_job_range(api, job, &first, &last, &err);
	if (rc) {
		cube_reply_error(req, &err);
		return;
	}
	if (!order.signo) n = cube_work_stop_job(api->parts.work, job, order.grace_ms);
	for (uint64_t id = first; order.signo && id <= last; id++) {
		n += cube_api_order(api, id, &order, &waits, &err) > 0;
		waiting += waits;
	}
	cube_reply_json(req, n || order.signo ? 202 : 200,
			json_pack("{s:o, s:o, s:o}", "job", cube_jv_u64(job), "tasks",
				  cube_jv_u64(n), "waiting", cube_jv_u64(waiting)));
}

void cube_api_job_delete(void *arg, struct cube_request *req) {
	order_all(arg, req, cube_api_read_stop);
}

void cube_api_job_signal(void *arg, struct cube_request *req) {
	order_all(arg, req, cube_api_read_signal);
}
