/* Ways to hosts through jump hosts. Private to this folder.
 *
 * All hosts behind the same jump host share one connection to it (a carrier); the connection to a
 * second jump host is a host behind the first. A carrier that is busy with a host it cannot reach
 * gets a second one beside it. Where libssh2 cannot log in to a jump host, or all its carriers are
 * stuck, the answer is CUBE_ELIBRARY: an ssh process for that host alone may do better.
 *
 * A carrier is kept a few seconds after its last host has gone. */
#ifndef CUBE_TRANSPORT_JUMP_H
#define CUBE_TRANSPORT_JUMP_H

#include "carrier.h"
#include "cube/transport.h"
#include "cube/ssh_config.h"

struct cube_jumps;      /* all of a process */
struct cube_jump_group; /* the hosts behind one jump host */
struct cube_jump;       /* one host's way */

struct cube_jump_events {
	void (*connected)(void *arg, int fd); /* the fd is the receiver's */
	void (*failed)(void *arg, const struct cube_err *err);
	void (*waits)(void *arg, bool on); /* for the carrier, as in cube_dial_events */
	/* The jump host's question; may be answered at once. */
	void (*asks)(void *arg, const struct cube_ask *ask);
};

struct cube_jump_spec {    /* borrowed during the call */
	const char *jumps; /* "a,user@b:22": b through a */
	const char *file;  /* ssh -F, or NULL */
	const char *host;  /* the last jump host is to connect to */
	uint16_t port;
	bool ask;                     /* asks may be called */
	bool old_only;                /* by a connection that is there, or CUBE_ELOGIN */
	bool strict;                  /* refuse jump hosts never seen */
	uint64_t timeout_ns;          /* for connecting to the jump host; 0: its own */
	struct cube_jump_group *from; /* the connection is itself a carrier of these */
};

/* open: makes the carriers; a jump host is reached as any other host is, and these files are below
 * those that do it. */
void cube_jumps_new(struct cube_ssh *ssh, cube_carrier_opener *open, struct cube_jumps **ret);
void cube_jumps_free(struct cube_jumps *js); /* ends all carriers; NULL is fine */

/* Never calls back inside the call, but for waits. */
struct cube_jump *cube_jump_start(struct cube_jumps *js, const struct cube_jump_spec *spec,
				  const struct cube_jump_events *events, void *arg);
void cube_jump_free(struct cube_jump *j); /* the fd that was given out is not touched */
void cube_jump_answer(struct cube_jump *j, const char *const *answers);
/* How a person logged in to the jump host, or NULL; known once connected. */
const char *cube_jump_person(const struct cube_jump *j);
/* Why the carrier broke, or NULL. */
const char *cube_jump_says(const struct cube_jump *j);

#endif
