/* Following the manager's events. */
#ifndef CUBE_CLI_WATCH_H
#define CUBE_CLI_WATCH_H

#include "cli.h"
#include "signals.h"
#include "sse.h"

struct cube_watch {
	struct cube_sse sse;
	struct cube_transfer *transfer;
	cube_sse_fn *fn;
	void *arg;
};

/* Events after sequence number `after`, given to fn while cube_client_turn is called. */
void cube_watch_start(struct cube_watch *w, struct cube_cli *cli, int64_t after, bool follow,
		      cube_sse_fn *fn, void *arg);
/* Follows, and questions for a person too: whoever calls this answers them. */
void cube_watch_start_asking(struct cube_watch *w, struct cube_cli *cli, int64_t after,
			     cube_sse_fn *fn, void *arg);
/* Turns until the transfer has ended, which gives its result, or SIGINT or SIGTERM arrives
 * (CUBE_ECANCELED, .sys is the signal). */
int cube_watch_transfer(const struct cube_transfer *t, struct cube_cli *cli, struct cube_err *err);
void cube_watch_stop(struct cube_watch *w); /* may be called twice */
/* As cube_watch_transfer: until fn returns not 0 (a positive number, comes back), the events end
 * (0), or the manager goes away (negative). */
int cube_watch_wait(struct cube_watch *w, struct cube_cli *cli, struct cube_err *err);
/* The newest event's number. */
int cube_watch_now(struct cube_cli *cli, int64_t *ret_after, struct cube_err *err);

#endif
