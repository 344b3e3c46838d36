/* A fleet that is none, for tests of the work: these are the functions of cube/fleet.h that the
 * work calls, taken by the linker instead of the fleet's own. No host, no process, no clock: a test
 * plays the workers by say() and the fleet by link_up() and its like, and reads what was sent to
 * each node as a list of frames. A turn is the manager's: tick, commit, flush. */
#ifndef WORK_FLEET_H
#define WORK_FLEET_H

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/events.h"
#include "cube/fleet.h"
#include "cube/log.h"
#include "cube/mem.h"
#include "cube/sha256.h"
#include "cube/streams.h"
#include "cube/task.h"
#include "cube/uses.h"
#include "cube/work.h"
#include "../../src/work/work_impl.h"

enum { NODES = 10000, OUTBOX_MAX = 64 << 20 };

struct heard { /* a frame that came to a node */
	enum cube_msg_type type;
	uint64_t task, epoch, offset;
	uint32_t attempt, grace;
	int signo;
	size_t n; /* bytes of data, or the size that PUSH announces */
	bool eof;
	uint8_t stream, sha256[32];
};

struct cube_node_link {
	struct cube_buf outbox;
	bool linked, choked, full;
	uint64_t features;
	struct heard *v;
	size_t n, max;
	void (*hears)(struct cube_node *n, const struct cube_msg *msg); /* or NULL */
};

struct cube_fleet {
	struct cube_list list;
	unsigned count, calls; /* calls: of the work, since it was set to 0 */
	struct cube_node *ids[NODES + 1];
	uint32_t last;
	const struct cube_fleet_listener *listener;
	const struct cube_fleet_receiver *receivers;
	size_t nreceivers;
};

static struct world {
	char dir[64];
	bool sqlite;
	struct cube_loop *loop;
	struct cube_store *store;
	struct cube_store_ops ops;         /* the store's, counting */
	const struct cube_store_ops *real; /* .. and not */
	unsigned writes, task_writes;
	struct cube_turn turn;
	struct cube_events *events;
	struct cube_files *files;
	struct cube_logs *logs;
	struct cube_fleet fleet;
	struct cube_work *work;
	struct cube_subscriber sub;
	uint64_t epoch;
	unsigned finals[20000];    /* by task: how often its end was told */
	struct cube_msg_file file; /* of tasks whose spec is "file" */
	uint64_t seed;
} w;

static inline uint32_t rnd(uint32_t n) {
	w.seed = w.seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(w.seed >> 33) % n;
}

/* --- what the work calls --- */

void cube_fleet_tell(struct cube_fleet *f, const struct cube_fleet_listener *listener,
		     const struct cube_fleet_receiver *receivers, size_t n) {
	f->listener = listener;
	f->receivers = receivers;
	f->nreceivers = n;
}

struct cube_node *cube_fleet_by_id(struct cube_fleet *f, uint32_t id) {
	f->calls++;
	return id && id <= f->last ? f->ids[id] : NULL;
}

struct cube_node *cube_fleet_find(struct cube_fleet *f, const char *name) {
	f->calls++;
	for (uint32_t i = 1; i <= f->last; i++)
		if (f->ids[i] && strcmp(f->ids[i]->name, name) == 0) return f->ids[i];
	return NULL;
}

struct cube_list *cube_fleet_list(struct cube_fleet *f) {
	f->calls += f->count;
	return &f->list;
}

unsigned cube_fleet_count(const struct cube_fleet *f) {
	return f->count; /* costs nothing */
}

bool cube_node_is_out(const struct cube_node *n) {
	const struct cube_fleet_listener *l = w.fleet.listener;
	w.fleet.calls++;
	return (n->state == CUBE_NODE_FAILED && l->idle(l->arg, n)) || n->state == CUBE_NODE_GONE ||
	       (n->state == CUBE_NODE_NEEDS_LOGIN && !n->joined);
}

bool cube_node_linked(const struct cube_node *n) {
	return n->link->linked && !n->link->choked;
}

uint64_t cube_node_features(const struct cube_node *n) {
	return n->link->features;
}

bool cube_node_has_room(const struct cube_node *n) {
	w.fleet.calls++;
	return cube_node_linked(n) && !n->link->full;
}

void cube_node_choke(struct cube_node *n) {
	n->link->choked = true;
}

struct cube_buf *cube_node_outbox(struct cube_node *n) {
	return &n->link->outbox;
}

void cube_node_send_into(struct cube_node *n, struct cube_buf *out, const struct cube_msg *msg) {
	w.fleet.calls++;
	if (cube_node_linked(n) && cube_msg_encode(out, msg)) cube_node_choke(n);
}

void cube_node_send(struct cube_node *n, const struct cube_msg *msg) {
	cube_node_send_into(n, &n->link->outbox, msg);
}

void cube_node_send_bytes(struct cube_node *n, const void *bytes, size_t len) {
	if (cube_node_linked(n)) ck_assert_int_eq(cube_buf_add(&n->link->outbox, bytes, len), 0);
}

/* --- what comes to a node --- */

static inline void hear(struct cube_node *n, const struct cube_msg *m) {
	struct cube_node_link *l = n->link;
	struct heard h = {
		.type = m->type, .task = m->task, .attempt = m->attempt, .epoch = m->epoch};
	if (l->n == l->max) l->v = cube_realloc_array(l->v, l->max = l->max * 2 + 64, sizeof *l->v);
	switch (m->type) {
	case CUBE_MSG_SIGNAL: h.signo = m->signal.signo; break;
	case CUBE_MSG_STOP: h.grace = m->stop.grace_ms; break;
	case CUBE_MSG_ACK: h.stream = m->ack.stream, h.offset = m->ack.offset; break;
	case CUBE_MSG_STDIN:
	case CUBE_MSG_PUSH_DATA:
		h.offset = m->data.offset, h.n = m->data.bytes.n, h.eof = m->data.eof;
		memcpy(h.sha256, m->data.sha256, sizeof h.sha256);
		break;
	case CUBE_MSG_PUSH:
		h.n = m->push.size;
		memcpy(h.sha256, m->push.sha256, sizeof h.sha256);
		break;
	default: break;
	}
	l->v[l->n++] = h;
	if (l->hears) l->hears(n, m);
}

/* All whole frames; nothing else may be sent. Nobody hears of what is not committed. */
static inline void hear_bytes(struct cube_node *n, const uint8_t *bytes, size_t len) {
	ck_assert(!cube_turn_open(&w.turn));
	for (size_t at = 0, used; at < len; at += used) {
		struct cube_msg m;
		struct cube_err err;
		int rc = cube_msg_decode(bytes + at, len - at, &m, &used, &err);
		ck_assert_msg(rc == 0, "what is sent makes no sense: %d", rc);
		hear(n, &m);
	}
}

void cube_node_send_now(struct cube_node *n, const void *bytes, size_t len) {
	hear_bytes(n, bytes, len);
}

void cube_node_flush_soon(struct cube_node *node) {}
void cube_node_outbox_out(struct cube_node *n) {
	size_t len;
	char *bytes = cube_buf_take(&n->link->outbox, &len);
	hear_bytes(n, (uint8_t *)bytes, len);
	free(bytes);
}

/* As the fleet does: control frames, then bulk as long as there is some. */
static inline void flush_node(struct cube_node *n) {
	bool more = true;
	if (!cube_node_linked(n)) return;
	cube_node_outbox_out(n);
	while (more && !n->link->full) {
		more = false;
		for (size_t i = 0; i < w.fleet.nreceivers; i++) {
			const struct cube_fleet_receiver *r = &w.fleet.receivers[i];
			if (r->pump) more = r->pump(r->arg, n) || more;
		}
		if (cube_buf_len(&n->link->outbox)) cube_node_outbox_out(n);
	}
}

/* Of a type, or -1: of any. */
static inline size_t heard(const struct cube_node *n, int type, uint64_t task) {
	size_t found = 0;
	for (size_t i = 0; i < n->link->n; i++)
		found += (type < 0 || n->link->v[i].type == (enum cube_msg_type)type) &&
			 (!task || n->link->v[i].task == task);
	return found;
}

/* The last one of a type. */
static inline const struct heard *last_of(const struct cube_node *n, int type) {
	for (size_t i = n->link->n; i-- > 0;)
		if (n->link->v[i].type == (enum cube_msg_type)type) return &n->link->v[i];
	ck_abort_msg("no %s came to %s", cube_msg_name(type), n->name);
}

/* The types in order, as words; what was heard is forgotten. */
static inline const char *heard_all(struct cube_node *n) {
	static char text[2000];
	*text = 0;
	for (size_t i = 0; i < n->link->n; i++) {
		size_t at = strlen(text);
		snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "",
			 cube_msg_name((int)n->link->v[i].type));
	}
	n->link->n = 0;
	return text;
}

/* --- the fleet's part --- */

static inline void turn(void) {
	cube_work_tick(w.work);
	cube_turn_commit(&w.turn);
	cube_work_flush(w.work);
	cube_list_each (&w.fleet.list, n, struct cube_node, hook) flush_node(n);
	cube_logs_flush(w.logs);
	cube_events_flush(w.events);
}

static inline struct cube_node *node_add(const char *name, uint32_t slots) {
	struct cube_node *n = cube_alloc(sizeof *n);
	n->id = ++w.fleet.last;
	n->fleet = &w.fleet;
	n->name = cube_strdup(name);
	n->reason = cube_strdup("");
	n->slots = slots;
	n->link = cube_alloc(sizeof *n->link);
	cube_buf_init(&n->link->outbox, OUTBOX_MAX);
	n->link->features = CUBE_FEATURES;
	w.fleet.ids[n->id] = n;
	w.fleet.count++;
	cube_list_append(&w.fleet.list, &n->hook);
	w.fleet.listener->added(w.work, n);
	return n;
}

static inline void link_up(struct cube_node *n) { /* HELLO came */
	n->link->linked = true;
	n->link->choked = false;
}

static inline void link_ready(struct cube_node *n, bool new_boot) {
	n->state = CUBE_NODE_READY;
	n->joined = true;
	w.fleet.listener->listed(w.fleet.listener->arg, n);
	w.fleet.listener->ready(w.fleet.listener->arg, n, new_boot);
}

static inline void link_down(struct cube_node *n) {
	n->link->linked = n->link->choked = false;
	n->state = CUBE_NODE_LOST;
	for (size_t i = 0; i < w.fleet.nreceivers; i++)
		w.fleet.receivers[i].down(w.fleet.receivers[i].arg, n, "the link broke");
	cube_buf_clear(&n->link->outbox);
}

static inline struct cube_node *node_ready(const char *name, uint32_t slots) {
	struct cube_node *n = node_add(name, slots);
	link_up(n);
	link_ready(n, false);
	return n;
}

static inline void node_end(struct cube_node *n, enum cube_node_state state, const char *why) {
	if (n->link->linked) link_down(n);
	n->state = state;
	free(n->reason);
	n->reason = cube_strdup(why);
	w.fleet.listener->ended(w.fleet.listener->arg, n, why);
}

static inline void node_free(struct cube_node *n) {
	w.fleet.listener->removed(w.fleet.listener->arg, n);
	cube_list_remove(&n->hook);
	w.fleet.ids[n->id] = NULL;
	w.fleet.count--;
	cube_buf_done(&n->link->outbox);
	free(n->link->v);
	free(n->link);
	free(n->name);
	free(n->reason);
	free(n);
}

/* Its worker says something: as the fleet hands it up. */
static inline int say(struct cube_node *n, struct cube_msg msg, struct cube_err *err) {
	ck_assert(n->link->linked);
	for (size_t i = 0; i < w.fleet.nreceivers; i++) {
		const struct cube_fleet_receiver *r = &w.fleet.receivers[i];
		if (msg.type >= r->first && msg.type <= r->last)
			return r->message(r->arg, n, &msg, err);
	}
	ck_abort_msg("%s is nobody's", cube_msg_name((int)msg.type));
}

/* --- the store, counted --- */

static inline int count_task(struct cube_store *s, const struct cube_task_row *row,
			     struct cube_err *err) {
	w.writes++, w.task_writes++;
	return w.real->task_put(s, row, err);
}
static inline int count_job(struct cube_store *s, const struct cube_job_row *row,
			    struct cube_err *err) {
	w.writes++;
	return w.real->job_put(s, row, err);
}
static inline int count_event(struct cube_store *s, const struct cube_event_row *row,
			      uint64_t *ret_seq, struct cube_err *err) {
	w.writes++;
	return w.real->event_add(s, row, ret_seq, err);
}
static inline int count_begin(struct cube_store *s, struct cube_err *err) {
	w.writes++;
	return w.real->begin(s, err);
}

static inline void store_open(void) {
	char path[100];
	struct cube_err err;
	snprintf(path, sizeof path, "%s/db", w.dir);
	int rc = w.sqlite ? cube_store_sqlite(path, &w.store, &err)
			  : cube_store_memory(&w.store, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	w.real = w.store->ops;
	w.ops = *w.real;
	w.ops.task_put = count_task;
	w.ops.job_put = count_job;
	w.ops.event_add = count_event;
	w.ops.begin = count_begin;
	w.store->ops = &w.ops;
}

/* --- the manager's part --- */

/* A spec's text is "run", "cat" (with stdin), "file" or "bad", and names of nodes. */
static inline void spec_make(const char *text, struct cube_spec *ret) {
	*ret = (struct cube_spec){.grace_ms = 700};
	cube_strv_add(&ret->argv, "true");
	ret->has_stdin = strncmp(text, "cat", 3) == 0;
	if (strncmp(text, "file", 4) != 0) return;
	ret->files = cube_alloc(sizeof *ret->files);
	ret->files[0] = w.file;
	ret->nfiles = 1;
}

static inline int spec_read(const char *text, struct cube_spec *ret, struct cube_strv *names,
			    struct cube_err *err) {
	char word[100];
	int n = 0;
	if (strncmp(text, "bad", 3) == 0) return cube_fail(err, CUBE_EUSAGE, "no spec at all");
	spec_make(text, ret);
	for (sscanf(text, "%*s%n", &n); sscanf(text += n, "%99s%n", word, &n) == 1;)
		cube_strv_add(names, word);
	return 0;
}

static inline void on_failed(void *arg, const struct cube_err *err) {
	ck_abort_msg("the store failed: %s", err->msg);
}

static inline void on_changed(void *arg, uint64_t id) {
	ck_assert(!cube_turn_open(&w.turn)); /* told after the commit */
	if (!cube_work_find(w.work, id)) w.finals[id]++;
}

static inline void work_open(bool with_folder) {
	struct cube_err err;
	struct cube_work_parts parts = {.turn = &w.turn,
					.events = w.events,
					.fleet = &w.fleet,
					.files = w.files,
					.logs = w.logs,
					.folder = with_folder ? w.dir : NULL,
					.cluster = 1,
					.epoch = ++w.epoch,
					.spec_read = spec_read};
	int rc = cube_work_new(&parts, &w.work, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	w.sub = (struct cube_subscriber){.last = UINT64_MAX, .news = on_changed};
	cube_work_subscribe(w.work, &w.sub);
}

static inline void parts_open(void) {
	cube_turn_init(&w.turn, w.loop, w.store, on_failed, NULL);
	ck_assert_int_eq(cube_events_new(&w.turn, &w.events, NULL), 0);
	ck_assert_int_eq(cube_files_new(w.dir, &w.files, NULL), 0);
	ck_assert_int_eq(cube_logs_new(&w.turn, w.dir, &w.logs, NULL), 0);
	work_open(w.sqlite);
}

static inline void parts_close(void) {
	cube_work_free(w.work);
	cube_files_free(w.files);
	cube_logs_free(w.logs);
	cube_events_free(w.events);
}

static inline void begin(bool sqlite) {
	memset(&w, 0, sizeof w);
	w.sqlite = sqlite;
	w.seed = 7;
	w.epoch = 100;
	cube_list_init(&w.fleet.list);
	snprintf(w.dir, sizeof w.dir, "/tmp/cube-work.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(w.dir));
	ck_assert_int_eq(cube_loop_new(&w.loop, NULL), 0);
	cube_log_set_level(CUBE_LOG_ERROR);
	store_open();
	parts_open();
}

/* The manager ends and another begins with the same store and the same nodes, not linked yet. What
 * was not committed is lost with a database; in memory it would be kept. */
static inline void restart(void) {
	struct cube_err err;
	if (!w.sqlite) cube_turn_commit(&w.turn);
	cube_list_each (&w.fleet.list, n, struct cube_node, hook) {
		if (n->link->linked) link_down(n);
		w.fleet.listener->removed(w.fleet.listener->arg, n);
	}
	parts_close();
	if (w.sqlite) {
		w.store->ops = w.real;
		cube_store_free(w.store);
		store_open();
	}
	parts_open();
	cube_list_each (&w.fleet.list, n, struct cube_node, hook)
		w.fleet.listener->added(w.work, n);
	int rc = cube_work_load(w.work, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
	return remove(path);
}

static inline void finish(void) {
	cube_turn_commit(&w.turn);
	cube_list_each (&w.fleet.list, n, struct cube_node, hook) node_free(n);
	parts_close();
	w.store->ops = w.real;
	cube_store_free(w.store);
	cube_loop_free(w.loop);
	ck_assert_int_eq(nftw(w.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* --- asking and looking --- */

static inline int add_to(const char *text, uint32_t count, bool all, const uint32_t *nodes,
			 size_t nnodes, uint64_t *ret_first, struct cube_err *err) {
	uint64_t job;
	uint32_t n;
	struct cube_work_request r = {.spec_json = text,
				      .request = "",
				      .count = count,
				      .all = all,
				      .nodes = nodes,
				      .nnodes = nnodes};
	spec_make(text, &r.spec);
	int rc = cube_work_add(w.work, &r, &job, ret_first, &n, err);
	cube_spec_done(&r.spec); /* what was not taken */
	return rc;
}

static inline uint64_t add(const char *text, uint32_t count) {
	uint64_t first;
	struct cube_err err;
	int rc = add_to(text, count, false, NULL, 0, &first, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return first;
}

static inline struct cube_task *task(uint64_t id) {
	struct cube_task *t = cube_work_find(w.work, id);
	ck_assert_msg(t != NULL, "task %llu is not there", (unsigned long long)id);
	return t;
}

static char row_reason[300];
static inline int take_row(void *arg, const struct cube_task_row *row) {
	*(struct cube_task_row *)arg = *row;
	snprintf(row_reason, sizeof row_reason, "%s", row->reason);
	return 0;
}

/* As it is stored, the reason too. */
static inline struct cube_task_row row_of(uint64_t id) {
	struct cube_task_row row = {0};
	ck_assert_int_eq(w.store->ops->task_get(w.store, id, take_row, &row, NULL), 0);
	row.reason = row_reason;
	return row;
}

static inline void expect_end(uint64_t id, enum cube_task_state state, uint8_t how, int32_t value) {
	struct cube_task_row r = row_of(id);
	ck_assert_ptr_null(cube_work_find(w.work, id));
	ck_assert_msg(r.state == state && r.how == how && r.value == value,
		      "task %llu: %s, %s %d, %s", (unsigned long long)id,
		      cube_task_state_name(r.state), cube_task_how_name(r.how), r.value, r.reason);
	ck_assert_uint_eq(w.finals[id], 1);
}

/* What a worker says of the attempt that a task has now. */
static inline struct cube_msg about(uint64_t id, enum cube_msg_type type) {
	return cube_task_msg(task(id), type);
}
static inline struct cube_msg msg_exit(uint64_t id, uint8_t how, int32_t value) {
	struct cube_msg m = about(id, CUBE_MSG_EXIT);
	m.exit.how = how;
	m.exit.value = value;
	m.exit.out_end = task(id)->row.out_end;
	m.exit.err_end = task(id)->row.err_end;
	return m;
}
static inline struct cube_msg msg_log(uint64_t id, uint8_t stream, uint64_t at, const char *text) {
	struct cube_msg m = about(id, CUBE_MSG_LOG);
	m.data.stream = stream;
	m.data.offset = at;
	m.data.bytes = (struct cube_slice){(const uint8_t *)text, strlen(text)};
	return m;
}
static inline void say_ok(struct cube_node *n, struct cube_msg msg) {
	struct cube_err err;
	int rc = say(n, msg, &err);
	ck_assert_msg(rc == 0, "%s: %s", cube_msg_name((int)msg.type), err.msg);
}
static inline void say_wrong(struct cube_node *n, struct cube_msg msg) {
	struct cube_err err;
	ck_assert_int_eq(say(n, msg, &err), CUBE_EPROTO);
}

#endif
