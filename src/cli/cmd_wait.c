#include <string.h>

#include "commands.h"
#include "cube/text.h"
#include "render.h"
#include "waiting.h"

struct args {
	struct cube_common common;
	bool quiet;
};

static const struct cube_option options[] = {
	{"quiet", NULL, 'q', CUBE_OPT_FLAG, offsetof(struct args, quiet), NULL,
	 "no words, only the exit code"},
	{0},
};

static void tell(const json_t *task, struct cube_buf *out) {
	cube_autofree char *why = cube_follow_why(task);
	cube_buf_printf(out, "%llu %s%s", (unsigned long long)cube_json_num(task, "id", 0),
			cube_json_str(task, "state", "?"), why ? ": " : "");
	if (why) cube_text_escape(out, why, strlen(why));
	cube_buf_addstr(out, "\n");
}

static int count(const struct cube_waiting *w, bool quiet) {
	struct cube_follow_result r = {0};
	struct cube_buf out;
	const char *id;
	json_t *task, *word;
	size_t i;
	uint64_t n = json_object_size(w->tasks) + json_array_size(w->unknown);
	cube_buf_init(&out, CUBE_RENDER_MAX);
	json_object_foreach(w->tasks, id, task) {
		cube_follow_count(&r, n, task);
		if (!quiet) tell(task, &out);
	}
	int broken = cube_render_print(&out);
	cube_buf_done(&out);
	json_array_foreach(w->unknown, i, word) {
		json_t *none = json_pack("{s:i}", "exit_code", cube_err_exit(CUBE_ENOTFOUND, true));
		cube_follow_count(&r, n, none);
		json_decref(none);
		cube_cli_say("error: there is no task %s; `cube ps -a` lists them",
			     json_string_value(word));
	}
	return r.exit_code ? r.exit_code : broken;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_waiting w = {0};
	struct cube_err err;
	int rc = n ? 0 : cube_fail(&err, CUBE_EUSAGE, "for which tasks? cube wait ID...");
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = cube_waiting_init(&w, cli, words, n, &err);
	if (!rc) rc = cube_waiting_wait(&w, cli, &err);
	int code = rc ? cube_cli_fail(&err) : count(&w, a->quiet);
	cube_waiting_done(&w);
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
