/* The manager's connection as commands use it. */
#include <check.h>
#include <pthread.h>
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

struct fake { /* a manager that goes away when it was asked, and comes back */
	char dir[32], key[2][80];
	struct cube_paths paths;
	int sock, asked;
};

/* One request and its answer; false where the manager goes away instead. */
static bool serve(struct fake *f, int peer) {
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"
				     "Connection: close\r\n\r\n{\"job\":7}",
			  fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";
	char ask[4096] = "";
	size_t have = 0;
	while (!strstr(ask, "\r\n\r\n") || (!strncmp(ask, "POST", 4) && !strstr(ask, "{}"))) {
		ssize_t n = recv(peer, ask + have, sizeof ask - 1 - have, 0);
		if (n <= 0) return true;
		have += (size_t)n;
	}
	if (strncmp(ask, "POST", 4) != 0) return send(peer, fine, sizeof fine - 1, MSG_NOSIGNAL);
	const char *key = strstr(ask, "Idempotency-Key: ");
	sscanf(key ? key : "", "%*s %79[0-9a-f]", f->key[f->asked]);
	if (f->asked++ == 0) return false;
	return send(peer, answer, sizeof answer - 1, MSG_NOSIGNAL);
}

static void *run_fake(void *arg) {
	struct fake *f = arg;
	while (f->asked < 2) {
		int peer = accept(f->sock, NULL, NULL);
		serve(f, peer);
		close(peer);
	}
	return NULL;
}

/* A job whose answer did not come is asked for again, as the same. */
START_TEST(a_post_is_made_once) {
	struct fake f = {.dir = "/tmp/cube-client.XXXXXX"};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct cube_client *c;
	struct cube_err err;
	json_t *reply = NULL, *body = json_object();
	pthread_t thread;
	ck_assert_ptr_nonnull(mkdtemp(f.dir));
	snprintf(at.sun_path, sizeof at.sun_path, "%s/sock", f.dir);
	snprintf(f.paths.state, sizeof f.paths.state, "%s", f.dir);
	snprintf(f.paths.socket, sizeof f.paths.socket, "%s", at.sun_path);
	f.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(f.sock, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(f.sock, 8), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_fake, &f), 0);
	ck_assert_int_eq(cube_client_new(&f.paths, &c, &err), 0);
	ck_assert_msg(cube_client_post_once(c, "/v1/tasks", body, &f.paths, &reply, &err) == 0,
		      "%s", err.msg);
	pthread_join(thread, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "job")), 7);
	ck_assert_uint_eq(strlen(f.key[0]), 32);
	ck_assert_str_eq(f.key[0], f.key[1]);
	json_decref(reply);
	json_decref(body);
	cube_client_free(c);
	close(f.sock);
	unlink(at.sun_path);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/start.lock", f.dir);
	unlink(at.sun_path);
	ck_assert_int_eq(rmdir(f.dir), 0);
}
END_TEST

struct hooked {
	struct cube_client *c;
	struct cube_client_hook hook;
	struct hooked *removes;
	int calls;
};

static void on_hook(void *arg, enum cube_client_turn what) {
	struct hooked *h = arg;
	h->calls++;
	if (!h->removes) return;
	cube_client_hook_remove(h->c, &h->removes->hook);
	if (h->removes != h) memset(h->removes, 0xee, sizeof *h->removes); /* as if freed */
	h->removes = NULL;
}

/* A hook may remove itself, and the one that would come next. */
START_TEST(hooks_remove_hooks) {
	struct cube_paths paths = {.socket = "/nonexistent"};
	struct hooked h[4];
	struct cube_client *c;
	struct cube_err err;
	ck_assert_int_eq(cube_client_new(&paths, &c, &err), 0);
	memset(h, 0, sizeof h);
	for (int i = 3; i >= 0; i--) { /* the last one added is called first */
		h[i] = (struct hooked){.c = c, .hook = {.fd = -1, .fn = on_hook, .arg = &h[i]}};
		cube_client_hook_add(c, &h[i].hook);
	}
	h[0].removes = &h[_i];
	cube_client_interrupted(c);
	for (int i = 0; i < 4; i++)
		if (i != _i || i == 0) ck_assert_int_eq(h[i].calls, 1);
	cube_client_interrupted(c);
	for (int i = 0; i < 4; i++)
		if (i != _i) ck_assert_int_eq(h[i].calls, 2);
	ck_assert(_i != 0 || h[0].calls == 1);
	cube_client_free(c);
}
END_TEST

int main(void) {
	Suite *s = suite_create("client");
	TCase *t = tcase_create("client");
	tcase_add_test(t, nothing_is_lost_behind_an_upgrade);
	tcase_add_test(t, a_post_is_made_once);
	tcase_add_loop_test(t, hooks_remove_hooks, 0, 4);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
