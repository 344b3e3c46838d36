#include <inttypes.h>

#include "row_check.h"
#include "cube/node.h"
#include "cube/task.h"

static int check_id(const char *what, uint64_t id, struct cube_err *err) {
	if (id == 0) return cube_fail(err, CUBE_EUSAGE, "store: a %s needs an id", what);
	if (id > INT64_MAX)
		return cube_fail(err, CUBE_ETOOBIG, "store: %s id %" PRIu64 " is over 2^63", what,
				 id);
	return 0;
}

static int take_id(void *arg, const struct cube_job_row *row) {
	*(uint64_t *)arg = row->id;
	return 0;
}

int cube_store_check_job(struct cube_store *s, const struct cube_job_row *row,
			 struct cube_err *err) {
	uint64_t other = 0;
	int r = check_id("job", row->id, err);

	if (r < 0 || !cube_store_text(row->request)[0]) return r;
	r = s->ops->job_find(s, row->request, take_id, &other, err);
	if (r == CUBE_ENOTFOUND || (r == 0 && other == row->id)) return 0;
	return r < 0 ? r
		     : cube_fail(err, CUBE_ECONFLICT, "store: request %.80s is job %" PRIu64 "'s",
				 row->request, other);
}

int cube_store_check_task(const struct cube_task_row *row, struct cube_err *err) {
	int r = check_id("task", row->id, err);

	if (r == 0) r = check_id("job", row->job, err);
	if (r < 0) return r;
	if (row->epoch > INT64_MAX)
		return cube_fail(err, CUBE_ETOOBIG, "store: task %" PRIu64 ": an epoch over 2^63",
				 row->id);
	if (row->state >= CUBE_TASK_STATES)
		return cube_fail(err, CUBE_EUSAGE, "store: task %" PRIu64 ": no state %u", row->id,
				 row->state);
	return 0;
}

int cube_store_check_node(const struct cube_node_row *row, struct cube_err *err) {
	int r = check_id("node", row->id, err);

	if (r < 0) return r;
	if (row->state >= CUBE_NODE_STATES)
		return cube_fail(err, CUBE_EUSAGE, "store: node %" PRIu32 ": no state %u", row->id,
				 row->state);
	return 0;
}

int cube_store_check_chunk(const struct cube_chunk_row *row, struct cube_err *err) {
	int r = check_id("task", row->task, err);

	if (r < 0) return r;
	if (row->len > INT64_MAX || row->offset > INT64_MAX - row->len ||
	    row->pos > INT64_MAX - row->len)
		return cube_fail(err, CUBE_ETOOBIG,
				 "store: log of task %" PRIu64 ": a chunk ends over 2^63",
				 row->task);
	return 0;
}

int cube_store_check_metric(const struct cube_metric *m, struct cube_err *err) {
	if (m->wall < 0) return cube_fail(err, CUBE_EUSAGE, "store: a metric from before 1970");
	return 0;
}

int cube_store_chunk_follows(const struct cube_chunk_row *newest, const struct cube_chunk_row *row,
			     bool *ret_merge, struct cube_err *err) {
	uint64_t end = newest->offset + newest->len;

	if (row->offset < end)
		return cube_fail(err, CUBE_ECONFLICT,
				 "store: log of task %" PRIu64 " attempt %" PRIu32
				 ": bytes from %" PRIu64 " on are there up to %" PRIu64,
				 row->task, row->attempt, row->offset, end);
	*ret_merge = row->offset == end && row->segment == newest->segment &&
		     row->pos == newest->pos + newest->len && row->wall >= newest->wall &&
		     row->wall - newest->wall < CUBE_CHUNK_SPAN_NS;
	return 0;
}
