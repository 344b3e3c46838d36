#include "cube/format.h"
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool walk_name(const char *path, char name[256]) {
	size_t n = strlen(path), at;

	while (n > 1 && path[n - 1] == '/') n--;
	for (at = n; at > 0 && path[at - 1] != '/';) at--;
	if (n - at > 255) return false;
	memcpy(name, path + at, n - at);
	name[n - at] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) name[0] = '\0';
	return true;
}

static enum walk_kind look(struct walk_entry *e) {
	int flags = e->follow ? AT_SYMLINK_NOFOLLOW : 0;

	e->message = NULL;
	if (fstatat(e->dir, e->file, &e->st, flags) < 0) e->message = strerror(errno);
	return e->message ? WALK_PROBLEM : WALK_ENTRY;
}

static enum walk_kind named(struct walk *w, const char *path, struct walk_entry *e) {
	enum walk_kind kind;

	e->dir = AT_FDCWD;
	e->file = path;
	e->follow = 0;
	cube_format(w->path, WALK_PATH, "%s", path);
	if (strlen(path) >= WALK_PATH || !walk_name(path, e->name)) {
		e->message = strerror(ENAMETOOLONG);
		return WALK_PROBLEM;
	}
	kind = look(e);
	if (kind == WALK_ENTRY && !S_ISDIR(e->st.st_mode) && path[strlen(path) - 1] == '/') {
		e->message = strerror(ENOTDIR);
		kind = WALK_PROBLEM;
	}
	return kind;
}

static enum walk_kind inside(struct walk *w, const struct dirent *d, struct walk_entry *e) {
	size_t at = w->level[w->depth - 1].path_len, n = strlen(d->d_name);

	e->dir = dirfd(w->level[w->depth - 1].dir);
	e->file = d->d_name;
	e->follow = O_NOFOLLOW;
	if (n > 255 || at + 1 + n >= WALK_PATH) {
		e->message = strerror(ENAMETOOLONG);
		return WALK_PROBLEM;
	}
	if (at > 0 && w->path[at - 1] != '/') w->path[at++] = '/';
	memcpy(w->path + at, d->d_name, n + 1);
	memcpy(e->name, d->d_name, n + 1);
	return look(e);
}

enum walk_kind walk_next(struct walk *w, struct walk_entry *e) {
	while (w->depth > 0) {
		DIR *dir = w->level[w->depth - 1].dir;
		const struct dirent *d;

		w->path[w->level[w->depth - 1].path_len] = '\0';
		errno = 0;
		d = dir ? readdir(dir) : NULL;
		if (!d && errno) {
			e->message = strerror(errno);
			closedir(dir);
			/* an empty level in its place: the folder still has to be left */
			w->level[w->depth - 1].dir = NULL;
			return WALK_PROBLEM;
		}
		if (!d) {
			if (dir) closedir(dir);
			w->depth--;
			return WALK_UP;
		}
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) continue;
		return inside(w, d, e);
	}
	return w->at < w->n ? named(w, w->paths[w->at++], e) : WALK_END;
}

const char *walk_enter(struct walk *w, const struct walk_entry *e) {
	int fd;

	if (w->depth == CUBE_COPY_DEPTH) return "too many folders in folders";
	fd = openat(e->dir, e->file, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC | e->follow);
	if (fd < 0) return strerror(errno);
	w->level[w->depth].dir = fdopendir(fd);
	if (!w->level[w->depth].dir) {
		const char *message = strerror(errno);
		close(fd);
		return message;
	}
	w->level[w->depth++].path_len = strlen(w->path);
	return NULL;
}

void walk_done(struct walk *w) {
	while (w->depth > 0)
		if (w->level[--w->depth].dir) closedir(w->level[w->depth].dir);
}

enum { MEASURED = 20000 };

void cube_copy_measure(const char *const *paths, size_t n, uint64_t *ret_files,
		       uint64_t *ret_bytes) {
	struct walk w = {.paths = paths, .n = n};
	struct walk_entry e;
	enum walk_kind kind;
	unsigned seen = 0;

	*ret_files = *ret_bytes = 0;
	while (seen <= MEASURED && (kind = walk_next(&w, &e)) != WALK_END) {
		seen++;
		if (kind != WALK_ENTRY) continue;
		if (S_ISDIR(e.st.st_mode)) walk_enter(&w, &e);
		else *ret_files += 1;
		if (S_ISREG(e.st.st_mode)) *ret_bytes += (uint64_t)e.st.st_size;
	}
	walk_done(&w);
	if (seen > MEASURED) *ret_files = *ret_bytes = 0;
}
