#include <check.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"

/* Both must give the same text and the same length, whatever the room. */
#define SAME(...)                                                                 \
	do {                                                                      \
		char want[900], got[900];                                         \
		int n = snprintf(want, sizeof want, __VA_ARGS__);                 \
                                                                                  \
		ck_assert_int_eq(cube_format(got, sizeof got, __VA_ARGS__), n);   \
		ck_assert_str_eq(got, want);                                      \
		ck_assert_int_eq(cube_format(NULL, 0, __VA_ARGS__), n);           \
		for (size_t size = 1; size < 12; size++) {                        \
			snprintf(want, size, __VA_ARGS__);                        \
			memset(got, '#', sizeof got);                             \
			ck_assert_int_eq(cube_format(got, size, __VA_ARGS__), n); \
			ck_assert_str_eq(got, want);                              \
			ck_assert_int_eq(got[size], '#');                         \
		}                                                                 \
	} while (0)

START_TEST(texts_as_libc) {
	SAME("%s", "");
	SAME("plain");
	SAME("100 %%");
	SAME("%s%s", "two", "words");
	SAME("[%10s|%-10s|%2s]", "right", "left", "longer");
	SAME("[%.3s|%.0s|%8.2s|%-8.2s|%.40s]", "abcdef", "abc", "abcdef", "abcdef", "short");
	SAME("[%*s|%-*s|%.*s|%.*s]", 7, "a", 7, "b", 2, "cdef", -1, "ghi");
	SAME("[%*s]", -6, "left");
	SAME("%c%c [%4c|%-4c]", 'a', '\xff', 'b', 'c');
	SAME("%.5s", (const char[]){'n', 'o', 'n', 'u', 'l'}); /* not ended within five */
}
END_TEST

START_TEST(numbers_as_libc) {
	static const long long values[] = {0,        1,       -1,        9,         10,       255,
					   -4096,    INT_MAX, INT_MIN,   UINT_MAX,  1000000,  77,
					   SHRT_MAX, 128,     LLONG_MAX, LLONG_MIN, LONG_MAX, -128};

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		long long v = values[i];

		SAME("%d %i %u %x %X %o", (int)v, (int)v, (unsigned)v, (unsigned)v, (unsigned)v,
		     (unsigned)v);
		SAME("%lld %llu %llx %llo", v, (unsigned long long)v, (unsigned long long)v,
		     (unsigned long long)v);
		SAME("%ld %lu %zu %zd %jd", (long)v, (unsigned long)v, (size_t)v, (ssize_t)v,
		     (intmax_t)v);
		SAME("%hd %hu %hhd %hhu", (short)v, (unsigned short)v, (signed char)v,
		     (unsigned char)v);
		SAME("%+d %+5d %-+5d| %05d %-5d| %5d %+07d", (int)v, (int)v, (int)v, (int)v, (int)v,
		     (int)v, (int)v);
		SAME("%016" PRIx64 ".%" PRIu32 " %02x", (uint64_t)v, (uint32_t)v,
		     (unsigned)v & 255);
		SAME("%.0d|%.3d|%8.3d|%-8.3d|%0*u|%*u", (int)v, (int)v, (int)v, (int)v, 7,
		     (unsigned)v, -7, (unsigned)v);
	}
}
END_TEST

START_TEST(fractions_as_libc) {
	static const double values[] = {0, 1, -1, 0.5, 99.95, 1e10, 1e300, 1.0 / 3, -2.5e-7};

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		double v = values[i];

		SAME("%f %.0f %.4f %g %.2g %.15g %e", v, v, v, v, v, v, v);
		SAME("[%9.2f|%-9.2f|%09.2f|%+.1f|%3.0f %%]", v, v, v, v, v);
		SAME("%s %.*f %d", "before", 2, v, 7);
	}
}
END_TEST

/* One directive of random flags, width, precision and value after another, in one text. */
START_TEST(random_directives_as_libc) {
	static const char *const conversions = "diuxXo";
	unsigned seed = (unsigned)getpid();

	printf("format_test: seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 20000; round++) {
		char spec[40], want[200], got[200];
		int width = (int)(random() % 30), precision = (int)(random() % 25);
		uint64_t v = (uint64_t)random() << (random() % 40) ^ (uint64_t)random();

		snprintf(spec, sizeof spec, "<%%%s%s%s*%sll%c>", random() & 1 ? "-" : "",
			 random() & 1 ? "0" : "", random() & 1 ? "+" : "", random() & 1 ? ".*" : "",
			 conversions[random() % 6]);
		/* '+' has no meaning for what is unsigned: the compiler would say so. */
		if (strpbrk(spec, "uxXo") && strchr(spec, '+')) *strchr(spec, '+') = '0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		if (strchr(spec, '.')) {
			snprintf(want, sizeof want, spec, width, precision, v);
			cube_format(got, sizeof got, spec, width, precision, v);
		} else {
			snprintf(want, sizeof want, spec, width, v);
			cube_format(got, sizeof got, spec, width, v);
		}
#pragma GCC diagnostic pop
		ck_assert_msg(!strcmp(got, want), "%s: \"%s\" instead of \"%s\"", spec, got, want);
	}
}
END_TEST

START_TEST(what_it_does_not_know_ends_the_text) {
	char got[64];
	const char *volatile odd = "%d is %q, %s", *volatile cut = "50 %", *volatile null = NULL;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	ck_assert_int_eq(cube_format(got, sizeof got, odd, 7, "never"), 11);
	ck_assert_str_eq(got, "7 is %q, %s");
	cube_format(got, sizeof got, cut, 0);
	ck_assert_str_eq(got, "50 %");
#pragma GCC diagnostic pop
	cube_format(got, sizeof got, "%s", null);
	ck_assert_str_eq(got, "(null)");
}
END_TEST

START_TEST(too_long_is_told) {
	volatile int width = INT_MAX;

	ck_assert_int_eq(cube_format(NULL, 0, "%*d", width, 1), INT_MAX);
	ck_assert_int_eq(cube_format(NULL, 0, "%*d%d", width, 1, 1), -1);
}
END_TEST

START_TEST(print_writes_it_all) {
	char *big = malloc(3 * CUBE_PRINT_MAX), got[2 * CUBE_PRINT_MAX];
	int p[2];

	ck_assert_ptr_nonnull(big);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(cube_print(p[1], "%s %d\n", "line", 1), 0);
	ck_assert_int_eq(read(p[0], got, sizeof got), 7);
	ck_assert_mem_eq(got, "line 1\n", 7);
	memset(big, 'x', 3 * CUBE_PRINT_MAX);
	big[3 * CUBE_PRINT_MAX - 1] = '\0';
	ck_assert_int_eq(cube_print(p[1], "%s", big), 0);
	ck_assert_int_eq(read(p[0], got, sizeof got), CUBE_PRINT_MAX - 1);
	close(p[0]);
	close(p[1]);
	ck_assert_int_eq(cube_print(p[1], "closed"), -1);
	free(big);
}
END_TEST

int main(void) {
	Suite *s = suite_create("format");
	TCase *t = tcase_create("format");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, texts_as_libc);
	tcase_add_test(t, numbers_as_libc);
	tcase_add_test(t, fractions_as_libc);
	tcase_add_test(t, random_directives_as_libc);
	tcase_add_test(t, what_it_does_not_know_ends_the_text);
	tcase_add_test(t, too_long_is_told);
	tcase_add_test(t, print_writes_it_all);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
