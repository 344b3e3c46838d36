#include "cube/wire.h"

#include <check.h>

#include "hostile.h"

static struct guard guard;

static void reader(struct cube_reader *r, const void *bytes, size_t n) {
	cube_reader_init(r, guard_put(&guard, bytes, n), n);
}

START_TEST(test_bytes_on_the_wire) {
	static const uint8_t want[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e,
				       0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 3,    0,    0,
				       0,    'a',  'b',  'c',  0,    0,    0,    0,    'x'};
	struct cube_buf b;
	cube_buf_init(&b, 1000);
	ck_assert_int_eq(cube_put_u8(&b, 0x01), 0);
	ck_assert_int_eq(cube_put_u16(&b, 0x0203), 0);
	ck_assert_int_eq(cube_put_u32(&b, 0x04050607), 0);
	ck_assert_int_eq(cube_put_u64(&b, 0x08090a0b0c0d0e0f), 0);
	ck_assert_int_eq(cube_put_str(&b, "abc"), 0);
	ck_assert_int_eq(cube_put_bytes(&b, NULL, 0), 0);
	ck_assert_int_eq(cube_put_raw(&b, "x", 1), 0);
	ck_assert_int_eq(cube_put_raw(&b, NULL, 0), 0);
	ck_assert_uint_eq(cube_buf_len(&b), sizeof want);
	ck_assert_mem_eq(cube_buf_data(&b), want, sizeof want);

	struct cube_reader r;
	char text[4];
	reader(&r, want, sizeof want);
	ck_assert_uint_eq(cube_get_u8(&r), 0x01);
	ck_assert_uint_eq(cube_get_u16(&r), 0x0203);
	ck_assert_uint_eq(cube_get_u32(&r), 0x04050607);
	ck_assert_uint_eq(cube_get_u64(&r), 0x08090a0b0c0d0e0f);
	cube_get_str(&r, text, sizeof text);
	ck_assert_str_eq(text, "abc");
	ck_assert_uint_eq(cube_get_bytes(&r, 0).n, 0);
	struct cube_slice raw = cube_get_raw(&r, 1);
	ck_assert_uint_eq(raw.n, 1);
	ck_assert_uint_eq(*raw.p, 'x');
	ck_assert(!r.bad && r.p == r.end);
	ck_assert_uint_eq(cube_get_u8(&r), 0);
	ck_assert(r.bad);
	cube_buf_done(&b);
}
END_TEST

START_TEST(test_poke_and_peek) {
	uint8_t p[4];
	cube_poke_u32(p, 0xfedcba98);
	ck_assert_mem_eq(p, "\x98\xba\xdc\xfe", 4);
	ck_assert_uint_eq(cube_peek_u32(p), 0xfedcba98);
}
END_TEST

/* Each kind of read one byte short of what it needs: bad, empty, and bad for good. */
START_TEST(test_short_reads) {
	static const uint8_t bytes[40] = {30}; /* as a length: 30 bytes follow */
	for (int kind = 0; kind < 7; kind++) {
		static const size_t needs[] = {1, 2, 4, 8, 34, 32, 34};
		for (size_t n = 0; n < needs[kind]; n++) {
			struct cube_reader r;
			char text[64] = "old";
			reader(&r, bytes, n);
			switch (kind) {
			case 0: ck_assert_uint_eq(cube_get_u8(&r), 0); break;
			case 1: ck_assert_uint_eq(cube_get_u16(&r), 0); break;
			case 2: ck_assert_uint_eq(cube_get_u32(&r), 0); break;
			case 3: ck_assert_uint_eq(cube_get_u64(&r), 0); break;
			case 4: ck_assert_uint_eq(cube_get_bytes(&r, 100).n, 0); break;
			case 5: ck_assert_uint_eq(cube_get_raw(&r, 32).n, 0); break;
			case 6:
				cube_get_str(&r, text, sizeof text);
				ck_assert_str_eq(text, "");
				break;
			}
			ck_assert_msg(r.bad, "kind %d with %zu bytes", kind, n);
			ck_assert_uint_eq(cube_get_u8(&r), 0);
			ck_assert_uint_eq(cube_get_raw(&r, 0).n, 0);
			ck_assert_uint_eq(cube_get_bytes(&r, 100).n, 0);
			ck_assert(r.bad);
		}
	}
}
END_TEST

START_TEST(test_huge_lengths) {
	static const uint32_t lengths[] = {4, 5, 0x7fffffff, 0x80000000, 0xfffffffb, 0xffffffff};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		uint8_t bytes[7] = {0, 0, 0, 0, 'a', 'b', 'c'};
		struct cube_reader r;
		cube_poke_u32(bytes, lengths[i]);
		reader(&r, bytes, sizeof bytes);
		ck_assert_uint_eq(cube_get_bytes(&r, SIZE_MAX).n, 0);
		ck_assert(r.bad);
	}
	struct cube_reader r;
	reader(&r, "abc", 3);
	ck_assert_uint_eq(cube_get_raw(&r, SIZE_MAX).n, 0);
	ck_assert(r.bad);
}
END_TEST

START_TEST(test_maximum) {
	static const uint8_t bytes[] = {3, 0, 0, 0, 'a', 'b', 'c'};
	struct cube_reader r;
	reader(&r, bytes, sizeof bytes);
	struct cube_slice s = cube_get_bytes(&r, 3);
	ck_assert_uint_eq(s.n, 3);
	ck_assert_mem_eq(s.p, "abc", 3);
	ck_assert(!r.bad);
	reader(&r, bytes, sizeof bytes);
	ck_assert_uint_eq(cube_get_bytes(&r, 2).n, 0);
	ck_assert(r.bad);
}
END_TEST

START_TEST(test_str) {
	static const struct {
		const char *bytes;
		size_t n, size;
		const char *want; /* NULL: bad */
	} cases[] = {
		{"\3\0\0\0abc", 7, 4, "abc"},
		{"\3\0\0\0abc", 7, 3, NULL},
		{"\0\0\0\0", 4, 1, ""},
		{"\0\0\0\0", 4, 0, NULL},
		{"\3\0\0\0a\0c", 7, 10, NULL},
		{"\1\0\0\0\0", 5, 10, NULL},
		{"\3\0\0\0\xff\xfe\x01", 7, 4, "\xff\xfe\x01"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cube_reader r;
		char text[16] = "old";
		reader(&r, cases[i].bytes, cases[i].n);
		cube_get_str(&r, text, cases[i].size);
		ck_assert_msg(r.bad == !cases[i].want, "case %zu", i);
		if (cases[i].want) ck_assert_str_eq(text, cases[i].want);
		else if (cases[i].size) ck_assert_str_eq(text, "");
	}
}
END_TEST

/* A buffer too small by any amount stays as it was. */
START_TEST(test_full_buffer) {
	for (size_t max = 0; max < 9; max++) {
		struct cube_buf b;
		cube_buf_init(&b, max);
		ck_assert_int_eq(cube_put_bytes(&b, "abcde", 5), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_put_str(&b, "abcde"), CUBE_ETOOBIG);
		ck_assert_int_eq(cube_put_u64(&b, 1), max < 8 ? CUBE_ETOOBIG : 0);
		ck_assert_uint_eq(cube_buf_len(&b), max < 8 ? 0 : 8);
		ck_assert_int_eq(cube_put_bytes(&b, "", SIZE_MAX), CUBE_ETOOBIG);
		cube_buf_done(&b);
	}
}
END_TEST

int main(void) {
	guard_init(&guard, 4096);
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");
	tcase_add_test(t, test_bytes_on_the_wire);
	tcase_add_test(t, test_poke_and_peek);
	tcase_add_test(t, test_short_reads);
	tcase_add_test(t, test_huge_lengths);
	tcase_add_test(t, test_maximum);
	tcase_add_test(t, test_str);
	tcase_add_test(t, test_full_buffer);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	guard_done(&guard);
	return failed ? 1 : 0;
}
