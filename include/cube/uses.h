/* Nodes that a command needs until it ends, as `cube spawn -- COMMAND` does. The last of them takes
 * a node down that came with such a command, and nobody takes down what another still uses.
 *
 * A use is its client's: where that process is gone without having ended it, the nodes stay, for
 * `cube down`. Uses are not kept over a restart of the manager: then only tasks protect a node.
 */
#ifndef CUBE_USES_H
#define CUBE_USES_H

#include <sys/types.h>

#include "cube/work.h"

struct cube_use;

/* client: 0 where it is not known; such a use lasts until it is ended. */
struct cube_use *cube_use_new(struct cube_work *work, pid_t client);
uint64_t cube_use_id(const struct cube_use *use);
void cube_use_add(struct cube_use *use, const struct cube_node *node);
struct cube_use *cube_use_find(struct cube_work *work,
			       uint64_t id); /* NULL: not known (any more) */
bool cube_use_has(const struct cube_use *use, const struct cube_node *node);
void cube_use_free(struct cube_use *use); /* NULL is fine */

/* The nodes of clients that are gone stay. Before uses are looked at. */
void cube_uses_prune(struct cube_work *work);
/* Whether something needs it: a use, or a task of another job that is not being stopped. */
bool cube_node_is_used(const struct cube_node *node, uint64_t but_job);
void cube_uses_free(struct cube_work *work);

#endif
