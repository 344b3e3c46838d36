/* The daemon: one loop that listens for attach processes and looks after the attempts. */
#ifndef WORKER_DAEMON_H
#define WORKER_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "self.h"

struct daemon_options {
	const char *folder; /* absolute; already the working directory */
	const char *name;   /* the node's, until HELLO tells it; "" is fine */
	uint64_t cluster;
	uint32_t node;
	const struct self *self;
	/* Started by attach: the folder lies in BASE/run and the program in BASE/bin, all made for
	 * cube: SHUTDOWN removes it whole. Else only what was made in it goes. */
	bool managed;
	char notice[240]; /* for the manager's user, see scope.h; or "" */
	/* Told when it listens: one 'R'; or 'C' when another daemon holds the lock; or 'E' and why
	 * it could not start. Closed then. -1: nobody asks. */
	int ready_fd;
	void (*ready)(const struct daemon_options *o); /* called when it listens; may be NULL */
};

/* Runs it to its end; the process's exit status. */
int daemon_run(const struct daemon_options *o);

#endif
