/* One file of a copy while it is not whole: ".NAME.<id>.cube-part" beside its place. */
#ifndef COPY_PART_H
#define COPY_PART_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cube/mem.h"

struct part {
	int fd; /* -1: none is open */
	int dir;
	bool resumes; /* stays when the copy is cut off */
	char name[256], target[256];
};

/* Opens or makes the part of target, locked. With resumes what is in it stays, else it is emptied.
 * A message, or NULL; errno is 0 where that does not come from the system. */
const char *part_open(struct part *p, int dir, const char *target, uint64_t id, bool resumes,
		      bool wait);
/* Gives it mode, mtime and its name. A message, or NULL; the part is closed and gone then too. */
const char *part_finish(struct part *p, uint32_t mode, int64_t mtime);
void part_remove(struct part *p); /* closes */
void part_close(struct part *p);  /* leaves it where it may be resumed */

/* Other versions' parts: all parts in dir, at most 256, and those of target removed. */
void part_list(int dir, struct cube_strv *ret);
void part_remove_others(int dir, const struct cube_strv *parts, const char *target, uint64_t id);

/* mode (0777 of it) and mtime of what is open as fd. 0, or -1 and errno. */
int part_set(int fd, uint32_t mode, int64_t mtime);
int64_t part_mtime(const struct stat *st); /* ns since 1970, as far as that goes */

/* A link in its place. */
const char *part_link(int dir, const char *target, uint64_t id, const char *text, int64_t mtime);

#endif
