/* Out of the login session: where logind is told to kill a user's processes at logout
 * (KillUserProcesses=yes, logind.conf(5)), a daemon that was started in an ssh session has to move
 * to a scope of the user's own service manager, which outlives the session only for a user who
 * lingers (loginctl enable-linger). */
#ifndef WORKER_SCOPE_H
#define WORKER_SCOPE_H

#include <stddef.h>

enum scope_verdict {
	SCOPE_SAFE,   /* no session, or logind lets it live */
	SCOPE_LINGER, /* it has to move, and may */
	SCOPE_DOOMED, /* it goes with the session: the user does not linger */
};
/* What becomes of this process at logout. */
enum scope_verdict scope_look(void);
/* Moves this process where that is needed. "" or one sentence for the user in notice. Blocks for
 * at most 10 s; before the loop runs. */
void scope_leave(char *notice, size_t size);

#endif
