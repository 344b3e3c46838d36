/* The parts of copies that may be on this host still (cube/copy.h): `put` notes each in the
 * daemon's folder, for when the node is taken down. */
#ifndef WORKER_PARTS_H
#define WORKER_PARTS_H

/* In a process that the daemon started: name, in the folder dir, is being made. */
void parts_note(void *arg, int dir, const char *name);
/* In the daemon's folder: removes those that are there. */
void parts_remove(void);

#endif
