/* The commands that the bootstrap script calls on a host; each returns the exit status. */
#ifndef WORKER_INSTALL_H
#define WORKER_INSTALL_H

#include <stdint.h>

/* Checks the program's own hash and moves it to its name in the same folder, or away. */
int install_main(const char *argv0, const char *hex, const char *nonce);

/* Joins fds 0 and 1 to the daemon of cluster.node, which is started where there is none. place: the
 * number of our folder among those that may hold a worker, or NULL: with it "attach" names the
 * folder, and "skip" says that it takes no file any more (then this one goes, if nobody else lives
 * there). */
int attach_main(const char *argv0, const char *hex, const char *nonce, const char *cluster,
		const char *node, const char *place);

#endif
