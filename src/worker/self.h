/* This program's own file: where it lies and what its content's hash is. */
#ifndef WORKER_SELF_H
#define WORKER_SELF_H

#include <stddef.h>

#include "cube/err.h"
#include "cube/sha256.h"

#define SELF_PATH 4096

struct self {
	char path[SELF_PATH]; /* of the file, absolute where the system tells */
	char hex[CUBE_SHA256_HEX];
};

/* Finds and hashes it; argv0 serves where /proc is not there. */
int self_find(struct self *self, const char *argv0, struct cube_err *err);

/* path, or what names this process's program while that file is gone (somebody cleaned a cache). */
#define SELF_PROC 24
const char *self_runnable(const char *path, char proc[SELF_PROC]);

/* The folder a path lies in, in place: "/a/b" -> "/a", "/a" -> "/", "a" -> ".". */
void self_parent(char *path);

#endif
