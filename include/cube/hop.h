/* One word of ProxyJump. Pure. */
#ifndef CUBE_HOP_H
#define CUBE_HOP_H

#include <stdbool.h>

#include "cube/ssh_config.h"

/* "ssh://user@[host]:port", each part but host optional (NULL, 0); fresh strings. */
struct cube_jump_hop {
	char *user, *host, *port;
};
void cube_jump_parse(const char *text, struct cube_jump_hop *ret);
void cube_jump_hop_done(struct cube_jump_hop *hop);
/* "Host *, ProxyJump bastion" is not meant for the bastion. host: as the user wrote it. */
bool cube_jump_to_itself(const char *jumps, const char *host, const struct cube_ssh_config *config);

#endif
