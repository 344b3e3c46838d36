/* State changes: stored in order, and handed to whoever follows. */
#ifndef CUBE_EVENTS_H
#define CUBE_EVENTS_H

#include <stdint.h>

#include "cube/list.h"
#include "cube/turn.h"

struct cube_events;

int cube_events_new(struct cube_turn *turn, struct cube_events **ret, struct cube_err *err);
void cube_events_free(struct cube_events *ev);

/* Adds to the store within the turn's transaction. */
void cube_events_task(struct cube_events *ev, uint64_t task, uint32_t node, const char *old_state,
		      const char *new_state, const char *reason);
void cube_events_node(struct cube_events *ev, uint32_t node, const char *old_state,
		      const char *new_state, const char *reason);
/* Not stored: a joining node's step. progress 0..1, or < 0 for none. */
void cube_events_progress(struct cube_events *ev, uint32_t node, const char *step, double progress);

/* Not stored: one line for people about a node that goes on all the same. Logged, and remembered
 * for clients that come within the next notes (4096). name: the node's. */
void cube_events_note(struct cube_events *ev, uint32_t node, const char *name, const char *text);

uint64_t cube_events_last(const struct cube_events *ev);      /* highest number given */
uint64_t cube_events_committed(const struct cube_events *ev); /* highest that may be shown */
void cube_events_flush(struct cube_events *ev); /* after the commit: calls the watchers */

/* A watcher is called from flush when there are newer committed events, and at once with each
 * progress. It reads events themselves from the store. */
struct cube_events_watcher {
	struct cube_list entry; /* zero-initialise */
	void (*changed)(void *arg);
	void (*progress)(void *arg, uint32_t node, const char *step, double progress);
	void (*note)(void *arg, uint32_t node, const char *text);
	void *arg;
};
void cube_events_watch(struct cube_events *ev, struct cube_events_watcher *w);
void cube_events_unwatch(struct cube_events_watcher *w);
/* Gives the notes made since event `after` to the watcher. */
void cube_events_replay(struct cube_events *ev, struct cube_events_watcher *w, uint64_t after);

#endif
