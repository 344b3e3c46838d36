#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/log.h"

/* Runs in a process of its own (check forks): stderr becomes a pipe. */
static int catch_stderr(void) {
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	return fds[0];
}

static const char *caught(int fd, char *buf, size_t size) {
	int null = open("/dev/null", O_WRONLY);
	size_t len = 0;
	ssize_t n;

	ck_assert_int_eq(dup2(null, STDERR_FILENO),
			 STDERR_FILENO); /* ends the pipe, keeps fd 2 used */
	close(null);
	while ((n = read(fd, buf + len, size - 1 - len)) > 0) len += (size_t)n;
	buf[len] = '\0';
	close(fd);
	return buf;
}

START_TEST(format) {
	int fd = catch_stderr();
	char buf[1000], year[5] = "", level[8] = "", text[100] = "";
	const char *s;

	errno = EDOM;
	cube_warn("node %s lost after %d s", "web1", 3);
	ck_assert_int_eq(errno, EDOM);
	s = caught(fd, buf, sizeof buf);
	ck_assert_uint_eq(strcspn(s, " "), 24);
	ck_assert_int_eq(s[23], 'Z');
	ck_assert_int_eq(sscanf(s, "%4s-%*[^ ] %7s %99[^\n]", year, level, text), 3);
	ck_assert_int_ge(strtol(year, NULL, 10), 2000);
	ck_assert_str_eq(s + 24, " warn  node web1 lost after 3 s\n");
}
END_TEST

START_TEST(levels) {
	static const char names[] = "ewid";

	for (int level = CUBE_LOG_ERROR; level <= CUBE_LOG_DEBUG; level++) {
		int fd = catch_stderr(), lines = 0;
		char buf[2000];

		cube_log_set_level((enum cube_log_level)level);
		cube_error("e");
		cube_warn("w");
		cube_info("i");
		cube_debug("d");
		caught(fd, buf, sizeof buf);
		for (char *s = buf; *s; s = strchr(s, '\n') + 1, lines++) {
			ck_assert_int_eq(s[25], names[lines]);
			ck_assert_int_eq(s[31], names[lines]);
			ck_assert_int_eq(s[32], '\n');
		}
		ck_assert_int_eq(lines, level + 1);
	}
}
END_TEST

START_TEST(default_level_is_warn) {
	int fd = catch_stderr();
	char buf[1000];

	cube_info("not shown");
	ck_assert_str_eq(caught(fd, buf, sizeof buf), "");
}
END_TEST

START_TEST(hostile_text_is_escaped) {
	int fd = catch_stderr();
	char buf[1000];

	cube_error("%s", "one\ntwo\x1b[2J\xff gr\xc3\xbc\xc3\x9f");
	ck_assert_str_eq(caught(fd, buf, sizeof buf) + 31,
			 "one\\ntwo\\x1b[2J\\xff gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

START_TEST(long_text_is_cut_and_marked) {
	static char text[20000], buf[40000];
	size_t len;

	for (int lead = 0; lead < 2; lead++) {
		int fd = catch_stderr();

		memset(text, 'a', (size_t)lead);
		for (size_t i = (size_t)lead; i + 2 < sizeof text; i += 2)
			memcpy(text + i, "\xc3\xbc", 3);
		cube_error("%s", text);
		caught(fd, buf, sizeof buf);
		len = strlen(buf);
		ck_assert_uint_gt(len, 2000);
		ck_assert_uint_lt(len, 3000);
		ck_assert_str_eq(buf + len - 6, "\xc3\xbc...\n");
	}
}
END_TEST

START_TEST(worst_text_still_fits) {
	static char text[20000], buf[40000];
	int fd = catch_stderr();
	size_t len;

	memset(text, 1, sizeof text - 1);
	cube_error("%s", text);
	caught(fd, buf, sizeof buf);
	len = strlen(buf);
	ck_assert_uint_gt(len, 8000);
	ck_assert_str_eq(buf + len - 8, "\\x01...\n");
}
END_TEST

int main(void) {
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, format);
	tcase_add_test(tc, levels);
	tcase_add_test(tc, default_level_is_warn);
	tcase_add_test(tc, hostile_text_is_escaped);
	tcase_add_test(tc, long_text_is_cut_and_marked);
	tcase_add_test(tc, worst_text_still_fits);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
