/* Node states and their transitions: pure decisions.
 *
 *   connecting -> probing -> pushing -> starting -> ready -> lost -> connecting ...
 * (warm: probing -> ready or starting, the worker answered at once; starting -> pushing when it was
 * another build's.) A link that breaks on the way leads to lost as well. Any of them may become
 * failed (it gives up: reason shown) or leaving (`down`), failed becomes connecting when it is
 * asked for again, and leaving becomes gone, or failed where it cannot be reached to clean up.
 * A node that only a person can log in to is parked as needs-login until `cube login`, `cube spawn`
 * or `cube down` asks for it; one that had been ready keeps its tasks as unknown meanwhile. */
#ifndef CUBE_NODE_H
#define CUBE_NODE_H

#include <stdbool.h>

enum cube_node_state {
	CUBE_NODE_CONNECTING, /* resolve, connect, key exchange, log in */
	CUBE_NODE_PROBING,    /* is a worker of this build there? */
	CUBE_NODE_PUSHING,
	CUBE_NODE_STARTING, /* worker runs, HELLO under way */
	CUBE_NODE_READY,
	CUBE_NODE_LOST,   /* link broke; its tasks are unknown; tried again */
	CUBE_NODE_FAILED, /* never joined, or refused; the reason is kept */
	CUBE_NODE_LEAVING,
	CUBE_NODE_GONE,
	CUBE_NODE_NEEDS_LOGIN, /* parked: password, passphrase or second factor wanted */
	CUBE_NODE_STATES,
};

bool cube_node_allows(enum cube_node_state from, enum cube_node_state to);
const char *cube_node_state_name(enum cube_node_state state);
int cube_node_state_parse(const char *name, enum cube_node_state *ret);
/* Still on its way to ready. */
bool cube_node_joining(enum cube_node_state state);

#endif
