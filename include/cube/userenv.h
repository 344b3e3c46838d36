/* What a login session of the user's gives to ssh by the environment: where the agent listens,
 * where Kerberos keeps its tickets, which display and bus an agent or a token may ask on.
 *
 * The manager outlives such sessions, so it takes these variables over from the commands that are
 * run (PUT /v1/environment): what it and its programs find in their environment is then what the
 * newest command had. As tmux does with its update-environment. */
#ifndef CUBE_USERENV_H
#define CUBE_USERENV_H

#include <stdbool.h>
#include <stddef.h>

enum { CUBE_SESSION_VALUE = 4096 }; /* bytes of a value, its end counted */

/* Their names; NULL past the last. */
const char *cube_userenv_name(size_t i);

/* This process's environment, with room for them. Made before there are threads; freed when there
 * are none any more, which puts the first environment back. One at a time. */
struct cube_userenv;
struct cube_userenv *cube_userenv_new(void);
void cube_userenv_free(struct cube_userenv *s); /* NULL is fine */
/* Sets one of them, or with NULL unsets it; whether that changed anything. Others and values that
 * are too long are left alone. Another thread may read the environment meanwhile. */
bool cube_userenv_set(struct cube_userenv *s, const char *name, const char *value);

#endif
