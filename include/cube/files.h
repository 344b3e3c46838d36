/* Contents that tasks need, by hash: <state>/files/<sha256>, mode 0600. */
#ifndef CUBE_FILES_H
#define CUBE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/manager.h"

#define CUBE_FILE_SIZE_MAX (4ull << 30)

int cube_files_new(struct cube_manager *m, struct cube_files **ret, struct cube_err *err);
void cube_files_free(struct cube_files *files);
bool cube_files_has(struct cube_files *files, const char *sha256hex);
/* A read-only fd and the size; CUBE_ENOTFOUND. */
int cube_files_open(struct cube_files *files, const char *sha256hex, int *ret_fd,
		    uint64_t *ret_size, struct cube_err *err);

/* Taking a content in: begin, any number of adds, then commit (checks the hash: CUBE_EUSAGE) or
 * abort. Both free it. Half-taken ones are removed at the next start. */
struct cube_file_in;
int cube_file_in_begin(struct cube_files *files, const char *sha256hex, struct cube_file_in **ret,
		       struct cube_err *err);
int cube_file_in_add(struct cube_file_in *in, const void *bytes, size_t n, struct cube_err *err);
int cube_file_in_commit(struct cube_file_in *in, struct cube_err *err);
void cube_file_in_abort(struct cube_file_in *in); /* NULL is fine */

#endif
