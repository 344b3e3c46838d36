#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/format.h"
#include "folder.h"

int folder_enter(const char *path, struct cube_err *err) {
	struct stat st, here;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) return cube_fail_sys(err, errno, "%s", path);
	if (lstat(path, &st) < 0) return cube_fail_sys(err, errno, "%s", path);
	if (!S_ISDIR(st.st_mode)) return cube_fail_sys(err, ENOTDIR, "%s", path);
	if (st.st_uid != geteuid())
		return cube_fail(err, CUBE_ESYS, "%s belongs to another user", path);
	if ((st.st_mode & 0700) != 0700) chmod(path, 0700); /* a failure shows in a moment */
	if (chdir(path) < 0 || stat(".", &here) < 0) return cube_fail_sys(err, errno, "%s", path);
	if (here.st_dev != st.st_dev || here.st_ino != st.st_ino)
		return cube_fail(err, CUBE_ESYS, "%s was replaced meanwhile", path);
	if ((here.st_mode & 077) && chmod(".", 0700) < 0)
		return cube_fail_sys(err, errno, "%s", path);
	return 0;
}

const char *folder_name(char *buf, size_t size) {
	return syscall(SYS_getcwd, buf, size) > 0 && buf[0] == '/' ? buf : NULL;
}

bool folder_is_here(const char *path) {
	struct stat a, b;

	return lstat(path, &a) == 0 && stat(".", &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

enum { REMOVE_TRIES = 100 };

/* A walk that empties the folder `top`. */
struct removal {
	int top;
	unsigned steps, limit, moved;
};

static bool spent(struct removal *rm) {
	return ++rm->steps > rm->limit && rm->limit;
}

static bool is_dots(const char *name) {
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static DIR *open_dir(int dir, const char *name) {
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d;

	if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return NULL;
	fchmod(fd, 0700); /* its entries are about to go; a failure shows there */
	d = fdopendir(fd);
	if (!d) close(fd);
	return d;
}

/* Moves a folder that is not empty to the top, under a name that is free there. */
static int move_up(struct removal *rm, int dir, const char *name) {
	char to[32];

	fchmodat(dir, name, 0700, 0); /* moving a folder changes its "..": it must be writable */
	for (;;) {
		cube_format(to, sizeof to, ".cube-rm.%u", rm->moved++);
		if (renameat(dir, name, rm->top, to) == 0) return 0;
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) return -1;
	}
}

/* Removes a file or an empty folder. 0; 1: a folder with something in it; -1: errno. */
static int remove_one(int dir, const char *name) {
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
	if (errno != EISDIR && errno != EPERM) return -1;
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
	return errno == ENOTEMPTY || errno == EEXIST ? 1 : -1;
}

/* Empties one folder that lies directly in the top, its folders move up. */
static int empty_child(struct removal *rm, const char *name) {
	DIR *d = open_dir(rm->top, name);
	struct dirent *e;
	int rc = 0, sys;

	if (!d) return -1;
	while (rc == 0 && (e = readdir(d))) {
		if (is_dots(e->d_name)) continue;
		if (spent(rm)) rc = CUBE_AGAIN;
		else if ((rc = remove_one(dirfd(d), e->d_name)) == 1)
			rc = move_up(rm, dirfd(d), e->d_name);
	}
	sys = errno;
	closedir(d);
	if (rc == 0 && unlinkat(rm->top, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return errno == ENOTEMPTY || errno == EEXIST ? 0 : -1; /* again in the next pass */
	errno = sys;
	return rc;
}

/* One pass over the top. *ret_seen: how many entries there were. */
static int empty_top(struct removal *rm, DIR *d, unsigned *ret_seen) {
	struct dirent *e;
	int rc = 0;

	*ret_seen = 0;
	rewinddir(d);
	while (rc == 0 && (e = readdir(d))) {
		if (is_dots(e->d_name)) continue;
		(*ret_seen)++;
		if (spent(rm)) return CUBE_AGAIN;
		rc = remove_one(rm->top, e->d_name);
		if (rc == 1) rc = empty_child(rm, e->d_name);
	}
	return rc;
}

int folder_remove(int dir, const char *name, unsigned steps, struct cube_err *err) {
	struct removal rm = {.limit = steps};
	unsigned seen = 1;
	int rc = remove_one(dir, name);
	DIR *d;

	if (rc <= 0) return rc < 0 ? cube_fail_sys(err, errno, "%s", name) : 0;
	d = open_dir(dir, name);
	if (!d) return cube_fail_sys(err, errno, "%s", name);
	rm.top = dirfd(d);
	for (int tries = 0; tries < REMOVE_TRIES; tries++) {
		do rc = empty_top(&rm, d, &seen);
		while (rc == 0 && seen);
		if (rc != 0) break; /* CUBE_AGAIN, or a failure */
		rc = remove_one(dir, name);
		if (rc <= 0) break;
		errno = ENOTEMPTY; /* somebody has put a file into it meanwhile */
		rc = -1;
	}
	if (rc < 0) rc = cube_fail_sys(err, errno, "%s", name);
	closedir(d);
	return rc;
}
