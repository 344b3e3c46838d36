/* The loop turn: all that one turn changes is one transaction, and nobody is told of it before it
 * is committed.
 *
 * A turn of the manager: io and timers change things (workers' messages, requests), then, before
 * the loop sleeps, in the order that manager/main.c gives:
 *
 * - decide: pending tasks are placed; their frames go into the nodes' outboxes.
 * - commit: who holds changed rows in memory writes them; then the transaction.
 * - flush: outboxes go to the transports, answers and followers are let go, only for what was
 *   committed.
 *
 * A database or disk that fails cannot be gone on from: see cube_turn_must.
 */
#ifndef CUBE_TURN_H
#define CUBE_TURN_H

#include <stdbool.h>

#include "cube/err.h"
#include "cube/list.h"
#include "cube/loop.h"
#include "cube/store.h"

/* Something was to be written and was not: err says why. Whoever runs the loop decides what becomes
 * of the process; main.c ends it at once. Should it return, the turn is dead: nothing is committed
 * any more, and nothing may be flushed. */
typedef void cube_turn_failed_fn(void *arg, const struct cube_err *err);

struct cube_turn { /* to be read only */
	struct cube_loop *loop;
	struct cube_store *store; /* read freely; written through cube_turn_tx */
	bool dead;
	/* private */
	bool in_tx;
	struct cube_list hooks;
	cube_turn_failed_fn *failed;
	void *arg;
};

/* loop and store are borrowed. */
void cube_turn_init(struct cube_turn *t, struct cube_loop *loop, struct cube_store *store,
		    cube_turn_failed_fn *failed, void *arg);

/* The store with a transaction open, begun at need. */
struct cube_store *cube_turn_tx(struct cube_turn *t);
/* Whether something was written that is not committed. */
static inline bool cube_turn_open(const struct cube_turn *t) {
	return t->in_tx;
}
/* rc of a write to the store or to a log: negative ends all, by the function above. */
void cube_turn_must(struct cube_turn *t, int rc, const struct cube_err *err);
/* Makes the turn's changes so far durable against the end of this process. */
void cube_turn_commit(struct cube_turn *t);

struct cube_turn_hook {
	struct cube_list entry; /* zero-initialise */
	void (*before)(
		void *arg); /* each commit: what is only in memory is to be written; or NULL */
	void (*committed)(void *arg); /* a transaction was; or NULL */
	void *arg;
};
void cube_turn_hook_add(struct cube_turn *t,
			struct cube_turn_hook *hook); /* called in this order */
void cube_turn_hook_remove(struct cube_turn_hook *hook);

#endif
