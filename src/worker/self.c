#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"
#include "self.h"

static int hash_fd(int fd, char hex[CUBE_SHA256_HEX], struct cube_err *err) {
	uint8_t block[8192], digest[CUBE_SHA256_LEN];
	struct cube_sha256 sha;
	ssize_t n;

	cube_sha256_init(&sha);
	while ((n = read(fd, block, sizeof block)) != 0) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return cube_fail_sys(err, errno, "cannot read the worker's own file");
		cube_sha256_update(&sha, block, (size_t)n);
	}
	cube_sha256_final(&sha, digest);
	cube_sha256_hex(digest, hex);
	return 0;
}

int self_find(struct self *self, const char *argv0, struct cube_err *err) {
	ssize_t n = readlink("/proc/self/exe", self->path, sizeof self->path - 1);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), rc;

	if (n > 0) self->path[n] = '\0';
	else cube_format(self->path, sizeof self->path, "%s", argv0);
	if (fd < 0) fd = open(self->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return cube_fail_sys(err, errno, "%.200s", self->path);
	rc = hash_fd(fd, self->hex, err);
	close(fd);
	return rc;
}

const char *self_runnable(const char *path, char proc[SELF_PROC]) {
	if (access(path, X_OK) == 0) return path;
	cube_format(proc, SELF_PROC, "/proc/%d/exe", (int)getpid());
	return proc;
}

void self_parent(char *path) {
	char *slash = strrchr(path, '/');

	if (!slash) memcpy(path, ".", 2);
	else if (slash == path) path[1] = '\0';
	else *slash = '\0';
}
