/* Which task runs where: round robin over the nodes that have room (model/sched.c). */
#include <errno.h>
#include <stdlib.h>

#include "cube/mem.h"
#include "cube/sched.h"
#include "push.h"
#include "work_impl.h"

#define BEHIND_MAX (8u << 20) /* bytes of frames that wait for files: no more STARTs for now */
#define LOAD_MAX   32768u     /* attempts; the worker takes 65536 */

void cube_task_send_start(struct cube_work *t, struct cube_task *task, struct cube_node *node) {
	const struct cube_spec *spec = &task->job->spec;
	struct cube_err err;
	free(task->refused); /* what was is sent again */
	task->refused = NULL;
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

void cube_task_next_attempt(struct cube_work *t, struct cube_task *task,
			    const struct cube_node *node) {
	if (task->row.attempt < task->above) task->row.attempt = task->above;
	task->row.attempt++;
	task->row.epoch = cube_node_features(node) & CUBE_FEATURE_EPOCH ? t->is.epoch : 0;
	task->row.out_end = task->row.err_end = 0;
	cube_task_changed(t, task);
}

static void place(struct cube_work *t, struct cube_task *task, struct cube_node *node) {
	cube_task_unqueue(t, task);
	cube_seat_take(node, task);
	task->row.node = node->id;
	cube_task_next_attempt(t, task, node);
	cube_task_set(t, task, CUBE_TASK_SCHEDULED, "");
	cube_task_send_start(t, task, node);
	if (!cube_task_final(task->row.state)) cube_task_resend_input(task, node);
}

/* A snapshot of the nodes for the scheduler, and back. */
struct board {
	struct cube_sched_node *v;
	struct cube_node **nodes;
	size_t len;
	uint64_t room; /* slots and prefetch places left */
};

static uint32_t room_of(const struct cube_sched_node *n) {
	uint32_t most = n->slots + n->extra;
	return n->ready && most > n->load ? most - n->load : 0;
}

/* Another START: the node is not far behind. */
static bool can_take(struct cube_node *node) {
	return cube_node_has_room(node) && cube_seat_of(node)->load < LOAD_MAX &&
	       cube_push_waiting(node) < BEHIND_MAX;
}

static void board_make(struct cube_work *t, struct board *b) {
	b->v = cube_realloc_array(NULL, cube_fleet_count(t->is.fleet), sizeof *b->v);
	b->nodes = cube_realloc_array(NULL, cube_fleet_count(t->is.fleet), sizeof *b->nodes);
	cube_list_each (cube_fleet_list(t->is.fleet), node, struct cube_node, hook) {
		struct cube_sched_node *n = &b->v[b->len];
		*n = (struct cube_sched_node){
			.id = node->id,
			.ready = node->state == CUBE_NODE_READY && can_take(node),
			.slots = node->slots,
			.load = cube_seat_of(node)->load,
			.extra = cube_sched_prefetch(node->slots, cube_seat_of(node)->mean_ns),
		};
		b->nodes[b->len++] = node;
		b->room += room_of(n);
	}
}

static void board_place(struct cube_work *t, struct board *b, size_t i, struct cube_task *task) {
	struct cube_sched_node *n = &b->v[i];
	b->room -= room_of(n);
	place(t, task, b->nodes[i]);
	n->load = cube_seat_of(b->nodes[i])->load; /* as before where it could not be started */
	n->ready = can_take(b->nodes[i]);          /* more when it has taken this */
	b->room += room_of(n);
}

static bool job_allows(void *arg, uint32_t id) {
	const struct cube_job *job = arg;
	if (!job->nnodes) return true;
	for (size_t i = 0; i < job->nnodes; i++) {
		if (job->nodes[i] == id) return true;
	}
	return false;
}

static void place_bound(struct cube_work *t, struct board *b) {
	for (size_t i = 0; i < b->len; i++) {
		cube_list_each (&cube_seat_of(b->nodes[i])->bound, task, struct cube_task, queue) {
			if (!room_of(&b->v[i])) break;
			board_place(t, b, i, task);
		}
	}
}

/* Jobs in the order they came; a job that finds no place does not hold the next one up, and no
 * task of it can have one either, so the cost is bounded by the number of places. */
static void place_free(struct cube_work *t, struct board *b) {
	cube_list_each (&t->waiting, job, struct cube_job, waiting) {
		if (!b->room) return;
		while (!cube_list_empty(&job->pending)) {
			int i = cube_sched_round_robin(b->v, b->len, &t->cursor, job_allows, job);
			if (i < 0) break;
			board_place(t, b, (size_t)i,
				    cube_container(job->pending.next, struct cube_task, queue));
		}
	}
}

/* Nothing to be done where nothing waits, however many nodes there are. */
void cube_work_tick(struct cube_work *t) {
	struct board b = {0};
	cube_jobs_end_some(t);
	if (!t->pending || !cube_fleet_count(t->is.fleet)) return;
	board_make(t, &b);
	if (b.room) {
		place_bound(t, &b);
		place_free(t, &b);
	}
	free(b.v);
	free(b.nodes);
}
