#include "cube/turn.h"

void cube_turn_init(struct cube_turn *t, struct cube_loop *loop, struct cube_store *store,
		    cube_turn_failed_fn *failed, void *arg) {
	*t = (struct cube_turn){.loop = loop, .store = store, .failed = failed, .arg = arg};
	cube_list_init(&t->hooks);
}

struct cube_store *cube_turn_tx(struct cube_turn *t) {
	if (!t->in_tx) {
		struct cube_err err;
		cube_turn_must(t, t->store->ops->begin(t->store, &err), &err);
		t->in_tx = true;
	}
	return t->store;
}

void cube_turn_must(struct cube_turn *t, int rc, const struct cube_err *err) {
	if (rc >= 0 || t->dead) return;
	t->dead = true;
	t->failed(t->arg, err);
}

void cube_turn_commit(struct cube_turn *t) {
	/* Rows that change many times a turn are in memory, their events and log chunks are in the
	 * transaction already: they become durable together or not at all. */
	cube_list_each (&t->hooks, hook, struct cube_turn_hook, entry) {
		if (hook->before) hook->before(hook->arg);
	}
	if (!t->in_tx || t->dead) return;
	t->in_tx = false;
	struct cube_err err;
	cube_turn_must(t, t->store->ops->commit(t->store, &err), &err);
	if (t->dead) return;
	cube_list_each (&t->hooks, hook, struct cube_turn_hook, entry) {
		if (hook->committed) hook->committed(hook->arg);
	}
}

void cube_turn_hook_add(struct cube_turn *t, struct cube_turn_hook *hook) {
	cube_list_append(&t->hooks, &hook->entry);
}

void cube_turn_hook_remove(struct cube_turn_hook *hook) {
	cube_list_remove(&hook->entry);
}
