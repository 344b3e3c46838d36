/* Control sockets: see sockets.h. */
#include "sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/listen.h"
#include "cube/mem.h"

#define TMP_NAME "/tmp/cube-login-"
/* "/" and a number; ssh adds "." and 16 letters of its own for a moment. */
enum { SUN_PATH_MAX = 107, NUMBER_MAX = 11, SSH_ADDS = 17 };

struct cube_sockets {
	char *dir;  /* as it was given, or NULL */
	char *path; /* the folder; NULL: not made yet */
	unsigned last;
};

struct cube_sockets *cube_sockets_new(const char *dir) {
	struct cube_sockets *s = cube_alloc(sizeof *s);
	s->dir = cube_strdup(dir);
	return s;
}

/* Never follows a link, and takes sockets only. */
static void clear(const char *path) {
	struct dirent *e;
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0) close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
			unlinkat(fd, e->d_name, 0);
	closedir(dir);
}

static bool is_ours(const char *path) {
	struct stat st;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* What an earlier one left. */
static void remove_old(const char *dir) {
	char old[sizeof TMP_NAME + 16];
	ssize_t n = readlink(dir, old, sizeof old - 1);
	if (n > 0) {
		old[n] = '\0';
		bool tmp = !strncmp(old, TMP_NAME, sizeof TMP_NAME - 1) &&
			   !strchr(old + sizeof TMP_NAME - 1, '/');
		if (tmp && is_ours(old)) {
			clear(old);
			rmdir(old);
		}
		unlink(dir);
	} else if (is_ours(dir)) {
		clear(dir);
	}
}

static bool fits(const char *dir) {
	static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._-+@,:";
	return *dir == '/' && strlen(dir) + NUMBER_MAX + SSH_ADDS <= SUN_PATH_MAX &&
	       !dir[strspn(dir, PLAIN)];
}

static int make_tmp(struct cube_sockets *s, struct cube_err *err) {
	char path[] = TMP_NAME "XXXXXX";
	if (!mkdtemp(path)) return cube_fail_sys(err, errno, "cannot make a folder in /tmp");
	s->path = cube_strdup(path);
	/* Without the link the folder would stay after a KILL; no more than that. */
	if (s->dir && symlink(path, s->dir) < 0) errno = 0;
	return 0;
}

static int make(struct cube_sockets *s, struct cube_err *err) {
	if (s->dir) remove_old(s->dir);
	if (!s->dir || !fits(s->dir)) return make_tmp(s, err);
	if (mkdir(s->dir, 0700) < 0 && (errno != EEXIST || !is_ours(s->dir)))
		return cube_fail_sys(err, errno, "cannot make folder %s", s->dir);
	if (chmod(s->dir, 0700) < 0) return cube_fail_sys(err, errno, "chmod of %s", s->dir);
	s->path = cube_strdup(s->dir);
	return 0;
}

int cube_sockets_next(struct cube_sockets *s, char **ret, struct cube_err *err) {
	int rc = s->path ? 0 : make(s, err);
	if (rc == 0) *ret = cube_strf("%s/%u", s->path, ++s->last);
	return rc;
}

bool cube_sockets_lives(const char *path) {
	int fd = -1, sys = cube_connect_unix_now(path, &fd);
	if (fd >= 0) close(fd);
	return sys == 0 || sys == EAGAIN;
}

void cube_sockets_free(struct cube_sockets *s) {
	if (!s) return;
	if (s->path) {
		clear(s->path);
		rmdir(s->path);
		if (s->dir && strcmp(s->dir, s->path) != 0) unlink(s->dir);
	}
	free(s->dir);
	free(s->path);
	free(s);
}
