/* Small files in one piece. */
#ifndef CUBE_CLI_READFILE_H
#define CUBE_CLI_READFILE_H

#include <stddef.h>

#include "cube/err.h"

/* The content of path ("-": standard input), NUL-terminated, to be freed; ret_n may be NULL.
 * CUBE_ETOOBIG over max. */
int cube_read_file(const char *path, size_t max, char **ret_text, size_t *ret_n,
		   struct cube_err *err);

#endif
