/* Signals to tasks that cannot get them now; and which nodes a request names. */
#include "manager_host.h"

#define TRAPS                                                                                      \
	"trap 'echo INT' INT; trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'echo USR2' USR2; " \
	"trap 'echo over; exit 0' QUIT; echo begin; while :; do sleep 0.02; done"

/* What the answer has as `waiting`; -1 where it is not 202. */
static int send_signal(uint64_t id, const char *name, unsigned want) {
	json_t *o = NULL;
	ck_assert_uint_eq((unsigned)http("POST", text_of("/v1/tasks/%" PRIu64 "/signal", id),
					 text_of("{\"signal\":\"%s\"}", name), &o),
			  want);
	int waiting = want == 202 ? (int)json_integer_value(json_object_get(o, "waiting")) : -1;
	json_decref(o);
	return waiting;
}

static void wait_output(uint64_t id, const char *text) {
	for (int i = 0;; i++) {
		size_t n;
		char *logs = get_logs(id, "?stream=stdout", &n);
		bool there = strstr(logs, text);
		free(logs);
		if (there) return;
		ck_assert_msg(i < 1000, "no %s in the output", text);
		poll(NULL, 0, 10);
	}
}

/* In order, once each, and also when the manager is restarted while they wait. */
START_TEST(wait_for_the_node) {
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	uint64_t id = add_task(TRAPS, "");
	wait_task(id, "running");
	wait_output(id, "begin\n");
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	manager_kill();
	manager_start();
	wait_node(seq, "n1", "starting"); /* the daemon does not answer: no link */
	ck_assert_int_eq(send_signal(id, "INT", 202), 1);
	ck_assert_int_eq(send_signal(id, "HUP", 202), 1);
	ck_assert_int_eq(send_signal(id, "INT", 202), 1);
	manager_kill();
	manager_start();
	ck_assert_int_eq(send_signal(id, "USR1", 202), 1);
	ck_assert_int_eq(send_signal(id, "USR2", 202), 1);
	send_signal(id, "QUIT", 409);
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	wait_output(id, "USR2\n");
	ck_assert_int_eq(send_signal(id, "INT", 202), 0);
	for (int i = 0;; i++) { /* once the worker has answered there is room for another one */
		json_t *o = NULL;
		int status = http("POST", text_of("/v1/tasks/%" PRIu64 "/signal", id),
				  "{\"signal\":\"QUIT\"}", &o);
		json_decref(o);
		if (status == 202) break;
		ck_assert_int_eq(status, 409);
		ck_assert_int_lt(i, 1500);
		poll(NULL, 0, 10);
	}
	wait_task(id, "completed");
	expect_how(id, "exited");
}
END_TEST

/* The host has it, and has no place for it yet. */
START_TEST(wait_for_the_start) {
	manager_start();
	add_node("n1", 1);
	wait_node(0, "n1", "ready");
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	uint64_t id = add_task("exec sleep 1000", "");
	wait_task(id, "scheduled");
	ck_assert_int_eq(send_signal(id, "KILL", 202), 1);
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	wait_task(id, "failed");
	expect_how(id, "signaled");
}
END_TEST

/* A stop that is asked for as well is kept, too. */
START_TEST(stop_after_signal) {
	manager_start();
	add_node("n1", 1);
	uint64_t seq = wait_node(0, "n1", "ready");
	uint64_t id = add_task("trap : INT; sleep 1000 & while :; do wait; done", "");
	wait_task(id, "running");
	pid_t daemon = find_daemon();
	ck_assert_int_eq(kill(daemon, SIGSTOP), 0);
	manager_kill();
	manager_start();
	wait_node(seq, "n1", "starting");
	ck_assert_int_eq(send_signal(id, "INT", 202), 1);
	ck_assert_int_eq(http("DELETE", text_of("/v1/tasks/%" PRIu64 "?grace=0", id), NULL, NULL),
			 202);
	ck_assert_int_eq(kill(daemon, SIGCONT), 0);
	wait_task(id, "completed");
	expect_how(id, "stopped");
}
END_TEST

/* ---- nodes of a request -----------------------------------------------------------------------
 */

static const struct {
	const char *more;
	int status, count;
} REQUESTS[] = {
	{"", 201, 1},
	{",\"nodes\":[\"n1\"]", 201, 1},
	{",\"nodes\":[\"n1\",\"n2\"]", 201, 2},
	{",\"nodes\":[\"n2\",\"n1\",\"n2\"]", 201, 2},
	{",\"nodes\":[\"n1\",\"n2\"],\"count\":1", 201, 1},
	{",\"nodes\":[\"n1\",\"n2\"],\"count\":5", 201, 5},
	{",\"nodes\":[\"n1\",\"n2\"],\"all\":true", 201, 2},
	{",\"nodes\":[\"n1\",\"n1\"],\"all\":true", 201, 1},
	{",\"nodes\":[\"n1\",\"n9\"]", 404, 0},
	{",\"nodes\":[\"n1\",\"n2\"],\"stdin\":true", 400, 0},
	{",\"nodes\":[]", 400, 0},
};

START_TEST(nodes_named) {
	manager_start();
	add_node("n1", 4);
	add_node("n2", 4);
	wait_node(0, "n1", "ready");
	wait_node(0, "n2", "ready");
	for (size_t i = 0; i < sizeof REQUESTS / sizeof *REQUESTS; i++) {
		json_t *o = NULL;
		int status = http("POST", "/v1/tasks",
				  text_of("{\"argv\":[\"true\"]%s}", REQUESTS[i].more), &o);
		ck_assert_msg(status == REQUESTS[i].status, "%s: %d", REQUESTS[i].more, status);
		ck_assert_int_eq(json_integer_value(json_object_get(o, "count")),
				 REQUESTS[i].count);
		uint64_t first = (uint64_t)json_integer_value(json_object_get(o, "first"));
		for (int n = 0; n < REQUESTS[i].count; n++)
			wait_task(first + (uint64_t)n, "completed");
		json_decref(o);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("signals");
	TCase *t = tcase_create("signals");
	tcase_set_timeout(t, 40);
	tcase_add_checked_fixture(t, site_open, site_close);
	tcase_add_test(t, wait_for_the_node);
	tcase_add_test(t, wait_for_the_start);
	tcase_add_test(t, stop_after_signal);
	tcase_add_test(t, nodes_named);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
