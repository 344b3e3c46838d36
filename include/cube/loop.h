/* The event loop of worker and manager: level-triggered epoll, timers, signals, children.
 *
 * A turn runs in this order: before-sleep hooks, epoll_wait, io callbacks, timers, signals'
 * and children's callbacks (as they are found among the io), deferred calls. One monotonic
 * `now` is taken a turn, right after the poll.
 *
 * Any callback may add, change and remove any source, its own included: removal takes effect
 * at once (no later callback of this batch runs for it) and its memory goes at the deferred
 * phase. A source is known to epoll by index and generation, so an event of a removed source
 * whose fd number was used again is never delivered to the new owner.
 *
 * Handles are owned by the loop and valid until the matching _del. No threads. One loop a
 * process may watch children (SIGCHLD belongs to the process).
 */
#ifndef CUBE_LOOP_H
#define CUBE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cube/err.h"

struct cube_loop;
struct cube_io;
struct cube_timer;

int cube_loop_new(struct cube_loop **ret, struct cube_err *err);
/* All sources with it, after the deferred calls that are still waiting; gives signals their old
 * place in the mask back. NULL is fine. A loop does not survive a fork: make it after the last. */
void cube_loop_free(struct cube_loop *loop);

/* Runs turns until cube_loop_stop, then the before-sleep hooks once more, so that what the last
 * turn did is committed and flushed too. Returns 0, or CUBE_ESYS when epoll itself fails. */
int cube_loop_run(struct cube_loop *loop, struct cube_err *err);
void cube_loop_stop(struct cube_loop *loop);
/* One turn, waiting at most timeout_ms (-1: until something happens, 0: not at all). */
int cube_loop_turn(struct cube_loop *loop, int timeout_ms, struct cube_err *err);

uint64_t cube_loop_now(const struct cube_loop *loop); /* ns, this turn's monotonic time */
/* From now on the time this process was stopped (SIGSTOP, a frozen cgroup, no CPU to be had for
 * over a second) does not pass on the loop's clock, as a suspended machine's does not: what others
 * sent meanwhile is read before any timer says that they were silent. */
void cube_loop_forgive_stops(struct cube_loop *loop);

/* io: fn gets the ready EPOLL* bits. events may be 0 (then only ERR/HUP come). The fd stays the
 * caller's and must not be closed before _del. What epoll refuses (a regular file, /dev/null)
 * is ready for IN and OUT in every turn. */
typedef void cube_io_fn(void *arg, uint32_t events);
int cube_io_add(struct cube_loop *loop, int fd, uint32_t events, cube_io_fn *fn, void *arg,
		struct cube_io **ret, struct cube_err *err);
void cube_io_set(struct cube_io *io, uint32_t events); /* cheap when nothing changes */
void cube_io_del(struct cube_io *io);                  /* NULL is fine */

/* Timers: a heap. arm sets or moves the deadline (ns, same axis as cube_loop_now); a timer
 * fires once and is then disarmed, and may be armed again, also from its own callback. */
typedef void cube_timer_fn(void *arg);
struct cube_timer *cube_timer_add(struct cube_loop *loop, cube_timer_fn *fn, void *arg);
void cube_timer_arm(struct cube_timer *t, uint64_t deadline_ns);
void cube_timer_after(struct cube_timer *t, uint64_t delay_ns); /* deadline = now + delay */
void cube_timer_disarm(struct cube_timer *t);
bool cube_timer_armed(const struct cube_timer *t);
void cube_timer_del(struct cube_timer *t); /* NULL is fine */

/* Signals through signalfd: blocks signo for the process (spawn unblocks it in children).
 * fn(arg, signo). One handler a signal; NULL fn stops watching. */
typedef void cube_signal_fn(void *arg, int signo);
int cube_loop_on_signal(struct cube_loop *loop, int signo, cube_signal_fn *fn, void *arg,
			struct cube_err *err);

/* Children: fn(arg, status as from wait(2), usage) once, when pid has been reaped; the watch is
 * then gone. SIGCHLD + wait4 rather than pidfd: hosts with kernels before 5.3 must work, and
 * a subreaper has to reap children it never knew. Those are reaped silently.
 * Register before returning to the loop after the fork; there is no race within a turn. */
typedef void cube_child_fn(void *arg, int status, const struct rusage *usage);
int cube_loop_on_child(struct cube_loop *loop, pid_t pid, cube_child_fn *fn, void *arg,
		       struct cube_err *err);
void cube_loop_forget_child(struct cube_loop *loop, pid_t pid); /* fn will not run; still reaped */

/* Runs fn(arg) once at the end of this turn (or at the end of the next one when called from a
 * before-sleep hook or a deferred call): the way to free what a callback chain stands on. */
void cube_loop_defer(struct cube_loop *loop, void (*fn)(void *arg), void *arg);

/* Hooks run before each sleep, in rising order of `order` (commit: 10, flush: 20). */
void cube_loop_before_sleep(struct cube_loop *loop, int order, void (*fn)(void *arg), void *arg);

#endif
