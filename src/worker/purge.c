#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cube/format.h"
#include "folder.h"
#include "purge.h"
#include "self.h"

void purge_folder(const char *folder, bool whole) {
	static const char *const MADE[] = {"sock",       "scratch", "files",
					   "worker.log", "copies",  "lock"};
	char away[SELF_PATH + 32];

	if (whole && folder_is_here(folder)) {
		cube_format(away, sizeof away, "%s.gone.%ld", folder, (long)getpid());
		if (rename(folder, away) < 0) memcpy(away, folder, strlen(folder) + 1);
		if (chdir("/") == 0) folder_remove(AT_FDCWD, away, 0, NULL);
		return;
	}
	for (size_t i = 0; i < sizeof MADE / sizeof *MADE; i++)
		folder_remove(AT_FDCWD, MADE[i], 0, NULL);
	if (chdir("/") == 0) rmdir(folder);
}

static char *join(char *to, size_t size, const char *folder, const char *name) {
	cube_format(to, size, "%s/%s", folder, name);
	return to;
}

/* A worker of some build, by its name; or what an upload that was cut off left. */
static bool is_worker(const char *name) {
	return strncmp(name, ".tmp.", 5) == 0 ||
	       (strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64);
}

static void purge_bin(const char *bin) {
	DIR *d = opendir(bin);
	for (struct dirent *e; d && (e = readdir(d));)
		if (is_worker(e->d_name)) unlinkat(dirfd(d), e->d_name, 0);
	if (d) closedir(d);
}

void purge_base(const char *exe, enum purge_what what) {
	char base[SELF_PATH], path[SELF_PATH + 16];
	int made, turn;
	bool alone;

	memcpy(base, exe, strnlen(exe, sizeof base - 1) + 1);
	self_parent(base);
	self_parent(base);
	/* Several daemons of one host may be told at once: one after the other, or each takes the
	 * other for the one that will remove the parent. The lock goes with the process. */
	turn = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (turn >= 0) flock(turn, LOCK_EX);
	alone = rmdir(join(path, sizeof path, base, "run")) == 0 || errno == ENOENT;
	if (what == PURGE_NOTHING) return;
	unlink(exe);
	join(path, sizeof path, base, "bin");
	if (what == PURGE_ALL && alone) purge_bin(path);
	rmdir(path);
	made = unlink(join(path, sizeof path, base, ".made-parent"));
	if (rmdir(base) == 0) {
		self_parent(base);
		if (made == 0) rmdir(base);
	} else if (made == 0) { /* the last one to leave will need it */
		made = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (made >= 0) close(made);
	}
}
