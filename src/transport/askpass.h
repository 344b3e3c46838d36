/* Questions of the ssh program: it runs this very program file as its askpass (SSH_ASKPASS), which
 * hands the question over by a socket and prints the answer. Private to this folder. */
#ifndef CUBE_TRANSPORT_ASKPASS_H
#define CUBE_TRANSPORT_ASKPASS_H

#include "cube/transport.h"

struct cube_askpass;
struct cube_askpass_events {
	void (*ask)(void *arg, const struct cube_ask *ask); /* one at a time */
	void (*note)(void *arg, const char *text);          /* "Confirm user presence ..." */
	void (*note_over)(void *arg);                       /* the key was touched, or gave up */
};

/* events NULL: nothing can be asked, and no other askpass is run either. */
int cube_askpass_new(struct cube_loop *loop, const struct cube_askpass_events *events, void *arg,
		     struct cube_askpass **ret, struct cube_err *err);
/* What the ssh program is to find in its environment; borrowed. */
const char *const *cube_askpass_envp(const struct cube_askpass *a);
/* Another ssh is started: answers that were good for the one before are given again unasked. */
void cube_askpass_next(struct cube_askpass *a);
void cube_askpass_forget(struct cube_askpass *a); /* those answers */
void cube_askpass_answer(struct cube_askpass *a, const char *answer);
bool cube_askpass_asked(const struct cube_askpass *a); /* since _next */
void cube_askpass_free(struct cube_askpass *a);        /* NULL is fine */

/* The target's name as ssh has it (HostName): only its password is asked for by the user's name
 * alone, that of a jump host by "user@host". */
void cube_askpass_target(struct cube_askpass *a, const char *host);

/* What ssh wants to know by a prompt: kind and key (at most size - 1 bytes of it). host: the
 * target's, or NULL for any. */
enum cube_ask_kind cube_askpass_kind(const char *prompt, const char *host, char *key, size_t size);

#endif
