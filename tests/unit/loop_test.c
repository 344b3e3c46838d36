/* The loop, by its risks. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/loop.h"

static uint64_t fake_now;
static uint64_t fake_clock(void) {
	return fake_now;
}
static const struct cube_clock_source fake_clocks = {.mono = fake_clock};

static struct cube_loop *loop;

static void setup(void) {
	struct cube_err err;
	fake_now = 1000;
	ck_assert_int_eq(cube_loop_new(&loop, &err), 0);
}

static void teardown(void) {
	cube_loop_free(loop);
	cube_clock_set_source(NULL);
}

static void use_fake_clock(void) {
	cube_clock_set_source(&fake_clocks);
	cube_loop_free(loop);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
}

static void turn(int timeout_ms) {
	ck_assert_int_eq(cube_loop_turn(loop, timeout_ms, NULL), 0);
}

static void make_pipe(int p[2]) {
	ck_assert_int_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
}

static void put(int fd) {
	ck_assert_int_eq(write(fd, "x", 1), 1);
}

/* A source that counts its calls, may drain its fd, and removes others (or itself). */
struct src {
	struct cube_io *io;
	struct src *kill[2]; /* removed in the callback */
	int fd, calls;
	uint32_t last;
};

static void on_src(void *arg, uint32_t events) {
	struct src *s = arg;
	char byte;
	s->calls++;
	s->last = events;
	for (int i = 0; i < 2; i++) {
		if (!s->kill[i]) continue;
		cube_io_del(s->kill[i]->io);
		s->kill[i]->io = NULL;
	}
	if (s->fd >= 0 && events & EPOLLIN) ck_assert_int_ge((int)read(s->fd, &byte, 1), 0);
}

static void watch(struct src *s, int fd, uint32_t events) {
	s->fd = fd;
	ck_assert_int_eq(cube_io_add(loop, fd, events, on_src, s, &s->io, NULL), 0);
}

START_TEST(source_freed_in_its_own_callback) {
	int p[2];
	struct src s = {.kill = {&s}};
	make_pipe(p);
	watch(&s, p[0], EPOLLIN);
	put(p[1]);
	put(p[1]);
	turn(0);
	turn(0);
	ck_assert_int_eq(s.calls, 1);
	cube_io_del(NULL);
}
END_TEST

START_TEST(sibling_freed_in_the_same_batch) {
	int p[2], q[2];
	struct src a = {0}, b = {0};
	a.kill[0] = &b;
	b.kill[0] = &a;
	make_pipe(p);
	make_pipe(q);
	watch(&a, p[0], EPOLLIN);
	watch(&b, q[0], EPOLLIN);
	put(p[1]);
	put(q[1]);
	turn(0);
	ck_assert_int_eq(a.calls + b.calls, 1); /* whichever came first removed the other */
	ck_assert(!a.io != !b.io);
}
END_TEST

struct reuse {
	struct src *victims[2];
	int pipes[2][2];
	struct src fresh;
	bool done;
};
static struct reuse reuse;

/* Removes the other source, closes its fd and puts a new pipe in the same number and slot. */
static void on_reuse(void *arg, uint32_t events) {
	int self = (int)(intptr_t)arg, other = !self, p[2];
	ck_assert(!reuse.done);
	reuse.done = true;
	int number = reuse.pipes[other][0];
	cube_io_del(reuse.victims[other]->io);
	close(number);
	make_pipe(p);
	if (p[0] != number) {
		ck_assert_int_eq(dup2(p[0], number), number);
		ck_assert_int_eq(fcntl(number, F_SETFL, O_NONBLOCK), 0);
	}
	watch(&reuse.fresh, number, EPOLLIN);
	char byte;
	ck_assert_int_eq(read(reuse.pipes[self][0], &byte, 1), 1);
}

START_TEST(fd_number_reused_in_a_batch) {
	struct src v[2] = {0};
	memset(&reuse, 0, sizeof reuse);
	for (int i = 0; i < 2; i++) {
		make_pipe(reuse.pipes[i]);
		reuse.victims[i] = &v[i];
		ck_assert_int_eq(cube_io_add(loop, reuse.pipes[i][0], EPOLLIN, on_reuse,
					     (void *)(intptr_t)i, &v[i].io, NULL),
				 0);
		put(reuse.pipes[i][1]);
	}
	turn(0);
	ck_assert(reuse.done);
	ck_assert_int_eq(reuse.fresh.calls, 0); /* the stale event was not for it */
	turn(0);
	ck_assert_int_eq(reuse.fresh.calls, 0);
}
END_TEST

START_TEST(interest_changed_in_a_batch_is_obeyed) {
	int sv[2];
	struct src s = {0};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	watch(&s, sv[0], EPOLLOUT);
	put(sv[1]);
	turn(0);
	ck_assert_uint_eq(s.last, EPOLLOUT);
	cube_io_set(s.io, EPOLLIN);
	turn(0);
	ck_assert_uint_eq(s.last, EPOLLIN);
	cube_io_set(s.io, 0);
	turn(0);
	ck_assert_int_eq(s.calls, 2);
	close(sv[1]);
	turn(0);
	ck_assert(s.last & EPOLLHUP);
	close(sv[0]); /* before teardown's _del, as a careless owner might */
}
END_TEST

static void on_hush(void *arg, uint32_t events) {
	struct src *other = arg;
	other->calls++;
	cube_io_set(other->io, 0);
}

START_TEST(interest_lost_in_the_same_batch_is_obeyed) {
	struct src s[2] = {0};
	for (int i = 0; i < 2; i++) {
		int p[2];
		make_pipe(p);
		put(p[1]);
		ck_assert_int_eq(cube_io_add(loop, p[0], EPOLLIN, on_hush, &s[!i], &s[i].io, NULL),
				 0);
	}
	turn(0);
	ck_assert_int_eq(s[0].calls + s[1].calls, 1);
}
END_TEST

START_TEST(what_epoll_refuses_is_always_ready) {
	struct src file = {0}, null = {0};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	watch(&file, fd, EPOLLIN);
	watch(&null, open("/dev/null", O_RDWR | O_CLOEXEC), EPOLLOUT);
	file.kill[0] = &null;
	turn(-1); /* must not sleep */
	ck_assert_int_eq(file.calls, 1);
	ck_assert_int_eq(null.calls, 0);
	turn(-1);
	ck_assert_int_eq(file.calls, 2);
	cube_io_set(file.io, 0);
	turn(0);
	ck_assert_int_eq(file.calls, 2);
}
END_TEST

START_TEST(bad_fd_is_an_error) {
	struct cube_io *io = NULL;
	struct cube_err err;
	ck_assert_int_eq(cube_io_add(loop, 999, EPOLLIN, on_src, NULL, &io, &err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, EBADF);
	ck_assert_ptr_null(io);
}
END_TEST

/* ---- timers */

struct tm_src {
	struct cube_timer *t;
	struct tm_src *cancel, *destroy;
	int calls;
	bool rearm;
};

static void on_timer(void *arg) {
	struct tm_src *s = arg;
	s->calls++;
	if (s->cancel) cube_timer_disarm(s->cancel->t);
	if (s->destroy) cube_timer_del(s->destroy->t);
	if (s->rearm) cube_timer_after(s->t, 0);
}

START_TEST(timer_cancelled_in_a_timer) {
	use_fake_clock();
	struct tm_src a = {0}, b = {0}, c = {0};
	a.cancel = &b;
	a.destroy = &c;
	a.t = cube_timer_add(loop, on_timer, &a);
	b.t = cube_timer_add(loop, on_timer, &b);
	c.t = cube_timer_add(loop, on_timer, &c);
	cube_timer_arm(a.t, 1001);
	cube_timer_arm(b.t, 1002);
	cube_timer_arm(c.t, 1003);
	fake_now = 2000;
	turn(0);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(b.calls, 0);
	ck_assert_int_eq(c.calls, 0);
	ck_assert(!cube_timer_armed(a.t) && !cube_timer_armed(b.t));
}
END_TEST

START_TEST(timer_deleted_in_its_own_callback) {
	use_fake_clock();
	struct tm_src a = {0};
	a.destroy = &a;
	a.t = cube_timer_add(loop, on_timer, &a);
	cube_timer_after(a.t, 0);
	turn(0);
	turn(0);
	ck_assert_int_eq(a.calls, 1);
}
END_TEST

START_TEST(timer_rearmed_in_its_own_callback_fires_once_a_turn) {
	use_fake_clock();
	struct tm_src a = {.rearm = true}, b = {0};
	a.t = cube_timer_add(loop, on_timer, &a);
	b.t = cube_timer_add(loop, on_timer, &b);
	cube_timer_after(a.t, 0);
	cube_timer_after(b.t, 5); /* later than the one that always is at the top */
	fake_now += 10;
	for (int i = 1; i <= 5; i++) {
		turn(-1);
		ck_assert_int_eq(a.calls, i);
		ck_assert_int_eq(b.calls, 1);
	}
	ck_assert(cube_timer_armed(a.t));
}
END_TEST

enum { MANY = 10000 };
static struct many {
	struct cube_timer *t;
	uint64_t deadline;
	int order; /* of arming */
	bool armed;
} many[MANY];
static int many_fired, many_last = -1;

static void on_many(void *arg) {
	struct many *m = arg;
	ck_assert(m->armed);
	ck_assert_uint_le(m->deadline, fake_now);
	if (many_last >= 0) {
		struct many *last = &many[many_last];
		ck_assert(last->deadline < m->deadline ||
			  (last->deadline == m->deadline && last->order < m->order));
	}
	many_last = (int)(m - many);
	m->armed = false;
	many_fired++;
}

/* Against the naive twin: the array itself. */
START_TEST(ten_thousand_timers_fire_in_order) {
	unsigned seed = (unsigned)_i * 7919 + 1;
	int order = 0, armed = 0;
	printf("timers seed %u\n", seed);
	srand48(seed);
	use_fake_clock();
	for (int i = 0; i < MANY; i++) many[i].t = cube_timer_add(loop, on_many, &many[i]);
	for (int i = 0; i < 3 * MANY; i++) {
		struct many *m = &many[i < MANY ? i : lrand48() % MANY];
		m->armed = i < MANY || lrand48() % 3;
		if (m->armed) {
			m->deadline = 1001 + (uint64_t)lrand48() % 5000;
			m->order = order++;
			cube_timer_arm(m->t, m->deadline);
		} else {
			cube_timer_disarm(m->t);
		}
	}
	for (int i = 0; i < MANY; i++) {
		armed += many[i].armed;
		ck_assert_int_eq(many[i].armed, cube_timer_armed(many[i].t));
	}
	for (fake_now = 1000; fake_now < 6100; fake_now += 1 + (uint64_t)lrand48() % 100) {
		int before = many_fired, due = 0;
		for (int i = 0; i < MANY; i++) due += many[i].armed && many[i].deadline <= fake_now;
		turn(0);
		ck_assert_int_eq(many_fired - before, due);
	}
	turn(0);
	ck_assert_int_eq(many_fired, armed);
}
END_TEST

START_TEST(a_real_sleep_ends_at_the_deadline) {
	struct tm_src a = {0};
	a.t = cube_timer_add(loop, on_timer, &a);
	uint64_t deadline = cube_clock_mono() + 3 * CUBE_NS_PER_MS;
	cube_timer_arm(a.t, deadline);
	turn(-1);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_uint_ge(cube_loop_now(loop), deadline);
}
END_TEST

static void on_firehose(void *arg, uint32_t events) {
	(*(int *)arg)++;
	fake_now += CUBE_NS_PER_MS;
}

START_TEST(a_firehose_does_not_starve_the_heartbeat) {
	int p[2], calls = 0;
	struct cube_io *io;
	struct tm_src beat = {0};
	use_fake_clock();
	make_pipe(p);
	put(p[1]); /* never read: ready for ever */
	ck_assert_int_eq(cube_io_add(loop, p[0], EPOLLIN, on_firehose, &calls, &io, NULL), 0);
	beat.t = cube_timer_add(loop, on_timer, &beat);
	for (int i = 0; i < 10; i++) {
		cube_timer_after(beat.t, 10 * CUBE_NS_PER_MS);
		for (int turns = 0; beat.calls == i; turns++) {
			ck_assert_int_le(turns, 12);
			turn(-1);
		}
	}
	ck_assert_int_ge(calls, 90);
}
END_TEST

/* ---- signals and children */

static int got_signal, child_calls, child_status;
static struct rusage child_usage;

static void on_signal(void *arg, int signo) {
	got_signal = signo;
	if (arg) cube_loop_stop(arg);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	child_calls++;
	child_status = status;
	child_usage = *usage;
	if (arg) cube_loop_stop(arg);
}

START_TEST(signal_delivered) {
	ck_assert_int_eq(cube_loop_on_signal(loop, SIGTERM, on_signal, loop, NULL), 0);
	ck_assert_int_eq(cube_loop_on_signal(loop, SIGUSR1, on_signal, NULL, NULL), 0);
	raise(SIGTERM);
	ck_assert_int_eq(got_signal, 0); /* not before the loop looks */
	ck_assert_int_eq(cube_loop_run(loop, NULL), 0);
	ck_assert_int_eq(got_signal, SIGTERM);
	raise(SIGUSR1);
	turn(-1);
	ck_assert_int_eq(got_signal, SIGUSR1);
	struct cube_err err;
	ck_assert_int_eq(cube_loop_on_signal(loop, SIGKILL, on_signal, NULL, &err), CUBE_EUSAGE);
	ck_assert_int_eq(cube_loop_on_signal(loop, 1000, on_signal, NULL, &err), CUBE_EUSAGE);
}
END_TEST

START_TEST(unwatched_signal_pending_does_not_kill) {
	sigset_t now;
	ck_assert_int_eq(cube_loop_on_signal(loop, SIGUSR1, on_signal, NULL, NULL), 0);
	raise(SIGUSR1);
	ck_assert_int_eq(cube_loop_on_signal(loop, SIGUSR1, NULL, NULL, NULL), 0);
	turn(0);
	ck_assert_int_eq(got_signal, 0);
	sigprocmask(SIG_BLOCK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGUSR1), 0);
}
END_TEST

static pid_t fork_exit(int code, int hold) {
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char byte;
		if (hold >= 0 && read(hold, &byte, 1) < 0) _exit(99);
		_exit(code);
	}
	return pid;
}

START_TEST(child_reaped_with_rusage) {
	pid_t pid = fork();
	if (pid == 0) {
		volatile char *p = malloc(8 << 20);
		for (size_t i = 0; p && i < 8 << 20; i += 4096) p[i] = 1;
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(cube_loop_on_child(loop, pid, on_child, loop, NULL), 0);
	ck_assert_int_eq(cube_loop_run(loop, NULL), 0);
	ck_assert_int_eq(child_calls, 1);
	ck_assert(WIFSIGNALED(child_status) && WTERMSIG(child_status) == SIGKILL);
	ck_assert_int_ge(child_usage.ru_maxrss, 8 << 10);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(child_dead_before_it_is_watched) {
	siginfo_t si;
	pid_t pid = fork_exit(7, -1);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(cube_loop_on_child(loop, pid, on_child, NULL, NULL), 0);
	turn(-1);
	ck_assert_int_eq(child_calls, 1);
	ck_assert_int_eq(WEXITSTATUS(child_status), 7);
}
END_TEST

/* A grandchild whose parent dies comes to us, and is reaped though nobody asked for it. */
START_TEST(unknown_and_forgotten_children_are_reaped_silently) {
	int p[2], orphan[2];
	pid_t grandchild;
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(orphan, O_CLOEXEC), 0);
	pid_t forgotten = fork_exit(1, -1);
	pid_t pid = fork();
	if (pid == 0) {
		pid_t kid = fork_exit(3, p[0]);
		_exit(write(orphan[1], &kid, sizeof kid) == sizeof kid ? 0 : 1);
	}
	ck_assert_int_eq(read(orphan[0], &grandchild, sizeof grandchild), sizeof grandchild);
	ck_assert_int_eq(cube_loop_on_child(loop, forgotten, on_child, NULL, NULL), 0);
	cube_loop_forget_child(loop, forgotten);
	ck_assert_int_eq(cube_loop_on_child(loop, pid, on_child, loop, NULL), 0);
	ck_assert_int_eq(cube_loop_run(loop, NULL), 0);
	ck_assert_int_eq(child_calls, 1);
	put(p[1]);
	while (kill(grandchild, 0) == 0 || kill(forgotten, 0) == 0) turn(-1);
	ck_assert_int_eq(child_calls, 1);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static int respawns;
static void on_respawn(void *arg, int status, const struct rusage *usage) {
	ck_assert_int_eq(WEXITSTATUS(status), respawns % 100);
	if (++respawns == 50) {
		cube_loop_stop(loop);
		return;
	}
	pid_t pid = fork_exit(respawns % 100, -1);
	ck_assert_int_eq(cube_loop_on_child(loop, pid, on_respawn, NULL, NULL), 0);
}

START_TEST(child_callback_starts_the_next_child) {
	pid_t pid = fork_exit(0, -1);
	ck_assert_int_eq(cube_loop_on_child(loop, pid, on_respawn, NULL, NULL), 0);
	ck_assert_int_eq(cube_loop_run(loop, NULL), 0);
	ck_assert_int_eq(respawns, 50);
}
END_TEST

/* ---- order */

static char trace[64];
static void mark(char c) {
	size_t n = strlen(trace);
	ck_assert_uint_lt(n, sizeof trace - 1);
	trace[n] = c;
}
static void on_mark(void *arg) {
	mark(*(char *)arg);
}
static void on_mark_io(void *arg, uint32_t events) {
	char byte;
	mark('i');
	ck_assert_int_eq(read(*(int *)arg, &byte, 1), 1);
	cube_loop_defer(loop, on_mark, (void *)"1");
	cube_loop_defer(loop, on_mark, (void *)"2");
}
static void on_mark_defer_more(void *arg) {
	mark('d');
	cube_loop_defer(loop, on_mark, (void *)"n");
}

START_TEST(order_of_a_turn) {
	int p[2];
	struct cube_io *io;
	make_pipe(p);
	put(p[1]);
	use_fake_clock();
	cube_loop_before_sleep(loop, 20, on_mark, (void *)"F");
	cube_loop_before_sleep(loop, 10, on_mark, (void *)"C");
	cube_loop_before_sleep(loop, 10, on_mark, (void *)"c");
	struct cube_timer *t = cube_timer_add(loop, on_mark, (void *)"t");
	cube_timer_after(t, 0);
	ck_assert_int_eq(cube_io_add(loop, p[0], EPOLLIN, on_mark_io, &p[0], &io, NULL), 0);
	cube_loop_defer(loop, on_mark_defer_more, NULL);
	turn(-1);
	ck_assert_str_eq(trace, "CcFitd12"); /* what a deferred call defers waits for */
	turn(-1);                            /* the next turn, which does not sleep */
	ck_assert_str_eq(trace, "CcFitd12CcFn");
	cube_loop_stop(loop);
	cube_loop_defer(loop, on_mark, (void *)"x");
	ck_assert_int_eq(cube_loop_run(loop, NULL), 0);
	ck_assert_str_eq(trace, "CcFitd12CcFnCcF"); /* hooks once more at the end */
	memset(trace, 0, sizeof trace);
	cube_loop_free(loop);
	ck_assert_str_eq(trace, "x");
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
}
END_TEST

static unsigned fired;
static void on_limit(void *arg) {
	fired++;
}

static uint64_t stops_once(void) {
	fake_now += 1000;
	if (fake_now == 4000) fake_now += 3600 * CUBE_NS_PER_S; /* within the poll */
	return fake_now;
}
static const struct cube_clock_source stopped_clocks = {.mono = stops_once};

/* Whoever was silent for an hour that we were stopped was not silent for an hour. */
START_TEST(time_stopped_does_not_pass) {
	fake_now = 0;
	cube_clock_set_source(&stopped_clocks);
	cube_loop_free(loop);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	cube_loop_forgive_stops(loop);
	fired = 0;
	cube_timer_after(cube_timer_add(loop, on_limit, NULL), 20 * CUBE_NS_PER_S);
	cube_timer_after(cube_timer_add(loop, on_limit, NULL), 3700 * CUBE_NS_PER_S);
	while (fake_now < 3600 * CUBE_NS_PER_S) turn(0);
	turn(0);
	ck_assert_uint_eq(fired, 0);
	ck_assert_uint_lt(cube_loop_now(loop), 20 * CUBE_NS_PER_S);
	fake_now += 3600 * CUBE_NS_PER_S; /* between two polls */
	turn(0);
	turn(0);
	ck_assert_uint_eq(fired, 0);
	for (int i = 0; i < 42; i++) {
		fake_now += CUBE_NS_PER_S / 2;
		turn(0);
	}
	ck_assert_uint_eq(fired, 1);
}
END_TEST

int main(void) {
	Suite *s = suite_create("loop");
	TCase *tc = tcase_create("loop");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, source_freed_in_its_own_callback);
	tcase_add_test(tc, sibling_freed_in_the_same_batch);
	tcase_add_test(tc, fd_number_reused_in_a_batch);
	tcase_add_test(tc, interest_changed_in_a_batch_is_obeyed);
	tcase_add_test(tc, interest_lost_in_the_same_batch_is_obeyed);
	tcase_add_test(tc, what_epoll_refuses_is_always_ready);
	tcase_add_test(tc, bad_fd_is_an_error);
	tcase_add_test(tc, timer_cancelled_in_a_timer);
	tcase_add_test(tc, timer_deleted_in_its_own_callback);
	tcase_add_test(tc, timer_rearmed_in_its_own_callback_fires_once_a_turn);
	tcase_add_loop_test(tc, ten_thousand_timers_fire_in_order, 0, 3);
	tcase_add_test(tc, a_real_sleep_ends_at_the_deadline);
	tcase_add_test(tc, a_firehose_does_not_starve_the_heartbeat);
	tcase_add_test(tc, signal_delivered);
	tcase_add_test(tc, unwatched_signal_pending_does_not_kill);
	tcase_add_test(tc, child_reaped_with_rusage);
	tcase_add_test(tc, child_dead_before_it_is_watched);
	tcase_add_test(tc, unknown_and_forgotten_children_are_reaped_silently);
	tcase_add_test(tc, child_callback_starts_the_next_child);
	tcase_add_test(tc, order_of_a_turn);
	tcase_add_test(tc, time_stopped_does_not_pass);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
