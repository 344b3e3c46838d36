/* Who holds a lock file. */
#ifndef CUBE_LOCKHOLDER_H
#define CUBE_LOCKHOLDER_H

#include <sys/types.h>

/* The process that took the flock(2) of the file at path, as the kernel says (/proc/locks); 0 where
 * there is none, or none that this process can see. */
pid_t cube_lock_holder(const char *path);

#endif
