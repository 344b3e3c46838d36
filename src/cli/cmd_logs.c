#include <string.h>

#include "commands.h"
#include "follow.h"

struct args {
	struct cube_common common;
	const char *stream;
	uint64_t tail;
	bool follow, times, no_prefix;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"follow", NULL, 'f', CUBE_OPT_FLAG, AT(follow), NULL, "go on until the task has ended"},
	{"tail", NULL, 'n', CUBE_OPT_UINT, AT(tail), "N", "begin with the last N lines", NULL, NULL,
	 0, 1000000000},
	{"timestamps", NULL, 't', CUBE_OPT_FLAG, AT(times), NULL, "when each line arrived"},
	{"stream", NULL, 0, CUBE_OPT_STRING, AT(stream), "WHICH", "only stdout or stderr", NULL,
	 "stdout|stderr"},
	{"no-prefix", NULL, 'N', CUBE_OPT_FLAG, AT(no_prefix), NULL, "of a job: no `host: `"},
	{0},
};

/* Which tasks: the job's first and how many. */
static int find_tasks(struct cube_cli *cli, struct cube_follow_config *c, struct cube_err *err) {
	json_t *reply = NULL;
	unsigned long long id = c->ref.id;
	cube_autofree char *path = NULL;
	if (!c->ref.job) {
		path = cube_strf("/v1/tasks/%llu", id);
		c->first = id;
		c->count = 1;
		return cube_client_json(cli->client, "GET", path, NULL, NULL, err);
	}
	path = cube_strf("/v1/tasks?job=%llu&limit=1", id);
	int rc = cube_client_json(cli->client, "GET", path, NULL, &reply, err);
	const json_t *first = json_array_get(json_object_get(reply, "tasks"), 0);
	json_t *last_reply = NULL;
	cube_autofree char *last_path = cube_strf("/v1/tasks?job=%llu&limit=1&newest=1", id);
	if (!rc) rc = cube_client_json(cli->client, "GET", last_path, NULL, &last_reply, err);
	const json_t *last = json_array_get(json_object_get(last_reply, "tasks"), 0);
	if (!rc && (!first || !last)) rc = cube_ref_none(&c->ref, err);
	if (!rc) {
		c->first = (uint64_t)cube_json_num(first, "id", 0);
		c->count = (uint64_t)cube_json_num(last, "id", 0) - c->first + 1;
	}
	json_decref(last_reply);
	json_decref(reply);
	return rc;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_follow_config c = {.follow = a->follow, .tail = a->tail};
	struct cube_follow_result result = {0};
	struct cube_err err;
	int rc = n == 1 ? cube_ref_parse(words[0], &c.ref, &err)
			: cube_fail(&err, CUBE_EUSAGE, "of which task? cube logs [OPTIONS] ID");
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = find_tasks(cli, &c, &err);
	if (rc) return cube_cli_fail(&err);
	if (a->stream) c.only_stream = strcmp(a->stream, "stdout") == 0 ? 1 : 2;
	c.output.raw = c.count == 1;
	c.output.prefix = c.count > 1 && !a->no_prefix;
	c.output.times = a->times;
	rc = cube_follow(cli, &c, &result, &err);
	return rc ? cube_cli_fail(&err) : result.left;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_logs = {
	.name = "logs",
	.usage = "[OPTIONS] ID|job:ID",
	.help = "print what a task wrote: stdout to stdout, stderr to stderr",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
