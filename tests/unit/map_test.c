/* The map against an array. */
#include "cube/map.h"

#include <check.h>
#include <stdbool.h>

#define N 2000

static struct one {
	struct cube_map_entry entry;
	bool in;
} all[N];

static uint64_t id_of(size_t i) { /* side by side, and far apart */
	return i % 2 ? i : i << 40 | i;
}

START_TEST(like_an_array) {
	struct cube_map map = {0};
	uint64_t seed = (uint64_t)_i + 1;
	size_t n = 0;
	ck_assert_ptr_null(cube_map_find(&map, 1));
	ck_assert_ptr_null(cube_map_next(&map, NULL));
	for (int step = 0; step < 20000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		size_t i = (seed >> 33) % N;
		struct one *o = &all[i];
		struct cube_map_entry *found = cube_map_find(&map, id_of(i));
		if (found != (o->in ? &o->entry : NULL)) ck_abort_msg("step %d", step);
		/* more go in at first, more come out at last */
		if (!o->in && (seed >> 20) % 4 >= (step > 10000 ? 3 : 1)) {
			cube_map_add(&map, &o->entry, id_of(i));
			o->in = true;
			n++;
		} else {
			cube_map_remove(&map, &o->entry);
			n -= o->in;
			o->in = false;
		}
		if (map.n != n) ck_abort_msg("step %d: %zu, not %zu", step, map.n, n);
	}
	struct cube_map_entry *e = cube_map_next(&map, NULL), *next;
	for (; e; e = next, n--) {
		next = cube_map_next(&map, e);
		struct one *o = cube_container(e, struct one, entry);
		ck_assert(o->in);
		o->in = false;
		cube_map_remove(&map, e);
	}
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(map.n, 0);
	cube_map_free(&map);
}
END_TEST

int main(void) {
	Suite *s = suite_create("map");
	TCase *tc = tcase_create("map");
	tcase_add_loop_test(tc, like_an_array, 0, 10);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
