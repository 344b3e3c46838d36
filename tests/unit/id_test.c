#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cube/id.h"

START_TEST(random_fills_exactly) {
	for (size_t n = 0; n < 300; n++) {
		uint8_t *p = calloc(1, n + 1);
		bool varied = false;

		cube_id_random(p, n);
		ck_assert_uint_eq(p[n], 0);
		for (size_t i = 0; i < n; i++) varied |= p[i] != 0;
		ck_assert(n < 16 || varied); /* 128 zero bits in a row do not happen */
		free(p);
	}
}
END_TEST

START_TEST(ids_differ) {
	uint64_t ids[500];

	for (size_t i = 0; i < 500; i++) {
		ids[i] = cube_id_u64();
		if (ids[i] == 0) ck_abort_msg("id 0");
		for (size_t j = 0; j < i; j++)
			if (ids[i] == ids[j]) ck_abort_msg("same id twice");
	}
}
END_TEST

START_TEST(hex) {
	static const struct {
		uint64_t id;
		const char *text;
	} rows[] = {
		{0, "0000000000000000"},
		{1, "0000000000000001"},
		{0x0123456789abcdef, "0123456789abcdef"},
		{UINT64_MAX, "ffffffffffffffff"},
	};
	char text[CUBE_ID_HEX];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t id = 5;

		ck_assert_str_eq(cube_id_hex(rows[i].id, text), rows[i].text);
		ck_assert_int_eq(cube_id_unhex(rows[i].text, &id), 0);
		ck_assert_uint_eq(id, rows[i].id);
	}
}
END_TEST

START_TEST(unhex_is_strict) {
	static const char good[] = "0123456789abcdef";
	uint64_t id = 5;

	for (size_t n = 0; n < 16; n++) {
		char *cut = strndup(good, n);

		ck_assert_int_eq(cube_id_unhex(cut, &id), -1);
		free(cut);
	}
	ck_assert_int_eq(cube_id_unhex("0123456789abcdef0", &id), -1);
	for (size_t i = 0; i < 16; i++)
		for (int c = 1; c < 256; c++) {
			bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
			char bad[sizeof good];
			uint64_t got;

			memcpy(bad, good, sizeof good);
			bad[i] = (char)c;
			if ((cube_id_unhex(bad, &got) == 0) != digit)
				ck_abort_msg("byte %d at %zu", c, i);
		}
	ck_assert_uint_eq(id, 5);
}
END_TEST

int main(void) {
	Suite *s = suite_create("id");
	TCase *tc = tcase_create("id");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, random_fills_exactly);
	tcase_add_test(tc, ids_differ);
	tcase_add_test(tc, hex);
	tcase_add_test(tc, unhex_is_strict);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
