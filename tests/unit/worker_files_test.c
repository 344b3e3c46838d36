/* Pushed files on a real worker: how tasks get them, and what a task cannot do to them. */
#include <sys/resource.h>

#include "worker_link.h"

static struct host host;
static struct link worker;
static struct seen seen;

static void setup(void) {
	char name[32];

	snprintf(name, sizeof name, "host.%d", (int)getpid());
	host_make(&host, name);
	link_open(&worker, &host, 4);
	seen_init(&seen);
}

static void teardown(void) {
	link_shutdown(&worker, true);
	seen_done(&seen);
	ck_assert(!exists(host.base));
}

static void push(const char *text, const uint8_t *sha256, struct cube_msg *done) {
	struct cube_msg m = {.type = CUBE_MSG_PUSH};
	size_t n = strlen(text), half = n / 2;

	memcpy(m.push.sha256, sha256, 32);
	m.push.size = n;
	ck_assert_int_eq(cube_msg_encode(&worker.out, &m), 0);
	for (int i = 0; i < 2; i++) {
		m = (struct cube_msg){.type = CUBE_MSG_PUSH_DATA};
		memcpy(m.data.sha256, sha256, 32);
		m.data.offset = i ? half : 0;
		m.data.bytes = (struct cube_slice){(const uint8_t *)text + (i ? half : 0),
						   i ? n - half : half};
		ck_assert_int_eq(cube_msg_encode(&worker.out, &m), 0);
	}
	link_flush(&worker);
	link_expect(&worker, CUBE_MSG_PUSH_DONE, done);
	ck_assert_mem_eq(done->push.sha256, sha256, 32);
}

static void start_with_file(uint64_t task, const uint8_t *sha256, const char *name, uint32_t mode,
			    const char *script) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	struct cube_msg_start s = start_of(task, argv);
	struct cube_msg_file f = {.mode = mode};

	memcpy(f.sha256, sha256, 32);
	snprintf(f.name, sizeof f.name, "%s", name);
	s.dir = "";
	s.files = &f;
	s.nfiles = 1;
	link_start_with(&worker, &s);
}

START_TEST(file_pushed_and_used) {
	static const char TEXT[] = "#!/bin/sh\necho from the file\n";
	char scratch[PATH_MAX + 128];
	uint8_t sha256[32];
	struct cube_msg m;

	cube_sha256_of(TEXT, sizeof TEXT - 1, sha256);
	for (int i = 0; i < 2; i++) { /* the second time it is there already */
		push(TEXT, sha256, &m);
		ck_assert_msg(m.push.ok, "%s", m.push.message);
	}
	start_with_file(1, sha256, "tool", 0755,
			"./tool; pwd; echo $CUBE_SCRATCH; mkdir -p a/b/c/d; touch a/b/c/x;"
			"ln -s / a/root; chmod 0 a/b/c");
	link_watch(&worker, &seen, true);
	snprintf(scratch, sizeof scratch, "from the file\n%s/scratch/1.1\n%s/scratch/1.1\n",
		 host.run, host.run);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), scratch);
	snprintf(scratch, sizeof scratch, "%s/scratch/1.1", host.run);
	ck_assert(!exists(scratch));
	seen.exited = false;
	cube_buf_clear(&seen.out[1]);
	start_with_file(2, sha256, "data", 0644, "cat data; test -x data || echo no program");
	link_watch(&worker, &seen, true);
	ck_assert_ptr_nonnull(
		strstr(cube_buf_str(&seen.out[1]), "echo from the file\nno program\n"));
}
END_TEST

START_TEST(file_wrong_or_missing) {
	uint8_t sha256[32];
	struct cube_msg m;

	cube_sha256_of("other", 5, sha256);
	push("text", sha256, &m);
	ck_assert(!m.push.ok);
	ck_assert(m.push.message[0]);
	start_with_file(1, sha256, "f", 0644, "true");
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_NOT_STARTED);
	ck_assert_int_eq(seen.exit.exit.value, ESTALE);
	push("other", sha256, &m); /* and a second push may succeed */
	ck_assert(m.push.ok);
}
END_TEST

/* ---- what a task may do to files ------------------------------------------------------------ */

static const char KEPT[] = "as it was\n";

/* Where the content is stored. */
static const char *stored(char path[PATH_MAX + 160], uint8_t sha256[32]) {
	char hex[CUBE_SHA256_HEX];

	cube_sha256_of(KEPT, sizeof KEPT - 1, sha256);
	cube_sha256_hex(sha256, hex);
	snprintf(path, PATH_MAX + 160, "%s/files/%s", host.run, hex);
	return path;
}

static void expect_output(uint64_t task, const uint8_t *sha256, const char *script,
			  const char *text) {
	seen.exited = false;
	cube_buf_clear(&seen.out[1]);
	start_with_file(task, sha256, "f", 0644, script);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_EXITED);
	ck_assert_str_eq(cube_buf_str(&seen.out[1]), text);
}

START_TEST(file_is_the_tasks_own) {
	char path[PATH_MAX + 160];
	struct cube_buf bytes;
	uint8_t sha256[32];
	struct cube_msg m;
	struct stat st;

	stored(path, sha256);
	push(KEPT, sha256, &m);
	expect_output(1, sha256, "echo X >>f; cat f", "as it was\nX\n");
	expect_output(2, sha256, "chmod 777 f; echo Y >f; mkdir d; cat f", "Y\n");
	expect_output(3, sha256, "stat -c '%a %h' f; cat f", "644 1\nas it was\n");
	cube_buf_init(&bytes, 1 << 20);
	read_whole(path, &bytes);
	ck_assert_str_eq(cube_buf_str(&bytes), KEPT);
	cube_buf_done(&bytes);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0400);
	ck_assert_uint_eq(st.st_nlink, 1);
}
END_TEST

static const mode_t MODES[] = {0644, 0600, 0755, 0400, 0666, 0777, 0, 04755};

START_TEST(file_modes) {
	static const mode_t MASKS[] = {077, 0, 022};
	char path[PATH_MAX + 160], want[16];
	uint8_t sha256[32];
	struct cube_msg m;

	stored(path, sha256);
	push(KEPT, sha256, &m);
	snprintf(want, sizeof want, "%o\n", (unsigned)MODES[_i] & 0777u);
	for (uint64_t i = 0; i < sizeof MASKS / sizeof *MASKS; i++) {
		umask(MASKS[i]);
		seen.exited = false;
		cube_buf_clear(&seen.out[1]);
		start_with_file(i + 1, sha256, "f", MODES[_i], "stat -c %a f");
		link_watch(&worker, &seen, true);
		ck_assert_str_eq(cube_buf_str(&seen.out[1]), want);
	}
}
END_TEST

static void spoil(const char *path, int how) {
	struct stat was, st;

	ck_assert_int_eq(stat(path, &was), 0);
	st = was;
	while (how == 0 && st.st_ctim.tv_sec == was.st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == was.st_ctim.tv_nsec) { /* that clock ticks by milliseconds */
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		ck_assert_int_eq(pwrite(fd, "A", 1, 0), 1); /* of the same size */
		close(fd);
		ck_assert_int_eq(stat(path, &st), 0);
	}
	if (how) ck_assert_int_eq(unlink(path), 0);
	if (how == 2) write_whole(path, "A", 1, 0400);
	if (how == 3) ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	if (how == 4) ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* Changed, missing, replaced: it is never used, and can be pushed again. */
START_TEST(file_changed_in_store) {
	char path[PATH_MAX + 160];
	uint8_t sha256[32];
	struct cube_msg m;

	stored(path, sha256);
	push(KEPT, sha256, &m);
	spoil(path, _i);
	start_with_file(1, sha256, "f", 0644, "cat f");
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_NOT_STARTED);
	ck_assert_int_eq(seen.exit.exit.value, ESTALE);
	ck_assert_ptr_nonnull(strstr(seen.exit.exit.message, "/files"));
	ck_assert_uint_eq(cube_buf_len(&seen.out[1]), 0);
	ck_assert(!exists(path));
	push(KEPT, sha256, &m);
	ck_assert(m.push.ok);
	expect_output(2, sha256, "cat f", KEPT);
}
END_TEST

/* A file of the right content that this daemon did not store: of one that was killed. */
START_TEST(file_of_an_earlier_daemon) {
	char path[PATH_MAX + 160], folder[PATH_MAX + 160];
	uint8_t sha256[32];

	stored(path, sha256);
	snprintf(folder, sizeof folder, "%s/files", host.run);
	(void)mkdir(folder, 0700);
	write_whole(path, KEPT, sizeof KEPT - 1, 0400);
	expect_output(1, sha256, "cat f", KEPT);
	expect_output(2, sha256, "cat f", KEPT);
}
END_TEST

/* While 64 GiB of zeros are hashed the worker answers, and a STOP does not wait for the end. */
START_TEST(file_takes_long) {
	char path[PATH_MAX + 160], folder[PATH_MAX + 160];
	struct cube_msg m = {.type = CUBE_MSG_PING};
	uint8_t sha256[32];
	int fd;

	stored(path, sha256);
	snprintf(folder, sizeof folder, "%s/files", host.run);
	(void)mkdir(folder, 0700);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
	ck_assert_int_eq(ftruncate(fd, (off_t)64 << 30), 0);
	close(fd);
	start_with_file(1, sha256, "f", 0644, "cat f");
	link_send(&worker, &m);
	link_expect(&worker, CUBE_MSG_PONG, &m);
	m = (struct cube_msg){.type = CUBE_MSG_STOP, .task = 1, .attempt = 1};
	link_send(&worker, &m);
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_STOPPED);
	snprintf(folder, sizeof folder, "%s/scratch/1.1", host.run);
	ck_assert(!exists(folder));
}
END_TEST

/* No room for the copy (here: of file sizes) fails this task, with the file and the folder. */
START_TEST(file_has_no_room) {
	static const struct rlimit FEW = {1, RLIM_INFINITY}, ALL = {RLIM_INFINITY, RLIM_INFINITY};
	char path[PATH_MAX + 160];
	uint8_t sha256[32];
	struct cube_msg m;

	stored(path, sha256);
	push(KEPT, sha256, &m);
	ck_assert_int_eq(prlimit(worker.daemon, RLIMIT_FSIZE, &FEW, NULL), 0);
	start_with_file(1, sha256, "f", 0644, "cat f");
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(prlimit(worker.daemon, RLIMIT_FSIZE, &ALL, NULL), 0);
	ck_assert_int_eq(seen.exit.exit.how, CUBE_EXIT_NOT_STARTED);
	ck_assert_int_eq(seen.exit.exit.value, EFBIG);
	ck_assert_ptr_nonnull(strstr(seen.exit.exit.message, "file f: "));
	ck_assert_ptr_nonnull(strstr(seen.exit.exit.message, "/scratch/1.1: "));
	expect_output(2, sha256, "cat f", KEPT);
}
END_TEST

/* 600 nested folders and 3,000 files: nothing of it stays. */
START_TEST(deep_scratch_removed) {
	char scratch[PATH_MAX + 128];
	uint8_t sha256[32];
	struct cube_msg m;

	cube_sha256_of("text", 4, sha256);
	push("text", sha256, &m);
	start_with_file(1, sha256, "f", 0644,
			"set -e; seq 3000 | xargs touch; p=$(printf 'd/%.0s' $(seq 200)); i=0;"
			"while [ $i -lt 3 ]; do mkdir -p $p; cd $p; touch x; i=$((i+1)); done");
	link_watch(&worker, &seen, true);
	ck_assert_int_eq(seen.exit.exit.value, 0);
	snprintf(scratch, sizeof scratch, "%s/scratch/1.1", host.run);
	ck_assert(!exists(scratch));
	snprintf(scratch, sizeof scratch, "%s/scratch/dead.0", host.run);
	do { /* it goes bit by bit, and the worker answers meanwhile */
		m = (struct cube_msg){.type = CUBE_MSG_PING};
		link_send(&worker, &m);
		link_expect(&worker, CUBE_MSG_PONG, &m);
	} while (exists(scratch));
}
END_TEST

int main(void) {
	Suite *suite = suite_create("worker_files");
	TCase *tc = tcase_create("worker_files");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, file_pushed_and_used);
	tcase_add_test(tc, file_wrong_or_missing);
	tcase_add_test(tc, file_is_the_tasks_own);
	tcase_add_loop_test(tc, file_modes, 0, sizeof MODES / sizeof *MODES);
	tcase_add_loop_test(tc, file_changed_in_store, 0, 5);
	tcase_add_test(tc, file_of_an_earlier_daemon);
	tcase_add_test(tc, file_takes_long);
	tcase_add_test(tc, file_has_no_room);
	tcase_add_test(tc, deep_scratch_removed);
	suite_add_tcase(suite, tc);
	return worker_test_main(suite);
}
