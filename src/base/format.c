#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"

struct sink {
	char *buf;
	size_t size, len; /* len goes on counting behind the end */
};

struct directive { /* "%-08.3llx" */
	bool left, zero, plus;
	int width, precision; /* 0 and -1: none */
	char length;          /* 'H' for hh, 'L' for ll */
	char conversion;
};

/* How much of n bytes still fits. */
static size_t fitting(const struct sink *out, size_t n) {
	size_t room = out->len < out->size ? out->size - out->len : 0;

	return n < room ? n : room;
}

static void put(struct sink *out, const char *s, size_t n) {
	size_t fits = fitting(out, n);

	if (fits) memcpy(out->buf + out->len, s, fits);
	out->len += n;
}

static void pad(struct sink *out, char c, int n) {
	size_t count = n > 0 ? (size_t)n : 0, fits = fitting(out, count);

	if (fits) memset(out->buf + out->len, c, fits);
	out->len += count;
}

/* A body of n bytes in its field: spaces, sign, zeros, body, spaces. */
static void put_field(struct sink *out, const struct directive *d, char sign, int zeros,
		      const char *body, size_t n) {
	int spaces = d->width - (sign ? 1 : 0) - zeros;

	spaces = n < INT_MAX / 2 ? spaces - (int)n : 0;
	if (!d->left) pad(out, ' ', spaces);
	if (sign) put(out, &sign, 1);
	pad(out, '0', zeros);
	put(out, body, n);
	if (d->left) pad(out, ' ', spaces);
}

static void put_number(struct sink *out, const struct directive *d, uintmax_t v, bool negative) {
	char digits[24], *at = digits + sizeof digits; /* 2^64 has 22 digits in base 8 */
	unsigned base = d->conversion == 'o' ? 8 : (d->conversion | 32) == 'x' ? 16 : 10;
	const char *of = d->conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	char sign = negative ? '-' : d->plus ? '+' : 0;
	int n, zeros;

	for (; v; v /= base) *--at = of[v % base];
	n = (int)(digits + sizeof digits - at);
	zeros = d->precision >= 0 ? d->precision - n : n == 0;
	if (d->zero && !d->left && d->precision < 0 && d->width - n - (sign != 0) > zeros)
		zeros = d->width - n - (sign != 0);
	put_field(out, d, sign, zeros > 0 ? zeros : 0, at, (size_t)n);
}

static void put_string(struct sink *out, const struct directive *d, const char *s) {
	if (!s) s = "(null)";
	put_field(out, d, 0, 0, s,
		  d->precision >= 0 ? strnlen(s, (size_t)d->precision) : strlen(s));
}

#ifndef CUBE_NO_FLOAT
#pragma GCC diagnostic ignored \
	"-Wformat-nonliteral" /* here it is the directive, put together again */
static void put_double(struct sink *out, const struct directive *d, double v) {
	char spec[8] = "%", *at = spec + 1;
	char text[512]; /* the largest number has 309 digits before its point */
	int precision = d->precision < 100 ? d->precision : 100, n;

	if (d->plus) *at++ = '+';
	if (d->zero) *at++ = '0';
	if (d->left) *at++ = '-';
	memcpy(at, "*.*", 3);
	at[3] = d->conversion;
	n = snprintf(text, sizeof text, spec, d->width < 100 ? d->width : 100, precision, v);
	if (n > 0) put(out, text, (size_t)n);
}
#endif

/* va_list may be an array type, which a function could not hand back. */
struct arguments {
	va_list ap;
};

static int number_in(const char **fmt, struct arguments *args) {
	int n = 0;

	if (**fmt == '*') {
		(*fmt)++;
		return va_arg(args->ap, int);
	}
	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		if (n < INT_MAX / 16) n = n * 10 + (**fmt - '0');
	return n;
}

static void read_directive(struct directive *d, const char **fmt, struct arguments *args) {
	*d = (struct directive){.precision = -1};
	for (;; (*fmt)++) {
		if (**fmt == '-') d->left = true;
		else if (**fmt == '0') d->zero = true;
		else if (**fmt == '+') d->plus = true;
		else break;
	}
	d->width = number_in(fmt, args);
	if (d->width < 0) {
		d->left = true;
		d->width = d->width > -INT_MAX ? -d->width : 0;
	}
	if (**fmt == '.') {
		(*fmt)++;
		d->precision = number_in(fmt, args);
		if (d->precision < 0) d->precision = -1;
	}
	for (; **fmt && strchr("hljz", **fmt); (*fmt)++)
		d->length = d->length == **fmt ? (char)(**fmt & ~32) : **fmt;
	d->conversion = **fmt;
	if (**fmt) (*fmt)++;
}

static intmax_t signed_in(char length, struct arguments *args) {
	switch (length) {
	case 'j': return va_arg(args->ap, intmax_t);
	case 'L': return va_arg(args->ap, long long);
	case 'l': return va_arg(args->ap, long);
	case 'z': return (intmax_t)va_arg(args->ap, ssize_t);
	case 'h': return (short)va_arg(args->ap, int);
	case 'H': return (signed char)va_arg(args->ap, int);
	default: return va_arg(args->ap, int);
	}
}

static uintmax_t unsigned_in(char length, struct arguments *args) {
	switch (length) {
	case 'j': return va_arg(args->ap, uintmax_t);
	case 'L': return va_arg(args->ap, unsigned long long);
	case 'l': return va_arg(args->ap, unsigned long);
	case 'z': return va_arg(args->ap, size_t);
	case 'h': return (unsigned short)va_arg(args->ap, unsigned);
	case 'H': return (unsigned char)va_arg(args->ap, unsigned);
	default: return va_arg(args->ap, unsigned);
	}
}

/* False for a directive that is none of ours: what the arguments behind it are is not known. */
static bool put_directive(struct sink *out, const struct directive *d, struct arguments *args) {
	intmax_t v;
	char c;

	switch (d->conversion) {
	case 'd':
	case 'i':
		v = signed_in(d->length, args);
		put_number(out, d, v < 0 ? 0 - (uintmax_t)v : (uintmax_t)v, v < 0);
		return true;
	case 'u':
	case 'x':
	case 'X':
	case 'o': put_number(out, d, unsigned_in(d->length, args), false); return true;
	case 's': put_string(out, d, va_arg(args->ap, const char *)); return true;
	case '%': put(out, "%", 1); return true;
	case 'c':
		c = (char)va_arg(args->ap, int);
		put_field(out, d, 0, 0, &c, 1);
		return true;
#ifndef CUBE_NO_FLOAT
	case 'e':
	case 'f':
	case 'g': put_double(out, d, va_arg(args->ap, double)); return true;
#endif
	default: return false;
	}
}

int cube_vformat(char *buf, size_t size, const char *fmt, va_list ap) {
	struct sink out = {.buf = buf, .size = size};
	struct arguments args;
	struct directive d;

	va_copy(args.ap, ap);
	while (*fmt) {
		const char *at;
		size_t run = strcspn(fmt, "%");

		put(&out, fmt, run);
		if (!fmt[run]) break;
		at = fmt += run;
		fmt++;
		read_directive(&d, &fmt, &args);
		if (put_directive(&out, &d, &args)) continue;
		put(&out, at, strlen(at));
		break;
	}
	va_end(args.ap);
	if (size) buf[out.len < size ? out.len : size - 1] = '\0';
	return out.len <= INT_MAX ? (int)out.len : -1;
}

int cube_format(char *buf, size_t size, const char *fmt, ...) {
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = cube_vformat(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

int cube_write_all(int fd, const void *bytes, size_t n) {
	const char *at = bytes;

	while (n > 0) {
		ssize_t w = write(fd, at, n);

		if (w < 0 && errno == EINTR) continue;
		if (w <= 0) return -1;
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

int cube_print(int fd, const char *fmt, ...) {
	char text[CUBE_PRINT_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = cube_vformat(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0) n = 0;
	return cube_write_all(fd, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}
