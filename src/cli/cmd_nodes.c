#include <string.h>

#include "commands.h"
#include "listings.h"
#include "select.h"

struct args {
	struct cube_common common;
	struct cube_listing list;
	struct cube_select select;
	bool quiet;
};

static const struct cube_option options[] = {
	{"quiet", NULL, 'q', CUBE_OPT_FLAG, offsetof(struct args, quiet), NULL, "only the names"},
	{0},
};

/* Names what was asked for by name and is no node; the exit code. */
static int tell_missing(const json_t *names, const json_t *rows) {
	json_t *there = json_object(), *missing = json_object(), *row, *name;
	size_t i;
	json_array_foreach((json_t *)rows, i, row)
		json_object_set_new(there, cube_json_str(row, "name", ""), json_true());
	json_array_foreach((json_t *)names, i, name) {
		if (!json_object_get(there, json_string_value(name)))
			cube_reasons_add(missing, "no such node", json_string_value(name));
	}
	int code = json_object_size(missing) ? 1 : 0;
	cube_reasons_print(missing, "error: ");
	json_decref(missing);
	json_decref(there);
	return code;
}

static json_t *those(const json_t *nodes, const json_t *names) {
	json_t *rows = json_array(), *node;
	size_t i;
	json_array_foreach((json_t *)nodes, i, node) {
		const char *name = cube_json_str(node, "name", "");
		if (strcmp(cube_json_str(node, "state", ""), "gone") == 0) continue;
		if (cube_names_have(names, name)) json_array_append(rows, node);
	}
	return rows;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *reply = NULL, *names = NULL;
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (rc == CUBE_ENOTFOUND) rc = 0; /* no manager: no nodes */
	if (!rc) rc = cube_select_nodes(cli, &a->select, words, &names, &err);
	if (!rc && cli->client)
		rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, &err);
	json_t *rows = those(json_object_get(reply, "nodes"), names);
	int code;
	if (rc) code = cube_cli_fail(&err);
	else
		code = a->quiet ? cube_render_values(rows, "name")
				: cube_render_list(&a->list, cube_node_columns, "nodes", rows);
	if (!rc && !code) code = tell_missing(names, rows);
	json_decref(rows);
	json_decref(reply);
	json_decref(names);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	{"Nodes", cube_select_node_options, offsetof(struct args, select)},
	CUBE_LISTING_GROUP(struct args),
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_nodes = {
	.name = "nodes",
	.aliases = "node hosts",
	.usage = "[HOSTS] [OPTIONS]",
	.help = "list nodes with their state and latest metrics",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
