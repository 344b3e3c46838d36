/* A piece of the user's text for an error message: quoted, printable, cut to fit. */
#ifndef CUBE_MODEL_QUOTE_H
#define CUBE_MODEL_QUOTE_H

#include <stddef.h>

struct cube_quote {
	char s[72];
};

/* "text" with unprintable bytes as \xNN and "..." where cut; returns q->s. */
const char *cube_quote_n(struct cube_quote *q, const char *s, size_t n);
const char *cube_quote(struct cube_quote *q, const char *s);

#endif
