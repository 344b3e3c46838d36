#include "manager.h"

#include "cube/log.h"
#include "events.h"

struct cube_store *cube_manager_tx(struct cube_manager *m) {
	if (!m->in_tx) {
		struct cube_err err;
		cube_manager_must(m, m->store->ops->begin(m->store, &err), &err);
		m->in_tx = true;
	}
	return m->store;
}

void cube_manager_must(struct cube_manager *m, int rc, const struct cube_err *err) {
	if (rc >= 0 || m->exit_code) return;
	cube_error("cannot keep the state, giving up: %s; workers and their tasks go on, "
		   "and the next cube command goes on from the last commit",
		   err->msg);
	m->exit_code = 125;
	cube_manager_stop(m);
}

void cube_manager_commit(struct cube_manager *m) {
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
