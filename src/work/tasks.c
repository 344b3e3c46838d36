#include "cube/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/sched.h"
#include "cube/task.h"
#include "cube/events.h"
#include "cube/nodes.h"
#include "cube/spec_json.h"
#include "tasks_impl.h"

#define TASKS_MAX 1000000u
#define INPUT_MAX (256u << 10)

/* The changed rows, ahead of a commit. */
static void persist(void *arg) {
	struct cube_tasks *t = arg;
	struct cube_err err;
	cube_list_each (&t->changed, task, struct cube_task, changes) {
		if (!task->row_changed) continue;
		struct cube_store *s = cube_turn_tx(&t->m->turn);
		struct cube_task_row row = task->row;
		row.reason = task->reason ? task->reason : "";
		cube_turn_must(&t->m->turn, s->ops->task_put(s, &row, &err), &err);
		task->row_changed = false;
	}
}

/* --- the set --- */

int cube_tasks_new(struct cube_manager *m, struct cube_tasks **ret, struct cube_err *err) {
	uint32_t node;
	uint64_t job = 0, task = 0;
	struct cube_tasks *t = cube_alloc(sizeof *t);
	t->m = m;
	t->nbuckets = 1024;
	t->buckets = cube_realloc_array(NULL, t->nbuckets, sizeof *t->buckets);
	for (size_t i = 0; i < t->nbuckets; i++) cube_list_init(&t->buckets[i]);
	cube_list_init(&t->jobs);
	cube_list_init(&t->changed);
	cube_list_init(&t->watchers);
	int rc = m->store->ops->last_ids(m->store, &job, &task, &node, err);
	if (!rc)
		rc = cube_ids_open(m->kept ? m->paths.state : NULL, m->cluster, job, task, &t->ids,
				   err);
	if (rc) {
		cube_tasks_free(t);
		return rc;
	}
	t->hook = (struct cube_turn_hook){.before = persist, .arg = t};
	cube_turn_hook_add(&m->turn, &t->hook);
	*ret = t;
	return 0;
}

static struct cube_link *bucket(struct cube_tasks *t, uint64_t id) {
	return &t->buckets[id & (t->nbuckets - 1)];
}

static void grow(struct cube_tasks *t) {
	size_t n = t->nbuckets * 4, old = t->nbuckets;
	struct cube_link *from = t->buckets;
	t->buckets = cube_realloc_array(NULL, n, sizeof *t->buckets);
	t->nbuckets = n;
	for (size_t i = 0; i < n; i++) cube_list_init(&t->buckets[i]);
	for (size_t i = 0; i < old; i++) {
		cube_list_each (&from[i], task, struct cube_task, bucket) {
			cube_list_remove(&task->bucket);
			cube_list_append(bucket(t, task->row.id), &task->bucket);
		}
	}
	free(from);
}

struct cube_task *cube_tasks_find(struct cube_tasks *t, uint64_t id) {
	cube_list_each (bucket(t, id), task, struct cube_task, bucket) {
		if (task->row.id == id && !cube_task_final(task->row.state)) return task;
	}
	return NULL;
}

unsigned cube_tasks_active(const struct cube_tasks *t) {
	return t->active;
}

void cube_tasks_each(struct cube_tasks *t, void (*fn)(void *, struct cube_task *), void *arg) {
	for (size_t i = 0; i < t->nbuckets; i++) {
		cube_list_each (&t->buckets[i], task, struct cube_task, bucket) {
			if (!cube_task_final(task->row.state)) fn(arg, task);
		}
	}
}

static struct cube_task *task_new(struct cube_tasks *t, struct cube_job *job,
				  const struct cube_task_row *row) {
	if (t->active >= t->nbuckets * 2) grow(t);
	struct cube_task *task = cube_alloc(sizeof *task);
	task->row = *row;
	task->row.reason = NULL;
	task->job = job;
	task->stop_grace_ms = UINT32_MAX;
	cube_buf_init(&task->input, job->spec.has_stdin ? INPUT_MAX : 0);
	cube_list_append(bucket(t, row->id), &task->bucket);
	job->tasks++;
	t->active++;
	return task;
}

static struct cube_job *job_new(struct cube_tasks *t, uint64_t id) {
	struct cube_job *job = cube_alloc(sizeof *job);
	job->id = id;
	cube_list_init(&job->pending);
	cube_list_append(&t->jobs, &job->link);
	return job;
}

static void job_free(struct cube_job *job) {
	cube_list_remove(&job->link);
	cube_spec_done(&job->spec);
	free(job->nodes);
	free(job);
}

static void task_free(struct cube_task *task) {
	cube_list_remove(&task->queue);
	cube_list_remove(&task->bucket);
	cube_list_remove(&task->changes);
	cube_buf_done(&task->input);
	free(task->reason);
	free(task->refused);
	if (--task->job->tasks == 0) job_free(task->job);
	free(task);
}

void cube_tasks_free(struct cube_tasks *t) {
	if (!t) return;
	cube_turn_hook_remove(&t->hook);
	for (size_t i = 0; i < t->nbuckets; i++) {
		cube_list_each (&t->buckets[i], task, struct cube_task, bucket) task_free(task);
	}
	cube_ids_close(t->ids);
	free(t->buckets);
	free(t);
}

/* --- changes --- */

void cube_task_changed(struct cube_tasks *t, struct cube_task *task) {
	task->row_changed = task->tell = true;
	if (!cube_link_linked(&task->changes)) cube_list_append(&t->changed, &task->changes);
}

void cube_task_set(struct cube_tasks *t, struct cube_task *task, enum cube_task_state state,
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
	cube_events_task(t->m->events, task->row.id, task->row.node, cube_task_state_name(old),
			 cube_task_state_name(state), reason);
	if (!cube_task_final(state)) return;
	struct cube_mnode *node = cube_nodes_by_id(t->m->nodes, task->row.node);
	if (node && old != CUBE_TASK_PENDING && cube_link_linked(&task->queue)) node->load--;
	cube_list_remove(&task->queue);
	t->active--;
}

void cube_task_end(struct cube_tasks *t, struct cube_task *task, uint8_t how, int32_t value,
		   const char *reason) {
	bool was_running = task->row.state == CUBE_TASK_RUNNING;
	if (task->row.state == CUBE_TASK_PENDING) {
		cube_list_remove(&task->queue); /* it is on no node: nothing to take off there */
		cube_task_set(t, task, CUBE_TASK_SCHEDULED, reason);
	}
	task->row.how = how;
	task->row.value = value;
	if (!task->row.finished) task->row.finished = cube_clock_wall();
	enum cube_task_state outcome = cube_task_outcome(how, value, was_running);
	/* What never ran cannot have completed; a start that was not reported did run. */
	if (outcome == CUBE_TASK_COMPLETED && !was_running)
		cube_task_set(t, task, CUBE_TASK_RUNNING, "");
	cube_task_set(t, task, outcome, reason);
}

void cube_task_send(struct cube_task *task, struct cube_mnode *node, const struct cube_msg *msg) {
	const struct cube_spec *spec = &task->job->spec;
	cube_node_send_into(node, cube_push_behind(node, spec->files, spec->nfiles), msg);
}

static void ack(struct cube_task *task, struct cube_mnode *node, uint8_t stream, uint64_t offset) {
	struct cube_msg msg = cube_task_msg(task, CUBE_MSG_ACK);
	msg.ack.stream = stream;
	msg.ack.offset = offset;
	cube_node_send(node, &msg);
}

static void tell(struct cube_tasks *t, uint64_t id) {
	struct cube_link todo; /* a watcher may go, or take others along */
	cube_list_init(&todo);
	while (!cube_list_empty(&t->watchers)) {
		struct cube_link *l = t->watchers.next;
		cube_list_remove(l);
		cube_list_append(&todo, l);
	}
	while (!cube_list_empty(&todo)) {
		struct cube_link *l = todo.next;
		cube_list_remove(l);
		cube_list_append(&t->watchers, l);
		struct cube_tasks_watcher *w = cube_container(l, struct cube_tasks_watcher, link);
		if (id >= w->first && id <= w->last) w->changed(w->arg, id);
	}
}

void cube_tasks_flush(struct cube_tasks *t) {
	cube_list_each (&t->changed, task, struct cube_task, changes) {
		if (task->row_changed) continue; /* since the commit: the next turn's */
		cube_list_remove(&task->changes);
		struct cube_mnode *node = cube_nodes_by_id(t->m->nodes, task->row.node);
		bool final = cube_task_final(task->row.state);
		if (node && task->ack_out && !final)
			ack(task, node, CUBE_STDOUT, task->row.out_end);
		if (node && task->ack_err && !final)
			ack(task, node, CUBE_STDERR, task->row.err_end);
		task->ack_out = task->ack_err = false;
		struct cube_msg forget = cube_task_msg(task, CUBE_MSG_FORGET);
		if (node && final && task->row.attempt) cube_node_send(node, &forget);
		if (task->tell) tell(t, task->row.id);
		task->tell = false;
		if (final) task_free(task);
	}
}

void cube_tasks_watch(struct cube_tasks *t, struct cube_tasks_watcher *w) {
	cube_list_append(&t->watchers, &w->link);
}

void cube_tasks_unwatch(struct cube_tasks_watcher *w) {
	cube_list_remove(&w->link);
}

/* --- adding --- */

/* What is new does not wait for a person either. */
static bool is_out(const struct cube_mnode *node, bool is_new) {
	return cube_node_is_out(node) || (is_new && (node->state == CUBE_NODE_NEEDS_LOGIN ||
						     node->state == CUBE_NODE_FAILED));
}

/* A job that may run on some nodes only waits for them; when the last of them failed or went, its
 * tasks would wait for ever. */
static void check_job(struct cube_tasks *t, struct cube_job *job, const char *reason, bool is_new) {
	for (size_t i = 0; i < job->nnodes; i++) {
		struct cube_mnode *node = cube_nodes_by_id(t->m->nodes, job->nodes[i]);
		if (node && !is_out(node, is_new)) return;
		if (node && *node->reason) reason = node->reason;
	}
	if (!job->nnodes) return;
	cube_list_each (&job->pending, task, struct cube_task, queue) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, reason);
	}
}

void cube_tasks_check_jobs(struct cube_tasks *t, const char *reason) {
	cube_list_each (&t->jobs, job, struct cube_job, link) check_job(t, job, reason, false);
}

static int put_job(struct cube_tasks *t, const struct cube_job *job, const char *spec_json,
		   const char *request, uint32_t count, int64_t now, struct cube_err *err) {
	struct cube_store *s = cube_turn_tx(&t->m->turn);
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

static void queue_pending(struct cube_tasks *t, struct cube_task *task) {
	struct cube_mnode *node =
		task->row.pinned ? cube_nodes_by_id(t->m->nodes, task->row.node) : NULL;
	cube_list_append(node ? &node->bound : &task->job->pending, &task->queue);
}

int cube_tasks_add(struct cube_tasks *t, struct cube_tasks_request *r, uint64_t *ret_job,
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
	struct cube_job *job = job_new(t, *ret_job);
	job->spec = r->spec;
	memset(&r->spec, 0, sizeof r->spec);
	if (r->nnodes && !r->all) {
		job->nodes = cube_realloc_array(NULL, r->nnodes, sizeof *job->nodes);
		memcpy(job->nodes, r->nodes, r->nnodes * sizeof *job->nodes);
		job->nnodes = r->nnodes;
	}
	struct cube_err store_err;
	rc = put_job(t, job, r->spec_json, r->request, (uint32_t)count, now, &store_err);
	cube_turn_must(&t->m->turn, rc, &store_err);
	*ret_count = (uint32_t)count;
	for (uint32_t i = 0; i < count; i++) {
		struct cube_task_row row = {
			.id = *ret_first + i, .job = job->id, .index = i, .created = now};
		if (r->all) row.node = r->nodes[i], row.pinned = true;
		struct cube_task *task = task_new(t, job, &row);
		queue_pending(t, task);
		cube_task_changed(t, task);
		cube_events_task(t->m->events, row.id, row.node, "", "pending", "");
		struct cube_mnode *node = r->all ? cube_nodes_by_id(t->m->nodes, row.node) : NULL;
		if (node && is_out(node, true))
			cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, node->reason);
	}
	check_job(t, job, "no node is left that it may run on", true);
	persist(t);
	return 0;
}

/* --- placing --- */

void cube_task_send_start(struct cube_tasks *t, struct cube_task *task, struct cube_mnode *node) {
	const struct cube_spec *spec = &task->job->spec;
	struct cube_err err;
	struct cube_buf *out = cube_push_need(node, spec->files, spec->nfiles, &err);
	if (!out) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, err.sys, err.msg);
		return;
	}
	static const char *const none[] = {NULL};
	struct cube_msg_start start = {
		.task = task->row.id,
		.epoch = task->row.epoch,
		.attempt = task->row.attempt,
		.argv = (const char *const *)spec->argv.v,
		.env = spec->env.v ? (const char *const *)spec->env.v : none,
		.dir = spec->dir ? spec->dir : "",
		.timeout_ms = spec->timeout_ms,
		.grace_ms = spec->grace_ms,
		.flags = (spec->has_stdin ? CUBE_START_STDIN : 0) |
			 (spec->login ? CUBE_START_LOGIN : 0),
		.files = spec->files,
		.nfiles = spec->nfiles,
	};
	size_t room = cube_buf_room(out);
	task->known = task->sent = true;
	if (cube_msg_encode_start(out, &start) == 0) return;
	if (room < CUBE_FRAME_MAX + 4) {
		cube_node_choke(node); /* sent again over the next link */
		return;
	}
	cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, E2BIG,
		      "its arguments, environment and files do not fit in one message of 1 MiB");
}

void cube_task_next_attempt(struct cube_tasks *t, struct cube_task *task,
			    const struct cube_mnode *node) {
	if (task->row.attempt < task->above) task->row.attempt = task->above;
	task->row.attempt++;
	task->row.epoch = node->features & CUBE_FEATURE_EPOCH ? t->m->epoch : 0;
	task->row.out_end = task->row.err_end = 0;
	cube_task_changed(t, task);
}

static void place(struct cube_tasks *t, struct cube_task *task, struct cube_mnode *node) {
	cube_list_remove(&task->queue);
	cube_list_append(&node->attempts, &task->queue);
	node->load++;
	task->row.node = node->id;
	cube_task_next_attempt(t, task, node);
	cube_task_set(t, task, CUBE_TASK_SCHEDULED, "");
	cube_task_send_start(t, task, node);
	if (!cube_task_final(task->row.state)) cube_task_resend_input(task, node);
}

/* A snapshot of the nodes for the scheduler, and back. */
struct board {
	struct cube_sched_node *v;
	struct cube_mnode **nodes;
	size_t len;
	uint64_t room; /* slots and prefetch places left */
};

static uint32_t room_of(const struct cube_sched_node *n) {
	uint32_t most = n->slots + n->extra;
	return n->ready && most > n->load ? most - n->load : 0;
}

static void board_make(struct cube_tasks *t, struct board *b) {
	b->v = cube_realloc_array(NULL, cube_nodes_count(t->m->nodes), sizeof *b->v);
	b->nodes = cube_realloc_array(NULL, cube_nodes_count(t->m->nodes), sizeof *b->nodes);
	cube_list_each (cube_nodes_list(t->m->nodes), node, struct cube_mnode, link) {
		struct cube_sched_node *n = &b->v[b->len];
		*n = (struct cube_sched_node){
			.id = node->id,
			.ready = node->state == CUBE_NODE_READY && cube_node_can_take(node),
			.slots = node->slots,
			.load = node->load,
			.extra = cube_sched_prefetch(node->slots, node->mean_ns),
		};
		b->nodes[b->len++] = node;
		b->room += room_of(n);
	}
}

static void board_place(struct cube_tasks *t, struct board *b, size_t i, struct cube_task *task) {
	struct cube_sched_node *n = &b->v[i];
	n->load++;
	b->room--;
	place(t, task, b->nodes[i]);
	if (cube_node_can_take(b->nodes[i])) return;
	b->room -= room_of(n); /* more when it has taken this */
	n->ready = false;
}

static bool job_allows(void *arg, uint32_t id) {
	const struct cube_job *job = arg;
	if (!job->nnodes) return true;
	for (size_t i = 0; i < job->nnodes; i++) {
		if (job->nodes[i] == id) return true;
	}
	return false;
}

static void place_bound(struct cube_tasks *t, struct board *b) {
	for (size_t i = 0; i < b->len; i++) {
		cube_list_each (&b->nodes[i]->bound, task, struct cube_task, queue) {
			if (!room_of(&b->v[i])) break;
			board_place(t, b, i, task);
		}
	}
}

/* Jobs in the order they came; a job that finds no place does not hold the next one up, and no
 * task of it can have one either, so the cost is bounded by the number of places. */
static void place_free(struct cube_tasks *t, struct board *b) {
	cube_list_each (&t->jobs, job, struct cube_job, link) {
		if (!b->room) return;
		while (!cube_list_empty(&job->pending)) {
			int i = cube_sched_round_robin(b->v, b->len, &t->cursor, job_allows, job);
			if (i < 0) break;
			board_place(t, b, (size_t)i,
				    cube_container(job->pending.next, struct cube_task, queue));
		}
	}
}

void cube_tasks_tick(struct cube_tasks *t) {
	if (t->active && cube_nodes_count(t->m->nodes)) {
		struct board b = {0};
		board_make(t, &b);
		if (b.room) {
			place_bound(t, &b);
			place_free(t, &b);
		}
		free(b.v);
		free(b.nodes);
	}
	persist(t);
}

/* --- ends on request --- */

void cube_tasks_stop(struct cube_tasks *t, struct cube_task *task, uint32_t grace_ms) {
	struct cube_mnode *node = cube_nodes_by_id(t->m->nodes, task->row.node);
	task->stopping = true;
	task->stop_grace_ms = grace_ms == UINT32_MAX ? task->job->spec.grace_ms : grace_ms;
	if (task->row.state == CUBE_TASK_PENDING) {
		cube_task_end(t, task, CUBE_EXIT_STOPPED, 0, "stopped before it started");
		persist(t);
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

/* --- after a restart --- */

struct load {
	struct cube_tasks *t;
	struct cube_job *job;
	int rc;
	struct cube_err err;
};

static int load_job(void *arg, const struct cube_job_row *row) {
	struct load *l = arg;
	json_t *o = json_loads(row->spec, 0, NULL);
	l->job = job_new(l->t, row->id);
	l->rc = cube_spec_from_json(&l->job->spec, o, &l->err);
	const json_t *nodes = json_object_get(o, "nodes");
	size_t n = json_is_true(json_object_get(o, "all")) ? 0 : json_array_size(nodes);
	l->job->nodes = n ? cube_realloc_array(NULL, n, sizeof *l->job->nodes) : NULL;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(nodes, i));
		struct cube_mnode *node = name ? cube_nodes_find(l->t->m->nodes, name) : NULL;
		l->job->nodes[l->job->nnodes++] = node ? node->id : 0;
	}
	json_decref(o);
	return 0;
}

static int load_task(void *arg, const struct cube_task_row *row) {
	struct load *l = arg;
	struct cube_tasks *t = l->t;
	struct cube_store *s = t->m->store;
	if (!l->job || l->job->id != row->job) {
		l->job = NULL;
		int rc = s->ops->job_get(s, row->job, load_job, l, &l->err);
		if (rc) return rc;
	}
	struct cube_task *task = task_new(t, l->job, row);
	task->input_end = true; /* whoever fed it went with the old manager */
	task->stopping = row->how == CUBE_EXIT_STOPPED;
	if (task->stopping) task->stop_grace_ms = (uint32_t)row->value;
	cube_task_load_signals(task);
	struct cube_mnode *node = cube_nodes_by_id(t->m->nodes, row->node);
	if (node && node->state == CUBE_NODE_FAILED && row->state == CUBE_TASK_PENDING) node = NULL;
	if (l->rc && row->state == CUBE_TASK_PENDING) {
		cube_task_end(t, task, CUBE_EXIT_NOT_STARTED, 0, l->err.msg);
	} else if (row->state == CUBE_TASK_PENDING && (!row->pinned || node)) {
		queue_pending(t, task);
	} else if (node && row->state != CUBE_TASK_PENDING) {
		cube_list_append(&node->attempts, &task->queue);
		node->load++;
	} else {
		cube_task_end(t, task, CUBE_EXIT_LOST, 0, "its node is gone");
	}
	return 0;
}

int cube_tasks_load(struct cube_tasks *t, struct cube_err *err) {
	struct load l = {.t = t};
	struct cube_task_filter filter = {.states = 1u << CUBE_TASK_PENDING |
						    1u << CUBE_TASK_SCHEDULED |
						    1u << CUBE_TASK_RUNNING};
	int rc = t->m->store->ops->task_list(t->m->store, &filter, load_task, &l, err);
	if (rc) *err = l.err.code ? l.err : *err;
	else cube_tasks_check_jobs(t, "its nodes are gone");
	return rc;
}
