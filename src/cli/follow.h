/* Being attached to tasks: prints what they write, passes Ctrl-C and input on, counts how they end.
 */
#ifndef CUBE_CLI_FOLLOW_H
#define CUBE_CLI_FOLLOW_H

#include "cli.h"
#include "output.h"

struct cube_follow_config {
	struct cube_ref ref; /* a job, or one task */
	uint64_t first, count;
	bool follow;     /* until all have ended; else what is there */
	bool attached;   /* Ctrl-C goes to the tasks; how they ended is told on stderr */
	bool input;      /* stdin goes to the (only) task */
	uint64_t tail;   /* last lines of each task; CUBE_OPT_UNSET: all */
	int only_stream; /* 1, 2, or 0 for both */
	struct cube_output_config output; /* raw, prefix, fold, times */
	/* Called before output is written, or NULL: for a live display that must step aside. whole:
	 * it ends a line; where it does not, nothing else belongs behind it. */
	void (*before)(void *arg, bool whole);
	void *arg;
};

struct cube_follow_result {
	uint64_t ended, failed;
	int exit_code; /* the task's own; of several the number failed, at most 100, 101 = more */
	int left;      /* exit code of cube when it left before the end: 130, 143; 141, 125:
			* stdout cannot be written; else 0 */
};

/* 0 also when it left. A manager that goes away is started again, and the output goes on where it
 * was (not with input or tail). Failure: it cannot be reached. */
int cube_follow(struct cube_cli *cli, const struct cube_follow_config *config,
		struct cube_follow_result *ret, struct cube_err *err);

/* Counts a finished TASK row in *r; exit codes come together as above. */
void cube_follow_count(struct cube_follow_result *r, uint64_t tasks, const json_t *row);
/* Why a finished task is no success, in words: "exit code 3", "killed by signal KILL", a reason.
 * NULL for a success. To be freed. */
char *cube_follow_why(const json_t *row);

#endif
