/* Content-addressed files, and the scratch folders they are copied into.
 *
 * In the worker's folder (the process's working directory): files/<sha256> is a whole, checked
 * file; files/.tmp.<sha256> one that is being received; scratch/<task>.<attempt> the folder of
 * an attempt that was given files.
 *
 * A task gets copies (place.h), never a link: what it writes into its file is its own affair. And
 * as all tasks are the same user's, who may do as he likes in here too, a stored file is used as it
 * is only while it looks as it did when this daemon stored or checked it; else it is checked again.
 */
#ifndef WORKER_FILES_H
#define WORKER_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/loop.h"
#include "cube/msg.h"
#include "cube/sha256.h"

#define FILES_PUSHES_MAX 16
#define FILES_NAME_LEN   80 /* "files/.tmp.<sha256>" */

struct files_push {
	bool used;
	int fd;
	uint64_t size, received;
	uint8_t sha256[CUBE_SHA256_LEN];
	struct cube_sha256 hash;
};

struct files_seen { /* compared as bytes */
	uint8_t sha256[CUBE_SHA256_LEN];
	uint64_t dev, ino, size, mode;
	int64_t changed, changed_ns; /* ctime: nobody can set it back */
};

struct files {
	struct cube_loop *loop;
	const char *self, *node_cookie; /* of the worker; the owner's */
	struct files_seen *known;       /* those that were stored or checked by this daemon */
	size_t nknown, known_max;
	struct cube_timer *remover;
	unsigned dead; /* numbers the scratch folders that wait for removal */
	struct files_push pushes[FILES_PUSHES_MAX];
};

/* Clears what an earlier daemon left (scratch, half files), keeps whole files. */
void files_init(struct files *f, struct cube_loop *loop, const char *self, const char *node_cookie);
void files_done(struct files *f); /* ends pushes; leaves the disk as it is */

/* Take a message. 0: nothing to answer; 1: *reply is a PUSH_DONE to send; CUBE_EPROTO. */
int files_push(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
	       struct cube_err *err);
int files_push_data(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
		    struct cube_err *err);
void files_drop_pushes(struct files *f); /* the session is over: half files go */

/* Whether a stored file needs no check; *ret is how it looks now. After a check that looked at it
 * later, files_note(ret) makes it known: a change meanwhile will show. */
bool files_known(struct files *f, const uint8_t *sha256, struct files_seen *ret);
void files_note(struct files *f, const struct files_seen *seen);

#define FILES_SCRATCH_LEN 48 /* "scratch/<task>.<attempt>" */
char *files_scratch_name(uint64_t task, uint32_t attempt, char name[FILES_SCRATCH_LEN]);
/* Removes it where it is there, big trees bit by bit over the next turns. */
void files_scratch_remove(struct files *f, uint64_t task, uint32_t attempt);

#endif
