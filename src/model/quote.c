#include <string.h>

#include "cube/format.h"
#include "quote.h"

enum { LONGEST = 60 };

const char *cube_quote_n(struct cube_quote *q, const char *s, size_t n) {
	size_t len = 0, i;

	q->s[len++] = '"';
	for (i = 0; i < n && len < LONGEST; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c < 0x7f) q->s[len++] = (char)c;
		else len += (size_t)cube_format(q->s + len, sizeof q->s - len, "\\x%02x", c);
	}
	cube_format(q->s + len, sizeof q->s - len, "%s\"", i < n ? "..." : "");
	return q->s;
}

const char *cube_quote(struct cube_quote *q, const char *s) {
	return cube_quote_n(q, s, strnlen(s, LONGEST + 1));
}
