#include "cube/manager.h"

#include <unistd.h>

#include "cube/log.h"
#include "cube/events.h"
#include "cube/tasks.h"

struct cube_store *cube_manager_tx(struct cube_manager *m) {
	if (!m->in_tx) {
		struct cube_err err;
		cube_manager_must(m, m->store->ops->begin(m->store, &err), &err);
		m->in_tx = true;
	}
	return m->store;
}

void cube_manager_must(struct cube_manager *m, int rc, const struct cube_err *err) {
	if (rc >= 0) return;
	cube_error("cannot keep the state, giving up: %s; workers and their tasks go on, "
		   "and the next cube command goes on from the last commit",
		   err->msg);
	/* At once: nothing of this turn may be told to a worker or a client now. It is a kill that
	 * the next start copes with as with any other. */
	_exit(125);
}

void cube_manager_commit(struct cube_manager *m) {
	/* What workers said is in the tasks' rows in memory, its events and log chunks are in the
	 * transaction already: they become durable together or not at all. */
	if (m->tasks) cube_tasks_persist(m->tasks);
	if (!m->in_tx) return;
	m->in_tx = false;
	struct cube_err err;
	int rc = m->store->ops->commit(m->store, &err);
	cube_manager_must(m, rc, &err);
	if (!rc) cube_events_mark_committed(m->events);
}

void cube_manager_stop(struct cube_manager *m) {
	m->stopping = true;
	cube_loop_stop(m->loop);
}
