/* What has a number, found by it: a hash of elements that carry their entry, as lists do. */
#ifndef CUBE_MAP_H
#define CUBE_MAP_H

#include <stdint.h>

#include "cube/list.h"

struct cube_map_entry { /* zero-initialise */
	struct cube_list entry;
	uint64_t id;
};

struct cube_map { /* zero-initialise; n may be read */
	size_t n, nbuckets;
	struct cube_list *buckets;
};

/* The element is the caller's. No other of its number may be there. */
void cube_map_add(struct cube_map *map, struct cube_map_entry *e, uint64_t id);
/* Does nothing where it is not in the map. */
void cube_map_remove(struct cube_map *map, struct cube_map_entry *e);
/* The element, or NULL; cube_container makes it what it is. */
struct cube_map_entry *cube_map_find(const struct cube_map *map, uint64_t id);
/* All, in no certain order: from NULL on, until NULL. The one before may have been removed by then
 * if the next was asked for first; nothing may be added meanwhile. */
struct cube_map_entry *cube_map_next(const struct cube_map *map, const struct cube_map_entry *e);
/* Forgets all elements, which stay the caller's. */
void cube_map_free(struct cube_map *map);

#endif
