/* Submitting tasks and being attached to them, as `run` and `spawn` do. */
#ifndef CUBE_CLI_ATTACH_H
#define CUBE_CLI_ATTACH_H

#include "follow.h"
#include "taskopts.h"

struct cube_submission {
	uint64_t id, first, count;
};

/* POST /v1/tasks, carried out once also where the manager goes away meanwhile. */
int cube_submission_make(struct cube_cli *cli, const json_t *body, struct cube_submission *ret,
			 struct cube_err *err);
/* How to print a job's output: one task exactly, several with prefixes, as the options say. */
struct cube_output_config cube_submission_output(const struct cube_submission *job,
						 const struct cube_print_options *print);
/* Follows the job to its end. */
int cube_submission_attach(struct cube_cli *cli, const struct cube_submission *job,
			   const struct cube_print_options *print, bool input,
			   void (*before)(void *arg, bool whole), void *arg,
			   struct cube_follow_result *ret, struct cube_err *err);
/* Stops all its tasks, does not wait. */
void cube_submission_stop(struct cube_cli *cli, const struct cube_submission *job);
/* After the user left: how to come back. */
void cube_submission_left(const struct cube_submission *job);

#endif
