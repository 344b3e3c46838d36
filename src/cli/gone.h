/* Taking nodes down and waiting until they are gone. */
#ifndef CUBE_CLI_GONE_H
#define CUBE_CLI_GONE_H

#include "cli.h"

/* names: array of strings, NULL for all nodes. Waits until each is gone or failed. *ret_left is
 * {reason: [names]} of hosts where something is left, *ret_gone the names that went; both the
 * caller's. CUBE_ECANCELED when interrupted (.sys is the signal). */
int cube_nodes_down(struct cube_cli *cli, const json_t *names, bool purge, json_t **ret_gone,
		    json_t **ret_left, struct cube_err *err);

#endif
