/* Waiting for the end of tasks and jobs. */
#ifndef CUBE_CLI_WAITING_H
#define CUBE_CLI_WAITING_H

#include "cli.h"

/* Until the task, or all tasks of the job, have ended, also when the manager goes away meanwhile.
 * *ret (may be NULL) is the caller's: the TASK, or {"job", "first", "tasks"}. CUBE_ENOTFOUND;
 * CUBE_ECANCELED when interrupted (.sys is the signal). */
int cube_wait_for(struct cube_cli *cli, const struct cube_ref *ref, json_t **ret,
		  struct cube_err *err);

#endif
