/* The embedded workers by architecture; see embedded.S. */
#include <string.h>

#include "cube/images.h"

extern const struct {
	const char *machine, *sha256;
	const char *begin, *end;
} cube_worker_images[];

extern const char cube_worker_sources_begin[], cube_worker_sources_end[];

const void *cube_worker_image(const char *machine, unsigned long *ret_size, char sha256[65]) {
	for (size_t i = 0; cube_worker_images[i].machine; i++) {
		if (strcmp(cube_worker_images[i].machine, machine)) continue;
		const char *begin = cube_worker_images[i].begin;
		*ret_size = (unsigned long)(cube_worker_images[i].end - begin);
		if (sha256) memcpy(sha256, cube_worker_images[i].sha256, 65);
		return begin;
	}
	return NULL;
}

const void *cube_worker_sources(unsigned long *ret_size) {
	*ret_size = (unsigned long)(cube_worker_sources_end - cube_worker_sources_begin);
	return cube_worker_sources_begin;
}

const char *cube_worker_machine(unsigned i) {
	for (unsigned k = 0; cube_worker_images[k].machine; k++) {
		if (k == i) return cube_worker_images[k].machine;
	}
	return NULL;
}
