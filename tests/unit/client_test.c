/* The manager's connection as commands use it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

/* What comes right behind the head of a 101 belongs to the stream. */
START_TEST(nothing_is_lost_behind_an_upgrade) {
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x/1\r\n"
				     "Connection: Upgrade\r\n\r\nfirst bytes";
	char dir[] = "/tmp/cube-client.XXXXXX", got[64] = "";
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct cube_paths paths = {0};
	struct cube_client *c;
	struct cube_err err;
	size_t n = 0;
	ssize_t r;
	int fd, status, s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(at.sun_path, sizeof at.sun_path, "%s/sock", dir);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(s, 1), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char ask[1024];
		size_t have = 0;
		int peer = accept(s, NULL, NULL);
		while (have < 4 || memcmp(ask + have - 4, "\r\n\r\n", 4) != 0)
			if (read(peer, ask + have++, 1) != 1) _exit(1);
		_exit(send(peer, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0);
	}
	close(s);
	snprintf(paths.socket, sizeof paths.socket, "%s", at.sun_path);
	ck_assert_int_eq(cube_client_new(&paths, &c, &err), 0);
	ck_assert_msg(cube_client_upgrade(c, "/x", "x/1", &fd, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	while ((r = read(fd, got + n, sizeof got - 1 - n)) > 0) n += (size_t)r;
	ck_assert_str_eq(got, "first bytes");
	close(fd);
	cube_client_free(c);
	unlink(at.sun_path);
	rmdir(dir);
}
END_TEST

int main(void) {
	Suite *s = suite_create("client");
	TCase *t = tcase_create("client");
	tcase_add_test(t, nothing_is_lost_behind_an_upgrade);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
