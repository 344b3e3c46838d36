/* The transport "openssh": a node's lines by OpenSSH's ssh, over one login. Private to this folder;
 * the opener is cube_transport_command. */
#ifndef CUBE_TRANSPORT_OPENSSH_TRANSPORT_H
#define CUBE_TRANSPORT_OPENSSH_TRANSPORT_H

#include "cube/transport.h"

/* target: its names are checked. */
int cube_openssh_transport(struct cube_ssh *ssh, const struct cube_target *target,
			   const struct cube_transport_events *events, void *arg,
			   struct cube_transport **ret, struct cube_err *err);

#endif
