#include "commands.h"
#include "man.h"
#include "reflow.h"
#include "render.h"

struct args {
	struct cube_common common;
	bool man;
};

static const struct cube_option options[] = {
	{"man", NULL, 0, CUBE_OPT_FLAG, offsetof(struct args, man), NULL,
	 "print the man page, for man -l or nroff -man"},
	{0},
};

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	struct cube_buf out;
	const struct args *a = values;
	const struct cube_command *c = n ? cube_command_find(cli->commands, words[0]) : NULL;
	if (n && !c) return cube_command_unknown(cli->commands, words[0]);
	cube_buf_init(&out, 1u << 20);
	int rc = a->man ? cube_man_page(cli->commands, &out)
		 : c    ? cube_command_help(c, &out)
			: cube_command_overview(cli->commands, &out);
	int code = rc       ? 125
		   : a->man ? cube_render_print(&out)
			    : cube_reflow_print(cube_buf_str(&out));
	cube_buf_done(&out);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_help = {
	.name = "help",
	.usage = "[COMMAND]",
	.help = "list the commands, or tell all about one",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
