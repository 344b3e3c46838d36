/* Between struct cube_mnode and its row in the store. */
#ifndef CUBE_NODE_ROW_H
#define CUBE_NODE_ROW_H

#include "cube/nodes.h"

int cube_node_to_row(const struct cube_mnode *node, struct cube_store *s, struct cube_err *err);
void cube_node_from_row(struct cube_mnode *node, const struct cube_node_row *row);

#endif
