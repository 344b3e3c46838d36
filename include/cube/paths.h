/* Where a cluster's manager keeps its things on this machine; CLI and manager agree by this.
 *
 *   state   $CUBE_STATE_DIR/<cluster>, else $XDG_STATE_HOME/cube/<cluster>, else
 *           ~/.local/state/cube/<cluster>
 *   socket  <state>/sock
 *
 * The socket is not in $XDG_RUNTIME_DIR: that is set in a login session and not under cron or su,
 * whose commands would not find the manager; and it is removed at logout, when a manager goes on.
 */
#ifndef CUBE_PATHS_H
#define CUBE_PATHS_H

#include "cube/err.h"

struct cube_paths {
	char cluster[64];
	char state[4096];
	char socket[4096 + 16];
};

/* cluster: NULL is $CUBE_CLUSTER, else "default"; 1..63 of letters, digits, ._- not beginning with
 * '.' or '-'. Makes nothing. CUBE_EUSAGE, also when neither HOME nor the variables are set. */
int cube_paths_find(const char *cluster, struct cube_paths *ret, struct cube_err *err);

/* What can be made again: $XDG_CACHE_HOME/cube, else ~/.cache/cube; shared by all clusters. Makes
 * nothing. A fresh string, or NULL where neither is set: then nothing is kept. */
char *cube_paths_cache(void);

/* Where $PATH (or, without it, the usual folders) has a program of this name; fresh, or NULL. */
char *cube_paths_program(const char *name);

/* mkdir -p with mode 0700 for what it makes. CUBE_ESYS names the folder that failed. */
int cube_paths_make(const char *dir, struct cube_err *err);

/* The state folder, made where it is not there. CUBE_EUSAGE where it belongs to another user, as
 * with sudo -E: what we made there its owner could not use. */
int cube_paths_own(const char *dir, struct cube_err *err);

#endif
