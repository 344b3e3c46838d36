/* Answers of `ssh -G`, remembered in memory and, where that is right, on disk. Private to this
 * folder.
 *
 * What belongs to one stamp is one table and one file, DIR/ssh-<stamp>:
 *
 *   cube ssh answers 1 <stamp>\n
 *   <id> <bytes> <sum>\n<bytes bytes>\n        ...
 *
 * stamp and id are 32 hex digits, sum 16 of the SHA-256 of id and bytes. The file is only appended
 * to, under a lock, whole records at once, by as many processes as like. One that is damaged, not a
 * plain file, not ours or readable by others is left out of use (and, where it is ours, begun
 * anew). The 8 files used last are kept. */
#ifndef CUBE_TRANSPORT_SSH_ANSWERS_H
#define CUBE_TRANSPORT_SSH_ANSWERS_H

#include <stddef.h>

#include "ssh_stamp.h"

enum {
	CUBE_SSH_ANSWER_MAX = 64 * 1024, /* bytes of one */
	CUBE_SSH_ANSWERS_MAX = 100000,   /* in a table */
	CUBE_SSH_ANSWERS_BYTES = 64 << 20,
};

struct cube_ssh_answers;
/* dir: NULL keeps nothing on disk; else it is made when something is to be kept. */
struct cube_ssh_answers *cube_ssh_answers_new(const char *dir);
void cube_ssh_answers_free(struct cube_ssh_answers *a); /* flushes */

/* The answer, borrowed until the next call, or NULL. now: loop time; what does not last is
 * forgotten five minutes after it was put. */
const char *cube_ssh_answers_get(struct cube_ssh_answers *a, const struct cube_ssh_stamp *stamp,
				 const char *key, uint64_t now, size_t *ret_n);
void cube_ssh_answers_put(struct cube_ssh_answers *a, const struct cube_ssh_stamp *stamp,
			  const char *key, uint64_t now, const char *text, size_t n);
/* Writes what was put. Errors lose answers, nothing else. */
void cube_ssh_answers_flush(struct cube_ssh_answers *a);

#endif
