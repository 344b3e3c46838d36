#include "cube/events.h"

#include <stdlib.h>

#include "cube/clock.h"
#include "cube/log.h"
#include "cube/mem.h"

enum { NOTES_MAX = 4096 };

struct note {
	uint64_t after; /* the newest event when it was made */
	uint32_t node;
	char *text;
};

struct cube_events {
	struct cube_turn *turn;
	struct cube_turn_hook hook;
	uint64_t last, committed, told;
	struct cube_list watchers;
	struct note *notes; /* a ring: the newest is number nnotes - 1 */
	size_t nnotes;
};

static int any(void *arg, const struct cube_event_row *row) {
	return 1;
}

/* The store tells whether there is an event after a number; that is enough to find the last. */
static int find_last(struct cube_store *s, uint64_t *ret, struct cube_err *err) {
	uint64_t low = 0, high = INT64_MAX; /* none after high */
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		int rc = s->ops->event_list(s, mid, 1, any, NULL, err);
		if (rc < 0) return rc;
		if (rc) low = mid + 1;
		else high = mid;
	}
	*ret = low;
	return 0;
}

static void on_committed(void *arg) {
	struct cube_events *ev = arg;
	ev->committed = ev->last;
}

int cube_events_new(struct cube_turn *turn, struct cube_events **ret, struct cube_err *err) {
	uint64_t last;
	int rc = find_last(turn->store, &last, err);
	if (rc < 0) return rc;
	struct cube_events *ev = cube_alloc(sizeof *ev);
	*ev = (struct cube_events){.turn = turn, .last = last, .committed = last, .told = last};
	ev->hook = (struct cube_turn_hook){.committed = on_committed, .arg = ev};
	cube_turn_hook_add(turn, &ev->hook);
	cube_list_init(&ev->watchers);
	*ret = ev;
	return 0;
}

void cube_events_free(struct cube_events *ev) {
	if (!ev) return;
	for (size_t i = 0; i < NOTES_MAX && ev->notes; i++) free(ev->notes[i].text);
	cube_turn_hook_remove(&ev->hook);
	free(ev->notes);
	free(ev);
}

static void add(struct cube_events *ev, struct cube_event_row *row) {
	struct cube_store *s = cube_turn_tx(ev->turn);
	struct cube_err err;
	uint64_t seq = 0;
	row->wall = cube_clock_wall();
	if (!row->reason) row->reason = "";
	int rc = s->ops->event_add(s, row, &seq, &err);
	cube_turn_must(ev->turn, rc, &err);
	if (!rc) ev->last = seq;
}

void cube_events_task(struct cube_events *ev, uint64_t task, uint32_t node, const char *old_state,
		      const char *new_state, const char *reason) {
	add(ev, &(struct cube_event_row){.kind = "task",
					 .task = task,
					 .node = node,
					 .old_state = old_state,
					 .new_state = new_state,
					 .reason = reason});
}

void cube_events_node(struct cube_events *ev, uint32_t node, const char *old_state,
		      const char *new_state, const char *reason) {
	add(ev, &(struct cube_event_row){.kind = "node",
					 .node = node,
					 .old_state = old_state,
					 .new_state = new_state,
					 .reason = reason});
}

/* Calls the watchers; each may go, or take others along. */
static void each(struct cube_events *ev,
		 void (*call)(struct cube_events_watcher *w, const void *what), const void *what) {
	struct cube_list todo;
	cube_list_move(&todo, &ev->watchers);
	while (!cube_list_empty(&todo)) {
		struct cube_list *l = todo.next;
		cube_list_remove(l);
		cube_list_append(&ev->watchers, l);
		call(cube_container(l, struct cube_events_watcher, entry), what);
	}
}

struct progress {
	uint32_t node;
	const char *step;
	double progress;
};

static void call_progress(struct cube_events_watcher *w, const void *what) {
	const struct progress *p = what;
	if (w->progress) w->progress(w->arg, p->node, p->step, p->progress);
}

static void call_changed(struct cube_events_watcher *w, const void *what) {
	if (w->changed) w->changed(w->arg);
}

void cube_events_progress(struct cube_events *ev, uint32_t node, const char *step,
			  double progress) {
	each(ev, call_progress, &(struct progress){node, step, progress});
}

/* --- notes --- */

static void call_note(struct cube_events_watcher *w, const void *what) {
	const struct note *n = what;
	if (w->note) w->note(w->arg, n->node, n->text);
}

void cube_events_note(struct cube_events *ev, uint32_t node, const char *name, const char *text) {
	struct note note = {.after = ev->last, .node = node, .text = cube_strdup(text)};
	cube_info("%s: %s", name, text);
	if (!ev->notes) ev->notes = cube_alloc(NOTES_MAX * sizeof *ev->notes);
	struct note *at = &ev->notes[ev->nnotes++ % NOTES_MAX];
	free(at->text);
	*at = note;
	each(ev, call_note, &note);
}

void cube_events_replay(struct cube_events *ev, struct cube_events_watcher *w, uint64_t after) {
	size_t i = ev->nnotes > NOTES_MAX ? ev->nnotes - NOTES_MAX : 0;
	for (; i < ev->nnotes; i++) {
		const struct note *n = &ev->notes[i % NOTES_MAX];
		if (n->after >= after) call_note(w, n);
	}
}

uint64_t cube_events_last(const struct cube_events *ev) {
	return ev->last;
}
uint64_t cube_events_committed(const struct cube_events *ev) {
	return ev->committed;
}

void cube_events_flush(struct cube_events *ev) {
	if (ev->told == ev->committed) return;
	ev->told = ev->committed;
	each(ev, call_changed, NULL);
}

void cube_events_watch(struct cube_events *ev, struct cube_events_watcher *w) {
	cube_list_append(&ev->watchers, &w->entry);
}

void cube_events_unwatch(struct cube_events_watcher *w) {
	cube_list_remove(&w->entry);
}
