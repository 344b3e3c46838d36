/* `cube manager` is another program in the same file (src/main.c picks it by its first word); here
 * are its row in the list of commands, and the way to it with options before the command. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

struct args {
	struct cube_common common;
	const char *store;
	bool verbose, replace;
};

static const struct cube_option options[] = {
	{"store", NULL, 0, CUBE_OPT_STRING, offsetof(struct args, store), "KIND",
	 "sqlite, or memory: nothing is kept", "sqlite", "sqlite|memory"},
	{"replace", NULL, 0, CUBE_OPT_FLAG, offsetof(struct args, replace), NULL,
	 "take the place of one that runs; workers and tasks go on"},
	{"verbose", NULL, 'v', CUBE_OPT_FLAG, offsetof(struct args, verbose), NULL, "log more"},
	{0},
};

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	const char *verbose = a->verbose ? "-v" : NULL;
	const char *const argv[] = {"cube",
				    "manager",
				    "--cluster",
				    cli->paths.cluster,
				    "--store",
				    a->store,
				    a->replace ? "--replace" : verbose,
				    a->replace ? verbose : NULL,
				    NULL};
	execv("/proc/self/exe", (char *const *)argv);
	cube_fail_sys(&err, errno, "/proc/self/exe");
	return cube_cli_fail(&err);
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_manager = {
	.name = "manager",
	.usage = "[OPTIONS]",
	.help = "run the manager in the foreground; any command starts one when there is none",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
