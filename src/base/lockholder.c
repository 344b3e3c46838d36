/* A line of /proc/locks: "1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF". */
#include "cube/lockholder.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool number(const char **p, int base, unsigned long long *ret) {
	char *end;
	*ret = strtoull(*p, &end, base);
	bool is_one = end > *p;
	*p = *end ? end + 1 : end;
	return is_one;
}

/* Who holds it, or 0. One that waits has "->" before FLOCK. */
static pid_t holder(const char *line, const struct stat *st) {
	unsigned long long pid, major, minor, ino;
	const char *p = strstr(line, " WRITE ");
	if (!p || !strstr(line, ": FLOCK ")) return 0;
	p += strlen(" WRITE ");
	if (!number(&p, 10, &pid) || !number(&p, 16, &major) || !number(&p, 16, &minor) ||
	    !number(&p, 10, &ino))
		return 0;
	bool same = ino == st->st_ino && makedev((unsigned)major, (unsigned)minor) == st->st_dev;
	return same ? (pid_t)pid : 0;
}

pid_t cube_lock_holder(const char *path) {
	struct stat st;
	char line[256];
	pid_t found = 0;
	FILE *f = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
	while (f && !found && fgets(line, sizeof line, f)) found = holder(line, &st);
	if (f) fclose(f);
	return found;
}
