#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/mem.h"

static _Noreturn void out_of_memory(void) {
	static const char line[] = "cube: out of memory\n";
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);

	(void)n;
	abort();
}

void *cube_alloc(size_t size) {
	void *p = calloc(1, size ? size : 1);

	if (!p) out_of_memory();
	return p;
}

void *cube_realloc_array(void *old, size_t count, size_t size) {
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(count, size, &bytes)) out_of_memory();
	p = realloc(old, bytes ? bytes : 1);
	if (!p) out_of_memory();
	return p;
}

char *cube_strdup(const char *s) {
	return s ? cube_strndup(s, strlen(s)) : NULL;
}

char *cube_strndup(const char *s, size_t len) {
	char *copy;

	if (!s) return NULL;
	len = strnlen(s, len);
	copy = cube_realloc_array(NULL, len + 1, 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *cube_strf(const char *fmt, ...) {
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = cube_vformat(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) out_of_memory(); /* longer than INT_MAX */
	s = cube_realloc_array(NULL, (size_t)n + 1, 1);
	va_start(ap, fmt);
	cube_vformat(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

enum { STRV_FIRST = 8 };

/* The number of slots follows from the length: 8, 16, 32, ... and full when len + 1 gets there. */
static void strv_append(struct cube_strv *sv, char *owned) {
	size_t used = sv->len + 1;

	if (!sv->v) sv->v = cube_realloc_array(NULL, STRV_FIRST, sizeof *sv->v);
	else if (used >= STRV_FIRST && (used & (used - 1)) == 0)
		sv->v = cube_realloc_array(sv->v, used, 2 * sizeof *sv->v);
	sv->v[sv->len++] = owned;
	sv->v[sv->len] = NULL;
}

void cube_strv_add(struct cube_strv *sv, const char *s) {
	strv_append(sv, cube_strdup(s));
}

void cube_strv_addn(struct cube_strv *sv, const char *s, size_t len) {
	strv_append(sv, cube_strndup(s, len));
}

char *const *cube_strv_argv(const struct cube_strv *sv) {
	static char *const none[1] = {NULL};

	return sv->v ? sv->v : none;
}

void cube_strv_done(struct cube_strv *sv) {
	if (!sv) return;
	for (size_t i = 0; i < sv->len; i++) free(sv->v[i]);
	free(sv->v);
	sv->v = NULL;
	sv->len = 0;
}

void cube_free_indirect(void *pp) {
	void *p;

	memcpy(&p, pp, sizeof p); /* pp is the address of a pointer of any type */
	free(p);
}
