/* What workers say of attempts and what is said to them, over a fleet that is none: the orders
 * that are right and those that are not, links that break, and ends on request. Each with both
 * stores. */
#include "work_one.h"

/* --- orders --- */

/* s: STARTED, o and e: 3 bytes of output, O: the last three again, and three new ones, G: output
 * with a gap, x: EXIT, X: EXIT that lies about the output, +: a turn. Upper case of what is wrong
 * ends the link (!), and the task goes on. */
static const struct {
	const char *order;
	enum cube_task_state state;
	uint64_t out, err;
	bool wrong;
} orders[] = {
	{"sx", CUBE_TASK_COMPLETED, 0, 0, false},
	{"x", CUBE_TASK_COMPLETED, 0, 0, false}, /* EXIT first: STARTED was lost */
	{"s+o+e+x", CUBE_TASK_COMPLETED, 3, 3, false},
	{"soex", CUBE_TASK_COMPLETED, 3, 3, false},
	{"ox", CUBE_TASK_COMPLETED, 3, 0, false},
	{"o+s+x", CUBE_TASK_COMPLETED, 3, 0, false},
	{"ss+s+x", CUBE_TASK_COMPLETED, 0, 0, false},
	{"soOOeox", CUBE_TASK_COMPLETED, 12, 3, false},
	{"so+sx", CUBE_TASK_COMPLETED, 3, 0, false},
	{"sG", CUBE_TASK_RUNNING, 0, 0, true},
	{"soG", CUBE_TASK_RUNNING, 3, 0, true},
	{"soX", CUBE_TASK_RUNNING, 3, 0, true},
	{"X", CUBE_TASK_SCHEDULED, 0, 0, true},
};

static void say_letter(char c, bool wrong) {
	struct cube_msg m;
	uint64_t out = c == '+' ? 0 : task(id)->row.out_end;
	switch (c) {
	case '+': turn(); return;
	case 's': m = about(id, CUBE_MSG_STARTED); break;
	case 'o': m = msg_log(id, CUBE_STDOUT, out, "abc"); break;
	case 'O': m = msg_log(id, CUBE_STDOUT, out - 3, "abcdef"); break;
	case 'e': m = msg_log(id, CUBE_STDERR, task(id)->row.err_end, "abc"); break;
	case 'G': m = msg_log(id, CUBE_STDOUT, out + 1, "abc"); break;
	default: m = msg_exit(id, CUBE_EXIT_EXITED, 0); break;
	}
	if (c == 'X') m.exit.out_end++;
	if (wrong) say_wrong(n1, m);
	else say_ok(n1, m);
}

START_TEST(in_any_order) {
	size_t row = (size_t)_i / 2;
	const char *order = orders[row].order;
	begin_with(_i % 2, "run");
	for (size_t i = 0; order[i]; i++) say_letter(order[i], orders[row].wrong && !order[i + 1]);
	turn();
	struct cube_task_row r = row_of(id);
	ck_assert_uint_eq(r.state, orders[row].state);
	ck_assert_uint_eq(r.out_end, orders[row].out);
	ck_assert_uint_eq(r.err_end, orders[row].err);
	if (!orders[row].wrong) expect_end(id, CUBE_TASK_COMPLETED, CUBE_EXIT_EXITED, 0);
	ck_assert_uint_eq(heard(n1, CUBE_MSG_FORGET, id), !orders[row].wrong);
	ck_assert_uint_eq(cube_seat_of(n1)->load, orders[row].wrong);
	for (int i = 0; i < 3; i++) turn();
	ck_assert_uint_eq(heard(n1, CUBE_MSG_FORGET, id), !orders[row].wrong);
	ck_assert_uint_eq(w.finals[id], !orders[row].wrong);
	finish();
}
END_TEST

/* What is said of an attempt that is not this one changes nothing, and is answered so that the
 * worker can let go of it. */
static const struct {
	enum cube_msg_type type;
	uint8_t known;
	const char *answer;
} unknowns[] = {
	{CUBE_MSG_ATTEMPT, CUBE_ATTEMPT_RUNNING, "STOP"},
	{CUBE_MSG_ATTEMPT, CUBE_ATTEMPT_QUEUED, "STOP"},
	{CUBE_MSG_ATTEMPT, CUBE_ATTEMPT_FINISHED, "FORGET"},
	{CUBE_MSG_STARTED, 0, ""},
	{CUBE_MSG_LOG, 0, "ACK"},
	{CUBE_MSG_EXIT, 0, "FORGET"},
	{CUBE_MSG_STDIN_ACK, 0, ""},
};

START_TEST(not_this_attempt) {
	begin_with(_i, "cat");
	struct cube_node *n2 = node_ready("n2", 1);
	for (size_t i = 0; i < sizeof unknowns / sizeof unknowns[0] * 4; i++) {
		struct cube_msg m = about(id, unknowns[i / 4].type);
		if (m.type == CUBE_MSG_ATTEMPT) m.known.state = unknowns[i / 4].known;
		if (m.type == CUBE_MSG_LOG)
			m = msg_log(id, CUBE_STDOUT, 1000, "abc"); /* no gap of ours */
		m.attempt += i % 4 == 0;
		m.epoch += i % 4 == 1;
		m.task += i % 4 == 2 ? 500 : 0;
		struct cube_node *n = i % 4 == 3 ? n2 : n1;
		if (m.type == CUBE_MSG_ATTEMPT) {
			say_wrong(n, m); /* the list has ended */
			n->state = CUBE_NODE_STARTING;
		}
		say_ok(n, m);
		n->state = CUBE_NODE_READY;
		unsigned before = w.task_writes;
		turn();
		ck_assert_uint_eq(w.task_writes, before);
		ck_assert_str_eq(heard_all(n), unknowns[i / 4].answer);
		ck_assert_uint_eq(task(id)->row.state, CUBE_TASK_SCHEDULED);
	}
	finish();
}
END_TEST

/* --- times --- */

START_TEST(times) {
	static const struct {
		uint8_t how;
		int64_t from, to;
		bool runs; /* it has a beginning */
	} rows[] = {
		{CUBE_EXIT_EXITED, 5000000000, 5000000100, true},
		{CUBE_EXIT_EXITED, 5, INT64_MAX, true}, /* the host's clock was set */
		{CUBE_EXIT_EXITED, 900, 5, true},
		{CUBE_EXIT_NOT_STARTED, 0, 5000000000, false},
		{CUBE_EXIT_STOPPED, 0, 5000000000, false}, /* while it was queued there */
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin_with(_i, "run");
		struct cube_msg m = msg_exit(id, rows[i].how, 0);
		m.exit.started = rows[i].from;
		m.exit.finished = rows[i].to;
		m.exit.user_us = m.exit.max_rss = UINT64_MAX;
		say_ok(n1, m);
		turn();
		struct cube_task_row r = row_of(id);
		ck_assert_int_eq(r.started != 0, rows[i].runs);
		if (rows[i].runs) ck_assert(r.created <= r.started && r.started <= r.finished);
		ck_assert(r.created <= r.finished && r.user_us <= INT64_MAX);
		finish();
	}
}
END_TEST

/* --- links --- */

static const struct {
	bool runs, known, new_boot, stopping;
	enum cube_task_state state;
	uint8_t how;
	const char *heard;
} links[] = {
	/* known: it goes on */
	{false, true, false, false, CUBE_TASK_SCHEDULED, 0, "ACK ACK"},
	{true, true, false, false, CUBE_TASK_RUNNING, 0, "ACK ACK"},
	{true, true, true, false, CUBE_TASK_RUNNING, 0, "ACK ACK"},
	{true, true, false, true, CUBE_TASK_RUNNING, CUBE_EXIT_STOPPED, "STOP ACK ACK"},
	/* not known: START was lost on its way .. */
	{false, false, false, false, CUBE_TASK_SCHEDULED, 0, "START"},
	/* .. and is not made good where the task was stopped meanwhile */
	{false, false, false, true, CUBE_TASK_FAILED, CUBE_EXIT_STOPPED, "FORGET"},
	/* or it may have run: it is not run again */
	{true, false, false, false, CUBE_TASK_FAILED, CUBE_EXIT_LOST, "FORGET"},
	{true, false, true, false, CUBE_TASK_FAILED, CUBE_EXIT_LOST, "FORGET"},
	{false, false, true, false, CUBE_TASK_FAILED, CUBE_EXIT_LOST, "FORGET"},
	{true, false, true, true, CUBE_TASK_COMPLETED, CUBE_EXIT_STOPPED, "FORGET"},
	{false, false, true, true, CUBE_TASK_FAILED, CUBE_EXIT_STOPPED, "FORGET"},
};

START_TEST(link_comes_again) {
	size_t i = (size_t)_i / 2;
	begin_with(_i % 2, "run");
	uint32_t attempt = task(id)->row.attempt;
	if (links[i].runs) run_it();
	link_down(n1);
	if (links[i].stopping) cube_work_stop(w.work, task(id), 50);
	turn();
	ck_assert_str_eq(heard_all(n1), "");
	come_back(links[i].known, links[i].new_boot);
	ck_assert_str_eq(heard_all(n1), links[i].heard);
	ck_assert_uint_eq(row_of(id).state, links[i].state);
	ck_assert_uint_eq(row_of(id).how, links[i].how);
	ck_assert_uint_eq(row_of(id).attempt, attempt);
	ck_assert_uint_eq(w.finals[id], cube_task_final(links[i].state));
	finish();
}
END_TEST

/* After a manager's end START is another attempt: the first may have been of commits that are lost.
 * What the worker lost bytes of goes on with a hole. */
START_TEST(another_manager) {
	begin_with(_i, "run");
	uint64_t epoch = w.epoch;
	restart();
	come_back(false, false);
	ck_assert_str_eq(heard_all(n1), "START");
	ck_assert_uint_eq(task(id)->row.attempt, 2);
	ck_assert_uint_gt(task(id)->row.epoch, epoch);
	run_it();
	restart();
	link_up(n1);
	struct cube_msg m = about(id, CUBE_MSG_ATTEMPT);
	m.known.state = CUBE_ATTEMPT_RUNNING;
	m.known.out_begin = m.known.out_end = 50;
	say_ok(n1, m);
	link_ready(n1, false);
	turn();
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_ACK)->attempt, 2);
	ck_assert_uint_eq(row_of(id).out_end, 50);
	ck_assert_ptr_nonnull(strstr(row_of(id).reason, "bytes 0 to 50 of its output were lost"));
	m.known.out_begin = 1ull << 61;
	say_wrong(n1, m);
	finish();
}
END_TEST

/* What was taken back: the next attempt's number is above all that a worker knows. */
START_TEST(strangers) {
	begin(_i);
	n1 = node_add("n1", 1);
	id = add("run", 1);
	turn();
	link_up(n1);
	struct cube_msg m = {.type = CUBE_MSG_ATTEMPT, .task = id, .attempt = 7, .epoch = 3};
	m.known.state = CUBE_ATTEMPT_RUNNING;
	say_ok(n1, m);
	m.task = id + 100;
	say_ok(n1, m);
	link_ready(n1, false);
	turn();
	ck_assert_str_eq(heard_all(n1), "STOP STOP START");
	ck_assert_uint_eq(task(id)->row.attempt, 8);
	ck_assert_uint_eq(add("run", 1), id + 101);
	finish();
}
END_TEST

START_TEST(node_ended) {
	begin_with(_i, "run");
	uint64_t queued = add("run", 1);
	turn();
	run_it();
	cube_work_stop(w.work, task(queued), 5);
	node_end(n1, CUBE_NODE_FAILED, "it was switched off");
	turn();
	expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_LOST, 0);
	ck_assert_str_eq(row_of(id).reason, "it was switched off");
	expect_end(queued, CUBE_TASK_FAILED, CUBE_EXIT_STOPPED, 0);
	node_free(n1);
	turn();
	finish();
}
END_TEST

/* A START that cannot be made any more ends the task, as what it is. */
START_TEST(start_again_without_the_file) {
	char path[160], hex[CUBE_SHA256_HEX];
	begin(_i);
	file_here("data");
	cube_sha256_hex(w.file.sha256, hex);
	n1 = node_ready("n1", 1);
	id = add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START");
	link_down(n1);
	snprintf(path, sizeof path, "%s/files/%s", w.dir, hex);
	ck_assert_int_eq(unlink(path), 0);
	come_back(false, false);
	struct cube_task_row r = row_of(id);
	expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, r.value);
	ck_assert_uint_eq(heard(n1, CUBE_MSG_START, 0), 0);
	finish();
}
END_TEST

/* --- ends on request --- */

START_TEST(stop) {
	begin(_i);
	n1 = node_ready("n1", 1);
	id = add("run", 2);
	turn();
	cube_work_stop(w.work, task(id + 1), 5); /* pending */
	turn();
	expect_end(id + 1, CUBE_TASK_FAILED, CUBE_EXIT_STOPPED, 0);
	ck_assert_uint_eq(heard(n1, CUBE_MSG_FORGET, id + 1), 0);
	cube_work_stop(w.work, task(id), UINT32_MAX); /* scheduled; the spec's grace */
	turn();
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_STOP)->grace, 700);
	ck_assert_uint_eq(row_of(id).how, CUBE_EXIT_STOPPED);
	say_ok(n1, about(id, CUBE_MSG_STARTED));
	cube_work_stop(w.work, task(id), 20); /* running; asked for again */
	turn();
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_STOP)->grace, 20);
	ck_assert_uint_eq(heard(n1, CUBE_MSG_STOP, id), 2);
	restart(); /* the row keeps it */
	come_back(true, false);
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_STOP)->grace, 20);
	say_ok(n1, msg_exit(id, CUBE_EXIT_STOPPED, 15));
	turn();
	expect_end(id, CUBE_TASK_COMPLETED, CUBE_EXIT_STOPPED, 15);
	finish();
}
END_TEST

int main(void) {
	Suite *s = suite_create("work_attempts");
	TCase *t = tcase_create("work_attempts");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, in_any_order, 0, 2 * sizeof orders / sizeof orders[0]);
	tcase_add_loop_test(t, not_this_attempt, 0, 2);
	tcase_add_loop_test(t, times, 0, 2);
	tcase_add_loop_test(t, link_comes_again, 0, 2 * sizeof links / sizeof links[0]);
	tcase_add_loop_test(t, another_manager, 0, 2);
	tcase_add_loop_test(t, strangers, 0, 2);
	tcase_add_loop_test(t, node_ended, 0, 2);
	tcase_add_loop_test(t, start_again_without_the_file, 0, 2);
	tcase_add_loop_test(t, stop, 0, 2);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
