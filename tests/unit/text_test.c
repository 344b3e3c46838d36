#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/text.h"

#define COUNT(a) (sizeof a / sizeof a[0])

static size_t put_utf8(uint32_t cp, uint8_t *p) {
	if (cp < 0x80) {
		p[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		p[0] = (uint8_t)(0xc0 | cp >> 6);
		p[1] = (uint8_t)(0x80 | (cp & 63));
		return 2;
	}
	if (cp < 0x10000) {
		p[0] = (uint8_t)(0xe0 | cp >> 12);
		p[1] = (uint8_t)(0x80 | (cp >> 6 & 63));
		p[2] = (uint8_t)(0x80 | (cp & 63));
		return 3;
	}
	p[0] = (uint8_t)(0xf0 | cp >> 18);
	p[1] = (uint8_t)(0x80 | (cp >> 12 & 63));
	p[2] = (uint8_t)(0x80 | (cp >> 6 & 63));
	p[3] = (uint8_t)(0x80 | (cp & 63));
	return 4;
}

START_TEST(utf8_of_every_code_point) {
	for (uint32_t cp = 0; cp < 0x120000; cp++) {
		bool good = cp > 0 && cp < 0x110000 && !(cp >= 0xd800 && cp < 0xe000);
		uint8_t bytes[4];
		size_t n = put_utf8(cp, bytes);

		if (cube_text_is_utf8(bytes, n) != good) ck_abort_msg("U+%04X", cp);
		for (size_t cut = 1; cut < n; cut++)
			if (cube_text_is_utf8(bytes, cut)) ck_abort_msg("U+%04X cut", cp);
	}
	ck_assert(cube_text_is_utf8("", 0));
}
END_TEST

START_TEST(utf8_malformed) {
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xfe",
		"a\xc3",
		"\xc3(",
		"\xe2\x82(",
		"\xe2(\xac",
		"\xf0\x9f\x98(",
		"ok\xe2\x82\xac\xac",
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(!cube_text_is_utf8(bad[i], strlen(bad[i])), "row %zu", i);
	ck_assert(cube_text_is_utf8("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15));
}
END_TEST

static void check_escape(const void *bytes, size_t n, const char *want) {
	struct cube_buf out;
	uint8_t *copy = malloc(n ? n : 1); /* on the heap, so that reading past the end is found */

	memcpy(copy, bytes, n);
	cube_buf_init(&out, 1000);
	if (cube_text_escape(&out, copy, n) != 0 || strcmp(cube_buf_str(&out), want))
		ck_abort_msg("got %s, want %s", cube_buf_str(&out), want);
	cube_buf_done(&out);
	free(copy);
}

START_TEST(escape_every_byte) {
	for (int c = 0; c < 256; c++) {
		uint8_t alone = (uint8_t)c, within[3] = {'a', (uint8_t)c, 'z'};
		char one[8], want[16];

		if (c == '\n' || c == '\r' || c == '\t')
			snprintf(one, sizeof one, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
		else if (c >= 0x20 && c < 0x7f) snprintf(one, sizeof one, "%c", c);
		else snprintf(one, sizeof one, "\\x%02x", (unsigned)c);
		check_escape(&alone, 1, one);
		snprintf(want, sizeof want, "a%sz", one);
		check_escape(within, 3, want);
	}
}
END_TEST

/* All pairs of bytes: the output is always UTF-8 without controls, and says every byte. */
START_TEST(escape_every_pair) {
	struct cube_buf out;

	cube_buf_init(&out, 100);
	for (int a = 0; a < 256; a++)
		for (int b = 0; b < 256; b++) {
			uint8_t pair[2] = {(uint8_t)a, (uint8_t)b};
			bool whole = a >= 0xc2 && a < 0xe0 && b >= 0x80 && b < 0xc0 &&
				     !(a == 0xc2 && b < 0xa0);
			const char *s;

			cube_buf_clear(&out);
			cube_text_escape(&out, pair, 2);
			s = cube_buf_str(&out);
			if (whole != (cube_buf_len(&out) == 2 && !memcmp(s, pair, 2) && a >= 0x80))
				ck_abort_msg("%02x %02x gives %s", a, b, s);
			if (!cube_text_is_utf8(s, strlen(s))) ck_abort_msg("%02x %02x", a, b);
			for (; *s; s++)
				if ((uint8_t)*s < 0x20 || *s == 0x7f)
					ck_abort_msg("%02x %02x", a, b);
		}
	cube_buf_done(&out);
}
END_TEST

START_TEST(escape_examples) {
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"a\x1b[31mb", "a\\x1b[31mb"},
		{"\xc2\x9b"
		 "31m",
		 "\\xc2\\x9b31m"},
		{"\xc2\xa0", "\xc2\xa0"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xf0\x9f\x98\x80!", "\xf0\x9f\x98\x80!"},
		{"\xf0\x9f\x98", "\\xf0\\x9f\\x98"},
		{"\xf0\x9f\x98x", "\\xf0\\x9f\\x98x"},
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},
		{"one\ntwo\r\n", "one\\ntwo\\r\\n"},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		check_escape(rows[i].text, strlen(rows[i].text), rows[i].want);
	check_escape("a\0b", 3, "a\\x00b");
}
END_TEST

/* Whatever the maximum: all of it, or nothing is added. */
START_TEST(too_big_adds_nothing) {
	static const char text[] = "it's \x01 \xc2\x9b 'q' \n";

	for (size_t max = 0; max < 60; max++) {
		struct cube_buf out;
		int r;

		cube_buf_init(&out, max);
		r = cube_text_escape(&out, text, sizeof text - 1);
		ck_assert_int_eq(r, max < 25 ? CUBE_ETOOBIG : 0);
		ck_assert_uint_eq(cube_buf_len(&out), r ? 0 : 25);
		cube_buf_clear(&out);
		r = cube_text_shell_quote(&out, text);
		ck_assert_int_eq(r, max < 26 ? CUBE_ETOOBIG : 0);
		ck_assert_uint_eq(cube_buf_len(&out), r ? 0 : 26);
		cube_buf_clear(&out);
		r = cube_text_base64(&out, text, sizeof text - 1);
		ck_assert_int_eq(r, max < 20 ? CUBE_ETOOBIG : 0);
		ck_assert_uint_eq(cube_buf_len(&out), r ? 0 : 20);
		cube_buf_done(&out);
	}
}
END_TEST

START_TEST(shell_quote) {
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", "''"},
		{"ls", "ls"},
		{"/usr/bin/a-b_c.d:e,f+g@h", "/usr/bin/a-b_c.d:e,f+g@h"},
		{"a b", "'a b'"},
		{"it's", "'it'\\''s'"},
		{"'", "''\\'''"},
		{"A=1", "'A=1'"},
		{"~", "'~'"},
		{"$HOME", "'$HOME'"},
		{"a\nb", "'a\nb'"},
		{"if", "'if'"},
		{"time", "'time'"},
		{"times", "times"},
		{"{}", "'{}'"},
		{"gr\xc3\xbc", "'gr\xc3\xbc'"},
	};
	struct cube_buf out;

	cube_buf_init(&out, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		cube_buf_clear(&out);
		ck_assert_int_eq(cube_text_shell_quote(&out, rows[i].text), 0);
		ck_assert_str_eq(cube_buf_str(&out), rows[i].want);
	}
	cube_buf_done(&out);
}
END_TEST

/* A real shell reads back every byte, alone and in the midst of a word. */
START_TEST(shell_reads_it_back) {
	struct cube_buf script, want;
	char got[8192], one[2] = "", word[4] = "x?y";
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	cube_buf_init(&script, 1 << 20);
	cube_buf_init(&want, sizeof got);
	cube_buf_addstr(&script, "printf '%s\\n'");
	for (int c = 1; c < 256; c++) {
		one[0] = word[1] = (char)c;
		cube_buf_addstr(&script, " ");
		ck_assert_int_eq(cube_text_shell_quote(&script, one), 0);
		cube_buf_addstr(&script, " ");
		ck_assert_int_eq(cube_text_shell_quote(&script, word), 0);
		ck_assert_int_eq(cube_buf_printf(&want, "%s\n%s\n", one, word), 0);
	}
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(fds[1], 1);
		execl("/bin/sh", "sh", "-c", cube_buf_str(&script), (char *)NULL);
		_exit(9);
	}
	close(fds[1]);
	while ((n = read(fds[0], got + len, sizeof got - len)) > 0) len += (size_t)n;
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(len, cube_buf_len(&want));
	ck_assert_mem_eq(got, cube_buf_data(&want), len);
	cube_buf_done(&script);
	cube_buf_done(&want);
}
END_TEST

START_TEST(base64_rfc_vectors) {
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xfe", "+//+"},
	};
	struct cube_buf out;
	struct cube_err err;

	cube_buf_init(&out, 100);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *want = rows[i].want;

		cube_buf_clear(&out);
		ck_assert_int_eq(cube_text_base64(&out, rows[i].text, strlen(rows[i].text)), 0);
		ck_assert_str_eq(cube_buf_str(&out), want);
		cube_buf_clear(&out);
		ck_assert_int_eq(cube_text_unbase64(&out, want, strlen(want), &err), 0);
		ck_assert_str_eq(cube_buf_str(&out), rows[i].text);
	}
	cube_buf_done(&out);
}
END_TEST

START_TEST(base64_round_trip) {
	uint8_t bytes[260];
	struct cube_buf text, back;

	for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 167 + (i >> 3));
	for (size_t n = 0; n < sizeof bytes; n++) {
		size_t size = (n + 2) / 3 * 4;

		cube_buf_init(&text, size + 3); /* exactly as large as needed */
		cube_buf_init(&back, n + 3);
		cube_buf_addstr(&text, "pre");
		cube_buf_addstr(&back, "pre");
		ck_assert_int_eq(cube_text_base64(&text, bytes, n), 0);
		ck_assert_uint_eq(cube_buf_len(&text), size + 3);
		cube_buf_consume(&text, 3);
		ck_assert_int_eq(
			cube_text_unbase64(&back, (const char *)cube_buf_data(&text), size, NULL),
			0);
		ck_assert_uint_eq(cube_buf_len(&back), n + 3);
		ck_assert_mem_eq(cube_buf_data(&back) + 3, bytes, n);
		cube_buf_done(&text);
		cube_buf_done(&back);
	}
}
END_TEST

START_TEST(base64_is_strict) {
	static const char *const bad[] = {
		"Z",
		"Zg",
		"Zg=",
		"Zg===",
		"Zh==",
		"Zm9=",
		"Zm8=Zm8=",
		"Zg==Zm9v",
		"=Zg=",
		"Z===",
		"====",
		"Zm9v\n",
		"Zm 9",
		"Zm9-",
		"Zm9_",
		"Z=9v",
		"Zm=v",
		"Zm9v====",
		"\xff\xff\xff\xff",
	};
	struct cube_buf out;
	struct cube_err err;

	cube_buf_init(&out, 100);
	cube_buf_addstr(&out, "kept");
	for (size_t i = 0; i < COUNT(bad); i++) {
		err.code = 0;
		ck_assert_msg(cube_text_unbase64(&out, bad[i], strlen(bad[i]), &err) == CUBE_EUSAGE,
			      "%s", bad[i]);
		ck_assert_int_eq(err.code, CUBE_EUSAGE);
		ck_assert_str_eq(cube_buf_str(&out), "kept");
	}
	for (int c = 0; c < 256; c++) {
		char text[4] = {'A', (char)c, 'A', 'A'};
		bool digit =
			c &&
			strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
			       c);

		cube_buf_clear(&out);
		if ((cube_text_unbase64(&out, text, 4, NULL) == 0) != digit)
			ck_abort_msg("byte %d", c);
	}
	cube_buf_done(&out);
	cube_buf_init(&out, 2);
	ck_assert_int_eq(cube_text_unbase64(&out, "Zm9v", 4, &err), CUBE_ETOOBIG);
	ck_assert_int_eq(err.code, CUBE_ETOOBIG);
	cube_buf_done(&out);
}
END_TEST

START_TEST(width) {
	static const struct {
		const char *text;
		size_t columns;
	} rows[] = {
		{"", 0},
		{"hello", 5},
		{"gr\xc3\xbc\xc3\x9f", 4},
		{"e\xcc\x81", 1},
		{"\xe4\xb8\xad\xe6\x96\x87", 4},
		{"\xed\x95\x9c", 2},
		{"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 2},
		{"\xf0\x9f\x98\x80", 2},
		{"\xf0\x9f\x98\x80!", 3},
		{"\xef\xbc\xa1", 2},
		{"\xef\xbd\xb1", 1},
		{"\xe2\x80\x8b", 0},
		{"\xe2\x9c\x93", 1},
		{"\xe2\x94\x80", 1},
		{"\xf0\xa0\x80\x80", 2},
		{"\xff\xfe", 2},
		{"a\tb", 2},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_msg(cube_text_width(rows[i].text) == rows[i].columns, "row %zu: %zu", i,
			      cube_text_width(rows[i].text));
}
END_TEST

int main(void) {
	Suite *s = suite_create("text");
	TCase *tc = tcase_create("text");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, utf8_of_every_code_point);
	tcase_add_test(tc, utf8_malformed);
	tcase_add_test(tc, escape_every_byte);
	tcase_add_test(tc, escape_every_pair);
	tcase_add_test(tc, escape_examples);
	tcase_add_test(tc, too_big_adds_nothing);
	tcase_add_test(tc, shell_quote);
	tcase_add_test(tc, shell_reads_it_back);
	tcase_add_test(tc, base64_rfc_vectors);
	tcase_add_test(tc, base64_round_trip);
	tcase_add_test(tc, base64_is_strict);
	tcase_add_test(tc, width);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
