/* Placing: a process that puts copies of stored files into an attempt's scratch folder.
 *
 * A process of its own, since a copy takes as long as the disk wants and the worker has to answer
 * meanwhile; and as it has ended before the task begins, nobody has a copy open for writing when
 * the task is executed (ETXTBSY). It is this worker's own file, run as `place`.
 *
 * Each copy is the task's own (shared blocks where the file system can, FICLONE), with the
 * permission bits the START says, whatever the umask; no set-id bits. */
#ifndef WORKER_PLACE_H
#define WORKER_PLACE_H

#include "files.h"

struct place { /* zero-initialise */
	struct files *f;
	struct files_seen *seen; /* the files that have to be checked, as they were before */
	uint32_t nseen;
	pid_t pid;                                           /* 0: none runs */
	int fd;                                              /* where it says why it failed */
	void (*done)(void *arg, const struct cube_err *err); /* NULL: all are there */
	void *arg;
};

/* The folder is files_scratch_name; what is there under that name goes first. 0, and done is called
 * later; or CUBE_ESYS, and nothing was done. done gets CUBE_EEXEC with .sys: ESTALE when a stored
 * file is missing or has another content than its name says (it is removed then), else what the
 * disk says. What was made stays then: files_scratch_remove. */
int place_start(struct place *p, struct files *f, const char *folder,
		const struct cube_msg_list *list, struct cube_err *err);
void place_kill(struct place *p);    /* done comes, soon, with an error */
void place_release(struct place *p); /* kills it; done does not come */

#endif
