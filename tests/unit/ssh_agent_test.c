/* Agents that hang, talk nonsense, hang up, answer in pieces or unasked, and whose queue is full.
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/transport/ssh_agent.h"
#include "cube/clock.h"
#include "cube/mem.h"

enum { USERS = 3 };

static struct cube_loop *loop;
static struct cube_agent_load load;
static char dir[64], path[96];
static int listener;
static struct user {
	struct cube_agent *agent;
	int fd; /* the agent's end */
	unsigned changed, slow;
	uint64_t slow_at;
} users[USERS];

static void on_changed(void *arg) {
	((struct user *)arg)->changed++;
}

static void on_slow(void *arg) {
	struct user *u = arg;
	u->slow++;
	u->slow_at = cube_loop_now(loop);
}

static const struct cube_agent_events EVENTS = {.changed = on_changed, .slow = on_slow};

static void listen_with(int queue) {
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(listener, queue), 0);
}

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	snprintf(dir, sizeof dir, "/tmp/cube-agent-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0); /* it knows the time */
	memset(users, 0, sizeof users);
	load = (struct cube_agent_load){0};
	for (int i = 0; i < USERS; i++) users[i].fd = -1;
}

static void teardown(void) {
	for (int i = 0; i < USERS; i++) {
		cube_agent_free(users[i].agent);
		if (users[i].fd >= 0) close(users[i].fd);
	}
	ck_assert_uint_eq(load.signing, 0);
	cube_loop_turn(loop, 0, NULL);
	cube_loop_free(loop);
	close(listener);
	unlink(path);
	rmdir(dir);
}

static struct user *connected(int i) {
	users[i].agent = cube_agent_open(loop, path, &load, &EVENTS, &users[i]);
	ck_assert_ptr_nonnull(users[i].agent);
	users[i].fd = accept(listener, NULL, NULL);
	return &users[i];
}

static enum cube_agent_state state(int i) {
	return cube_agent_state(users[i].agent);
}

#define UNTIL(what) \
	while (!(what)) ck_assert_int_eq(cube_loop_turn(loop, 10, NULL), 0)

static void says(const struct user *u, const void *bytes, size_t n) {
	ck_assert_int_eq(send(u->fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* One key, "key". */
static const uint8_t LIST[] = {0, 0, 0,   17,  12,  0, 0, 0, 1, 0,  0,
			       0, 3, 'k', 'e', 'y', 0, 0, 0, 1, 'x'};
/* A signature "sig" of kind "k". */
static const uint8_t SIGNED[] = {0, 0, 0,   17, 14, 0, 0, 0,   12,  0,  0,
				 0, 1, 'k', 0,  0,  0, 3, 's', 'i', 'g'};

static void lists(int i) {
	says(&users[i], LIST, sizeof LIST);
	UNTIL(state(i) != CUBE_AGENT_LISTING);
	ck_assert_int_eq(state(i), CUBE_AGENT_IDLE);
}

static void ask(int i) {
	cube_agent_sign(users[i].agent, cube_agent_key(users[i].agent, 0), "data", 4, 0);
}

START_TEST(in_pieces) {
	size_t n;
	listen_with(16);
	const struct user *u = connected(0);
	for (size_t i = 0; i < sizeof LIST; i++) {
		ck_assert_int_eq(state(0), CUBE_AGENT_LISTING);
		says(u, LIST + i, 1);
		cube_loop_turn(loop, 10, NULL);
	}
	UNTIL(state(0) == CUBE_AGENT_IDLE);
	ck_assert_uint_eq(cube_agent_key(u->agent, 0)->n, 3);
	ck_assert_ptr_null(cube_agent_key(u->agent, 1));
	ask(0);
	says(u, SIGNED, sizeof SIGNED);
	UNTIL(state(0) == CUBE_AGENT_SIGNED);
	ck_assert_mem_eq(cube_agent_signature(u->agent, &n), "sig", 3);
	ck_assert_uint_eq(n, 3);
}
END_TEST

/* Lengths that lie, too many keys, 4 GiB: it is gone at once, and stays so whatever follows. */
START_TEST(nonsense) {
	static const struct {
		uint8_t bytes[24];
		size_t n;
	} WORDS[] = {
		{{255, 255, 255, 255, 12}, 5},
		{{0, 4, 0, 1, 12}, 5},
		{{0, 0, 0, 0}, 4},
		{{0, 0, 0, 1, 5}, 5},
		{{0, 0, 0, 1, 12}, 5},
		{{0, 0, 0, 5, 12, 255, 255, 255, 255}, 9},
		{{0, 0, 0, 5, 12, 0, 0, 8, 1}, 9},
		{{0, 0, 0, 5, 12, 0, 0, 0, 1}, 9},
		{{0, 0, 0, 12, 12, 0, 0, 0, 1, 255, 255, 255, 255, 'k', 'e', 'y'}, 16},
		{{0, 0, 0, 12, 12, 0, 0, 0, 1, 0, 0, 0, 3, 'k', 'e', 'y'}, 16},
	};
	listen_with(16);
	const struct user *u = connected(0);
	says(u, WORDS[_i].bytes, WORDS[_i].n);
	UNTIL(state(0) != CUBE_AGENT_LISTING);
	ck_assert_int_eq(state(0), CUBE_AGENT_GONE);
	ck_assert_uint_eq(u->changed, 1);
	(void)!send(u->fd, LIST, sizeof LIST, MSG_NOSIGNAL);
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 10, NULL);
	ck_assert_int_eq(state(0), CUBE_AGENT_GONE);
}
END_TEST

/* What nobody asked for is no answer to the next question. */
START_TEST(twice) {
	size_t n;
	listen_with(16);
	const struct user *u = connected(0);
	lists(0);
	says(u, LIST, sizeof LIST);
	says(u, SIGNED, sizeof SIGNED);
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 10, NULL);
	ck_assert_uint_eq(u->changed, 1);
	ck_assert_ptr_null(cube_agent_key(u->agent, 1));
	ck_assert_ptr_null(cube_agent_signature(u->agent, &n));
}
END_TEST

/* It went between two questions: the next one is not waited for. */
START_TEST(hangs_up_while_idle) {
	listen_with(16);
	struct user *u = connected(0);
	lists(0);
	close(u->fd);
	u->fd = -1;
	if (_i) UNTIL(state(0) == CUBE_AGENT_GONE); /* seen before the question, or not */
	uint64_t begin = cube_clock_mono();
	ask(0);
	UNTIL(state(0) == CUBE_AGENT_GONE);
	ck_assert_uint_lt(cube_clock_mono() - begin, 20 * CUBE_NS_PER_S);
	ck_assert_uint_eq(load.signing, 0);
}
END_TEST

/* Hundreds of hosts want it at once. */
START_TEST(full_queue) {
	int others[64], n = 0;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	listen_with(1);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	do others[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	while (connect(others[n++], (struct sockaddr *)&sa, sizeof sa) == 0 && n < 64);
	ck_assert_int_lt(n, 64);
	users[0].agent = cube_agent_open(loop, path, &load, &EVENTS, &users[0]);
	ck_assert_ptr_nonnull(users[0].agent);
	for (int i = 0; i < 5; i++) cube_loop_turn(loop, 30, NULL);
	ck_assert_int_eq(state(0), CUBE_AGENT_LISTING);
	for (int i = 0; i < n - 1; i++) close(accept(listener, NULL, NULL));
	for (int i = 0; i < n; i++) close(others[i]);
	struct pollfd wait = {.fd = listener, .events = POLLIN};
	UNTIL(poll(&wait, 1, 0) == 1);
	users[0].fd = accept(listener, NULL, NULL);
	lists(0);
}
END_TEST

/* ssh-agent asks a person for one of us, and serves nobody meanwhile; who comes then waits too. */
START_TEST(blocked_by_another) {
	listen_with(16);
	connected(0);
	lists(0);
	ask(0);
	connected(1);
	uint64_t begin = cube_clock_mono();
	UNTIL(cube_clock_mono() - begin > 6 * CUBE_NS_PER_S);
	ck_assert_int_eq(state(0), CUBE_AGENT_SIGNING);
	ck_assert_uint_eq(users[0].slow, 1);
	ck_assert_int_eq(state(1), CUBE_AGENT_LISTING);
	says(&users[0], SIGNED, sizeof SIGNED);
	lists(1);
	ck_assert_int_eq(state(0), CUBE_AGENT_SIGNED);
}
END_TEST

/* One that answers others has much to do, which is no reason to call a person. */
START_TEST(busy) {
	listen_with(16);
	connected(0);
	lists(0);
	connected(1);
	ask(0);
	uint64_t begin = cube_clock_mono();
	UNTIL(cube_clock_mono() - begin > 700 * CUBE_NS_PER_MS);
	lists(1);
	uint64_t answered = cube_loop_now(loop);
	UNTIL(users[0].slow);
	ck_assert_uint_ge(users[0].slow_at, answered + CUBE_NS_PER_S);
}
END_TEST

START_TEST(nobody_there) {
	listen_with(1);
	close(listener);
	ck_assert_ptr_null(cube_agent_open(loop, path, &load, &EVENTS, NULL));
	ck_assert_ptr_null(cube_agent_open(loop, "/nowhere", &load, &EVENTS, NULL));
	listener = -1;
}
END_TEST

int main(void) {
	Suite *s = suite_create("ssh_agent");
	TCase *tc = tcase_create("agent");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, in_pieces);
	tcase_add_loop_test(tc, nonsense, 0, 10);
	tcase_add_test(tc, twice);
	tcase_add_loop_test(tc, hangs_up_while_idle, 0, 2);
	tcase_add_test(tc, full_queue);
	tcase_add_test(tc, blocked_by_another);
	tcase_add_test(tc, busy);
	tcase_add_test(tc, nobody_there);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
