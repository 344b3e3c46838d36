/* SHA-256 (FIPS 180-4). */
#ifndef CUBE_SHA256_H
#define CUBE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct cube_sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

#define CUBE_SHA256_LEN 32
#define CUBE_SHA256_HEX 65 /* with the NUL */

void cube_sha256_init(struct cube_sha256 *s);
void cube_sha256_update(struct cube_sha256 *s, const void *bytes, size_t n);
void cube_sha256_final(struct cube_sha256 *s, uint8_t digest[CUBE_SHA256_LEN]);

void cube_sha256_of(const void *bytes, size_t n, uint8_t digest[CUBE_SHA256_LEN]);
void cube_sha256_hex(const uint8_t digest[CUBE_SHA256_LEN], char hex[CUBE_SHA256_HEX]);
/* 0, or -1 when hex is not exactly 64 lower-case hex digits. */
int cube_sha256_unhex(const char *hex, uint8_t digest[CUBE_SHA256_LEN]);

#endif
