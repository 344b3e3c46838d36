#include "commands.h"
#include "gone.h"
#include "render.h"
#include "select.h"

struct args {
	struct cube_common common;
	struct cube_select select;
	bool purge;
};

static const struct cube_option options[] = {
	{"purge", NULL, 0, CUBE_OPT_FLAG, offsetof(struct args, purge), NULL,
	 "remove the cached worker from the hosts as well"},
	{0},
};

static void nothing_there(void) {
	cube_cli_say(
		"there is no node to take down, and no host is known where one left its worker");
}

static int report(const json_t *gone, const json_t *left) {
	cube_autofree char *names = cube_fold_names(gone);
	if (!*names && !json_object_size(left)) nothing_there();
	if (*names) {
		struct cube_buf line;
		cube_buf_init(&line, CUBE_RENDER_MAX);
		cube_buf_printf(&line, "%s gone\n", names);
		cube_render_print(&line);
		cube_buf_done(&line);
	}
	cube_reasons_print(left, "error: left behind: ");
	return json_object_size(left) ? 1 : 0;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *names = NULL, *gone = NULL, *left = NULL;
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	bool named = words[0] || a->select.workers.len || a->select.limit.len;
	if (rc == CUBE_ENOTFOUND && !named) { /* no manager, now or before */
		nothing_there();
		return 0;
	}
	if (!rc) rc = cube_select_nodes(cli, &a->select, words, &names, &err);
	if (!rc) rc = cube_nodes_down(cli, names, a->purge, &gone, &left, &err);
	int code;
	if (rc == CUBE_ECANCELED) {
		cube_cli_say("interrupted; nodes go on leaving: `cube nodes`");
		code = 128 + err.sys;
	} else {
		code = rc ? cube_cli_fail(&err) : report(gone, left);
	}
	json_decref(names);
	json_decref(gone);
	json_decref(left);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	{"Nodes (default: all)", cube_select_node_options, offsetof(struct args, select)},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_down = {
	.name = "down",
	.usage = "[HOSTS] [OPTIONS]",
	.help = "stop the tasks of nodes and take the nodes down; waits until they are gone",
	.text = "Names the hosts where something is left; the exit code is 1 then. --purge takes nodes that\n"
		"are gone already as well: hosts where `cube down` or `spawn -- COMMAND` left the worker\n"
		"cached; by name, or without one all of them. Parts of copies that\n"
		"were cut off (cube cp) go as well: a copy that is to go on later needs the node up.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
