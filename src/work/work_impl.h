/* Shared by the files of this folder: work.c (the whole), tasks.c (the set and its changes),
 * place.c, stop.c, attempts.c (what workers say), signals.c, input.c, push.c and seat.c (a node's
 * part of it). */
#ifndef CUBE_WORK_IMPL_H
#define CUBE_WORK_IMPL_H

#include "ids.h"
#include "cube/task.h"
#include "cube/work.h"
#include "seat.h"

struct cube_work {
	struct cube_turn_hook hook;
	struct cube_work_parts is;
	struct cube_map tasks;
	unsigned active;
	unsigned pending;     /* of those, tasks that wait for a place */
	struct cube_map jobs; /* with tasks in memory */
	struct cube_list
		waiting; /* .. those with tasks that may run on any of several nodes, and wait */
	struct cube_list ending;  /* .. those whose pending tasks are being stopped */
	struct cube_timer *again; /* there is more to end */
	struct cube_list changed; /* struct cube_task.changes */
	struct cube_subscribers subscribers;
	struct cube_ids *ids;
	size_t cursor;                 /* round robin */
	struct cube_list uses;         /* uses.c */
	struct cube_list streams_over; /* streams.c: their clients still read */
	struct cube_fleet_listener listener;
	struct cube_fleet_receiver receivers[3];
};

/* The one setter of a state: checks, persists (with the turn), adds the event. A final state
 * takes the task off its node; it is freed at the next flush. */
void cube_task_set(struct cube_work *t, struct cube_task *task, enum cube_task_state state,
		   const char *reason);
/* The row goes to the store and subscribers are called, once this turn. */
void cube_task_changed(struct cube_work *t, struct cube_task *task);
/* The same where the row has nothing new: what is owed its worker goes out, subscribers are called.
 */
void cube_task_tell(struct cube_work *t, struct cube_task *task);
/* Ends an attempt that no worker will report: how, and why for a person. */
void cube_task_end(struct cube_work *t, struct cube_task *task, uint8_t how, int32_t value,
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
void cube_task_next_attempt(struct cube_work *t, struct cube_task *task,
			    const struct cube_node *node);
/* Encodes START into the node's outbox, or behind the files it needs. */
void cube_task_send_start(struct cube_work *t, struct cube_task *task, struct cube_node *node);
/* Fails the pending tasks of jobs whose nodes have all failed or gone. */
void cube_jobs_check(struct cube_work *t, const char *reason);
/* Queues a frame about an attempt, never ahead of its START. */
void cube_task_send(struct cube_task *task, struct cube_node *node, const struct cube_msg *msg);
/* signals.c: from the row of a loaded task; and those that wait, to one that can get them now. */
void cube_task_load_signals(struct cube_task *task);
void cube_task_send_signals(struct cube_work *t, struct cube_task *task);
/* input.c: sends again what the worker has not acknowledged, after a link came up. */
void cube_task_resend_input(struct cube_task *task, struct cube_node *node);
void cube_task_input_acked(struct cube_work *t, struct cube_task *task, uint64_t offset);

/* tasks.c */
struct cube_job *cube_job_new(struct cube_work *t, uint64_t id, uint64_t first, uint32_t count);
struct cube_task *cube_task_new(struct cube_work *t, struct cube_job *job,
				const struct cube_task_row *row);
/* It waits for a place: of its job, or bound to its node; and does not any more. */
void cube_task_queue(struct cube_work *t, struct cube_task *task);
void cube_task_unqueue(struct cube_work *t, struct cube_task *task);
/* It is the node's from now on. */
void cube_seat_take(struct cube_node *node, struct cube_task *task);
void cube_tasks_free(struct cube_work *t); /* all of them, and their jobs */

/* stop.c: some of what is being stopped ends. */
void cube_jobs_end_some(struct cube_work *t);

/* seat.c: what nodes tell. */
void cube_seats_listen(struct cube_work *t);

/* attempts.c */
int cube_attempts_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
			  struct cube_err *err);
/* By an event: attempts that were listed and that this database cannot have started. */
void cube_attempts_tell_strangers(struct cube_work *t, struct cube_node *node);
/* After the READY message; new_boot: of another daemon than the one these tasks were given to. */
void cube_attempts_ready(struct cube_work *t, struct cube_node *node, bool new_boot);
void cube_attempts_down(struct cube_node *node);
/* The node will not come (back): its tasks fail with the reason; bound ones too. */
void cube_attempts_end(struct cube_work *t, struct cube_node *node, const char *reason);

/* signals.c: the worker answered what was asked at that time: it has got what was sent before. */
void cube_signals_answered(struct cube_work *t, struct cube_node *node, uint64_t asked);

#endif
