/* Taking nodes down, and what was left on hosts by some that are gone. */
#include <string.h>

#include "cube/clock.h"
#include "cube/events.h"
#include "node_link.h"

void cube_node_leave(struct cube_node *node, bool purge, bool ask) {
	node->link->purge =
		node->link->purge || purge; /* who asked for less later waits for it as well */
	if (node->state == CUBE_NODE_LEAVING) return;
	bool parked = node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_NEEDS_LOGIN;
	bool clean = parked && !cube_node_left_something(node);
	cube_node_set(node, CUBE_NODE_LEAVING, "");
	node->link->ask = ask;
	if (!node->link->choked) cube_timer_after(node->link->timer, CUBE_NODE_LEAVE_NS);
	if (clean) cube_node_end(node, CUBE_NODE_GONE, "");
	else if (node->link->linked) cube_node_shut_down(node);
	else if (!node->link->transport)
		cube_node_join(node); /* only a worker that is reached can be told to go */
}

void cube_node_shut_down(struct cube_node *node) {
	struct cube_msg msg = {.type = CUBE_MSG_SHUTDOWN,
			       .shutdown.purge = node->link->purge         ? 1
						 : node->link->other_build ? 2
									   : 0};
	node->link->told = true;
	cube_node_send(node, &msg);
}

void cube_node_leave_limit(struct cube_node *node) {
	struct cube_err err;
	if (node->link->told)
		cube_fail(&err, CUBE_ETIMEOUT,
			  "the worker did not end within %d s of being told to",
			  (int)(CUBE_NODE_LEAVE_NS / CUBE_NS_PER_S));
	else
		cube_fail(&err, CUBE_ETIMEOUT,
			  "no worker was reached in time to be told to go (%s)",
			  node->step ? node->step : "joining");
	cube_node_fail(node, &err);
}

/* The worker has ended and removed what it knows of. What else may lie in the folders, of another
 * build or of a time when another one was taken, is looked for over the same connection. */
void cube_node_left(struct cube_node *node) {
	struct cube_err err;
	if (!node->link->purge) {
		cube_node_left_clean(node, "");
		return;
	}
	cube_timer_after(node->link->timer, CUBE_NODE_LEAVE_NS);
	if (cube_node_clean(node, &err) < 0) cube_node_fail(node, &err);
}

void cube_node_left_clean(struct cube_node *node, const char *note) {
	if (*note) cube_events_note(node->fleet->is.events, node->id, node->name, note);
	cube_node_hang_up(node, "the node was taken down");
	cube_node_end(node, CUBE_NODE_GONE, "");
}
