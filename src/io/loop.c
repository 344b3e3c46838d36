/* The event loop: see loop.h for its order and promises.
 *
 * epoll holds index | generation << 32 of a slot, never a pointer, so an event that was already
 * fetched when its source went finds another generation and is dropped.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cube/assert.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/loop.h"
#include "guard.h"
#include "cube/mem.h"

enum {
	BATCH = 64,       /* epoll events fetched a turn */
	SIGNAL_BATCH = 8, /* signals read a turn */
	REAP_BATCH = 256, /* children reaped a turn: a respawning callback must not keep us here */
	CHILD_BUCKETS = 128, /* a power of two */
	SIGNALS = 65,
	FREE_ROUNDS = 64, /* deferred calls that defer, while the loop is being freed */
};

static const uint64_t STOP_NS = CUBE_NS_PER_S;
static const uint32_t NO_SLOT = UINT32_MAX;
static const size_t NO_POS = SIZE_MAX;

struct cube_io {
	struct cube_list entry; /* in loop->always, loop->polled or loop->dead */
	struct cube_loop *loop;
	cube_io_fn *fn;
	void *arg;
	int fd;
	uint32_t events, slot;
	bool always; /* epoll refuses it (regular file, /dev/null): ready at all times */
	bool gone;
};

struct cube_timer {
	struct cube_list entry; /* in loop->timers (idle), loop->due or loop->dead_timers */
	struct cube_loop *loop;
	cube_timer_fn *fn;
	void *arg;
	uint64_t deadline, seq; /* seq: equal deadlines fire in the order they were armed */
	size_t pos;             /* in the heap, or NO_POS */
	bool due, gone;
};

struct slot {
	struct cube_io *io; /* NULL while free */
	uint32_t gen, next_free;
};

struct call {
	void (*fn)(void *arg);
	void *arg;
	int order; /* of a before-sleep hook */
};

struct calls {
	struct call *v;
	size_t len, cap;
};

struct child {
	struct child *next;
	pid_t pid;
	cube_child_fn *fn;
	void *arg;
};

struct handler {
	cube_signal_fn *fn;
	void *arg;
	bool blocked_by_us;
};

struct cube_loop {
	int epfd, sigfd;
	uint64_t now;
	uint64_t stood; /* how far our clock is behind the system's */
	bool forgive;
	bool stop, turning;
	bool reap;          /* children may have died unnoticed: look without waiting for SIGCHLD */
	bool children_seen; /* SIGCHLD is watched for wait4 */

	struct slot *slots;
	size_t nslots;
	uint32_t free_slot;
	struct cube_list polled, always, dead;

	struct cube_timer **heap;
	size_t nheap, heap_cap;
	uint64_t seq;
	struct cube_list timers, due, dead_timers;

	struct calls deferred, hooks;

	struct cube_io *sigio;
	sigset_t sigmask;
	struct handler handlers[SIGNALS];
	struct child *children[CHILD_BUCKETS];
};

/* ---- io ---------------------------------------------------------------------------------- */

static int poll_ctl(struct cube_io *io, int op) {
	struct cube_loop *l = io->loop;
	struct epoll_event ev = {
		.events = io->events,
		.data.u64 = io->slot | (uint64_t)l->slots[io->slot].gen << 32,
	};
	return epoll_ctl(l->epfd, op, io->fd, &ev);
}

static void slot_take(struct cube_loop *l, struct cube_io *io) {
	if (l->free_slot == NO_SLOT) {
		size_t n = l->nslots ? l->nslots * 2 : 16;
		l->slots = cube_realloc_array(l->slots, n, sizeof *l->slots);
		for (size_t i = n; i-- > l->nslots;) {
			l->slots[i] = (struct slot){.next_free = l->free_slot};
			l->free_slot = (uint32_t)i;
		}
		l->nslots = n;
	}
	io->slot = l->free_slot;
	l->free_slot = l->slots[io->slot].next_free;
	l->slots[io->slot].io = io;
}

static void slot_give(struct cube_loop *l, struct cube_io *io) {
	struct slot *s = &l->slots[io->slot];
	s->io = NULL;
	s->gen++;
	s->next_free = l->free_slot;
	l->free_slot = io->slot;
}

int cube_io_add(struct cube_loop *loop, int fd, uint32_t events, cube_io_fn *fn, void *arg,
		struct cube_io **ret, struct cube_err *err) {
	struct cube_io *io = cube_alloc(sizeof *io);
	*io = (struct cube_io){.loop = loop, .fd = fd, .events = events, .fn = fn, .arg = arg};
	slot_take(loop, io);
	if (poll_ctl(io, EPOLL_CTL_ADD) < 0) {
		int sys = errno;
		if (sys != EPERM) {
			slot_give(loop, io);
			free(io);
			return cube_fail_sys(err, sys, "cannot watch fd %d", fd);
		}
		io->always = true;
	}
	cube_list_append(io->always ? &loop->always : &loop->polled, &io->entry);
	*ret = io;
	return 0;
}

void cube_io_set(struct cube_io *io, uint32_t events) {
	if (io->gone || io->events == events) return;
	io->events = events;
	if (io->always) return;
	int rc = poll_ctl(io, EPOLL_CTL_MOD);
	cube_assert(rc == 0); /* fails only when the fd was closed before _del */
	(void)rc;
}

void cube_io_del(struct cube_io *io) {
	if (!io || io->gone) return;
	if (!io->always) poll_ctl(io, EPOLL_CTL_DEL);
	slot_give(io->loop, io);
	io->gone = true;
	cube_list_remove(&io->entry);
	cube_list_append(&io->loop->dead, &io->entry);
}

static void dispatch(struct cube_loop *l, const struct epoll_event *ev) {
	uint32_t index = (uint32_t)ev->data.u64, gen = (uint32_t)(ev->data.u64 >> 32);
	if (index >= l->nslots || l->slots[index].gen != gen) return;
	struct cube_io *io = l->slots[index].io;
	if (!io) return;
	/* A callback of this batch may have lost interest. */
	uint32_t ready = ev->events & (io->events | EPOLLERR | EPOLLHUP);
	if (ready) io->fn(io->arg, ready);
}

static bool always_wanted(const struct cube_loop *l) {
	for (const struct cube_list *k = l->always.next; k != &l->always; k = k->next)
		if (cube_container(k, struct cube_io, entry)->events & (EPOLLIN | EPOLLOUT))
			return true;
	return false;
}

/* Each source that was there at the start once; what callbacks add waits for the next turn. */
static void dispatch_always(struct cube_loop *l) {
	struct cube_list todo;
	cube_list_move(&todo, &l->always);
	while (!cube_list_empty(&todo)) {
		struct cube_list *k = todo.next;
		struct cube_io *io = cube_container(k, struct cube_io, entry);
		cube_list_remove(k);
		cube_list_append(&l->always, k);
		uint32_t ready = io->events & (EPOLLIN | EPOLLOUT);
		if (ready) io->fn(io->arg, ready);
	}
}

/* ---- timers ------------------------------------------------------------------------------ */

static bool before(const struct cube_timer *a, const struct cube_timer *b) {
	return a->deadline != b->deadline ? a->deadline < b->deadline : a->seq < b->seq;
}

static void heap_put(struct cube_loop *l, size_t pos, struct cube_timer *t) {
	l->heap[pos] = t;
	t->pos = pos;
}

static void heap_up(struct cube_loop *l, size_t pos, struct cube_timer *t) {
	for (; pos && before(t, l->heap[(pos - 1) / 2]); pos = (pos - 1) / 2)
		heap_put(l, pos, l->heap[(pos - 1) / 2]);
	heap_put(l, pos, t);
}

static void heap_down(struct cube_loop *l, size_t pos, struct cube_timer *t) {
	for (;;) {
		size_t kid = 2 * pos + 1;
		if (kid + 1 < l->nheap && before(l->heap[kid + 1], l->heap[kid])) kid++;
		if (kid >= l->nheap || !before(l->heap[kid], t)) break;
		heap_put(l, pos, l->heap[kid]);
		pos = kid;
	}
	heap_put(l, pos, t);
}

static void heap_remove(struct cube_loop *l, struct cube_timer *t) {
	size_t pos = t->pos;
	struct cube_timer *last = l->heap[--l->nheap];
	t->pos = NO_POS;
	if (last == t) return;
	if (pos && before(last, l->heap[(pos - 1) / 2])) heap_up(l, pos, last);
	else heap_down(l, pos, last);
}

struct cube_timer *cube_timer_add(struct cube_loop *loop, cube_timer_fn *fn, void *arg) {
	struct cube_timer *t = cube_alloc(sizeof *t);
	*t = (struct cube_timer){.loop = loop, .fn = fn, .arg = arg, .pos = NO_POS};
	cube_list_append(&loop->timers, &t->entry);
	return t;
}

void cube_timer_disarm(struct cube_timer *t) {
	if (t->pos != NO_POS) heap_remove(t->loop, t);
	if (!t->due) return;
	t->due = false;
	cube_list_remove(&t->entry);
	cube_list_append(&t->loop->timers, &t->entry);
}

void cube_timer_arm(struct cube_timer *t, uint64_t deadline_ns) {
	struct cube_loop *l = t->loop;
	if (t->gone) return;
	cube_timer_disarm(t);
	if (l->nheap == l->heap_cap) {
		l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 16;
		l->heap = cube_realloc_array(l->heap, l->heap_cap, sizeof(*l->heap));
	}
	t->deadline = deadline_ns;
	t->seq = l->seq++;
	heap_up(l, l->nheap++, t);
}

void cube_timer_after(struct cube_timer *t, uint64_t delay_ns) {
	uint64_t now = t->loop->now;
	cube_timer_arm(t, delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns);
}

bool cube_timer_armed(const struct cube_timer *t) {
	return t->due || t->pos != NO_POS;
}

void cube_timer_del(struct cube_timer *t) {
	if (!t || t->gone) return;
	cube_timer_disarm(t);
	t->gone = true;
	cube_list_remove(&t->entry);
	cube_list_append(&t->loop->dead_timers, &t->entry);
}

/* All that are due leave the heap first: a timer armed again for "now" by a callback then fires
 * in the next turn, and never keeps this one going. */
static void run_timers(struct cube_loop *l) {
	while (l->nheap && l->heap[0]->deadline <= l->now) {
		struct cube_timer *t = l->heap[0];
		heap_remove(l, t);
		t->due = true;
		cube_list_remove(&t->entry);
		cube_list_append(&l->due, &t->entry);
	}
	while (!cube_list_empty(&l->due)) {
		struct cube_timer *t = cube_container(l->due.next, struct cube_timer, entry);
		cube_timer_disarm(t);
		t->fn(t->arg);
	}
}

/* ---- signals and children ---------------------------------------------------------------- */

static int reap_children(struct cube_loop *l) {
	struct rusage usage;
	int status, reaped = 0;
	pid_t pid;
	while (reaped < REAP_BATCH) {
		pid = wait4(-1, &status, WNOHANG, &usage);
		if (pid < 0 && errno == EINTR) continue;
		if (pid <= 0) break;
		reaped++;
		cube_guard_remove(pid);
		struct child **at = &l->children[(unsigned)pid % CHILD_BUCKETS];
		while (*at && (*at)->pid != pid) at = &(*at)->next;
		struct child *c = *at;
		if (!c)
			continue; /* an orphan that came to us as its subreaper, or a forgotten one
				   */
		*at = c->next;
		cube_child_fn *fn = c->fn;
		void *arg = c->arg;
		free(c);
		fn(arg, status, &usage);
	}
	return reaped;
}

static void on_sigfd(void *arg, uint32_t events) {
	struct cube_loop *l = arg;
	struct signalfd_siginfo si[SIGNAL_BATCH];
	ssize_t n = read(l->sigfd, si, sizeof si);
	for (ssize_t i = 0; n > 0 && i < n / (ssize_t)sizeof si[0]; i++) {
		uint32_t signo = si[i].ssi_signo;
		if (signo >= SIGNALS) continue;
		if (signo == SIGCHLD && l->children_seen) l->reap = true;
		struct handler *h = &l->handlers[signo];
		if (h->fn) h->fn(h->arg, (int)signo);
	}
}

static int sigfd_update(struct cube_loop *l, struct cube_err *err) {
	int fd = signalfd(l->sigfd, &l->sigmask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) return cube_fail_sys(err, errno, "signalfd");
	l->sigfd = fd;
	if (l->sigio) return 0;
	return cube_io_add(l, fd, EPOLLIN, on_sigfd, l, &l->sigio, err);
}

static int signal_watch(struct cube_loop *l, int signo, struct cube_err *err) {
	sigset_t one, old;
	if (sigismember(&l->sigmask, signo)) return 0;
	sigemptyset(&one);
	sigaddset(&one, signo);
	sigaddset(&l->sigmask, signo);
	int rc = sigfd_update(l, err);
	if (rc < 0) {
		sigdelset(&l->sigmask, signo);
		return rc;
	}
	sigprocmask(SIG_BLOCK, &one, &old);
	l->handlers[signo].blocked_by_us = !sigismember(&old, signo);
	return 0;
}

/* What is pending is swallowed: unblocking must not kill a program that asked to stop watching. */
static void signal_unwatch(struct cube_loop *l, int signo) {
	static const struct timespec zero;
	sigset_t one;
	if (!sigismember(&l->sigmask, signo)) return;
	sigdelset(&l->sigmask, signo);
	sigfd_update(l, NULL);
	sigemptyset(&one);
	sigaddset(&one, signo);
	while (sigtimedwait(&one, NULL, &zero) == signo) {}
	if (l->handlers[signo].blocked_by_us) sigprocmask(SIG_UNBLOCK, &one, NULL);
}

int cube_loop_on_signal(struct cube_loop *loop, int signo, cube_signal_fn *fn, void *arg,
			struct cube_err *err) {
	if (signo <= 0 || signo >= SIGNALS || signo == SIGKILL || signo == SIGSTOP)
		return cube_fail(err, CUBE_EUSAGE, "signal %d cannot be watched", signo);
	if (fn) {
		int rc = signal_watch(loop, signo, err);
		if (rc < 0) return rc;
	} else if (signo != SIGCHLD || !loop->children_seen) {
		signal_unwatch(loop, signo);
	}
	loop->handlers[signo].fn = fn;
	loop->handlers[signo].arg = arg;
	return 0;
}

int cube_loop_on_child(struct cube_loop *loop, pid_t pid, cube_child_fn *fn, void *arg,
		       struct cube_err *err) {
	if (!loop->children_seen) {
		int rc = signal_watch(loop, SIGCHLD, err);
		if (rc < 0) return rc;
		loop->children_seen = true;
		loop->reap = true; /* it may have died before SIGCHLD was blocked */
	}
	cube_loop_forget_child(loop, pid);
	struct child **bucket = &loop->children[(unsigned)pid % CHILD_BUCKETS];
	struct child *c = cube_alloc(sizeof *c);
	*c = (struct child){.next = *bucket, .pid = pid, .fn = fn, .arg = arg};
	*bucket = c;
	return 0;
}

void cube_loop_forget_child(struct cube_loop *loop, pid_t pid) {
	struct child **at = &loop->children[(unsigned)pid % CHILD_BUCKETS];
	while (*at && (*at)->pid != pid) at = &(*at)->next;
	struct child *c = *at;
	if (!c) return;
	*at = c->next;
	free(c);
}

/* ---- deferred calls and hooks ------------------------------------------------------------ */

static void calls_insert(struct calls *c, size_t at, struct call call) {
	if (c->len == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		c->v = cube_realloc_array(c->v, c->cap, sizeof *c->v);
	}
	memmove(c->v + at + 1, c->v + at, (c->len - at) * sizeof *c->v);
	c->v[at] = call;
	c->len++;
}

void cube_loop_defer(struct cube_loop *loop, void (*fn)(void *arg), void *arg) {
	calls_insert(&loop->deferred, loop->deferred.len, (struct call){.fn = fn, .arg = arg});
}

void cube_loop_before_sleep(struct cube_loop *loop, int order, void (*fn)(void *arg), void *arg) {
	size_t at = loop->hooks.len;
	while (at && loop->hooks.v[at - 1].order > order) at--;
	calls_insert(&loop->hooks, at, (struct call){.fn = fn, .arg = arg, .order = order});
}

static void run_hooks(struct cube_loop *l) {
	for (size_t i = 0; i < l->hooks.len; i++) l->hooks.v[i].fn(l->hooks.v[i].arg);
}

static void bury(struct cube_loop *l) {
	cube_list_each (&l->dead, io, struct cube_io, entry) free(io);
	cube_list_each (&l->dead_timers, t, struct cube_timer, entry) free(t);
	cube_list_init(&l->dead);
	cube_list_init(&l->dead_timers);
}

static void run_deferred(struct cube_loop *l) {
	struct calls now = l->deferred;
	l->deferred = (struct calls){0}; /* what these calls defer waits for the next turn */
	for (size_t i = 0; i < now.len; i++) now.v[i].fn(now.v[i].arg);
	if (!l->deferred.v) { /* keep the array for the next turn */
		now.len = 0;
		l->deferred = now;
	} else {
		free(now.v);
	}
	bury(l);
}

/* ---- the loop ---------------------------------------------------------------------------- */

int cube_loop_new(struct cube_loop **ret, struct cube_err *err) {
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0) return cube_fail_sys(err, errno, "epoll_create1");
	struct cube_loop *l = cube_alloc(sizeof *l);
	l->epfd = epfd;
	l->sigfd = -1;
	l->free_slot = NO_SLOT;
	l->now = cube_clock_mono();
	sigemptyset(&l->sigmask);
	struct cube_list *heads[] = {&l->polled, &l->always, &l->dead,
				     &l->timers, &l->due,    &l->dead_timers};
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) cube_list_init(heads[i]);
	*ret = l;
	return 0;
}

void cube_loop_free(struct cube_loop *loop) {
	if (!loop) return;
	for (int i = 0; i < FREE_ROUNDS && loop->deferred.len; i++) run_deferred(loop);
	for (int signo = 1; signo < SIGNALS; signo++) signal_unwatch(loop, signo);
	cube_list_each (&loop->polled, io, struct cube_io, entry) cube_io_del(io);
	cube_list_each (&loop->always, io, struct cube_io, entry) cube_io_del(io);
	cube_list_each (&loop->due, t, struct cube_timer, entry) cube_timer_del(t);
	cube_list_each (&loop->timers, t, struct cube_timer, entry) cube_timer_del(t);
	bury(loop);
	for (size_t i = 0; i < CHILD_BUCKETS; i++)
		while (loop->children[i]) cube_loop_forget_child(loop, loop->children[i]->pid);
	if (loop->sigfd >= 0) close(loop->sigfd);
	close(loop->epfd);
	free(loop->slots);
	free(loop->heap);
	free(loop->deferred.v);
	free(loop->hooks.v);
	free(loop);
}

static uint64_t read_clock(const struct cube_loop *l) {
	return cube_clock_mono() - l->stood;
}

void cube_loop_forgive_stops(struct cube_loop *loop) {
	loop->forgive = true;
}

/* Sleeping, or a turn's work, took longer than it was to: then we did not run. */
static uint64_t forgive(struct cube_loop *l, uint64_t before, int ms) {
	uint64_t now = read_clock(l), most = (uint64_t)ms * CUBE_NS_PER_MS;
	if (!l->forgive || ms < 0 || now - before <= most + STOP_NS) return now;
	l->stood += now - before - most;
	return before + most;
}

/* Rounded up, so that a timer is due when its sleep ends. */
static int sleep_ms(const struct cube_loop *l, int timeout_ms) {
	if (l->stop || l->reap || l->deferred.len || always_wanted(l)) return 0;
	if (!l->nheap) return timeout_ms;
	uint64_t now = read_clock(l), deadline = l->heap[0]->deadline;
	if (deadline <= now) return 0;
	uint64_t ms = (deadline - now) / CUBE_NS_PER_MS + 1;
	if (ms > INT_MAX) ms = INT_MAX;
	return timeout_ms < 0 || ms < (uint64_t)timeout_ms ? (int)ms : timeout_ms;
}

int cube_loop_turn(struct cube_loop *loop, int timeout_ms, struct cube_err *err) {
	struct epoll_event ev[BATCH];
	cube_assert(!loop->turning);
	loop->turning = true;
	run_hooks(loop);
	uint64_t before = forgive(loop, loop->now, 0);
	int ms = sleep_ms(loop, timeout_ms);
	int n = epoll_wait(loop->epfd, ev, BATCH, ms);
	int sys = n < 0 && errno != EINTR ? errno : 0;
	loop->now = forgive(loop, before, ms);
	for (int i = 0; i < n; i++) dispatch(loop, &ev[i]);
	dispatch_always(loop);
	if (loop->reap) loop->reap = reap_children(loop) == REAP_BATCH;
	run_timers(loop);
	run_deferred(loop);
	loop->turning = false;
	return sys ? cube_fail_sys(err, sys, "epoll_wait") : 0;
}

int cube_loop_run(struct cube_loop *loop, struct cube_err *err) {
	int rc = 0;
	loop->now = read_clock(loop);
	while (!loop->stop && rc == 0) rc = cube_loop_turn(loop, -1, err);
	loop->stop = false;
	run_hooks(loop); /* what the last turn did is committed and flushed too */
	return rc;
}

void cube_loop_stop(struct cube_loop *loop) {
	loop->stop = true;
}

uint64_t cube_loop_now(const struct cube_loop *loop) {
	return loop->now;
}
