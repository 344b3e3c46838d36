/* A host to be reached, as its user asks for it. */
#ifndef CUBE_TARGET_H
#define CUBE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/mem.h"

struct cube_target { /* borrowed during open only; NULL/0 means: as the ssh configuration says */
	const char *name; /* the node's, for messages */
	const char *host;
	const char *user;
	uint16_t port;
	const char *identity;            /* key file; implies that only it is tried */
	const char *ssh_config;          /* ssh -F */
	const char *jump;                /* ssh -J */
	const struct cube_strv *options; /* ssh -o, "Key=Value" each; NULL: none */
	const char *command;             /* cube_transport_command only: the template */
	bool strict_host_keys; /* refuse hosts never seen; default is to accept and remember them */
	bool ask;              /* on_ask may be used: somebody is there to answer */
	bool old_jumps;        /* behind jump hosts only by the connections to them that are there:
				  a new one would want a person. Else on_fail CUBE_ELOGIN */
	uint64_t timeout_ns;   /* from open to on_open, the time a question waits for its answer
				  not counted; then on_fail CUBE_ETIMEOUT naming the step */
};

#endif
