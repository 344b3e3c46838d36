/* One ssh connection to a jump host that carries other hosts' connections: each is a direct-tcpip
 * channel, bridged to a socket whose other end is given away. Private to this folder.
 *
 * A lane is one of them; it ends when either of its sides does. Both directions hold at most one
 * read's worth of bytes here, then the channel's window or the socket makes the sender wait.
 * libssh2 opens one channel at a time: a host that the jump host cannot reach, and is not told
 * so, keeps the next one waiting. Then `stuck` is called, and it is asked whether the jump host
 * is alive. */
#ifndef CUBE_TRANSPORT_SSH_CARRIER_H
#define CUBE_TRANSPORT_SSH_CARRIER_H

#include "cube/transport.h"

struct cube_carrier;
struct cube_jump_group;
struct ssh_conn;

struct cube_carrier_events {      /* the carrier may be freed in each */
	void (*ready)(void *arg); /* connected */
	/* The lane that was asked for: fd is the receiver's, or -1 and the error. */
	void (*opened)(void *arg, int fd, const struct cube_err *err);
	void (*ask)(void *arg,
		    const struct cube_ask *ask); /* if target.ask; may be answered at once */
	void (*stuck)(void *arg);                /* the opening under way takes long */
	void (*failed)(void *arg, const struct cube_err *err); /* the connection; free it */
};

/* from: whose connection this is, for the guard against circles. */
int cube_carrier_new(struct cube_ssh *ssh, const struct cube_target *target,
		     struct cube_jump_group *from, const struct cube_carrier_events *events,
		     void *arg, struct cube_carrier **ret, struct cube_err *err);
void cube_carrier_free(struct cube_carrier *k); /* ends its lanes; NULL is fine */

void cube_carrier_answer(struct cube_carrier *k, const char *const *answers);
/* How a person logged in to it, or to another one on the way to it ("password"), or NULL. */
const char *cube_carrier_person(const struct cube_carrier *k);
/* Connected, and no opening under way. */
bool cube_carrier_idle(const struct cube_carrier *k);
void cube_carrier_open(struct cube_carrier *k, const char *host, uint16_t port); /* when idle */

/* For ssh_link.c: the work of a connection that is a carrier's; its queue was sent on. */
void cube_carrier_pump(struct cube_carrier *k);
void cube_carrier_flushed(struct cube_carrier *k);

#endif
