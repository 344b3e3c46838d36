/* What a request may say of a node, looked at before anything is taken. */
#ifndef CUBE_NODE_CHECK_H
#define CUBE_NODE_CHECK_H

#include "nodes.h"

/* CUBE_EUSAGE, the message beginning with the field's name. */
int cube_node_check(const struct cube_node_request *r, struct cube_err *err);

#endif
