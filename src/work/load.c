/* After a restart: what had not ended. */
#include "cube/mem.h"
#include "cube/task.h"
#include "work_impl.h"

struct load {
	struct cube_work *t;
	struct cube_job *job;
	uint64_t first; /* of the job at hand */
	int rc;
	struct cube_err err;
};

static int load_job(void *arg, const struct cube_job_row *row) {
	struct load *l = arg;
	struct cube_strv names = {0};
	struct cube_job *job = l->job = cube_job_new(l->t, row->id, l->first, row->tasks);
	job->stop = row->stop;
	l->rc = l->t->is.spec_read(row->spec, &job->spec, &names, &l->err);
	job->nodes = names.len ? cube_realloc_array(NULL, names.len, sizeof *job->nodes) : NULL;
	for (size_t i = 0; i < names.len; i++) {
		struct cube_node *node = cube_fleet_find(l->t->is.fleet, names.v[i]);
		job->nodes[job->nnodes++] = node ? node->id : 0;
	}
	cube_strv_done(&names);
	return 0;
}

static int load_task(void *arg, const struct cube_task_row *row) {
	struct load *l = arg;
	struct cube_work *t = l->t;
	struct cube_store *s = t->is.turn->store;
	if (!l->job || l->job->id != row->job) {
		l->job = NULL;
		l->first = row->id - row->index;
		int rc = s->ops->job_get(s, row->job, load_job, l, &l->err);
		if (rc) return rc;
	}
	struct cube_task *task = cube_task_new(t, l->job, row);
	task->input_end = true; /* whoever fed it went with the old manager */
	task->stopping = row->how == CUBE_EXIT_STOPPED;
	if (task->stopping) task->stop_grace_ms = (uint32_t)row->value;
	cube_task_load_signals(task);
	struct cube_node *node = cube_fleet_by_id(t->is.fleet, row->node);
	bool failed = !node || node->state == CUBE_NODE_FAILED;
	if (l->rc && row->state == CUBE_TASK_PENDING) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, l->err.msg);
	} else if (row->state == CUBE_TASK_PENDING && row->pinned && failed) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0,
			      node ? node->reason : "its node is gone");
	} else if (row->state == CUBE_TASK_PENDING) {
		cube_task_queue(t, task);
	} else if (node) {
		cube_seat_take(node, task);
	} else {
		cube_task_end(t, task, CUBE_EXIT_LOST, 0, "its node is gone");
	}
	return 0;
}

int cube_work_load(struct cube_work *t, struct cube_err *err) {
	struct load l = {.t = t};
	struct cube_task_filter filter = {.states = 1u << CUBE_TASK_PENDING |
						    1u << CUBE_TASK_SCHEDULED |
						    1u << CUBE_TASK_RUNNING};
	int rc = t->is.turn->store->ops->task_list(t->is.turn->store, &filter, load_task, &l, err);
	if (rc) *err = l.err.code ? l.err : *err;
	else cube_jobs_check(t, "its nodes are gone");
	return rc;
}
