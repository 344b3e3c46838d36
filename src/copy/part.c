#include "part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/copy.h"
#include "cube/format.h"

#define SUFFIX ".cube-part"
enum {
	SUFFIX_LEN = sizeof SUFFIX - 1,
	NAME_KEPT = 227,
	TAIL = 1 + 16 + SUFFIX_LEN,
	TRIES = 64, /* others may tidy it away before it is locked */
};

static void name_part(char name[256], const char *target, uint64_t id) {
	cube_format(name, 256, ".%.*s.%016" PRIx64 SUFFIX, NAME_KEPT, target, id);
}

static void split_mtime(int64_t mtime, struct timespec times[2]) {
	int64_t s = mtime / (int64_t)CUBE_NS_PER_S, ns = mtime % (int64_t)CUBE_NS_PER_S;

	if (ns < 0) ns += (int64_t)CUBE_NS_PER_S, s--;
	times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	times[1] = (struct timespec){.tv_sec = (time_t)s, .tv_nsec = (long)ns};
}

int part_set(int fd, uint32_t mode, int64_t mtime) {
	struct timespec times[2];

	split_mtime(mtime, times);
	return fchmod(fd, mode & 0777) < 0 || futimens(fd, times) < 0 ? -1 : 0;
}

int64_t part_mtime(const struct stat *st) {
	const int64_t limit = INT64_MAX / (int64_t)CUBE_NS_PER_S - 1;
	int64_t s = st->st_mtim.tv_sec;

	if (s > limit) s = limit;
	if (s < -limit) s = -limit;
	return s * (int64_t)CUBE_NS_PER_S + st->st_mtim.tv_nsec;
}

/* A file that somebody else put there, or linked somewhere, is not written to. */
static bool ours(int fd) {
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       st.st_nlink == 1;
}

static bool is_there(int dir, const char *name, int fd) {
	struct stat a, b;

	return fstatat(dir, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &b) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* A name belongs to who has locked the file it leads to: only they remove it or give it another.
 * Looked at once locked, as others who tidied up may have made room for a new part meanwhile. What
 * could not be opened (-1) has no lock. */
static bool may_remove(int dir, const char *name, int fd) {
	return fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_there(dir, name, fd));
}

const char *part_open(struct part *p, int dir, const char *target, uint64_t id, bool resumes,
		      bool wait) {
	p->dir = dir;
	p->resumes = resumes;
	cube_format(p->target, sizeof p->target, "%s", target);
	name_part(p->name, target, id);
	for (int tries = 0; tries < TRIES; tries++) {
		p->fd = openat(dir, p->name,
			       O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
			       0600);
		if (p->fd < 0 && errno != ELOOP && errno != ENXIO) return strerror(errno);
		if (p->fd >= 0 && ours(p->fd)) {
			/* a random name is only ever held by who tidies up, and not for long */
			if (flock(p->fd, LOCK_EX | (wait || !resumes ? 0 : LOCK_NB)) < 0) {
				close(p->fd);
				p->fd = -1;
				errno = 0;
				return "another copy of it is under way";
			}
			/* who held it before may have given it its name, or removed it */
			if (is_there(dir, p->name, p->fd)) {
				if (!resumes && ftruncate(p->fd, 0) < 0) break;
				return NULL;
			}
		} else if (may_remove(dir, p->name, p->fd) && unlinkat(dir, p->name, 0) < 0 &&
			   errno != ENOENT) {
			break;
		}
		if (p->fd >= 0) close(p->fd);
		p->fd = -1;
	}
	part_remove(p);
	errno = 0;
	return "somebody else's file is in the way";
}

void part_close(struct part *p) {
	struct stat st;

	if (p->fd < 0) return;
	if (!p->resumes || fstat(p->fd, &st) < 0 || st.st_size == 0) unlinkat(p->dir, p->name, 0);
	close(p->fd);
	p->fd = -1;
}

void part_remove(struct part *p) {
	p->resumes = false;
	part_close(p);
}

const char *part_finish(struct part *p, uint32_t mode, int64_t mtime) {
	struct stat st;
	const char *message = NULL;

	errno = 0;
	if (fstatat(p->dir, p->target, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) &&
	    !S_ISLNK(st.st_mode))
		message = S_ISDIR(st.st_mode) ? "a folder is in the way"
					      : "something that is no file is in the way";
	else if (part_set(p->fd, mode, mtime) < 0 ||
		 renameat(p->dir, p->name, p->dir, p->target) < 0)
		message = strerror(errno);
	if (message) {
		int sys = errno;
		part_remove(p);
		errno = sys;
		return message;
	}
	/* closed first where the disk tells of a failure only then (NFS, quota) */
	message = close(p->fd) < 0 ? strerror(errno) : NULL;
	p->fd = -1;
	return message;
}

static bool is_part(const char *name) {
	size_t n = strlen(name);

	return n > TAIL && name[0] == '.' && strcmp(name + n - SUFFIX_LEN, SUFFIX) == 0;
}

void part_list(int dir, struct cube_strv *ret) {
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d && fd >= 0) close(fd);
	while (d && ret->len < 256 && (e = readdir(d)))
		if (is_part(e->d_name)) cube_strv_add(ret, e->d_name);
	if (d) closedir(d);
}

/* Not one that is being written: it is locked. */
static void remove_unlocked(int dir, const char *name) {
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) return;
	if (ours(fd) && may_remove(dir, name, fd)) unlinkat(dir, name, 0);
	close(fd);
}

void cube_part_remove(const char *path) {
	const char *slash = strrchr(path, '/');

	if (is_part(slash ? slash + 1 : path)) remove_unlocked(AT_FDCWD, path);
}

void part_remove_others(int dir, const struct cube_strv *parts, const char *target, uint64_t id) {
	char mine[256];
	size_t n;

	if (parts->len == 0) return;
	name_part(mine, target, id);
	n = strlen(mine);
	for (size_t i = 0; i < parts->len; i++) {
		const char *other = parts->v[i];
		if (strlen(other) != n || strcmp(other, mine) == 0) continue;
		/* the same but for the id */
		if (strncmp(other, mine, n - TAIL + 1) == 0) remove_unlocked(dir, other);
	}
}

const char *part_link(int dir, const char *target, uint64_t id, const char *text, int64_t mtime) {
	struct timespec times[2];
	char name[256];
	struct stat st;
	int sys;

	name_part(name, target, id);
	split_mtime(mtime, times);
	errno = 0;
	if (fstatat(dir, target, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) &&
	    !S_ISLNK(st.st_mode))
		return "something that is no file is in the way";
	if (symlinkat(text, dir, name) < 0) return strerror(errno);
	utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
	if (renameat(dir, name, dir, target) == 0) return NULL;
	sys = errno;
	unlinkat(dir, name, 0);
	errno = sys;
	return strerror(sys);
}
