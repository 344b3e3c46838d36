/* What a request may say of a node, looked at before anything is taken. */
#ifndef CUBE_NODE_CHECK_H
#define CUBE_NODE_CHECK_H

#include "cube/nodes.h"

/* CUBE_EUSAGE, the message beginning with the field's name. */
int cube_node_check(const struct cube_node_request *r, struct cube_err *err);

/* What r asks for and a node that stays as it is does not have, as "user, become"; "" for nothing.
 * The name of the machine is no wish of its own where it is the node's. */
#define CUBE_NODE_KEPT 128
void cube_node_kept(const struct cube_mnode *node, const struct cube_node_request *r,
		    char out[CUBE_NODE_KEPT]);

#endif
