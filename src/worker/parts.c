#include "parts.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/copy.h"
#include "cube/format.h"
#include "cube/id.h"
#include "cube/sha256.h"

#define LIST "copies"

void parts_settle(struct parts *p) {
	if (access(p->link, F_OK) < 0) unlink(p->link);
}

/* A part that cannot be noted stays when it is cut off, as without us. One follows the other, and
 * the link of one that is taken up again is the same, so that there are as many as there are parts.
 */
void parts_note(void *arg, int dir, const char *name) {
	const char *cookie = getenv("CUBE_NODE_COOKIE"),
		   *folder = cookie ? strchr(cookie, '@') : NULL;
	char path[SELF_PATH], fd[40], hex[CUBE_ID_HEX];
	uint8_t digest[CUBE_SHA256_LEN];
	uint64_t id;
	struct parts *p = arg;
	ssize_t n;

	parts_settle(p);
	cube_format(fd, sizeof fd, "/proc/self/fd/%d", dir);
	n = readlink(fd, path, sizeof path);
	if (!folder || n <= 0 || (size_t)n >= sizeof path) return;
	n += cube_format(path + n, sizeof path - (size_t)n, "/%s", name);
	if ((size_t)n >= sizeof path) return;
	cube_sha256_of(path, (size_t)n, digest);
	memcpy(&id, digest, sizeof id);
	cube_format(p->link, sizeof p->link, "%s/" LIST, folder + 1);
	mkdir(p->link, 0700);
	cube_format(p->link, sizeof p->link, "%s/" LIST "/%s", folder + 1, cube_id_hex(id, hex));
	(void)!symlink(path, p->link);
}

void parts_remove(void) {
	DIR *d = opendir(LIST);
	char path[SELF_PATH];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, path, sizeof path - 1);

		if (n <= 0) continue;
		path[n] = '\0';
		cube_part_remove(path);
	}
	if (d) closedir(d);
}
