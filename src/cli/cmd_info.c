#include "commands.h"
#include "render.h"

struct args {
	struct cube_common common;
	const char *output;
};

static const struct cube_option options[] = {
	CUBE_OUTPUT_ROW(offsetof(struct args, output)),
	{0},
};

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *info = NULL;
	int rc = cube_cli_connect(cli, CUBE_START_NEVER, &err);
	if (!rc) rc = cube_client_json(cli->client, "GET", "/v1/info", NULL, &info, &err);
	if (rc == CUBE_ENOTFOUND) {
		pid_t pid = cube_client_manager_pid(&cli->paths);
		info = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "manager",
				 pid > 0 ? "running, does not listen" : "not running", "version",
				 CUBE_VERSION, "name", cli->paths.cluster, "socket",
				 cli->paths.socket, "state_dir", cli->paths.state, "pid",
				 pid > 0 ? json_integer(pid) : json_null());
		rc = 0;
	} else if (!rc) {
		json_object_set_new(info, "manager", json_string("running"));
	}
	int code = rc ? cube_cli_fail(&err) : cube_render_object(a->output, info);
	json_decref(info);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_info = {
	.name = "info",
	.usage = "[OPTIONS]",
	.help = "where this cluster's manager is, and what it holds",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
