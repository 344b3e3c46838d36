#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/copy.h"
#include "cube/format.h"
#include "parts.h"
#include "self.h"

#define LIST "copies" /* paths, each with its NUL */
enum { PATH_LEN = 2 * SELF_PATH, CHUNK = 4096 };

/* A part that cannot be noted stays when it is cut off, as without us. */
void parts_note(void *arg, int dir, const char *name) {
	const char *cookie = getenv("CUBE_NODE_COOKIE"),
		   *folder = cookie ? strchr(cookie, '@') : NULL;
	char path[PATH_LEN], link[40];
	ssize_t n;
	int fd;

	if (!folder) return;
	cube_format(path, sizeof path, "%s/" LIST, folder + 1);
	cube_format(link, sizeof link, "/proc/self/fd/%d", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	n = fd < 0 ? -1 : readlink(link, path, SELF_PATH);
	if (n > 0 && n < SELF_PATH) {
		n += cube_format(path + n, sizeof path - (size_t)n, "/%s", name) + 1;
		(void)cube_write_all(fd, path, (size_t)n);
	}
	if (fd >= 0) close(fd);
}

void parts_remove(void) {
	int fd = open(LIST, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char path[PATH_LEN], chunk[CHUNK];
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (len < sizeof path) path[len++] = chunk[i];
			if (chunk[i]) continue;
			if (path[0] == '/' && !path[len - 1]) cube_part_remove(path);
			len = 0;
		}
	if (fd >= 0) close(fd);
	unlink(LIST);
}
