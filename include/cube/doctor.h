/* `cube doctor`: everything that joining a host needs, tried one after the other and told, over a
 * connection of its own. Leaves nothing on the host, changes no node. */
#ifndef CUBE_DOCTOR_H
#define CUBE_DOCTOR_H

#include "cube/examination.h"
#include "cube/fleet.h"

struct cube_doctor_events {
	void (*found)(void *arg, const struct cube_finding *finding);
	void (*done)(void *arg); /* last; the doctor may be freed here */
};

struct cube_doctor;
/* settings are copied. ask: somebody is there to answer questions. Never calls back inside the
 * call. */
void cube_doctor_new(struct cube_fleet *fleet, const char *name,
		     const struct cube_node_settings *settings, bool ask,
		     const struct cube_doctor_events *events, void *arg, struct cube_doctor **ret);
void cube_doctor_free(struct cube_doctor *d); /* any time; NULL is fine */

#endif
