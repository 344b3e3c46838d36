#include "cube/lines.h"

#include <check.h>

#include "hostile.h"

/* What came out, one readable row a piece: '^' begins a line, '$' ends it. */
struct seen {
	struct cube_buf rows;
	int stop_at, calls;
};

static int see(void *arg, const uint8_t *line, size_t n, bool first, bool whole) {
	struct seen *s = arg;
	if (!line || memchr(line, '\n', n)) ck_abort_msg("not a line");
	if (first) cube_buf_addstr(&s->rows, "^");
	cube_buf_add(&s->rows, line, n);
	cube_buf_addstr(&s->rows, whole ? "$\n" : "\n");
	return ++s->calls == s->stop_at ? 77 : 0;
}

static void seen_init(struct seen *s) {
	cube_buf_init(&s->rows, 1 << 20);
	s->stop_at = s->calls = 0;
}

START_TEST(test_table) {
	static const struct {
		const char *in, *rows;
		size_t limit;
	} cases[] = {
		{"", "", 4},
		{"\n", "^$\n", 4},
		{"\n\n", "^$\n^$\n", 4},
		{"ab\n", "^ab$\n", 4},
		{"ab", "^ab$\n", 4},
		{"ab\ncd", "^ab$\n^cd$\n", 4},
		{"abcd\n", "^abcd$\n", 4},
		{"abcd", "^abcd$\n", 4},
		{"abcde\n", "^abcd\ne$\n", 4},
		{"abcdefgh\n", "^abcd\nefgh$\n", 4},
		{"abcdefghi", "^abcd\nefgh\ni$\n", 4},
		{"abcdefghi\n\nx\n", "^abcd\nefgh\ni$\n^$\n^x$\n", 4},
		{"abc\n", "^a\nb\nc$\n", 1},
		{"a\r\n", "^a\r$\n", 4},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].in);
		for (size_t cut = 0; cut <= n; cut++) { /* fed in two parts, cut at each byte */
			struct cube_lines l;
			struct seen s;
			seen_init(&s);
			cube_lines_init(&l, cases[i].limit);
			ck_assert_int_eq(cube_lines_feed(&l, cases[i].in, cut, see, &s), 0);
			ck_assert_int_eq(cube_lines_feed(&l, cases[i].in + cut, n - cut, see, &s),
					 0);
			ck_assert_int_eq(cube_lines_flush(&l, see, &s), 0);
			ck_assert_str_eq(cube_buf_str(&s.rows), cases[i].rows);
			ck_assert_int_eq(cube_lines_flush(&l, see, &s), 0);
			ck_assert_str_eq(cube_buf_str(&s.rows), cases[i].rows);
			cube_lines_done(&l);
			cube_buf_done(&s.rows);
		}
	}
}
END_TEST

START_TEST(test_complete_lines_come_at_once) {
	struct cube_lines l;
	struct seen s;
	seen_init(&s);
	cube_lines_init(&l, 100);
	cube_lines_feed(&l, "one\ntw", 6, see, &s);
	ck_assert_str_eq(cube_buf_str(&s.rows), "^one$\n");
	cube_lines_feed(&l, NULL, 0, see, &s);
	cube_lines_feed(&l, "o\n", 2, see, &s);
	ck_assert_str_eq(cube_buf_str(&s.rows), "^one$\n^two$\n");
	cube_lines_done(&l);
	cube_buf_done(&s.rows);
}
END_TEST

START_TEST(test_stops_when_told) {
	struct cube_lines l;
	struct seen s;
	seen_init(&s);
	s.stop_at = 2;
	cube_lines_init(&l, 3);
	ck_assert_int_eq(cube_lines_feed(&l, "x", 1, see, &s), 0);
	ck_assert_int_eq(cube_lines_feed(&l, "\nabcdef\nz\n", 10, see, &s), 77);
	ck_assert_str_eq(cube_buf_str(&s.rows), "^x$\n^abc\n");
	/* The line that was open is ended once, with nothing more of it. */
	ck_assert_int_eq(cube_lines_flush(&l, see, &s), 0);
	ck_assert_int_eq(cube_lines_flush(&l, see, &s), 0);
	ck_assert_str_eq(cube_buf_str(&s.rows), "^x$\n^abc\n$\n");
	cube_lines_done(&l);
	cube_buf_done(&s.rows);
}
END_TEST

/* The twin: the same rows made from the whole text at once. */
static void twin(struct cube_buf *rows, const char *text, size_t n, size_t limit) {
	for (size_t at = 0; at < n;) {
		size_t end = at;
		while (end < n && text[end] != '\n') end++;
		cube_buf_addstr(rows, "^");
		for (; end - at > limit; at += limit) {
			cube_buf_add(rows, text + at, limit);
			cube_buf_addstr(rows, "\n");
		}
		if (end > at) cube_buf_add(rows, text + at, end - at);
		cube_buf_addstr(rows, "$\n");
		at = end + 1;
	}
}

START_TEST(test_random_against_twin) {
	uint64_t seed = rnd_seed("lines");
	struct guard g;
	guard_init(&g, 4096);
	for (int round = 0; round < 20000; round++) {
		char text[400];
		size_t n = rnd_below(&seed, sizeof text), limit = 1 + rnd_below(&seed, 40);
		size_t per_line = 1 + rnd_below(&seed, 60), step = 1 + rnd_below(&seed, 80);
		for (size_t i = 0; i < n; i++)
			text[i] = rnd_below(&seed, per_line) ? (char)('a' + i % 26) : '\n';
		struct cube_lines l;
		struct seen s, want;
		seen_init(&s);
		seen_init(&want);
		cube_lines_init(&l, limit);
		for (size_t at = 0; at < n;) {
			size_t len = rnd_below(&seed, step + 1);
			if (len > n - at) len = n - at;
			cube_lines_feed(&l, guard_put(&g, text + at, len), len, see, &s);
			at += len;
		}
		cube_lines_flush(&l, see, &s);
		twin(&want.rows, text, n, limit);
		if (strcmp(cube_buf_str(&s.rows), cube_buf_str(&want.rows)) != 0)
			ck_abort_msg("round %d, limit %zu", round, limit);
		cube_lines_done(&l);
		cube_buf_done(&s.rows);
		cube_buf_done(&want.rows);
	}
	guard_done(&g);
}
END_TEST

int main(void) {
	Suite *s = suite_create("lines");
	TCase *t = tcase_create("lines");
	tcase_add_test(t, test_table);
	tcase_add_test(t, test_complete_lines_come_at_once);
	tcase_add_test(t, test_stops_when_told);
	tcase_add_test(t, test_random_against_twin);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
