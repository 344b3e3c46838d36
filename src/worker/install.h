/* The commands that the bootstrap script calls on a host; each returns the exit status. */
#ifndef WORKER_INSTALL_H
#define WORKER_INSTALL_H

#include <stdint.h>

/* Checks the program's own hash and moves it to its name in the same folder, or away. */
int install_main(const char *argv0, const char *hex, const char *nonce);

/* Joins fds 0 and 1 to the daemon of cluster.node, which is started where there is none. */
int attach_main(const char *argv0, const char *hex, const char *nonce, const char *cluster,
		const char *node);

#endif
