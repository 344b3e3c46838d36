#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "cube/text.h"
#include "render.h"
#include "watch.h"

struct args {
	struct cube_common common;
	const char *output;
	uint64_t last;
	bool follow;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"follow", NULL, 'f', CUBE_OPT_FLAG, AT(follow), NULL, "go on with what happens"},
	{"last", NULL, 'n', CUBE_OPT_UINT, AT(last), "N", "begin with the last N (all; with -f 10)",
	 NULL, NULL, 0, 1000000000},
	CUBE_OUTPUT_ROW(AT(output)),
	{0},
};

struct printing {
	const char *output;
	json_t *all; /* for json, which is one document */
	struct cube_buf line;
	int64_t seq; /* of the last one */
};

#define CELL(key)                                                                    \
	static int cell_##key(const json_t *row, bool plain, struct cube_buf *out) { \
		return cube_cell_value(row, #key, out);                              \
	}
CELL(seq)
CELL(time)
CELL(kind)
CELL(task)
CELL(node)
CELL(old)
CELL(new)
CELL(reason)

static const struct cube_column columns[] = {
	{"SEQ", "seq", .cell = cell_seq},
	{"TIME", "time", .cell = cell_time},
	{"KIND", "kind", .cell = cell_kind},
	{"TASK", "task", .cell = cell_task},
	{"NODE", "node", .cell = cell_node},
	{"OLD", "old", .cell = cell_old},
	{"NEW", "new", .cell = cell_new},
	{"REASON", "reason", .cell = cell_reason},
	{0},
};

/* "2026-11-22T08:00:00.123Z node web1 connecting -> probing: reason" */
static void add_line(struct cube_buf *out, const json_t *data) {
	const char *node = cube_json_str(data, "node", ""), *old = cube_json_str(data, "old", "");
	const char *reason = cube_json_str(data, "reason", "");
	cube_buf_printf(out, "%s %s", cube_json_str(data, "time", "-"),
			cube_json_str(data, "kind", "-"));
	if (json_is_integer(json_object_get(data, "task"))) {
		cube_buf_addstr(out, " ");
		cube_cell_int(data, "task", out);
	}
	if (*node) cube_buf_printf(out, " %s", node);
	cube_buf_printf(out, " %s%s%s", old, *old ? " -> " : "", cube_json_str(data, "new", "-"));
	if (*reason) cube_buf_printf(out, ": %s", reason);
}

/* On a terminal a long one goes on below its beginning. */
static int add_safe(const struct printing *p, struct cube_buf *out) {
	size_t width, height;
	struct cube_buf safe;
	cube_buf_init(&safe, 1u << 20);
	int rc = cube_text_escape(&safe, cube_buf_data(&p->line), cube_buf_len(&p->line));
	if (strcmp(p->output, "wide") == 0 || !cube_render_terminal(STDOUT_FILENO, &width, &height))
		width = SIZE_MAX;
	if (!rc) rc = cube_render_wrap(cube_buf_str(&safe), width, 4, out);
	if (!rc) rc = cube_buf_addstr(out, "\n");
	cube_buf_done(&safe);
	return rc;
}

static int print_event(struct printing *p, const json_t *data) {
	struct cube_buf safe;
	int rc = 0;
	cube_buf_init(&safe, 1u << 20);
	cube_buf_clear(&p->line);
	if (strcmp(p->output, "jsonl") == 0) {
		rc = cube_render_json(data, JSON_COMPACT, &safe);
	} else if (strcmp(p->output, "csv") == 0) {
		json_t *one = json_pack("[O]", (json_t *)data);
		rc = cube_render_csv(false, columns, one, &safe);
		json_decref(one);
	} else {
		add_line(&p->line, data);
		rc = add_safe(p, &safe);
	}
	if (!rc) rc = cube_render_print(&safe);
	cube_buf_done(&safe);
	return rc;
}

static int on_event(void *arg, const char *event, const json_t *data) {
	struct printing *p = arg;
	if (strcmp(event, "progress") == 0) return 0;
	p->seq = (int64_t)cube_json_num(data, "seq", 0);
	if (p->all) return json_array_append(p->all, (json_t *)data), 0;
	return print_event(p, data);
}

/* Where to begin. Numbers of events are consecutive. */
static int find_start(struct cube_cli *cli, const struct args *a, int64_t *ret,
		      struct cube_err *err) {
	int64_t now = 0, last = a->follow ? 10 : INT64_MAX;
	if (a->last != CUBE_OPT_UNSET) last = (int64_t)a->last;
	int rc = cube_watch_now(cli, &now, err);
	if (!rc) *ret = now > last ? now - last : 0;
	return rc;
}

static int print_all(struct cube_cli *cli, const struct args *a, struct printing *p, int64_t after,
		     struct cube_err *err) {
	int rc;
	p->seq = after;
	if (strcmp(a->output, "csv") == 0) {
		json_t *none = json_array();
		cube_render_csv(true, columns, none, &p->line);
		json_decref(none);
		cube_render_print(&p->line);
	}
	if (strcmp(a->output, "json") == 0) p->all = json_array();
	do {
		struct cube_watch watch;
		cube_watch_start(&watch, cli, p->seq, a->follow, on_event, p);
		rc = cube_watch_wait(&watch, cli, err);
		cube_watch_stop(&watch);
		/* a manager that went away is started again */
	} while (a->follow && rc == CUBE_ECONNECT &&
		 cube_client_start_manager(&cli->paths, err) == 0);
	if (a->follow && rc == 0 && !p->all)
		cube_cli_say("no nodes and no tasks are left, and the manager ended; that was all");
	if (p->all && (rc == 0 || rc == CUBE_ECANCELED)) {
		struct cube_listing list = {.output = "json"};
		int code = cube_render_list(&list, columns, "events", p->all);
		if (!rc) rc = code;
	}
	json_decref(p->all);
	return rc;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct printing p = {.output = a->output};
	struct cube_err err;
	int64_t after = 0;
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = find_start(cli, a, &after, &err);
	cube_buf_init(&p.line, 1u << 20);
	if (!rc) rc = print_all(cli, a, &p, after, &err);
	cube_buf_done(&p.line);
	return rc < 0 ? cube_cli_fail(&err) : rc;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_events = {
	.name = "events",
	.usage = "[OPTIONS]",
	.help = "list state changes of nodes and tasks, in order",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
