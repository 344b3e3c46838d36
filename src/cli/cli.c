#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/parse.h"
#include "cube/userenv.h"
#include "cube/text.h"

const struct cube_option cube_common_options[] = {
	{"cluster", NULL, 0, CUBE_OPT_STRING, offsetof(struct cube_common, cluster), "NAME",
	 "which cluster; each has its own manager, nodes and tasks", "default"},
	{"help", NULL, 'h', CUBE_OPT_FLAG, offsetof(struct cube_common, help), NULL, "this text"},
	{0},
};

/* One line on stderr, in one write. */
static void say(const char *before, const char *text) {
	struct cube_buf line;
	cube_buf_init(&line, 64u << 10);
	cube_buf_addstr(&line, before);
	cube_text_escape(&line, text, strlen(text));
	cube_buf_addstr(&line, "\n");
	ssize_t n = write(STDERR_FILENO, cube_buf_data(&line), cube_buf_len(&line));
	(void)n; /* nobody could be told */
	cube_buf_done(&line);
}

void cube_cli_say(const char *fmt, ...) {
	char text[8192];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say("cube: ", text);
}

int cube_cli_fail(const struct cube_err *err) {
	if (err->code == CUBE_ECANCELED && err->sys) return 128 + err->sys;
	say("cube: error: ", err->msg);
	return cube_err_exit(err->code, true);
}

/* What this login session has for ssh. Without a terminal (cron, a service) what is not set says
 * nothing about the user's session. */
static json_t *session(void) {
	json_t *all = json_object();
	bool person = isatty(STDIN_FILENO) || isatty(STDERR_FILENO);
	for (size_t i = 0; cube_userenv_name(i); i++) {
		const char *value = getenv(cube_userenv_name(i));
		json_t *text =
			value && strlen(value) < CUBE_SESSION_VALUE ? json_string(value) : NULL;
		if (text) json_object_set_new(all, cube_userenv_name(i), text);
		else if (!value && person)
			json_object_set_new(all, cube_userenv_name(i), json_null());
	}
	return all;
}

/* Is a manager there? It gets the environment. 0, or CUBE_ECONNECT when nobody listens. */
static int probe(struct cube_cli *cli, struct cube_err *err) {
	int rc = cube_client_new(&cli->paths, &cli->client, err);
	if (rc) return rc;
	json_t *body = session();
	rc = cube_client_json(cli->client, "PUT", "/v1/environment", body, NULL, err);
	json_decref(body);
	/* One of another build may not know of it. */
	if (rc == CUBE_ENOTFOUND || rc == CUBE_EUSAGE)
		rc = cube_client_json(cli->client, "GET", "/healthz", NULL, NULL, err);
	if (rc) {
		cube_client_free(cli->client);
		cli->client = NULL;
	}
	return rc;
}

static bool has_state(const struct cube_paths *paths) {
	cube_autofree char *db = cube_strf("%s/cube.db", paths->state);
	return access(db, F_OK) == 0;
}

int cube_cli_connect(struct cube_cli *cli, enum cube_cli_start start, struct cube_err *err) {
	int rc = 0;
	if (cli->client) return 0;
	for (int tries = 0; tries < 3; tries++) {
		rc = probe(cli, err);
		if (!rc && start != CUBE_START_NEVER)
			cube_client_restarts(cli->client, &cli->paths);
		if (rc != CUBE_ECONNECT) return rc;
		if (start == CUBE_START_NEVER ||
		    (start == CUBE_START_KNOWN && !has_state(&cli->paths)))
			return cube_fail(
				err, CUBE_ENOTFOUND,
				"no manager runs for cluster '%s'; `cube spawn --workers=HOSTS` "
				"starts one",
				cli->paths.cluster);
		/* one that had nothing to do may be just leaving: then once more */
		rc = cube_client_start_manager(&cli->paths, err);
		if (rc) return rc;
	}
	return probe(cli, err);
}

int cube_ref_parse(const char *word, struct cube_ref *ret, struct cube_err *err) {
	struct cube_ref ref = {.job = strncmp(word, "job:", 4) == 0};
	const char *digits = word + (ref.job ? 4 : 0);
	if (cube_parse_u64(digits, 1, INT64_MAX, &ref.id, NULL))
		return cube_fail(err, CUBE_EUSAGE,
				 "'%.80s' is no task: give a task's number, or job:NUMBER; "
				 "`cube ps -a` lists them",
				 word);
	*ret = ref;
	return 0;
}

int cube_ref_none(const struct cube_ref *ref, struct cube_err *err) {
	return cube_fail(err, CUBE_ENOTFOUND, "there is no %s %llu; `cube ps -a` lists them",
			 ref->job ? "job" : "task", (unsigned long long)ref->id);
}

const char *cube_json_str(const json_t *object, const char *key, const char *otherwise) {
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : otherwise;
}

double cube_json_num(const json_t *object, const char *key, double otherwise) {
	const json_t *v = json_object_get(object, key);
	return json_is_number(v) ? json_number_value(v) : otherwise;
}

bool cube_json_true(const json_t *object, const char *key) {
	return json_is_true(json_object_get(object, key));
}

int cube_json_set_text(json_t *object, const char *key, const char *text, struct cube_err *err) {
	if (!text) return 0;
	if (!cube_text_is_utf8(text, strlen(text)))
		return cube_fail(err, CUBE_EUSAGE, "%s: '%.80s' is not UTF-8", key, text);
	json_object_set_new(object, key, json_string(text));
	return 0;
}

json_t *cube_json_bytes(const char *s, size_t n) {
	if (cube_text_is_utf8(s, n)) return json_stringn(s, n);
	struct cube_buf text;
	cube_buf_init(&text, n * 2 + 16);
	json_t *json = NULL;
	if (cube_text_base64(&text, s, n) == 0)
		json = json_pack("{s:s}", "base64", cube_buf_str(&text));
	cube_buf_done(&text);
	return json;
}
