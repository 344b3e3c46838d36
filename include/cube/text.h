/* Bytes that people or shells will read: quoting, escaping, UTF-8, base64. */
#ifndef CUBE_TEXT_H
#define CUBE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"

/* Well-formed UTF-8 (RFC 3629) without NUL bytes. */
bool cube_text_is_utf8(const void *bytes, size_t n);

/* Appends bytes made safe for a terminal or a log line: C0/C1 controls, DEL and malformed UTF-8
 * become \xNN; \n \r \t as such escapes. Returns as cube_buf_add. */
int cube_text_escape(struct cube_buf *out, const void *bytes, size_t n);

/* Appends s so that a POSIX shell reads it as one word; bare where it needs no quotes. */
int cube_text_shell_quote(struct cube_buf *out, const char *s);

/* Base64 (RFC 4648, with padding). Decoding is strict: CUBE_EUSAGE on anything else. */
int cube_text_base64(struct cube_buf *out, const void *bytes, size_t n);
int cube_text_unbase64(struct cube_buf *out, const char *s, size_t n, struct cube_err *err);

/* Columns a UTF-8 text takes on a terminal (wcwidth-like: combining 0, CJK/emoji wide 2). */
size_t cube_text_width(const char *s);

#endif
