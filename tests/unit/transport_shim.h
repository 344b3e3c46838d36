/* A transport that wraps another one and makes it behave as badly as a network may: output in
 * random pieces and late, short takes, input in random pieces, the link cut at a chosen byte.
 * Deterministic for a seed.
 *
 *   t = cube_shim_new(loop, &plan, events, arg);
 *   cube_transport_local(loop, &target, cube_shim_events(), t, &inner, &err);
 *   cube_shim_attach(t, inner);
 */
#ifndef TRANSPORT_SHIM_H
#define TRANSPORT_SHIM_H

#include "cube/transport.h"

#define CUBE_SHIM_NEVER UINT64_MAX

struct cube_shim_plan {
	uint32_t seed;
	size_t piece;       /* random pieces of 1..piece bytes; 0: as they come */
	unsigned storm;     /* up to so many empty turns between two pieces */
	uint64_t cut_read;  /* the link breaks after so many bytes of output, or NEVER */
	uint64_t cut_write; /* or of input */
};

struct cube_transport *cube_shim_new(struct cube_loop *loop, const struct cube_shim_plan *plan,
				     const struct cube_transport_events *events, void *arg);
const struct cube_transport_events *cube_shim_events(void); /* arg: the shim's transport */
void cube_shim_attach(struct cube_transport *shim, struct cube_transport *inner);

#endif
