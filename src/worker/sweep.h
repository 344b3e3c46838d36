/* Finding and killing every process that carries an entry in its environment.
 *
 * Process groups miss what called setsid, so a task's processes are known by a random cookie in
 * their environment, which they inherit and cannot lose by forking. A sweep looks through /proc
 * again and again until a pass finds none, because a process may fork while it is being looked for.
 */
#ifndef WORKER_SWEEP_H
#define WORKER_SWEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cube/loop.h"

/* One pass: sends signo (0: none) to each process but this one whose environment holds `entry`
 * ("KEY=value") and which can be read; returns how many live ones there were. */
unsigned sweep_pass(const char *entry, int signo);

typedef void sweep_done_fn(void *arg);

struct sweep { /* fields are private; zero-initialised = not running */
	struct cube_loop *loop;
	struct cube_timer *timer;
	const char *entry;
	pid_t group;
	uint64_t kill_at;
	unsigned kills;
	sweep_done_fn *done;
	void *arg;
};

/* Looks at once and then each few milliseconds, only counting until the loop's time kill_at and
 * with SIGKILL from then on. done(arg) is called from the loop, never from here, when none is
 * left or 10 s of killing did not help (a process may be stuck in the kernel). entry stays the
 * caller's. group, where not 0, is a process group that counts and is killed too. */
void sweep_start(struct sweep *s, struct cube_loop *loop, const char *entry, pid_t group,
		 uint64_t kill_at, sweep_done_fn *done, void *arg);
bool sweep_running(const struct sweep *s);
void sweep_kill_at(struct sweep *s, uint64_t kill_at); /* moves the time forward, never back */
void sweep_cancel(struct sweep *s);                    /* done will not be called */

#endif
