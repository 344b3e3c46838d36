/* Ends on request. */
#include "cube/task.h"
#include "work_impl.h"

#define AT_ONCE 1000u /* pending tasks that end in a turn: it takes some 20 ms */

void cube_work_stop(struct cube_work *t, struct cube_task *task, uint32_t grace_ms) {
	struct cube_node *node = cube_fleet_by_id(t->is.fleet, task->row.node);
	task->stopping = true;
	task->stop_grace_ms = grace_ms == UINT32_MAX ? task->job->spec.grace_ms : grace_ms;
	if (task->row.state == CUBE_TASK_PENDING) {
		cube_task_end(t, task, CUBE_EXIT_STOPPED, 0, "stopped before it started");
		return;
	}
	task->row.how = CUBE_EXIT_STOPPED;
	task->row.value =
		task->stop_grace_ms < INT32_MAX ? (int32_t)task->stop_grace_ms : INT32_MAX;
	cube_task_changed(t, task);
	if (!node || !task->known) return; /* told when the link is back: see attempts.c */
	struct cube_msg msg = cube_task_msg(task, CUBE_MSG_STOP);
	msg.stop.grace_ms = task->stop_grace_ms;
	cube_task_send(task, node, &msg);
}

/* --- a job --- */

struct keep {
	struct cube_store *store;
	uint64_t stop;
	struct cube_err *err;
};

static int keep_stop(void *arg, const struct cube_job_row *row) {
	const struct keep *k = arg;
	struct cube_job_row now = *row;
	now.stop = k->stop;
	return k->store->ops->job_put(k->store, &now, k->err);
}

static uint64_t stop_some(struct cube_work *t, struct cube_list *tasks, const struct cube_job *job,
			  uint32_t grace_ms) {
	uint64_t n = 0;
	cube_list_each (tasks, task, struct cube_task, queue) {
		if (task->job != job) continue;
		cube_work_stop(t, task, grace_ms);
		n++;
	}
	return n;
}

uint64_t cube_work_stop_job(struct cube_work *t, uint64_t id, uint32_t grace_ms) {
	struct cube_job *job = (struct cube_job *)cube_work_job(t, id);
	struct cube_err err;
	uint64_t n = 0;
	if (!job) return 0;
	if (grace_ms == UINT32_MAX) grace_ms = job->spec.grace_ms;
	job->stop = (uint64_t)grace_ms + 1;
	struct keep keep = {cube_turn_tx(t->is.turn), job->stop, &err};
	cube_turn_must(t->is.turn, keep.store->ops->job_get(keep.store, id, keep_stop, &keep, &err),
		       &err);
	cube_list_each (cube_fleet_list(t->is.fleet), node, struct cube_node, hook) {
		n += stop_some(t, &cube_seat_of(node)->attempts, job, grace_ms);
		n += stop_some(t, &cube_seat_of(node)->bound, job, grace_ms);
	}
	cube_list_each (&job->pending, task, struct cube_task, queue) n += task != NULL;
	if (cube_list_empty(&job->pending)) return n;
	cube_list_remove(&job->waiting);
	if (!cube_list_linked(&job->ending)) cube_list_append(&t->ending, &job->ending);
	return n;
}

void cube_jobs_end_some(struct cube_work *t) {
	unsigned left = AT_ONCE;
	cube_list_each (&t->ending, job, struct cube_job, ending) {
		uint32_t grace_ms = (uint32_t)(job->stop - 1);
		cube_list_each (&job->pending, task, struct cube_task, queue) {
			if (!left--) {
				cube_timer_after(t->again, 0);
				return;
			}
			cube_work_stop(t, task, grace_ms);
		}
	}
}
