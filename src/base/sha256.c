#include <string.h>

#include "cube/sha256.h"

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static inline uint32_t ror(uint32_t x, unsigned n) {
	return x >> n | x << (32 - n);
}

static inline uint32_t load_be32(const uint8_t *p) {
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store_be32(uint8_t *p, uint32_t x) {
	p[0] = (uint8_t)(x >> 24);
	p[1] = (uint8_t)(x >> 16);
	p[2] = (uint8_t)(x >> 8);
	p[3] = (uint8_t)x;
}

static void expand(uint32_t w[64], const uint8_t *p) {
	for (unsigned i = 0; i < 16; i++) w[i] = load_be32(p + 4 * i);
	for (unsigned i = 16; i < 64; i++) {
		uint32_t x = w[i - 15], y = w[i - 2];

		w[i] = w[i - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) + w[i - 7] +
		       (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
	}
}

static void compress(uint32_t state[8], const uint8_t *p) {
	uint32_t w[64];
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

	expand(w, p);
	for (unsigned i = 0; i < 64; i++) {
		uint32_t t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (g ^ (e & (f ^ g))) +
			      K[i] + w[i];
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));

		h = g, g = f, f = e, e = d + t1;
		d = c, c = b, b = a, a = t1 + t2;
	}
	state[0] += a, state[1] += b, state[2] += c, state[3] += d;
	state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void cube_sha256_init(struct cube_sha256 *s) {
	static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	memcpy(s->state, start, sizeof start);
	s->bytes = 0;
}

void cube_sha256_update(struct cube_sha256 *s, const void *bytes, size_t n) {
	const uint8_t *p = bytes;
	size_t held = s->bytes % 64;

	if (n == 0) return;
	s->bytes += n;
	if (held) {
		size_t take = n < 64 - held ? n : 64 - held;

		memcpy(s->block + held, p, take);
		p += take;
		n -= take;
		if (held + take < 64) return;
		compress(s->state, s->block);
	}
	for (; n >= 64; p += 64, n -= 64) compress(s->state, p);
	memcpy(s->block, p, n);
}

void cube_sha256_final(struct cube_sha256 *s, uint8_t digest[CUBE_SHA256_LEN]) {
	size_t held = s->bytes % 64;
	uint64_t bits = s->bytes * 8;

	s->block[held++] = 0x80;
	if (held > 56) {
		memset(s->block + held, 0, 64 - held);
		compress(s->state, s->block);
		held = 0;
	}
	memset(s->block + held, 0, 56 - held);
	store_be32(s->block + 56, (uint32_t)(bits >> 32));
	store_be32(s->block + 60, (uint32_t)bits);
	compress(s->state, s->block);
	for (unsigned i = 0; i < 8; i++) store_be32(digest + 4 * i, s->state[i]);
}

void cube_sha256_of(const void *bytes, size_t n, uint8_t digest[CUBE_SHA256_LEN]) {
	struct cube_sha256 s;

	cube_sha256_init(&s);
	cube_sha256_update(&s, bytes, n);
	cube_sha256_final(&s, digest);
}

void cube_sha256_hex(const uint8_t digest[CUBE_SHA256_LEN], char hex[CUBE_SHA256_HEX]) {
	for (unsigned i = 0; i < CUBE_SHA256_LEN; i++) {
		hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
	}
	hex[2 * CUBE_SHA256_LEN] = '\0';
}

static int hex_value(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return -1;
}

int cube_sha256_unhex(const char *hex, uint8_t digest[CUBE_SHA256_LEN]) {
	uint8_t out[CUBE_SHA256_LEN];

	for (unsigned i = 0; i < CUBE_SHA256_LEN; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

		if (low < 0) return -1;
		out[i] = (uint8_t)(high << 4 | low);
	}
	if (hex[2 * CUBE_SHA256_LEN] != '\0') return -1;
	memcpy(digest, out, sizeof out);
	return 0;
}
