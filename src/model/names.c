#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "names.h"

enum { SLOTS_FIRST = 16 };

static const char *name_at(struct cube_names in, uint32_t i) {
	return *(char *const *)((const char *)in.base + (size_t)i * in.stride);
}

static size_t hash(const char *s) {
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, and a last stir for its weak low bits */

	for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	h ^= h >> 32;
	return (size_t)(h * 0x9e3779b97f4a7c15u >> 20);
}

uint32_t cube_names_find(const struct cube_name_index *x, struct cube_names in, const char *name) {
	if (!x->cap) return CUBE_NAMES_NONE;
	for (size_t k = hash(name) & (x->cap - 1); x->slot[k]; k = (k + 1) & (x->cap - 1)) {
		uint32_t i = x->slot[k] - 1;
		const char *there = name_at(in, i);

		if (there && !strcmp(there, name)) return i;
	}
	return CUBE_NAMES_NONE;
}

static void put(struct cube_name_index *x, const char *name, uint32_t i) {
	size_t k = hash(name) & (x->cap - 1);

	while (x->slot[k]) k = (k + 1) & (x->cap - 1);
	x->slot[k] = i + 1;
	x->used++;
}

void cube_names_rebuild(struct cube_name_index *x, struct cube_names in, size_t len) {
	size_t cap = SLOTS_FIRST;

	while (cap < len * 2 + 2) cap *= 2;
	if (cap != x->cap) {
		x->slot = cube_realloc_array(x->slot, cap, sizeof *x->slot);
		x->cap = cap;
	}
	memset(x->slot, 0, cap * sizeof *x->slot);
	x->used = 0;
	for (uint32_t i = 0; i < len; i++)
		if (name_at(in, i)) put(x, name_at(in, i), i);
}

void cube_names_add(struct cube_name_index *x, struct cube_names in, uint32_t i) {
	if ((x->used + 1) * 2 > x->cap) cube_names_rebuild(x, in, (size_t)i + 1);
	else put(x, name_at(in, i), i);
}

void cube_names_done(struct cube_name_index *x) {
	free(x->slot);
	*x = (struct cube_name_index){0};
}
