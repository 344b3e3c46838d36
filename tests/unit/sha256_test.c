#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cube/sha256.h"

/* FIPS 180-4 examples and NIST CAVP short messages. */
static const struct {
	const char *text, *hex;
} vectors[] = {
	{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
	{"\x11\xaf", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
	 "lmnopqrsmnopqrstnopqrstu",
	 "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

START_TEST(nist_vectors) {
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		uint8_t digest[CUBE_SHA256_LEN];
		char hex[CUBE_SHA256_HEX];

		cube_sha256_of(vectors[i].text, strlen(vectors[i].text), digest);
		cube_sha256_hex(digest, hex);
		ck_assert_str_eq(hex, vectors[i].hex);
	}
}
END_TEST

START_TEST(million_a) {
	struct cube_sha256 s;
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX], part[1000];

	memset(part, 'a', sizeof part);
	cube_sha256_init(&s);
	for (int i = 0; i < 1000; i++) cube_sha256_update(&s, part, sizeof part);
	cube_sha256_final(&s, digest);
	cube_sha256_hex(digest, hex);
	ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

/* Each length over two blocks, whole and in three pieces cut at each pair of places. The digest
 * of all the digests was computed by another implementation (Python's hashlib). */
START_TEST(split_updates) {
	struct cube_sha256 all;
	uint8_t bytes[150], want[CUBE_SHA256_LEN], got[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX];

	for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7 + 3);
	cube_sha256_init(&all);
	for (size_t n = 0; n <= sizeof bytes; n++) {
		cube_sha256_of(bytes, n, want);
		cube_sha256_update(&all, want, sizeof want);
		for (size_t a = 0; a <= n; a++)
			for (size_t b = a; b <= n; b += 1 + (b - a) / 3) {
				struct cube_sha256 s;

				cube_sha256_init(&s);
				cube_sha256_update(&s, bytes, a);
				cube_sha256_update(&s, bytes + a, b - a);
				cube_sha256_update(&s, bytes + b, n - b);
				cube_sha256_final(&s, got);
				if (memcmp(got, want, sizeof got))
					ck_abort_msg("length %zu cut at %zu and %zu", n, a, b);
			}
	}
	cube_sha256_final(&all, want);
	cube_sha256_hex(want, hex);
	ck_assert_str_eq(hex, "a5e410efbb5bef3a0c334944d71a5bb89c68a4a1bc167b48e3d5fdde777f741e");
}
END_TEST

START_TEST(nothing_may_be_null) {
	struct cube_sha256 s;
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX];

	cube_sha256_init(&s);
	cube_sha256_update(&s, NULL, 0);
	cube_sha256_final(&s, digest);
	cube_sha256_hex(digest, hex);
	ck_assert_str_eq(hex, vectors[0].hex);
}
END_TEST

START_TEST(unhex) {
	uint8_t digest[CUBE_SHA256_LEN], untouched[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX], bad[80];
	const char *good = vectors[1].hex;

	ck_assert_int_eq(cube_sha256_unhex(good, digest), 0);
	cube_sha256_hex(digest, hex);
	ck_assert_str_eq(hex, good);
	memcpy(untouched, digest, sizeof digest);
	for (size_t n = 0; n < 64; n++) { /* a heap copy: reading past its end is found */
		char *cut = strndup(good, n);

		ck_assert_int_eq(cube_sha256_unhex(cut, digest), -1);
		free(cut);
	}
	for (size_t i = 0; i < 64; i++)
		for (int c = 1; c < 256; c++) {
			bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

			memcpy(bad, good, 65);
			bad[i] = (char)c;
			if (!digit && cube_sha256_unhex(bad, digest) != -1)
				ck_abort_msg("byte %d accepted at %zu", c, i);
		}
	memcpy(bad, good, 64);
	memcpy(bad + 64, "0", 2);
	ck_assert_int_eq(cube_sha256_unhex(bad, digest), -1);
	ck_assert_mem_eq(digest, untouched, sizeof digest);
}
END_TEST

int main(void) {
	Suite *s = suite_create("sha256");
	TCase *tc = tcase_create("sha256");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, nist_vectors);
	tcase_add_test(tc, million_a);
	tcase_add_test(tc, split_updates);
	tcase_add_test(tc, nothing_may_be_null);
	tcase_add_test(tc, unhex);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
