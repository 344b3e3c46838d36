#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "gone.h"
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

static bool chosen(const struct args *a, size_t words) {
	return words || a->select.workers.len || a->select.hosts || a->select.limit.len ||
	       a->select.exclude.len;
}

/* All nodes without those excluded, where only --exclude is given. */
static int all_but(struct cube_cli *cli, const struct args *a, json_t **names,
		   struct cube_err *err) {
	struct cube_selection out = {0};
	struct cube_select o = {.workers = a->select.exclude};
	json_t *reply = NULL, *node;
	size_t i;
	int rc = cube_select_hosts(&o, NULL, &out, err);
	if (!rc) rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	*names = json_array();
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const char *name = cube_json_str(node, "name", "");
		if (strcmp(cube_json_str(node, "state", ""), "gone") == 0) continue;
		if (!cube_nodeset_has(&out.set, name)) json_array_append_new(*names, json_string(name));
	}
	cube_selection_done(&out);
	json_decref(reply);
	return rc;
}

static int find_names(struct cube_cli *cli, const struct args *a, char **words, size_t n,
		      json_t **names, struct cube_err *err) {
	struct cube_selection s = {0};
	const struct cube_select *o = &a->select;
	if (!chosen(a, n)) return 0;
	if (n + o->workers.len + o->limit.len == 0 && !o->hosts) return all_but(cli, a, names, err);
	int rc = cube_select_hosts(o, words, &s, err);
	if (!rc && s.set.len == 0) rc = cube_fail(err, CUBE_EUSAGE, "the host expression names no host");
	if (!rc) *names = cube_selection_names(&s);
	cube_selection_done(&s);
	return rc;
}

static int report(const json_t *gone, const json_t *left) {
	cube_autofree char *names = cube_fold_names(gone);
	if (*names) {
		cube_autofree char *line = cube_strf("%s gone\n", names);
		ssize_t done = write(STDOUT_FILENO, line, strlen(line));
		(void)done;
	}
	cube_reasons_print(left, "error: left behind: ");
	return json_object_size(left) ? 1 : 0;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *names = NULL, *gone = NULL, *left = NULL;
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (rc == CUBE_ENOTFOUND) return 0; /* no manager: nothing to take down */
	if (!rc) rc = find_names(cli, a, words, n, &names, &err);
	if (!rc && names && json_array_size(names) == 0) {
		json_decref(names);
		return 0;
	}
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
	.text = "Names the hosts where something is left; the exit code is 1 then.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
