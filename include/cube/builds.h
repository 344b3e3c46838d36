/* Workers by architecture: those inside cube, and those built here when a host needs one.
 *
 * cube carries the worker's sources. A build unpacks them into <cache>/workers, runs one compiler
 * command (cross.h) and keeps the result as <machine>-<sources>-<sha256>: other sources, or a file
 * whose content is not what its name says, are never used. Hosts that need the same one wait for
 * the same build. */
#ifndef CUBE_BUILDS_H
#define CUBE_BUILDS_H

#include "cube/err.h"
#include "cube/list.h"
#include "cube/loop.h"

struct cube_image {
	char machine[33];
	char sha256[65];
	const void *bytes;
	unsigned long size;
};

struct cube_builds;
/* cache: folder of things that can be made again (made when needed); NULL: nothing can be built. */
void cube_builds_new(struct cube_loop *loop, const char *cache, struct cube_builds **ret);
void cube_builds_free(struct cube_builds *b); /* ends a compiler that runs; NULL is fine */

/* The i-th there is now, NULL past the last. Images live as long as b. */
const struct cube_image *cube_builds_at(const struct cube_builds *b, size_t i);
const struct cube_image *cube_builds_find(const struct cube_builds *b, const char *machine);

/* Waiting for a build. fn: the image; or the error, which names the file with the compiler's whole
 * output; or neither, every few seconds: it still goes on. Zero-initialise; over after the first
 * two, or when cancelled. */
typedef void cube_builds_fn(void *arg, const struct cube_image *image, const struct cube_err *err);
struct cube_builds_wait {
	struct cube_list entry;
	cube_builds_fn *fn;
	void *arg;
};
/* fn never runs inside the call. CUBE_ENOTFOUND: no compiler (says what to install). */
int cube_builds_make(struct cube_builds *b, const char *machine, struct cube_builds_wait *wait,
		     struct cube_err *err);
void cube_builds_cancel(struct cube_builds_wait *wait); /* the build itself goes on */

#endif
