/* Ending child processes: see hangup.h. */
#include <signal.h>
#include <stdlib.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/hangup.h"

static const uint64_t GRACE_NS = 2 * CUBE_NS_PER_S;

struct dying {
	struct cube_list entry;
	struct cube_loop *loop;
	struct cube_timer *timer;
	pid_t pid;
};

static void release(struct dying *d) {
	kill(-d->pid, SIGKILL);
	cube_loop_forget_child(d->loop, d->pid);
	cube_timer_del(d->timer);
	cube_list_remove(&d->entry);
	free(d);
}

/* What it had started is told at once that nobody waits for it any more. */
static void on_child(void *arg, int status, const struct rusage *usage) {
	release(arg);
}

static void on_grace(void *arg) {
	release(arg);
}

void cube_hang_up(struct cube_loop *loop, struct cube_list *dying, pid_t pid) {
	struct dying *d = cube_alloc(sizeof *d);
	d->loop = loop;
	d->pid = pid;
	d->timer = cube_timer_add(loop, on_grace, d);
	cube_timer_after(d->timer, GRACE_NS);
	cube_loop_on_child(loop, pid, on_child, d, NULL); /* it was watched before: cannot fail */
	cube_list_append(dying, &d->entry);
	kill(-pid, SIGTERM);
}

void cube_hang_up_all(struct cube_list *dying) {
	cube_list_each (dying, d, struct dying, entry) release(d);
}
