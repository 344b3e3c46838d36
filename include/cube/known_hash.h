/* Hashed names in known_hosts (HashKnownHosts): |1|salt|HMAC-SHA1(salt, name)|, in base64. SHA-1
 * is what the format asks for; nothing rests on it but that a thief of the file must guess. */
#ifndef CUBE_TRANSPORT_KNOWN_HASH_H
#define CUBE_TRANSPORT_KNOWN_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CUBE_SHA1_LEN = 20 };

void cube_known_sha1(const void *bytes, size_t n, uint8_t ret[CUBE_SHA1_LEN]);
/* key: at most 64 bytes */
void cube_known_hmac(const uint8_t *key, size_t key_len, const char *text,
		     uint8_t ret[CUBE_SHA1_LEN]);

bool cube_known_hash_match(const char *word, size_t n, const char *name);
char *cube_known_hash(const char *name); /* the word for a name, with a salt of its own; fresh */

#endif
