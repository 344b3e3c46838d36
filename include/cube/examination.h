/* What a host says of itself when the doctor asks, and what that means for joining it. Pure. */
#ifndef CUBE_EXAMINATION_H
#define CUBE_EXAMINATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/builds.h"

enum cube_verdict { CUBE_VERDICT_OK, CUBE_VERDICT_NOTE, CUBE_VERDICT_WARNING, CUBE_VERDICT_FAILED };
const char *cube_verdict_name(enum cube_verdict v); /* "ok", "note", "warning", "failed" */

struct cube_finding {      /* borrowed during the call */
	const char *check; /* "host key" */
	enum cube_verdict verdict;
	const char *text; /* what was seen; printable */
	const char *fix;  /* what to do, or "" */
	double seconds;   /* since the finding before */
};

/* The line that the host is to run. */
#define CUBE_DOCTOR_LINE 6144
struct cube_examination;
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
