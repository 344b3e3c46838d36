/* The folder of control sockets, and ssh's argument lists that name them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/openssh.h"
#include "sockets.h"

static char top[] = "/tmp/cube-sockets-XXXXXX";

static void setup(void) {
	memcpy(top + sizeof top - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void teardown(void) {
	ck_assert_msg(rmdir(top) == 0, "%s: %s", top, strerror(errno)); /* nothing stays */
}

static int bind_at(const char *path) {
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_uint_lt(strlen(path), sizeof sa.sun_path);
	memcpy(sa.sun_path, path, strlen(path));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static bool is_there(const char *path) {
	struct stat st;
	return lstat(path, &st) == 0;
}

static char *next_of(struct cube_sockets *s) {
	char *path = NULL;
	struct cube_err err;
	int rc = cube_sockets_next(s, &path, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return path;
}

START_TEST(test_names) {
	cube_autofree char *dir = cube_strf("%s/ssh", top);
	struct stat st;
	struct cube_sockets *s = cube_sockets_new(dir);
	ck_assert(!is_there(dir));
	cube_autofree char *one = next_of(s), *two = next_of(s);
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
	ck_assert_str_ne(one, two);
	ck_assert(!strncmp(one, dir, strlen(dir)));
	ck_assert(!cube_sockets_lives(one));
	int fd = bind_at(one);
	ck_assert(cube_sockets_lives(one));
	ck_assert(cube_sockets_lives(one)); /* also with its queue full */
	ck_assert(cube_sockets_lives(one));
	close(fd);
	ck_assert(!cube_sockets_lives(one));
	cube_sockets_free(s);
	ck_assert(!is_there(dir));
}
END_TEST

/* What a killed one left; a file that is none of its sockets is not touched. */
START_TEST(test_leftovers) {
	cube_autofree char *dir = cube_strf("%s/ssh", top);
	cube_autofree char *file = cube_strf("%s/file", dir);
	struct cube_sockets *dead = cube_sockets_new(dir), *s = cube_sockets_new(dir);
	cube_autofree char *old = next_of(dead);
	close(bind_at(old));
	fclose(fopen(file, "w"));
	chmod(dir, 0755);
	cube_autofree char *path = next_of(s);
	ck_assert_str_eq(path, old);
	ck_assert(!is_there(old) && is_there(file));
	cube_sockets_free(s);
	cube_sockets_free(dead);
	ck_assert(is_there(file));
	unlink(file);
	rmdir(dir);
}
END_TEST

/* Too long for a socket, or read by ssh as something else: a link tells where they are. */
START_TEST(test_elsewhere) {
	char many[101] = "";
	memset(many, 'd', sizeof many - 1);
	cube_autofree char *dir = cube_strf("%s/%s", top, _i ? "a b%c" : many);
	struct cube_sockets *dead = cube_sockets_new(dir), *s = cube_sockets_new(dir);
	cube_autofree char *old = next_of(dead);
	char link[64] = "";
	ck_assert_int_gt(readlink(dir, link, sizeof link - 1), 0);
	ck_assert(!strncmp(old, link, strlen(link)));
	ck_assert_uint_lt(strlen(old) + 17, 108);
	close(bind_at(old));
	cube_autofree char *path = next_of(s);
	ck_assert_str_ne(path, old);
	ck_assert(!is_there(link));
	close(bind_at(path));
	cube_sockets_free(s);
	ck_assert(!is_there(dir) && !is_there(path));
	cube_sockets_free(dead);
}
END_TEST

/* A link that is not ours leads nowhere. */
START_TEST(test_foreign_link) {
	cube_autofree char *dir = cube_strf("%s/ssh", top), *other = cube_strf("%s/other", top);
	cube_autofree char *theirs = cube_strf("%s/1", other);
	mkdir(other, 0700);
	close(bind_at(theirs));
	ck_assert_int_eq(symlink(other, dir), 0);
	struct cube_sockets *s = cube_sockets_new(dir);
	cube_autofree char *path = next_of(s);
	ck_assert(is_there(theirs));
	ck_assert(!strncmp(path, dir, strlen(dir)));
	cube_sockets_free(s);
	unlink(theirs);
	rmdir(other);
}
END_TEST

START_TEST(test_nowhere) {
	struct cube_err err;
	char *path = NULL;
	struct cube_sockets *s = cube_sockets_new("/proc/nowhere/ssh");
	ck_assert_int_eq(cube_sockets_next(s, &path, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "/proc/nowhere/ssh"));
	cube_sockets_free(s);
	s = cube_sockets_new(NULL);
	path = next_of(s);
	cube_autofree char *dir = cube_strndup(path, (size_t)(strrchr(path, '/') - path));
	ck_assert(is_there(dir));
	cube_sockets_free(s);
	ck_assert(!is_there(dir));
	free(path);
}
END_TEST

/* ---- argument lists ---------------------------------------------------------------------- */

static int index_of(const struct cube_strv *argv, const char *word) {
	for (size_t i = 0; i < argv->len; i++)
		if (!strcmp(argv->v[i], word)) return (int)i;
	return -1;
}

static void ck_before(const struct cube_strv *argv, const char *first, const char *then) {
	int a = index_of(argv, first), b = index_of(argv, then);
	ck_assert_msg(a >= 0 && a < b, "%s at %d, %s at %d", first, a, then, b);
}

/* ssh takes the first value it is given: what must hold goes before the user's own -o. */
START_TEST(test_argv) {
	struct cube_strv options = {0}, master = {0}, line = {0}, jump = {0};
	cube_strv_add(&options, "ControlMaster=auto");
	cube_strv_add(&options, "ControlPersist=yes");
	cube_strv_add(&options, "SetEnv=A=b");
	struct cube_target target = {.host = "web1", .options = &options, .jump = "bastion"};
	struct cube_openssh o;
	cube_openssh_init(&o, &target);
	cube_openssh_master_argv(&o, "/run/1", &master);
	cube_openssh_argv(&o, "/run/1", "exec x", &line);
	cube_openssh_jump_argv(&o, &jump);
	ck_before(&master, "-N", "--");
	ck_before(&master, "ControlMaster=yes", "ControlMaster=auto");
	ck_before(&master, "ControlPersist=no", "ControlPersist=yes");
	ck_before(&master, "PermitLocalCommand=yes", "PermitLocalCommand=no");
	ck_before(&master, "ControlPath=\"/run/1\"", "SetEnv=A=b");
	ck_before(&master, "-J", "--");
	ck_assert_str_eq(master.v[master.len - 1], "web1");
	ck_before(&line, "ControlMaster=no", "ControlMaster=auto");
	ck_before(&line, "ControlPath=\"/run/1\"", "SetEnv=A=b");
	ck_before(&line, "ProxyCommand=false", "SetEnv=A=b");
	ck_assert_int_lt(index_of(&line, "-N"), 0);
	ck_assert_int_lt(index_of(&line, "-J"), 0);
	ck_assert_str_eq(line.v[line.len - 2], "web1");
	ck_assert_str_eq(line.v[line.len - 1], "exec x");
	ck_before(&jump, "ControlMaster=no", "ControlMaster=auto");
	cube_strv_done(&options);
	cube_strv_done(&master);
	cube_strv_done(&line);
	cube_strv_done(&jump);
	cube_openssh_done(&o);
	ck_assert(cube_openssh_socket_ok("/run/a b/1"));
	ck_assert(!cube_openssh_socket_ok("relative"));
	ck_assert(!cube_openssh_socket_ok("/run/%h"));
	ck_assert(!cube_openssh_socket_ok("/run/\"x"));
	ck_assert(!cube_openssh_socket_ok("/run/${HOME}"));
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_sockets");
	TCase *tc = tcase_create("sockets");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_leftovers);
	tcase_add_loop_test(tc, test_elsewhere, 0, 2);
	tcase_add_test(tc, test_foreign_link);
	suite_add_tcase(suite, tc);
	TCase *plain = tcase_create("plain");
	tcase_add_test(plain, test_nowhere);
	tcase_add_test(plain, test_argv);
	suite_add_tcase(suite, plain);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
