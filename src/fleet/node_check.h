/* What a request may say of a node, looked at before anything is taken. */
#ifndef CUBE_NODE_CHECK_H
#define CUBE_NODE_CHECK_H

#include "node_link.h"

/* CUBE_EUSAGE, the message beginning with the field's name. */
int cube_node_check(const struct cube_node_request *r, struct cube_err *err);

/* Whether a node that is there, and stays, is what r asks for: a command that asks for a login, a
 * host, a key gets that or fails, never what another command asked for. What r leaves out is no
 * wish. same_way: where not, how the host is reached may be changed, and only whose account it is
 * may not. CUBE_ECONFLICT says which login the node has, what differs, and what to do. */
int cube_node_check_same(const struct cube_node *node, const struct cube_node_request *r,
			 bool same_way, struct cube_err *err);
/* r asks for other slots than the node has: it is told, and the node stays as it is. */
bool cube_node_kept(const struct cube_node *node, const struct cube_node_request *r);

/* The request's settings are the node's from now on; a joined one keeps its account where r names
 * none. */
void cube_node_take(struct cube_node *node, const struct cube_node_request *r);

#endif
