/* The man page, from the command table. */
#ifndef CUBE_CLI_MAN_H
#define CUBE_CLI_MAN_H

#include "cli.h"

/* Appends cube.1 in man(7)'s macros. */
int cube_man_page(const struct cube_command *const *table, struct cube_buf *out);

#endif
