/* `cube doctor`: everything that joining a host needs, tried one after the other and told, over a
 * connection of its own. Leaves nothing on the host, changes no node. */
#ifndef CUBE_DOCTOR_H
#define CUBE_DOCTOR_H

#include "cube/list.h"
#include "cube/manager.h"
#include "cube/nodes.h"

enum cube_verdict { CUBE_VERDICT_OK, CUBE_VERDICT_NOTE, CUBE_VERDICT_WARNING, CUBE_VERDICT_FAILED };
const char *cube_verdict_name(enum cube_verdict v); /* "ok", "note", "warning", "failed" */

struct cube_finding {      /* borrowed during the call */
	const char *check; /* "host key" */
	enum cube_verdict verdict;
	const char *text; /* what was seen; printable */
	const char *fix;  /* what to do, or "" */
	double seconds;   /* since the finding before */
};

struct cube_doctor_events {
	void (*found)(void *arg, const struct cube_finding *finding);
	void (*done)(void *arg); /* last; the doctor may be freed here */
};

struct cube_doctor;
/* settings are copied. ask: somebody is there to answer questions. Never calls back inside the
 * call. */
void cube_doctor_new(struct cube_manager *m, const char *name,
		     const struct cube_node_settings *settings, bool ask,
		     const struct cube_doctor_events *events, void *arg, struct cube_doctor **ret);
void cube_doctor_free(struct cube_doctor *d); /* any time; NULL is fine */

/* The line a doctor has the host run, and what it makes of the answers; for doctor.c and its test.
 */
#define CUBE_DOCTOR_LINE 6144
struct cube_examination; /* what the host said, in doctor_host.c */
void cube_doctor_line(const struct cube_builds *builds, const char *nonce, bool become, char *out,
		      size_t size);
/* sent: when the line was sent, wall clock. */
struct cube_examination *cube_examination_new(const struct cube_builds *builds, int64_t sent);
/* Was there any answer? */
bool cube_examination_heard(const struct cube_examination *e);
void cube_examination_free(struct cube_examination *e); /* NULL is fine */
/* One answer, "key value". */
void cube_examination_take(struct cube_examination *e, const char *answer, int64_t wall_ns);
/* Tells what it means, in order. False where the host cannot be joined. */
bool cube_examination_tell(struct cube_examination *e,
			   void (*found)(void *arg, const struct cube_finding *f), void *arg);

#endif
