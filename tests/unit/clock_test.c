#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cube/clock.h"

static uint64_t fixed(void) {
	return 42;
}

static int64_t fixed_wall(void) {
	return -7;
}
static uint64_t fixed_asleep(void) {
	return 9;
}

START_TEST(monotonic_and_replaceable) {
	uint64_t last = cube_clock_mono();

	ck_assert_uint_gt(last, 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = cube_clock_mono();

		if (now < last) ck_abort_msg("went back");
		last = now;
	}
	cube_clock_set_source(&(struct cube_clock_source){.mono = fixed});
	ck_assert_uint_eq(cube_clock_mono(), 42);
	cube_clock_set_source(NULL);
	ck_assert_uint_ge(cube_clock_mono(), last);
}
END_TEST

/* One that is not replaced is the system's. */
START_TEST(each_is_replaceable) {
	int64_t wall = cube_clock_wall();
	struct cube_clock_source source = {.wall = fixed_wall};
	cube_clock_set_source(&source);
	ck_assert_int_eq(cube_clock_wall(), -7);
	ck_assert_uint_ne(cube_clock_mono(), 42);
	source = (struct cube_clock_source){.mono = fixed, .asleep = fixed_asleep};
	ck_assert_uint_eq(cube_clock_asleep(), 9);
	ck_assert_uint_eq(cube_clock_mono(), 42);
	ck_assert_int_ge(cube_clock_wall(), wall);
	cube_clock_set_source(NULL);
	ck_assert_uint_ne(cube_clock_mono(), 42);
	ck_assert_int_ge(cube_clock_wall(), wall);
}
END_TEST

START_TEST(wall_is_unix_time) {
	time_t before = time(NULL);
	int64_t ns = cube_clock_wall();

	/* time() reads the coarse clock: it may lag by a tick */
	ck_assert_int_ge(ns / (int64_t)CUBE_NS_PER_S, before);
	ck_assert_int_le(ns / (int64_t)CUBE_NS_PER_S, time(NULL) + 1);
}
END_TEST

START_TEST(rfc3339) {
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{999999, "1970-01-01T00:00:00.000Z"},
		{1000000, "1970-01-01T00:00:00.001Z"},
		{1795334079123456789, "2026-11-22T07:54:39.123Z"},
		{951782400000000000, "2000-02-29T00:00:00.000Z"},
		{951868799999999999, "2000-02-29T23:59:59.999Z"},
		{4107542400000000000, "2100-03-01T00:00:00.000Z"},
		{INT64_MAX, "2262-04-11T23:47:16.854Z"},
		{INT64_MIN, "1677-09-21T00:12:43.145Z"},
	};
	char buf[25];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ck_assert_ptr_eq(cube_clock_rfc3339(rows[i].ns, buf), buf);
		ck_assert_str_eq(buf, rows[i].text);
	}
}
END_TEST

/* Against the C library: each day that int64 nanoseconds reach, at a moving time of day. */
START_TEST(every_day) {
	char buf[25], want[32];
	int64_t second = INT64_MIN / 1000000000 + 1;

	for (; second < INT64_MAX / 1000000000; second += 86399) {
		time_t t = (time_t)second;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.007Z", &tm);
		cube_clock_rfc3339(second * 1000000000 + 7000000, buf);
		if (strcmp(buf, want)) ck_abort_msg("%s is not %s", buf, want);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("clock");
	TCase *tc = tcase_create("clock");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, monotonic_and_replaceable);
	tcase_add_test(tc, each_is_replaceable);
	tcase_add_test(tc, wall_is_unix_time);
	tcase_add_test(tc, rfc3339);
	tcase_add_test(tc, every_day);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
