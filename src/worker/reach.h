/* How a daemon is found: by its folder, with the lock and the socket in it; and where somebody
 * removed or moved those (a cleaner of old files, a person) by a name in the kernel, an abstract
 * socket, which nobody can remove. */
#ifndef WORKER_REACH_H
#define WORKER_REACH_H

#include "worker.h"

/* For attach: connects to the daemon of that folder, which is the working directory.
 * CUBE_ECONNECT: none listens. */
int reach_connect(uint64_t cluster, uint32_t node, const char *folder, int *ret_sock,
		  struct cube_err *err);

/* Takes the lock in the working directory. CUBE_ECONFLICT: another daemon has it. */
int reach_lock(struct worker *w, struct cube_err *err);
/* Listens at both places. CUBE_ECONFLICT: another daemon has the name. */
int reach_open(struct worker *w, cube_listen_fn *fn, struct cube_err *err);
void reach_close(struct worker *w); /* the lock stays until the process ends */

/* Whether the folder's path does not lead here any more; not while it cannot be looked at. */
bool reach_is_lost(const struct worker *w);
/* Makes again what is gone of folder, lock and socket. What cannot be made is logged and tried at
 * the next call; the name goes on meanwhile. */
void reach_mend(struct worker *w);

#endif
