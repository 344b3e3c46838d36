#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/parse.h"

#define S        CUBE_NS_PER_S
#define COUNT(a) (sizeof a / sizeof a[0])

START_TEST(u64) {
	static const struct {
		const char *text;
		uint64_t min, max;
		bool ok;
		uint64_t value;
	} rows[] = {
		{"0", 0, 10, true, 0},
		{"10", 0, 10, true, 10},
		{"007", 0, 10, true, 7},
		{"11", 0, 10, false, 0},
		{"1", 2, 10, false, 0},
		{"18446744073709551615", 0, UINT64_MAX, true, UINT64_MAX},
		{"18446744073709551616", 0, UINT64_MAX, false, 0},
		{"18446744073709551620", 0, UINT64_MAX, false, 0},
		{"99999999999999999999999", 0, UINT64_MAX, false, 0},
		{"", 0, 10, false, 0},
		{" 1", 0, 10, false, 0},
		{"1 ", 0, 10, false, 0},
		{"+1", 0, 10, false, 0},
		{"-1", 0, UINT64_MAX, false, 0},
		{"0x1", 0, 10, false, 0},
		{"1.0", 0, 10, false, 0},
		{"\xef\xbc\x91", 0, 10, false, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cube_err err = {0};
		uint64_t v = 77;
		int r = cube_parse_u64(rows[i].text, rows[i].min, rows[i].max, &v, &err);

		ck_assert_msg(r == (rows[i].ok ? 0 : CUBE_EUSAGE), "\"%s\"", rows[i].text);
		ck_assert_uint_eq(v, rows[i].ok ? rows[i].value : 77);
		ck_assert_int_eq(err.code, r);
	}
}
END_TEST

START_TEST(messages_quote_the_text) {
	struct cube_err err;
	char text[400];
	uint64_t v;

	ck_assert_int_eq(cube_parse_u64("x1", 1, 65535, &v, &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "\"x1\" is not a whole number from 1 to 65535");
	ck_assert_int_eq(cube_parse_u64("x1", 1, 65535, &v, NULL), CUBE_EUSAGE);
	/* However long the text: the message says what is accepted. */
	for (size_t n = 1; n < sizeof text; n++) {
		memset(text, 'z', n);
		text[n] = '\0';
		cube_parse_duration(text, &v, &err);
		ck_assert_ptr_nonnull(strstr(err.msg, "at most 3650d)"));
		cube_parse_size(text, &v, &err);
		ck_assert_ptr_nonnull(strstr(err.msg, "less than 16e)"));
		ck_assert_int_eq(strncmp(err.msg, "\"z", 2), 0);
		ck_assert(n <= 60 || strstr(err.msg, "z...\" is"));
	}
}
END_TEST

START_TEST(duration) {
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"90s", 90 * S},
		{"10m", 600 * S},
		{"1h30m", 5400 * S},
		{"250ms", 250 * CUBE_NS_PER_MS},
		{"1.5s", 1500 * CUBE_NS_PER_MS},
		{"2d", 172800 * S},
		{"0", 0},
		{"0s", 0},
		{"7", 7 * S},
		{"1.5", 1500 * CUBE_NS_PER_MS},
		{"1d2h3m4s5ms6us7ns", 93784 * S + 5006007},
		{"0.1s", 100 * CUBE_NS_PER_MS},
		{"0.000000001s", 1},
		{"0.0000000019s", 1},
		{"0.1d", 8640 * S},
		{"1.5h", 5400 * S},
		{"1.999999999999999999999999999999s", 2 * S - 1},
		{"1h0.5m", 3630 * S},
		{"3650d", 3650 * 86400 * S},
		{"87600h", 3650 * 86400 * S},
	};
	static const char *const bad[] = {
		"",      " ",     "s",     "1x",    "1 s",      " 1s",
		"1s ",   "-1s",   "+1s",   "1.s",   ".5s",      "1..5s",
		"1.5.5", "1h30",  "30m1h", "1m1m",  "1S",       "1e3",
		"1,5s",  "3651d", "1e",    "1.5ns", "3650d1ns", "99999999999999999999s",
		"inf",   "nan",   "0x10s", "1mss",  "1h 30m",   "18446744073709551615d",
		"1min",  "1.",
	};
	struct cube_err err;

	for (size_t i = 0; i < COUNT(good); i++) {
		uint64_t ns = 77;

		ck_assert_msg(cube_parse_duration(good[i].text, &ns, &err) == 0, "%s", err.msg);
		ck_assert_msg(ns == good[i].ns, "%s gives %" PRIu64, good[i].text, ns);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t ns = 77;
		int r = cube_parse_duration(bad[i], &ns, &err);

		ck_assert_msg(r == CUBE_EUSAGE, "\"%s\" gives %d", bad[i], r);
		ck_assert_uint_eq(ns, 77);
	}
}
END_TEST

START_TEST(size) {
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"64m", 64u << 20},
		{"4g", 4ull << 30},
		{"512k", 512u << 10},
		{"100", 100},
		{"1.5g", 3ull << 29},
		{"100b", 100},
		{"100B", 100},
		{"2TiB", 2ull << 40},
		{"2tb", 2ull << 40},
		{"0", 0},
		{"0.5k", 512},
		{"0.1k", 102},
		{"15.999e", UINT64_MAX - ((1ull << 60) / 1000)},
		{"18446744073709551615", UINT64_MAX},
		{"1p", 1ull << 50},
	};
	static const char *const bad[] = {
		"",
		"k",
		"b",
		"1ib",
		"1x",
		"1 k",
		"-1",
		"1.5",
		"1.5b",
		"1kbb",
		"1ki",
		"1bk",
		"1k1m",
		"1.k",
		".5k",
		"16e",
		"1e3",
		"1kk",
		"1KiBs",
		"18446744073709551616",
		"18014398509481984k",
	};
	struct cube_err err;

	for (size_t i = 0; i < COUNT(good); i++) {
		uint64_t v = 77;

		ck_assert_msg(cube_parse_size(good[i].text, &v, &err) == 0, "%s", err.msg);
		ck_assert_msg(v == good[i].bytes, "%s gives %" PRIu64, good[i].text, v);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t v = 77;
		int r = cube_parse_size(bad[i], &v, &err);

		ck_assert_msg(r == CUBE_EUSAGE, "\"%s\" gives %d", bad[i], r);
		ck_assert_uint_eq(v, 77);
	}
}
END_TEST

/* Each cut of a good text is read from a block that ends right behind it. */
START_TEST(every_prefix) {
	static const char *const texts[] = {"1d2h3m4s5ms6us7ns", "1.25h30.5m", "15.75GiB",
					    "1234567"};

	for (size_t i = 0; i < COUNT(texts); i++)
		for (size_t n = 0; n <= strlen(texts[i]); n++) {
			char *text = strndup(texts[i], n);
			uint64_t v;

			cube_parse_duration(text, &v, NULL);
			cube_parse_size(text, &v, NULL);
			cube_parse_u64(text, 0, 9, &v, NULL);
			free(text);
		}
}
END_TEST

START_TEST(formats) {
	static const struct {
		uint64_t ns;
		const char *text;
	} times[] = {
		{0, "0 s"},
		{999, "999 ns"},
		{12345, "12 us"},
		{350 * CUBE_NS_PER_MS, "350 ms"},
		{S - 1, "999 ms"},
		{S, "1.0 s"},
		{1290 * CUBE_NS_PER_MS, "1.2 s"},
		{60 * S - 1, "59.9 s"},
		{60 * S, "1m 00s"},
		{200 * S, "3m 20s"},
		{3600 * S - 1, "59m 59s"},
		{7500 * S, "2h 05m"},
		{86400 * S - 1, "23h 59m"},
		{76 * 3600 * S, "3d 4h"},
		{UINT64_MAX, "213503d 23h"},
	};
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{0, "0 B"},           {12, "12 B"},           {1023, "1023 B"},
		{1024, "1.0 KB"},     {3500, "3.4 KB"},       {(1u << 20) - 1, "1023.9 KB"},
		{1u << 20, "1.0 MB"}, {1300000000, "1.2 GB"}, {UINT64_MAX, "15.9 EB"},
	};
	char buf[32], small[4];

	for (size_t i = 0; i < COUNT(times); i++)
		ck_assert_str_eq(cube_format_duration(times[i].ns, buf, sizeof buf), times[i].text);
	for (size_t i = 0; i < COUNT(sizes); i++)
		ck_assert_str_eq(cube_format_size(sizes[i].bytes, buf, sizeof buf), sizes[i].text);
	ck_assert_str_eq(cube_format_size(1023, small, sizeof small), "102");
}
END_TEST

START_TEST(nearest) {
	static const char *const words[] = {"run", "ps", "logs", "spawn", "nodes", "doctor", NULL};
	static const char *const none[] = {NULL};
	static const struct {
		const char *word, *want;
	} rows[] = {
		{"run", "run"},      {"rnu", "run"},   {"sapwn", "spawn"},  {"spwan", "spawn"},
		{"log", "logs"},     {"lgos", "logs"}, {"node", "nodes"},   {"doktor", "doctor"},
		{"doctr", "doctor"}, {"xyz", NULL},    {"spaghetti", NULL}, {"rabc", NULL},
		{"spxyn", "spawn"},  {"sxyzn", NULL},
	};
	char longest[200];
	const char *big[] = {longest, NULL};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *got = cube_parse_nearest(rows[i].word, words);

		ck_assert_msg(got ? rows[i].want && !strcmp(got, rows[i].want) : !rows[i].want,
			      "%s gives %s", rows[i].word, got ? got : "nothing");
	}
	ck_assert_ptr_null(cube_parse_nearest("run", none));
	for (size_t n = 0; n < sizeof longest; n++) {
		memset(longest, 'a', n);
		longest[n] = '\0';
		ck_assert_ptr_eq(cube_parse_nearest(longest, big), n <= 63 ? longest : NULL);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("parse");
	TCase *tc = tcase_create("parse");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, u64);
	tcase_add_test(tc, messages_quote_the_text);
	tcase_add_test(tc, duration);
	tcase_add_test(tc, size);
	tcase_add_test(tc, every_prefix);
	tcase_add_test(tc, formats);
	tcase_add_test(tc, nearest);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
