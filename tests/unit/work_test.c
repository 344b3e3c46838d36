/* Tasks from asking to the end, over a fleet that is none: adding, placing, links that break,
 * managers that end, and what all of it costs. Each with both stores. */
#include "work_fleet.h"

/* --- adding --- */

static const struct {
	const char *text;
	uint32_t count;
	bool all;
	size_t nodes; /* of n1, n2, n3: the first so many */
	int rc;
	uint32_t tasks;
} adds[] = {
	{"run", 1, false, 0, 0, 1},
	{"run", 7, false, 0, 0, 7},
	{"run", 3, false, 2, 0, 3},
	{"run", 0, true, 3, 0, 3},
	{"run", 99, true, 2, 0, 2}, /* count says nothing with all */
	{"cat", 1, false, 0, 0, 1},
	{"run", 0, false, 0, CUBE_ETOOBIG, 0},
	{"run", 1000001, false, 0, CUBE_ETOOBIG, 0},
	{"run", 0, true, 0, CUBE_ECONFLICT, 0},
	{"cat", 2, false, 0, CUBE_EUSAGE, 0},
	{"cat", 0, true, 2, CUBE_EUSAGE, 0},
};

static void add_one(size_t i, const uint32_t *ids) {
	uint64_t first;
	struct cube_err err;
	unsigned before = cube_work_active(w.work);
	int rc = add_to(adds[i].text, adds[i].count, adds[i].all, ids, adds[i].nodes, &first, &err);
	ck_assert_int_eq(rc, adds[i].rc);
	ck_assert_uint_eq(cube_work_active(w.work) - before, adds[i].tasks);
	for (uint32_t k = 0; k < adds[i].tasks; k++) {
		struct cube_task *t = task(first + k);
		ck_assert_uint_eq(t->row.index, k);
		ck_assert_uint_eq(t->row.pinned, adds[i].all);
		ck_assert_uint_eq(t->row.node, adds[i].all ? ids[k] : 0);
		ck_assert_uint_eq(t->job->nnodes, adds[i].all ? 0 : adds[i].nodes);
	}
}

START_TEST(adding) {
	uint32_t ids[3];
	begin(_i);
	for (int i = 0; i < 3; i++) ids[i] = node_add((const char *[]){"n1", "n2", "n3"}[i], 2)->id;
	for (size_t i = 0; i < sizeof adds / sizeof adds[0]; i++) add_one(i, ids);
	turn();
	for (uint64_t id = 1; id <= 17; id++)
		ck_assert_uint_eq(row_of(id).state, CUBE_TASK_PENDING);
	ck_assert_uint_eq(w.task_writes, 17); /* each row once */
	finish();
}
END_TEST

static int take_job(void *arg, const struct cube_job_row *row) {
	*(uint64_t *)arg = row->id;
	return 0;
}

/* The client's name for its request is kept with the job. */
START_TEST(a_request) {
	uint64_t job, first, found = 0;
	uint32_t n;
	struct cube_err err;
	begin(_i);
	struct cube_work_request r = {.spec_json = "run", .request = "r-1", .count = 2};
	spec_make("run", &r.spec);
	ck_assert_int_eq(cube_work_add(w.work, &r, &job, &first, &n, &err), 0);
	ck_assert_ptr_null(r.spec.argv.v); /* moved */
	ck_assert_uint_eq(n, 2);
	turn();
	ck_assert_int_eq(w.store->ops->job_find(w.store, "r-1", take_job, &found, NULL), 0);
	ck_assert_uint_eq(found, job);
	finish();
}
END_TEST

/* --- placing --- */

static uint32_t node_of(uint64_t id) {
	return task(id)->row.state == CUBE_TASK_PENDING ? 0 : task(id)->row.node;
}

static void expect_nodes(uint64_t first, const char *nodes) {
	for (size_t i = 0; nodes[i]; i++)
		ck_assert_msg(node_of(first + i) == (uint32_t)(nodes[i] - '0'),
			      "task %llu is on %u, not %c", (unsigned long long)(first + i),
			      (unsigned)node_of(first + i), nodes[i]);
}

START_TEST(round_robin) {
	begin(_i);
	struct cube_node *n1 = node_ready("n1", 1);
	node_ready("n2", 2);
	node_ready("n3", 3);
	uint64_t first = add("run", 8);
	turn();
	expect_nodes(first, "23123300"); /* one after the cursor, then those with slots left */
	ck_assert_uint_eq(heard(n1, CUBE_MSG_START, 0), 1);
	say_ok(n1, msg_exit(first + 2, CUBE_EXIT_EXITED, 0));
	turn();
	expect_nodes(first + 6, "10");
	ck_assert_uint_eq(heard(n1, CUBE_MSG_START, first + 6), 1);
	finish();
}
END_TEST

/* Bound tasks wait for their node, others go past; jobs that find no place hold nobody up. */
START_TEST(bound_and_held_up) {
	begin(_i);
	struct cube_node *n1 = node_ready("n1", 1), *n2 = node_ready("n2", 2);
	struct cube_node *n3 = node_add("n3", 5);
	struct cube_err err;
	uint64_t held, all;
	uint64_t one = add("run", 1);
	turn();
	expect_nodes(one, "2");
	ck_assert_int_eq(add_to("run n1", 3, false, &n1->id, 1, &held, &err), 0);
	ck_assert_int_eq(
		add_to("run", 0, true, (uint32_t[]){n1->id, n2->id, n3->id}, 3, &all, &err), 0);
	uint64_t last = add("run", 1);
	turn();
	expect_nodes(all, "120"); /* bound ones come first, to n3 not yet */
	expect_nodes(held, "000");
	expect_nodes(last, "0");
	unsigned running, queued;
	cube_work_counts(n3, &running, &queued);
	ck_assert_uint_eq(running + queued, 1);
	say_ok(n2, msg_exit(all + 1, CUBE_EXIT_EXITED, 0));
	turn();
	expect_nodes(last, "2"); /* past the three that may run on n1 only */
	link_up(n3);
	link_ready(n3, false);
	turn();
	expect_nodes(all + 2, "3");
	expect_nodes(held, "000");
	say_ok(n1, msg_exit(all, CUBE_EXIT_EXITED, 0));
	turn();
	expect_nodes(held, "100");
	finish();
}
END_TEST

/* Short tasks are sent ahead, long ones are not; a node that is behind or not ready gets none. */
START_TEST(prefetch) {
	static const struct {
		uint64_t ms;
		bool full;
		uint32_t sent;
	} rows[] = {{1, false, 2 + 8}, {10, false, 2 + 4}, {200, false, 2}, {1, true, 0}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin(_i);
		struct cube_node *n = node_ready("n1", 2);
		uint64_t first = add("run", 1);
		turn();
		struct cube_msg m = msg_exit(first, CUBE_EXIT_EXITED, 0);
		m.exit.started = 1000000000;
		m.exit.finished = m.exit.started + (int64_t)(rows[i].ms * CUBE_NS_PER_MS);
		say_ok(n, m);
		turn();
		heard_all(n);
		n->link->full = rows[i].full;
		add("run", 50);
		turn();
		ck_assert_uint_eq(heard(n, CUBE_MSG_START, 0), rows[i].sent);
		ck_assert_uint_eq(cube_seat_of(n)->load, rows[i].sent);
		finish();
	}
}
END_TEST

/* What cannot be started takes nobody's place: here a file is not to be had. */
START_TEST(a_place_is_given_on) {
	begin(_i);
	struct cube_node *n = node_ready("n1", 1);
	memset(w.file.sha256, 0xab, sizeof w.file.sha256);
	snprintf(w.file.name, sizeof w.file.name, "data");
	uint64_t bad = add("file", 20), good = add("run", 1);
	turn();
	for (uint64_t id = bad; id < bad + 20; id++)
		expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, row_of(id).value);
	expect_nodes(good, "1");
	ck_assert_uint_eq(heard(n, CUBE_MSG_START, 0), 1);
	ck_assert_uint_eq(cube_seat_of(n)->load, 1);
	finish();
}
END_TEST

/* A job whose nodes have all failed does not wait for ever; neither is anything new put there. */
START_TEST(no_node_is_left) {
	begin(_i);
	struct cube_node *n1 = node_add("n1", 1), *n2 = node_add("n2", 1);
	uint32_t ids[] = {n1->id, n2->id};
	struct cube_err err;
	uint64_t some, all, late;
	ck_assert_int_eq(add_to("run n1 n2", 2, false, ids, 2, &some, &err), 0);
	ck_assert_int_eq(add_to("run", 0, true, ids, 2, &all, &err), 0);
	uint64_t any = add("run", 1);
	turn();
	node_end(n1, CUBE_NODE_FAILED, "no route");
	turn();
	expect_end(all, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_uint_eq(task(some)->row.state, CUBE_TASK_PENDING);
	node_end(n2, CUBE_NODE_NEEDS_LOGIN, "a password");
	turn();
	expect_end(some, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	expect_end(some + 1, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	expect_end(all + 1, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_str_eq(row_of(all + 1).reason, "a password");
	ck_assert_int_eq(add_to("run", 0, true, ids, 2, &late, &err), 0);
	turn();
	expect_end(late, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_str_eq(row_of(late).reason, "no route");
	ck_assert_uint_eq(task(any)->row.state, CUBE_TASK_PENDING);
	ck_assert_uint_eq(cube_work_active(w.work), 1);
	finish();
}
END_TEST

/* --- what it costs --- */

START_TEST(nothing_costs_nothing) {
	char name[20];
	begin(_i);
	struct cube_node *n = node_ready("n0", 1);
	for (int i = 1; i < NODES; i++) {
		snprintf(name, sizeof name, "n%d", i);
		node_add(name, 4);
	}
	uint64_t id = add("run", 1);
	turn();
	say_ok(n, about(id, CUBE_MSG_STARTED));
	turn();
	w.fleet.calls = w.writes = 0;
	for (int i = 0; i < 1000; i++) cube_work_tick(w.work);
	ck_assert_uint_eq(w.fleet.calls, 0);
	for (int i = 0; i < 3; i++) turn();
	ck_assert_uint_eq(w.writes, 0);
	/* said again: nothing new, nothing written */
	say_ok(n, about(id, CUBE_MSG_STARTED));
	struct cube_msg m = about(id, CUBE_MSG_STDIN_ACK);
	m.ack.offset = 9;
	say_ok(n, m);
	turn();
	ck_assert_uint_eq(w.writes, 0);
	/* a new link, over which it is listed, and says again what is known */
	say_ok(n, msg_log(id, CUBE_STDOUT, 0, "abc"));
	turn();
	w.writes = 0;
	link_down(n);
	link_up(n);
	m = about(id, CUBE_MSG_ATTEMPT);
	m.known.state = CUBE_ATTEMPT_RUNNING;
	say_ok(n, m);
	link_ready(n, false);
	turn();
	say_ok(n, about(id, CUBE_MSG_STARTED));
	say_ok(n, msg_log(id, CUBE_STDOUT, 0, "abc"));
	heard_all(n);
	turn();
	ck_assert_uint_eq(w.writes, 0);
	ck_assert_uint_eq(last_of(n, CUBE_MSG_ACK)->offset, 3);
	finish();
}
END_TEST

/* A turn's changes of one task are one row. */
START_TEST(one_row_a_turn) {
	begin(_i);
	struct cube_node *n = node_ready("n1", 1);
	uint64_t id = add("run", 1);
	cube_work_tick(w.work);
	say_ok(n, about(id, CUBE_MSG_STARTED));
	for (int i = 0; i < 50; i++) say_ok(n, msg_log(id, 1, (uint64_t)i * 3, "abc"));
	say_ok(n, msg_exit(id, CUBE_EXIT_EXITED, 0));
	turn();
	ck_assert_uint_eq(w.task_writes, 1);
	expect_end(id, CUBE_TASK_COMPLETED, CUBE_EXIT_EXITED, 0);
	ck_assert_uint_eq(row_of(id).out_end, 150);
	finish();
}
END_TEST

/* --- managers that end --- */

START_TEST(loaded_again) {
	begin(_i);
	struct cube_node *n1 = node_ready("n1", 1), *n2 = node_add("n2", 1);
	struct cube_err err;
	uint64_t some, all, bad, gone;
	uint64_t one = add("cat", 1);
	turn();
	say_ok(n1, about(one, CUBE_MSG_STARTED));
	ck_assert_int_eq(add_to("run n1 n2", 2, false, (uint32_t[]){1, 2}, 2, &some, &err), 0);
	ck_assert_int_eq(add_to("run n1 n2", 0, true, (uint32_t[]){1, 2}, 2, &all, &err), 0);
	ck_assert_int_eq(add_to("bad", 1, false, NULL, 0, &bad, &err), 0);
	ck_assert_int_eq(add_to("run n9", 1, false, &n2->id, 1, &gone, &err), 0);
	turn();
	restart();
	turn();
	expect_end(bad, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_str_eq(row_of(bad).reason, "no spec at all");
	expect_end(gone, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_uint_eq(cube_work_active(w.work), 5);
	ck_assert_uint_eq(task(one)->row.state, CUBE_TASK_RUNNING);
	ck_assert_uint_eq(task(some)->job->nnodes, 2);
	unsigned running, queued;
	cube_work_counts(n1, &running, &queued);
	ck_assert_uint_eq(running, 1);
	ck_assert_uint_eq(queued, 1);
	cube_work_counts(n2, &running, &queued);
	ck_assert_uint_eq(running, 0);
	ck_assert_uint_eq(queued, 1);
	uint64_t next = add("run", 1);
	ck_assert_uint_gt(next, gone);
	finish();
}
END_TEST

/* A node that failed meanwhile says why its bound tasks end, as one that fails now does. */
START_TEST(loaded_for_a_failed_node) {
	begin(_i);
	struct cube_node *n = node_add("n1", 1);
	struct cube_err err;
	uint64_t all;
	ck_assert_int_eq(add_to("run", 0, true, &n->id, 1, &all, &err), 0);
	turn();
	n->state = CUBE_NODE_FAILED;
	free(n->reason);
	n->reason = cube_strdup("no route");
	restart();
	turn();
	expect_end(all, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_str_eq(row_of(all).reason, "no route");
	finish();
}
END_TEST

int main(void) {
	Suite *s = suite_create("work");
	TCase *t = tcase_create("work");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, adding, 0, 2);
	tcase_add_loop_test(t, a_request, 0, 2);
	tcase_add_loop_test(t, round_robin, 0, 2);
	tcase_add_loop_test(t, bound_and_held_up, 0, 2);
	tcase_add_loop_test(t, prefetch, 0, 2);
	tcase_add_loop_test(t, a_place_is_given_on, 0, 2);
	tcase_add_loop_test(t, no_node_is_left, 0, 2);
	tcase_add_loop_test(t, nothing_costs_nothing, 0, 2);
	tcase_add_loop_test(t, one_row_a_turn, 0, 2);
	tcase_add_loop_test(t, loaded_again, 0, 2);
	tcase_add_loop_test(t, loaded_for_a_failed_node, 0, 2);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
