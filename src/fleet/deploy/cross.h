/* Which compiler makes a worker for an architecture, and whether what it made is one. */
#ifndef CUBE_CROSS_H
#define CUBE_CROSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

/* The command (a program, maybe with options; for /bin/sh) that compiles for a machine as `uname
 * -m` names it: $CUBE_CC_<MACHINE> (upper case, '_' for what is no letter or digit), else a cross
 * compiler found in PATH, with musl where there is a specs file for it. Fresh; CUBE_ENOTFOUND
 * names the package to install. */
int cube_cross_compiler(const char *machine, char **ret, struct cube_err *err);

/* Letters, digits, '_', '-', '.', at most 32: what may stand in a file name and a variable. */
bool cube_cross_machine_ok(const char *machine);

/* Is this a static ELF program for the machine? Where the machine is one we have never heard of,
 * any architecture but this laptop's own will do. CUBE_EEXEC says what it is instead. */
int cube_cross_check(const char *machine, const uint8_t *image, size_t size, struct cube_err *err);

#endif
