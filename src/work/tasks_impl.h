/* Shared by tasks.c (the set, placing, telling), attempts.c (what workers say) and input.c. */
#ifndef CUBE_TASKS_IMPL_H
#define CUBE_TASKS_IMPL_H

#include "ids.h"
#include "cube/tasks.h"

struct cube_tasks {
	struct cube_turn_hook hook;
	struct cube_manager *m;
	struct cube_link *buckets; /* by id; count is a power of two */
	size_t nbuckets;
	unsigned active;
	struct cube_link jobs;    /* with tasks in memory, rising ids */
	struct cube_link changed; /* struct cube_task.changes */
	struct cube_link watchers;
	struct cube_ids *ids;
	size_t cursor; /* round robin */
};

/* The one setter of a state: checks, persists (with the turn), adds the event. A final state
 * takes the task off its node; it is freed at the next flush. */
void cube_task_set(struct cube_tasks *t, struct cube_task *task, enum cube_task_state state,
		   const char *reason);
/* The row goes to the store and watchers are called, once this turn. */
void cube_task_changed(struct cube_tasks *t, struct cube_task *task);
/* Ends an attempt that no worker will report: how, and why for a person. */
void cube_task_end(struct cube_tasks *t, struct cube_task *task, uint8_t how, int32_t value,
		   const char *reason);
/* A message about its attempt. */
static inline struct cube_msg cube_task_msg(const struct cube_task *task, enum cube_msg_type type) {
	return (struct cube_msg){.type = type,
				 .task = task->row.id,
				 .attempt = task->row.attempt,
				 .epoch = task->row.epoch};
}
/* Its next attempt, on this node: a number above all that are known of it, and the present epoch
 * where the worker knows of epochs. */
void cube_task_next_attempt(struct cube_tasks *t, struct cube_task *task,
			    const struct cube_mnode *node);
/* Encodes START into the node's outbox, or behind the files it needs. */
void cube_task_send_start(struct cube_tasks *t, struct cube_task *task, struct cube_mnode *node);
/* Fails the pending tasks of jobs whose nodes have all failed or gone. */
void cube_tasks_check_jobs(struct cube_tasks *t, const char *reason);
/* Queues a frame about an attempt, never ahead of its START. */
void cube_task_send(struct cube_task *task, struct cube_mnode *node, const struct cube_msg *msg);
/* signals.c: from the row of a loaded task; and those that wait, to one that can get them now. */
void cube_task_load_signals(struct cube_task *task);
void cube_task_send_signals(struct cube_tasks *t, struct cube_task *task);
/* input.c: sends again what the worker has not acknowledged, after a link came up. */
void cube_task_resend_input(struct cube_task *task, struct cube_mnode *node);
void cube_task_input_acked(struct cube_tasks *t, struct cube_task *task, uint64_t offset);

#endif
