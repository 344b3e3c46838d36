/* Hashed names: see known_hash.h. */
#include <stdlib.h>
#include <string.h>

#include "cube/buf.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "cube/text.h"
#include "cube/known_hash.h"

enum { BLOCK = 64, NAME_MAX_LEN = 1024 };

/* ---- SHA-1 (FIPS 180-4) ------------------------------------------------------------------ */

static uint32_t rotl(uint32_t x, int n) {
	return x << n | x >> (32 - n);
}

static uint32_t mix(int t, uint32_t b, uint32_t c, uint32_t d) {
	if (t < 20) return ((b & c) | (~b & d)) + 0x5a827999;
	if (t < 40) return (b ^ c ^ d) + 0x6ed9eba1;
	if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void absorb(uint32_t h[5], const uint8_t *p) {
	uint32_t w[80], v[5];
	for (int t = 0; t < 16; t++, p += 4)
		w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int t = 16; t < 80; t++) w[t] = rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	memcpy(v, h, sizeof v);
	for (int t = 0; t < 80; t++) {
		uint32_t x = rotl(v[0], 5) + mix(t, v[1], v[2], v[3]) + v[4] + w[t];
		v[4] = v[3];
		v[3] = v[2];
		v[2] = rotl(v[1], 30);
		v[1] = v[0];
		v[0] = x;
	}
	for (int i = 0; i < 5; i++) h[i] += v[i];
}

void cube_known_sha1(const void *bytes, size_t n, uint8_t ret[CUBE_SHA1_LEN]) {
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t tail[2 * BLOCK] = {0};
	const uint8_t *p = bytes;
	size_t left = n;
	for (; left >= BLOCK; left -= BLOCK, p += BLOCK) absorb(h, p);
	memcpy(tail, p, left);
	tail[left] = 0x80;
	size_t end = left < BLOCK - 8 ? BLOCK : 2 * BLOCK;
	for (int i = 0; i < 8; i++) tail[end - 1 - (size_t)i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	for (size_t at = 0; at < end; at += BLOCK) absorb(h, tail + at);
	for (int i = 0; i < CUBE_SHA1_LEN; i++) ret[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void cube_known_hmac(const uint8_t *key, size_t key_len, const char *text,
		     uint8_t ret[CUBE_SHA1_LEN]) {
	uint8_t inner[BLOCK + NAME_MAX_LEN], outer[BLOCK + CUBE_SHA1_LEN];
	size_t n = strnlen(text, NAME_MAX_LEN);
	for (size_t i = 0; i < BLOCK; i++) {
		uint8_t k = i < key_len ? key[i] : 0;
		inner[i] = k ^ 0x36;
		outer[i] = k ^ 0x5c;
	}
	memcpy(inner + BLOCK, text, n);
	cube_known_sha1(inner, BLOCK + n, outer + BLOCK);
	cube_known_sha1(outer, sizeof outer, ret);
}

/* ---- words ------------------------------------------------------------------------------- */

/* Base64 of exactly one SHA-1: both salt and hash have its length. */
static bool decode(const char *s, size_t n, uint8_t ret[CUBE_SHA1_LEN]) {
	struct cube_buf bytes;
	cube_buf_init(&bytes, BLOCK);
	bool ok = n < BLOCK && cube_text_unbase64(&bytes, s, n, NULL) == 0 &&
		  cube_buf_len(&bytes) == CUBE_SHA1_LEN;
	if (ok) memcpy(ret, cube_buf_data(&bytes), CUBE_SHA1_LEN);
	cube_buf_done(&bytes);
	return ok;
}

bool cube_known_hash_match(const char *word, size_t n, const char *name) {
	uint8_t salt[CUBE_SHA1_LEN], want[CUBE_SHA1_LEN], is[CUBE_SHA1_LEN];
	if (n < 3 || memcmp(word, "|1|", 3) != 0) return false;
	word += 3;
	n -= 3;
	const char *bar = memchr(word, '|', n);
	if (!bar) return false;
	size_t len = (size_t)(bar - word);
	if (!decode(word, len, salt) || !decode(bar + 1, n - len - 1, want)) return false;
	cube_known_hmac(salt, sizeof salt, name, is);
	return !memcmp(is, want, sizeof is);
}

char *cube_known_hash(const char *name) {
	uint8_t salt[CUBE_SHA1_LEN], hash[CUBE_SHA1_LEN];
	struct cube_buf word;
	cube_id_random(salt, sizeof salt);
	cube_known_hmac(salt, CUBE_SHA1_LEN, name, hash);
	cube_buf_init(&word, 256);
	cube_buf_addstr(&word, "|1|");
	cube_text_base64(&word, salt, CUBE_SHA1_LEN);
	cube_buf_addstr(&word, "|");
	cube_text_base64(&word, hash, CUBE_SHA1_LEN);
	char *text = cube_buf_take(&word, NULL);
	cube_buf_done(&word);
	return text;
}
