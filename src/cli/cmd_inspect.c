#include <string.h>

#include "commands.h"
#include "render.h"

struct args {
	struct cube_common common;
};

/* A task's number, job:ID, or a node's name. */
static int fetch(struct cube_cli *cli, const char *word, json_t **ret, struct cube_err *err) {
	struct cube_ref ref = {0};
	cube_autofree char *path = NULL;
	if (cube_ref_parse(word, &ref, NULL) == 0)
		path = cube_strf(ref.job ? "/v1/tasks?job=%llu" : "/v1/tasks/%llu",
				 (unsigned long long)ref.id);
	else if (strspn(word,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@[]") ==
		 strlen(word))
		path = cube_strf("/v1/nodes/%s", word);
	else return cube_fail(err, CUBE_ENOTFOUND, "'%.80s': no task and no node", word);
	int rc = cube_client_json(cli->client, "GET", path, NULL, ret, err);
	const json_t *tasks = json_object_get(*ret, "tasks"); /* of a job; none: there is no job */
	if (!rc && tasks && json_array_size(tasks) == 0) rc = CUBE_ENOTFOUND;
	if (rc != CUBE_ENOTFOUND) return rc;
	if (ref.id) return cube_ref_none(&ref, err);
	return cube_fail(err, rc, "there is no node '%.80s'; `cube nodes` lists them", word);
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	struct cube_err err;
	int code = 0;
	int rc = n ? 0 : cube_fail(&err, CUBE_EUSAGE, "what? cube inspect ID|NODE...");
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (rc) return cube_cli_fail(&err);
	for (size_t i = 0; i < n; i++) {
		json_t *json = NULL;
		rc = fetch(cli, words[i], &json, &err);
		int one = rc ? cube_cli_fail(&err) : cube_render_object("json", json);
		if (one) code = one;
		json_decref(json);
	}
	return code;
}

static const struct cube_option_group groups[] = {
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_inspect = {
	.name = "inspect",
	.usage = "ID|job:ID|NODE...",
	.help = "everything known of a task or node, as JSON",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
