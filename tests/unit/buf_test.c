#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"

/* xorshift64: the same numbers everywhere for one seed. */
static uint64_t next(uint64_t *x) {
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

START_TEST(empty) {
	struct cube_buf b;
	size_t len = 9;
	char *s;

	cube_buf_init(&b, 10);
	ck_assert_uint_eq(cube_buf_len(&b), 0);
	ck_assert_uint_eq(cube_buf_room(&b), 10);
	ck_assert_ptr_nonnull(cube_buf_data(&b));
	ck_assert_str_eq(cube_buf_str(&b), "");
	ck_assert_int_eq(cube_buf_add(&b, NULL, 0), 0);
	cube_buf_consume(&b, 0);
	cube_buf_truncate(&b, 0);
	cube_buf_commit(&b, 0);
	cube_buf_clear(&b);
	ck_assert_ptr_null(b.data);
	s = cube_buf_take(&b, &len);
	ck_assert_str_eq(s, "");
	ck_assert_uint_eq(len, 0);
	free(s);
	cube_buf_done(&b);
	cube_buf_done(NULL);
}
END_TEST

START_TEST(maximum_is_exact) {
	char bytes[300];

	memset(bytes, 'q', sizeof bytes);
	for (size_t max = 0; max < sizeof bytes; max++) {
		struct cube_buf b;
		uint8_t *space;

		cube_buf_init(&b, max);
		ck_assert_int_eq(cube_buf_add(&b, bytes, max + 1), CUBE_ETOOBIG);
		ck_assert_uint_eq(cube_buf_len(&b), 0);
		ck_assert_int_eq(cube_buf_add(&b, bytes, max), 0);
		ck_assert_int_eq(cube_buf_add(&b, bytes, 1), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_buf_addstr(&b, "x"), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_buf_printf(&b, "%d", 1), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_buf_reserve(&b, 1, &space), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_buf_reserve(&b, SIZE_MAX, &space), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_buf_printf(&b, "%s", ""), 0);
		ck_assert_uint_eq(strlen(cube_buf_str(&b)), max);
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(printf_of_each_length) {
	char text[600];

	for (size_t n = 0; n < sizeof text; n++) {
		struct cube_buf b;

		memset(text, 'a', n);
		if (n < sizeof text) text[n ? n - 1 : 0] = '\0';
		cube_buf_init(&b, 2000);
		ck_assert_int_eq(cube_buf_addstr(&b, "start "), 0);
		cube_buf_consume(&b, 1);
		ck_assert_int_eq(cube_buf_printf(&b, "%s|%d", text, 7), 0);
		ck_assert_uint_eq(cube_buf_len(&b), 5 + strlen(text) + 2);
		ck_assert_mem_eq(cube_buf_data(&b), "tart ", 5);
		ck_assert_mem_eq(cube_buf_data(&b) + 5, text, strlen(text));
		ck_assert_str_eq(cube_buf_str(&b) + 5 + strlen(text), "|7");
		cube_buf_done(&b);
	}
}
END_TEST

START_TEST(huge_maximum) {
	struct cube_buf b;

	cube_buf_init(&b, SIZE_MAX);
	ck_assert_int_eq(cube_buf_addstr(&b, "abc"), 0);
	ck_assert_int_eq(cube_buf_addstr(&b, "def"), 0);
	ck_assert_str_eq(cube_buf_str(&b), "abcdef");
	ck_assert_uint_lt(b.cap, 1000);
	cube_buf_done(&b);
}
END_TEST

START_TEST(clear_gives_much_back) {
	static const char bytes[100000];
	struct cube_buf b;

	cube_buf_init(&b, 1000000);
	ck_assert_int_eq(cube_buf_add(&b, bytes, 1000), 0);
	cube_buf_clear(&b);
	ck_assert_uint_gt(b.cap, 0);
	ck_assert_int_eq(cube_buf_add(&b, bytes, sizeof bytes), 0);
	cube_buf_clear(&b);
	ck_assert_uint_eq(b.cap, 0);
	ck_assert_uint_eq(cube_buf_room(&b), 1000000);
	cube_buf_done(&b);
}
END_TEST

/* A queue that is nearly full must not move all its bytes for each small step: count how often
 * the content changes its place. */
START_TEST(consume_is_amortised) {
	static const size_t fills[] = {1, 100, 50000, 99000, 99999};

	for (size_t f = 0; f < sizeof fills / sizeof fills[0]; f++) {
		struct cube_buf b;
		char *bytes = calloc(1, 100000);
		uint64_t moved = 0, steps = 300000;

		cube_buf_init(&b, 100000);
		ck_assert_int_eq(cube_buf_add(&b, bytes, fills[f]), 0);
		for (uint64_t i = 0; i < steps; i++) {
			const uint8_t *expect = cube_buf_data(&b) + 1;

			cube_buf_consume(&b, 1);
			if (cube_buf_len(&b) == 0) expect = b.data; /* nothing to move */
			if (cube_buf_add(&b, "x", 1) < 0) ck_abort_msg("step %d", (int)i);
			if (cube_buf_data(&b) != expect) moved += cube_buf_len(&b);
		}
		ck_assert_uint_lt(moved, steps * 10);
		ck_assert_uint_le(b.cap, 100000 + 100000 / 4 + 64);
		cube_buf_done(&b);
		free(bytes);
	}
}
END_TEST

/* ---- random operations against an array that is copied about naively ---- */

struct twin {
	uint8_t bytes[5000];
	size_t len, max;
};

static void twin_add(struct twin *t, const void *bytes, size_t n) {
	memcpy(t->bytes + t->len, bytes, n);
	t->len += n;
}

static void step_add(struct cube_buf *b, struct twin *t, uint64_t *x) {
	uint8_t bytes[400], *space = NULL;
	size_t n = next(x) % (next(x) % 8 ? 40 : sizeof bytes), part;
	int want = n > t->max - t->len ? CUBE_ETOOBIG : 0;

	for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(next(x) % 255 + 1);
	switch (next(x) % 4) {
	case 0: ck_assert_int_eq(cube_buf_add(b, bytes, n), want); break;
	case 1:
		bytes[n] = '\0';
		ck_assert_int_eq(cube_buf_addstr(b, (char *)bytes), want);
		break;
	case 2:
		bytes[n] = '\0';
		ck_assert_int_eq(cube_buf_printf(b, "%s", (char *)bytes), want);
		break;
	default:
		ck_assert_int_eq(cube_buf_reserve(b, n, &space), want);
		if (want) return;
		part = n ? next(x) % (n + 1) : 0;
		memset(space, 0xee, n);
		if (n) memcpy(space, bytes, part);
		cube_buf_commit(b, part);
		twin_add(t, bytes, part);
		return;
	}
	if (!want) twin_add(t, bytes, n);
}

static void step(struct cube_buf *b, struct twin *t, uint64_t *x) {
	uint64_t what = next(x) % 100;
	size_t n = t->len ? next(x) % (t->len + 1) : 0, len;

	if (what < 55) {
		step_add(b, t, x);
	} else if (what < 90) {
		if (what < 85 && n > 40) n = n % 40;
		cube_buf_consume(b, n);
		memmove(t->bytes, t->bytes + n, t->len - n);
		t->len -= n;
	} else if (what < 96) {
		if (what < 95) n = t->len - n % 30 % (t->len + 1);
		cube_buf_truncate(b, n);
		t->len = n;
	} else if (what == 96) {
		cube_buf_clear(b);
		t->len = 0;
	} else if (what == 97) {
		char *s = cube_buf_take(b, &len);

		ck_assert_uint_eq(len, t->len);
		ck_assert_mem_eq(s, t->bytes, len);
		ck_assert_int_eq(s[len], '\0');
		free(s);
		t->len = 0;
	} else if (what == 98) {
		cube_buf_done(b);
		cube_buf_init(b, t->max);
		t->len = 0;
	} else {
		ck_assert_int_eq(cube_buf_str(b)[t->len], '\0');
	}
}

START_TEST(random_model) {
	static const size_t maxima[] = {0, 1, 7, 100, 127, 128, 129, 1000, 5000 - 400};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		uint64_t x = seed * 0x9e3779b97f4a7c15u;
		struct twin t = {.max = maxima[seed % (sizeof maxima / sizeof maxima[0])]};
		struct cube_buf b;

		cube_buf_init(&b, t.max);
		for (int i = 0; i < 3000; i++) {
			step(&b, &t, &x);
			if (cube_buf_len(&b) != t.len || cube_buf_room(&b) != t.max - t.len ||
			    memcmp(cube_buf_data(&b), t.bytes, t.len))
				ck_abort_msg("seed %d differs after step %d", (int)seed, i);
		}
		cube_buf_done(&b);
	}
}
END_TEST

int main(void) {
	Suite *s = suite_create("buf");
	TCase *tc = tcase_create("buf");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, empty);
	tcase_add_test(tc, maximum_is_exact);
	tcase_add_test(tc, printf_of_each_length);
	tcase_add_test(tc, huge_maximum);
	tcase_add_test(tc, clear_gives_much_back);
	tcase_add_test(tc, consume_is_amortised);
	tcase_add_test(tc, random_model);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
