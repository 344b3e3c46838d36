#include "cube/sched.h"

/* The first node after `start` (in ring order, start itself last) with room, or -1. */
static int pick(const struct cube_sched_node *nodes, size_t n, size_t start, bool use_extra,
		bool (*allowed)(void *arg, uint32_t id), void *arg) {
	for (size_t step = 1; step <= n; step++) {
		size_t i = (start + step) % n;
		const struct cube_sched_node *node = &nodes[i];
		uint64_t room = (uint64_t)node->slots + (use_extra ? node->extra : 0);

		if (!node->ready || node->load >= room) continue;
		if (allowed && !allowed(arg, node->id)) continue;
		return (int)i;
	}
	return -1;
}

int cube_sched_round_robin(const struct cube_sched_node *nodes, size_t n, size_t *cursor,
			   bool (*allowed)(void *arg, uint32_t id), void *arg) {
	size_t start;
	int i;

	if (n == 0) return -1;
	start = *cursor % n; /* nodes may have gone since */
	i = pick(nodes, n, start, false, allowed, arg);
	if (i < 0) i = pick(nodes, n, start, true, allowed, arg);
	if (i >= 0) *cursor = (size_t)i;
	return i;
}

enum { BRIDGE_NS = 20 * 1000 * 1000, LONG_NS = 100 * 1000 * 1000, MOST_PER_SLOT = 4 };

uint32_t cube_sched_prefetch(uint32_t slots, uint64_t mean_ns) {
	uint64_t per_slot, extra;

	if (mean_ns == 0 || mean_ns > LONG_NS) return 0;
	per_slot = (BRIDGE_NS + mean_ns - 1) / mean_ns; /* each slot ends one every mean_ns */
	if (per_slot > MOST_PER_SLOT) per_slot = MOST_PER_SLOT;
	extra = per_slot * slots;
	return extra < UINT32_MAX ? (uint32_t)extra : UINT32_MAX;
}
