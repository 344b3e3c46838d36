#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/files.h"
#include "cube/sha256.h"

static struct cube_files *files;
static char state[40], dir[64], hex[CUBE_SHA256_HEX];
static const char TEXT[] = "some bytes to keep";

static void setup(void) {
	uint8_t digest[CUBE_SHA256_LEN];
	snprintf(state, sizeof state, "/tmp/files-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(state));
	snprintf(dir, sizeof dir, "%s/files", state);
	ck_assert_int_eq(cube_files_new(state, &files, NULL), 0);
	cube_sha256_of(TEXT, strlen(TEXT), digest);
	cube_sha256_hex(digest, hex);
}

static unsigned entries(bool remove) {
	unsigned n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (e->d_name[0] == '.') continue;
		n++;
		if (remove) unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return n;
}

static void teardown(void) {
	cube_files_free(files);
	entries(true);
	rmdir(dir);
	ck_assert_int_eq(rmdir(state), 0);
}

static struct cube_file_in *begin(const char *name) {
	struct cube_file_in *in;
	ck_assert_int_eq(cube_file_in_begin(files, name, &in, NULL), 0);
	return in;
}

START_TEST(takes_in) {
	struct cube_file_in *in = begin(hex);
	char got[64], path[160];
	struct stat st;
	struct cube_file_open o;
	for (size_t i = 0; i < strlen(TEXT); i++)
		ck_assert_int_eq(cube_file_in_add(in, TEXT + i, 1, NULL), 0);
	ck_assert(!cube_files_has(files, hex));
	ck_assert_int_eq(cube_file_in_commit(in, NULL), 0);
	ck_assert(cube_files_has(files, hex));
	ck_assert_int_eq(cube_files_open(files, hex, &o, NULL), 0);
	ck_assert_uint_eq(o.mark.size, strlen(TEXT));
	ck_assert(o.trusted);
	ck_assert_int_eq(read(o.fd, got, sizeof got), (int)strlen(TEXT));
	ck_assert_int_eq(memcmp(got, TEXT, strlen(TEXT)), 0);
	ck_assert_int_lt((int)write(o.fd, "x", 1), 0);
	close(o.fd);
	snprintf(path, sizeof path, "%s/%s", dir, hex);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	in = begin(hex); /* a second time, at the same time as a third */
	struct cube_file_in *other = begin(hex);
	cube_file_in_add(in, TEXT, strlen(TEXT), NULL);
	cube_file_in_add(other, TEXT, strlen(TEXT), NULL);
	ck_assert_int_eq(cube_file_in_commit(other, NULL), 0);
	ck_assert_int_eq(cube_file_in_commit(in, NULL), 0);
	ck_assert_uint_eq(entries(false), 1);
}
END_TEST

START_TEST(wrong_content) {
	struct cube_err err = {0};
	struct cube_file_in *in = begin(hex);
	cube_file_in_add(in, TEXT, strlen(TEXT) - 1, NULL);
	ck_assert_int_eq(cube_file_in_commit(in, &err), CUBE_EUSAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, hex));
	ck_assert_uint_eq(entries(false), 0);
	in = begin(hex); /* nothing at all */
	ck_assert_int_eq(cube_file_in_commit(in, NULL), CUBE_EUSAGE);
	ck_assert_uint_eq(entries(false), 0);
}
END_TEST

START_TEST(aborted) {
	struct cube_file_in *in = begin(hex);
	cube_file_in_add(in, TEXT, strlen(TEXT), NULL);
	ck_assert_uint_eq(entries(false), 1);
	cube_file_in_abort(in);
	cube_file_in_abort(NULL);
	ck_assert_uint_eq(entries(false), 0);
	ck_assert(!cube_files_has(files, hex));
}
END_TEST

START_TEST(leftovers) {
	char path[160];
	struct cube_file_in *in = begin(hex);
	cube_file_in_add(in, TEXT, strlen(TEXT), NULL);
	ck_assert_int_eq(cube_file_in_commit(in, NULL), 0);
	snprintf(path, sizeof path, "%s/in-0123456789abcdef", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_uint_eq(entries(false), 2);
	cube_files_free(files);
	ck_assert_int_eq(cube_files_new(state, &files, NULL), 0);
	ck_assert_uint_eq(entries(false), 1);
	ck_assert(cube_files_has(files, hex));
}
END_TEST

static void put(void) {
	struct cube_file_in *in = begin(hex);
	cube_file_in_add(in, TEXT, strlen(TEXT), NULL);
	ck_assert_int_eq(cube_file_in_commit(in, NULL), 0);
}

static bool trusted(struct cube_file_mark *mark) {
	struct cube_file_open o;
	ck_assert_int_eq(cube_files_open(files, hex, &o, NULL), 0);
	close(o.fd);
	if (mark) *mark = o.mark;
	return o.trusted;
}

/* What another manager took in, and what was changed since, has to be looked at first. */
START_TEST(changed_on_disk) {
	struct cube_file_mark mark, old;
	struct cube_err err = {0};
	char path[160];
	put();
	ck_assert(trusted(NULL));
	cube_files_free(files);
	ck_assert_int_eq(cube_files_new(state, &files, NULL), 0);
	ck_assert(!trusted(&mark));
	cube_files_checked(files, hex, &mark);
	ck_assert(trusted(&old));
	snprintf(path, sizeof path, "%s/%s", dir, hex);
	do { /* the clock of files ticks by milliseconds */
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		ck_assert_int_eq(pwrite(fd, "S", 1, 0), 1);
		close(fd);
		(void)trusted(&mark);
	} while (mark.changed == old.changed && mark.changed_ns == old.changed_ns);
	ck_assert(!trusted(&mark));
	put(); /* another meanwhile, which must not go */
	ck_assert_int_eq(cube_files_damaged(files, hex, &mark, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, dir));
	ck_assert(trusted(&mark));
	cube_files_damaged(files, hex, &mark, &err);
	ck_assert(!cube_files_has(files, hex));
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	ck_assert(!cube_files_has(files, hex));
	put();
	ck_assert(trusted(NULL));
}
END_TEST

START_TEST(bad_names) {
	static const char *const names[] = {
		"",
		"..",
		"../x",
		"35bce4",
		"/etc/passwd",
		"ZZbce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f",
		"35BCE4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f",
		"35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f0"};
	struct cube_file_in *in;
	struct cube_file_open o;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ck_assert_int_eq(cube_file_in_begin(files, names[i], &in, NULL), CUBE_EUSAGE);
		ck_assert(!cube_files_has(files, names[i]));
		ck_assert_int_eq(cube_files_open(files, names[i], &o, NULL), CUBE_ENOTFOUND);
	}
	ck_assert_int_eq(cube_files_open(files, hex, &o, NULL), CUBE_ENOTFOUND);
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("files");
	Suite *s = suite_create("files");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, takes_in);
	tcase_add_test(tc, wrong_content);
	tcase_add_test(tc, aborted);
	tcase_add_test(tc, leftovers);
	tcase_add_test(tc, changed_on_disk);
	tcase_add_test(tc, bad_names);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
