/* Where a cluster's things lie, by the environment. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/paths.h"

static char root[] = "/tmp/cube-paths.XXXXXX";

static void set(const char *name, const char *value) {
	if (value) setenv(name, value, 1);
	else unsetenv(name);
}

struct row {
	const char *own, *xdg, *home, *runtime, *variable, *cluster;
	const char *state, *socket; /* NULL: refused */
};

/* "@" is the scratch folder: one that is there and ours. */
static const struct row rows[] = {
	{NULL, NULL, "/h", NULL, NULL, NULL, "/h/.local/state/cube/default",
	 "/h/.local/state/cube/default/sock"},
	{NULL, "/x", "/h", NULL, NULL, NULL, "/x/cube/default", "/x/cube/default/sock"},
	{"/o", "/x", "/h", "@", NULL, NULL, "/o/default", "/o/default/sock"},
	{"/o", NULL, NULL, NULL, "two", NULL, "/o/two", "/o/two/sock"},
	{"/o", NULL, NULL, NULL, "two", "three", "/o/three", "/o/three/sock"},
	{NULL, NULL, "/h", "@", NULL, "a.b-c_1", "/h/.local/state/cube/a.b-c_1",
	 "/h/.local/state/cube/a.b-c_1/sock"},
	{NULL, NULL, "/h", "/nonexistent/run", NULL, NULL, "/h/.local/state/cube/default",
	 "/h/.local/state/cube/default/sock"},
	{NULL, "relative", "/h", "relative", "", NULL, "/h/.local/state/cube/default",
	 "/h/.local/state/cube/default/sock"},
	{"relative", NULL, NULL, NULL, NULL, NULL, NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
	{NULL, NULL, "/h", NULL, NULL, "../x", NULL, NULL},
	{NULL, NULL, "/h", NULL, NULL, "a/b", NULL, NULL},
	{NULL, NULL, "/h", NULL, NULL, ".hidden", NULL, NULL},
	{NULL, NULL, "/h", NULL, NULL, "-x", NULL, NULL},
};

static const char *real(const char *text, char *buf, size_t size) {
	if (!text || *text != '@') return text;
	snprintf(buf, size, "%s%s", root, text + 1);
	return buf;
}

START_TEST(found_by_environment) {
	const struct row *r = &rows[_i];
	struct cube_paths p = {.cluster = "kept"};
	struct cube_err err = {0};
	char runtime[128], sock[128];
	set("CUBE_STATE_DIR", r->own);
	set("XDG_STATE_HOME", r->xdg);
	set("HOME", r->home);
	set("XDG_RUNTIME_DIR", real(r->runtime, runtime, sizeof runtime));
	set("CUBE_CLUSTER", r->variable);
	int rc = cube_paths_find(r->cluster, &p, &err);
	if (!r->state) {
		ck_assert_int_eq(rc, CUBE_EUSAGE);
		ck_assert(*err.msg);
		ck_assert_str_eq(p.cluster, "kept");
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(p.state, r->state);
	ck_assert_str_eq(p.socket, real(r->socket, sock, sizeof sock));
}
END_TEST

START_TEST(lengths) {
	char name[80], home[4200];
	struct cube_paths p;
	struct cube_err err = {0};
	unsetenv("CUBE_STATE_DIR");
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	set("HOME", "/h");
	memset(name, 'n', sizeof name);
	name[63] = 0;
	ck_assert_int_eq(cube_paths_find(name, &p, &err), 0);
	name[63] = 'n', name[64] = 0;
	ck_assert_int_eq(cube_paths_find(name, &p, &err), CUBE_EUSAGE);
	memset(home, 'h', sizeof home);
	home[0] = '/', home[sizeof home - 1] = 0;
	set("HOME", home);
	ck_assert_int_eq(cube_paths_find("c", &p, &err), CUBE_ETOOBIG);
}
END_TEST

START_TEST(folders_are_made) {
	char path[256];
	struct stat st;
	struct cube_err err = {0};
	snprintf(path, sizeof path, "%s/a/b/c", root);
	ck_assert_int_eq(cube_paths_make(path, &err), 0);
	ck_assert_int_eq(cube_paths_make(path, &err), 0); /* is there already */
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
	snprintf(path, sizeof path, "%s/file", root);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	snprintf(path, sizeof path, "%s/file/x", root);
	ck_assert_int_eq(cube_paths_make(path, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "/file"));
	ck_assert_int_eq(cube_paths_make("", &err), CUBE_ETOOBIG);
}
END_TEST

START_TEST(folder_of_another_user) {
	char path[256];
	struct cube_err err = {0};
	snprintf(path, sizeof path, "%s/own", root);
	ck_assert_int_eq(cube_paths_own(path, &err), 0);
	ck_assert_int_eq(cube_paths_own(path, &err), 0);
	if (geteuid() == 0) ck_assert_int_eq(chown(path, 12345, (gid_t)-1), 0);
	ck_assert_int_eq(cube_paths_own(geteuid() == 0 ? path : "/", &err), CUBE_EUSAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "belongs to another user"));
	if (geteuid() == 0) ck_assert_ptr_nonnull(strstr(err.msg, "12345"));
}
END_TEST

int main(void) {
	if (!mkdtemp(root)) return 1;
	Suite *s = suite_create("paths");
	TCase *t = tcase_create("paths");
	tcase_add_loop_test(t, found_by_environment, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(t, lengths);
	tcase_add_test(t, folders_are_made);
	tcase_add_test(t, folder_of_another_user);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	const char *parts[] = {"a/b/c", "a/b", "a", "file", "own", ""};
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		char path[256];
		snprintf(path, sizeof path, "%s/%s", root, parts[i]);
		remove(path);
	}
	return failed != 0;
}
