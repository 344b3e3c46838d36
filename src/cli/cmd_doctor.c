#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "asking.h"
#include "commands.h"
#include "connopts.h"
#include "cube/lines.h"
#include "cube/mem.h"
#include "reflow.h"
#include "render.h"
#include "signals.h"
#include "watch.h"

struct args {
	struct cube_common common;
	struct cube_select select;
	struct cube_conn_options conn;
	const char *output;
};

/* No letter: -o is ssh's, as wherever hosts are reached. */
static const struct cube_option options[] = {
	{"output", NULL, 0, CUBE_OPT_STRING, offsetof(struct args, output), "FORM",
	 "text, json or jsonl", "text", "text|json|jsonl"},
	{0},
};

enum { LINE_MAX_ = 64 << 10 };

struct visit {
	const struct cube_nodeset *hosts;
	struct cube_asking asking;
	struct cube_lines lines;
	json_t *findings;  /* {host: [finding...]} in order of arrival */
	const char *alone; /* the only host: its findings are printed as they come */
	bool text, jsonl, colour;
	size_t width; /* of the terminal, or SIZE_MAX */
	unsigned failed;
	int broken; /* exit code: stdout cannot be written */
};

static void add_finding(const struct visit *v, const json_t *f, struct cube_buf *out) {
	static const struct {
		const char *word, *colour;
	} verdicts[] = {{"ok", "32"}, {"note", "36"}, {"warning", "33"}, {"failed", "31"}};
	const char *verdict = cube_json_str(f, "verdict", "?");
	const char *fix = cube_json_str(f, "fix", NULL), *colour = "0";
	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
		if (!strcmp(verdict, verdicts[i].word)) colour = verdicts[i].colour;
	cube_autofree char *line =
		cube_strf("  %-7s  %-13s  %s\n", verdict, cube_json_str(f, "check", "?"),
			  cube_json_str(f, "text", ""));
	cube_autofree char *advice =
		fix ? cube_strf("  %-7s  %-13s  -> %s\n", "", "", fix) : cube_strdup("");
	struct cube_buf lines;
	cube_buf_init(&lines, CUBE_RENDER_MAX);
	cube_reflow(line, v->width, &lines);
	cube_reflow(advice, v->width, &lines);
	const char *rest = cube_buf_str(&lines) + strlen("  ") + strlen(verdict);
	if (v->colour) cube_buf_printf(out, "  \033[%sm%s\033[0m%s", colour, verdict, rest);
	else cube_buf_addstr(out, cube_buf_str(&lines));
	cube_buf_done(&lines);
}

static void print(struct visit *v, struct cube_buf *out) {
	if (cube_buf_len(out)) cube_asking_hide(&v->asking);
	if (!v->broken) v->broken = cube_render_print(out);
	cube_buf_done(out);
}

static int on_line(void *arg, const uint8_t *line, size_t n, bool first, bool whole) {
	struct visit *v = arg;
	json_t *f = first && whole ? json_loadb((const char *)line, n, 0, NULL) : NULL;
	if (!json_is_object(f)) {
		json_decref(f);
		return 0;
	}
	const char *node = cube_json_str(f, "node", "");
	json_t *list = json_object_get(v->findings, node);
	if (!list) json_object_set_new(v->findings, node, list = json_array());
	json_array_append_new(list, f);
	v->failed += strcmp(cube_json_str(f, "verdict", ""), "failed") == 0;
	struct cube_buf out;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	if (v->jsonl) cube_buf_printf(&out, "%.*s\n", (int)n, (const char *)line);
	if (v->text && v->alone) {
		if (json_array_size(list) == 1) cube_buf_printf(&out, "%s\n", v->alone);
		add_finding(v, f, &out);
	}
	print(v, &out);
	return 0;
}

static int take(void *arg, const void *bytes, size_t n) {
	struct visit *v = arg;
	return cube_lines_feed(&v->lines, bytes, n, on_line, v);
}

static bool waits_for(void *arg, const char *node) {
	const struct visit *v = arg;
	return cube_nodeset_has(v->hosts, node);
}

static int on_event(void *arg, const char *event, const json_t *data) {
	struct visit *v = arg;
	cube_asking_event(&v->asking, event, data);
	return 0;
}

/* Until the examination is over; what it needs a person for is asked meanwhile. */
static int wait_for(struct cube_cli *cli, struct cube_transfer *t, struct visit *v,
		    struct cube_err *err) {
	static const int stops[] = {SIGINT, SIGTERM, 0};
	struct cube_watch watch = {0};
	struct cube_signals signals;
	int signo = 0;
	cube_signals_open(&signals, stops);
	cube_asking_start(&v->asking, cli, (struct cube_asking_owner){waits_for, NULL}, v);
	if (v->asking.started) cube_watch_start_asking(&watch, cli, -1, on_event, v);
	while (!cube_transfer_ended(t) && !signo && !v->broken) {
		struct pollfd p = {.fd = signals.fd, .events = POLLIN};
		cube_client_turn(cli->client, &p, 1, -1);
		signo = cube_signals_next(&signals);
		if (signo == SIGINT) cube_client_interrupted(cli->client);
	}
	if (v->asking.started) cube_watch_stop(&watch);
	cube_asking_stop(&v->asking);
	cube_signals_close(&signals);
	if (v->broken) return 0; /* nobody reads the rest */
	if (!signo) return cube_transfer_result(t, err);
	cube_fail(err, CUBE_ECANCELED, "interrupted");
	err->sys = signo;
	return CUBE_ECANCELED;
}

static void print_all(struct visit *v) {
	struct cube_buf out;
	const char *node;
	json_t *list, *f;
	size_t i;
	cube_buf_init(&out, CUBE_RENDER_MAX);
	json_object_foreach(v->findings, node, list) {
		cube_buf_printf(&out, "%s\n", node);
		json_array_foreach(list, i, f) add_finding(v, f, &out);
	}
	print(v, &out);
}

static int print_json(const struct visit *v) {
	struct cube_buf out;
	json_t *o = json_pack("{s:i, s:O}", "version", 1, "hosts", v->findings);
	cube_buf_init(&out, CUBE_RENDER_MAX);
	int code = cube_render_json(o, JSON_INDENT(2), &out) ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	json_decref(o);
	return code;
}

static int examine(struct cube_cli *cli, const struct args *a, const struct cube_selection *s) {
	struct visit v = {.hosts = &s->set,
			  .width = cube_reflow_width(),
			  .text = !strcmp(a->output, "text"),
			  .jsonl = !strcmp(a->output, "jsonl"),
			  .colour = cube_render_colour(STDOUT_FILENO)};
	struct cube_err err;
	json_t *body = NULL;
	int code = 0, rc = cube_conn_body(&a->conn, s, CUBE_OPT_UNSET, &body, &err);
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_IF_NEEDED, &err);
	if (!rc) {
		v.findings = json_object();
		if (s->set.len == 1) v.alone = s->set.v[0].name;
		cube_lines_init(&v.lines, LINE_MAX_);
		struct cube_transfer *t =
			cube_client_ask(cli->client, "/v1/doctor", body, take, &v);
		rc = wait_for(cli, t, &v, &err);
		cube_transfer_free(t);
		cube_lines_done(&v.lines);
	}
	if (!rc && v.text && !v.alone) print_all(&v);
	if (!rc && !v.text && !v.jsonl) code = print_json(&v);
	if (rc) code = cube_cli_fail(&err);
	else if (v.broken) code = v.broken;
	else if (!code && v.failed) code = 1;
	json_decref(v.findings);
	json_decref(body);
	return code;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_selection s = {0};
	struct cube_err err;
	int rc = cube_select_some(&a->select, words, "which host? as in: cube doctor web1", &s,
				  &err);
	int code = rc ? cube_cli_fail(&err) : examine(cli, a, &s);
	cube_selection_done(&s);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Hosts", cube_select_options, offsetof(struct args, select)},
	{"Connection", cube_conn_option_rows, offsetof(struct args, conn)},
	{"Output", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_doctor = {
	.name = "doctor",
	.usage = "HOSTS [OPTIONS]",
	.help = "try each step of joining a host, and say what is wrong and what to do",
	.text = "  cube doctor web1                        one host\n"
		"  cube doctor -i hosts --limit @gpu       a group of the hosts file\n\n"
		"Nothing is left on the hosts and no node is changed. The exit code is 1 where a host\n"
		"cannot be joined.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.run = run,
};
