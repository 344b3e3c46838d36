/* Coming back: when lost nodes are tried again, and links that may be dead are looked at.
 *
 * A lost node is tried after a pause that doubles up to half a minute. A laptop that wakes up, or a
 * network that comes back, cuts the pauses short: the kernel tells of a new address or default
 * route, the clock of a sleep, and a node that is ready again of a way that is open again. At most
 * once in ten seconds; the transports pace what follows. */
#ifndef CUBE_WAKE_H
#define CUBE_WAKE_H

#include "node_link.h"

struct cube_wake;

/* Without netlink it goes by the other signs. */
void cube_wake_new(struct cube_fleet *fleet, struct cube_wake **ret);
void cube_wake_free(struct cube_wake *w); /* NULL is fine */

/* Arms the node's timer for the next try. */
void cube_node_retry_later(struct cube_node *node);
/* A lost node is ready again. */
void cube_wake_back(struct cube_wake *w);
/* Now and then, while there are links: has this machine slept? */
void cube_wake_check(struct cube_wake *w);
/* True when the node has not answered since its link was doubted. */
bool cube_node_is_deaf(struct cube_node *node);

#endif
