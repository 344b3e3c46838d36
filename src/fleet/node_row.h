/* Between struct cube_node and its row in the store. */
#ifndef CUBE_NODE_ROW_H
#define CUBE_NODE_ROW_H

#include "node_link.h"

int cube_node_to_row(const struct cube_node *node, struct cube_store *s, struct cube_err *err);
void cube_node_from_row(struct cube_node *node, const struct cube_node_row *row);

#endif
