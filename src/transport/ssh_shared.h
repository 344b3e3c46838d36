/* What all ssh connections of a process share (cube_ssh_new). Private to this folder.
 *
 * Whoever connects or waits on behalf of a connection (dial.c, jump.c, master.c, ...) takes what it
 * needs from here and knows nothing of the connection itself, which is ssh_priv.h. */
#ifndef CUBE_TRANSPORT_SSH_SHARED_H
#define CUBE_TRANSPORT_SSH_SHARED_H

#include "cube/list.h"
#include "cube/transport.h"
#include "ssh_agent.h"

enum {
	SSH_FEED = 256 * 1024,  /* received a turn and connection at most */
	SSH_PLAIN = 128 * 1024, /* read from a channel at once */
};

struct cube_ssh {
	struct cube_loop *loop;
	struct cube_resolver *resolver;
	struct cube_ssh_configs *configs;
	struct cube_limit *limit;
	struct cube_jumps *jumps;
	struct cube_sockets *sockets; /* of logins by the ssh program */
	struct cube_list dying;       /* children on their way out: hangup.h */
	uint8_t *feed, *plain;        /* scratch of the connection at work: SSH_FEED, SSH_PLAIN */
	void *cipher;                 /* ssh_cipher.h */
	struct cube_agent_load agent_load;
};

/* ssh_again.c: a server that has too many logins at hand hangs up on us, and on the ssh program.
 * How long to wait after so many drops in a row; 0: it has been tried often enough. silent_proxy:
 * what hung up may be a proxy that does not say why it cannot connect. */
uint64_t cube_ssh_again_pause(unsigned drops, bool silent_proxy);

#endif
