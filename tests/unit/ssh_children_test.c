/* What `ssh -G` starts and how it grows: it has an owner, a limit and an end. Real ssh. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/ssh_config.h"
#include "cube/clock.h"

static char dir[64], file[96], pids[96];
static struct cube_loop *loop;
static struct cube_ssh_configs *configs;

static void write_text(const char *name, const char *text) {
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* Each says who it is, as soon as it runs. */
static void write_exec(const char *then) {
	cube_autofree char *text = cube_strf(
		"Match exec \"echo $$ >>%s; echo $PPID >>%s; %s\"\n  Port 7\n", pids, pids, then);
	write_text(file, text);
}

static void setup(void) {
	struct cube_err err;
	snprintf(dir, sizeof dir, "/tmp/cube-children.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/config", dir);
	snprintf(pids, sizeof pids, "%s/pids", dir);
	setenv("SHELL", "/bin/sh", 1);
	ck_assert_int_eq(cube_loop_new(&loop, &err), 0);
	cube_ssh_configs_new(loop, NULL, &configs);
}

static int remove_one(const char *name, const struct stat *st, int kind, struct FTW *ftw) {
	return remove(name);
}

static void teardown(void) {
	cube_ssh_configs_free(configs);
	cube_loop_free(loop);
	ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- the processes ------------------------------------------------------------------------- */

/* Whether one is, zombies aside. */
static bool runs(pid_t pid) {
	cube_autofree char *name = cube_strf("/proc/%d/stat", (int)pid);
	char text[512] = "";
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	ck_assert(read(fd, text, sizeof text - 1) >= 0);
	close(fd);
	const char *state = strrchr(text, ')');
	return state && state[1] && !strchr("ZX", state[2]);
}

static unsigned count(bool running) {
	unsigned n = 0;
	int pid;
	FILE *f = fopen(pids, "re");
	if (!f) return 0;
	while (fscanf(f, "%d", &pid) == 1) n += !running || runs(pid);
	fclose(f);
	return n;
}

struct wanted {
	unsigned started, running;
	struct cube_timer *timer;
};

static void look(void *arg) {
	struct wanted *w = arg;
	if (count(false) >= w->started && count(true) == w->running) cube_loop_stop(loop);
	else cube_timer_after(w->timer, 5 * CUBE_NS_PER_MS);
}

static void run_until(unsigned started, unsigned running) {
	struct wanted w = {.started = started, .running = running};
	struct cube_err err;
	w.timer = cube_timer_add(loop, look, &w);
	cube_timer_after(w.timer, 0);
	ck_assert_int_eq(cube_loop_run(loop, &err), 0);
	cube_timer_del(w.timer);
}

static struct cube_err said;

static void on_answer(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	said = err ? *err : (struct cube_err){0};
	cube_loop_stop(loop);
}

static struct cube_ssh_lookup *ask(const char *host) {
	struct cube_ssh_question q = {.host = host, .file = file};
	return cube_ssh_configs_ask(configs, &q, on_answer, NULL);
}

static void run(void) {
	struct cube_err err;
	ck_assert_int_eq(cube_loop_run(loop, &err), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Whoever asked has no more time: ssh and what it runs are over, also where TERM is not heard. */
START_TEST(cancelled) {
	static const char *const THEN[] = {"exec sleep 7777", "trap '' TERM; sleep 7777"};
	write_exec(THEN[_i]);
	struct cube_ssh_lookup *a = ask("one"), *b = ask("two");
	run_until(4, 4);
	cube_ssh_lookup_cancel(a);
	cube_ssh_lookup_cancel(b);
	run_until(4, 0);
}
END_TEST

/* All is freed with some under way on their way out. */
START_TEST(freed) {
	write_exec("trap '' TERM; sleep 7777");
	struct cube_ssh_lookup *a = ask("one");
	run_until(2, 2);
	cube_ssh_lookup_cancel(a);
	cube_ssh_configs_free(configs);
	cube_ssh_configs_new(loop, NULL, &configs);
	run_until(2, 0);
}
END_TEST

/* ssh is done, and what it left behind holds its output open. */
START_TEST(left_behind) {
	cube_autofree char *then = cube_strf("(echo $$; exec sleep 7777) & echo $! >>%s", pids);
	write_exec(then);
	struct cube_ssh_lookup *a = ask("one");
	run_until(3, 1);
	cube_ssh_lookup_cancel(a);
	run_until(3, 0);
}
END_TEST

START_TEST(endless_file) {
	snprintf(file, sizeof file, "/dev/zero");
	ask("one");
	run();
	ck_assert_int_eq(said.code, CUBE_ETOOBIG);
	ck_assert_msg(strstr(said.msg, "ssh -G one takes over 250 MB") != NULL, "%s", said.msg);
}
END_TEST

/* How large we are ourselves is not taken for what ssh takes. */
START_TEST(of_a_large_process) {
	size_t n = 400u << 20;
	char *much = malloc(n);
	ck_assert_ptr_nonnull(much);
	memset(much, 1, n);
	write_text(file, "User somebody\n");
	ask("one");
	run();
	ck_assert_msg(!said.code, "%s", said.msg);
	snprintf(file, sizeof file, "/dev/zero");
	ask("one");
	run();
	ck_assert_msg(strstr(said.msg, "MB of memory") != NULL, "%s", said.msg);
	free(much);
}
END_TEST

START_TEST(endless_output) {
	write_exec("exec yes >&2");
	ask("one");
	run();
	ck_assert_int_eq(said.code, CUBE_ETOOBIG);
	run_until(2, 0);
}
END_TEST

/* Killed, with no time for anything: what ssh runs ends as well. */
START_TEST(killed) {
	write_exec("exec sleep 7777");
	pid_t pid = fork();
	ck_assert(pid >= 0);
	if (!pid) {
		struct cube_err err;
		if (cube_loop_new(&loop, &err) < 0) _exit(1);
		cube_ssh_configs_new(loop, NULL, &configs);
		ask("one");
		(void)cube_loop_run(loop, &err);
		_exit(0);
	}
	run_until(2, 2);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	run_until(2, 0);
}
END_TEST

int main(void) {
	Suite *s = suite_create("ssh_children");
	TCase *tc = tcase_create("children");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, cancelled, 0, 2);
	tcase_add_test(tc, freed);
	tcase_add_test(tc, left_behind);
	tcase_add_test(tc, endless_file);
	tcase_add_test(tc, of_a_large_process);
	tcase_add_test(tc, endless_output);
	tcase_add_test(tc, killed);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
