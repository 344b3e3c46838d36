/* From a host's settings to a connected socket: TCP, ProxyCommand or ProxyJump.
 * Private to this folder. */
#ifndef CUBE_TRANSPORT_DIAL_H
#define CUBE_TRANSPORT_DIAL_H

#include "cube/transport.h"
#include "cube/ssh_config.h"

struct cube_dial;
struct cube_jump_group;

struct cube_dial_events {
	void (*step)(void *arg, enum cube_transport_step step);
	void (*connected)(void *arg, int fd); /* the fd is the receiver's */
	void (*failed)(void *arg, const struct cube_err *err);
	/* The dial waits for its turn: that time is not to count. Always in pairs, but for a dial
	 * that is freed or fails. */
	void (*waits)(void *arg, bool on);
	void (*asks)(void *arg, const struct cube_ask *ask); /* a jump host does */
};

struct cube_dial_spec {                       /* borrowed during the call */
	const char *host;                     /* as the user wrote it: %n */
	const char *file;                     /* ssh -F for a jump host, or NULL */
	const struct cube_ssh_config *config; /* must outlive the dial, as must the deadline */
	const uint64_t *deadline;             /* loop time; shared out among the addresses */
	struct cube_jump_group *from; /* of the jump hosts it is for, or NULL; not outlived */
	bool ask;                     /* asks may be called */
	bool old_jumps;               /* as in struct cube_target */
	bool strict;                  /* refuse jump hosts never seen */
	uint64_t timeout_ns;          /* for connecting to a jump host; 0: as configured */
};

/* Never calls back inside the call. */
struct cube_dial *cube_dial_start(struct cube_ssh *ssh, const struct cube_dial_spec *spec,
				  const struct cube_dial_events *events, void *arg);
/* Also hangs up on the proxy process; NULL is fine. */
void cube_dial_free(struct cube_dial *d);

/* As cube_jump_person. */
const char *cube_dial_person(const struct cube_dial *d);
/* What became of the connection: who else wants to connect there goes on waiting until told, or
 * until the dial is freed. */
void cube_dial_greeted(struct cube_dial *d); /* the target spoke: a proxy has let us through */
void cube_dial_logged_in(struct cube_dial *d);
void cube_dial_dropped(struct cube_dial *d); /* hung up on in favour of others, as it seems */

void cube_dial_answer(struct cube_dial *d, const char *const *answers);

/* "10.0.0.9 port 22", "web1 through its proxy command": what is being connected to. */
const char *cube_dial_where(const struct cube_dial *d);
/* The last line the proxy wrote to its stderr, what broke the connection to the jump host, or NULL:
 * why a link through it broke. */
const char *cube_dial_proxy_says(struct cube_dial *d);

#endif
