/* Part of store_test.c: what happens to the file. */
#include "../../src/store/sqlite.h"

static int open_error(struct cube_err *err) {
	struct cube_store *s = NULL;
	int r = cube_store_sqlite(path, &s, err);

	ck_assert_msg(r < 0, "opened what it should not");
	ck_assert_ptr_null(s);
	ck_assert_ptr_nonnull(strstr(err->msg, path));
	return r;
}

/* Runs SQL on the file behind the store's back. */
static void run_sql(const char *sql) {
	sqlite3 *db;
	char *msg = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &msg) == SQLITE_OK, "%s: %s", sql, msg);
	sqlite3_close(db);
}

static uint64_t count_tasks(struct cube_store *s) {
	struct cube_err err = {0};
	struct cube_buf b;
	uint64_t n;

	cube_buf_init(&b, 1 << 24);
	ok(s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	n = 0;
	for (const char *p = cube_buf_str(&b); *p; p++) n += *p == ' ';
	cube_buf_done(&b);
	return n;
}

START_TEST(reopen) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};
	struct stat st;

	ok(s->ops->begin(s, &err));
	put_task(s, 1, 1, 0, 0);
	ok(s->ops->commit(s, &err));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ok(s->ops->begin(s, &err));
	put_task(s, 2, 1, 0, 0);
	cube_store_free(s); /* without commit */
	s = open_kind(SQLITE);
	shows("1 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	cube_store_free(s);
}
END_TEST

/* Without the check library, which writes to a file at each assertion: not for children that
 * get killed, nor on a full disk. */
static void child_batch(struct cube_store *s, uint64_t first, uint64_t count) {
	if (s->ops->begin(s, NULL) < 0) _exit(1);
	for (uint64_t id = first; id < first + count; id++) {
		struct cube_task_row t = task(id, 1, 0, 0);
		if (s->ops->task_put(s, &t, NULL) < 0) _exit(1);
	}
}

START_TEST(kill_at_commit) {
	enum { MANY = 100000 }; /* more than sqlite's cache holds: it writes before the commit */

	for (int committed = 0; committed < 2; committed++) {
		pid_t pid = fork();
		struct cube_store *s;
		int status;

		if (pid == 0) {
			if (cube_store_sqlite(path, &s, NULL) < 0) _exit(1);
			child_batch(s, 1, MANY);
			if (committed && s->ops->commit(s, NULL) < 0) _exit(1);
			if (committed) child_batch(s, MANY + 1, 10);
			kill(getpid(), SIGKILL);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		s = open_kind(SQLITE);
		ck_assert_uint_eq(count_tasks(s), committed ? MANY : 0);
		cube_store_free(s);
	}
}
END_TEST

/* A child commits batches and says so; killed at any moment, there are whole batches only, and
 * each that was said to be there. */
START_TEST(kill_anywhere) {
	enum { BATCH = 50 };
	uint64_t id = 0;

	for (int said = 1; said < 20; said += 3) {
		struct cube_store *s = NULL;
		uint64_t before = id, there;
		int pipes[2], status;
		char byte;
		pid_t pid;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			if (cube_store_sqlite(path, &s, NULL) < 0) _exit(1);
			for (;; id += BATCH) {
				child_batch(s, id + 1, BATCH);
				if (s->ops->commit(s, NULL) < 0) _exit(1);
				if (write(pipes[1], "x", 1) != 1) _exit(1);
			}
		}
		close(pipes[1]);
		for (int i = 0; i < said; i++) ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status));
		while (read(pipes[0], &byte, 1) == 1) said++; /* said before the kill came */
		close(pipes[0]);
		s = open_kind(SQLITE);
		there = count_tasks(s);
		ck_assert_uint_eq(there % BATCH, 0);
		ck_assert_uint_ge(there, before + (uint64_t)said * BATCH);
		ck_assert_uint_le(there, before + (uint64_t)(said + 1) * BATCH);
		id = there;
		cube_store_free(s);
	}
}
END_TEST

START_TEST(newer_schema) {
	struct cube_err err = {0};

	cube_store_free(open_kind(SQLITE));
	run_sql("PRAGMA user_version = 999");
	ck_assert_int_eq(open_error(&err), CUBE_EVERSION);
	ck_assert_ptr_nonnull(strstr(err.msg, "newer cube (schema 999"));
	run_sql("PRAGMA user_version = -1");
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
}
END_TEST

/* What an older cube wrote is there, without what it did not know of. */
START_TEST(older_schema) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};

	ok(s->ops->job_put(s, &(struct cube_job_row){.id = 1, .name = "j"}, &err));
	put_task(s, 5, 1, 0, 0);
	cube_store_free(s);
	run_sql("DROP INDEX jobs_request; ALTER TABLE jobs DROP COLUMN request; ALTER TABLE jobs DROP COLUMN stop;"
		"ALTER TABLE tasks DROP COLUMN epoch; PRAGMA user_version = 1");
	s = open_kind(SQLITE);
	shows("job 1 0 'j' '' 0\n", s->ops->job_get(s, 1, show_job, &b, &err));
	shows("5 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	ok(s->ops->job_put(s, &(struct cube_job_row){.id = 1, .request = "r"}, &err));
	ok(s->ops->task_put(s, &(struct cube_task_row){.id = 5, .job = 1, .epoch = 7}, &err));
	cube_store_free(s);
	run_sql("SELECT 1 / (SELECT count(*) FROM task_view)");
}
END_TEST

START_TEST(foreign_file) {
	struct cube_err err = {0};

	run_sql("CREATE TABLE bookmarks (url TEXT)");
	ck_assert_int_eq(open_error(&err), CUBE_ECONFLICT);
	ck_assert_ptr_nonnull(strstr(err.msg, "another program's database"));
	run_sql("SELECT url FROM bookmarks"); /* and it is left alone */
}
END_TEST

static void write_file(off_t at, const void *bytes, size_t n) {
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

START_TEST(not_a_database) {
	struct cube_err err = {0};
	char junk[5000];

	memset(junk, 'x', sizeof junk);
	write_file(0, junk, sizeof junk);
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
	ck_assert_ptr_nonnull(
		strstr(err.msg, "reading the schema version: file is not a database"));
	ck_assert_int_eq(truncate(path, 0), 0); /* an empty file is a new database */
	cube_store_free(open_kind(SQLITE));
}
END_TEST

START_TEST(damaged_pages) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};
	char junk[4096];
	struct cube_buf b;
	struct stat st;
	int r;

	ok(s->ops->begin(s, &err));
	for (uint64_t id = 1; id < 5000; id++) put_task(s, id, 1, 0, 0);
	ok(s->ops->commit(s, &err));
	cube_store_free(s); /* the last connection moves the log into the file */
	memset(junk, 0xff, sizeof junk);
	ck_assert_int_eq(stat(path, &st), 0);
	for (off_t at = 16 * 4096; at < st.st_size; at += 4096) write_file(at, junk, sizeof junk);
	s = open_kind(SQLITE);
	ok(s->ops->begin(s, &err));
	cube_buf_init(&b, 1 << 20);
	r = s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, NULL);
	cube_buf_done(&b);
	ck_assert_int_eq(r, CUBE_ESYS);
	ck_assert_int_eq(s->ops->meta_put(s, "k", "v", &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, path));
	ck_assert_ptr_nonnull(strstr(err.msg, "listing tasks: database disk image is malformed"));
	memset(&err, 0, sizeof err);
	ck_assert_int_eq(s->ops->commit(s, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "malformed"));
	cube_store_free(s);
}
END_TEST

START_TEST(damaged_row) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};
	struct cube_buf b;

	put_task(s, 5, 1, 0, 0);
	ok(s->ops->node_put(s, &(struct cube_node_row){.id = 6}, &err));
	run_sql("UPDATE tasks SET state = 77; UPDATE nodes SET state = 'ready'; "
		"UPDATE nodes SET id = 1 << 40");
	cube_buf_init(&b, 4096);
	ck_assert_int_eq(s->ops->task_get(s, 5, show_task, &b, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "reading a task: task 5 has values"));
	ck_assert_int_eq(s->ops->task_list(s, &(struct cube_task_filter){0}, show_task, &b, &err),
			 CUBE_ESYS);
	ck_assert_int_eq(s->ops->node_list(s, show_node, &b, &err), CUBE_ESYS);
	ck_assert_uint_eq(cube_buf_len(&b), 0);
	cube_buf_done(&b);
	/* Inside a transaction it is a failure as any other: nothing is kept. */
	ok(s->ops->begin(s, &err));
	put_task(s, 9, 1, 0, 0);
	ck_assert_int_eq(s->ops->task_get(s, 5, show_task, &b, NULL), CUBE_ESYS);
	ck_assert_int_eq(s->ops->commit(s, &err), CUBE_ESYS);
	ck_assert_int_eq(s->ops->task_get(s, 9, show_task, &b, &err), CUBE_ENOTFOUND);
	ok(s->ops->begin(s, &err));
	put_task(s, 9, 1, 0, 0);
	ok(s->ops->commit(s, &err));
	cube_store_free(s);
}
END_TEST

/* How far thinning came is forgotten with the transaction, and kept with the file. */
START_TEST(thin_rolled_back) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};
	struct cube_buf none;

	put_task(s, 5, 1, 0, 0);
	run_sql("UPDATE tasks SET state = 77");
	for (int64_t sec = 0; sec < 90; sec += 10) add_metric(s, 1, sec * SECOND);
	ok(s->ops->begin(s, &err));
	ok(s->ops->metric_thin(s, 2 * HOUR, &err));
	shows("50 80 ", s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
	cube_buf_init(&none, 4096);
	ck_assert_int_eq(s->ops->task_get(s, 5, show_task, &none, NULL), CUBE_ESYS);
	ck_assert_int_eq(s->ops->commit(s, &err), CUBE_ESYS);
	shows("10 20 30 40 50 60 70 80 ", s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
	ok(s->ops->metric_thin(s, 2 * HOUR, &err));
	shows("50 80 ", s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
	cube_store_free(s);
	s = open_kind(SQLITE);
	add_metric(s, 1, 55 * SECOND); /* late, after a restart */
	ok(s->ops->metric_thin(s, 2 * HOUR, &err));
	shows("55 80 ", s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
	cube_store_free(s);
}
END_TEST

/* As somebody whom permissions bind: root goes on as nobody. */
static void lose_rights(void) {
	if (geteuid() != 0) return;
	ck_assert_int_eq(chown(dir, 65534, 65534), 0);
	if (access(path, F_OK) == 0) ck_assert_int_eq(chown(path, 65534, 65534), 0);
	ck_assert_int_eq(seteuid(65534), 0);
}

static void regain_rights(void) {
	if (getuid() == 0) ck_assert_int_eq(seteuid(0), 0);
}

START_TEST(read_only_folder) {
	struct cube_err err = {0};

	lose_rights();
	ck_assert_int_eq(chmod(dir, 0500), 0);
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
	ck_assert_int_eq(err.sys, EACCES);
	ck_assert_ptr_nonnull(strstr(err.msg, "making it: Permission denied"));
	/* The file is there, but not what WAL needs beside it. */
	ck_assert_int_eq(chmod(dir, 0700), 0);
	cube_store_free(open_kind(SQLITE));
	ck_assert_int_eq(chmod(dir, 0500), 0);
	memset(&err, 0, sizeof err);
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
	ck_assert_msg(strstr(err.msg, "needs a writable folder too"), "%s", err.msg);
	regain_rights();
}
END_TEST

START_TEST(read_only_file) {
	struct cube_err err = {0};

	write_file(0, "", 0);
	lose_rights();
	ck_assert_int_eq(chmod(path, 0400), 0);
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
	ck_assert_msg(strstr(err.msg, "opening for writing: Permission denied"), "%s", err.msg);
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert_int_eq(open_error(&err), CUBE_ESYS);
	ck_assert_msg(strstr(err.msg, "Permission denied"), "%s", err.msg);
	regain_rights();
}
END_TEST

static void limit_files(rlim_t bytes) {
	struct rlimit lim;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &lim), 0);
	lim.rlim_cur = bytes > lim.rlim_max ? lim.rlim_max : bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

/* The check library runs each test in a process of its own: limits end with it. */
static struct cube_store *store_on_small_disk(rlim_t bytes) {
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};

	ok(s->ops->begin(s, &err));
	put_task(s, 1, 1, 0, 0);
	ok(s->ops->commit(s, &err));
	ck_assert_int_eq(sigaction(SIGXFSZ, &ignore, NULL), 0);
	limit_files(bytes);
	return s;
}

/* With room again, it works on, without anything of the failed transaction. */
static void works_again(struct cube_store *s) {
	struct cube_err err = {0};

	limit_files(RLIM_INFINITY);
	ok(s->ops->begin(s, &err));
	put_task(s, 2, 1, 0, 0);
	ok(s->ops->commit(s, &err));
	cube_store_free(s);
	s = open_kind(SQLITE);
	shows("1 2 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	cube_store_free(s);
}

START_TEST(full_disk) {
	struct cube_store *s = store_on_small_disk(512 * 1024);
	struct cube_err err = {0}, again = {0};
	struct cube_task_row t = task(0, 1, 0, 0);
	int r = 0;

	t.reason = "a text that makes the row somewhat longer, so that the cache is full sooner";
	ok(s->ops->begin(s, &err));
	for (t.id = 100; r == 0 && t.id < 400000; t.id++) r = s->ops->task_put(s, &t, &err);
	ck_assert_int_eq(r, CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "cube.db: writing a task: disk I/O error (File too"));
	ck_assert_int_eq(err.sys, EFBIG);
	ck_assert_int_eq(s->ops->meta_put(s, "a", "b", &again), CUBE_ESYS);
	ck_assert_str_eq(again.msg, err.msg);
	ck_assert_int_eq(s->ops->begin(s, NULL), CUBE_EINTERNAL);
	memset(&again, 0, sizeof again);
	ck_assert_int_eq(s->ops->commit(s, &again), CUBE_ESYS);
	ck_assert_str_eq(again.msg, err.msg);
	shows("1 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	works_again(s);
}
END_TEST

START_TEST(full_disk_at_commit) {
	struct cube_store *s = store_on_small_disk(64 * 1024);
	struct cube_err err = {0};

	child_batch(s, 100, 10000);
	ck_assert_int_eq(s->ops->commit(s, &err), CUBE_ESYS);
	ck_assert_msg(strstr(err.msg, "cube.db: committing: disk I/O error (File too"), "%s",
		      err.msg);
	works_again(s);
}
END_TEST

static int add_text(void *arg, int n, char **values, char **names) {
	for (int i = 0; i < n; i++)
		cube_buf_printf(arg, "%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
	return cube_buf_addstr(arg, "\n");
}

/* A user's sqlite3 beside the manager: sees what is committed, in words. */
START_TEST(reader_beside) {
	struct cube_store *s = open_kind(SQLITE);
	struct cube_err err = {0};
	struct cube_buf b;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	cube_buf_init(&b, 1 << 16);
	ok(s->ops->begin(s, &err));
	ok(s->ops->job_put(s, &(struct cube_job_row){.id = 1, .name = "j"}, &err));
	ok(s->ops->node_put(s, &(struct cube_node_row){.id = 7, .name = "web1", .state = 4}, &err));
	for (uint8_t i = 0; i < 5; i++) put_task(s, i + 1u, 1, i == 2 ? 7 : 0, i);
	ok(s->ops->metric_add(s, 7, &(struct cube_metric){.wall = 1, .psi_io = CUBE_METRIC_NONE},
			      &err));
#define SELECT                                                              \
	"SELECT job_name, node, state, started FROM task_view ORDER BY id;" \
	"SELECT name, state FROM node_view; SELECT psi_cpu, psi_io FROM metrics;"
	ck_assert_int_eq(sqlite3_exec(db, SELECT, add_text, &b, NULL), SQLITE_OK);
	ck_assert_str_eq(cube_buf_str(&b), "");
	ok(s->ops->commit(s, &err));
	ck_assert_int_eq(sqlite3_exec(db, SELECT, add_text, &b, NULL), SQLITE_OK);
	ck_assert_str_eq(cube_buf_str(&b),
			 "j|NULL|pending|\nj|NULL|scheduled|\nj|web1|running|\n"
			 "j|NULL|completed|\nj|NULL|failed|\nweb1|ready\n0|NULL\n");
	cube_buf_done(&b);
	sqlite3_close(db);
	cube_store_free(s);
}
END_TEST

START_TEST(odd_paths) {
	static const char *const names[] = {":memory:", "file:x.db?mode=memory", "a b'c.db"};
	struct cube_err err = {0};
	struct cube_store *s = NULL;
	char *longer, nested[300] = "";

	ck_assert_int_eq(cube_store_sqlite("", &s, &err), CUBE_EUSAGE);
	ck_assert_int_eq(chdir(dir), 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ok(cube_store_sqlite(names[i], &s, &err));
		put_task(s, 1, 1, 0, 0);
		cube_store_free(s);
		ck_assert_int_eq(unlink(names[i]), 0);
	}
	ck_assert_int_eq(chdir("/"), 0);
	memset(nested, 'n', sizeof nested - 1);
	longer = cube_strf("%s/%s/cube.db", dir, nested);
	ck_assert_int_eq(cube_store_sqlite(longer, &s, &err), CUBE_ESYS);
	ck_assert_ptr_nonnull(strstr(err.msg, "nn/cube.db: making it: File name too long"));
	free(longer);
}
END_TEST

static const char *list_sql(struct cube_store *s) {
	struct cube_sqlite *q = cube_sqlite_of(s);

	for (int i = 0; i < CUBE_SQLITE_SHAPES; i++)
		if (q->lists[i]) return sqlite3_sql(q->lists[i]);
	return "";
}

static int add_plan(void *arg, int n, char **values, char **names) {
	return cube_buf_printf(arg, "%s\n", values[3]);
}

/* The filters use the indices, and only a filter by name has to sort. */
START_TEST(plans) {
	static const struct {
		struct cube_task_filter f;
		const char *must;
		bool sorts;
	} cases[] = {
		{{0}, "INTEGER PRIMARY KEY", false},
		{{.newest_first = true}, "INTEGER PRIMARY KEY", false},
		{{.job = 1}, "tasks_job", false},
		{{.node = 1}, "tasks_node", false},
		{{.states = 1}, "tasks_state", false},
		{{.states = 7}, "tasks_state", false},
		{{.states = 23, .newest_first = true}, "tasks_state", false},
		{{.name = "x"}, "tasks_job", true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct cube_store *s = open_kind(SQLITE);
		struct cube_err err = {0};
		char *explain;
		struct cube_buf b;

		cube_buf_init(&b, 1 << 16);
		ok(s->ops->task_list(s, &cases[i].f, show_id, &b, &err));
		explain = cube_strf("EXPLAIN QUERY PLAN %s", list_sql(s));
		ck_assert_int_eq(sqlite3_exec(cube_sqlite_of(s)->db, explain, add_plan, &b, NULL),
				 SQLITE_OK);
		ck_assert_msg(strstr(cube_buf_str(&b), cases[i].must), "case %zu: %s", i,
			      cube_buf_str(&b));
		ck_assert_msg(!strstr(cube_buf_str(&b), "SCAN tasks"), "case %zu: %s", i,
			      cube_buf_str(&b));
		ck_assert_msg(!strstr(cube_buf_str(&b), "TEMP B-TREE") == !cases[i].sorts,
			      "case %zu: %s", i, cube_buf_str(&b));
		free(explain);
		cube_buf_done(&b);
		cube_store_free(s);
	}
}
END_TEST
