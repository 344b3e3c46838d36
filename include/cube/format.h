/* Formatting of texts, as printf does it but small: libc's brings 13 KB to the worker, most of
 * it for floating point.
 *
 * Directives are %d %i %u %x %X %o %c %s %%, the lengths hh h l ll z j, the flags - 0 +, width
 * and precision (also *). %f %g %e go to libc, and not at all where CUBE_NO_FLOAT is defined: in
 * the worker. `make lint` looks for others; one that is met all the same ends the text as it is
 * written in fmt. */
#ifndef CUBE_FORMAT_H
#define CUBE_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* As snprintf: what does not fit is cut, a NUL ends it if size is not 0, and the length of the
 * whole text is returned; -1 where that is over INT_MAX. buf may be NULL when size is 0. */
int cube_format(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int cube_vformat(char *buf, size_t size, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* Writes a text of at most CUBE_PRINT_MAX bytes to fd, all of it; 0, or -1 with errno set. */
enum { CUBE_PRINT_MAX = 8192 };
int cube_print(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As write, until all is taken. */
int cube_write_all(int fd, const void *bytes, size_t n);

#endif
