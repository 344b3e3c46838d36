/* Placement: picks a node for a task from a snapshot. Pure. */
#ifndef CUBE_SCHED_H
#define CUBE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cube_sched_node {
	uint32_t id;
	bool ready;
	uint32_t slots; /* attempts it runs at a time */
	uint32_t load;  /* attempts given to it and not ended */
	uint32_t extra; /* attempts it may hold beyond slots (prefetch) */
};

/* Round robin over the ready nodes: starts one after *cursor (so with three nodes and *cursor 0
 * the order is 1,2,0,1,2,0), takes the first with a free slot for which allowed(arg, id)
 * (NULL: all). When no slot is free anywhere, the same with `extra`. Sets *cursor to the
 * pick. Returns its index, or -1. Load is the caller's to count up. */
int cube_sched_round_robin(const struct cube_sched_node *nodes, size_t n, size_t *cursor,
			   bool (*allowed)(void *arg, uint32_t id), void *arg);

/* How many attempts a node may hold beyond its slots, from the mean run time of its latest
 * attempts: enough to bridge 20 ms of round trip, none for work longer than 100 ms (a
 * long-running task must never wait in one host's queue while another is idle), at most 4
 * times the slots. mean_ns 0: nothing known yet, none. */
uint32_t cube_sched_prefetch(uint32_t slots, uint64_t mean_ns);

#endif
