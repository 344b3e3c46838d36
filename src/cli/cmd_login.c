/* Nodes that wait for a person: asks, and joins them again. */
#include "asking.h"
#include "commands.h"
#include "join.h"
#include "render.h"
#include "select.h"

struct args {
	struct cube_common common;
	struct cube_select select;
};

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *names = NULL, *reply = NULL;
	json_t *body = json_pack("{s:b}", "ask", cube_asking_possible());
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = cube_select_nodes(cli, &a->select, words, &names, &err);
	if (!rc && names) json_object_set(body, "nodes", names);
	if (!rc) rc = cube_client_json(cli->client, "POST", "/v1/login", body, &reply, &err);
	int code = 0;
	if (rc) code = cube_cli_fail(&err);
	else if (json_array_size(json_object_get(reply, "nodes")) == 0)
		cube_cli_say("no node waits for a login");
	else code = cube_join_all(cli, reply);
	json_decref(reply);
	json_decref(names);
	json_decref(body);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Nodes (default: all that wait for a login)", cube_select_node_options,
	 offsetof(struct args, select)},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_login = {
	.name = "login",
	.usage = "[HOSTS] [OPTIONS]",
	.help = "join nodes again that need a password, a passphrase or a second factor",
	.text = "What is asked is asked on the terminal, once for all hosts that want the same. A host\n"
		"that refuses an answer is asked for again only by the next `cube login`.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
