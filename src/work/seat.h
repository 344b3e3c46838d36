/* What the work keeps of a node: what is there, and what is on its way. */
#ifndef CUBE_SEAT_H
#define CUBE_SEAT_H

#include "cube/fleet.h"
#include "cube/list.h"

struct cube_work;

struct cube_seat {
	struct cube_work *work;
	struct cube_list bound;    /* struct cube_task.queue: pending and may run only here */
	struct cube_list attempts; /* struct cube_task.queue: given to it and not ended */
	uint32_t load;             /* their number */
	uint64_t mean_ns;          /* moving mean of attempts' run time, for prefetch */
	struct cube_list files; /* struct cube_push: contents known to be, or on their way, there */
	struct cube_list streams,
		stream_bulk;  /* struct cube_mstream: all; those with data to send */
	uint64_t stream_last; /* the last one's id on this link */
	/* Of the present link: */
	bool signalled;     /* tasks there were sent signals that it has not answered for */
	uint32_t strangers; /* attempts it listed that this database cannot have started .. */
	uint64_t stranger;  /* .. and the first one's task */
};

static inline struct cube_seat *cube_seat_of(const struct cube_node *node) {
	return node->seat;
}

#endif
