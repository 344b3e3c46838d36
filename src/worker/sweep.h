/* Finding and killing every process that carries an entry in its environment.
 *
 * Process groups miss what called setsid, so a task's processes are known by a random cookie in
 * their environment, which they inherit and cannot lose by forking. Some clear their environment
 * (env -i) or hide it (ssh-agent): those are known by their session, and at the daemon's end as its
 * children, since a subreaper adopts what was orphaned. A sweep looks through /proc again and again
 * until a pass finds none, because a process may fork while it is being looked for. All sweeps of a
 * sweeper share each pass: stopping a hundred tasks costs one look at /proc, not a hundred.
 */
#ifndef WORKER_SWEEP_H
#define WORKER_SWEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cube/list.h"
#include "cube/loop.h"

struct sweeper {
	struct cube_loop *loop;
	struct cube_timer *timer;
	struct cube_list sweeps;
};

typedef void sweep_done_fn(void *arg);

struct sweep { /* fields are private; zero-initialised = not running */
	struct cube_list entry;
	const char *cookie; /* the entry */
	pid_t session;
	uint64_t kill_at, next, pause;
	unsigned found, kills;
	bool killing, node;
	sweep_done_fn *done;
	void *arg;
};

void sweeper_init(struct sweeper *w, struct cube_loop *loop);
void sweeper_done(struct sweeper *w);

/* Looks for processes with entry (one of the two cookies: "CUBE_COOKIE=..." or
 * "CUBE_NODE_COOKIE=...") until none is left, only counting until the loop's time kill_at and with
 * SIGKILL from then on. done(arg) is called from the loop, never from here, when none is left or 10
 * s of killing did not help (a process may be stuck in the kernel). entry stays the caller's.
 * session, where not 0, is the task's: its members count too. For the node's cookie all children of
 * this process do. A running sweep begins anew. */
void sweep_start(struct sweeper *w, struct sweep *s, const char *entry, pid_t session,
		 uint64_t kill_at, sweep_done_fn *done, void *arg);
bool sweep_running(const struct sweep *s);
/* Moves the time forward, never back. */
void sweep_kill_at(struct sweeper *w, struct sweep *s, uint64_t kill_at);
void sweep_cancel(struct sweep *s); /* done will not be called */

#endif
