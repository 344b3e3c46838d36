#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/events.h"

static struct cube_loop *loop;
static struct cube_store *store;
static struct cube_turn turn;
static struct cube_events *events;
static unsigned changed, progressed;
static char steps[64];

static void setup(void) {
	changed = progressed = 0;
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_store_memory(&store, NULL), 0);
	cube_turn_init(&turn, loop, store, NULL, NULL);
	ck_assert_int_eq(cube_events_new(&turn, &events, NULL), 0);
}

static void teardown(void) {
	cube_events_free(events);
	cube_store_free(store);
	cube_loop_free(loop);
}

static void on_changed(void *arg) {
	changed++;
}
static void on_progress(void *arg, uint32_t node, const char *step, double progress) {
	progressed++;
	ck_assert_uint_eq(node, 3);
	snprintf(steps + strlen(steps), sizeof steps - strlen(steps), "%s", step);
}

static int check_row(void *arg, const struct cube_event_row *row) {
	unsigned *n = arg;
	++*n;
	ck_assert_uint_eq(row->seq, *n);
	ck_assert_int_gt(row->wall, 0);
	if (row->seq == 2) {
		ck_assert_str_eq(row->kind, "node");
		ck_assert_uint_eq(row->node, 3);
		ck_assert_uint_eq(row->task, 0);
		ck_assert_str_eq(row->new_state, "failed");
		ck_assert_str_eq(row->reason, "why");
	} else {
		ck_assert_str_eq(row->kind, "task");
		ck_assert_uint_eq(row->task, 7);
	}
	return 0;
}

START_TEST(told_after_the_commit) {
	struct cube_events_watcher w = {.changed = on_changed, .progress = on_progress};
	unsigned n = 0;
	cube_events_watch(events, &w);
	cube_events_flush(events);
	ck_assert_uint_eq(changed, 0);
	cube_events_task(events, 7, 3, "", "pending", NULL);
	cube_events_node(events, 3, "ready", "failed", "why");
	cube_events_task(events, 7, 3, "pending", "scheduled", "");
	ck_assert_uint_eq(cube_events_last(events), 3);
	ck_assert_uint_eq(cube_events_committed(events), 0);
	cube_events_flush(events); /* nothing is durable yet */
	ck_assert_uint_eq(changed, 0);
	cube_turn_commit(&turn);
	ck_assert_uint_eq(cube_events_committed(events), 3);
	cube_events_flush(events);
	cube_events_flush(events);
	ck_assert_uint_eq(changed, 1);
	ck_assert_int_eq(store->ops->event_list(store, 0, 0, check_row, &n, NULL), 0);
	ck_assert_uint_eq(n, 3);
	cube_events_progress(events, 3, "pushing", 0.5);
	ck_assert_uint_eq(progressed, 1);
	ck_assert_str_eq(steps, "pushing");
	cube_events_unwatch(&w);
	cube_events_task(events, 7, 3, "", "", "");
	cube_turn_commit(&turn);
	cube_events_flush(events);
	ck_assert_uint_eq(changed, 1);
}
END_TEST

/* The count goes on after a restart, whatever it was. */
START_TEST(numbers_go_on) {
	for (unsigned n = 0; n < 70; n++) {
		cube_events_free(events);
		ck_assert_int_eq(cube_events_new(&turn, &events, NULL), 0);
		ck_assert_uint_eq(cube_events_last(events), n);
		ck_assert_uint_eq(cube_events_committed(events), n);
		cube_events_task(events, 1, 0, "", "pending", "");
		cube_turn_commit(&turn);
	}
}
END_TEST

static struct cube_events_watcher a, b, c;
static void drop_others(void *arg) {
	changed++;
	cube_events_unwatch(&a);
	cube_events_unwatch(&b);
	cube_events_unwatch(&c);
}

START_TEST(watchers_may_go) {
	a.changed = b.changed = c.changed = drop_others;
	cube_events_watch(events, &a);
	cube_events_watch(events, &b);
	cube_events_watch(events, &c);
	cube_events_task(events, 1, 0, "", "pending", "");
	cube_turn_commit(&turn);
	cube_events_flush(events);
	ck_assert_uint_eq(changed, 1);
}
END_TEST

static char notes[256];
static void on_note(void *arg, uint32_t node, const char *text) {
	size_t used = strlen(notes);
	snprintf(notes + used, sizeof notes - used, "%u %s, ", node, text);
}

/* Who follows from an event on hears what was noted since, before it came and after. */
START_TEST(notes_are_kept_for_late_comers) {
	struct cube_events_watcher w = {.note = on_note};
	cube_events_note(events, 1, "n", "early");
	cube_events_task(events, 7, 3, "", "pending", "");
	uint64_t at = cube_events_last(events);
	cube_events_note(events, 1, "n", "one");
	cube_events_task(events, 7, 3, "pending", "scheduled", "");
	cube_events_note(events, 2, "n", "two");
	*notes = 0;
	cube_events_watch(events, &w);
	cube_events_replay(events, &w, at);
	cube_events_note(events, 3, "n", "three");
	ck_assert_str_eq(notes, "1 one, 2 two, 3 three, ");
	cube_events_unwatch(&w);
	for (unsigned i = 0; i < 5000; i++) cube_events_note(events, i, "n", "x");
	*notes = 0;
	cube_events_replay(events, &w, cube_events_last(events) + 1);
	ck_assert_str_eq(notes, "");
	cube_events_replay(events, &w, 0);
	ck_assert_int_eq(strncmp(notes, "904 x, 905 x, ", 14), 0);
	cube_turn_commit(&turn);
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("events");
	Suite *s = suite_create("events");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, told_after_the_commit);
	tcase_add_test(tc, numbers_go_on);
	tcase_add_test(tc, watchers_may_go);
	tcase_add_test(tc, notes_are_kept_for_late_comers);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
