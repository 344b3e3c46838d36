/* The workers that cube carries: made for the machines it knows, and the sources for all others. */
#ifndef CUBE_IMAGES_H
#define CUBE_IMAGES_H

/* The embedded worker of an architecture as uname -m names it (x86_64, aarch64), or NULL. sha256
 * may be NULL. */
const void *cube_worker_image(const char *machine, unsigned long *ret_size, char sha256[65]);
/* The worker's sources: "F <name> <size>\n" and that many bytes, for each file. */
const void *cube_worker_sources(unsigned long *ret_size);
const char *cube_worker_machine(unsigned i); /* the i-th architecture's name, NULL past the last */

#endif
