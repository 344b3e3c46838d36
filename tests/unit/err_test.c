#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cube/err.h"

START_TEST(fail_sets_all) {
	struct cube_err err = {.code = 7, .sys = 9, .msg = "old"};

	ck_assert_int_eq(cube_fail(&err, CUBE_EPROTO, "frame %d", 12), CUBE_EPROTO);
	ck_assert_int_eq(err.code, CUBE_EPROTO);
	ck_assert_int_eq(err.sys, 0);
	ck_assert_str_eq(err.msg, "frame 12");

	ck_assert_int_eq(cube_fail_sys(&err, ENOENT, "open %s", "/x"), CUBE_ESYS);
	ck_assert_int_eq(err.code, CUBE_ESYS);
	ck_assert_int_eq(err.sys, ENOENT);
	ck_assert_str_eq(err.msg, "open /x: No such file or directory");

	ck_assert_int_eq(cube_wrap(&err, "host %s", "web1"), CUBE_ESYS);
	ck_assert_int_eq(err.sys, ENOENT);
	ck_assert_str_eq(err.msg, "host web1: open /x: No such file or directory");
}
END_TEST

START_TEST(null_err_is_fine) {
	ck_assert_int_eq(cube_fail(NULL, CUBE_EAUTH, "x"), CUBE_EAUTH);
	ck_assert_int_eq(cube_fail_sys(NULL, EIO, "x"), CUBE_ESYS);
	ck_assert_int_eq(cube_wrap(NULL, "x"), CUBE_EINTERNAL);
}
END_TEST

START_TEST(wrap_of_nothing_is_a_failure) {
	struct cube_err err = {0};

	ck_assert_int_eq(cube_wrap(&err, "x"), CUBE_EINTERNAL);
	ck_assert_int_eq(err.code, CUBE_EINTERNAL);
}
END_TEST

/* Every length around the limit, also of the part in front of ": ". */
START_TEST(long_texts_are_cut) {
	char text[700];

	for (size_t n = 0; n < sizeof text - 1; n++) {
		struct cube_err err = {0};

		memset(text, 'a', n);
		text[n] = '\0';
		cube_fail(&err, CUBE_EUSAGE, "%s", text);
		if (n < sizeof err.msg) {
			ck_assert_str_eq(err.msg, text);
		} else {
			ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
			ck_assert_str_eq(err.msg + sizeof err.msg - 5, "a...");
		}
		cube_fail(&err, CUBE_EUSAGE, "tail");
		cube_wrap(&err, "%s", text);
		if (n + 6 < sizeof err.msg) ck_assert_str_eq(err.msg + n, ": tail");
		else ck_assert_str_eq(err.msg + sizeof err.msg - 4, "...");
		ck_assert_int_eq(err.msg[0], n ? 'a' : ':');
	}
}
END_TEST

START_TEST(cut_keeps_characters_whole) {
	char text[400];

	for (size_t lead = 0; lead < 4; lead++) {
		struct cube_err err;
		size_t len = lead;

		memset(text, 'a', lead);
		while (len + 3 < sizeof text) {
			memcpy(text + len, "\xe2\x82\xac", 3);
			len += 3;
		}
		text[len] = '\0';
		cube_fail(&err, CUBE_EUSAGE, "%s", text);
		len = strlen(err.msg);
		ck_assert_uint_ge(len, sizeof err.msg - 3);
		ck_assert_str_eq(err.msg + len - 3, "...");
		ck_assert_uint_eq((len - 3 - lead) % 3, 0);
	}
}
END_TEST

START_TEST(arguments_may_be_the_error_itself) {
	struct cube_err err;

	cube_fail(&err, CUBE_EAUTH, "denied");
	cube_fail(&err, err.code, "again (%s)", err.msg);
	ck_assert_str_eq(err.msg, "again (denied)");
	cube_wrap(&err, "<%s>", err.msg);
	ck_assert_str_eq(err.msg, "<again (denied)>: again (denied)");
}
END_TEST

START_TEST(table) {
	static const struct {
		int code;
		const char *name;
		int http, carrying, plain;
	} rows[] = {
		{0, "ok", 200, 0, 0},
		{CUBE_AGAIN, "again", 503, 125, 1},
		{CUBE_EUSAGE, "usage", 400, 2, 2},
		{CUBE_ENOTFOUND, "not-found", 404, 125, 1},
		{CUBE_ECONFLICT, "conflict", 409, 125, 1},
		{CUBE_ETOOBIG, "too-big", 413, 125, 1},
		{CUBE_ETIMEOUT, "timeout", 504, 125, 1},
		{CUBE_EHOSTKEY, "host-key", 502, 125, 1},
		{CUBE_EEXEC, "exec", 422, 125, 1},
		{CUBE_EINTERNAL, "internal", 500, 125, 1},
		{CUBE_ELOGIN, "needs-login", 502, 125, 1},
		{CUBE_ELIBRARY, "library", 502, 125, 1},
		{-99, "internal", 500, 125, 1},
		{99, "internal", 500, 125, 1},
		{-2147483647 - 1, "internal", 500, 125, 1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ck_assert_str_eq(cube_err_name(rows[i].code), rows[i].name);
		ck_assert_int_eq(cube_err_http(rows[i].code), rows[i].http);
		ck_assert_int_eq(cube_err_exit(rows[i].code, true), rows[i].carrying);
		ck_assert_int_eq(cube_err_exit(rows[i].code, false), rows[i].plain);
	}
	for (int a = 0; a >= CUBE_ELIBRARY; a--) {
		ck_assert_int_ge(cube_err_http(a), 200);
		for (int b = 0; b > a; b--) ck_assert_str_ne(cube_err_name(a), cube_err_name(b));
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("err");
	TCase *tc = tcase_create("err");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, fail_sets_all);
	tcase_add_test(tc, null_err_is_fine);
	tcase_add_test(tc, wrap_of_nothing_is_a_failure);
	tcase_add_test(tc, long_texts_are_cut);
	tcase_add_test(tc, cut_keeps_characters_whole);
	tcase_add_test(tc, arguments_may_be_the_error_itself);
	tcase_add_test(tc, table);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
