/* Content-addressed files, and the scratch folders they are linked into.
 *
 * In the worker's folder (the process's working directory): files/<sha256> is a whole, checked
 * file; files/.tmp.<sha256> one that is being received; scratch/<task>.<attempt> the folder of
 * an attempt that was given files.
 *
 * Files are linked, not copied, where the wanted executable bits are those of the stored file, so
 * the copy a task sees has no write bits: a task that could write into it would change the file
 * for all later ones. Only one that needs other executable bits gets a copy of its own.
 */
#ifndef WORKER_FILES_H
#define WORKER_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/loop.h"
#include "cube/msg.h"
#include "cube/sha256.h"

#define FILES_PUSHES_MAX 16

struct files_push {
	bool used;
	int fd;
	uint64_t size, received;
	uint8_t sha256[CUBE_SHA256_LEN];
	struct cube_sha256 hash;
};

struct files {
	struct cube_loop *loop;
	struct cube_timer *remover;
	unsigned dead; /* numbers the scratch folders that wait for removal */
	struct files_push pushes[FILES_PUSHES_MAX];
};

/* Clears what an earlier daemon left (scratch, half files), keeps whole files. */
void files_init(struct files *f, struct cube_loop *loop);
void files_done(struct files *f); /* ends pushes; leaves the disk as it is */

/* Take a message. 0: nothing to answer; 1: *reply is a PUSH_DONE to send; CUBE_EPROTO. */
int files_push(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
	       struct cube_err *err);
int files_push_data(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
		    struct cube_err *err);
void files_drop_pushes(struct files *f); /* the session is over: half files go */

#define FILES_SCRATCH_LEN 48 /* "scratch/<task>.<attempt>" */
char *files_scratch_name(uint64_t task, uint32_t attempt, char name[FILES_SCRATCH_LEN]);
/* Makes the scratch folder with its files. CUBE_EEXEC with .sys = ENOENT when one is missing; what
 * was made is removed on failure. */
int files_scratch_make(struct files *f, uint64_t task, uint32_t attempt,
		       const struct cube_msg_list *list, struct cube_err *err);
/* Removes it, big trees bit by bit over the next turns. */
void files_scratch_remove(struct files *f, uint64_t task, uint32_t attempt);

#endif
