/* Standard input of tasks: from a request to the worker, with at most 256 KiB not acknowledged,
 * which are kept so that a new link can be given them again. */
#include <string.h>

#include "cube/task.h"
#include "cube/fleet.h"
#include "work_impl.h"

static void send_input(struct cube_task *task, struct cube_node *node, uint64_t offset,
		       const uint8_t *bytes, size_t n, bool eof) {
	struct cube_msg msg = cube_task_msg(task, CUBE_MSG_STDIN);
	msg.data.offset = offset;
	msg.data.eof = eof;
	msg.data.bytes = (struct cube_slice){bytes, n};
	cube_task_send(task, node, &msg);
}

static struct cube_node *reachable(struct cube_work *t, const struct cube_task *task) {
	struct cube_node *node = cube_fleet_by_id(t->is.fleet, task->row.node);
	return node && cube_node_linked(node) && task->known ? node : NULL;
}

ssize_t cube_work_input(struct cube_work *t, struct cube_task *task, const void *bytes, size_t n,
			struct cube_err *err) {
	if (!task->job->spec.has_stdin)
		return cube_fail(err, CUBE_ECONFLICT,
				 "task %llu was not given a standard input (stdin: true)",
				 (unsigned long long)task->row.id);
	if (task->input_end)
		return cube_fail(err, CUBE_ECONFLICT, "the input of task %llu has ended",
				 (unsigned long long)task->row.id);
	size_t room = cube_buf_room(&task->input);
	if (n > room) n = room;
	uint64_t offset = task->input_acked + cube_buf_len(&task->input);
	int rc = cube_buf_add(&task->input, bytes, n);
	if (rc)
		return cube_fail(err, rc, "no memory for the input of task %llu",
				 (unsigned long long)task->row.id);
	struct cube_node *node = reachable(t, task);
	if (node && n) send_input(task, node, offset, bytes, n, false);
	return (ssize_t)n;
}

void cube_work_input_end(struct cube_work *t, struct cube_task *task) {
	struct cube_node *node = reachable(t, task);
	if (task->input_end) return;
	task->input_end = true;
	if (node)
		send_input(task, node, task->input_acked + cube_buf_len(&task->input), NULL, 0,
			   true);
}

void cube_task_resend_input(struct cube_task *task, struct cube_node *node) {
	if (!task->job->spec.has_stdin) return;
	if (cube_buf_len(&task->input) || task->input_end)
		send_input(task, node, task->input_acked, cube_buf_data(&task->input),
			   cube_buf_len(&task->input), task->input_end);
}

void cube_task_input_acked(struct cube_work *t, struct cube_task *task, uint64_t offset) {
	uint64_t held = cube_buf_len(&task->input);
	if (offset <= task->input_acked) return;
	uint64_t n = offset - task->input_acked;
	if (n > held) n = held;
	cube_buf_consume(&task->input, (size_t)n);
	task->input_acked += n;
	cube_task_tell(t, task);
}
