#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cube/list.h"

struct item {
	int id;
	struct cube_link link;
};

static int count(struct cube_link *head) {
	int n = 0;

	cube_list_each (head, it, struct item, link) n++;
	return n;
}

START_TEST(keeps_order) {
	struct cube_link head;
	struct item items[5] = {{1}, {2}, {3}, {4}, {5}};
	char seen[8] = "";
	size_t n = 0;

	cube_list_init(&head);
	ck_assert(cube_list_empty(&head));
	ck_assert_int_eq(count(&head), 0);
	cube_list_append(&head, &items[2].link);
	cube_list_append(&head, &items[3].link);
	cube_list_push(&head, &items[0].link);
	cube_list_insert(&items[0].link, &items[1].link);
	cube_list_append(&head, &items[4].link);
	ck_assert(!cube_list_empty(&head));
	cube_list_each (&head, it, struct item, link) seen[n++] = (char)('0' + it->id);
	ck_assert_str_eq(seen, "12345");
	for (int i = 0; i < 5; i++) ck_assert(cube_link_linked(&items[i].link));
}
END_TEST

START_TEST(removing_twice_or_unlinked_is_nothing) {
	struct cube_link head = {0};
	struct item a = {1}, b = {2}, c = {.id = 3};

	ck_assert(cube_list_empty(&head)); /* never initialised is empty, and can be walked */
	ck_assert_int_eq(count(&head), 0);
	cube_list_init(&head);
	cube_list_init(&c.link);
	cube_list_remove(&a.link);
	cube_list_remove(&c.link);
	cube_list_remove(&head);
	cube_list_append(&head, &a.link);
	cube_list_append(&head, &b.link);
	cube_list_remove(&a.link);
	cube_list_remove(&a.link);
	ck_assert(!cube_link_linked(&a.link));
	ck_assert_int_eq(count(&head), 1);
	cube_list_remove(&b.link);
	ck_assert(cube_list_empty(&head));
	ck_assert_ptr_eq(head.next, &head);
	ck_assert_ptr_eq(head.prev, &head);
}
END_TEST

START_TEST(break_and_continue) {
	struct cube_link head;
	struct item items[4] = {{1}, {2}, {3}, {4}};
	int visited = 0, counted = 0;

	cube_list_init(&head);
	for (int i = 0; i < 4; i++) cube_list_append(&head, &items[i].link);
	cube_list_each (&head, it, struct item, link) {
		visited++;
		if (it->id == 1) continue;
		counted++;
		if (it->id == 3) break;
	}
	ck_assert_int_eq(visited, 3);
	ck_assert_int_eq(counted, 2);
	visited = 0;
	cube_list_each (&head, outer, struct item, link) {
		cube_list_each (&head, inner, struct item, link) {
			if (inner->id > outer->id) break;
			visited++;
		}
	}
	ck_assert_int_eq(visited, 1 + 2 + 3 + 4);
}
END_TEST

/* With the sanitizer this finds any touch of a freed element. */
START_TEST(free_in_the_body) {
	struct cube_link head;

	for (int stop = 1; stop <= 6; stop++) {
		cube_list_init(&head);
		for (int i = 1; i <= 5; i++) {
			struct item *it = calloc(1, sizeof *it);

			it->id = i;
			cube_list_append(&head, &it->link);
		}
		cube_list_each (&head, it, struct item, link) {
			bool last = it->id == stop;

			cube_list_remove(&it->link);
			free(it);
			if (last) break;
		}
		ck_assert_int_eq(count(&head), stop > 5 ? 0 : 5 - stop);
		/* All the rest freed from the body, then a break. */
		cube_list_each (&head, first, struct item, link) {
			while (!cube_list_empty(&head)) {
				struct item *it = cube_container(head.next, struct item, link);

				cube_list_remove(&it->link);
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
	struct cube_link head;
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
		if (cube_link_linked(&items[id].link) != (at >= 0))
			ck_abort_msg("round %d differs", round);
		if (at >= 0) {
			cube_list_remove(&items[id].link);
			memmove(order + at, order + at + 1,
				sizeof *order * (size_t)(len-- - at - 1));
		} else if (x >> 40 & 1) {
			cube_list_append(&head, &items[id].link);
			order[len++] = id;
		} else {
			cube_list_push(&head, &items[id].link);
			memmove(order + 1, order, sizeof *order * (size_t)len++);
			order[0] = id;
		}
		cube_list_each (&head, it, struct item, link) {
			if (n >= len || it->id != order[n]) ck_abort_msg("round %d differs", round);
			n++;
		}
		if (n != len) ck_abort_msg("round %d differs", round);
	}
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
	tcase_add_test(tc, random_model);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
