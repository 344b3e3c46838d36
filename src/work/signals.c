/* Signals to tasks. What cannot be handed to the task now is kept with it, in order and also over a
 * restart of the manager: while its node is away, and while its host has not started it. What was
 * sent is kept until an answer shows that the link carried it. */
#include <string.h>

#include "cube/task.h"
#include "cube/fleet.h"
#include "work_impl.h"

enum { BITS = 7 }; /* of a signal number in the row's value */

/* While a task has not ended, how and value of its row say what it is owed: see tasks.h. */
static void note(struct cube_work *t, struct cube_task *task) {
	int32_t value = 0;
	if (task->stopping) return;
	for (unsigned i = task->nsignals; i-- > 0;) value = value << BITS | task->signals[i];
	task->row.how = task->nsignals ? CUBE_EXIT_SIGNALED : 0;
	task->row.value = value;
	cube_task_changed(t, task);
}

void cube_task_load_signals(struct cube_task *task) {
	if (task->row.how != CUBE_EXIT_SIGNALED) return;
	for (int32_t v = task->row.value; v > 0 && task->nsignals < CUBE_TASK_SIGNALS; v >>= BITS)
		task->signals[task->nsignals++] = v & ((1 << BITS) - 1);
}

static struct cube_node *reachable(struct cube_work *t, const struct cube_task *task) {
	struct cube_node *node = cube_fleet_by_id(t->is.fleet, task->row.node);
	bool runs = task->row.state == CUBE_TASK_RUNNING && task->known;
	return node && runs && cube_node_linked(node) ? node : NULL;
}

static void send_signal(struct cube_task *task, struct cube_node *node, int signo) {
	struct cube_msg msg = cube_task_msg(task, CUBE_MSG_SIGNAL);
	msg.signal.signo = signo;
	cube_task_send(task, node, &msg);
	task->signalled = cube_loop_now(cube_seat_of(node)->work->is.turn->loop);
	cube_seat_of(node)->signalled = true;
}

int cube_work_signal(struct cube_work *t, struct cube_task *task, int signo, bool *ret_waits,
		     struct cube_err *err) {
	struct cube_node *node = reachable(t, task);
	*ret_waits = !node;
	if (!memchr(task->signals, signo, task->nsignals)) {
		if (task->nsignals == CUBE_TASK_SIGNALS)
			return cube_fail(err, CUBE_ECONFLICT,
					 "task %llu has %d other signals waiting for it already",
					 (unsigned long long)task->row.id, CUBE_TASK_SIGNALS);
		task->signals[task->nsignals++] = (uint8_t)signo;
		note(t, task);
	}
	if (node) send_signal(task, node, signo);
	return 0;
}

void cube_task_send_signals(struct cube_work *t, struct cube_task *task) {
	struct cube_node *node = reachable(t, task);
	for (unsigned i = 0; node && i < task->nsignals; i++)
		send_signal(task, node, task->signals[i]);
}

void cube_signals_answered(struct cube_work *t, struct cube_node *node, uint64_t asked) {
	bool more = false;
	if (!cube_seat_of(node)->signalled) return;
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		if (!task->signalled) continue;
		if (task->signalled >= asked) {
			more = true;
			continue;
		}
		task->signalled = task->nsignals = 0;
		note(t, task);
	}
	cube_seat_of(node)->signalled = more;
}
