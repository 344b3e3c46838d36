/* Frames of many tasks. A task costs a byte until there is something to send of it; then it waits
 * in a queue, and has a reader from its first output to its end.
 *
 * The tasks are gone through once, a page of rows at a time, whenever the queue is empty; what the
 * subscribers hear of behind that point is found by it anyway. With follow, the queue goes
 * round: a task sends one piece and goes to its end, so that a loud one does not silence the
 * others; else one task's output comes after the other's.
 */
#include "api_frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/map.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/logs.h"
#include "cube/work.h"

#define PAGE 256u
#define HEAD_MAX \
	2048 /* of a frame with bytes: a node's name with each byte escaped, and the rest */
#define SMALL (HEAD_MAX + 4096)

enum {
	QUEUED = 1,
	LOOK = 2,   /* its row is to be looked at */
	ENDING = 4, /* it is final, which was told; its last bytes may be still to come */
	DONE = 8,
	TOLD = 16, /* times state + 1: the newest state that was told */
	TOLD_MASK = 0x70,
	OLD = 128, /* it had begun before the request: its output is cut to the tail */
};

/* Of a task that has an attempt. */
struct output {
	struct cube_map_entry entry; /* by its index */
	uint32_t attempt, node;
	struct cube_log_reader *reader;
};

struct frames {
	struct cube_pages pages;
	uint64_t first, last, tail;
	bool follow;
	uint64_t scanned; /* tasks before it have been looked at */
	uint64_t left;    /* tasks not DONE */
	uint8_t *flags;
	uint32_t *queue; /* ring */
	size_t head, len, cap;
	struct cube_map outputs;
	struct cube_subscriber grew, changed;
};

/* --- the queue --- */

static void enqueue(struct frames *f, uint32_t index, uint8_t why) {
	f->flags[index] |= why;
	if (f->flags[index] & (QUEUED | DONE)) return;
	if (f->len == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		uint32_t *q = cube_realloc_array(NULL, cap, sizeof *q);
		for (size_t i = 0; i < f->len; i++) q[i] = f->queue[(f->head + i) & (f->cap - 1)];
		free(f->queue);
		f->queue = q;
		f->head = 0;
		f->cap = cap;
	}
	f->flags[index] |= QUEUED;
	f->queue[(f->head + f->len++) & (f->cap - 1)] = index;
}

static void drop_head(struct frames *f) {
	f->flags[f->queue[f->head]] &= (uint8_t)~QUEUED;
	f->head = (f->head + 1) & (f->cap - 1);
	f->len--;
}

static void rotate(struct frames *f) {
	uint32_t index = f->queue[f->head];
	drop_head(f);
	enqueue(f, index, 0);
}

/* --- readers --- */

static struct output *output_of(struct cube_map_entry *e) {
	return e ? cube_container(e, struct output, entry) : NULL;
}

static struct output *find_output(struct frames *f, uint32_t index) {
	return output_of(cube_map_find(&f->outputs, index));
}

static void free_output(struct frames *f, struct output *o) {
	if (!o) return;
	cube_map_remove(&f->outputs, &o->entry);
	cube_log_reader_free(o->reader);
	free(o);
}

static void open_output(struct frames *f, const struct cube_task_row *row) {
	uint32_t index = (uint32_t)(row->id - f->first);
	struct output *o = find_output(f, index);
	struct cube_err err;
	if (!row->attempt) return;
	if (o) {
		o->node = row->node;
		if (o->attempt == row->attempt) return;
	}
	free_output(f, o);
	o = cube_alloc(sizeof *o);
	*o = (struct output){.attempt = row->attempt, .node = row->node};
	o->reader = cube_log_reader_new(f->pages.api->parts.logs, row->id, row->attempt, 0, 0);
	cube_map_add(&f->outputs, &o->entry, index);
	bool old = f->flags[index] & OLD;
	f->flags[index] &= (uint8_t)~OLD;
	if (old && f->tail != UINT64_MAX && cube_log_reader_tail(o->reader, f->tail, &err))
		cube_error("task %" PRIu64 ": %s", row->id, err.msg);
}

/* --- frames --- */

static void state_frame(struct frames *f, const struct cube_task_row *row) {
	struct cube_api *api = f->pages.api;
	cube_pages_json(&f->pages,
			json_pack("{s:o, s:o, s:s, s:o}", "task", cube_jv_u64(row->id), "node",
				  cube_jv_text(cube_fleet_name(api->parts.fleet, row->node)),
				  "state", cube_task_state_name(row->state), "task_row",
				  cube_api_task_json(api, row)));
	cube_buf_addstr(&f->pages.out, "\n");
}

/* The head of a frame with bytes; its length, or 0 where it does not fit (which no name allows). */
static size_t bytes_head(struct frames *f, const struct output *o,
			 const struct cube_log_piece *piece, char head[HEAD_MAX]) {
	const char *node = cube_fleet_name(f->pages.api->parts.fleet, o->node);
	char time[32];
	json_t *v = json_pack("{s:o, s:o, s:s, s:o, s:s, s:o}", "task",
			      cube_jv_u64(f->first + o->entry.id), "node", cube_jv_text(node),
			      "stream", piece->stream == CUBE_STDOUT ? "stdout" : "stderr",
			      "offset", cube_jv_u64(piece->offset), "time",
			      cube_clock_rfc3339(piece->wall, time), "len", cube_jv_u64(piece->n));
	size_t n = json_dumpb(v, head, HEAD_MAX - 1, CUBE_JSON_FLAGS);
	json_decref(v);
	if (!n || n > HEAD_MAX - 1) return 0;
	head[n] = '\n';
	return n + 1;
}

/* One frame into space; 0 where the task has no bytes now. */
static size_t bytes_frame(struct frames *f, struct output *o, uint8_t *space, size_t n) {
	struct cube_log_piece piece = {0};
	struct cube_err err;
	if (cube_log_reader_next(o->reader, space + HEAD_MAX, n - HEAD_MAX, &piece, &err)) {
		cube_error("task %" PRIu64 ": %s", f->first + o->entry.id, err.msg);
		f->pages.broken = true;
		return 0;
	}
	if (!piece.n) return 0;
	size_t h = bytes_head(f, o, &piece, (char *)space);
	if (!h) {
		f->pages.broken = true;
		return 0;
	}
	memmove(space + h, space + HEAD_MAX, piece.n);
	return h + piece.n;
}

static size_t direct(struct cube_pages *p, uint8_t *space, size_t n) {
	struct frames *f = cube_container(p, struct frames, pages);
	uint8_t small[SMALL];
	size_t total = 0;
	/* Many short pieces go together. */
	while (f->len && !(f->flags[f->queue[f->head]] & LOOK)) {
		struct output *o = find_output(f, f->queue[f->head]);
		bool tight = n - total < SMALL;
		if (!o || (tight && total)) break;
		size_t got = tight ? bytes_frame(f, o, small, sizeof small)
				   : bytes_frame(f, o, space + total, n - total);
		if (!got) break;
		if (f->follow) rotate(f);
		if (tight) { /* goes out by way of the buffer */
			cube_buf_add(&p->out, small, got);
			got = got < n ? got : n;
			memcpy(space, cube_buf_data(&p->out), got);
			cube_buf_consume(&p->out, got);
			return got;
		}
		total += got;
	}
	return total;
}

/* --- states --- */

static int take_row(void *arg, const struct cube_task_row *row) {
	struct frames *f = arg;
	uint32_t index = (uint32_t)(row->id - f->first);
	uint8_t told = (uint8_t)((row->state + 1) * TOLD);
	open_output(f, row);
	f->flags[index] &= (uint8_t)~LOOK;
	if (f->follow && (f->flags[index] & TOLD_MASK) != told) state_frame(f, row);
	f->flags[index] = (uint8_t)((f->flags[index] & ~TOLD_MASK) | told);
	if (cube_task_final(row->state)) f->flags[index] |= ENDING;
	else f->flags[index] &= (uint8_t)~ENDING; /* it is run again */
	return 0;
}

static int last_frame(void *arg, const struct cube_task_row *row) {
	state_frame(arg, row);
	return 0;
}

/* The task at the queue's head has no more bytes. */
static void settle_head(struct frames *f) {
	struct cube_store *s = f->pages.api->parts.turn->store;
	uint32_t index = f->queue[f->head];
	uint64_t id = f->first + index;
	if (f->flags[index] & LOOK) { /* first the state, then what bytes came before it */
		if (s->ops->task_get(s, id, take_row, f, NULL)) f->pages.broken = true;
		return;
	}
	drop_head(f);
	if (f->follow && !(f->flags[index] & ENDING)) return;
	if (f->follow && s->ops->task_get(s, id, last_frame, f, NULL)) f->pages.broken = true;
	free_output(f, find_output(f, index));
	f->flags[index] |= DONE;
	f->left--;
}

static int scan_row(void *arg, const struct cube_task_row *row) {
	struct frames *f = arg;
	if (row->id > f->last) return 1;
	/* A pending task has nothing to tell yet. */
	if (row->state == CUBE_TASK_PENDING) return 0;
	enqueue(f, (uint32_t)(row->id - f->first), LOOK | OLD);
	return 0;
}

/* The next page of tasks; those in it may now be heard of. */
static void scan(struct frames *f) {
	struct cube_store *s = f->pages.api->parts.turn->store;
	uint64_t end = f->last - f->scanned < PAGE ? f->last + 1 : f->scanned + PAGE;
	struct cube_task_filter filter = {.after = f->scanned - 1,
					  .limit = (uint32_t)(end - f->scanned)};
	if (s->ops->task_list(s, &filter, scan_row, f, NULL) < 0) f->pages.broken = true;
	f->scanned = end;
}

static int fill(struct cube_pages *p) {
	struct frames *f = cube_container(p, struct frames, pages);
	if (f->len) {
		settle_head(f);
		return 1;
	}
	if (f->scanned <= f->last) {
		scan(f);
		return 1;
	}
	return f->follow && f->left ? 0 : -1;
}

/* --- what is heard of --- */

static void on_news(void *arg, uint64_t task, uint8_t why) {
	struct frames *f = arg;
	if (task >= f->scanned) return;
	uint32_t index = (uint32_t)(task - f->first);
	/* Bytes of a task without a reader: its attempt is to be looked up. */
	if (!(why & LOOK) && !find_output(f, index)) why |= LOOK;
	enqueue(f, index, why);
	cube_pages_wake(&f->pages);
}

static void on_grew(void *arg, uint64_t task) {
	on_news(arg, task, 0);
}
static void on_changed(void *arg, uint64_t task) {
	on_news(arg, task, LOOK);
}

static void release(struct cube_pages *p) {
	struct frames *f = cube_container(p, struct frames, pages);
	cube_subscriber_remove(&f->grew);
	cube_subscriber_remove(&f->changed);
	struct output *o = output_of(cube_map_next(&f->outputs, NULL)), *next;
	for (; o; o = next) {
		next = output_of(cube_map_next(&f->outputs, &o->entry));
		free_output(f, o);
	}
	cube_map_free(&f->outputs);
	free(f->queue);
	free(f->flags);
	free(f);
}

void cube_api_reply_frames(struct cube_api *api, struct cube_request *req, uint64_t first,
			   uint64_t last, bool follow, uint64_t tail) {
	struct frames *f = cube_alloc(sizeof *f);
	*f = (struct frames){.pages = {.fill = fill, .direct = direct, .free = release},
			     .first = first,
			     .last = last,
			     .tail = tail,
			     .follow = follow,
			     .scanned = first,
			     .left = last - first + 1};
	f->flags = cube_alloc(last - first + 1);
	f->grew = (struct cube_subscriber){.first = first, .last = last, .news = on_grew, .arg = f};
	f->changed = (struct cube_subscriber){
		.first = first, .last = last, .news = on_changed, .arg = f};
	if (follow) {
		cube_logs_subscribe(api->parts.logs, &f->grew);
		cube_work_subscribe(api->parts.work, &f->changed);
	}
	cube_pages_reply(api, req, "application/vnd.cube.frames", &f->pages);
}
