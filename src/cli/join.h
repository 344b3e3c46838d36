/* Nodes on their way to ready, shown by progress, and what is noted about them. */
#ifndef CUBE_CLI_JOIN_H
#define CUBE_CLI_JOIN_H

#include "notes.h"
#include "asking.h"
#include "progress.h"
#include "watch.h"

struct cube_join {
	struct cube_cli *cli;
	struct cube_progress progress;
	struct cube_watch watch;
	struct cube_notes notes;
	struct cube_asking asking;
	bool told;    /* the summary was printed */
	bool asked;   /* a question was open when a signal came */
	bool midline; /* what was printed last has not ended its line: nothing is drawn there */
};

/* reply: of POST /v1/nodes. Goes on while cube_client_turn is called. brief: of a live display only
 * the summary stays. */
void cube_join_start(struct cube_join *j, struct cube_cli *cli, const json_t *reply,
		     enum cube_progress_mode mode, bool brief);
/* With what a command that only waits for nodes prints; the exit code. */
int cube_join_all(struct cube_cli *cli, const json_t *reply);
/* Until each is ready, failed or needs a login; as cube_watch_wait. */
int cube_join_wait(struct cube_join *j, struct cube_err *err);
/* Before something else is printed; whole: it ends its line. */
void cube_join_hide(void *join, bool whole);
void cube_join_stop(struct cube_join *j);

#endif
