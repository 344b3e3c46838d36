/* Memory for cube's own small, fixed-size things.
 *
 * These abort with one line on stderr when memory is out, as tmux and redis do: a few hundred
 * bytes that cannot be had leave nothing sensible to do. Whatever a peer, a file or a user
 * sizes does not go through here: it lives in a cube_buf, which has a maximum and fails.
 */
#ifndef CUBE_MEM_H
#define CUBE_MEM_H

#include <stddef.h>

void *cube_alloc(size_t size);                                  /* zeroed; free() it */
void *cube_realloc_array(void *old, size_t count, size_t size); /* checks the product */
char *cube_strdup(const char *s);                               /* NULL gives NULL */
char *cube_strndup(const char *s, size_t len);

/* "%s..." into a fresh string; free() it. */
char *cube_strf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A string list: argv-like, NULL-terminated at all times, owns its strings. Zero-initialise. */
struct cube_strv {
	char **v; /* NULL while empty: use cube_strv_argv for exec */
	size_t len;
};
void cube_strv_add(struct cube_strv *sv, const char *s);
void cube_strv_addn(struct cube_strv *sv, const char *s, size_t len);
/* For exec: v, or an empty list while there is nothing; borrowed until the next change. */
char *const *cube_strv_argv(const struct cube_strv *sv);
void cube_strv_done(struct cube_strv *sv); /* frees all, leaves it empty; NULL is fine */

/* Cleanup attribute for locals: cube_autofree char *p = ...; */
void cube_free_indirect(void *pp);
#define cube_autofree __attribute__((cleanup(cube_free_indirect)))

#endif
