/* The login environment: what the user's login shell has after its start-up files. The shell runs
 * this program's `environ` in its own place; the answer is found between two random marks,
 * whatever start-up files print around it. Asked once; a failure is told to those who wait, and the
 * next one asks again. */
#ifndef WORKER_LOGIN_H
#define WORKER_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "cube/err.h"
#include "cube/list.h"
#include "cube/loop.h"

struct login;

struct login_wait { /* whoever waits embeds one; zero-initialised = does not wait */
	struct cube_list entry;
	/* env: NULL and *err where it could not be had. Called from the loop. */
	void (*done)(void *arg, const struct cube_err *err);
	void *arg;
};

/* node_cookie marks the shell's processes; home and self (the worker's own file) stay the caller's.
 */
struct login *login_new(struct cube_loop *loop, const char *self, const char *home,
			const char *node_cookie);
void login_free(struct login *l); /* NULL is fine; kills the shell */

/* The environment, NULL-terminated, while it is known; else NULL. */
char *const *login_environ(const struct login *l);
/* Asks the shell unless that is going on, and calls w->done later, never from here. */
void login_ask(struct login *l, struct login_wait *w);
void login_forget(struct login_wait *w); /* done will not be called */

/* The user's login shell: $SHELL, which sshd sets, else passwd's, else /bin/sh. */
void login_shell(char *shell, size_t size);
/* argv[0] that makes a shell a login shell: "-bash". */
void login_argv0(const char *shell, char *name, size_t size);

#endif
