#include <check.h>

#include "cube/sched.h"
#include "hostile.h"

#define MS 1000000ull

START_TEST(order) {
	struct cube_sched_node nodes[3] = {{.id = 7, .ready = true, .slots = 2},
					   {.id = 8, .ready = true, .slots = 2},
					   {.id = 9, .ready = true, .slots = 2}};
	static const int want[] = {1, 2, 0, 1, 2, 0};
	size_t cursor = 0;

	for (int i = 0; i < 6; i++) {
		int got = cube_sched_round_robin(nodes, 3, &cursor, NULL, NULL);

		ck_assert_int_eq(got, want[i]);
		ck_assert_uint_eq(cursor, (size_t)want[i]);
		nodes[got].load++;
	}
	ck_assert_int_eq(cube_sched_round_robin(nodes, 3, &cursor, NULL, NULL), -1);
	ck_assert_uint_eq(cursor, 0);
}
END_TEST

START_TEST(extra_only_when_all_slots_are_full) {
	struct cube_sched_node nodes[2] = {
		{.id = 1, .ready = true, .slots = 1, .load = 1, .extra = 5},
		{.id = 2, .ready = true, .slots = 2, .load = 1}};
	size_t cursor = 1;

	ck_assert_int_eq(cube_sched_round_robin(nodes, 2, &cursor, NULL, NULL), 1);
	nodes[1].load++;
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(cube_sched_round_robin(nodes, 2, &cursor, NULL, NULL), 0);
		nodes[0].load++;
	}
	ck_assert_int_eq(cube_sched_round_robin(nodes, 2, &cursor, NULL, NULL), -1);
}
END_TEST

static bool only(void *arg, uint32_t id) {
	return id == *(uint32_t *)arg;
}

START_TEST(edges) {
	struct cube_sched_node nodes[3] = {
		{.id = 1, .ready = true, .slots = UINT32_MAX, .load = UINT32_MAX, .extra = 3},
		{.id = 2, .slots = 9},
		{.id = 3, .ready = true, .slots = 1}};
	size_t cursor = 77; /* nodes have gone since */
	uint32_t id = 3;

	ck_assert_int_eq(cube_sched_round_robin(nodes, 0, &cursor, NULL, NULL), -1);
	ck_assert_uint_eq(cursor, 77);
	ck_assert_int_eq(cube_sched_round_robin(nodes, 3, &cursor, only, &id), 2);
	id = 2; /* allowed but not ready */
	ck_assert_int_eq(cube_sched_round_robin(nodes, 3, &cursor, only, &id), -1);
	id = 99;
	ck_assert_int_eq(cube_sched_round_robin(nodes, 3, &cursor, only, &id), -1);
	ck_assert_uint_eq(cursor, 2);
	nodes[2].load = 1; /* slots + extra must not wrap around */
	ck_assert_int_eq(cube_sched_round_robin(nodes, 3, &cursor, NULL, NULL), 0);
}
END_TEST

/* Whatever the snapshot: the pick is legal, and there is none only where there is no room. */
START_TEST(random_snapshots) {
	uint64_t rnd = rnd_seed("sched");

	for (int round = 0; round < 20000; round++) {
		struct cube_sched_node nodes[8];
		size_t n = 1 + rnd_below(&rnd, 8), cursor = rnd_below(&rnd, 20);
		bool any = false, any_slot = false;
		int got;

		for (size_t i = 0; i < n; i++) {
			nodes[i] = (struct cube_sched_node){.id = (uint32_t)i,
							    .ready = rnd_below(&rnd, 3) > 0,
							    .slots = (uint32_t)rnd_below(&rnd, 3),
							    .load = (uint32_t)rnd_below(&rnd, 5),
							    .extra = (uint32_t)rnd_below(&rnd, 3)};
			if (!nodes[i].ready) continue;
			any_slot |= nodes[i].load < nodes[i].slots;
			any |= nodes[i].load < nodes[i].slots + nodes[i].extra;
		}
		got = cube_sched_round_robin(nodes, n, &cursor, NULL, NULL);
		ck_assert_int_eq(got >= 0, any);
		if (got < 0) continue;
		ck_assert_uint_eq(cursor, (size_t)got);
		ck_assert(nodes[got].ready);
		if (any_slot) ck_assert_uint_lt(nodes[got].load, nodes[got].slots);
		else ck_assert_uint_lt(nodes[got].load, nodes[got].slots + nodes[got].extra);
	}
}
END_TEST

START_TEST(prefetch) {
	static const struct {
		uint32_t slots;
		uint64_t mean;
		uint32_t want;
	} rows[] = {
		{4, 0, 0},
		{4, 100 * MS + 1, 0},
		{4, UINT64_MAX, 0},
		{4, 100 * MS, 4},
		{4, 20 * MS, 4},
		{4, 19 * MS, 8},
		{4, 10 * MS, 8},
		{4, 7 * MS, 12},
		{4, 5 * MS, 16},
		{4, 1 * MS, 16},
		{4, 1, 16},
		{0, 1 * MS, 0},
		{UINT32_MAX, 1, UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ck_assert_uint_eq(cube_sched_prefetch(rows[i].slots, rows[i].mean), rows[i].want);
}
END_TEST

int main(void) {
	Suite *s = suite_create("sched");
	TCase *tc = tcase_create("sched");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, order);
	tcase_add_test(tc, extra_only_when_all_slots_are_full);
	tcase_add_test(tc, edges);
	tcase_add_test(tc, random_snapshots);
	tcase_add_test(tc, prefetch);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
