/* The embedded workers by architecture; see worker_images.S. */
#include <string.h>

#include "cube/program.h"
#include "cube/sha256.h"

extern const struct {
	const char *machine;
	const uint8_t *begin, *end;
} cube_worker_images[];

const void *cube_worker_image(const char *machine, unsigned long *ret_size, char sha256[65]) {
	for (size_t i = 0; cube_worker_images[i].machine; i++) {
		if (strcmp(cube_worker_images[i].machine, machine)) continue;
		const uint8_t *begin = cube_worker_images[i].begin;
		*ret_size = (unsigned long)(cube_worker_images[i].end - begin);
		if (sha256) {
			uint8_t digest[CUBE_SHA256_LEN];
			cube_sha256_of(begin, *ret_size, digest);
			cube_sha256_hex(digest, sha256);
		}
		return begin;
	}
	return NULL;
}

const char *cube_worker_machine(unsigned i) {
	for (unsigned k = 0; cube_worker_images[k].machine; k++) {
		if (k == i) return cube_worker_images[k].machine;
	}
	return NULL;
}
