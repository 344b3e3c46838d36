/* How long a manager lives, and that it can be reached while it does.
 *
 * Started by a command it ends when for 3 s there was nothing to do: no task that has not ended, no
 * node but failed and parked ones (of those the store tells as well), and no client that is really
 * doing something (cube_httpd_busy). A client that only follows, is idle or does not read keeps no
 * manager; events followed come to their end then. A request that comes meanwhile is served, or not
 * begun at all, so that the client can ask the next one.
 *
 * What is removed of its state folder it sees at once: without its socket it listens anew, without
 * its lock it takes another, and without the folder it ends.
 */
#ifndef CUBE_MANAGER_LIFE_H
#define CUBE_MANAGER_LIFE_H

#include "manager.h"

struct cube_life;

/* Listens, and serves the API. lock_fd: owned. ends: where there is nothing to do. */
int cube_life_new(struct cube_manager *m, int lock_fd, bool ends, struct cube_life **ret,
		  struct cube_err *err);
/* After m->httpd: removes the socket and gives up the lock. NULL is fine. */
void cube_life_free(struct cube_life *life);

#endif
