#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_DIR = O_RDONLY | O_DIRECTORY | O_CLOEXEC, LINKS_MAX = 40 };

static const char *because(int sys) {
	errno = sys;
	return strerror(sys);
}

static const char *refuse(const char *message) {
	errno = 0;
	return message;
}

/* dest is the new name itself: its parent has to be there. */
static const char *beside(struct place *p, const char *dest) {
	size_t n = strlen(dest), at;

	while (n > 1 && dest[n - 1] == '/') n--;
	for (at = n; at > 0 && dest[at - 1] != '/';) at--;
	if (n - at > 255) return because(ENAMETOOLONG);
	memcpy(p->name, dest + at, n - at);
	p->name[n - at] = '\0';
	if (!p->name[0] || strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0)
		return refuse("no such folder");
	memcpy(p->path, dest, at);
	while (at > 1 && p->path[at - 1] == '/') at--;
	p->path[at] = '\0';
	p->dir = open(at ? p->path : ".", OPEN_DIR);
	return p->dir < 0 ? because(errno) : NULL;
}

/* dest is there and no folder. A link to a file is followed, since it was named. */
static const char *over(struct place *p, const char *dest) {
	char path[PLACE_PATH], target[PLACE_PATH];
	ssize_t n;

	memcpy(path, dest, strlen(dest) + 1);
	for (int links = 0; (n = readlink(path, target, sizeof target)) >= 0; links++) {
		const char *slash = strrchr(path, '/');
		size_t at = n && target[0] == '/' ? 0 : slash ? (size_t)(slash + 1 - path) : 0;

		if (links == LINKS_MAX) return because(ELOOP);
		if (at + (size_t)n >= sizeof path) return because(ENAMETOOLONG);
		memcpy(path + at, target, (size_t)n);
		path[at + (size_t)n] = '\0';
	}
	return errno == EINVAL ? beside(p, path) : because(errno); /* EINVAL: no link */
}

const char *place_find(struct place *p, const char *dest, bool several, bool make, bool is_dir) {
	size_t n = strlen(dest);
	bool slash = n > 0 && dest[n - 1] == '/';
	struct stat st;

	p->name[0] = '\0';
	if (n >= PLACE_PATH) return because(ENAMETOOLONG);
	p->dir = open(dest, OPEN_DIR);
	if (p->dir < 0 && errno == ENOENT && several && make && mkdir(dest, 0777) == 0)
		p->dir = open(dest, OPEN_DIR);
	if (p->dir >= 0) {
		while (n > 1 && dest[n - 1] == '/') n--;
		memcpy(p->path, dest, n);
		p->path[n] = '\0';
		return NULL;
	}
	if (errno == ENOENT && (several || (slash && !is_dir))) return refuse("no such folder");
	if (errno == ENOENT) return beside(p, dest);
	if (errno != ENOTDIR || stat(dest, &st) < 0) return because(errno);
	if (several || is_dir) return refuse("is no folder");
	return over(p, dest);
}
