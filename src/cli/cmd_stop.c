#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "waiting.h"

struct args {
	struct cube_common common;
	uint64_t grace;
	bool detach;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"grace", NULL, 't', CUBE_OPT_DURATION, AT(grace), "TIME", "between TERM and KILL (10s)"},
	{"detach", NULL, 'd', CUBE_OPT_FLAG, AT(detach), NULL, "do not wait for the end"},
	{0},
};

static int stop(struct cube_cli *cli, const struct args *a, const char *word,
		struct cube_err *err) {
	struct cube_ref ref;
	int rc = cube_ref_parse(word, &ref, err);
	if (rc) return rc;
	cube_autofree char *grace = a->grace == CUBE_OPT_UNSET
					    ? cube_strdup("")
					    : cube_strf("?grace=%.3f", (double)a->grace / 1e9);
	cube_autofree char *path = cube_strf("/v1/%s/%llu%s", ref.job ? "jobs" : "tasks",
					     (unsigned long long)ref.id, grace);
	return cube_client_json(cli->client, "DELETE", path, NULL, NULL, err);
}

/* Stops all; unknown ones are named, and the others stopped nevertheless. */
static int stop_all(struct cube_cli *cli, const struct args *a, char **words, size_t n,
		    struct cube_err *err) {
	int worst = 0;
	for (size_t i = 0; i < n; i++) {
		struct cube_err one;
		int rc = stop(cli, a, words[i], &one);
		if (rc == CUBE_ENOTFOUND) {
			worst = cube_cli_fail(&one);
		} else if (rc) {
			*err = one;
			return rc;
		}
	}
	return worst;
}

static int wait_all(struct cube_cli *cli, char **words, size_t n, struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		struct cube_ref ref;
		rc = cube_ref_parse(words[i], &ref, err);
		if (!rc) rc = cube_wait_for(cli, &ref, NULL, err);
		if (rc == CUBE_ENOTFOUND) rc = 0; /* that was told */
	}
	return rc;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	int code = 0;
	struct cube_ref ref;
	int rc = n ? 0 : cube_fail(&err, CUBE_EUSAGE, "which tasks? cube stop ID...");
	/* nothing is stopped where a word is wrong */
	for (size_t i = 0; !rc && i < n; i++) rc = cube_ref_parse(words[i], &ref, &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) {
		rc = stop_all(cli, a, words, n, &err);
		if (rc > 0) code = rc, rc = 0;
	}
	if (!rc && !a->detach) rc = wait_all(cli, words, n, &err);
	if (rc) code = cube_cli_fail(&err);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_stop = {
	.name = "stop",
	.usage = "[OPTIONS] ID|job:ID...",
	.help = "stop tasks: TERM, grace, KILL of everything they started; waits for it",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
