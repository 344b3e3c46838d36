/* What becomes of the work on a node: the fleet tells. */
#include "seat.h"

#include <stdlib.h>

#include "cube/mem.h"
#include "cube/task.h"
#include "push.h"
#include "streams.h"
#include "work_impl.h"

static void on_added(void *arg, struct cube_node *node) {
	struct cube_seat *seat = node->seat = cube_alloc(sizeof *seat);
	seat->work = arg;
	cube_list_init(&seat->bound);
	cube_list_init(&seat->attempts);
	cube_list_init(&seat->files);
	cube_list_init(&seat->streams);
	cube_list_init(&seat->stream_bulk);
}

/* At the end of the manager its tasks are still there, and go with the work. */
static void on_removed(void *arg, struct cube_node *node) {
	struct cube_seat *seat = node->seat;
	cube_push_reset(node, true);
	cube_list_each (&seat->bound, task, struct cube_task, queue) cube_list_remove(&task->queue);
	cube_list_each (&seat->attempts, task, struct cube_task, queue)
		cube_list_remove(&task->queue);
	node->seat = NULL;
	free(seat);
}

static void on_listed(void *arg, struct cube_node *node) {
	cube_attempts_tell_strangers(arg, node);
}

static void on_ready(void *arg, struct cube_node *node, bool new_boot) {
	if (new_boot) cube_push_reset(node, true);
	cube_attempts_ready(arg, node, new_boot);
}

static void on_ended(void *arg, struct cube_node *node, const char *why) {
	cube_attempts_end(arg, node, why);
}

static bool is_idle(void *arg, const struct cube_node *node) {
	return cube_list_empty(&cube_seat_of(node)->attempts);
}

static void on_answered(void *arg, struct cube_node *node, uint64_t asked) {
	cube_signals_answered(arg, node, asked);
}

/* --- the links: streams, attempts and files --- */

static void streams_down(void *arg, struct cube_node *node, const char *why) {
	cube_streams_link_down(node, why);
}

static void attempts_down(void *arg, struct cube_node *node, const char *why) {
	struct cube_seat *seat = node->seat;
	cube_attempts_down(node);
	seat->signalled = false;
	seat->strangers = 0;
}

static void push_down(void *arg, struct cube_node *node, const char *why) {
	cube_push_reset(node, false);
}

void cube_seats_listen(struct cube_work *t) {
	t->listener = (struct cube_fleet_listener){
		.added = on_added,
		.removed = on_removed,
		.listed = on_listed,
		.ready = on_ready,
		.ended = on_ended,
		.idle = is_idle,
		.answered = on_answered,
		.arg = t,
	};
	t->receivers[0] = (struct cube_fleet_receiver){
		.first = CUBE_MSG_STREAM_OUTPUT,
		.last = CUBE_MSG_STREAM_CLOSED,
		.message = cube_streams_message,
		.pump = cube_streams_pump,
		.down = streams_down,
		.arg = t,
	};
	t->receivers[1] = (struct cube_fleet_receiver){
		.first = CUBE_MSG_ATTEMPT,
		.last = CUBE_MSG_STDIN_ACK,
		.message = cube_attempts_message,
		.down = attempts_down,
		.arg = t,
	};
	t->receivers[2] = (struct cube_fleet_receiver){
		.first = CUBE_MSG_PUSH_DONE,
		.last = CUBE_MSG_PUSH_DONE,
		.message = cube_push_message,
		.pump = cube_push_pump,
		.down = push_down,
		.arg = t,
	};
	cube_fleet_tell(t->is.fleet, &t->listener, t->receivers, 3);
}

void cube_work_counts(const struct cube_node *node, unsigned *ret_running, unsigned *ret_queued) {
	const struct cube_seat *seat = node->seat;
	*ret_running = *ret_queued = 0;
	cube_list_each (&seat->attempts, task, struct cube_task, queue)
		++*(task->row.state == CUBE_TASK_RUNNING ? ret_running : ret_queued);
	cube_list_each (&seat->bound, task, struct cube_task, queue) *ret_queued += task != NULL;
}
