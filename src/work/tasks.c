#include "cube/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "push.h"
#include "work_impl.h"

#define TASKS_MAX 1000000u
#define INPUT_MAX (256u << 10)

/* --- the set --- */

static struct cube_task *task_of(struct cube_map_entry *e) {
	return e ? cube_container(e, struct cube_task, entry) : NULL;
}

static struct cube_job *job_of(struct cube_map_entry *e) {
	return e ? cube_container(e, struct cube_job, entry) : NULL;
}

static struct cube_task *find(struct cube_work *t, uint64_t id) {
	return task_of(cube_map_find(&t->tasks, id));
}

struct cube_task *cube_work_find(struct cube_work *t, uint64_t id) {
	struct cube_task *task = find(t, id);
	return task && !cube_task_final(task->row.state) ? task : NULL;
}

const struct cube_task_row *cube_work_row(struct cube_work *t, uint64_t id,
					  const char **ret_reason) {
	const struct cube_task *task = find(t, id);
	if (!task) return NULL;
	*ret_reason = task->reason ? task->reason : "";
	return &task->row;
}

const struct cube_job *cube_work_job(const struct cube_work *t, uint64_t id) {
	return job_of(cube_map_find(&t->jobs, id));
}

unsigned cube_work_active(const struct cube_work *t) {
	return t->active;
}

void cube_work_each(struct cube_work *t, void (*fn)(void *, struct cube_task *), void *arg) {
	struct cube_task *task = task_of(cube_map_next(&t->tasks, NULL));
	for (; task; task = task_of(cube_map_next(&t->tasks, &task->entry)))
		if (!cube_task_final(task->row.state)) fn(arg, task);
}

struct cube_task *cube_task_new(struct cube_work *t, struct cube_job *job,
				const struct cube_task_row *row) {
	struct cube_task *task = cube_alloc(sizeof *task);
	task->row = *row;
	task->row.reason = NULL;
	task->job = job;
	task->stop_grace_ms = UINT32_MAX;
	cube_buf_init(&task->input, job->spec.has_stdin ? INPUT_MAX : 0);
	cube_map_add(&t->tasks, &task->entry, row->id);
	job->tasks++;
	t->active++;
	return task;
}

struct cube_job *cube_job_new(struct cube_work *t, uint64_t id, uint64_t first, uint32_t count) {
	struct cube_job *job = cube_alloc(sizeof *job);
	job->id = id;
	job->first = first;
	job->count = count;
	cube_list_init(&job->pending);
	cube_map_add(&t->jobs, &job->entry, id);
	return job;
}

static void job_free(struct cube_work *t, struct cube_job *job) {
	cube_map_remove(&t->jobs, &job->entry);
	cube_list_remove(&job->waiting);
	cube_list_remove(&job->ending);
	cube_spec_done(&job->spec);
	free(job->nodes);
	free(job);
}

static void task_free(struct cube_work *t, struct cube_task *task) {
	cube_list_remove(&task->queue);
	cube_map_remove(&t->tasks, &task->entry);
	cube_list_remove(&task->changes);
	cube_buf_done(&task->input);
	free(task->reason);
	free(task->refused);
	if (--task->job->tasks == 0) job_free(t, task->job);
	free(task);
}

void cube_tasks_free(struct cube_work *t) {
	struct cube_task *task = task_of(cube_map_next(&t->tasks, NULL)), *next;
	for (; task; task = next) {
		next = task_of(cube_map_next(&t->tasks, &task->entry));
		task_free(t, task);
	}
}

/* --- changes --- */

void cube_task_tell(struct cube_work *t, struct cube_task *task) {
	task->tell = true;
	if (!cube_list_linked(&task->changes)) cube_list_append(&t->changed, &task->changes);
}

void cube_task_changed(struct cube_work *t, struct cube_task *task) {
	task->row_changed = true;
	cube_task_tell(t, task);
}

void cube_task_set(struct cube_work *t, struct cube_task *task, enum cube_task_state state,
		   const char *reason) {
	enum cube_task_state old = task->row.state;
	if (!cube_task_allows(old, state)) {
		cube_error("task %llu cannot go from %s to %s", (unsigned long long)task->row.id,
			   cube_task_state_name(old), cube_task_state_name(state));
		return;
	}
	task->row.state = (uint8_t)state;
	if (*reason) {
		free(task->reason);
		task->reason = cube_strdup(reason);
	}
	cube_debug("task %llu: %s -> %s %s", (unsigned long long)task->row.id,
		   cube_task_state_name(old), cube_task_state_name(state), reason);
	cube_task_changed(t, task);
	cube_events_task(t->is.events, task->row.id, task->row.node, cube_task_state_name(old),
			 cube_task_state_name(state), reason);
	if (!cube_task_final(state)) return;
	struct cube_node *node = cube_fleet_by_id(t->is.fleet, task->row.node);
	if (node && old != CUBE_TASK_PENDING && cube_list_linked(&task->queue))
		cube_seat_of(node)->load--;
	cube_list_remove(&task->queue);
	t->active--;
}

void cube_task_end(struct cube_work *t, struct cube_task *task, uint8_t how, int32_t value,
		   const char *reason) {
	bool was_running = task->row.state == CUBE_TASK_RUNNING;
	if (task->row.state == CUBE_TASK_PENDING)
		cube_task_unqueue(t, task); /* it is on no node: nothing to take off there */
	task->row.how = how;
	task->row.value = value;
	if (!task->row.finished) task->row.finished = cube_clock_wall();
	enum cube_task_state outcome = cube_task_outcome(how, value, was_running);
	/* What never ran cannot have completed; a start that was not reported did run. */
	if (outcome == CUBE_TASK_COMPLETED && !was_running)
		cube_task_set(t, task, CUBE_TASK_RUNNING, "");
	cube_task_set(t, task, outcome, reason);
}

void cube_task_send(struct cube_task *task, struct cube_node *node, const struct cube_msg *msg) {
	const struct cube_spec *spec = &task->job->spec;
	cube_node_send_into(node, cube_push_behind(node, spec->files, spec->nfiles), msg);
}

static void ack(struct cube_task *task, struct cube_node *node, uint8_t stream, uint64_t offset) {
	struct cube_msg msg = cube_task_msg(task, CUBE_MSG_ACK);
	msg.ack.stream = stream;
	msg.ack.offset = offset;
	cube_node_send(node, &msg);
}

void cube_work_flush(struct cube_work *t) {
	cube_list_each (&t->changed, task, struct cube_task, changes) {
		if (task->row_changed) continue; /* since the commit: the next turn's */
		cube_list_remove(&task->changes);
		struct cube_node *node = cube_fleet_by_id(t->is.fleet, task->row.node);
		bool final = cube_task_final(task->row.state);
		if (node && task->ack_out && !final)
			ack(task, node, CUBE_STDOUT, task->row.out_end);
		if (node && task->ack_err && !final)
			ack(task, node, CUBE_STDERR, task->row.err_end);
		task->ack_out = task->ack_err = false;
		struct cube_msg forget = cube_task_msg(task, CUBE_MSG_FORGET);
		if (node && final && task->row.attempt) cube_node_send(node, &forget);
		if (task->tell) cube_subscribers_tell(&t->subscribers, task->row.id);
		task->tell = false;
		if (final) task_free(t, task);
	}
}

void cube_work_subscribe(struct cube_work *t, struct cube_subscriber *s) {
	cube_subscriber_add(&t->subscribers, s);
}

/* --- adding --- */

/* What is new does not wait for a person either. */
static bool is_out(const struct cube_node *node, bool is_new) {
	return cube_node_is_out(node) || (is_new && (node->state == CUBE_NODE_NEEDS_LOGIN ||
						     node->state == CUBE_NODE_FAILED));
}

/* A job that may run on some nodes only waits for them; when the last of them failed or went, its
 * tasks would wait for ever. */
static void check_job(struct cube_work *t, struct cube_job *job, const char *reason, bool is_new) {
	for (size_t i = 0; i < job->nnodes; i++) {
		struct cube_node *node = cube_fleet_by_id(t->is.fleet, job->nodes[i]);
		if (node && !is_out(node, is_new)) return;
		if (node && *node->reason) reason = node->reason;
	}
	if (!job->nnodes) return;
	cube_list_each (&job->pending, task, struct cube_task, queue) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, reason);
	}
}

void cube_jobs_check(struct cube_work *t, const char *reason) {
	struct cube_job *job = job_of(cube_map_next(&t->jobs, NULL));
	for (; job; job = job_of(cube_map_next(&t->jobs, &job->entry)))
		check_job(t, job, reason, false);
}

static int put_job(struct cube_work *t, const struct cube_job *job, const char *spec_json,
		   const char *request, uint32_t count, int64_t now, struct cube_err *err) {
	struct cube_store *s = cube_turn_tx(t->is.turn);
	struct cube_job_row row = {
		.id = job->id,
		.created = now,
		.name = job->spec.name ? job->spec.name : "",
		.spec = spec_json,
		.tasks = count,
		.request = request,
	};
	return s->ops->job_put(s, &row, err);
}

void cube_task_queue(struct cube_work *t, struct cube_task *task) {
	struct cube_job *job = task->job;
	struct cube_node *node =
		task->row.pinned ? cube_fleet_by_id(t->is.fleet, task->row.node) : NULL;
	cube_list_append(node ? &cube_seat_of(node)->bound : &job->pending, &task->queue);
	struct cube_list *in = job->stop ? &job->ending : &job->waiting;
	if (!node && !cube_list_linked(in))
		cube_list_append(job->stop ? &t->ending : &t->waiting, in);
	t->pending++;
}

void cube_task_unqueue(struct cube_work *t, struct cube_task *task) {
	if (!cube_list_linked(&task->queue)) return;
	cube_list_remove(&task->queue);
	if (cube_list_empty(&task->job->pending)) {
		cube_list_remove(&task->job->waiting);
		cube_list_remove(&task->job->ending);
	}
	t->pending--;
}

void cube_seat_take(struct cube_node *node, struct cube_task *task) {
	struct cube_seat *seat = node->seat;
	cube_list_append(&seat->attempts, &task->queue);
	seat->load++;
}

int cube_work_add(struct cube_work *t, struct cube_work_request *r, uint64_t *ret_job,
		  uint64_t *ret_first, uint32_t *ret_count, struct cube_err *err) {
	uint64_t count = r->all ? r->nnodes : r->count;
	if (r->all && !count)
		return cube_fail(err, CUBE_ECONFLICT, "there is no node; add some with cube spawn");
	if (count < 1 || count > TASKS_MAX || t->active + count > 4u * TASKS_MAX)
		return cube_fail(err, CUBE_ETOOBIG, "count: 1 to %u tasks", TASKS_MAX);
	if (r->spec.has_stdin && count != 1)
		return cube_fail(err, CUBE_EUSAGE, "stdin: only one task can have it, not %u",
				 (unsigned)count);
	int64_t now = cube_clock_wall();
	int rc = cube_ids_take(t->ids, (uint32_t)count, ret_job, ret_first, err);
	if (rc) return rc;
	struct cube_job *job = cube_job_new(t, *ret_job, *ret_first, (uint32_t)count);
	job->spec = r->spec;
	memset(&r->spec, 0, sizeof r->spec);
	if (r->nnodes && !r->all) {
		job->nodes = cube_realloc_array(NULL, r->nnodes, sizeof *job->nodes);
		memcpy(job->nodes, r->nodes, r->nnodes * sizeof *job->nodes);
		job->nnodes = r->nnodes;
	}
	struct cube_err store_err;
	rc = put_job(t, job, r->spec_json, r->request, (uint32_t)count, now, &store_err);
	cube_turn_must(t->is.turn, rc, &store_err);
	*ret_count = (uint32_t)count;
	for (uint32_t i = 0; i < count; i++) {
		struct cube_task_row row = {
			.id = *ret_first + i, .job = job->id, .index = i, .created = now};
		if (r->all) row.node = r->nodes[i], row.pinned = true;
		struct cube_task *task = cube_task_new(t, job, &row);
		cube_task_queue(t, task);
		cube_task_changed(t, task);
		cube_events_task(t->is.events, row.id, row.node, "", "pending", "");
		struct cube_node *node = r->all ? cube_fleet_by_id(t->is.fleet, row.node) : NULL;
		if (node && is_out(node, true))
			cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, node->reason);
	}
	check_job(t, job, "no node is left that it may run on", true);
	return 0;
}
