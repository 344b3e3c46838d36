/* UTF-8 decoding for text.c and text_width.c; private to base. */
#ifndef CUBE_TEXT_UTF8_H
#define CUBE_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at p, n > 0 bytes: its length, or 0 (and *cp 0) where it is not well-formed
 * (RFC 3629: shortest form, no surrogates, at most U+10FFFF). */
static inline size_t utf8_decode(const uint8_t *p, size_t n, uint32_t *cp) {
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len;
	uint32_t c;

	*cp = 0;
	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || len > n) return 0;
	c = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
	*cp = c;
	return len;
}

#endif
