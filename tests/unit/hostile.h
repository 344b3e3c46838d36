/* For tests of parsers: input that ends right before a page nobody may read, so that one byte too
 * far is a crash even without a sanitizer, and repeatable random numbers. */
#ifndef CUBE_TEST_HOSTILE_H
#define CUBE_TEST_HOSTILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
	uint8_t *map, *end; /* end: the first forbidden byte */
	size_t size;
};

static inline void guard_init(struct guard *g, size_t max) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (max + page) / page * page;
	g->size = room + page;
	g->map = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->map == MAP_FAILED || mprotect(g->map + room, page, PROT_NONE) != 0) {
		perror("guard page");
		exit(1);
	}
	g->end = g->map + room;
}

static inline void guard_done(struct guard *g) {
	munmap(g->map, g->size);
}

/* The bytes' copy that ends at the guard page; lives until the next call. n <= max. */
static inline uint8_t *guard_put(struct guard *g, const void *bytes, size_t n) {
	if (n) memcpy(g->end - n, bytes, n);
	return g->end - n;
}

/* Random numbers (xorshift64*). The seed is printed; CUBE_TEST_SEED gives another one. */
static inline uint64_t rnd_seed(const char *what) {
	const char *env = getenv("CUBE_TEST_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : 0x9e3779b97f4a7c15u;
	if (seed == 0) seed = 1;
	printf("%s: CUBE_TEST_SEED=%#llx\n", what, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

static inline uint64_t rnd_next(uint64_t *state) {
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1du;
}

static inline size_t rnd_below(uint64_t *state, size_t n) {
	return n ? (size_t)((rnd_next(state) >> 11) % n) : 0;
}

#endif
