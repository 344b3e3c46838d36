#include "cube/map.h"

#include <stdlib.h>

#include "cube/mem.h"

#define BUCKETS_FIRST 16u

static struct cube_list *bucket(const struct cube_map *map, uint64_t id) {
	/* ids count upwards mostly, and lie side by side as they are */
	return &map->buckets[id & (map->nbuckets - 1)];
}

static void grow(struct cube_map *map) {
	size_t n = map->nbuckets;
	struct cube_list *old = map->buckets;
	map->nbuckets = n ? n * 4 : BUCKETS_FIRST;
	map->buckets = cube_realloc_array(NULL, map->nbuckets, sizeof *map->buckets);
	for (size_t i = 0; i < map->nbuckets; i++) cube_list_init(&map->buckets[i]);
	for (size_t i = 0; i < n; i++) {
		cube_list_each (&old[i], e, struct cube_map_entry, entry) {
			cube_list_remove(&e->entry);
			cube_list_append(bucket(map, e->id), &e->entry);
		}
	}
	free(old);
}

void cube_map_add(struct cube_map *map, struct cube_map_entry *e, uint64_t id) {
	if (map->n >= map->nbuckets * 2) grow(map);
	e->id = id;
	cube_list_append(bucket(map, id), &e->entry);
	map->n++;
}

void cube_map_remove(struct cube_map *map, struct cube_map_entry *e) {
	if (!cube_list_linked(&e->entry)) return;
	cube_list_remove(&e->entry);
	map->n--;
}

struct cube_map_entry *cube_map_find(const struct cube_map *map, uint64_t id) {
	if (!map->n) return NULL;
	cube_list_each (bucket(map, id), e, struct cube_map_entry, entry) {
		if (e->id == id) return e;
	}
	return NULL;
}

struct cube_map_entry *cube_map_next(const struct cube_map *map, const struct cube_map_entry *e) {
	if (!map->n) return NULL;
	struct cube_list *b = e ? bucket(map, e->id) : map->buckets;
	struct cube_list *l = e ? e->entry.next : b->next;
	while (l == b) {
		if (++b == map->buckets + map->nbuckets) return NULL;
		l = b->next;
	}
	return cube_container(l, struct cube_map_entry, entry);
}

void cube_map_free(struct cube_map *map) {
	free(map->buckets);
	*map = (struct cube_map){0};
}
