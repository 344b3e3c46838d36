#include <string.h>

#include "cube/err.h"
#include "cube/node.h"

#define BIT(state) (1u << CUBE_NODE_##state)
#define ANYWHERE   (BIT(FAILED) | BIT(NEEDS_LOGIN) | BIT(LEAVING))

/* Which states may follow each. */
static const unsigned next[CUBE_NODE_STATES] = {
	[CUBE_NODE_CONNECTING] = BIT(PROBING) | BIT(LOST) | ANYWHERE,
	[CUBE_NODE_PROBING] = BIT(READY) | BIT(PUSHING) | BIT(STARTING) | BIT(LOST) | ANYWHERE,
	[CUBE_NODE_PUSHING] = BIT(STARTING) | BIT(LOST) | ANYWHERE,
	[CUBE_NODE_STARTING] = BIT(READY) | BIT(PUSHING) | BIT(LOST) | ANYWHERE,
	[CUBE_NODE_READY] = BIT(LOST) | ANYWHERE,
	[CUBE_NODE_LOST] = BIT(CONNECTING) | ANYWHERE,
	[CUBE_NODE_FAILED] = BIT(CONNECTING) | BIT(LEAVING),
	[CUBE_NODE_NEEDS_LOGIN] = BIT(CONNECTING) | BIT(LEAVING),
	[CUBE_NODE_LEAVING] = BIT(GONE) | BIT(FAILED),
	[CUBE_NODE_GONE] = 0,
};

static const char *const names[] = {
	[CUBE_NODE_CONNECTING] = "connecting", [CUBE_NODE_PROBING] = "probing",
	[CUBE_NODE_PUSHING] = "pushing",       [CUBE_NODE_STARTING] = "starting",
	[CUBE_NODE_READY] = "ready",           [CUBE_NODE_LOST] = "lost",
	[CUBE_NODE_FAILED] = "failed",         [CUBE_NODE_NEEDS_LOGIN] = "needs-login",
	[CUBE_NODE_LEAVING] = "leaving",       [CUBE_NODE_GONE] = "gone",
};
_Static_assert(sizeof names / sizeof names[0] == CUBE_NODE_STATES, "a name per state");

bool cube_node_allows(enum cube_node_state from, enum cube_node_state to) {
	if ((unsigned)from >= CUBE_NODE_STATES || (unsigned)to >= CUBE_NODE_STATES) return false;
	return next[from] >> to & 1;
}

const char *cube_node_state_name(enum cube_node_state state) {
	return (unsigned)state < CUBE_NODE_STATES ? names[state] : "?";
}

int cube_node_state_parse(const char *name, enum cube_node_state *ret) {
	for (unsigned i = 0; i < CUBE_NODE_STATES; i++)
		if (!strcmp(name, names[i])) {
			*ret = (enum cube_node_state)i;
			return 0;
		}
	return CUBE_EUSAGE;
}

bool cube_node_joining(enum cube_node_state state) {
	return (unsigned)state <= CUBE_NODE_STARTING;
}
