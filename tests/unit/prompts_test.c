/* Questions for people: who is asked, who gets the answer, and how long it is kept. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/prompts.h"
#include "cube/clock.h"

enum { MANY = 5 };

static uint64_t now = 1000 * CUBE_NS_PER_S;
static uint64_t fake_now(void) {
	return now;
}
static const struct cube_clock_source fake_clocks = {.mono = fake_now};

static struct cube_loop *loop;
static struct cube_prompts *p;
static struct cube_prompts_watcher watcher;
static int told;

struct node {
	struct cube_asker asker;
	char name[8], got[64]; /* "" nothing, "-" none, else the answers, each after a blank */
	char why[64];
	int answers, end_with; /* CUBE_AGAIN: goes on after the answer */
};
static struct node nodes[MANY];

static void on_answer(void *arg, const char *const *answers, const char *why) {
	struct node *n = arg;
	n->answers++;
	*n->got = 0;
	snprintf(n->why, sizeof n->why, "%s", why ? why : "");
	if (!answers) snprintf(n->got, sizeof n->got, "-");
	for (int i = 0; answers && answers[i] && i < 2; i++) {
		size_t used = strlen(n->got);
		snprintf(n->got + used, sizeof n->got - used, " %s", answers[i]);
	}
	if (!answers || n->end_with != CUBE_AGAIN)
		cube_prompts_end(p, &n->asker, answers ? n->end_with : CUBE_ELOGIN);
}

static void on_changed(void *arg) {
	told++;
}

static void setup(void) {
	cube_clock_set_source(&fake_clocks);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0);
	ck_assert_int_eq(cube_prompts_new(loop, &p, NULL), 0);
	watcher = (struct cube_prompts_watcher){.changed = on_changed};
	told = 0;
	cube_prompts_watch(p, &watcher);
	for (int i = 0; i < MANY; i++) {
		struct node *n = &nodes[i];
		*n = (struct node){.end_with = CUBE_AGAIN};
		snprintf(n->name, sizeof n->name, "n%d", i);
		n->asker = (struct cube_asker){.name = n->name, .answer = on_answer, .arg = n};
		cube_prompts_begin(p, &n->asker, true);
	}
}

static void teardown(void) {
	for (int i = 0; i < MANY; i++) cube_prompts_end(p, &nodes[i].asker, CUBE_ECANCELED);
	ck_assert_ptr_null(cube_prompts_next(p, NULL));
	cube_prompts_free(p);
	cube_loop_free(loop);
	cube_clock_set_source(NULL);
}

static void pass_time(unsigned seconds) {
	now += seconds * CUBE_NS_PER_S;
	ck_assert_int_eq(cube_loop_turn(loop, 0, NULL), 0);
}

static void ask_as(int i, enum cube_ask_kind kind, const char *key, bool again) {
	struct cube_ask ask = {.kind = kind, .key = key, .title = "", .n = 1, .again = again};
	ask.prompts[0].text = "Well: ";
	cube_prompts_ask(p, &nodes[i].asker, &ask);
}
static void ask(int i, enum cube_ask_kind kind) {
	ask_as(i, kind, "root", false);
}
static void ask_all(enum cube_ask_kind kind) {
	for (int i = 0; i < MANY; i++) ask(i, kind);
}
static void end(int i, int code) {
	cube_prompts_end(p, &nodes[i].asker, code);
}
static void begin(int i, bool may_ask) {
	*nodes[i].got = 0;
	nodes[i].answers = 0;
	cube_prompts_begin(p, &nodes[i].asker, may_ask);
}
static void passed(int i) {
	cube_prompts_passed(p, &nodes[i].asker);
}
static void expect(int i, const char *got) {
	ck_assert_msg(strcmp(nodes[i].got, got) == 0, "%s got '%s', not '%s'", nodes[i].name,
		      nodes[i].got, got);
}
static void expect_why(int i, const char *word) {
	expect(i, "-");
	ck_assert_msg(strstr(nodes[i].why, word) != NULL, "%s", nodes[i].why);
}
static const struct cube_prompt *only(void) {
	const struct cube_prompt *q = cube_prompts_next(p, NULL);
	ck_assert_ptr_nonnull(q);
	ck_assert_ptr_null(cube_prompts_next(p, q));
	return q;
}
static void expect_none(void) {
	ck_assert_ptr_null(cube_prompts_next(p, NULL));
}
static void say(const char *answer) {
	ck_assert_int_eq(cube_prompts_answer(p, only()->id, &answer, 1, NULL), 0);
}
static int askers(const struct cube_prompt *q) {
	int n = 0;
	cube_list_each (&q->askers, a, struct cube_asker, entry) n++;
	return n;
}

/* ---- one answer for many ----------------------------------------------------------------------
 */

START_TEST(one_tries_then_all_get_it) {
	ask_all(CUBE_ASK_PASSWORD);
	ck_assert_int_eq(askers(only()), MANY);
	ck_assert_str_eq(only()->texts[0], "Well: ");
	uint64_t id = only()->id;
	say("secret");
	expect(0, " secret");
	for (int i = 1; i < MANY; i++) expect(i, "");
	expect_none(); /* nothing is to be answered meanwhile */
	const char *late = "late";
	ck_assert_int_eq(cube_prompts_answer(p, id, &late, 1, NULL), CUBE_ENOTFOUND);
	passed(0);
	for (int i = 1; i < MANY; i++) expect(i, " secret");
	/* One that comes later gets it at once, as long as others are at work. */
	end(4, 0);
	begin(4, true);
	ask(4, CUBE_ASK_PASSWORD);
	expect(4, " secret");
}
END_TEST

START_TEST(others_want_other_answers) {
	ask(0, CUBE_ASK_PASSWORD);
	ask_as(1, CUBE_ASK_PASSWORD, "someone", false);
	ask(2, CUBE_ASK_BECOME);
	const struct cube_prompt *q = cube_prompts_next(p, NULL);
	ck_assert_str_eq(q->key, "root");
	q = cube_prompts_next(p, q);
	ck_assert_str_eq(q->key, "someone");
	q = cube_prompts_next(p, q);
	ck_assert_int_eq(q->kind, CUBE_ASK_BECOME);
	ck_assert_ptr_null(cube_prompts_next(p, q));
}
END_TEST

START_TEST(refused_costs_one) {
	ask_all(CUBE_ASK_PASSWORD);
	uint64_t id = only()->id;
	say("wrong");
	end(0, CUBE_ELOGIN);
	const struct cube_prompt *q = only();
	ck_assert_uint_ne(q->id, id);
	ck_assert_str_eq(q->refused_by, "n0");
	ck_assert_int_eq(askers(q), MANY - 1);
	for (int i = 1; i < MANY; i++) expect(i, "");
	say("right");
	expect(1, " right");
	passed(1);
	for (int i = 2; i < MANY; i++) expect(i, " right");
	ck_assert_int_eq(nodes[0].answers, 1);
}
END_TEST

/* A host that asks once more tells the same. */
START_TEST(asked_again_is_refused) {
	ask_all(CUBE_ASK_PASSWORD);
	say("wrong");
	ask_as(0, CUBE_ASK_PASSWORD, "root", true);
	expect_why(0, "refused");
	ck_assert_str_eq(only()->refused_by, "n0");
	ck_assert_int_eq(askers(only()), MANY - 1);
}
END_TEST

START_TEST(three_wrong_ones_are_enough) {
	ask_all(CUBE_ASK_PASSWORD);
	for (int i = 0; i < 3; i++) {
		say("wrong");
		end(i, CUBE_ELOGIN);
	}
	expect_none();
	expect_why(3, "three");
	expect_why(4, "three");
}
END_TEST

/* A link that breaks says nothing about the answer. */
START_TEST(next_one_tries) {
	ask_all(CUBE_ASK_PASSWORD);
	say("secret");
	end(0, CUBE_ECONNECT);
	expect(1, " secret");
	expect_none();
	nodes[2].end_with = CUBE_ECONNECT; /* while it is being given */
	end(1, CUBE_ECONNECT);
	expect(2, " secret");
	expect(3, " secret");
	expect(4, "");
	passed(3);
	expect(4, " secret");
}
END_TEST

START_TEST(nobody_is_left_to_try) {
	ask(0, CUBE_ASK_PASSWORD);
	say("secret");
	end(0, CUBE_ECONNECT);
	ask(1, CUBE_ASK_PASSWORD); /* nobody accepted it: asked */
	expect(1, "");
	end(1, CUBE_ECONNECT);
	expect_none();
}
END_TEST

START_TEST(one_refuses_what_others_took) {
	ask_all(CUBE_ASK_BECOME);
	say("secret");
	passed(0);
	nodes[2].end_with = CUBE_ELOGIN;
	end(2, CUBE_ELOGIN);
	expect_none();
	/* Its next round is not fed with the same; a person tells another one. */
	begin(2, true);
	ask(2, CUBE_ASK_BECOME);
	expect(2, "");
	nodes[2].end_with = CUBE_AGAIN;
	say("other");
	end(2, 0);
	begin(2, false);
	ask(2, CUBE_ASK_BECOME);
	expect(2, " other");
	end(2, 0);
	/* The others keep what works for them. */
	end(1, 0);
	begin(1, false);
	ask(1, CUBE_ASK_BECOME);
	expect(1, " secret");
}
END_TEST

/* A person tells the same once more, and another one takes it: who refused it is not fed with it.
 */
START_TEST(refused_then_taken_by_another) {
	ask_all(CUBE_ASK_BECOME);
	say("secret");
	end(0, CUBE_ELOGIN);
	say("secret");
	passed(1);
	begin(0, true);
	ask(0, CUBE_ASK_BECOME);
	expect(0, "");
	say("its own");
	expect(0, " its own");
}
END_TEST

/* ---- kinds ------------------------------------------------------------------------------------
 */

START_TEST(passwords_go_with_the_last) {
	ask_all(CUBE_ASK_PASSWORD);
	say("secret");
	for (int i = 0; i < MANY; i++) end(i, 0);
	begin(0, false);
	ask(0, CUBE_ASK_PASSWORD);
	expect_why(0, "nobody");
}
END_TEST

START_TEST(these_stay) {
	enum cube_ask_kind kind = _i ? CUBE_ASK_PASSPHRASE : CUBE_ASK_BECOME;
	ask_all(kind);
	say("secret");
	for (int i = 0; i < MANY; i++) end(i, 0);
	for (int i = 0; i < MANY; i++) {
		begin(i, false);
		ask(i, kind);
		expect(i, " secret");
		end(i, CUBE_ECONNECT);
	}
	cube_prompts_forget(p);
	begin(0, false);
	ask(0, kind);
	expect_why(0, "nobody");
}
END_TEST

START_TEST(keyboard_is_ones_own) {
	struct cube_ask two = {.kind = CUBE_ASK_KEYBOARD, .key = "", .title = "PAM", .n = 2};
	const char *const answers[] = {"code", "", NULL};
	two.prompts[0].text = "Code: ";
	two.prompts[1].text = "\x1b[2J: ";
	two.prompts[1].echo = true;
	cube_prompts_ask(p, &nodes[0].asker, &two);
	cube_prompts_ask(p, &nodes[1].asker, &two);
	const struct cube_prompt *q = cube_prompts_next(p, NULL);
	ck_assert_str_eq(q->title, "PAM");
	ck_assert(!q->echo[0] && q->echo[1]);
	ck_assert_int_eq(cube_prompts_answer(p, q->id, answers, 1, NULL), CUBE_EUSAGE);
	ck_assert_int_eq(cube_prompts_answer(p, q->id, answers, 2, NULL), 0);
	expect(0, " code ");
	passed(0);
	ck_assert_int_eq(askers(only()), 1);
	expect(1, "");
	/* The same once more: the answer was wrong, and no second one is tried. */
	cube_prompts_answer(p, only()->id, answers, 2, NULL);
	two.again = true;
	cube_prompts_ask(p, &nodes[1].asker, &two);
	expect_why(1, "refused");
	/* Nothing to be answered. */
	two.n = 0;
	two.again = false;
	cube_prompts_ask(p, &nodes[2].asker, &two);
	expect(2, "");
	ck_assert_int_eq(nodes[2].answers, 1);
	expect_none();
}
END_TEST

/* No host counts these: asked three times. */
START_TEST(wrong_passphrase) {
	ask_all(CUBE_ASK_PASSPHRASE);
	for (int i = 0; i < 3; i++) {
		say("wrong");
		ck_assert_int_eq(nodes[0].answers, i + 1);
		ask_as(0, CUBE_ASK_PASSPHRASE, "root", true);
		if (i == 2) break;
		ck_assert_int_eq(askers(only()), MANY);
		ck_assert_str_eq(only()->refused_by, "n0");
	}
	for (int i = 0; i < MANY; i++) expect_why(i, "three");
}
END_TEST

/* A key that could be read is told by what comes next. */
START_TEST(passphrase_is_right_when_it_goes_on) {
	ask_all(CUBE_ASK_PASSPHRASE);
	say("phrase");
	ask(0, CUBE_ASK_PASSWORD);
	for (int i = 1; i < MANY; i++) expect(i, " phrase");
	ck_assert_int_eq(only()->kind, CUBE_ASK_PASSWORD);
	/* That nobody answers it is no fault of the passphrase. */
	cube_prompts_answer(p, only()->id, NULL, 0, NULL);
	expect_why(0, "cancelled");
	begin(0, false);
	ask(0, CUBE_ASK_PASSPHRASE);
	expect(0, " phrase");
}
END_TEST

/* ---- nobody there -----------------------------------------------------------------------------
 */

START_TEST(not_to_be_asked) {
	begin(0, false);
	ask(0, CUBE_ASK_PASSWORD);
	expect_why(0, "nobody");
	expect_none();
}
END_TEST

START_TEST(nobody_comes) {
	cube_prompts_unwatch(p, &watcher);
	ask(0, CUBE_ASK_PASSWORD);
	pass_time(9);
	expect(0, "");
	cube_prompts_watch(p, &watcher);
	pass_time(50);
	expect(0, "");
	ask(1, CUBE_ASK_PASSWORD);
	cube_prompts_unwatch(p, &watcher);
	pass_time(9);
	expect(0, "");
	pass_time(1);
	expect_why(0, "nobody");
	expect_why(1, "nobody");
	expect_none();
}
END_TEST

START_TEST(nobody_answers) {
	ask(0, CUBE_ASK_PASSWORD);
	pass_time(60);
	ask(1, CUBE_ASK_PASSWORD);
	pass_time(39);
	expect(0, "");
	pass_time(1);
	expect_why(0, "100 s");
	ck_assert_int_eq(askers(only()), 1);
	pass_time(60);
	expect_why(1, "100 s");
	expect_none();
}
END_TEST

START_TEST(refused_by_the_person) {
	struct cube_err err;
	ask_all(CUBE_ASK_PASSWORD);
	ck_assert_int_eq(cube_prompts_answer(p, only()->id, NULL, 0, &err), 0);
	for (int i = 0; i < MANY; i++) expect_why(i, "cancelled");
	ck_assert_int_eq(cube_prompts_answer(p, 1, NULL, 0, &err), CUBE_ENOTFOUND);
}
END_TEST

START_TEST(too_long) {
	static char text[CUBE_ASK_ANSWER + 2];
	const char *answer = text;
	memset(text, 'x', sizeof text - 1);
	ask(0, CUBE_ASK_PASSWORD);
	ck_assert_int_eq(cube_prompts_answer(p, only()->id, &answer, 1, NULL), CUBE_EUSAGE);
	text[CUBE_ASK_ANSWER] = 0;
	ck_assert_int_eq(cube_prompts_answer(p, only()->id, &answer, 1, NULL), 0);
}
END_TEST

START_TEST(askers_that_leave) {
	ask_all(CUBE_ASK_PASSWORD);
	uint64_t version = only()->version;
	end(0, CUBE_ECONNECT);
	ck_assert_uint_gt(only()->version, version);
	ck_assert_int_eq(askers(only()), MANY - 1);
	for (int i = 1; i < MANY; i++) end(i, CUBE_ECONNECT);
	expect_none();
}
END_TEST

START_TEST(watchers_are_told) {
	cube_prompts_flush(p);
	told = 0;
	cube_prompts_flush(p);
	ck_assert_int_eq(told, 0);
	ask_all(CUBE_ASK_PASSWORD);
	cube_prompts_flush(p);
	ck_assert_int_eq(told, 1); /* once a turn */
	say("secret");
	cube_prompts_flush(p);
	ck_assert_int_eq(told, 2);
}
END_TEST

int main(void) {
	Suite *s = suite_create("prompts");
	TCase *t = tcase_create("prompts");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_tries_then_all_get_it);
	tcase_add_test(t, others_want_other_answers);
	tcase_add_test(t, refused_costs_one);
	tcase_add_test(t, asked_again_is_refused);
	tcase_add_test(t, three_wrong_ones_are_enough);
	tcase_add_test(t, next_one_tries);
	tcase_add_test(t, nobody_is_left_to_try);
	tcase_add_test(t, one_refuses_what_others_took);
	tcase_add_test(t, refused_then_taken_by_another);
	tcase_add_test(t, passwords_go_with_the_last);
	tcase_add_loop_test(t, these_stay, 0, 2);
	tcase_add_test(t, keyboard_is_ones_own);
	tcase_add_test(t, wrong_passphrase);
	tcase_add_test(t, passphrase_is_right_when_it_goes_on);
	tcase_add_test(t, not_to_be_asked);
	tcase_add_test(t, nobody_comes);
	tcase_add_test(t, nobody_answers);
	tcase_add_test(t, refused_by_the_person);
	tcase_add_test(t, too_long);
	tcase_add_test(t, askers_that_leave);
	tcase_add_test(t, watchers_are_told);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}
