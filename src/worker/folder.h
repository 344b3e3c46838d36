/* Folders: making private ones safely and removing trees. */
#ifndef WORKER_FOLDER_H
#define WORKER_FOLDER_H

#include <stdbool.h>
#include <sys/stat.h>

#include "cube/err.h"

/* Makes path (mode 0700) unless it is there, and checks that it is a folder of this user's and
 * not a symbolic link, closed to others. Goes into it (chdir). */
int folder_enter(const char *path, struct cube_err *err);

/* The working directory: as getcwd(3), which is 300 bytes of a static program. NULL and errno. */
const char *folder_name(char *buf, size_t size);

/* Whether path still names the working directory (it may have been removed or renamed). */
bool folder_is_here(const char *path);

/* Removes `name` in the folder dir with everything in it, following no symbolic link; what is not
 * there is no error. Takes two descriptors and no recursion, however deep the tree: subfolders
 * are moved up to the top before they are emptied. Returns 0; CUBE_AGAIN after `steps` system calls
 * (call again; 0 means no limit); CUBE_ESYS when something cannot be removed. */
int folder_remove(int dir, const char *name, unsigned steps, struct cube_err *err);

#endif
