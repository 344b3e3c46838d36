/* What the manager notes about joining nodes: gathered for a moment, so that nodes with the same
 * text share a line. */
#ifndef CUBE_CLI_NOTES_H
#define CUBE_CLI_NOTES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct cube_notes {      /* zero-initialise */
	json_t *waiting; /* text -> names, as cube_reasons_add makes it; NULL: none */
	json_t *said;    /* text -> { name: true }: a note may be told twice */
	uint64_t since;  /* of the oldest that waits */
};

void cube_notes_add(struct cube_notes *n, const char *node, const char *text);
/* Something waits, and has for long enough; with `now` in any case. */
bool cube_notes_due(const struct cube_notes *n, bool now);
void cube_notes_print(struct cube_notes *n); /* "web[1-3]: TEXT", a line each */
void cube_notes_done(struct cube_notes *n);

#endif
