/* The lock that says who the manager is, and taking the place of one that runs. */
#ifndef CUBE_MANAGER_REPLACE_H
#define CUBE_MANAGER_REPLACE_H

#include <stdbool.h>

#include "cube/err.h"
#include "cube/paths.h"

/* Takes the lock of the state folder; it is held by *ret_fd and needs no cleaning up. With replace
 * whoever holds it is asked to end. A holder that nobody can reach is about to end, or to listen:
 * it is waited for, half a minute. CUBE_ECONFLICT when a manager runs, with its pid and what to do.
 */
int cube_manager_lock(const struct cube_paths *paths, bool replace, int *ret_fd,
		      struct cube_err *err);

#endif
