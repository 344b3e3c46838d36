/* A process that ends our mortal children's groups when we are gone, however that came. Private to
 * this folder.
 *
 * The kernel tells only the child itself of its parent's end (spawn.c: PR_SET_PDEATHSIG); what that
 * had started, as the command of a `Match exec`, would stay. The guard is a shell that reads which
 * groups there are and, at the end of file, gives them a TERM and a second later a KILL. It is
 * started with the first such child, has no environment and no open file but that socket. */
#ifndef CUBE_IO_GUARD_H
#define CUBE_IO_GUARD_H

#include <sys/types.h>

/* The group that pid, a child, leads. Without a guard (no /bin/sh) it is the kernel's signal only.
 */
void cube_guard_add(pid_t pid);
void cube_guard_remove(pid_t pid); /* it was reaped; one that was never added is fine */

#endif
