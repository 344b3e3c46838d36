/* Taking nodes down and waiting until they are gone. */
#ifndef CUBE_CLI_GONE_H
#define CUBE_CLI_GONE_H

#include "cli.h"

/* names: array of strings, NULL for all nodes. Waits until each is gone or failed. *ret_left is
 * {reason: [names]} of hosts where something is left, *ret_gone the names that went; both the
 * caller's. CUBE_ECANCELED when interrupted (.sys is the signal). */
int cube_nodes_down(struct cube_cli *cli, const json_t *names, bool purge, json_t **ret_gone,
		    json_t **ret_left, struct cube_err *err);

/* The same at the end of a use that POST /v1/nodes gave (0: none): of names only those that came
 * with it and that nobody else needs, which is said. job: whose tasks do not count. */
struct cube_nodes_use {
	const json_t *names;
	uint64_t id, job;
};
int cube_nodes_end_use(struct cube_cli *cli, const struct cube_nodes_use *use, bool purge,
		       json_t **ret_gone, json_t **ret_left, struct cube_err *err);

/* Waits for those of names that are just being taken down; says which. 1, or 0 where none was. */
int cube_nodes_await_gone(struct cube_cli *cli, const json_t *names, struct cube_err *err);

#endif
