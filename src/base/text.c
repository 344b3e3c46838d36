#include <errno.h>
#include <string.h>

#include "cube/text.h"
#include "text_utf8.h"

bool cube_text_is_utf8(const void *bytes, size_t n) {
	const uint8_t *p = bytes, *end = p + n;
	uint32_t cp;

	while (p < end) {
		size_t len = utf8_decode(p, (size_t)(end - p), &cp);

		if (len == 0 || cp == 0) return false;
		p += len;
	}
	return true;
}

/* Length of the printable character at p, or 0. */
static size_t printable(const uint8_t *p, size_t n) {
	uint32_t cp;
	size_t len = utf8_decode(p, n, &cp);

	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ? 0 : len;
}

static int escape_byte(struct cube_buf *out, uint8_t c) {
	char esc[4] = {'\\', 'x', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};

	if (c == '\n') return cube_buf_add(out, "\\n", 2);
	if (c == '\r') return cube_buf_add(out, "\\r", 2);
	if (c == '\t') return cube_buf_add(out, "\\t", 2);
	return cube_buf_add(out, esc, sizeof esc);
}

int cube_text_escape(struct cube_buf *out, const void *bytes, size_t n) {
	const uint8_t *p = bytes;
	size_t before = cube_buf_len(out), at = 0, run = 0, len;
	int r = 0;

	while (r == 0 && at < n) {
		len = printable(p + at, n - at);
		if (len) {
			at += len;
			continue;
		}
		r = cube_buf_add(out, p + run, at - run);
		/* Both bytes of a C1 control; a malformed sequence goes byte by byte. */
		len = p[at] == 0xc2 && n - at > 1 && (p[at + 1] & 0xe0) == 0x80 ? 2 : 1;
		for (; r == 0 && len > 0; len--) r = escape_byte(out, p[at++]);
		run = at;
	}
	if (r == 0) r = cube_buf_add(out, p + run, at - run);
	if (r < 0) cube_buf_truncate(out, before);
	return r;
}

/* '=' and '%' are left out: an assignment, zsh's =cmd and job names begin with them. */
static bool is_plain(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_-./:,+@", c));
}

static bool needs_quotes(const char *s) {
	static const char reserved[][10] = {
		"case",     "coproc", "do", "done",   "elif", "else", "esac",  "fi",    "for",
		"function", "if",     "in", "select", "then", "time", "until", "while",
	};

	if (!*s) return true;
	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
		if (!strcmp(s, reserved[i])) return true;
	while (is_plain(*s)) s++;
	return *s != '\0';
}

int cube_text_shell_quote(struct cube_buf *out, const char *s) {
	size_t before = cube_buf_len(out);
	int r;

	if (!needs_quotes(s)) return cube_buf_addstr(out, s);
	r = cube_buf_add(out, "'", 1);
	while (r == 0 && *s) {
		size_t run = strcspn(s, "'");

		r = cube_buf_add(out, s, run);
		s += run;
		if (r == 0 && *s) {
			r = cube_buf_add(out, "'\\''", 4);
			s++;
		}
	}
	if (r == 0) r = cube_buf_add(out, "'", 1);
	if (r < 0) cube_buf_truncate(out, before);
	return r;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int cube_text_base64(struct cube_buf *out, const void *bytes, size_t n) {
	const uint8_t *p = bytes;
	uint8_t *q;
	size_t size;
	int r;

	if (n > cube_buf_room(out)) return CUBE_ETOOBIG;
	if (n == 0) return 0;
	size = n / 3 * 4 + (n % 3 ? 4 : 0); /* the buffer's maximum keeps this from overflowing */
	r = cube_buf_reserve(out, size, &q);
	if (r < 0) return r;
	for (; n > 0; q += 4) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (n > 2 ? p[2] : 0);

		q[0] = (uint8_t)base64[v >> 18];
		q[1] = (uint8_t)base64[v >> 12 & 63];
		q[2] = n > 1 ? (uint8_t)base64[v >> 6 & 63] : '=';
		q[3] = n > 2 ? (uint8_t)base64[v & 63] : '=';
		if (n <= 3) break;
		p += 3;
		n -= 3;
	}
	cube_buf_commit(out, size);
	return 0;
}

/* The six bits of a digit, or 64. */
static uint32_t base64_value(char c) {
	if (c >= 'A' && c <= 'Z') return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z') return (uint32_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9') return (uint32_t)(c - '0' + 52);
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Decodes n digits (2, 3 or 4) into q. The bits left over must be zero: one text per value. */
static bool unbase64_group(uint8_t *q, const char *s, size_t n) {
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		uint32_t six = i < n ? base64_value(s[i]) : 0;

		if (six > 63) return false;
		v = v << 6 | six;
	}
	q[0] = (uint8_t)(v >> 16);
	if (n > 2) q[1] = (uint8_t)(v >> 8);
	if (n > 3) q[2] = (uint8_t)v;
	return n == 4 || (v & (n == 3 ? 0xffu : 0xffffu)) == 0;
}

int cube_text_unbase64(struct cube_buf *out, const char *s, size_t n, struct cube_err *err) {
	size_t pad = 0, size, at;
	uint8_t *q;
	int r;

	if (n == 0) return 0;
	if (n % 4)
		return cube_fail(err, CUBE_EUSAGE, "base64 text has a length not divisible by 4");
	if (s[n - 1] == '=') pad = s[n - 2] == '=' ? 2 : 1;
	size = n / 4 * 3 - pad;
	r = cube_buf_reserve(out, size, &q);
	if (r == CUBE_ETOOBIG)
		return cube_fail(err, r, "base64 text stands for %zu bytes, limit %zu", size,
				 cube_buf_room(out));
	if (r < 0) return cube_fail_sys(err, ENOMEM, "base64 text");
	for (at = 0; at < n; at += 4, q += 3)
		if (!unbase64_group(q, s + at, at + 4 < n ? 4 : 4 - pad))
			return cube_fail(err, CUBE_EUSAGE, "not base64 near byte %zu", at);
	cube_buf_commit(out, size);
	return 0;
}
