/* Writing to stdout that is slow, gone or full, and signals that were ignored before. */
#include "../../src/cli/writeout.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/cli/signals.h"

static int never(void *arg) {
	ck_abort_msg("woken without reason");
	return 0;
}

static void make_pipe(int fds[2]) {
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
}

START_TEST(test_all_is_written) {
	int fds[2];
	char got[64];
	make_pipe(fds);
	ck_assert_int_eq(cube_write_out(fds[1], "", 0, -1, never, NULL), 0);
	ck_assert_int_eq(cube_write_out(fds[1], "hello", 5, -1, never, NULL), 0);
	ck_assert_int_eq(read(fds[0], got, sizeof got), 5);
	ck_assert_int_eq(memcmp(got, "hello", 5), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int stop_at_third(void *arg) {
	int *times = arg;
	return ++*times == 3 ? 130 : 0;
}

/* A pipe nobody reads blocks: then what comes on wake_fd counts. */
START_TEST(test_woken_while_blocked) {
	static char much[1 << 20];
	int fds[2], wake[2], times = 0;
	make_pipe(fds);
	make_pipe(wake);
	ck_assert_int_eq(write(wake[1], "x", 1), 1);
	ck_assert_int_eq(cube_write_out(fds[1], much, sizeof much, wake[0], stop_at_third, &times),
			 130);
	ck_assert_int_eq(times, 3);
	close(fds[0]);
	close(fds[1]);
	close(wake[0]);
	close(wake[1]);
}
END_TEST

/* What stdout's end is told as; of stderr nothing is. */
START_TEST(test_broken) {
	int fds[2];
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	make_pipe(fds);
	close(fds[0]);
	ck_assert_int_ge(dup2(fds[1], STDOUT_FILENO), 0);
	ck_assert_int_eq(cube_write_out(STDOUT_FILENO, "x", 1, -1, never, NULL), CUBE_WRITE_GONE);
	ck_assert_int_eq(cube_write_out(fds[1], "x", 1, -1, never, NULL), 0);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (full < 0) return;
	ck_assert_int_ge(dup2(full, STDOUT_FILENO), 0);
	ck_assert_int_eq(cube_write_out(STDOUT_FILENO, "x", 1, -1, never, NULL), CUBE_WRITE_FAILED);
}
END_TEST

START_TEST(test_signals) {
	static const int list[] = {SIGINT, SIGTERM, 0};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, normal = {.sa_handler = SIG_DFL};
	struct cube_signals s;
	sigaction(SIGTERM, &normal, NULL);
	sigaction(SIGINT, _i ? &ignore : &normal, NULL);
	cube_signals_open(&s, list);
	ck_assert_int_eq(cube_signals_next(&s), 0);
	raise(SIGINT);
	/* started in the background or under nohup: it was not meant for us */
	ck_assert_int_eq(cube_signals_next(&s), _i ? 0 : SIGINT);
	raise(SIGTERM);
	ck_assert_int_eq(cube_signals_next(&s), SIGTERM);
	ck_assert_int_eq(cube_signals_next(&s), 0);
	cube_signals_close(&s);
}
END_TEST

int main(void) {
	Suite *s = suite_create("writeout");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_all_is_written);
	tcase_add_test(t, test_woken_while_blocked);
	tcase_add_test(t, test_broken);
	tcase_add_loop_test(t, test_signals, 0, 2);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
