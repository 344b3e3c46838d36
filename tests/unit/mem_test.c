#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"

START_TEST(alloc_is_zeroed) {
	cube_autofree uint8_t *p = cube_alloc(1000);
	cube_autofree void *none = cube_alloc(0);

	for (size_t i = 0; i < 1000; i++) ck_assert_uint_eq(p[i], 0);
	ck_assert_ptr_nonnull(none);
}
END_TEST

START_TEST(strings) {
	cube_autofree char *a = cube_strdup("hello");
	cube_autofree char *b = cube_strndup("hello", 3);
	cube_autofree char *c = cube_strndup("hi\0there", 8);
	cube_autofree char *d = cube_strf("%s-%d-%s", a, 42, b);
	cube_autofree char *e = cube_strf("%s", "");
	cube_autofree char *none = cube_strdup(NULL);

	ck_assert_str_eq(a, "hello");
	ck_assert_str_eq(b, "hel");
	ck_assert_str_eq(c, "hi");
	ck_assert_str_eq(d, "hello-42-hel");
	ck_assert_str_eq(e, "");
	ck_assert_ptr_null(none);
	ck_assert_ptr_null(cube_strndup(NULL, 3));
}
END_TEST

START_TEST(realloc_keeps_content) {
	uint32_t *v = NULL;

	for (uint32_t n = 1; n < 200; n++) {
		v = cube_realloc_array(v, n, sizeof *v);
		v[n - 1] = n;
	}
	for (uint32_t i = 0; i < 199; i++) ck_assert_uint_eq(v[i], i + 1);
	free(v);
}
END_TEST

START_TEST(list_is_always_terminated) {
	struct cube_strv sv = {0};
	char text[16];

	ck_assert_ptr_null(cube_strv_argv(&sv)[0]);
	for (size_t n = 0; n < 1000; n++) {
		snprintf(text, sizeof text, "%zu", n);
		if (n % 2) cube_strv_add(&sv, text);
		else cube_strv_addn(&sv, "12345", n % 6);
		ck_assert_uint_eq(sv.len, n + 1);
		ck_assert_ptr_null(sv.v[sv.len]);
	}
	ck_assert_ptr_eq(cube_strv_argv(&sv), sv.v);
	for (size_t n = 0; n < 1000; n++) {
		if (n % 2) snprintf(text, sizeof text, "%zu", n);
		else snprintf(text, sizeof text, "%.*s", (int)(n % 6), "12345");
		ck_assert_str_eq(sv.v[n], text);
	}
	cube_strv_done(&sv);
	ck_assert_uint_eq(sv.len, 0);
	ck_assert_ptr_null(cube_strv_argv(&sv)[0]);
	cube_strv_add(&sv, "again");
	ck_assert_str_eq(sv.v[0], "again");
	cube_strv_done(&sv);
	cube_strv_done(NULL);
}
END_TEST

/* A list whose tail was dropped by hand grows on without touching foreign memory. */
START_TEST(list_may_shrink) {
	for (size_t high = 1; high < 40; high++)
		for (size_t low = 0; low < high; low++) {
			struct cube_strv sv = {0};

			for (size_t i = 0; i < high; i++) cube_strv_add(&sv, "x");
			while (sv.len > low) free(sv.v[--sv.len]);
			sv.v[sv.len] = NULL;
			for (size_t i = 0; i < 40; i++) cube_strv_add(&sv, "y");
			ck_assert_uint_eq(sv.len, low + 40);
			cube_strv_done(&sv);
		}
}
END_TEST

START_TEST(product_overflow_aborts) {
	volatile size_t huge = SIZE_MAX / 2;

	fclose(stderr);
	free(cube_realloc_array(NULL, huge, 4));
}
END_TEST

int main(void) {
	Suite *s = suite_create("mem");
	TCase *tc = tcase_create("mem");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, alloc_is_zeroed);
	tcase_add_test(tc, strings);
	tcase_add_test(tc, realloc_keeps_content);
	tcase_add_test(tc, list_is_always_terminated);
	tcase_add_test(tc, list_may_shrink);
	tcase_add_test_raise_signal(tc, product_overflow_aborts, SIGABRT);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
