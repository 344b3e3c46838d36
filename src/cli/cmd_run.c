#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "commands.h"
#include "render.h"
#include "select.h"
#include "writeout.h"

struct args {
	struct cube_common common;
	struct cube_task_options task;
	struct cube_print_options print;
	struct cube_select select;
	uint64_t count;
	bool all, detach, input;
};

static const struct cube_option options[] = {
	{"count", NULL, 'n', CUBE_OPT_UINT, offsetof(struct args, count), "N",
	 "so many tasks, placed in turn (1; with -w one on each of these nodes)", NULL, NULL, 1,
	 1000000},
	{"all", NULL, 0, CUBE_OPT_FLAG, offsetof(struct args, all), NULL, "one task on each node"},
	{"detach", NULL, 'd', CUBE_OPT_FLAG, offsetof(struct args, detach), NULL,
	 "print the ids, one a line, and return"},
	{"input", "interactive", 'i', CUBE_OPT_FLAG, offsetof(struct args, input), NULL,
	 "standard input goes to the task"},
	{0},
};

/* Nodes that tasks can go to, now or soon. */
static int check_nodes(struct cube_cli *cli, struct cube_err *err) {
	static const char *const no[] = {"failed", "needs-login", "leaving", "gone"};
	size_t counts[4] = {0}, usable = 0;
	json_t *reply = NULL, *n;
	const char *state;
	int rc = cube_client_json(cli->client, "GET", "/v1/info", NULL, &reply, err);
	json_object_foreach(json_object_get(reply, "node_states"), state, n) {
		size_t i = 0;
		while (i < 4 && strcmp(state, no[i]) != 0) i++;
		*(i < 4 ? &counts[i] : &usable) += (size_t)json_integer_value(n);
	}
	json_decref(reply);
	size_t failed = counts[0], parked = counts[1];
	if (rc || usable) return rc;
	if (parked)
		return cube_fail(err, CUBE_ECONFLICT,
				 "no node is ready: %zu waiting for a login; `cube login` asks",
				 parked);
	if (failed)
		return cube_fail(err, CUBE_ECONFLICT,
				 "no node is ready: %zu failed; `cube nodes` tells "
				 "why, `cube spawn --workers=HOSTS` tries again",
				 failed);
	return cube_fail(err, CUBE_ECONFLICT,
			 "there is no node yet; add some with `cube spawn --workers=HOSTS` first");
}

static int check_args(const struct args *a, size_t n, struct cube_err *err) {
	if (n == 0)
		return cube_fail(err, CUBE_EUSAGE, "run what? cube run [OPTIONS] -- COMMAND...");
	if (a->all && a->count != CUBE_OPT_UNSET)
		return cube_fail(err, CUBE_EUSAGE, "--all and --count do not go together");
	if (a->input && (a->all || (a->count != CUBE_OPT_UNSET && a->count > 1)))
		return cube_fail(err, CUBE_EUSAGE, "--input needs a single task");
	if (a->input && a->detach)
		return cube_fail(err, CUBE_EUSAGE, "--input and --detach do not go together");
	return 0;
}

/* -w names where it is to run, once on each; -x and --limit alone only where it may. */
static bool somewhere(const struct args *a) {
	return !a->all && a->count == CUBE_OPT_UNSET && !a->select.workers.len;
}

static int make_body(struct cube_cli *cli, const struct args *a, char **words, size_t n,
		     json_t **ret, struct cube_err *err) {
	json_t *names = NULL;
	int rc = cube_select_nodes(cli, &a->select, NULL, &names, err);
	if (!rc) rc = cube_task_body(cli, &a->task, words, n, ret, err);
	if (!rc) {
		if (names) json_object_set(*ret, "nodes", names);
		if (names && somewhere(a)) json_object_set_new(*ret, "count", json_integer(1));
		if (a->all) json_object_set_new(*ret, "all", json_true());
		if (a->count != CUBE_OPT_UNSET)
			json_object_set_new(*ret, "count", json_integer((json_int_t)a->count));
		if (a->input) json_object_set_new(*ret, "stdin", json_true());
	}
	json_decref(names);
	return rc;
}

static int print_ids(const struct cube_submission *job) {
	struct cube_buf out;
	cube_buf_init(&out, 32u << 20);
	for (uint64_t i = 0; i < job->count; i++)
		cube_buf_printf(&out, "%llu\n", (unsigned long long)(job->first + i));
	int code = cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_follow_result result = {0};
	struct cube_submission job = {0};
	struct cube_err err;
	json_t *body = NULL;
	int rc = check_args(a, n, &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (rc == CUBE_ENOTFOUND)
		rc = cube_fail(&err, CUBE_ECONFLICT,
			       "there is no node yet; add some with `cube spawn "
			       "--workers=HOSTS` first");
	if (!rc) rc = check_nodes(cli, &err);
	if (!rc) rc = make_body(cli, a, words, n, &body, &err);
	if (!rc) rc = cube_submission_make(cli, body, &job, &err);
	json_decref(body);
	if (rc) return cube_cli_fail(&err);
	if (a->detach) return print_ids(&job);
	rc = cube_submission_attach(cli, &job, &a->print, a->input, NULL, NULL, &result, &err);
	if (rc) return cube_cli_fail(&err);
	if (result.left == CUBE_WRITE_GONE || result.left == CUBE_WRITE_FAILED)
		cube_submission_stop(cli, &job);
	else if (result.left) cube_submission_left(&job);
	return result.left ? result.left : result.exit_code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	{"Nodes", cube_select_node_options, offsetof(struct args, select)},
	{"Task", cube_task_option_rows, offsetof(struct args, task)},
	{"Output", cube_print_option_rows, offsetof(struct args, print)},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_run = {
	.name = "run",
	.usage = "[OPTIONS] [--] COMMAND [ARG...]",
	.help = "run a command as a task on one node, or on many",
	.text = "  cube run -- CMD              on one node\n"
		"  cube run -w a,b -- CMD       once on each of these (-n 1: on one of them)\n"
		"  cube run -n 8 -w a,b -- CMD  eight tasks, spread over these\n"
		"  cube run --all -- CMD        once on each node\n\n"
		"Arguments arrive byte for byte. One task: stdout and stderr are its bytes exactly, and\n"
		"the exit code is its own (128+N for signal N, 124 for a timeout, 126/127 where it cannot\n"
		"be executed or is not found). Several: lines carry `host: `, and the exit code is how\n"
		"many failed (at most 100; 101: more). Ctrl-C interrupts the tasks; twice within 2 s\n"
		"leaves them running. Tasks whose output nobody reads any more (`| head`) are stopped.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.stop_at_word = true,
	.carries = true,
	.run = run,
};
