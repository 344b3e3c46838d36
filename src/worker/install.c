#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/format.h"
#include "install.h"
#include "self.h"

#define OLD_NS (600 * (int64_t)CUBE_NS_PER_S)

/* Half-written uploads of bootstraps that were cut off. */
static void remove_old_uploads(const char *folder) {
	DIR *d = opendir(folder);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, ".tmp.", 5) != 0) continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
		if (cube_clock_wall() - (int64_t)st.st_mtime * (int64_t)CUBE_NS_PER_S > OLD_NS)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d) closedir(d);
}

static int move_into_place(const struct self *self, const char *hex, struct cube_err *err) {
	char folder[SELF_PATH], to[SELF_PATH + CUBE_SHA256_HEX + 1];

	if (strcmp(self->hex, hex) != 0)
		return cube_fail(err, CUBE_EVERSION, "the file arrived damaged: sha256 %s",
				 self->hex);
	memcpy(folder, self->path, sizeof folder);
	self_parent(folder);
	cube_format(to, sizeof to, "%s/%s", folder, hex);
	if (chmod(self->path, 0700) < 0 || rename(self->path, to) < 0)
		return cube_fail_sys(err, errno, "rename to %.100s", to);
	remove_old_uploads(folder);
	return 0;
}

int install_main(const char *argv0, const char *hex, const char *nonce) {
	struct self self = {.path = ""};
	struct cube_err err;
	int rc = self_find(&self, argv0, &err);

	if (rc == 0) rc = move_into_place(&self, hex, &err);
	if (rc == 0) {
		return cube_print(STDOUT_FILENO, "CUBE %s installed\n", nonce) == 0 ? 0 : 1;
	}
	if (self.path[0]) unlink(self.path);
	(void)cube_print(STDOUT_FILENO, "CUBE %s error %s\n", nonce, err.msg);
	return 1;
}
