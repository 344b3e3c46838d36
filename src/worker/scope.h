/* Out of the login session: where logind is told to kill a user's processes at logout
 * (KillUserProcesses=yes, logind.conf(5)), a daemon that was started in an ssh session has to move
 * to a scope of the user's own service manager, which outlives the session only for a user who
 * lingers (loginctl enable-linger). */
#ifndef WORKER_SCOPE_H
#define WORKER_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

struct scope_logind { /* zero-initialise: logind's defaults as distributions build it */
	bool kill;
	bool has_exclude;
	char exclude[512],
		only[512]; /* user names; exclude counts where has_exclude, else "root" */
};
/* Takes one configuration file's text; later files override. */
void scope_read(struct scope_logind *l, const char *text);
bool scope_kills(const struct scope_logind *l, const char *user);
/* The path of /proc/self/cgroup's text lies in a login session. */
bool scope_is_session(const char *cgroup);

enum scope_verdict {
	SCOPE_SAFE,   /* no session, or logind lets it live */
	SCOPE_LINGER, /* it has to move, and may */
	SCOPE_DOOMED, /* it goes with the session: the user does not linger */
};
/* What becomes of this process at logout. */
enum scope_verdict scope_look(void);
/* Moves this process where that is needed. "" or one sentence for the user in notice. Blocks for
 * at most 5 s; before the loop runs. */
void scope_leave(char *notice, size_t size);

#endif
