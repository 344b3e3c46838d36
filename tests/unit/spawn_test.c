/* Starting programs. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/spawn.h"

static char folder[] = "/tmp/cube-spawn-XXXXXX";

static const char *in_folder(const char *name) {
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void make_file(const char *name, const char *text, mode_t mode) {
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
	ck_assert_int_eq(chmod(in_folder(name), mode), 0);
}

static void remove_folder(void) {
	static const char *const names[] = {"tool", "plain", "data", "sub/tool", "sub"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) remove(in_folder(names[i]));
	rmdir(folder);
}

static int wait_status(pid_t pid) {
	int status = -1;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* Runs a program with its output in a pipe; returns the exit status, and the output in buf. */
static int run(struct cube_spawn *sp, char *buf, size_t size) {
	int p[2];
	pid_t pid;
	size_t len = 0;
	struct cube_err err;
	ck_assert_int_eq(cube_pipe(p, &err), 0);
	sp->out = p[1];
	int rc = cube_spawn(sp, &pid, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	close(p[1]);
	for (ssize_t n; len < size - 1 && (n = read(p[0], buf + len, size - 1 - len)) > 0;)
		len += (size_t)n;
	buf[len] = '\0';
	close(p[0]);
	return wait_status(pid);
}

static int run_sh(const char *script, struct cube_spawn *sp, char *buf, size_t size) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	sp->argv = argv;
	return run(sp, buf, size);
}

#define PLAIN \
	{ .in = -1, .out = -1, .err = -1 }

START_TEST(failures_come_back_as_errnos) {
	static const struct {
		const char *prog, *dir;
		int sys;
		const char *text;
	} rows[] = {
		{"/nonexistent/prog", NULL, ENOENT, "cannot run /nonexistent/prog: "},
		{"no-such-program-anywhere", NULL, ENOENT, "cannot run no-such-program"},
		{"", NULL, ENOENT, "cannot run "},
		{"/etc/passwd", NULL, EACCES, "cannot run /etc/passwd: "},
		{"/", NULL, EACCES, "cannot run /: "},
		{"/bin/sh", "/nonexistent", ENOENT, "cannot enter folder /nonexistent: "},
		{"/bin/sh", "/etc/passwd", ENOTDIR, "cannot enter folder /etc/passwd: "},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *argv[] = {rows[i].prog, NULL};
		struct cube_spawn sp = PLAIN;
		struct cube_err err;
		pid_t pid = 42;
		sp.argv = argv;
		sp.dir = rows[i].dir;
		ck_assert_int_eq(cube_spawn(&sp, &pid, &err), CUBE_EEXEC);
		ck_assert_int_eq(err.code, CUBE_EEXEC);
		ck_assert_int_eq(err.sys, rows[i].sys);
		ck_assert_msg(!strncmp(err.msg, rows[i].text, strlen(rows[i].text)), "%s", err.msg);
		ck_assert_int_eq(pid, 42);
		ck_assert_int_eq(cube_spawn(&sp, &pid, NULL), CUBE_EEXEC);
	}
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie stays */
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(no_program_is_an_error) {
	const char *argv[] = {NULL};
	struct cube_spawn sp = PLAIN;
	pid_t pid;
	ck_assert_int_eq(cube_spawn(&sp, &pid, NULL), CUBE_EUSAGE);
	sp.argv = argv;
	ck_assert_int_eq(cube_spawn(&sp, &pid, NULL), CUBE_EUSAGE);
}
END_TEST

START_TEST(not_a_program_is_enoexec) {
	make_file("data", "\x01\x02 nothing", 0700);
	const char *argv[] = {in_folder("data"), NULL};
	struct cube_spawn sp = PLAIN;
	struct cube_err err;
	pid_t pid;
	sp.argv = argv;
	ck_assert_int_eq(cube_spawn(&sp, &pid, &err), CUBE_EEXEC);
	ck_assert_int_eq(err.sys, ENOEXEC);
}
END_TEST

START_TEST(path_of_the_given_environment_is_searched) {
	char out[64], path[600];
	struct cube_spawn sp = PLAIN;
	struct cube_err err;
	pid_t pid;
	make_file("plain", "not executable", 0600);
	ck_assert_int_eq(mkdir(in_folder("sub"), 0700), 0);
	make_file("sub/tool", "#!/bin/sh\necho tool $1 $X\n", 0700);
	snprintf(path, sizeof path, "PATH=/nonexistent:/etc/passwd:%s:%s/sub", folder, folder);
	const char *envp[] = {"X=y", path, NULL}, *argv[] = {"tool", "a", NULL};
	sp.argv = argv;
	sp.envp = envp;
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	ck_assert_str_eq(out, "tool a y\n");

	make_file("tool", "unusable", 0600); /* comes first, may not be run: the search goes on */
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	ck_assert_str_eq(out, "tool a y\n");

	argv[0] = "plain"; /* nothing better comes */
	ck_assert_int_eq(cube_spawn(&sp, &pid, &err), CUBE_EEXEC);
	ck_assert_int_eq(err.sys, EACCES);

	argv[0] = "tool"; /* an empty entry is the working directory, which is the new one */
	envp[1] = "PATH=/nonexistent:";
	snprintf(path, sizeof path, "%s/sub", folder);
	sp.dir = path;
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	ck_assert_str_eq(out, "tool a y\n");

	const char *bare[] = {"X=z", NULL}; /* no PATH: the usual folders */
	argv[0] = "sh";
	argv[1] = "-c";
	const char *sh[] = {"sh", "-c", "echo $X", NULL};
	sp.argv = sh;
	sp.envp = bare;
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	ck_assert_str_eq(out, "z\n");

	char *huge = malloc(20000); /* an entry over PATH_MAX is skipped */
	memset(huge, 'x', 20000);
	memcpy(huge, "PATH=/", 6);
	memcpy(huge + 19980, ":/bin:/usr/bin", sizeof ":/bin:/usr/bin");
	bare[0] = huge;
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	free(huge);
}
END_TEST

START_TEST(environment_is_inherited_without_envp) {
	char out[64];
	struct cube_spawn sp = PLAIN;
	setenv("CUBE_SPAWN_TEST", "inherited", 1);
	ck_assert_int_eq(run_sh("echo $CUBE_SPAWN_TEST", &sp, out, sizeof out), 0);
	ck_assert_str_eq(out, "inherited\n");
}
END_TEST

/* The masks of /proc/self/status: all clear in the child, untouched here. */
START_TEST(signals_are_reset_and_unblocked) {
	char out[2048];
	struct cube_spawn sp = PLAIN;
	const char *argv[] = {"/bin/cat", "/proc/self/status", NULL};
	sigset_t some, before, after;
	struct sigaction ign = {.sa_handler = SIG_IGN}, now;
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigaddset(&some, SIGCHLD);
	sigaddset(&some, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &some, NULL);
	sigaction(SIGPIPE, &ign, NULL);
	sigaction(SIGHUP, &ign, NULL);
	sigaction(SIGRTMIN + 1, &ign, NULL);
	sigprocmask(SIG_BLOCK, NULL, &before);
	sp.argv = argv;
	ck_assert_int_eq(run(&sp, out, sizeof out), 0);
	ck_assert_ptr_nonnull(strstr(out, "SigBlk:\t0000000000000000"));
	ck_assert_ptr_nonnull(strstr(out, "SigIgn:\t0000000000000000"));
	sigprocmask(SIG_BLOCK, NULL, &after);
	for (int i = 1; i < 65; i++)
		ck_assert_int_eq(sigismember(&before, i), sigismember(&after, i));
	sigaction(SIGPIPE, NULL, &now);
	ck_assert(now.sa_handler == SIG_IGN);
}
END_TEST

START_TEST(only_the_standard_files_are_open) {
	char out[256];
	struct cube_spawn sp = PLAIN;
	int extra[2];
	ck_assert_int_eq(cube_pipe(extra, NULL), 0);
	/* libcheck's own files are inherited by us without CLOEXEC */
	for (int fd = 3; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
	ck_assert_int_eq(run_sh("cd /proc/self/fd; for f in *; do [ -e $f ] && echo $f; done; "
				"readlink 0 2",
				&sp, out, sizeof out),
			 0);
	char *nulls = strstr(out, "/dev/null\n/dev/null\n");
	ck_assert_ptr_nonnull(nulls);
	*nulls = '\0';
	for (char *line = out; *line; line = strchr(line, '\n') + 1)
		ck_assert_msg(line[1] == '\n' && line[0] <= '9', "%s", out);
	ck_assert_ptr_nonnull(strstr(out, "0\n1\n2\n"));
	ck_assert_ptr_null(strstr(out, "4\n")); /* 3 may be the shell's own view of the folder */
}
END_TEST

/* Every permutation of three files over 0, 1, 2, while those are used crosswise. */
START_TEST(standard_files_in_any_order) {
	static const int perms[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					{1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	const int *perm = perms[_i];
	int in[2], out[2], err[2], status;
	char buf[16] = "";
	pid_t tester = fork();
	if (tester == 0) {
		const char *argv[] = {"/bin/sh", "-c", "read x; echo o$x; echo e$x >&2", NULL};
		struct cube_spawn sp = {
			.argv = argv, .in = perm[0], .out = perm[1], .err = perm[2]};
		pid_t pid;
		if (cube_pipe(in, NULL) || cube_pipe(out, NULL) || cube_pipe(err, NULL)) _exit(1);
		int ends[3] = {in[0], out[1], err[1]};
		for (int i = 0; i < 3; i++) ends[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 100);
		for (int i = 0; i < 3; i++) dup3(ends[i], perm[i], O_CLOEXEC);
		if (write(in[1], "hi\n", 3) != 3) _exit(2);
		if (cube_spawn(&sp, &pid, NULL) < 0) _exit(3);
		if (waitpid(pid, &status, 0) != pid || status) _exit(4);
		if (read(out[0], buf, sizeof buf) != 4 || memcmp(buf, "ohi\n", 4)) _exit(5);
		if (read(err[0], buf, sizeof buf) != 4 || memcmp(buf, "ehi\n", 4)) _exit(6);
		_exit(0);
	}
	ck_assert_int_eq(wait_status(tester), 0);
}
END_TEST

/* As a daemon may be: pipes and /dev/null then get the numbers 0-2. */
START_TEST(works_with_all_standard_files_closed) {
	pid_t tester = fork();
	if (tester == 0) {
		const char *argv[] = {"/bin/sh", "-c", "[ -c /dev/stdin ] && [ -c /dev/stderr ]",
				      NULL};
		const char *bad[] = {"/nonexistent", NULL};
		struct cube_spawn sp = {.argv = argv, .in = -1, .out = -1, .err = -1};
		struct cube_err err;
		pid_t pid;
		int status;
		for (int i = 0; i < 3; i++) close(i);
		if (cube_spawn(&sp, &pid, &err) < 0) _exit(1);
		if (waitpid(pid, &status, 0) != pid || status) _exit(2);
		sp.argv = bad;
		if (cube_spawn(&sp, &pid, &err) != CUBE_EEXEC || err.sys != ENOENT) _exit(3);
		for (int i = 0; i < 3; i++)
			if (fcntl(i, F_GETFD) >= 0) _exit(4);
		_exit(0);
	}
	ck_assert_int_eq(wait_status(tester), 0);
}
END_TEST

START_TEST(groups_sessions_and_niceness) {
	struct cube_spawn sp = PLAIN;
	const char *argv[] = {"/bin/cat", NULL};
	int p[2];
	pid_t pid;
	for (int kind = 0; kind < 3; kind++) {
		ck_assert_int_eq(cube_pipe(p, NULL), 0);
		sp.argv = argv;
		sp.in = p[0];
		sp.group = kind == 1;
		sp.session = kind == 2;
		sp.niceness = 3;
		int base = getpriority(PRIO_PROCESS, 0);
		ck_assert_int_eq(cube_spawn(&sp, &pid, NULL), 0);
		/* True at once, without waiting for the child. */
		ck_assert_int_eq(getpgid(pid), kind ? pid : getpgid(0));
		ck_assert_int_eq(getsid(pid), kind == 2 ? pid : getsid(0));
		ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)pid),
				 base + 3 > 19 ? 19 : base + 3);
		close(p[0]);
		close(p[1]);
		ck_assert_int_eq(wait_status(pid), 0);
	}
}
END_TEST

/* The child shares our memory: nothing of ours may have changed but what we wrote ourselves. */
START_TEST(parent_memory_is_untouched) {
	enum { SIZE = 1 << 16 };
	const char *argv[] = {"no-such-program-anywhere", NULL};
	struct cube_spawn sp = PLAIN, copy;
	unsigned char *heap = malloc(SIZE), *twin = malloc(SIZE);
	volatile int local = 4711;
	pid_t pid;
	sp.argv = argv;
	copy = sp;
	for (int i = 0; i < SIZE; i++) heap[i] = twin[i] = (unsigned char)(i * 31);
	for (int i = 0; i < 50; i++) ck_assert_int_eq(cube_spawn(&sp, &pid, NULL), CUBE_EEXEC);
	ck_assert_int_eq(memcmp(heap, twin, SIZE), 0);
	ck_assert_int_eq(memcmp(&sp, &copy, sizeof sp), 0);
	ck_assert_int_eq(local, 4711);
	free(heap);
	free(twin);
}
END_TEST

/* The one in between is killed; what it started, in a session of its own, ends with it, or not. */
START_TEST(mortal_ends_with_its_parent) {
	static const char *const argv[] = {"/bin/sh", "-c", "echo $$; exec cat", NULL};
	int in[2], out[2];
	char text[32] = "";
	struct pollfd end;
	ck_assert_int_eq(cube_pipe(in, NULL), 0);
	ck_assert_int_eq(cube_pipe(out, NULL), 0);
	pid_t between = fork();
	if (!between) {
		struct cube_spawn sp = {
			.argv = argv, .in = in[0], .out = out[1], .err = -1, .session = true};
		pid_t pid;
		sp.mortal = _i;
		cube_spawn(&sp, &pid, NULL);
		for (;;) pause();
	}
	close(out[1]);
	ck_assert_int_gt(read(out[0], text, sizeof text - 1), 1);
	pid_t pid = (pid_t)strtol(text, NULL, 10);
	kill(between, SIGKILL);
	wait_status(between);
	end = (struct pollfd){.fd = out[0], .events = POLLIN};
	if (_i) {
		ck_assert_int_eq(poll(&end, 1, 20000), 1);
	} else {
		ck_assert_int_eq(write(in[1], "x", 1), 1);
		ck_assert_int_eq(poll(&end, 1, 20000), 1);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
	}
	ck_assert_int_eq(read(out[0], text, 1), _i ? 0 : 1);
	close(in[0]);
	close(in[1]);
	close(out[0]);
}
END_TEST

START_TEST(no_fd_leaks) {
	const char *good[] = {"/bin/true", NULL}, *bad[] = {"/nonexistent", NULL};
	struct cube_spawn sp = PLAIN;
	pid_t pid;
	int before = dup(0), after;
	for (int i = 0; i < 20; i++) {
		sp.argv = i % 2 ? good : bad;
		if (cube_spawn(&sp, &pid, NULL) == 0) ck_assert_int_eq(wait_status(pid), 0);
	}
	after = dup(0);
	ck_assert_int_eq(after, before + 1);
	sp.in = 999; /* not open */
	struct cube_err err;
	ck_assert_int_eq(cube_spawn(&sp, &pid, &err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, EBADF);
}
END_TEST

START_TEST(pipe_and_nonblock) {
	int p[2];
	ck_assert_int_eq(cube_pipe(p, NULL), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert(fcntl(p[i], F_GETFD) & FD_CLOEXEC);
		ck_assert(!(fcntl(p[i], F_GETFL) & O_NONBLOCK));
	}
	ck_assert_int_eq(cube_set_nonblock(p[0], true), 0);
	ck_assert(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	ck_assert(!(fcntl(p[1], F_GETFL) & O_NONBLOCK));
	ck_assert_int_eq(cube_set_nonblock(p[0], false), 0);
	ck_assert(!(fcntl(p[0], F_GETFL) & O_NONBLOCK));
	ck_assert_int_eq(cube_set_nonblock(999, true), CUBE_ESYS);
}
END_TEST

int main(void) {
	if (!mkdtemp(folder)) return 1;
	Suite *s = suite_create("spawn");
	TCase *tc = tcase_create("spawn");
	tcase_add_test(tc, failures_come_back_as_errnos);
	tcase_add_test(tc, no_program_is_an_error);
	tcase_add_test(tc, not_a_program_is_enoexec);
	tcase_add_test(tc, path_of_the_given_environment_is_searched);
	tcase_add_test(tc, environment_is_inherited_without_envp);
	tcase_add_test(tc, signals_are_reset_and_unblocked);
	tcase_add_test(tc, only_the_standard_files_are_open);
	tcase_add_loop_test(tc, standard_files_in_any_order, 0, 6);
	tcase_add_test(tc, works_with_all_standard_files_closed);
	tcase_add_test(tc, groups_sessions_and_niceness);
	tcase_add_test(tc, parent_memory_is_untouched);
	tcase_add_loop_test(tc, mortal_ends_with_its_parent, 0, 2);
	tcase_add_test(tc, no_fd_leaks);
	tcase_add_test(tc, pipe_and_nonblock);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	remove_folder();
	return failed != 0;
}
