/* Numbers that are never given twice: kills, databases that were taken back, disks that refuse. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/work/ids.h"

#define CLUSTER 0xc1u

static char dir[64], file[96];

static void setup(void) {
	snprintf(dir, sizeof dir, "/tmp/cube-ids.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/ids", dir);
}

static void teardown(void) {
	char fresh[112];
	snprintf(fresh, sizeof fresh, "%s.new", file);
	unlink(file);
	unlink(fresh);
	rmdir(fresh);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct cube_ids *open_at(uint64_t job, uint64_t task) {
	struct cube_ids *ids;
	struct cube_err err;
	ck_assert_msg(cube_ids_open(dir, CLUSTER, job, task, &ids, &err) == 0, "%s", err.msg);
	return ids;
}

/* The numbers given. */
static uint64_t job, first;
static void take(struct cube_ids *ids, uint32_t count) {
	struct cube_err err;
	ck_assert_msg(cube_ids_take(ids, count, &job, &first, &err) == 0, "%s", err.msg);
}

static void write_text(const char *text) {
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(in_a_row) {
	struct cube_ids *ids = open_at(0, 0);
	uint64_t next = 1;
	for (uint64_t n = 1; n < 500; n++) {
		uint32_t count = (uint32_t)(n % 7 == 0 ? 1000 : n % 3 + 1);
		take(ids, count);
		ck_assert_uint_eq(job, n);
		ck_assert_uint_eq(first, next);
		next += count;
	}
	cube_ids_close(ids);
	ids = open_at(0, 0); /* the database is gone, the file is not; nothing is left out */
	take(ids, 1);
	ck_assert_uint_eq(job, 500);
	ck_assert_uint_eq(first, next);
	cube_ids_close(ids);
}
END_TEST

static size_t read_text(char text[128]) {
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, 127);
	ck_assert_int_gt(n, 0);
	text[n] = 0;
	close(fd);
	return (size_t)n;
}

/* What a kill leaves: at any time the file is above all that was given, and not far. */
START_TEST(after_a_kill) {
	struct cube_ids *ids = open_at(0, 0), *later;
	char text[128], last[128] = "";
	unsigned synced = 0;
	ck_assert_int_ne(access(file, F_OK), 0); /* not before it is needed */
	for (uint64_t n = 1; n <= 2000; n++) {
		take(ids, 1);
		ck_assert_uint_eq(first, n);
		read_text(text);
		synced += strcmp(text, last) != 0;
		memcpy(last, text, sizeof last);
		if (n % 100) continue;
		later = open_at(n / 2, n / 2); /* the newest rows are lost too */
		take(later, 1);
		ck_assert_uint_gt(first, n);
		ck_assert_uint_gt(job, n);
		ck_assert_uint_le(first, 2 * n + 64);
		cube_ids_close(later);
		write_text(text);
	}
	ck_assert_uint_lt(synced, 12); /* few of them cost a sync */
	cube_ids_close(ids);
}
END_TEST

START_TEST(the_database_is_ahead) {
	struct cube_ids *ids = open_at(0, 0);
	take(ids, 10);
	cube_ids_close(ids);
	ids = open_at(700, 900);
	take(ids, 1);
	ck_assert_uint_eq(job, 701);
	ck_assert_uint_eq(first, 901);
	cube_ids_close(ids);
}
END_TEST

static const char *const strange[] = {
	"",
	"cube-ids",
	"cube-ids 00000000000000c1 5 5",
	"cube-ids 00000000000000c1 5 5\nmore",
	"cube-ids c1 5 5\n",
	"cube-ids 00000000000000c1 -5 5\n",
	"cube-ids 00000000000000c1 9223372036854775808 5\n",
	"cube-ids 00000000000000c2 500 500\n", /* another cluster's */
};

START_TEST(strange_files) {
	write_text(strange[_i]);
	struct cube_ids *ids = open_at(1, 2);
	take(ids, 1);
	ck_assert_uint_eq(job, 2);
	ck_assert_uint_eq(first, 3);
	cube_ids_close(ids);
	ids = open_at(0, 0);
	take(ids, 1);
	ck_assert_uint_eq(first, 4);
	cube_ids_close(ids);
}
END_TEST

START_TEST(known_elsewhere) {
	struct cube_ids *ids = open_at(0, 0);
	take(ids, 1);
	cube_ids_above(ids, 1000);
	cube_ids_above(ids, 500);
	cube_ids_above(ids, UINT64_MAX); /* a lie */
	cube_ids_above(ids, 1u << 30);
	take(ids, 1);
	ck_assert_uint_eq(first, 1001);
	ck_assert_uint_eq(job, 2);
	for (uint64_t i = 1; i < 1000; i++)
		cube_ids_above(ids, i << 23); /* lies, one upon another */
	take(ids, 1);
	ck_assert_uint_le(first, 1002 + (1u << 24));
	cube_ids_above(ids, first + 1000);
	uint64_t before = first;
	cube_ids_close(ids);
	ids = open_at(0, 0);
	take(ids, 1);
	ck_assert_uint_gt(first, before);
	cube_ids_close(ids);
}
END_TEST

/* A disk that refuses: the caller is told, no number is given, and it is tried again. */
START_TEST(a_disk_that_refuses) {
	char fresh[112];
	struct cube_err err;
	snprintf(fresh, sizeof fresh, "%s.new", file);
	struct cube_ids *ids = open_at(0, 0);
	ck_assert_int_eq(mkdir(fresh, 0700), 0);
	ck_assert_int_eq(cube_ids_take(ids, 1, &job, &first, &err), CUBE_ESYS);
	ck_assert_msg(strstr(err.msg, "ids, the file beside the database: making it") != NULL, "%s",
		      err.msg);
	rmdir(fresh);
	take(ids, 1);
	ck_assert_uint_eq(first, 1);
	cube_ids_close(ids);
}
END_TEST

START_TEST(without_a_folder) {
	struct cube_ids *ids;
	struct cube_err err;
	ck_assert_int_eq(cube_ids_open(NULL, CLUSTER, 6, 7, &ids, &err), 0);
	take(ids, 100);
	ck_assert_uint_eq(job, 7);
	ck_assert_uint_eq(first, 8);
	cube_ids_close(ids);
	cube_ids_close(NULL);
	ck_assert_int_ne(access(file, F_OK), 0);
	ck_assert_int_eq(cube_ids_open("/no/such/folder", CLUSTER, 0, 0, &ids, &err), CUBE_ESYS);
}
END_TEST

START_TEST(all_given) {
	struct cube_err err;
	struct cube_ids *ids = open_at(0, INT64_MAX - 70000);
	ck_assert_int_eq(cube_ids_take(ids, 1000000, &job, &first, &err), CUBE_ETOOBIG);
	cube_ids_close(ids);
}
END_TEST

int main(void) {
	Suite *s = suite_create("ids");
	TCase *t = tcase_create("ids");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, in_a_row);
	tcase_add_test(t, after_a_kill);
	tcase_add_test(t, the_database_is_ahead);
	tcase_add_loop_test(t, strange_files, 0, sizeof strange / sizeof strange[0]);
	tcase_add_test(t, known_elsewhere);
	tcase_add_test(t, a_disk_that_refuses);
	tcase_add_test(t, without_a_folder);
	tcase_add_test(t, all_given);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
