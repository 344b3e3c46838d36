/* Taking nodes down, and what was left on hosts by some that are gone. */
#include <string.h>

#include "cube/clock.h"
#include "cube/events.h"
#include "cube/nodes.h"

void cube_nodes_leave(struct cube_nodes *nodes, struct cube_mnode *node, bool purge, bool ask) {
	node->purge = node->purge || purge; /* who asked for less later waits for it as well */
	if (node->state == CUBE_NODE_LEAVING) return;
	bool parked = node->state == CUBE_NODE_FAILED || node->state == CUBE_NODE_NEEDS_LOGIN;
	bool clean = parked && !node->has_facts && !node->touched;
	cube_node_set(node, CUBE_NODE_LEAVING, "");
	node->ask = ask;
	if (!node->choked) cube_timer_after(node->timer, CUBE_NODE_LEAVE_NS);
	if (clean) cube_node_end(node, CUBE_NODE_GONE, "");
	else if (node->linked) cube_node_shut_down(node);
	else if (!node->transport)
		cube_node_join(node); /* only a worker that is reached can be told to go */
}

void cube_node_shut_down(struct cube_mnode *node) {
	struct cube_msg msg = {.type = CUBE_MSG_SHUTDOWN,
			       .shutdown.purge = node->purge         ? 1
						 : node->other_build ? 2
								     : 0};
	node->told = true;
	cube_node_send(node, &msg);
}

void cube_node_leave_limit(struct cube_mnode *node) {
	struct cube_err err;
	if (node->told)
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
void cube_node_left(struct cube_mnode *node) {
	struct cube_err err;
	if (!node->purge) {
		cube_node_left_clean(node, "");
		return;
	}
	cube_timer_after(node->timer, CUBE_NODE_LEAVE_NS);
	if (cube_deploy_clean(node, &err) < 0) cube_node_fail(node, &err);
}

void cube_node_left_clean(struct cube_mnode *node, const char *note) {
	if (*note) cube_events_note(node->m->events, node->id, node->name, note);
	cube_node_hang_up(node);
	cube_node_end(node, CUBE_NODE_GONE, "");
}

/* --- those that are gone --- */

struct revive {
	struct cube_nodes *nodes;
	const char *name;
};

static int revive_row(void *arg, const struct cube_node_row *row) {
	struct revive *r = arg;
	if (!cube_nodes_cached(r->nodes, row->id)) return 0;
	if (!r->name || strcmp(r->name, row->name) == 0) cube_nodes_revive(r->nodes, row);
	return 0;
}

int cube_nodes_bring_back(struct cube_manager *m, const char *name, struct cube_err *err) {
	struct revive r = {.nodes = m->nodes, .name = name};
	cube_turn_commit(&m->turn);
	return m->store->ops->node_list(m->store, revive_row, &r, err);
}

bool cube_nodes_left_worker(struct cube_nodes *nodes, const char *name) {
	for (uint32_t id = 1; id <= cube_nodes_last(nodes); id++)
		if (cube_nodes_cached(nodes, id) && strcmp(cube_nodes_name(nodes, id), name) == 0)
			return true;
	return false;
}
