#include <check.h>

#include "cube/err.h"
#include "cube/node.h"

/* Row: from; column: to; in the order of the enum. */
static const char *const table[CUBE_NODE_STATES] = {
	/*               CPPSRLFLGN */
	/* connecting */ ".x...xxx.x",
	/* probing    */ "..xxxxxx.x",
	/* pushing    */ "...x.xxx.x",
	/* starting   */ "..x.xxxx.x",
	/* ready      */ ".....xxx.x",
	/* lost       */ "x.....xx.x",
	/* failed     */ "x......x..",
	/* leaving    */ "......x.x.",
	/* gone       */ "..........",
	/* needs-login*/ "x......x..",
};

START_TEST(transitions) {
	for (int from = 0; from < CUBE_NODE_STATES; from++)
		for (int to = 0; to < CUBE_NODE_STATES; to++) {
			bool want = table[from][to] == 'x';

			if (cube_node_allows((enum cube_node_state)from,
					     (enum cube_node_state)to) != want)
				ck_abort_msg("%s -> %s",
					     cube_node_state_name((enum cube_node_state)from),
					     cube_node_state_name((enum cube_node_state)to));
		}
	ck_assert(!cube_node_allows((enum cube_node_state)10, CUBE_NODE_FAILED));
	ck_assert(!cube_node_allows(CUBE_NODE_READY, (enum cube_node_state)10));
	ck_assert(!cube_node_allows(CUBE_NODE_READY, (enum cube_node_state)255));
}
END_TEST

START_TEST(names) {
	static const char *const want[] = {"connecting", "probing",    "pushing", "starting",
					   "ready",      "lost",       "failed",  "leaving",
					   "gone",       "needs-login"};
	enum cube_node_state state;

	ck_assert_int_eq(CUBE_NODE_STATES, 10);
	for (int i = 0; i < 10; i++) {
		ck_assert_str_eq(cube_node_state_name((enum cube_node_state)i), want[i]);
		ck_assert_int_eq(cube_node_state_parse(want[i], &state), 0);
		ck_assert_int_eq(state, i);
		ck_assert_int_eq(cube_node_joining((enum cube_node_state)i), i < 4);
	}
	state = CUBE_NODE_LOST;
	ck_assert_int_eq(cube_node_state_parse("unknown", &state), CUBE_EUSAGE);
	ck_assert_int_eq(state, CUBE_NODE_LOST);
	ck_assert_str_eq(cube_node_state_name((enum cube_node_state)10), "?");
	ck_assert(!cube_node_joining((enum cube_node_state)200));
}
END_TEST

int main(void) {
	Suite *s = suite_create("node");
	TCase *tc = tcase_create("node");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, transitions);
	tcase_add_test(tc, names);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
