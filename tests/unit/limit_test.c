/* The limiter: bounds, order, each place given back once. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "limit.h"

enum { N = 40 };

static struct cube_loop *loop;
static struct cube_limit *limit;
static struct guest {
	struct cube_ticket ticket;
	int called;
} guests[N];
static int order[4 * N], calls;
static int leave_in_call = -1; /* this guest leaves when another one is called */

static void setup(void) {
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	cube_limit_new(loop, &limit);
	memset(guests, 0, sizeof guests);
	calls = 0;
	leave_in_call = -1;
}

static void teardown(void) {
	for (int i = 0; i < N; i++) cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_DONE);
	cube_limit_free(limit);
	cube_loop_free(loop);
}

static void called(void *arg) {
	struct guest *g = arg;
	ck_assert(g->ticket.inside);
	g->called++;
	order[calls++] = (int)(g - guests);
	if (leave_in_call >= 0) cube_limit_leave(&guests[leave_in_call].ticket, CUBE_LIMIT_DONE);
}

static bool enter(int i, const char *where) {
	return cube_limit_enter(limit, &guests[i].ticket, where, called, &guests[i]);
}

static void turn(void) {
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0);
}

static int inside(void) {
	int n = 0;
	for (int i = 0; i < N; i++) n += guests[i].ticket.inside;
	return n;
}

START_TEST(eight_and_then_in_order) {
	for (int i = 0; i < N; i++) ck_assert_int_eq(enter(i, "a"), i < CUBE_LIMIT_MAX);
	turn();
	ck_assert_int_eq(calls, 0);
	for (int i = 0; i < N; i++) {
		ck_assert_int_le(inside(), CUBE_LIMIT_MAX);
		int before = calls;
		cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_LOGIN);
		cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_LOGIN); /* once is enough */
		ck_assert_int_eq(calls, before);                       /* never inside a leave */
		turn();
	}
	ck_assert_int_eq(calls, N - CUBE_LIMIT_MAX);
	for (int i = 0; i < calls; i++) ck_assert_int_eq(order[i], CUBE_LIMIT_MAX + i);
	ck_assert_int_eq(inside(), 0);
}
END_TEST

START_TEST(endpoints_are_apart) {
	for (int i = 0; i < CUBE_LIMIT_MAX; i++) ck_assert(enter(i, "a"));
	ck_assert(enter(10, "b"));
	ck_assert(!enter(11, "a"));
	cube_limit_leave(&guests[10].ticket, CUBE_LIMIT_DONE);
	turn();
	ck_assert_int_eq(calls, 0);
	cube_limit_leave(&guests[0].ticket, CUBE_LIMIT_DONE);
	turn();
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(order[0], 11);
	ck_assert(!cube_limit_waits(&guests[11].ticket));
}
END_TEST

/* A waiting one goes; one that was let in and not yet called goes: the place is not lost. */
START_TEST(leaving_the_line) {
	for (int i = 0; i < CUBE_LIMIT_MAX + 3; i++) enter(i, "a");
	cube_limit_leave(&guests[8].ticket, CUBE_LIMIT_DONE);
	cube_limit_leave(&guests[0].ticket, CUBE_LIMIT_DONE); /* lets 9 in */
	ck_assert(guests[9].ticket.inside);
	cube_limit_leave(&guests[9].ticket, CUBE_LIMIT_DONE); /* and so 10 */
	turn();
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(order[0], 10);
	ck_assert_int_eq(inside(), CUBE_LIMIT_MAX);
}
END_TEST

START_TEST(left_by_one_that_is_called) {
	for (int i = 0; i < CUBE_LIMIT_MAX + 2; i++) enter(i, "a");
	leave_in_call = 9;
	cube_limit_leave(&guests[0].ticket, CUBE_LIMIT_DONE);
	cube_limit_leave(&guests[1].ticket, CUBE_LIMIT_DONE);
	turn();
	turn();
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(guests[9].called, 0);
	ck_assert_int_eq(inside(), CUBE_LIMIT_MAX - 1);
}
END_TEST

/* A burst of drops halves the width once; logins bring it back. */
START_TEST(drops_make_it_narrow) {
	for (int i = 0; i < N; i++) enter(i, "a");
	for (int i = 0; i < 4; i++) cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_DROPPED);
	ck_assert_int_eq(inside(), 4);
	cube_limit_leave(&guests[4].ticket, CUBE_LIMIT_DROPPED);
	ck_assert_int_eq(inside(), 3); /* 2 are the width now */
	cube_limit_leave(&guests[5].ticket, CUBE_LIMIT_DONE);
	cube_limit_leave(&guests[6].ticket, CUBE_LIMIT_DROPPED);
	ck_assert_int_eq(inside(), 1);
	cube_limit_leave(&guests[7].ticket, CUBE_LIMIT_DROPPED);
	ck_assert_int_eq(inside(), 1); /* never none */
	for (int i = 8; i < 30; i++) {
		turn();
		cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_LOGIN);
	}
	ck_assert_int_eq(inside(), CUBE_LIMIT_MAX);
}
END_TEST

/* Entering again gives the old place back first. */
START_TEST(from_one_to_another) {
	for (int i = 0; i < CUBE_LIMIT_MAX; i++) enter(i, "a");
	ck_assert(!enter(20, "a"));
	for (int i = 0; i < CUBE_LIMIT_MAX; i++) ck_assert(enter(i, "b"));
	turn();
	ck_assert_int_eq(calls, 1);
	ck_assert(!enter(21, "b"));
}
END_TEST

START_TEST(freed_with_a_call_due) {
	for (int i = 0; i <= CUBE_LIMIT_MAX; i++) enter(i, "a");
	for (int i = 0; i <= CUBE_LIMIT_MAX; i++)
		cube_limit_leave(&guests[i].ticket, CUBE_LIMIT_DONE);
	cube_limit_free(limit);
	turn();
	ck_assert_int_eq(calls, 0);
	cube_limit_new(loop, &limit);
}
END_TEST

int main(void) {
	Suite *s = suite_create("limit");
	TCase *tc = tcase_create("limit");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, eight_and_then_in_order);
	tcase_add_test(tc, endpoints_are_apart);
	tcase_add_test(tc, leaving_the_line);
	tcase_add_test(tc, left_by_one_that_is_called);
	tcase_add_test(tc, drops_make_it_narrow);
	tcase_add_test(tc, from_one_to_another);
	tcase_add_test(tc, freed_with_a_call_due);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
