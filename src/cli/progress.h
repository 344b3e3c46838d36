/* How nodes get on while they join: one live line a host on a terminal, folded where they are more
 * than its rows; else one plain line when a host is ready or has failed. */
#ifndef CUBE_CLI_PROGRESS_H
#define CUBE_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/node.h"

struct cube_progress_row {
	char *name;
	enum cube_node_state state;
	double fraction, seconds; /* pushed so far; until it was ready */
	char *step, *reason;      /* or NULL */
	char *kept;               /* what was asked for and it does not have, or NULL */
	bool before;              /* it was ready when we came */
};

enum cube_progress_mode {
	CUBE_PROGRESS_QUIET, /* nothing but what fails */
	CUBE_PROGRESS_PLAIN,
	CUBE_PROGRESS_LIVE,
};

struct cube_progress { /* zero-initialise, then cube_progress_init */
	enum cube_progress_mode mode;
	int fd;
	bool brief;
	struct cube_progress_row *rows;
	size_t n, *sorted;              /* sorted: row numbers by name */
	size_t pending, failed, parked; /* parked: of the failed, those that need a login */
	size_t shown;                   /* lines of the live display on the terminal now */
	unsigned continued;             /* as cube_terminal_continued told when it was drawn */
	uint64_t started, drawn;
};

/* nodes: array of NODE objects. */
void cube_progress_init(struct cube_progress *p, enum cube_progress_mode mode, int fd,
			const json_t *nodes);
void cube_progress_done(struct cube_progress *p);
/* A node got into another state, or on with a step. Unknown names are ignored. */
void cube_progress_state(struct cube_progress *p, const char *name, enum cube_node_state state,
			 const char *reason);
void cube_progress_step(struct cube_progress *p, const char *name, const char *step,
			double fraction);
bool cube_progress_has(struct cube_progress *p, const char *name);
/* Plain mode: the line of a row that needs no waiting; nothing for one that is on its way. Other
 * modes: that of one that is as it was, not as it was asked for now. */
void cube_progress_note(const struct cube_progress *p, size_t row);
void cube_progress_draw(struct cube_progress *p, bool now); /* at most some times a second else */
void cube_progress_hide(struct cube_progress *p);
/* The display's end: its last state stays (not where `brief` is set), and a summary. */
void cube_progress_finish(struct cube_progress *p);

/* The display's lines, at most height, each at most width columns, '\n' after each. */
int cube_progress_render(const struct cube_progress *p, size_t width, size_t height,
			 struct cube_buf *out);

#endif
