/* The stdout side of a transport: what on_out did not take is held here, up to 1 MiB, and
 * offered again. Private to this folder.
 *
 * on_out may free the transport: its memory lives until the end of the turn and `*gone` tells. */
#ifndef CUBE_TRANSPORT_OUTLET_H
#define CUBE_TRANSPORT_OUTLET_H

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/transport.h"

enum {
	CUBE_OUTLET_MAX = 1024 * 1024, /* untaken bytes held */
	CUBE_INPUT_MAX = 1024 * 1024,  /* queued for the command's stdin */
	CUBE_INPUT_LOW = 64 * 1024,    /* on_drained is called at this mark */
};

/* How long the end of a command waits for a consumer that left bytes lying. A consumer of whole
 * frames never takes a torn last one, and must hear of the end all the same. */
#define CUBE_OUTLET_GRACE_NS (5 * CUBE_NS_PER_S)

struct cube_outlet {
	struct cube_buf held;
	const struct cube_transport_events *events;
	void *arg;
	const bool *gone;
};

void cube_outlet_init(struct cube_outlet *o, const struct cube_transport_events *events, void *arg,
		      const bool *gone);
void cube_outlet_done(struct cube_outlet *o);
size_t cube_outlet_room(const struct cube_outlet *o);
static inline size_t cube_outlet_held(const struct cube_outlet *o) {
	return o->held.len;
}
/* Hands n <= room bytes on, behind those held. 0, or CUBE_ESYS without memory. */
int cube_outlet_push(struct cube_outlet *o, const uint8_t *bytes, size_t n);
void cube_outlet_offer(struct cube_outlet *o); /* the held bytes once more */
void cube_outlet_drop(struct cube_outlet *o);

#endif
