/* Going through the files below some paths, folders before what is in them. */
#ifndef COPY_WALK_H
#define COPY_WALK_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "cube/copy.h"

#define WALK_PATH 4096

struct walk {
	const char *const *paths;
	size_t n, at;
	unsigned depth;
	struct {
		DIR *dir;
		size_t path_len;
	} level[CUBE_COPY_DEPTH];
	char path[WALK_PATH]; /* of the entry, as people know it */
};

enum walk_kind {
	WALK_END,
	WALK_UP,      /* of a folder that was entered */
	WALK_ENTRY,   /* st is filled */
	WALK_PROBLEM, /* message says what is wrong with path */
};

struct walk_entry {
	int dir;          /* what name is in */
	const char *file; /* to open; valid until the next call */
	char name[256];   /* to be known by: "" for a folder that was named by ".", "..", "/" */
	struct stat st;
	const char *message;
	int follow; /* O_NOFOLLOW, or 0 for a path that was named */
};

/* The last component, or "" where the path names a folder without telling its name (".", "..",
 * "/"). False where it is too long. */
bool walk_name(const char *path, char name[256]);
enum walk_kind walk_next(struct walk *w, struct walk_entry *ret);
/* Goes into the entry, a folder: what is in it comes next, then WALK_UP. Or its message. */
const char *walk_enter(struct walk *w, const struct walk_entry *e);
void walk_done(struct walk *w);

#endif
