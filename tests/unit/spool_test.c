/* The spool against a naive twin: one long array of all bytes ever appended. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/worker/spool.c"

enum { LIMIT = 300000, TOTAL = 3000000, ROUNDS = 60 };

static uint64_t seed;

static uint32_t rnd(uint32_t below) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

struct twin {
	uint8_t *bytes;
	size_t begin, end;
};

static size_t random_size(void) {
	static const uint32_t SIZES[] = {2, 30, 5000, 70000, 400000};

	return rnd(SIZES[rnd(5)]);
}

static void append(struct spool *s, struct twin *t) {
	size_t want = random_size(), n = 0;
	uint8_t *space;
	int rc = spool_reserve(s, want, &space, &n);

	if (t->end - t->begin == LIMIT) {
		ck_assert_int_eq(rc, CUBE_AGAIN);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_le(n, LIMIT - (t->end - t->begin));
	if (n > want) n = want; /* a short read, or nothing at all */
	if (n > TOTAL - t->end) n = TOTAL - t->end;
	for (size_t i = 0; i < n; i++) space[i] = t->bytes[t->end + i] = (uint8_t)rnd(256);
	spool_commit(s, n);
	t->end += n;
}

static void peek(struct spool *s, const struct twin *t) {
	size_t held = t->end - t->begin, from = t->begin + rnd((uint32_t)held + 1), sum = 0, n;
	size_t max = random_size();
	int pieces = 1 + (int)rnd(8), used;
	struct iovec iov[8];

	used = spool_peek(s, from, max, iov, pieces, &n);
	ck_assert_int_le(used, pieces);
	ck_assert_uint_le(n, max);
	ck_assert_uint_le(n, t->end - from);
	if (max && from < t->end) ck_assert_uint_gt(n, 0);
	if (used < pieces) ck_assert_uint_eq(n, max < t->end - from ? max : t->end - from);
	for (int i = 0; i < used; i++) {
		ck_assert_mem_eq(iov[i].iov_base, t->bytes + from + sum, iov[i].iov_len);
		sum += iov[i].iov_len;
	}
	ck_assert_uint_eq(sum, n);
}

static void ack(struct spool *s, struct twin *t) {
	size_t held = t->end - t->begin, to = t->begin + rnd((uint32_t)held + 1);

	if (rnd(10) == 0) to = t->end;
	if (rnd(10) == 0) to = rnd((uint32_t)t->begin + 1); /* an old one again */
	ck_assert_int_eq(spool_ack(s, to, NULL), 0);
	if (to > t->begin) t->begin = to;
	ck_assert_int_eq(spool_ack(s, t->end + 1 + rnd(1000), NULL), CUBE_EPROTO);
}

START_TEST(model) {
	struct twin t = {.bytes = malloc(TOTAL)};
	struct spool s;

	seed = 0x9e3779b97f4a7c15ull * ((uint64_t)_i + 1); /* _i is shown when the test fails */
	spool_init(&s, LIMIT);
	for (int i = 0; i < 2000 && t.end < TOTAL; i++) {
		uint32_t what = rnd(10);

		if (what < 4) append(&s, &t);
		else if (what < 8) peek(&s, &t);
		else ack(&s, &t);
		ck_assert_uint_eq(spool_begin(&s), t.begin);
		ck_assert_uint_eq(spool_end(&s), t.end);
		ck_assert_uint_eq(spool_room(&s), LIMIT - (t.end - t.begin));
		if (t.begin == t.end && what >= 8) ck_assert_ptr_null(s.head);
	}
	spool_done(&s);
	free(t.bytes);
}
END_TEST

START_TEST(owns_nothing_while_empty) {
	struct spool s;
	uint8_t *space;
	size_t n;

	spool_init(&s, 100);
	ck_assert_ptr_null(s.head);
	ck_assert_int_eq(spool_reserve(&s, 10, &space, &n), 0);
	spool_commit(&s, 0);
	ck_assert_ptr_null(s.head);
	ck_assert_int_eq(spool_reserve(&s, 1000, &space, &n), 0);
	ck_assert_uint_eq(n, 100);
	spool_commit(&s, 100);
	ck_assert_int_eq(spool_reserve(&s, 1, &space, &n), CUBE_AGAIN);
	ck_assert_int_eq(spool_ack(&s, 100, NULL), 0);
	ck_assert_ptr_null(s.head);
	ck_assert_uint_eq(spool_begin(&s), 100);
	spool_done(&s);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("spool");
	TCase *tc = tcase_create("spool");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, model, 0, ROUNDS);
	tcase_add_test(tc, owns_nothing_while_empty);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
