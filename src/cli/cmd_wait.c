#include <string.h>

#include "commands.h"
#include "cube/text.h"
#include "follow.h"
#include "render.h"
#include "waiting.h"

#define PAGE 1000u

struct args {
	struct cube_common common;
	bool quiet;
};

static const struct cube_option options[] = {
	{"quiet", NULL, 'q', CUBE_OPT_FLAG, offsetof(struct args, quiet), NULL,
	 "no words, only the exit code"},
	{0},
};

struct ended {
	json_t *tasks;   /* {"17": TASK} */
	json_t *unknown; /* why a word names nothing, in order */
};

static void add(struct ended *e, json_t *task) {
	char key[24];
	snprintf(key, sizeof key, "%llu", (unsigned long long)cube_json_num(task, "id", 0));
	json_object_set(e->tasks, key, task);
}

static int add_job(struct ended *e, struct cube_cli *cli, uint64_t id, struct cube_err *err) {
	uint64_t after = 0;
	size_t n = PAGE;
	int rc = 0;
	while (!rc && n == PAGE) {
		json_t *reply = NULL, *task;
		cube_autofree char *path =
			cube_strf("/v1/tasks?job=%llu&limit=%u&after=%llu", (unsigned long long)id,
				  PAGE, (unsigned long long)after);
		rc = cube_client_json(cli->client, "GET", path, NULL, &reply, err);
		json_array_foreach(json_object_get(reply, "tasks"), n, task) {
			after = (uint64_t)cube_json_num(task, "id", 0);
			add(e, task);
		}
		json_decref(reply);
	}
	return rc;
}

static int wait_for(struct ended *e, struct cube_cli *cli, const char *word, struct cube_err *err) {
	struct cube_ref ref;
	json_t *is = NULL;
	int rc = cube_ref_parse(word, &ref, err);
	if (!rc) rc = cube_wait_for(cli, &ref, &is, err);
	if (rc == CUBE_ENOTFOUND) {
		json_array_append_new(e->unknown, json_string(err->msg));
		rc = 0;
	} else if (!rc && ref.job) {
		rc = add_job(e, cli, ref.id, err);
	} else if (!rc) {
		add(e, is);
	}
	json_decref(is);
	return rc;
}

static void tell(const json_t *task, struct cube_buf *out) {
	cube_autofree char *why = cube_follow_why(task);
	cube_buf_printf(out, "%llu %s%s", (unsigned long long)cube_json_num(task, "id", 0),
			cube_json_str(task, "state", "?"), why ? ": " : "");
	if (why) cube_text_escape(out, why, strlen(why));
	cube_buf_addstr(out, "\n");
}

static int count(const struct ended *w, bool quiet) {
	struct cube_follow_result r = {0};
	struct cube_buf out;
	const char *id;
	json_t *task, *why;
	size_t i;
	uint64_t n = json_object_size(w->tasks) + json_array_size(w->unknown);
	cube_buf_init(&out, CUBE_RENDER_MAX);
	json_object_foreach(w->tasks, id, task) {
		cube_follow_count(&r, n, task);
		if (!quiet) tell(task, &out);
	}
	int broken = cube_render_print(&out);
	cube_buf_done(&out);
	json_array_foreach(w->unknown, i, why) {
		json_t *none = json_pack("{s:i}", "exit_code", cube_err_exit(CUBE_ENOTFOUND, true));
		cube_follow_count(&r, n, none);
		json_decref(none);
		cube_cli_say("error: %s", json_string_value(why));
	}
	return r.exit_code ? r.exit_code : broken;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct ended w = {json_object(), json_array()};
	struct cube_ref ref;
	struct cube_err err;
	int rc = n ? 0 : cube_fail(&err, CUBE_EUSAGE, "for which tasks? cube wait ID...");
	for (size_t i = 0; !rc && i < n; i++) rc = cube_ref_parse(words[i], &ref, &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	for (size_t i = 0; !rc && i < n; i++) rc = wait_for(&w, cli, words[i], &err);
	int code = rc ? cube_cli_fail(&err) : count(&w, a->quiet);
	json_decref(w.tasks);
	json_decref(w.unknown);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_wait = {
	.name = "wait",
	.usage = "ID|job:ID...",
	.help = "wait until tasks have ended; the exit code is as of run",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.carries = true,
	.run = run,
};
