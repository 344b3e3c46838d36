/* What goes along with tasks, over a fleet that is none: signals, input and files; and streams and
 * uses. Each with both stores. */
#include "work_one.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../../src/work/push.h"

/* --- signals --- */

static void send_signal(int signo, bool waits) {
	bool w_;
	struct cube_err err;
	ck_assert_int_eq(cube_work_signal(w.work, task(id), signo, &w_, &err), 0);
	ck_assert_int_eq(w_, waits);
}

static void expect_signals(const char *letters) {
	size_t at = 0;
	turn();
	for (size_t i = 0; i < n1->link->n; i++)
		if (n1->link->v[i].type == CUBE_MSG_SIGNAL)
			ck_assert_int_eq(n1->link->v[i].signo, letters[at++] - '0');
	ck_assert_uint_eq(at, strlen(letters));
	heard_all(n1);
}

START_TEST(signals) {
	bool waits;
	struct cube_err err;
	begin_with(_i, "run");
	send_signal(2, true); /* it was not started yet */
	send_signal(1, true);
	send_signal(2, true);
	expect_signals("");
	say_ok(n1, about(id, CUBE_MSG_STARTED));
	expect_signals("21");
	send_signal(3, false);
	expect_signals("3");
	send_signal(3, false); /* each time it is asked for */
	expect_signals("3");
	link_down(n1);
	send_signal(6, true);
	ck_assert_int_eq(cube_work_signal(w.work, task(id), 7, &waits, &err), CUBE_ECONFLICT);
	turn();
	restart();
	come_back(true, false);
	expect_signals("2136"); /* none is known to have arrived */
	w.fleet.listener->answered(w.work, n1, task(id)->signalled); /* not after it */
	link_down(n1);
	come_back(true, false);
	expect_signals("2136");
	w.fleet.listener->answered(w.work, n1, task(id)->signalled + 1);
	turn();
	ck_assert_uint_eq(row_of(id).how, 0);
	ck_assert_int_eq(row_of(id).value, 0);
	link_down(n1);
	come_back(true, false);
	expect_signals("");
	send_signal(2, false);
	cube_work_stop(w.work, task(id), 9); /* takes their place in the row */
	turn();
	ck_assert_uint_eq(row_of(id).how, CUBE_EXIT_STOPPED);
	ck_assert_int_eq(row_of(id).value, 9);
	finish();
}
END_TEST

/* --- input --- */

static void expect_input(uint64_t offset, size_t n, bool eof) {
	turn();
	const struct heard *h = last_of(n1, CUBE_MSG_STDIN);
	ck_assert_uint_eq(h->offset, offset);
	ck_assert_uint_eq(h->n, n);
	ck_assert_int_eq(h->eof, eof);
	heard_all(n1);
}

static void ack_input(uint64_t offset) {
	struct cube_msg m = about(id, CUBE_MSG_STDIN_ACK);
	m.ack.offset = offset;
	say_ok(n1, m);
}

START_TEST(input) {
	static uint8_t bytes[300 << 10];
	enum { MOST = 256 << 10 };
	struct cube_err err;
	begin(_i);
	id = add("cat", 1);
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, 10, &err), 10);
	turn();
	n1 = node_ready("n1", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "START STDIN");
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, 5, &err), 5);
	expect_input(10, 5, false);
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, sizeof bytes, &err), MOST - 15);
	expect_input(15, MOST - 15, false);
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, 1, &err), 0);
	run_it();
	ack_input(100);
	ack_input(50); /* said before */
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, 200, &err), 100);
	expect_input(MOST, 100, false);
	link_down(n1);
	cube_work_input_end(w.work, task(id));
	ck_assert_int_eq(cube_work_input(w.work, task(id), bytes, 1, &err), CUBE_ECONFLICT);
	come_back(true, false);
	expect_input(100, MOST, true);
	ack_input(1ull << 62); /* more than was sent */
	ck_assert_uint_eq(task(id)->input_acked, MOST + 100);
	restart(); /* nobody feeds it now */
	come_back(true, false);
	expect_input(0, 0, true);
	ck_assert_int_eq(cube_work_input(w.work, task(add("run", 1)), bytes, 1, &err),
			 CUBE_ECONFLICT);
	finish();
}
END_TEST

/* --- files --- */

static void push_done(bool ok) {
	struct cube_msg m = {.type = CUBE_MSG_PUSH_DONE, .push.ok = ok};
	memcpy(m.push.sha256, w.file.sha256, sizeof m.push.sha256);
	snprintf(m.push.message, sizeof m.push.message, "%s", ok ? "" : "no space left");
	say_ok(n1, m);
}

static void begin_file(int sqlite) {
	begin(sqlite);
	file_here("something");
	n1 = node_ready("n1", 9);
	id = add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START");
}

START_TEST(files_are_sent_once) {
	begin_file(_i);
	add("file", 2); /* all sent already, if not confirmed */
	turn();
	ck_assert_str_eq(heard_all(n1), "START START");
	push_done(true);
	link_down(n1);
	come_back(true, false);
	heard_all(n1);
	add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "START"); /* it is there still */
	link_down(n1);
	come_back(true, true);
	heard_all(n1);
	add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START"); /* another daemon: it is not */
	finish();
}
END_TEST

/* Frames about a task do not overtake its START, which waits for the file. */
START_TEST(behind_a_file) {
	begin(_i);
	file_here("something");
	n1 = node_ready("n1", 9);
	n1->link->full = true;
	n1->state = CUBE_NODE_READY;
	id = add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "");
	n1->link->full = false;
	cube_work_tick(w.work);
	n1->link->full = true; /* no bulk goes out */
	cube_work_stop(w.work, task(id), 5);
	turn();
	ck_assert_str_eq(heard_all(n1), "");
	ck_assert_uint_gt(cube_push_waiting(n1), 0);
	n1->link->full = false;
	turn();
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START STOP");
	finish();
}
END_TEST

static void exit_not_started(int32_t value, const char *message) {
	struct cube_msg m = msg_exit(id, CUBE_EXIT_NOT_STARTED, value);
	snprintf(m.exit.message, sizeof m.exit.message, "%s", message);
	say_ok(n1, m);
	turn();
}

START_TEST(a_file_is_refused) {
	begin_file(_i);
	push_done(false);
	turn();
	ck_assert_uint_eq(task(id)->row.state, CUBE_TASK_SCHEDULED);
	exit_not_started(ESTALE, "no such content");
	expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, 0);
	ck_assert_str_eq(row_of(id).reason, "a file for it was refused: no space left");
	heard_all(n1);
	id = add("file", 1);
	turn();
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START"); /* tried again */
	/* Refused once more, and taken over the next link: that is not why it fails then. */
	push_done(false);
	link_down(n1);
	come_back(false, false);
	ck_assert_str_eq(heard_all(n1), "PUSH PUSH_DATA START");
	push_done(true);
	exit_not_started(ENOENT, "no such program");
	expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, ENOENT);
	ck_assert_str_eq(row_of(id).reason, "no such program");
	finish();
}
END_TEST

/* The host lost it: once it is sent again, as another attempt, which the watcher is not told of as
 * an end. */
START_TEST(a_file_is_lost) {
	begin_file(_i);
	push_done(true);
	exit_not_started(ESTALE, "it was changed");
	ck_assert_str_eq(heard_all(n1), "FORGET PUSH PUSH_DATA START");
	ck_assert_uint_eq(task(id)->row.attempt, 2);
	ck_assert_uint_eq(w.finals[id], 0);
	push_done(true);
	exit_not_started(ESTALE, "it was changed");
	expect_end(id, CUBE_TASK_FAILED, CUBE_EXIT_NOT_STARTED, ESTALE);
	ck_assert_str_eq(heard_all(n1), "FORGET");
	finish();
}
END_TEST

/* --- streams --- */

static unsigned over;
static void on_over(void *arg) {
	over++;
}

static void client_sends(int fd, const struct cube_msg *msg) {
	struct cube_buf b;
	cube_buf_init(&b, 1 << 20);
	if (msg) ck_assert_int_eq(cube_msg_encode(&b, msg), 0);
	else {
		const char *argv[] = {"true", NULL};
		struct cube_msg_open open = {.argv = argv, .dir = ""};
		ck_assert_int_eq(cube_msg_encode_open(&b, &open), 0);
	}
	ck_assert_int_eq(write(fd, cube_buf_data(&b), cube_buf_len(&b)), (ssize_t)cube_buf_len(&b));
	cube_buf_done(&b);
}

/* The client's next frame, of that type. */
static struct cube_msg client_gets(int fd, enum cube_msg_type type) {
	static uint8_t frame[4096];
	struct cube_msg m;
	size_t n = 0, used;
	do {
		while (recv(fd, frame + n, 1, MSG_DONTWAIT) != 1)
			ck_assert_int_eq(cube_loop_turn(w.loop, 0, NULL), 0);
	} while (cube_msg_decode(frame, ++n, &m, &used, NULL));
	ck_assert_int_eq(m.type, type);
	return m;
}

static int stream_to(struct cube_node *n) {
	int fds[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	cube_streams_begin(w.work, n, fds[1], NULL, 0, on_over, NULL);
	return fds[0];
}

static void loop_turns(void) {
	for (int i = 0; i < 4; i++) ck_assert_int_eq(cube_loop_turn(w.loop, 0, NULL), 0);
	turn();
}

START_TEST(streams) {
	begin(_i);
	over = 0;
	n1 = node_ready("n1", 1);
	int a = stream_to(n1), b = stream_to(n1);
	client_sends(a, NULL);
	loop_turns();
	client_sends(b, NULL);
	loop_turns();
	ck_assert_uint_eq(n1->link->v[0].task, 1);
	ck_assert_uint_eq(n1->link->v[1].task, 2);
	ck_assert_str_eq(heard_all(n1), "OPEN OPEN");
	struct cube_msg m = {.type = CUBE_MSG_STREAM_GRANT, .task = 2, .stream.window = 1000};
	say_ok(n1, m);
	ck_assert_uint_eq(client_gets(b, CUBE_MSG_STREAM_GRANT).stream.window, 1000);
	m = (struct cube_msg){.type = CUBE_MSG_STREAM_INPUT};
	m.stream.bytes = (struct cube_slice){(const uint8_t *)"hello", 5};
	client_sends(b, &m);
	client_sends(a, &m); /* without a grant */
	loop_turns();
	loop_turns();
	ck_assert_uint_eq(heard(n1, -1, 2), 1);
	ck_assert_uint_eq(last_of(n1, CUBE_MSG_STREAM_CLOSE)->task, 1);
	client_gets(a, CUBE_MSG_STREAM_CLOSED);
	m = (struct cube_msg){.type = CUBE_MSG_STREAM_OUTPUT, .task = 2, .stream.fd = 1};
	m.stream.bytes = (struct cube_slice){(const uint8_t *)"hello", 5};
	say_wrong(n1, m); /* the client granted nothing */
	link_down(n1);
	ck_assert_int_eq(client_gets(b, CUBE_MSG_STREAM_CLOSED).closed.how, CUBE_EXIT_LOST);
	int c = stream_to(n1);
	ck_assert_int_eq(client_gets(c, CUBE_MSG_STREAM_CLOSED).closed.how, CUBE_EXIT_NOT_STARTED);
	close(a), close(b), close(c);
	loop_turns();
	ck_assert_uint_eq(over, 3);
	finish();
}
END_TEST

/* --- uses --- */

START_TEST(uses) {
	begin_with(_i, "run");
	uint64_t job = task(id)->job->id;
	ck_assert(cube_node_is_used(n1, 0));
	ck_assert(!cube_node_is_used(n1, job));
	cube_work_stop(w.work, task(id), 0);
	ck_assert(!cube_node_is_used(n1, 0));
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	struct cube_use *use = cube_use_new(w.work, pid), *other = cube_use_new(w.work, 0);
	cube_use_add(use, n1);
	n1->once = true;
	ck_assert_ptr_eq(cube_use_find(w.work, cube_use_id(use)), use);
	ck_assert(cube_use_has(use, n1) && !cube_use_has(other, n1) && cube_node_is_used(n1, job));
	cube_uses_prune(w.work);
	ck_assert(n1->once);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	cube_uses_prune(w.work); /* its client is gone: the node stays */
	ck_assert(!n1->once && !cube_node_is_used(n1, 0));
	ck_assert_ptr_nonnull(cube_use_find(w.work, cube_use_id(other)));
	cube_use_free(other);
	finish();
}
END_TEST

int main(void) {
	Suite *s = suite_create("work_along");
	TCase *t = tcase_create("work_along");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, signals, 0, 2);
	tcase_add_loop_test(t, input, 0, 2);
	tcase_add_loop_test(t, files_are_sent_once, 0, 2);
	tcase_add_loop_test(t, behind_a_file, 0, 2);
	tcase_add_loop_test(t, a_file_is_refused, 0, 2);
	tcase_add_loop_test(t, a_file_is_lost, 0, 2);
	tcase_add_loop_test(t, streams, 0, 2);
	tcase_add_loop_test(t, uses, 0, 2);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
