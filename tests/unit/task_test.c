#include <check.h>
#include <errno.h>

#include "cube/task.h"

#define P CUBE_TASK_PENDING
#define S CUBE_TASK_SCHEDULED
#define R CUBE_TASK_RUNNING
#define C CUBE_TASK_COMPLETED
#define F CUBE_TASK_FAILED

static const struct {
	enum cube_task_state from, to;
	bool allowed;
} transitions[] = {
	{P, P, false}, {P, S, true},  {P, R, false}, {P, C, false}, {P, F, true},
	{S, P, false}, {S, S, true},  {S, R, true},  {S, C, false}, {S, F, true},
	{R, P, false}, {R, S, true},  {R, R, true},  {R, C, true},  {R, F, true},
	{C, P, false}, {C, S, false}, {C, R, false}, {C, C, false}, {C, F, false},
	{F, P, false}, {F, S, true},  {F, R, false}, {F, C, false}, {F, F, false},
};

START_TEST(the_25_transitions) {
	ck_assert_uint_eq(sizeof transitions / sizeof transitions[0], 25);
	for (size_t i = 0; i < 25; i++)
		if (cube_task_allows(transitions[i].from, transitions[i].to) !=
		    transitions[i].allowed)
			ck_abort_msg("%s -> %s", cube_task_state_name(transitions[i].from),
				     cube_task_state_name(transitions[i].to));
}
END_TEST

START_TEST(outside_the_table) {
	for (int i = -3; i < 300; i++) {
		if (i >= 0 && i < CUBE_TASK_STATES) continue;
		ck_assert(!cube_task_allows((enum cube_task_state)i, S));
		ck_assert(!cube_task_allows(P, (enum cube_task_state)i));
		ck_assert(!cube_task_final((enum cube_task_state)i));
		ck_assert_str_eq(cube_task_state_name((enum cube_task_state)i), "?");
	}
}
END_TEST

START_TEST(state_names) {
	static const char *const want[] = {"pending", "scheduled", "running", "completed",
					   "failed"};
	enum cube_task_state state;

	ck_assert_int_eq(CUBE_TASK_STATES, 5);
	for (int i = 0; i < 5; i++) {
		ck_assert_str_eq(cube_task_state_name((enum cube_task_state)i), want[i]);
		ck_assert_int_eq(cube_task_state_parse(want[i], &state), 0);
		ck_assert_int_eq(state, i);
	}
	state = R;
	ck_assert_int_eq(cube_task_state_parse("Pending", &state), CUBE_EUSAGE);
	ck_assert_int_eq(cube_task_state_parse("", &state), CUBE_EUSAGE);
	ck_assert_int_eq(cube_task_state_parse("runningx", &state), CUBE_EUSAGE);
	ck_assert_int_eq(state, R);
	ck_assert(cube_task_final(C) && cube_task_final(F));
	ck_assert(!cube_task_final(P) && !cube_task_final(S) && !cube_task_final(R));
}
END_TEST

START_TEST(ends) {
	static const struct {
		uint8_t how;
		int32_t value;
		bool was_running;
		enum cube_task_state outcome;
		int code;
	} rows[] = {
		{CUBE_EXIT_EXITED, 0, true, C, 0},
		{CUBE_EXIT_EXITED, 0, false, C, 0}, /* it ended before STARTED was seen */
		{CUBE_EXIT_EXITED, 1, true, F, 1},
		{CUBE_EXIT_EXITED, 255, true, F, 255},
		{CUBE_EXIT_EXITED, 256, true, F, 125}, /* a peer's nonsense */
		{CUBE_EXIT_EXITED, -1, true, F, 125},
		{CUBE_EXIT_SIGNALED, 9, true, F, 137},
		{CUBE_EXIT_SIGNALED, 64, true, F, 192},
		{CUBE_EXIT_SIGNALED, 0, true, F, 125},
		{CUBE_EXIT_SIGNALED, INT32_MAX, true, F, 125},
		{CUBE_EXIT_NOT_STARTED, ENOENT, false, F, 127},
		{CUBE_EXIT_NOT_STARTED, EACCES, false, F, 126},
		{CUBE_EXIT_NOT_STARTED, ENOEXEC, false, F, 126},
		{CUBE_EXIT_NOT_STARTED, EAGAIN, false, F, 125},
		{CUBE_EXIT_NOT_STARTED, ENOMEM, false, F, 125},
		{CUBE_EXIT_NOT_STARTED, 0, false, F, 125},
		{CUBE_EXIT_TIMEOUT, 15, true, F, 124},
		{CUBE_EXIT_STOPPED, 15, true, C, 143},
		{CUBE_EXIT_STOPPED, 9, true, C, 137},
		{CUBE_EXIT_STOPPED, 0, true, C, 143},
		{CUBE_EXIT_STOPPED, 0, false, F, 143},
		{CUBE_EXIT_LOST, 0, true, F, 125},
		{200, 0, true, F, 125},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ck_assert_int_eq(cube_task_outcome(rows[i].how, rows[i].value, rows[i].was_running),
				 rows[i].outcome);
		ck_assert_int_eq(cube_task_exit_code(rows[i].how, rows[i].value), rows[i].code);
	}
}
END_TEST

START_TEST(how_names) {
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_EXITED), "exited");
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_SIGNALED), "signaled");
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_NOT_STARTED), "not-started");
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_TIMEOUT), "timeout");
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_STOPPED), "stopped");
	ck_assert_str_eq(cube_task_how_name(CUBE_EXIT_LOST), "lost");
	ck_assert_str_eq(cube_task_how_name(6), "?");
	ck_assert_str_eq(cube_task_how_name(255), "?");
}
END_TEST

int main(void) {
	Suite *s = suite_create("task");
	TCase *tc = tcase_create("task");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, the_25_transitions);
	tcase_add_test(tc, outside_the_table);
	tcase_add_test(tc, state_names);
	tcase_add_test(tc, ends);
	tcase_add_test(tc, how_names);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
