/* The quicker AES-128-CTR is OpenSSL's, byte for byte, however it is called. */
#include <check.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

#include "ssh_cipher.h"

enum { SIZE = 20000 };

/* NIST SP 800-38A, F.5.1 */
static const unsigned char KEY[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
				    0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const unsigned char IV[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
				   0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
static const unsigned char PLAIN[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
				      0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a};
static const unsigned char CIPHER[] = {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26,
				       0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce};

static void *loaded;

static void load(void) {
	loaded = cube_ssh_cipher_load();
	ck_assert_ptr_nonnull(loaded);
}

static void unload(void) {
	cube_ssh_cipher_unload(loaded);
}

/* As libssh2 begins. */
static EVP_CIPHER_CTX *begin(int encrypt) {
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	ck_assert_int_eq(EVP_CipherInit(c, EVP_aes_128_ctr(), KEY, IV, encrypt), 1);
	const OSSL_PROVIDER *p = EVP_CIPHER_get0_provider(EVP_CIPHER_CTX_get0_cipher(c));
	ck_assert_str_eq(OSSL_PROVIDER_get0_name(p), "cube-ctr");
	return c;
}

START_TEST(test_known_answer) {
	unsigned char out[16];
	EVP_CIPHER_CTX *c = begin(1);
	ck_assert_int_eq(EVP_CIPHER_CTX_get_key_length(c), 16);
	ck_assert_int_eq(EVP_CIPHER_CTX_get_iv_length(c), 16);
	ck_assert_int_eq(EVP_CIPHER_CTX_get_block_size(c), 1);
	ck_assert_int_eq(EVP_Cipher(c, out, PLAIN, sizeof out), 16);
	ck_assert_mem_eq(out, CIPHER, sizeof out);
	EVP_CIPHER_CTX_free(c);
	c = begin(0);
	memcpy(out, CIPHER, sizeof out);
	ck_assert_int_eq(EVP_Cipher(c, out, out, sizeof out), 16); /* in place */
	ck_assert_mem_eq(out, PLAIN, sizeof out);
	EVP_CIPHER_CTX_free(c);
}
END_TEST

static void by_openssl(const unsigned char *in, unsigned char *out) {
	int n;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	ck_assert_int_eq(EVP_EncryptInit_ex2(c, cipher, KEY, IV, NULL), 1);
	ck_assert_int_eq(EVP_EncryptUpdate(c, out, &n, in, SIZE), 1);
	ck_assert_int_eq(n, SIZE);
	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(cipher);
}

START_TEST(test_pieces) {
	static const size_t STEPS[] = {16, 1, 7, 1024, 1023, 5000, SIZE};
	size_t step = STEPS[_i];
	unsigned char *in = malloc(SIZE), *out = malloc(SIZE), *want = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++) in[i] = (unsigned char)(i * 31 + i / 256);
	by_openssl(in, want);
	EVP_CIPHER_CTX *c = begin(1);
	for (size_t at = 0, n; at < SIZE; at += n) {
		n = SIZE - at < step ? SIZE - at : step;
		ck_assert_int_eq(EVP_Cipher(c, out + at, in + at, (unsigned)n), (int)n);
		if (at != step) continue; /* a copy goes on where it was made */
		EVP_CIPHER_CTX *other = EVP_CIPHER_CTX_new();
		ck_assert_int_eq(EVP_CIPHER_CTX_copy(other, c), 1);
		EVP_CIPHER_CTX_free(c);
		c = other;
	}
	ck_assert_mem_eq(out, want, SIZE);
	EVP_CIPHER_CTX_free(c);
	free(in);
	free(out);
	free(want);
}
END_TEST

/* What OpenSSL's random numbers are made with is not ours. */
START_TEST(test_nothing_else) {
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	ck_assert_str_eq(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "default");
	EVP_CIPHER_free(cipher);
}
END_TEST

START_TEST(test_again) {
	cube_ssh_cipher_unload(loaded);
	load();
	void *twice = cube_ssh_cipher_load();
	ck_assert_ptr_nonnull(twice);
	cube_ssh_cipher_unload(twice);
	EVP_CIPHER_CTX_free(begin(1));
}
END_TEST

int main(void) {
	Suite *s = suite_create("ssh_cipher");
	TCase *tc = tcase_create("ctr");
	tcase_add_checked_fixture(tc, load, unload);
	tcase_add_test(tc, test_known_answer);
	tcase_add_loop_test(tc, test_pieces, 0, 7);
	tcase_add_test(tc, test_nothing_else);
	tcase_add_test(tc, test_again);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
