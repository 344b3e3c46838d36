/* The parts of copies that may be on this host still (cube/copy.h): `put` notes each in the
 * daemon's folder, as a link in `copies`, for when the node is taken down. */
#ifndef WORKER_PARTS_H
#define WORKER_PARTS_H

#include "self.h"

struct parts { /* of a process that the daemon started; zero-initialise */
	char link[SELF_PATH + 32];
};

/* name, in the folder dir, is being made. arg: a struct parts. */
void parts_note(void *arg, int dir, const char *name);
/* The newest one is forgotten where it is there no more. */
void parts_settle(struct parts *p);
/* In the daemon's folder: removes those that are there. */
void parts_remove(void);

#endif
