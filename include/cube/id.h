/* Random identifiers from the kernel (getrandom(2), or /dev/urandom where it is absent). */
#ifndef CUBE_ID_H
#define CUBE_ID_H

#include <stddef.h>
#include <stdint.h>

void cube_id_random(void *bytes,
		    size_t n); /* cannot fail: aborts when the kernel has no randomness */
uint64_t cube_id_u64(void);    /* never 0 */

#define CUBE_ID_HEX 17 /* 16 hex digits and NUL */
char *cube_id_hex(uint64_t id, char hex[CUBE_ID_HEX]);
int cube_id_unhex(const char *hex, uint64_t *ret); /* 0, or -1 when not 16 lower-case hex digits */

#endif
