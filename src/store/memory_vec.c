#include <string.h>

#include "cube/mem.h"
#include "memory.h"

void *cube_vec_at(const struct cube_vec *v, size_t at) {
	return (char *)v->v + at * v->size;
}

void *cube_vec_last(const struct cube_vec *v) {
	return v->len ? cube_vec_at(v, v->len - 1) : NULL;
}

void *cube_vec_insert(struct cube_vec *v, size_t at) {
	char *slot;

	if (v->len == v->cap) {
		v->cap = v->cap ? v->cap * 2 : 8;
		v->v = cube_realloc_array(v->v, v->cap, v->size);
	}
	slot = cube_vec_at(v, at);
	memmove(slot + v->size, slot, (v->len - at) * v->size);
	memset(slot, 0, v->size);
	v->len++;
	return slot;
}

size_t cube_vec_find(const struct cube_vec *v, const void *key,
		     int (*cmp)(const void *item, const void *key)) {
	size_t low = 0, high = v->len;

	/* Most keys lie behind the last item. */
	if (high && cmp(cube_vec_at(v, high - 1), key) < 0) return high;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (cmp(cube_vec_at(v, mid), key) < 0) low = mid + 1;
		else high = mid;
	}
	return low;
}
