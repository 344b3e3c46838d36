/* The columns of tasks and nodes, which several commands show. */
#ifndef CUBE_CLI_LISTINGS_H
#define CUBE_CLI_LISTINGS_H

#include "render.h"

extern const struct cube_column cube_task_columns[];
extern const struct cube_column cube_node_columns[];

#endif
