/* One connection to a jump host that carries other hosts' connections. Private to this folder.
 *
 * jump.c shares them out and knows them by this alone; ssh_carrier.c is the one there is. */
#ifndef CUBE_TRANSPORT_CARRIER_H
#define CUBE_TRANSPORT_CARRIER_H

#include "cube/transport.h"

struct cube_jump_group;

struct cube_carrier_events {      /* the carrier may be freed in each */
	void (*ready)(void *arg); /* connected */
	/* The lane that was asked for: fd is the receiver's, or -1 and the error. */
	void (*opened)(void *arg, int fd, const struct cube_err *err);
	void (*ask)(void *arg,
		    const struct cube_ask *ask); /* if target.ask; may be answered at once */
	void (*stuck)(void *arg);                /* the opening under way takes long */
	void (*failed)(void *arg, const struct cube_err *err); /* the connection; free it */
};

struct cube_carrier {
	const struct cube_carrier_ops *ops;
};

struct cube_carrier_ops {
	/* Connected, and no opening under way. */
	bool (*idle)(const struct cube_carrier *k);
	void (*open)(struct cube_carrier *k, const char *host, uint16_t port); /* when idle */
	void (*answer)(struct cube_carrier *k, const char *const *answers);
	/* How a person logged in to it, or to another one on the way to it ("password"), or NULL.
	 */
	const char *(*person)(const struct cube_carrier *k);
	void (*free)(struct cube_carrier *k); /* ends its lanes */
};

/* Begins one. from: whose connection it is, for the guard against circles. */
typedef int cube_carrier_opener(struct cube_ssh *ssh, const struct cube_target *target,
				struct cube_jump_group *from,
				const struct cube_carrier_events *events, void *arg,
				struct cube_carrier **ret, struct cube_err *err);

#endif
