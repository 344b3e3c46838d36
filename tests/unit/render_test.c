#include "../../src/cli/render.h"

#include <check.h>
#include <string.h>

#include "../../src/cli/cli.h"
#include "../../src/cli/progress.h"

static int cell_name(const json_t *row, bool plain, struct cube_buf *out) {
	return cube_cell_text(row, "name", out);
}
static int cell_size(const json_t *row, bool plain, struct cube_buf *out) {
	return cube_cell_size(cube_json_num(row, "size", -1), plain, out);
}
static int cell_note(const json_t *row, bool plain, struct cube_buf *out) {
	return cube_cell_text(row, "note", out);
}

static const struct cube_column columns[] = {
	{"NAME", "name", .cell = cell_name},
	{"SIZE", "size", .right = true, .cell = cell_size},
	{"NOTE", "note", .shrinks = 8, .cell = cell_note},
	{"NAME2", "name2", .wide = true, .cell = cell_name},
	{0},
};

static json_t *rows_of(const char *text) {
	json_t *rows = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(rows);
	return rows;
}

static void check_table(const struct cube_render_style *style, const char *in, const char *out) {
	struct cube_buf b;
	json_t *rows = rows_of(in);
	cube_buf_init(&b, 1 << 20);
	ck_assert_int_eq(cube_render_table(style, columns, rows, &b), 0);
	ck_assert_str_eq(cube_buf_str(&b), out);
	cube_buf_done(&b);
	json_decref(rows);
}

START_TEST(test_table) {
	struct cube_render_style plain = {.headers = true}, none = {0},
				 wide = {.headers = true, .wide = true};
	struct cube_render_style narrow = {.headers = true, .width = 24};
	check_table(&plain, "[]", "NAME  SIZE  NOTE\n");
	check_table(&none, "[]", "");
	check_table(&plain,
		    "[{\"name\":\"a\",\"size\":2048,\"note\":\"x y\"},{\"name\":\"longer\"}]",
		    "NAME      SIZE  NOTE\na       2.0 KB  x y\nlonger       -  -\n");
	check_table(&none, "[{\"name\":\"a\",\"size\":1}]", "a  1 B  -\n");
	check_table(&wide, "[{\"name\":\"a\",\"size\":1}]",
		    "NAME  SIZE  NOTE  NAME2\na      1 B  -     a\n");
	check_table(&narrow, "[{\"name\":\"ab\",\"size\":1,\"note\":\"0123456789012345\"}]",
		    "NAME  SIZE  NOTE\nab     1 B  01234567890…\n");
	/* not narrower than 8 while there is something to spare, and never narrower than 4 */
	narrow.width = 19;
	check_table(&narrow, "[{\"name\":\"ab\",\"size\":1,\"note\":\"0123456789\"}]",
		    "NAME  SIZE  NOTE\nab     1 B  012345…\n");
	narrow.width = 5;
	check_table(&narrow, "[{\"name\":\"ab\",\"size\":1,\"note\":\"0123456789\"}]",
		    "NAME  SIZE  NOTE\nab     1 B  012…\n");
}
END_TEST

static const struct cube_column dropping[] = {
	{"NAME", "name", .shrinks = 4, .cell = cell_name},
	{"SIZE", "size", .right = true, .drop = 2, .cell = cell_size},
	{"OTHER", "other", .drop = 1, .cell = cell_name},
	{"NOTE", "note", .shrinks = 8, .cell = cell_note},
	{0},
};

/* Columns that can be spared go before anything is cut below its least width. */
START_TEST(test_table_drops_columns) {
	static const struct {
		size_t width;
		const char *out;
	} cases[] = {
		{0, "abcdef  1 B  abcdef  0123456789\n"},
		{31, "abcdef  1 B  abcdef  0123456789\n"},
		{30, "abcdef  1 B  abcdef  01234567…\n"},
		{27, "abc…  1 B  abcdef  0123456…\n"},
		{26, "abcdef  1 B  0123456789\n"},
		{19, "abc…  1 B  0123456…\n"},
		{18, "abcdef  0123456789\n"},
		{17, "abcdef  01234567…\n"},
		{14, "abc…  0123456…\n"},
		{12, "abc…  01234…\n"},
		{1, "abc…  012…\n"},
	};
	json_t *rows = rows_of("[{\"name\":\"abcdef\",\"size\":1,\"note\":\"0123456789\"}]");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cube_render_style style = {.width = cases[i].width};
		struct cube_buf b;
		cube_buf_init(&b, 1 << 20);
		ck_assert_int_eq(cube_render_table(&style, dropping, rows, &b), 0);
		ck_assert_msg(strcmp(cube_buf_str(&b), cases[i].out) == 0, "width %zu: %s",
			      cases[i].width, cube_buf_str(&b));
		cube_buf_done(&b);
	}
	json_decref(rows);
}
END_TEST

START_TEST(test_table_of_untrusted_text) {
	struct cube_render_style plain = {0};
	check_table(&plain, "[{\"name\":\"\\u001b[31mred\\n\",\"note\":\"\\u009b2J\\u007f\"}]",
		    "\\x1b[31mred\\n  -  \\xc2\\x9b2J\\x7f\n");
	/* wide characters take two columns */
	check_table(&plain,
		    "[{\"name\":\"日本\",\"note\":\"x\"},{\"name\":\"abcd\",\"note\":\"y\"}]",
		    "日本  -  x\nabcd  -  y\n");
}
END_TEST

START_TEST(test_cut) {
	static const struct {
		const char *in;
		size_t width;
		const char *out;
	} cases[] = {
		{"", 0, ""},
		{"abc", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"abc", 1, "…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"äöü", 2, "ä…"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cube_buf b;
		cube_buf_init(&b, 100);
		ck_assert_int_eq(cube_render_cut(cases[i].in, cases[i].width, &b), 0);
		ck_assert_str_eq(cube_buf_str(&b), cases[i].out);
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(test_wrap) {
	static const struct {
		const char *in;
		size_t width;
		const char *out;
	} cases[] = {
		{"", 10, ""},
		{"one two three", 13, "one two three"},
		{"one two three", 12, "one two\n  three"},
		{"one two three", 7, "one two\n  three"},
		{"one two three", 1, "one\n  two\n  three"},
		{"one  two ", 7, "one\n  two "},
		{"averylongword x", 5, "averylongword\n  x"},
		{"日本 語", 6, "日本\n  語"},
		{"日本 語", 7, "日本 語"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cube_buf b;
		cube_buf_init(&b, 100);
		ck_assert_int_eq(cube_render_wrap(cases[i].in, cases[i].width, 2, &b), 0);
		ck_assert_str_eq(cube_buf_str(&b), cases[i].out);
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(test_csv) {
	struct cube_buf b;
	json_t *rows = rows_of("[{\"name\":\"a,b\",\"size\":2048,\"note\":\"say \\\"hi\\\"\\n\"},"
			       "{\"name\":\"\\u001b\"}]");
	cube_buf_init(&b, 1 << 20);
	ck_assert_int_eq(cube_render_csv(true, columns, rows, &b), 0);
	ck_assert_str_eq(cube_buf_str(&b), "name,size,note,name2\n"
					   "\"a,b\",2048,\"say \"\"hi\"\"\n\",\"a,b\"\n"
					   "\x1b,,,\x1b\n");
	cube_buf_clear(&b);
	ck_assert_int_eq(cube_render_csv(false, columns, rows, &b), 0);
	ck_assert_int_eq(cube_buf_str(&b)[0], '"');
	cube_buf_done(&b);
	json_decref(rows);
}
END_TEST

/* What comes out reads back as the same, and holds nothing that steers a terminal. */
START_TEST(test_json_is_safe_and_same) {
	static const char *const texts[] = {
		"{\"a\":\"\\u007f\\u0080\\u009b31m\\u009f\\u00a0\\u00e4\\u20ac\\u0001\"}",
		"[1,2.5,true,null,\"x\"]",
		"\"plain\"",
		"{\"\\u009b\":{\"\\u00c2\":\"\\u0082\"}}",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct cube_buf b;
		json_t *in = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		cube_buf_init(&b, 1 << 20);
		ck_assert_int_eq(cube_render_json(in, JSON_COMPACT, &b), 0);
		const unsigned char *p = (const unsigned char *)cube_buf_str(&b);
		size_t n = strlen((const char *)p);
		for (size_t k = 0; k + 1 < n; k++) {
			ck_assert_uint_ge(p[k], 0x20);
			ck_assert_uint_ne(p[k], 0x7f);
			ck_assert(!(p[k] == 0xc2 && p[k + 1] < 0xa0));
		}
		json_t *out = json_loadb((const char *)p, n, JSON_DECODE_ANY, NULL);
		ck_assert(json_equal(in, out));
		json_decref(in);
		json_decref(out);
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(test_times) {
	ck_assert(cube_time_parse("1970-01-01T00:00:10Z") == 10);
	double t = cube_time_parse("2026-11-22T08:00:00.125Z");
	ck_assert(t > 1795334400.1249 && t < 1795334400.1251);
	ck_assert(cube_time_parse(NULL) == -1);
	ck_assert(cube_time_parse("") == -1);
	ck_assert(cube_time_parse("2026-11-22T08:00:00+01:00") == -1);
	ck_assert(cube_time_parse("2026-11-22T08:00:00.1x") == -1);
}
END_TEST

static void check_progress(const struct cube_progress *p, size_t width, size_t height,
			   const char *want) {
	struct cube_buf b;
	cube_buf_init(&b, 1 << 20);
	ck_assert_int_eq(cube_progress_render(p, width, height, &b), 0);
	ck_assert_str_eq(cube_buf_str(&b), want);
	cube_buf_done(&b);
}

START_TEST(test_progress) {
	struct cube_progress p;
	json_t *nodes = rows_of("[{\"name\":\"web1\",\"state\":\"connecting\"},"
				"{\"name\":\"web2\",\"state\":\"connecting\"},"
				"{\"name\":\"web3\",\"state\":\"ready\"},"
				"{\"name\":\"web4\",\"state\":\"connecting\"}]");
	cube_progress_init(&p, CUBE_PROGRESS_QUIET, 2, nodes);
	ck_assert_uint_eq(p.pending, 3);
	check_progress(&p, 80, 4,
		       "web1 connecting\nweb2 connecting\nweb3 ready already\nweb4 connecting\n");
	cube_progress_state(&p, "web1", CUBE_NODE_PUSHING, NULL);
	cube_progress_step(&p, "web1", "pushing", 0.4);
	cube_progress_step(&p, "web2", "authenticating", 0);
	cube_progress_state(&p, "web4", CUBE_NODE_FAILED, "no route to \033host");
	cube_progress_state(&p, "nobody", CUBE_NODE_READY, NULL);
	ck_assert_uint_eq(p.pending, 2);
	ck_assert_uint_eq(p.failed, 1);
	check_progress(&p, 80, 4,
		       "web1 pushing 40 %\nweb2 authenticating\nweb3 ready already\n"
		       "web4 failed: no route to \\x1bhost\n");
	check_progress(&p, 12, 4, "web1 pushin…\nweb2 authen…\nweb3 ready …\nweb4 failed…\n");
	/* more hosts than rows: folded by state */
	cube_progress_state(&p, "web2", CUBE_NODE_PUSHING, NULL);
	check_progress(&p, 80, 3,
		       "    2  web[1-2]  pushing\n    1  web3  ready\n"
		       "    1  web4  failed: no route to \\x1bhost\n");
	check_progress(&p, 80, 1, "    2  web[1-2]  pushing\n");
	cube_progress_state(&p, "web1", CUBE_NODE_READY, NULL);
	cube_progress_state(&p, "web1", CUBE_NODE_FAILED, "late"); /* its end is told once */
	ck_assert_uint_eq(p.pending, 1);
	ck_assert_uint_eq(p.failed, 1);
	cube_progress_done(&p);
	json_decref(nodes);
}
END_TEST

int main(void) {
	Suite *s = suite_create("render");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_table);
	tcase_add_test(t, test_table_drops_columns);
	tcase_add_test(t, test_table_of_untrusted_text);
	tcase_add_test(t, test_cut);
	tcase_add_test(t, test_wrap);
	tcase_add_test(t, test_csv);
	tcase_add_test(t, test_json_is_safe_and_same);
	tcase_add_test(t, test_times);
	tcase_add_test(t, test_progress);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
