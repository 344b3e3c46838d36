/* Leaving a host as it was. */
#ifndef WORKER_PURGE_H
#define WORKER_PURGE_H

#include <stdbool.h>

/* Removes the worker's folder, which is the working directory. whole: with everything in it, and
 * out of sight at once (it is renamed first, so that a new worker can start beside the old one's
 * end); else only what a worker makes, and the folder itself where it is then empty. */
void purge_folder(const char *folder, bool whole);

enum purge_what { /* as SHUTDOWN has it */
		  PURGE_NOTHING,
		  PURGE_ALL,
		  PURGE_OWN, /* this worker is replaced by one of another build, whose file is there
				already */
};

/* exe: BASE/bin/<sha256>. Removes BASE/run where it is empty. PURGE_OWN: also exe. PURGE_ALL: where
 * run was empty, so that no other daemon lives there, all workers in bin, of earlier builds too,
 * else exe; and then bin, BASE and the parent that the bootstrap made for it (BASE/.made-parent),
 * each only where it is empty: what belongs to another cluster stays. */
void purge_base(const char *exe, enum purge_what what);

#endif
