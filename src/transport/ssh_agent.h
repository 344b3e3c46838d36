/* The ssh agent (draft-miller-ssh-agent), without waiting for it: one may hang, and one may ask a
 * person before it signs. Private to this folder. */
#ifndef CUBE_TRANSPORT_SSH_AGENT_H
#define CUBE_TRANSPORT_SSH_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "cube/loop.h"

struct cube_agent;
struct cube_agent_key {
	uint8_t *blob;
	size_t n;
};
/* What all that use it share, since it may serve one after the other. Zero at first; outlives them.
 */
struct cube_agent_load {
	unsigned signing;  /* signatures under way */
	uint64_t answered; /* loop time of the newest answer */
};
struct cube_agent_events {
	void (*changed)(void *arg); /* the state did */
	void (*slow)(void *arg);    /* nothing came for so long that it may wait for a person */
};
enum cube_agent_state {
	CUBE_AGENT_LISTING,
	CUBE_AGENT_IDLE,
	CUBE_AGENT_SIGNING,
	CUBE_AGENT_SIGNED,  /* .. until the next request */
	CUBE_AGENT_REFUSED, /* .. as well */
	CUBE_AGENT_GONE,    /* it hung up, talked nonsense or took too long */
};

/* Asks for its keys, and waits for them longer while a signature is under way. NULL where nobody
 * listens. Events come from the loop only; do not free it in them. */
struct cube_agent *cube_agent_open(struct cube_loop *loop, const char *path,
				   struct cube_agent_load *load,
				   const struct cube_agent_events *events, void *arg);
void cube_agent_free(struct cube_agent *a); /* NULL is fine */
enum cube_agent_state cube_agent_state(const struct cube_agent *a);
/* The key at i, or NULL; those of before stay when it is gone. */
const struct cube_agent_key *cube_agent_key(const struct cube_agent *a, size_t i);
/* Not while listing or signing; where it is gone, that is told again. flags: 2 for RSA with
 * SHA-256, 4 with SHA-512, else 0. */
void cube_agent_sign(struct cube_agent *a, const struct cube_agent_key *key, const void *data,
		     size_t n, uint32_t flags);
/* The signature without the name of its kind, when signed; borrowed until the next request. */
const uint8_t *cube_agent_signature(const struct cube_agent *a, size_t *ret_n);

#endif
