#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cube/list.h"

struct item {
	int id;
	struct cube_list entry;
};

static int count(struct cube_list *head) {
	int n = 0;

	cube_list_each (head, it, struct item, entry) n++;
	return n;
}

START_TEST(keeps_order) {
	struct cube_list head;
	struct item items[5] = {{1}, {2}, {3}, {4}, {5}};
	char seen[8] = "";
	size_t n = 0;

	cube_list_init(&head);
	ck_assert(cube_list_empty(&head));
	ck_assert_int_eq(count(&head), 0);
	cube_list_append(&head, &items[2].entry);
	cube_list_append(&head, &items[3].entry);
	cube_list_push(&head, &items[0].entry);
	cube_list_insert(&items[0].entry, &items[1].entry);
	cube_list_append(&head, &items[4].entry);
	ck_assert(!cube_list_empty(&head));
	cube_list_each (&head, it, struct item, entry) seen[n++] = (char)('0' + it->id);
	ck_assert_str_eq(seen, "12345");
	for (int i = 0; i < 5; i++) ck_assert(cube_list_linked(&items[i].entry));
}
END_TEST

START_TEST(removing_twice_or_unlinked_is_nothing) {
	struct cube_list head = {0};
	struct item a = {1}, b = {2}, c = {.id = 3};

	ck_assert(cube_list_empty(&head)); /* never initialised is empty, and can be walked */
	ck_assert_int_eq(count(&head), 0);
	cube_list_init(&head);
	cube_list_init(&c.entry);
	cube_list_remove(&a.entry);
	cube_list_remove(&c.entry);
	cube_list_remove(&head);
	cube_list_append(&head, &a.entry);
	cube_list_append(&head, &b.entry);
	cube_list_remove(&a.entry);
	cube_list_remove(&a.entry);
	ck_assert(!cube_list_linked(&a.entry));
	ck_assert_int_eq(count(&head), 1);
	cube_list_remove(&b.entry);
	ck_assert(cube_list_empty(&head));
	ck_assert_ptr_eq(head.next, &head);
	ck_assert_ptr_eq(head.prev, &head);
}
END_TEST

START_TEST(break_and_continue) {
	struct cube_list head;
	struct item items[4] = {{1}, {2}, {3}, {4}};
	int visited = 0, counted = 0;

	cube_list_init(&head);
	for (int i = 0; i < 4; i++) cube_list_append(&head, &items[i].entry);
	cube_list_each (&head, it, struct item, entry) {
		visited++;
		if (it->id == 1) continue;
		counted++;
		if (it->id == 3) break;
	}
	ck_assert_int_eq(visited, 3);
	ck_assert_int_eq(counted, 2);
	visited = 0;
	cube_list_each (&head, outer, struct item, entry) {
		cube_list_each (&head, inner, struct item, entry) {
			if (inner->id > outer->id) break;
			visited++;
		}
	}
	ck_assert_int_eq(visited, 1 + 2 + 3 + 4);
}
END_TEST

/* With the sanitizer this finds any touch of a freed element. */
START_TEST(free_in_the_body) {
	struct cube_list head;

	for (int stop = 1; stop <= 6; stop++) {
		cube_list_init(&head);
		for (int i = 1; i <= 5; i++) {
			struct item *it = calloc(1, sizeof *it);

			it->id = i;
			cube_list_append(&head, &it->entry);
		}
		cube_list_each (&head, it, struct item, entry) {
			bool last = it->id == stop;

			cube_list_remove(&it->entry);
			free(it);
			if (last) break;
		}
		ck_assert_int_eq(count(&head), stop > 5 ? 0 : 5 - stop);
		/* All the rest freed from the body, then a break. */
		cube_list_each (&head, first, struct item, entry) {
			while (!cube_list_empty(&head)) {
				struct item *it = cube_container(head.next, struct item, entry);

				cube_list_remove(&it->entry);
				free(it);
			}
			break;
		}
		ck_assert(cube_list_empty(&head));
	}
}
END_TEST

START_TEST(random_model) {
	enum { N = 20 };
	struct item items[N] = {0};
	struct cube_list head;
	int order[N], len = 0;
	uint64_t x = 88172645463325252u;

	cube_list_init(&head);
	for (int i = 0; i < N; i++) items[i].id = i;
	for (int round = 0; round < 20000; round++) {
		int id, at = -1, n = 0;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		id = (int)(x % N);
		for (int i = 0; i < len; i++)
			if (order[i] == id) at = i;
		if (cube_list_linked(&items[id].entry) != (at >= 0))
			ck_abort_msg("round %d differs", round);
		if (at >= 0) {
			cube_list_remove(&items[id].entry);
			memmove(order + at, order + at + 1,
				sizeof *order * (size_t)(len-- - at - 1));
		} else if (x >> 40 & 1) {
			cube_list_append(&head, &items[id].entry);
			order[len++] = id;
		} else {
			cube_list_push(&head, &items[id].entry);
			memmove(order + 1, order, sizeof *order * (size_t)len++);
			order[0] = id;
		}
		cube_list_each (&head, it, struct item, entry) {
			if (n >= len || it->id != order[n]) ck_abort_msg("round %d differs", round);
			n++;
		}
		if (n != len) ck_abort_msg("round %d differs", round);
	}
}
END_TEST

/* In order, and both ends as well as those between can still go; the other list takes new ones. */
START_TEST(moves_all) {
	struct cube_list from = {0}, to;
	struct item items[4] = {{1}, {2}, {3}, {4}};
	cube_list_move(&to, &from); /* never initialised is empty */
	ck_assert(cube_list_empty(&to) && cube_list_empty(&from));
	cube_list_init(&from);
	for (int i = 0; i < 3; i++) cube_list_append(&from, &items[i].entry);
	cube_list_move(&to, &from);
	ck_assert(cube_list_empty(&from));
	cube_list_append(&from, &items[3].entry);
	ck_assert_int_eq(count(&from), 1);
	int expected = 1;
	cube_list_each (&to, it, struct item, entry) {
		ck_assert_int_eq(it->id, expected++);
		cube_list_remove(&it->entry);
	}
	ck_assert_int_eq(expected, 4);
	ck_assert(cube_list_empty(&to));
	ck_assert_int_eq(count(&from), 1);
}
END_TEST

int main(void) {
	Suite *s = suite_create("list");
	TCase *tc = tcase_create("list");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, keeps_order);
	tcase_add_test(tc, removing_twice_or_unlinked_is_nothing);
	tcase_add_test(tc, break_and_continue);
	tcase_add_test(tc, free_in_the_body);
	tcase_add_test(tc, moves_all);
	tcase_add_test(tc, random_model);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
