/* The environment that follows the user's sessions. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/userenv.h"

static void is(const char *name, const char *value) {
	const char *now = getenv(name);
	if (value) ck_assert_msg(now && !strcmp(now, value), "%s: %s", name, now ? now : "unset");
	else ck_assert_msg(!now, "%s: %s", name, now);
}

static size_t count(void) {
	size_t n = 0;
	while (environ[n]) n++;
	return n;
}

START_TEST(test_set_and_unset) {
	setenv("OTHER", "o", 1);
	setenv("SSH_AUTH_SOCK", "/first", 1);
	unsetenv("KRB5CCNAME");
	unsetenv("DISPLAY");
	char **before = environ;
	size_t n = count();
	struct cube_userenv *s = cube_userenv_new();
	ck_assert_uint_eq(count(), n);
	is("OTHER", "o");
	is("SSH_AUTH_SOCK", "/first");
	ck_assert(!cube_userenv_set(s, "SSH_AUTH_SOCK", "/first"));
	ck_assert(cube_userenv_set(s, "SSH_AUTH_SOCK", "/second"));
	ck_assert(cube_userenv_set(s, "KRB5CCNAME", "FILE:/x"));
	ck_assert(cube_userenv_set(s, "DISPLAY", ""));
	is("SSH_AUTH_SOCK", "/second");
	is("KRB5CCNAME", "FILE:/x");
	is("DISPLAY", "");
	ck_assert_uint_eq(count(), n + 2);
	ck_assert(cube_userenv_set(s, "SSH_AUTH_SOCK", NULL));
	ck_assert(!cube_userenv_set(s, "SSH_AUTH_SOCK", NULL));
	is("SSH_AUTH_SOCK", NULL);
	is("KRB5CCNAME", "FILE:/x");
	is("DISPLAY", "");
	ck_assert(cube_userenv_set(s, "DISPLAY", NULL));
	ck_assert(cube_userenv_set(s, "KRB5CCNAME", NULL));
	ck_assert_uint_eq(count(), n - 1);
	is("OTHER", "o");
	cube_userenv_free(s);
	ck_assert_ptr_eq(environ, before);
	is("SSH_AUTH_SOCK", "/first");
}
END_TEST

START_TEST(test_all_of_them) {
	struct cube_userenv *s = cube_userenv_new();
	for (int round = 0; round < 100; round++)
		for (size_t i = 0; cube_userenv_name(i); i++) {
			cube_autofree char *value = cube_strf("%zu-%d", i, round % 3);
			ck_assert(cube_userenv_set(s, cube_userenv_name(i), value));
			is(cube_userenv_name(i), value);
		}
	for (size_t i = 0; cube_userenv_name(i); i++) {
		ck_assert(cube_userenv_set(s, cube_userenv_name(i), NULL));
		is(cube_userenv_name(i), NULL);
	}
	cube_userenv_free(s);
}
END_TEST

START_TEST(test_others_are_left_alone) {
	static char big[CUBE_SESSION_VALUE + 1];
	setenv("LD_PRELOAD", "", 1);
	struct cube_userenv *s = cube_userenv_new();
	memset(big, 'x', CUBE_SESSION_VALUE);
	ck_assert(!cube_userenv_set(s, "LD_PRELOAD", "/evil.so"));
	ck_assert(!cube_userenv_set(s, "SSH_AUTH", "/x"));
	ck_assert(!cube_userenv_set(s, "SSH_AUTH_SOCK=", "/x"));
	ck_assert(!cube_userenv_set(s, "SSH_AUTH_SOCK", big));
	is("LD_PRELOAD", "");
	cube_userenv_free(s);
}
END_TEST

static void *reads(void *arg) {
	for (size_t n = 0; !__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE); n++)
		if (!getenv("OTHER") || getenv("NOT_THERE_AT_ALL")) return arg;
	return NULL;
}

START_TEST(test_another_thread_reads) {
	bool over = false;
	void *said;
	pthread_t thread;
	setenv("OTHER", "o", 1);
	struct cube_userenv *s = cube_userenv_new();
	ck_assert_int_eq(pthread_create(&thread, NULL, reads, &over), 0);
	for (int i = 0; i < 100000; i++) {
		const char *name = cube_userenv_name((size_t)i % 3);
		cube_userenv_set(s, name, i % 5 ? i % 2 ? "one" : "two" : NULL);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(thread, &said);
	ck_assert_ptr_null(said);
	cube_userenv_free(s);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("session");
	TCase *tc = tcase_create("session");
	tcase_add_test(tc, test_set_and_unset);
	tcase_add_test(tc, test_all_of_them);
	tcase_add_test(tc, test_others_are_left_alone);
	tcase_add_test(tc, test_another_thread_reads);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
