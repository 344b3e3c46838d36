/* The store: every operation on both implementations, random operations compared between them,
 * and what sqlite must survive: kills, full disks, foreign and damaged files. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/mem.h"
#include "cube/node.h"
#include "cube/store.h"
#include "cube/task.h"

#define MINUTE INT64_C(60000000000)
#define SECOND INT64_C(1000000000)
#define HOUR   (60 * MINUTE)

static char dir[64], path[128];

static void setup(void) {
	snprintf(dir, sizeof dir, "/tmp/cube-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/cube.db", dir);
}

static void teardown(void) {
	static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
	char name[160];

	chmod(dir, 0700);
	for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
		snprintf(name, sizeof name, "%s%s", path, tails[i]);
		unlink(name);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

#define ok(call)                                                             \
	do {                                                                 \
		int ok_r = (call);                                           \
		ck_assert_msg(ok_r == 0, "%s: %d %s", #call, ok_r, err.msg); \
	} while (0)

enum { MEMORY, SQLITE, KINDS };

static struct cube_store *open_kind(int kind) {
	struct cube_store *s = NULL;
	struct cube_err err = {0};

	ok(kind == MEMORY ? cube_store_memory(&s, &err) : cube_store_sqlite(path, &s, &err));
	ck_assert_str_eq(s->ops->name, kind == MEMORY ? "memory" : "sqlite");
	return s;
}

#include "store_test_show.h"

/* The text that `call` (which uses `&b` as its callback's argument) collects is `want`. */
#define shows(want, call)                                 \
	do {                                              \
		struct cube_buf b;                        \
		cube_buf_init(&b, 1 << 24);               \
		ok(call);                                 \
		ck_assert_str_eq(cube_buf_str(&b), want); \
		cube_buf_done(&b);                        \
	} while (0)

static struct cube_task_row task(uint64_t id, uint64_t job, uint32_t node, uint8_t state) {
	return (struct cube_task_row){.id = id, .job = job, .node = node, .state = state};
}

static void put_task(struct cube_store *s, uint64_t id, uint64_t job, uint32_t node,
		     uint8_t state) {
	struct cube_task_row t = task(id, job, node, state);
	struct cube_err err = {0};

	ok(s->ops->task_put(s, &t, &err));
}

static int refuse(void *arg, const struct cube_task_row *t) {
	return ++*(int *)arg == 2 ? -77 : 0;
}

/* ---- each operation, both implementations -------------------------------------------------- */

START_TEST(meta) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	char *got = NULL;

	ck_assert_int_eq(s->ops->meta_get(s, "cluster", &got, &err), CUBE_ENOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "cluster"));
	ck_assert_ptr_null(got);
	ok(s->ops->meta_put(s, "zone", "z", &err));
	ok(s->ops->meta_put(s, "cluster", "one", &err));
	ok(s->ops->meta_put(s, "cluster", "two 'x' \xc3\xa4 \"; DROP TABLE meta", &err));
	ok(s->ops->meta_put(s, "empty", "", &err));
	ok(s->ops->meta_get(s, "cluster", &got, &err));
	ck_assert_str_eq(got, "two 'x' \xc3\xa4 \"; DROP TABLE meta");
	free(got);
	ok(s->ops->meta_get(s, "empty", &got, &err));
	ck_assert_str_eq(got, "");
	free(got);
	cube_store_free(s);
}
END_TEST

START_TEST(jobs) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_job_row j = {
		.id = 7, .created = -5, .name = "sweep", .spec = "{}", .tasks = UINT32_MAX};

	ck_assert_int_eq(s->ops->job_get(s, 7, show_job, NULL, &err), CUBE_ENOTFOUND);
	ck_assert_str_eq(err.msg, "no job 7");
	ok(s->ops->job_put(s, &j, &err));
	shows("job 7 -5 'sweep' '{}' 4294967295\n", s->ops->job_get(s, 7, show_job, &b, &err));
	j = (struct cube_job_row){.id = 7, .spec = "{\"a\":1}", .tasks = 2}; /* name: NULL is "" */
	ok(s->ops->job_put(s, &j, &err));
	shows("job 7 0 '' '{\"a\":1}' 2\n", s->ops->job_get(s, 7, show_job, &b, &err));
	j.id = 0;
	ck_assert_int_eq(s->ops->job_put(s, &j, &err), CUBE_EUSAGE);
	j.id = (uint64_t)INT64_MAX + 1;
	ck_assert_int_eq(s->ops->job_put(s, &j, &err), CUBE_ETOOBIG);
	cube_store_free(s);
}
END_TEST

/* A request has one job, which can be found by it; those without one do not get into each other's
 * way. */
START_TEST(requests) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_job_row j = {.id = 1, .spec = "{}", .tasks = 2, .request = "one"};

	ck_assert_int_eq(s->ops->job_find(s, "one", show_job, NULL, &err), CUBE_ENOTFOUND);
	ok(s->ops->begin(s, &err));
	ok(s->ops->job_put(s, &j, &err));
	ok(s->ops->job_put(s, &j, &err));
	shows("job 1 0 '' '{}' 2\nrequest 'one'\n", s->ops->job_find(s, "one", show_job, &b, &err));
	j.id = 2;
	ck_assert_int_eq(s->ops->job_put(s, &j, &err), CUBE_ECONFLICT);
	j.request = NULL;
	ok(s->ops->job_put(s, &j, &err));
	j.id = 3;
	ok(s->ops->job_put(s, &j, &err));
	ok(s->ops->commit(s, &err)); /* a refusal did it no harm */
	ck_assert_int_eq(s->ops->job_find(s, "", show_job, NULL, &err), CUBE_ENOTFOUND);
	shows("job 1 0 '' '{}' 2\nrequest 'one'\n", s->ops->job_get(s, 1, show_job, &b, &err));
	cube_store_free(s);
}
END_TEST

START_TEST(tasks) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_task_row t = {.id = INT64_MAX,
				  .job = 3,
				  .index = 4,
				  .node = UINT32_MAX,
				  .attempt = 6,
				  .state = CUBE_TASK_FAILED,
				  .how = CUBE_EXIT_SIGNALED,
				  .value = -9,
				  .pinned = true,
				  .created = 10,
				  .started = 11,
				  .finished = INT64_MIN,
				  .user_us = UINT64_MAX,
				  .sys_us = 14,
				  .max_rss = 15,
				  .out_end = 16,
				  .err_end = 17,
				  .reason = "no\nway"};
	const char *want = "task 9223372036854775807 job 3 4 node 4294967295 attempt 6 4/1/-9 1 10 "
			   "11 -9223372036854775808 18446744073709551615 14 15 16 17 'no\nway'\n";
	int seen = 0;

	ck_assert_int_eq(s->ops->task_get(s, 9, show_task, NULL, &err), CUBE_ENOTFOUND);
	ck_assert_str_eq(err.msg, "no task 9");
	ok(s->ops->task_put(s, &t, &err));
	shows(want, s->ops->task_get(s, INT64_MAX, show_task, &b, &err));
	shows(want, s->ops->task_list(s, &(struct cube_task_filter){0}, show_task, &b, &err));
	put_task(s, INT64_MAX, 1, 0, 0);
	shows("task 9223372036854775807 job 1 0 node 0 attempt 0 0/0/0 0 0 0 0 0 0 0 0 0 ''\n",
	      s->ops->task_get(s, INT64_MAX, show_task, &b, &err));
	t.epoch = INT64_MAX;
	ok(s->ops->task_put(s, &t, &err));
	shows("task 9223372036854775807 job 3 4 node 4294967295 attempt 6 4/1/-9 1 10 11 "
	      "-9223372036854775808 18446744073709551615 14 15 16 17 'no\nway'\n"
	      "epoch 9223372036854775807\n",
	      s->ops->task_get(s, INT64_MAX, show_task, &b, &err));
	t.epoch++;
	ck_assert_int_eq(s->ops->task_put(s, &t, &err), CUBE_ETOOBIG);
	t.state = CUBE_TASK_STATES;
	ck_assert_int_eq(s->ops->task_put(s, &t, &err), CUBE_ETOOBIG);
	t.epoch = 0;
	ck_assert_int_eq(s->ops->task_put(s, &t, &err), CUBE_EUSAGE);
	t = task(0, 1, 0, 0);
	ck_assert_int_eq(s->ops->task_put(s, &t, &err), CUBE_EUSAGE);
	t = task(1, 0, 0, 0);
	ck_assert_int_eq(s->ops->task_put(s, &t, &err), CUBE_EUSAGE);
	for (uint64_t id = 1; id < 5; id++) put_task(s, id, 1, 0, 0);
	ck_assert_int_eq(s->ops->task_list(s, &(struct cube_task_filter){0}, refuse, &seen, &err),
			 -77);
	ck_assert_int_eq(seen, 2);
	seen = 1;
	ck_assert_int_eq(s->ops->task_get(s, 1, refuse, &seen, &err), -77);
	cube_store_free(s);
}
END_TEST

START_TEST(filters) {
	static const struct {
		struct cube_task_filter f;
		const char *want;
	} cases[] = {
		{{0}, "1 2 3 4 5 6 7 8 9 10 "},
		{{.newest_first = true}, "10 9 8 7 6 5 4 3 2 1 "},
		{{.after = 7}, "8 9 10 "},
		{{.after = 7, .newest_first = true}, "10 9 8 "},
		{{.after = 10}, ""},
		{{.after = UINT64_MAX}, ""},
		{{.limit = 2}, "1 2 "},
		{{.limit = 2, .newest_first = true}, "10 9 "},
		{{.limit = UINT32_MAX}, "1 2 3 4 5 6 7 8 9 10 "},
		{{.job = 1}, "1 2 3 4 5 "},
		{{.job = 2, .newest_first = true}, "8 7 6 "},
		{{.job = 4}, ""},
		{{.job = UINT64_MAX}, ""},
		{{.node = 1}, "1 4 7 10 "},
		{{.node = 2, .job = 2}, "8 "},
		{{.states = 1 << CUBE_TASK_PENDING}, "5 10 "},
		{{.states = 1 << CUBE_TASK_COMPLETED}, "3 8 "},
		{{.states = 1 << CUBE_TASK_COMPLETED | 1 << CUBE_TASK_FAILED}, "3 4 8 9 "},
		{{.states = 1 << CUBE_TASK_PENDING | 1 << CUBE_TASK_FAILED, .newest_first = true},
		 "10 9 5 4 "},
		{{.states = 31}, "1 2 3 4 5 6 7 8 9 10 "},
		{{.states = UINT32_MAX}, "1 2 3 4 5 6 7 8 9 10 "},
		{{.states = 1u << 31}, ""},
		{{.states = 1u << 31 | 1}, "5 10 "},
		{{.name = "a"}, "1 2 3 4 5 9 10 "},
		{{.name = "b"}, "6 7 8 "},
		{{.name = ""}, "1 2 3 4 5 6 7 8 9 10 "},
		{{.name = "c"}, ""},
		{{.name = "a", .job = 3, .node = 1, .states = 1, .after = 2, .limit = 5}, "10 "},
		{{.name = "a", .states = 3, .limit = 3, .newest_first = true}, "10 5 1 "},
	};
	static const struct cube_job_row rows[] = {
		{.id = 1, .name = "a"}, {.id = 2, .name = "b"}, {.id = 3, .name = "a"}};
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};

	for (size_t i = 0; i < 3; i++) ok(s->ops->job_put(s, &rows[i], &err));
	for (uint32_t id = 10; id > 0; id--)
		put_task(s, id, id <= 5 ? 1 : id <= 8 ? 2 : 3, id % 3, id % 5);
	for (int round = 0; round < 2; round++) { /* the second uses the statements kept */
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct cube_buf b;
			cube_buf_init(&b, 4096);
			ok(s->ops->task_list(s, &cases[i].f, show_id, &b, &err));
			ck_assert_msg(strcmp(cube_buf_str(&b), cases[i].want) == 0,
				      "case %zu: '%s', not '%s'", i, cube_buf_str(&b),
				      cases[i].want);
			cube_buf_done(&b);
		}
	}
	cube_store_free(s);
}
END_TEST

START_TEST(nodes) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_node_row n = {.id = UINT32_MAX,
				  .state = CUBE_NODE_LOST,
				  .name = "web1",
				  .host = "10.0.0.1",
				  .user = "me",
				  .identity = "/id",
				  .labels = "gpu",
				  .port = 65535,
				  .local = true,
				  .auto_slots = true,
				  .slots = UINT32_MAX,
				  .reason = "gone",
				  .facts = "{}",
				  .added = 1,
				  .seen = 2};

	ok(s->ops->node_put(s, &n, &err));
	n = (struct cube_node_row){.id = 2, .name = "b", .slots = 4};
	ok(s->ops->node_put(s, &n, &err));
	n.name = "c";
	ok(s->ops->node_put(s, &n, &err));
	shows("node 2 0 'c' '' '' '' '' 0 0 0 4 '' '' 0 0\n"
	      "node 4294967295 5 'web1' '10.0.0.1' 'me' '/id' 'gpu' 65535 1 1 4294967295 'gone' "
	      "'{}' 1 2\n",
	      s->ops->node_list(s, show_node, &b, &err));
	n.state = CUBE_NODE_STATES;
	ck_assert_int_eq(s->ops->node_put(s, &n, &err), CUBE_EUSAGE);
	n = (struct cube_node_row){0};
	ck_assert_int_eq(s->ops->node_put(s, &n, &err), CUBE_EUSAGE);
	cube_store_free(s);
}
END_TEST

START_TEST(last_ids) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	uint64_t j = 99, t = 99;
	uint32_t n = 99;

	ok(s->ops->last_ids(s, &j, &t, &n, &err));
	ck_assert(j == 0 && t == 0 && n == 0);
	ok(s->ops->job_put(s, &(struct cube_job_row){.id = 12}, &err));
	ok(s->ops->job_put(s, &(struct cube_job_row){.id = 2}, &err));
	put_task(s, 40, 12, 0, 0);
	put_task(s, 30, 12, 0, 0);
	ok(s->ops->node_put(s, &(struct cube_node_row){.id = 3}, &err));
	ok(s->ops->last_ids(s, &j, &t, &n, &err));
	ck_assert(j == 12 && t == 40 && n == 3);
	cube_store_free(s);
}
END_TEST

START_TEST(events) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_event_row e = {.wall = 5,
				   .task = 6,
				   .node = 7,
				   .kind = "task",
				   .old_state = "pending",
				   .new_state = "scheduled"};
	uint64_t seq = 0;

	shows("", s->ops->event_list(s, 0, 0, show_event, &b, &err));
	ok(s->ops->event_add(s, &e, &seq, &err));
	ck_assert_uint_eq(seq, 1);
	e = (struct cube_event_row){
		.kind = "node", .old_state = "ready", .new_state = "lost", .reason = "cut"};
	ok(s->ops->event_add(s, &e, NULL, &err));
	ok(s->ops->event_add(s, &e, &seq, &err));
	ck_assert_uint_eq(seq, 3);
	shows("event 1 5 6 7 'task' 'pending' 'scheduled' ''\n"
	      "event 2 0 0 0 'node' 'ready' 'lost' 'cut'\n",
	      s->ops->event_list(s, 0, 2, show_event, &b, &err));
	shows("event 3 0 0 0 'node' 'ready' 'lost' 'cut'\n",
	      s->ops->event_list(s, 2, 0, show_event, &b, &err));
	shows("", s->ops->event_list(s, 3, 0, show_event, &b, &err));
	shows("", s->ops->event_list(s, UINT64_MAX, 0, show_event, &b, &err));
	cube_store_free(s);
}
END_TEST

static int add_chunk(struct cube_store *s, uint64_t offset, uint64_t len, uint32_t segment,
		     uint64_t pos, struct cube_err *err) {
	return s->ops->chunk_add(s,
				 &(struct cube_chunk_row){.task = 1,
							  .attempt = 1,
							  .stream = 1,
							  .offset = offset,
							  .len = len,
							  .segment = segment,
							  .pos = pos,
							  .wall = (int64_t)offset},
				 err);
}

START_TEST(chunks) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_chunk_row other = {.task = 1, .attempt = 1, .stream = 2, .len = 7};

	ok(add_chunk(s, 0, 10, 1, 100, &err));
	ok(s->ops->chunk_add(s, &other, &err)); /* another stream does not break the run */
	ok(add_chunk(s, 10, 5, 1, 110, &err));  /* adjoins */
	ok(add_chunk(s, 15, 5, 1, 116, &err));  /* a hole in the segment */
	ok(add_chunk(s, 20, 5, 2, 121, &err));  /* another segment */
	ok(add_chunk(s, 30, 5, 2, 126, &err));  /* a hole in the stream */
	ok(add_chunk(s, 35, 0, 2, 131, &err));  /* nothing */
	ok(add_chunk(s, 35, 1, 2, 131, &err));
	/* adjoins, but so much later that its time counts */
	ok(s->ops->chunk_add(s,
			     &(struct cube_chunk_row){.task = 1,
						      .attempt = 1,
						      .stream = 1,
						      .offset = 36,
						      .len = 2,
						      .segment = 2,
						      .pos = 132,
						      .wall = 30 + CUBE_CHUNK_SPAN_NS},
			     &err));
	ck_assert_int_eq(add_chunk(s, 35, 9, 2, 132, &err), CUBE_ECONFLICT);
	ck_assert_int_eq(add_chunk(s, 0, 1, 2, 132, &err), CUBE_ECONFLICT);
	ck_assert_int_eq(add_chunk(s, UINT64_MAX, 1, 2, 132, &err), CUBE_ETOOBIG);
	ck_assert_int_eq(add_chunk(s, 40, 1, 2, INT64_MAX, &err), CUBE_ETOOBIG);
	ck_assert_int_eq(add_chunk(s, 40, UINT64_MAX, 2, 132, &err), CUBE_ETOOBIG);
#define C1 "chunk 1.1.1 0+15 in 1 at 100 0\n"
#define C2 "chunk 1.1.1 15+5 in 1 at 116 15\n"
#define C3 "chunk 1.1.1 20+5 in 2 at 121 20\n"
#define C4 "chunk 1.1.1 30+6 in 2 at 126 30\n"
#define C5 "chunk 1.1.1 36+2 in 2 at 132 100000030\n"
	static const struct {
		uint64_t offset;
		const char *want;
	} cases[] = {{0, C1 C2 C3 C4 C5},
		     {14, C1 C2 C3 C4 C5},
		     {15, C2 C3 C4 C5},
		     {24, C3 C4 C5},
		     {25, C4 C5},
		     {30, C4 C5},
		     {35, C4 C5},
		     {36, C5},
		     {38, ""},
		     {UINT64_MAX, ""}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		shows(cases[i].want,
		      s->ops->chunk_list(s, 1, 1, 1, cases[i].offset, show_chunk, &b, &err));
	shows("chunk 1.1.2 0+7 in 0 at 0 0\n",
	      s->ops->chunk_list(s, 1, 1, 2, 0, show_chunk, &b, &err));
	shows("", s->ops->chunk_list(s, 1, 2, 1, 0, show_chunk, &b, &err));
	shows("", s->ops->chunk_list(s, UINT64_MAX, 1, 1, 0, show_chunk, &b, &err));
	cube_store_free(s);
}
END_TEST

static void add_metric(struct cube_store *s, uint32_t node, int64_t wall) {
	struct cube_err err = {0};

	ok(s->ops->metric_add(s, node, &(struct cube_metric){.wall = wall}, &err));
}

START_TEST(metrics) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_metric m = {1,
				UINT64_MAX,
				3,
				4,
				5,
				6,
				7,
				8,
				UINT32_MAX,
				10,
				11,
				12,
				13,
				14,
				15,
				16,
				17,
				18,
				19,
				20,
				CUBE_METRIC_NONE,
				22,
				CUBE_METRIC_NONE,
				24};

	add_metric(s, 2, 3);
	ok(s->ops->metric_add(s, 1, &m, &err));
	m.wall = 0;
	m.uptime_s = 5;
	ok(s->ops->metric_add(s, 1, &m, &err));
	m.wall = 1;
	ok(s->ops->metric_add(s, 1, &m, &err)); /* again: the newer one stays */
	shows("metric 1 18446744073709551615 3 4 5 6 7 8 4294967295 10 11 12 13 14 15 16 17 18 19 "
	      "20 4294967295 22 4294967295 5\n",
	      s->ops->metric_list(s, 1, 0, show_metric, &b, &err));
	shows("0 0 ", s->ops->metric_list(s, 1, INT64_MIN, show_wall, &b, &err));
	shows("", s->ops->metric_list(s, 1, INT64_MAX, show_wall, &b, &err));
	shows("", s->ops->metric_list(s, 3, 0, show_wall, &b, &err));
	m.wall = -1;
	ck_assert_int_eq(s->ops->metric_add(s, 1, &m, &err), CUBE_EUSAGE);
	cube_store_free(s);
}
END_TEST

START_TEST(thinning) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	const int64_t now = 2 * HOUR + 30 * SECOND;

	/* One each ten seconds, nodes 1 and 4; an hour ago was 3630 s. */
	for (int64_t sec = 3480; sec < 3700; sec += 10) {
		add_metric(s, 1, sec * SECOND);
		add_metric(s, 4, sec * SECOND + 1);
	}
	add_metric(s, 0, 1); /* the only one of its minute */
	ok(s->ops->metric_thin(s, 0, &err));
	ok(s->ops->metric_thin(s, INT64_MIN, &err));
	for (int again = 0; again < 2; again++) {
		ok(s->ops->metric_thin(s, now, &err));
		/* Of the minute 3600..3659 the last is younger than an hour. */
		shows("3530 3590 3630 3640 3650 3660 3670 3680 3690 ",
		      s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
		shows("3530 3590 3630 3640 3650 3660 3670 3680 3690 ",
		      s->ops->metric_list(s, 4, 0, show_wall, &b, &err));
		shows("0 ", s->ops->metric_list(s, 0, 0, show_wall, &b, &err));
	}
	add_metric(s, 1, 3500 * SECOND); /* late, not its minute's last */
	add_metric(s, 1, 3595 * SECOND); /* late, and its minute's last */
	add_metric(s, 1, 3400 * SECOND);
	ok(s->ops->metric_thin(s, now + MINUTE, &err));
	shows("3400 3530 3595 3650 3690 ", s->ops->metric_list(s, 1, 0, show_wall, &b, &err));
	shows("3530 3590 3650 3690 ", s->ops->metric_list(s, 4, 0, show_wall, &b, &err));
	cube_store_free(s);
}
END_TEST

struct nested {
	struct cube_store *s;
	struct cube_buf *b;
};

static int list_inside(void *arg, const struct cube_task_row *t) {
	struct nested *n = arg;
	struct cube_task_filter f = {.after = t->id, .limit = 1};
	struct cube_task_row changed = *t;
	struct cube_err err = {0};

	cube_buf_printf(n->b, "[%" PRIu64 " %s: ", t->id, t->reason);
	ok(n->s->ops->task_list(n->s, &f, show_id, n->b, &err));
	changed.reason = t->id == 1 ? "a new and longer reason" : t->reason;
	changed.attempt++;
	ok(n->s->ops->task_put(n->s, &changed, &err));
	cube_buf_printf(n->b, "%s]", t->reason); /* the old string still lives */
	return 0;
}

START_TEST(nesting) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};

	for (uint64_t id = 1; id < 4; id++) {
		struct cube_task_row t = task(id, 1, 0, 0);
		t.reason = "why";
		ok(s->ops->task_put(s, &t, &err));
	}
	ok(s->ops->begin(s, &err));
	shows("[1 why: 2 why][2 why: 3 why][3 why: why]",
	      s->ops->task_list(s, &(struct cube_task_filter){0}, list_inside,
				&((struct nested){s, &b}), &err));
	ok(s->ops->commit(s, &err));
	shows("task 1 job 1 0 node 0 attempt 1 0/0/0 0 0 0 0 0 0 0 0 0 'a new and longer reason'\n",
	      s->ops->task_get(s, 1, show_task, &b, &err));
	cube_store_free(s);
}
END_TEST

START_TEST(transactions) {
	struct cube_store *s = open_kind(_i);
	struct cube_err err = {0};
	struct cube_task_row bad = task(1, 1, 0, 200);

	ck_assert_int_eq(s->ops->commit(s, &err), CUBE_EINTERNAL);
	ok(s->ops->begin(s, &err));
	ck_assert_int_eq(s->ops->begin(s, &err), CUBE_EINTERNAL);
	ok(s->ops->commit(s, &err)); /* with nothing in it */
	ok(s->ops->begin(s, &err));
	put_task(s, 1, 1, 0, 0);
	ck_assert_int_eq(s->ops->task_put(s, &bad, &err), CUBE_EUSAGE); /* a refusal does no harm */
	shows("1 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	ok(s->ops->commit(s, &err));
	shows("1 ", s->ops->task_list(s, &(struct cube_task_filter){0}, show_id, &b, &err));
	cube_store_free(s);
}
END_TEST

#include "store_test_files.h"
#include "store_test_model.h"

int main(void) {
	const TTest *const both[] = {meta,     jobs,     requests,    tasks,  filters,
				     nodes,    last_ids, events,      chunks, metrics,
				     thinning, nesting,  transactions};
	const TTest *const once[] = {model,          reopen,        thin_rolled_back,
				     kill_at_commit, kill_anywhere, newer_schema,
				     older_schema,   foreign_file,  not_a_database,
				     damaged_pages,  damaged_row,   read_only_folder,
				     read_only_file, full_disk,     full_disk_at_commit,
				     reader_beside,  odd_paths,     plans};
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("store");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof both / sizeof both[0]; i++)
		tcase_add_loop_test(tc, both[i], 0, KINDS);
	for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) tcase_add_test(tc, once[i]);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
