/* Subscribers against the plain way: every one is looked at. */
#include "cube/subscribers.h"

#include <check.h>
#include <stdbool.h>

#include "cube/list.h"

#define N 40

static struct cube_subscribers of;

static struct one {
	struct cube_subscriber sub;
	unsigned calls;
	struct one *takes, *brings; /* along, when it is called */
} all[N];

static uint64_t seed;
static uint64_t rnd(uint64_t n) {
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

static void on_news(void *arg, uint64_t id) {
	struct one *o = arg;
	if (o->sub.of != &of || o->sub.first > id || o->sub.last < id) ck_abort();
	o->calls++;
	if (o->takes) cube_subscriber_remove(&o->takes->sub);
	if (o->brings) cube_subscriber_add(&of, &o->brings->sub);
}

static void range(struct one *o, uint64_t first, uint64_t last) {
	*o = (struct one){.sub = {.first = first, .last = last, .news = on_news, .arg = o}};
}

START_TEST(like_the_plain_way) {
	seed = (uint64_t)_i + 1;
	for (int i = 0; i < N; i++) {
		uint64_t first = rnd(60);
		range(&all[i], first, first + (rnd(2) ? 0 : rnd(rnd(4) ? 8 : 60)));
	}
	for (int i = 0; i < 3000; i++) {
		struct one *o = &all[rnd(N)];
		if (rnd(2)) cube_subscriber_add(&of, &o->sub);
		else cube_subscriber_remove(&o->sub);
		uint64_t id = rnd(130);
		for (int k = 0; k < N; k++) all[k].calls = 0;
		cube_subscribers_tell(&of, id);
		for (int k = 0; k < N; k++) {
			struct cube_subscriber *s = &all[k].sub;
			bool its = s->of && s->first <= id && id <= s->last;
			if (all[k].calls != its) ck_abort_msg("%u calls", all[k].calls);
		}
	}
	cube_subscribers_free(&of);
	for (int k = 0; k < N; k++) ck_assert_ptr_null(all[k].sub.of);
}
END_TEST

/* Whoever is called may go, take others along and bring some: nobody is called twice, or when it
 * has gone. */
START_TEST(changes_meanwhile) {
	seed = (uint64_t)_i + 1;
	for (int i = 0; i < N; i++) {
		range(&all[i], rnd(4), 4 + rnd(4));
		if (rnd(3)) cube_subscriber_add(&of, &all[i].sub);
		if (rnd(3) == 0) all[i].takes = &all[rnd(N)];
		if (rnd(3) == 0) all[i].brings = &all[rnd(N)];
	}
	for (int round = 0; round < 20; round++) {
		for (int k = 0; k < N; k++) all[k].calls = 0;
		cube_subscribers_tell(&of, 4);
		for (int k = 0; k < N; k++) {
			ck_assert_uint_le(all[k].calls, 1);
			if (all[k].sub.of) ck_assert_uint_eq(all[k].calls, 1);
		}
	}
	cube_subscribers_free(&of);
}
END_TEST

/* A hundred thousand that wait for one each: to tell one costs no look at the others. */
START_TEST(of_many) {
	static struct cube_subscriber many[100000];
	static struct one o;
	for (size_t i = 0; i < 100000; i++) {
		many[i] =
			(struct cube_subscriber){.first = i, .last = i, .news = on_news, .arg = &o};
		cube_subscriber_add(&of, &many[i]);
	}
	range(&o, 100000, 100000);
	cube_subscriber_add(&of, &o.sub);
	for (int i = 0; i < 100000; i++) cube_subscribers_tell(&of, 100000);
	ck_assert_uint_eq(o.calls, 100000);
	cube_subscribers_free(&of);
}
END_TEST

int main(void) {
	Suite *s = suite_create("subscribers");
	TCase *tc = tcase_create("subscribers");
	tcase_add_loop_test(tc, like_the_plain_way, 0, 10);
	tcase_add_loop_test(tc, changes_meanwhile, 0, 50);
	tcase_add_test(tc, of_many);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
