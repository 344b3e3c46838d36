/* Unix sockets, passed fds and lock files. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/listen.h"

static struct cube_loop *loop;
static char folder[] = "/tmp/cube-listen-XXXXXX";
static char sock_path[PATH_MAX], lock_path[PATH_MAX];

static uint64_t fake_now = 1;
static uint64_t fake_clock(void) {
	return fake_now;
}
static const struct cube_clock_source fake_clocks = {.mono = fake_clock};

static void setup(void) {
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
}
static void teardown(void) {
	cube_loop_free(loop);
	unlink(sock_path);
	unlink(lock_path);
}
static void turn(void) {
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0);
}

/* ---- listening */

static int accepted[256], naccepted;
static struct cube_listen *to_free;

static void on_accept(void *arg, int fd) {
	ck_assert_int_lt(naccepted, 256);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	accepted[naccepted++] = fd;
	cube_listen_free(to_free);
	to_free = NULL;
}

static struct cube_listen *listen_at(const char *path) {
	struct cube_listen *l;
	struct cube_err err;
	int rc = cube_listen_unix(loop, path, on_accept, NULL, &l, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return l;
}

static int connect_to(const char *path) {
	struct cube_err err;
	int fd;
	int rc = cube_connect_unix(path, &fd, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

START_TEST(connect_and_talk) {
	struct stat st;
	char buf[8];
	umask(0);
	struct cube_listen *l = listen_at(sock_path);
	ck_assert_int_eq(stat(sock_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	int a = connect_to(sock_path), b = connect_to(sock_path);
	turn();
	ck_assert_int_eq(naccepted, 2);
	ck_assert_int_eq(write(a, "a", 1), 1);
	ck_assert_int_eq(read(accepted[0], buf, sizeof buf), 1);
	ck_assert_int_eq(buf[0], 'a');
	cube_listen_free(l);
	ck_assert_int_eq(access(sock_path, F_OK), -1);
	cube_listen_free(NULL);
	close(b);
}
END_TEST

START_TEST(mode_does_not_depend_on_the_umask) {
	struct stat st;
	int fd;
	umask(0777);
	ck_assert_int_eq(cube_listen_unix_fd(sock_path, &fd, NULL), 0);
	umask(022);
	ck_assert_int_eq(stat(sock_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}
END_TEST

START_TEST(freed_in_its_own_callback) {
	to_free = listen_at(sock_path);
	int a = connect_to(sock_path), b = connect_to(sock_path);
	turn();
	turn();
	ck_assert_int_eq(naccepted, 1);
	ck_assert_int_eq(access(sock_path, F_OK), -1);
	close(a);
	close(b);
}
END_TEST

START_TEST(stale_sockets_are_replaced_other_files_not) {
	struct cube_err err;
	struct stat st;
	int fd;
	ck_assert_int_eq(cube_listen_unix_fd(sock_path, &fd, &err), 0);
	close(fd); /* leaves its file, as a killed process does */
	ck_assert_int_eq(cube_connect_unix(sock_path, &fd, &err), CUBE_ECONNECT);
	ck_assert_int_eq(err.code, CUBE_ECONNECT);
	ck_assert_int_eq(err.sys, ECONNREFUSED);
	struct cube_listen *old = listen_at(sock_path), *fresh = listen_at(sock_path);
	cube_listen_free(old); /* must not unlink the file of its successor */
	close(connect_to(sock_path));
	cube_listen_free(fresh);
	ck_assert_int_eq(cube_connect_unix(sock_path, &fd, &err), CUBE_ECONNECT);
	ck_assert_int_eq(err.sys, ENOENT);

	fd = open(sock_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	ck_assert_int_eq(cube_listen_unix_fd(sock_path, &fd, &err), CUBE_ECONFLICT);
	ck_assert_int_eq(stat(sock_path, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
}
END_TEST

START_TEST(long_paths_go_through_their_folder) {
	char deep[400], path[500];
	struct cube_err err;
	int fd, before = dup(0);
	size_t n = (size_t)snprintf(deep, sizeof deep, "%s/", folder);
	memset(deep + n, 'd', 200);
	deep[n + 200] = '\0';
	ck_assert_int_eq(mkdir(deep, 0700), 0);
	snprintf(path, sizeof path, "%s/sock", deep);
	struct cube_listen *l = listen_at(path);
	fd = connect_to(path);
	turn();
	ck_assert_int_eq(naccepted, 1);
	cube_listen_free(l);
	ck_assert_int_eq(access(path, F_OK), -1);
	close(fd);
	close(accepted[0]);
	ck_assert_int_eq(cube_connect_unix(path, &fd, &err), CUBE_ECONNECT);
	ck_assert_int_eq(rmdir(deep), 0);
	ck_assert_int_eq(cube_connect_unix(path, &fd, &err), CUBE_ECONNECT);
	ck_assert_int_eq(err.sys, ENOENT);
	memset(path, 'x', 200); /* a name that fits nowhere */
	memcpy(path, "/tmp/", 5);
	path[200] = '\0';
	ck_assert_int_eq(cube_connect_unix(path, &fd, &err), CUBE_ETOOBIG);
	ck_assert_int_eq(cube_listen_unix_fd(path, &fd, &err), CUBE_ETOOBIG);
	ck_assert_int_eq(cube_listen_unix_fd("", &fd, &err), CUBE_EUSAGE);
	ck_assert_int_eq(dup(0), before + 1); /* no fd was left behind */
}
END_TEST

/* Out of fds: the loop rests instead of spinning, and takes the connection afterwards. */
START_TEST(out_of_fds_is_waited_out) {
	struct rlimit old, few;
	cube_clock_set_source(&fake_clocks);
	struct cube_listen *l = listen_at(sock_path);
	int fd = connect_to(sock_path);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)fd + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	turn();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	turn();
	ck_assert_int_eq(naccepted, 0);
	fake_now += CUBE_NS_PER_S;
	turn();
	turn();
	ck_assert_int_eq(naccepted, 1);
	cube_listen_free(l);
	cube_clock_set_source(NULL);
}
END_TEST

/* The connecting process becomes somebody else first; only root can try this. */
START_TEST(other_users_are_turned_away) {
	char byte;
	int status, ready[2];
	if (geteuid() != 0) return;
	struct cube_listen *l = listen_at(sock_path);
	ck_assert_int_eq(chmod(sock_path, 0666), 0);
	ck_assert_int_eq(chmod(folder, 0711), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd;
		if (setgid(65534) < 0 || setuid(65534) < 0) _exit(1);
		if (cube_connect_unix(sock_path, &fd, NULL) < 0) _exit(2);
		if (write(ready[1], "x", 1) != 1) _exit(3);
		_exit(read(fd, &byte, 1) == 0 ? 0 : 4);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	turn();
	ck_assert_int_eq(naccepted, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	cube_listen_free(l);
}
END_TEST

/* ---- passing fds */

START_TEST(fds_are_passed) {
	for (int count = 0; count <= 4; count++) {
		int sv[2], fds[4], p[2];
		char buf[16] = "", name[16];
		struct cube_err err;
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		ck_assert_int_eq(pipe(p), 0);
		int give[4] = {p[1], p[1], p[1], p[1]}, nfds = 4;
		ck_assert_int_eq(cube_send_fds(sv[0], "hello", 5, give, count, &err), 0);
		ck_assert_int_eq(cube_recv_fds(sv[1], buf, sizeof buf, fds, &nfds, &err), 5);
		ck_assert_str_eq(buf, "hello");
		ck_assert_int_eq(nfds, count);
		for (int i = 0; i < nfds; i++) {
			ck_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
			ck_assert_int_eq(write(fds[i], "0123" + i, 1), 1);
			ck_assert_int_eq(read(p[0], name, sizeof name), 1);
			ck_assert_int_eq(name[0], '0' + i);
			close(fds[i]);
		}
		close(sv[0]);
		nfds = 4;
		ck_assert_int_eq(cube_recv_fds(sv[1], buf, sizeof buf, fds, &nfds, &err), 0);
		ck_assert_int_eq(nfds, 0);
		ck_assert_int_eq(cube_send_fds(sv[1], "x", 1, NULL, 0, &err), CUBE_ESYS);
		ck_assert_int_eq(err.sys, EPIPE); /* and no SIGPIPE */
		close(sv[1]);
		close(p[0]);
		close(p[1]);
	}
}
END_TEST

START_TEST(surplus_fds_of_a_peer_are_closed) {
	int sv[2], fds[4], before, nfds;
	char buf[4];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	before = dup(0);
	close(before);
	for (int want = 0; want <= 1; want++) {
		int give[4] = {0, 0, 0, 0};
		nfds = want;
		ck_assert_int_eq(cube_send_fds(sv[0], "x", 1, give, 4, NULL), 0);
		ck_assert_int_eq(cube_recv_fds(sv[1], buf, sizeof buf, fds, &nfds, NULL), 1);
		ck_assert_int_eq(nfds, want);
		if (want) close(fds[0]);
	}
	/* More than our control buffer holds: the kernel closes what does not fit. */
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(40 * sizeof(int))];
	} c = {0};
	struct iovec v = {.iov_base = (void *)"y", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &v,
			     .msg_iovlen = 1,
			     .msg_control = c.bytes,
			     .msg_controllen = sizeof c.bytes};
	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(40 * sizeof(int)); /* forty times fd 0 */
	ck_assert_int_eq(sendmsg(sv[0], &msg, 0), 1);
	nfds = 1;
	ck_assert_int_eq(cube_recv_fds(sv[1], buf, sizeof buf, fds, &nfds, NULL), 1);
	ck_assert_int_eq(nfds, 1);
	close(fds[0]);
	int now = dup(0);
	ck_assert_int_eq(now, before);
}
END_TEST

START_TEST(silly_sends_are_refused) {
	int fds[5] = {0};
	ck_assert_int_eq(cube_send_fds(0, "x", 1, fds, 5, NULL), CUBE_EUSAGE);
	ck_assert_int_eq(cube_send_fds(0, "x", 1, fds, -1, NULL), CUBE_EUSAGE);
	ck_assert_int_eq(cube_send_fds(0, "", 0, fds, 1, NULL), CUBE_EUSAGE);
}
END_TEST

/* A message larger than the socket's buffer, on a non-blocking socket: both ends wait. */
START_TEST(large_messages_and_nonblocking_sockets) {
	enum { SIZE = 1 << 20 };
	static char big[SIZE], back[SIZE];
	int sv[2], fd, nfds, fds = 0, status;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
	for (int i = 0; i < SIZE; i++) big[i] = (char)(i * 13 ^ i >> 8);
	pid_t pid = fork();
	if (pid == 0) _exit(cube_send_fds(sv[0], big, SIZE, (int[]){0}, 1, NULL) ? 1 : 0);
	close(sv[0]);
	for (size_t at = 0; at < SIZE;) {
		nfds = 1;
		ssize_t k = cube_recv_fds(sv[1], back + at, SIZE - at, &fd, &nfds, NULL);
		ck_assert_int_gt((int)k, 0);
		fds += nfds;
		at += (size_t)k;
	}
	ck_assert_int_eq(memcmp(big, back, SIZE), 0);
	ck_assert_int_eq(fds, 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- locks */

START_TEST(a_lock_is_held_by_its_fd_also_across_fork) {
	struct cube_err err;
	struct stat st;
	int fd, other, p[2], status;
	char byte;
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(cube_lock_file(lock_path, &fd, &err), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07177, 0);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(cube_lock_file(lock_path, &other, &err), CUBE_ECONFLICT);
	pid_t pid = fork();
	if (pid == 0) _exit(read(p[0], &byte, 1) == 1 ? 0 : 1);
	close(fd); /* the child still has it */
	ck_assert_int_eq(cube_lock_file(lock_path, &other, &err), CUBE_ECONFLICT);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(cube_lock_file(lock_path, &other, &err), 0);
	ck_assert_int_eq(access(lock_path, F_OK), 0);
	close(other);
}
END_TEST

START_TEST(a_lock_on_a_removed_file_counts_for_nothing) {
	int old, fresh;
	struct cube_err err;
	ck_assert_int_eq(cube_lock_file(lock_path, &old, NULL), 0);
	ck_assert_int_eq(unlink(lock_path), 0);
	ck_assert_int_eq(cube_lock_file(lock_path, &fresh, NULL), 0);
	close(old);
	close(fresh);
	unlink(lock_path);
	ck_assert_int_eq(symlink("/etc/passwd", lock_path), 0);
	ck_assert_int_eq(cube_lock_file(lock_path, &fresh, &err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, ELOOP);
	ck_assert_int_eq(cube_lock_file("/nonexistent/lock", &fresh, &err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, ENOENT);
}
END_TEST

/* Whoever leaves removes the file, as `cube down` does with its folder: still one at a time. */
static int contend(const char *inside) {
	for (int won = 0; won < 300;) {
		int fd, in;
		if (cube_lock_file(lock_path, &fd, NULL) < 0) continue;
		if ((in = open(inside, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)) < 0)
			return 1;
		close(in);
		unlink(inside);
		unlink(lock_path);
		close(fd);
		won++;
	}
	return 0;
}

START_TEST(locks_exclude_while_their_file_is_removed) {
	char inside[PATH_MAX + 8];
	int status;
	snprintf(inside, sizeof inside, "%s.in", lock_path);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) _exit(contend(inside));
	bool all = true;
	for (int i = 0; i < 4; i++) {
		ck_assert_int_gt(wait(&status), 0);
		all = all && status == 0;
	}
	unlink(inside);
	ck_assert(all);
}
END_TEST

int main(void) {
	if (!mkdtemp(folder)) return 1;
	snprintf(sock_path, sizeof sock_path, "%s/sock", folder);
	snprintf(lock_path, sizeof lock_path, "%s/lock", folder);
	Suite *s = suite_create("listen");
	TCase *tc = tcase_create("listen");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, connect_and_talk);
	tcase_add_test(tc, mode_does_not_depend_on_the_umask);
	tcase_add_test(tc, freed_in_its_own_callback);
	tcase_add_test(tc, stale_sockets_are_replaced_other_files_not);
	tcase_add_test(tc, long_paths_go_through_their_folder);
	tcase_add_test(tc, out_of_fds_is_waited_out);
	tcase_add_test(tc, other_users_are_turned_away);
	tcase_add_test(tc, fds_are_passed);
	tcase_add_test(tc, surplus_fds_of_a_peer_are_closed);
	tcase_add_test(tc, silly_sends_are_refused);
	tcase_add_test(tc, large_messages_and_nonblocking_sockets);
	tcase_add_test(tc, a_lock_is_held_by_its_fd_also_across_fork);
	tcase_add_test(tc, a_lock_on_a_removed_file_counts_for_nothing);
	tcase_add_test(tc, locks_exclude_while_their_file_is_removed);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	rmdir(folder);
	return failed != 0;
}
