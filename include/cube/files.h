/* Contents that tasks need, by hash: <state>/files/<sha256>, mode 0600.
 *
 * A content is on the disk before it has its name, and its name before commit returns. What lies
 * here may be changed all the same, by a person or by a bad disk: it is trusted while it looks as
 * it did when this manager took it in or read all of it; before that whoever reads it has to
 * compare the hash (cube_files_checked, cube_files_damaged). */
#ifndef CUBE_FILES_H
#define CUBE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

struct cube_files;

#define CUBE_FILE_SIZE_MAX (4ull << 30)

/* state: the state folder. */
int cube_files_new(const char *state, struct cube_files **ret, struct cube_err *err);
void cube_files_free(struct cube_files *files);
bool cube_files_has(struct cube_files *files, const char *sha256hex);
struct cube_file_mark { /* how a content looks: compared as bytes */
	uint64_t dev, ino, size;
	int64_t changed, changed_ns; /* ctime: nobody can set it back */
};
struct cube_file_open {
	int fd; /* read-only; the caller's */
	struct cube_file_mark mark;
	bool trusted; /* false: compare the hash of what is read */
};
/* CUBE_ENOTFOUND, CUBE_ESYS. */
int cube_files_open(struct cube_files *files, const char *sha256hex, struct cube_file_open *ret,
		    struct cube_err *err);
/* All of it was read, and has its hash: trusted from now on. */
void cube_files_checked(struct cube_files *files, const char *sha256hex,
			const struct cube_file_mark *mark);
/* It has not: it is removed, unless another is there meanwhile. Sets *err, says what to do. */
int cube_files_damaged(struct cube_files *files, const char *sha256hex,
		       const struct cube_file_mark *mark, struct cube_err *err);

/* Taking a content in: begin, any number of adds, then commit (checks the hash: CUBE_EUSAGE) or
 * abort. Both free it. commit waits for the disk: most is there by then. Half-taken ones are
 * removed at the next start. */
struct cube_file_in;
int cube_file_in_begin(struct cube_files *files, const char *sha256hex, struct cube_file_in **ret,
		       struct cube_err *err);
int cube_file_in_add(struct cube_file_in *in, const void *bytes, size_t n, struct cube_err *err);
int cube_file_in_commit(struct cube_file_in *in, struct cube_err *err);
void cube_file_in_abort(struct cube_file_in *in); /* NULL is fine */

#endif
