/* Hanging up on a child process. */
#ifndef CUBE_HANGUP_H
#define CUBE_HANGUP_H

#include <sys/types.h>

#include "cube/list.h"
#include "cube/loop.h"

/* Ends the process group that pid, a child, leads: TERM, and KILL for what is still there when pid
 * was reaped or after 2 s. `dying` (a list head) remembers those on their way. */
void cube_hang_up(struct cube_loop *loop, struct cube_list *dying, pid_t pid);
void cube_hang_up_all(struct cube_list *dying); /* KILL now: the loop is about to end */

#endif
