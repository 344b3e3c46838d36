/* Tasks and jobs named on the command line, and waiting for their end. */
#ifndef CUBE_CLI_WAITING_H
#define CUBE_CLI_WAITING_H

#include "cli.h"
#include "follow.h"

struct cube_waiting {
	json_t *tasks;   /* {"17": TASK or null while it has not ended} */
	json_t *unknown; /* words that name nothing, in order */
};

/* Every word is a task or job:ID. Looks all of them up; those that do not exist go to unknown. */
int cube_waiting_init(struct cube_waiting *w, struct cube_cli *cli, char *const *words, size_t n,
		      struct cube_err *err);
void cube_waiting_done(struct cube_waiting *w);
/* Waits until all have ended, also when the manager goes away meanwhile. CUBE_ECANCELED when
 * interrupted (.sys is the signal). */
int cube_waiting_wait(struct cube_waiting *w, struct cube_cli *cli, struct cube_err *err);

#endif
