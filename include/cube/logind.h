/* Does logind kill a user's processes at logout? Text parsers for logind.conf(5) and
 * /proc/self/cgroup. */
#ifndef CUBE_LOGIND_H
#define CUBE_LOGIND_H

#include <stdbool.h>

struct cube_logind { /* zero-initialise: logind's defaults as distributions build it */
	bool kill;
	bool has_exclude;
	char exclude[512],
		only[512]; /* user names; exclude counts where has_exclude, else "root" */
};
/* Takes one configuration file's text; later files override. */
void cube_logind_read(struct cube_logind *l, const char *text);
bool cube_logind_kills(const struct cube_logind *l, const char *user);
/* The path of /proc/self/cgroup's text lies in a login session. */
bool cube_logind_is_session(const char *cgroup);

#endif
