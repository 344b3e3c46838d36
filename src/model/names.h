/* A hash index over an array whose elements begin with `char *name`: positions by name. Elements
 * whose name is NULL are dead; they are never found, and forgotten when the index grows. */
#ifndef CUBE_MODEL_NAMES_H
#define CUBE_MODEL_NAMES_H

#include "cube/nodeset.h"

#define CUBE_NAMES_NONE UINT32_MAX

struct cube_names { /* the array, for the length of a call */
	const void *base;
	size_t stride;
};

uint32_t cube_names_find(const struct cube_name_index *x, struct cube_names in, const char *name);
/* Adds position i, whose name must not be there yet. Live positions below i are in already. */
void cube_names_add(struct cube_name_index *x, struct cube_names in, uint32_t i);
void cube_names_rebuild(struct cube_name_index *x, struct cube_names in, size_t len);
void cube_names_done(struct cube_name_index *x);

#endif
