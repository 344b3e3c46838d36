#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "commands.h"
#include "connopts.h"
#include "gone.h"
#include "join.h"
#include "render.h"

struct args {
	struct cube_common common;
	struct cube_task_options task;
	struct cube_print_options print;
	struct cube_select select;
	struct cube_conn_options conn;
	uint64_t slots;
	bool purge;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"slots", NULL, 0, CUBE_OPT_UINT, AT(slots), "N", "tasks at once on a node (its CPUs)",
	 NULL, NULL, 1, 65536},
	{"purge", NULL, 0, CUBE_OPT_FLAG, AT(purge), NULL,
	 "with COMMAND: leave no cached worker on the hosts either"},
	{0},
};

/* Takes those nodes down that came with this command and that nobody else needs; not 0 where
 * something is left. */
static int tear_down(struct cube_cli *cli, const json_t *reply, uint64_t job, bool purge) {
	const json_t *added = json_object_get(reply, "added");
	struct cube_nodes_use use = {added, (uint64_t)cube_json_num(reply, "use", 0), job};
	json_t *gone = NULL, *left = NULL;
	struct cube_err err;
	if (!use.id && json_array_size(added) == 0) return 0;
	int rc = cube_nodes_end_use(cli, &use, purge, &gone, &left, &err);
	if (rc) {
		cube_autofree char *names = cube_fold_names(added);
		int code = cube_cli_fail(&err);
		cube_cli_say("the nodes were not taken down; do it with `cube down %s`", names);
		return code;
	}
	int code = json_object_size(left) ? 125 : 0;
	cube_reasons_print(left, "error: left behind: ");
	json_decref(gone);
	json_decref(left);
	return code;
}

/* With COMMAND: runs it on each of the nodes, and takes the new ones down. */
static int once(struct cube_cli *cli, const struct args *a, const json_t *reply, json_t *task) {
	struct cube_follow_result result = {0};
	struct cube_join join = {0};
	struct cube_submission job = {0};
	struct cube_err err;
	const json_t *added = json_object_get(reply, "added");
	bool live = cube_render_live(STDERR_FILENO);
	int code = 0, rc = cube_submission_make(cli, task, &job, &err);
	if (!rc) {
		cube_join_start(&join, cli, reply, live ? CUBE_PROGRESS_LIVE : CUBE_PROGRESS_QUIET,
				true);
		rc = cube_submission_attach(cli, &job, &a->print, false, cube_join_hide, &join,
					    &result, &err);
		cube_join_stop(&join);
	}
	if (rc) code = cube_cli_fail(&err);
	if (!rc) code = result.left ? result.left : result.exit_code;
	if (result.left == 130) {
		cube_autofree char *names = cube_fold_names(added);
		cube_submission_left(&job);
		if (*names) cube_cli_say("the nodes stay: `cube down %s` takes them down", names);
		return code;
	}
	if (result.left)
		cube_submission_stop(cli,
				     &job); /* nodes that were there before keep no task of ours */
	int down = tear_down(cli, reply, job.id, a->purge);
	return code ? code : down;
}

/* What is just being taken down, as by another command, is waited for. */
static int post_nodes(struct cube_cli *cli, const json_t *body, const struct cube_selection *s,
		      json_t **ret, struct cube_err *err) {
	json_t *names = cube_selection_names(s);
	int waited, rc = cube_client_json(cli->client, "POST", "/v1/nodes", body, ret, err);
	/* The last of them may have gone before we looked; else it is another conflict. */
	for (bool again = true; rc == CUBE_ECONFLICT && again; again = waited > 0) {
		struct cube_err why;
		waited = cube_nodes_await_gone(cli, names, &why);
		if (waited < 0) *err = why, rc = waited;
		else rc = cube_client_json(cli->client, "POST", "/v1/nodes", body, ret, err);
	}
	json_decref(names);
	return rc;
}

static int add_nodes(struct cube_cli *cli, const struct args *a, const struct cube_selection *s,
		     char **words, size_t n) {
	json_t *body = NULL, *task = NULL, *reply = NULL;
	struct cube_err err;
	int code, rc = cube_conn_body(&a->conn, s, a->slots, &body, &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_IF_NEEDED, &err);
	if (!rc && n) rc = cube_task_body(cli, &a->task, words, n, &task, &err);
	if (!rc && n) json_object_set_new(body, "once", json_true());
	if (!rc) rc = post_nodes(cli, body, s, &reply, &err);
	if (rc) {
		code = cube_cli_fail(&err);
	} else if (n) {
		json_object_set_new(task, "all", json_true());
		json_object_set_new(task, "nodes", cube_selection_names(s));
		code = once(cli, a, reply, task);
	} else {
		code = cube_join_all(cli, reply);
	}
	json_decref(reply);
	json_decref(task);
	json_decref(body);
	return code;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_selection s = {0};
	struct cube_err err;
	int rc = cube_select_some(&a->select, NULL,
				  "on which hosts? give --workers=HOSTS or -i FILE, as in: "
				  "cube spawn --workers=web1,web2",
				  &s, &err);
	int code = rc ? cube_cli_fail(&err) : add_nodes(cli, a, &s, words, n);
	cube_selection_done(&s);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Hosts", cube_select_options, offsetof(struct args, select)},
	{"Connection", cube_conn_option_rows, offsetof(struct args, conn)},
	{"Nodes", options, 0},
	{"Task, with COMMAND", cube_task_option_rows, offsetof(struct args, task)},
	{"Output, with COMMAND", cube_print_option_rows, offsetof(struct args, print)},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_spawn = {
	.name = "spawn",
	.usage = "--workers=HOSTS [OPTIONS] [-- COMMAND [ARG...]]",
	.help = "make hosts nodes; with a command, run it once on each and take them down again",
	.text = "  cube spawn --workers='web[1-8],db1' -x web3       deploy and stay\n"
		"  cube spawn -i hosts --limit @gpu                  from a hosts file\n"
		"  cube spawn --workers=h1,h2 -- hostname            deploy, run, tear down\n"
		"  cube spawn --workers='localhost*3'                three nodes on this machine\n\n"
		"A host that cannot be reached does not keep the others waiting; it is named with its\n"
		"reason, and the exit code is not 0.\n\n"
		"With a command, nodes stay that were there before, and those that somebody else uses:\n"
		"another such spawn, whose end takes them down, or a task. What is just being taken\n"
		"down is waited for.\n\n"
		"What a host expression says (user@host:port) goes before the options, and these before\n"
		"the hosts file; but a host's own transport= there goes before --transport. -o is ssh's\n"
		"option, not an output format.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.stop_at_word = true,
	.carries = true,
	.run = run,
};
