#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "commands.h"
#include "cube/clock.h"
#include "cube/text.h"
#include "listings.h"
#include "signals.h"

struct args {
	struct cube_common common;
	uint64_t interval;
};

static const struct cube_option options[] = {
	{"interval", NULL, 'd', CUBE_OPT_DURATION, offsetof(struct args, interval), "TIME",
	 "between two looks", "1s"},
	{0},
};

struct screen {
	struct cube_cli *cli;
	json_t *nodes, *tasks;
	size_t width, height; /* 0: no terminal */
};

/* What is shown now, on `rows` lines: nodes first, then the newest tasks that run. */
static int fetch(struct screen *s, struct cube_err *err) {
	json_t *nodes = NULL, *tasks = NULL;
	struct cube_client *c = s->cli->client;
	cube_autofree char *path =
		cube_strf("/v1/tasks?newest=1&limit=%zu&state=running,scheduled,pending",
			  s->height ? s->height : 1000);
	int rc = cube_client_json(c, "GET", "/v1/nodes", NULL, &nodes, err);
	if (!rc) rc = cube_client_json(c, "GET", path, NULL, &tasks, err);
	json_decref(s->nodes);
	json_decref(s->tasks);
	s->nodes = nodes;
	s->tasks = tasks;
	return rc;
}

static size_t count(const json_t *nodes, const char *state) {
	size_t n = 0, i;
	json_t *node;
	json_array_foreach((json_t *)nodes, i, node) n +=
		strcmp(cube_json_str(node, "state", ""), state) == 0;
	return n;
}

static void add_title(const struct screen *s, const json_t *nodes, struct cube_buf *out) {
	char now[32];
	size_t i;
	double running = 0, queued = 0, slots = 0;
	json_t *node;
	json_array_foreach((json_t *)nodes, i, node) {
		running += cube_json_num(node, "running", 0);
		queued += cube_json_num(node, "queued", 0);
		slots += cube_json_num(node, "slots", 0);
	}
	cube_autofree char *line = cube_strf(
		"cube %s  nodes: %zu ready of %zu  tasks: %.0f running, %.0f queued, %.0f slots  %s",
		s->cli->paths.cluster, count(nodes, "ready"), json_array_size(nodes), running,
		queued, slots, cube_clock_rfc3339(cube_clock_wall(), now));
	cube_render_cut(line, s->width ? s->width : 1000, out);
	cube_buf_addstr(out, "\n\n");
}

/* Adds text's first rows lines; how many there were. */
static size_t add_lines(struct cube_buf *out, struct cube_buf *text, size_t rows) {
	const char *p = cube_buf_str(text);
	size_t n = 0;
	for (; *p && n < rows; n++) {
		size_t len = strcspn(p, "\n");
		cube_buf_add(out, p, len);
		cube_buf_addstr(out, "\n");
		p += len + (p[len] == '\n');
	}
	return n;
}

static int compose(const struct screen *s, struct cube_buf *out) {
	const json_t *nodes = json_object_get(s->nodes, "nodes");
	const json_t *tasks = json_object_get(s->tasks, "tasks");
	struct cube_render_style style = {.width = s->width,
					  .headers = true,
					  .bold = s->height && cube_render_colour(STDOUT_FILENO)};
	size_t rows = s->height ? s->height : 100000, left = rows - 3;
	struct cube_buf table;
	cube_buf_init(&table, CUBE_RENDER_MAX);
	add_title(s, nodes, out);
	int rc = cube_render_table(&style, cube_node_columns, nodes, &table);
	/* a third of the screen is for tasks, or what they need where that is less */
	size_t need = json_array_size(tasks) + 2, third = left / 3;
	left -= add_lines(out, &table, left - (need < third ? need : third));
	cube_buf_clear(&table);
	if (!rc && left > 1) {
		rc = cube_render_table(&style, cube_task_columns, tasks, &table);
		cube_buf_addstr(out, "\n");
		add_lines(out, &table, left - 1);
	}
	cube_buf_done(&table);
	return rc;
}

static int snapshot(struct screen *s) {
	struct cube_err err;
	struct cube_buf out;
	int rc = fetch(s, &err);
	if (rc) return cube_cli_fail(&err);
	cube_buf_init(&out, CUBE_RENDER_MAX);
	int code = compose(s, &out) ? 125 : cube_render_print(&out);
	cube_buf_done(&out);
	return code;
}

/* One frame in one write, so that nothing flickers. A line is cleared before it is written: after
 * it, the cursor may stand on its last character. */
static int draw(struct screen *s, struct cube_err *err) {
	struct cube_buf text, out;
	cube_render_terminal(STDOUT_FILENO, &s->width, &s->height);
	size_t rows = s->height;
	if (s->height < 8) s->height = 8; /* what is composed; it is cut below */
	int rc = fetch(s, err);
	if (rc == CUBE_ECONNECT && cube_client_start_manager(&s->cli->paths, err) == 0)
		rc = fetch(s, err);
	if (rc) return rc;
	cube_buf_init(&text, CUBE_RENDER_MAX);
	cube_buf_init(&out, CUBE_RENDER_MAX);
	compose(s, &text);
	cube_buf_addstr(&out, "\033[H");
	const char *p = cube_buf_str(&text);
	for (size_t n = 0; *p && n + 1 < rows; n++) {
		size_t len = strcspn(p, "\n");
		cube_buf_addstr(&out, "\033[K");
		cube_buf_add(&out, p, len);
		cube_buf_addstr(&out, "\r\n");
		p += len + (p[len] == '\n');
	}
	cube_buf_addstr(&out, "\033[J");
	cube_render_print(&out);
	cube_buf_done(&out);
	cube_buf_done(&text);
	return 0;
}

static void put(const char *codes) {
	ssize_t n = write(STDOUT_FILENO, codes, strlen(codes));
	(void)n;
}

struct terminal {
	struct termios before;
	struct cube_signals signals;
};

/* Keys come one by one; a screen of our own, no cursor, no wrapping of wide lines. */
static void enter(const struct terminal *t) {
	struct termios keys = t->before;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &keys);
	put("\033[?1049h\033[?25l\033[?7l");
}

static void leave(const struct terminal *t) {
	put("\033[?7h\033[?25h\033[?1049l");
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
}

/* Ctrl-Z: the shell gets its screen, and we come back with `fg`. */
static bool suspend(const struct terminal *t) {
	leave(t);
	raise(SIGSTOP);
	enter(t);
	return true;
}

/* Whether to go on after waiting at most ms: not after q or a signal that ends us. */
static bool wait_key(const struct terminal *t, int ms) {
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
			      {.fd = t->signals.fd, .events = POLLIN}};
	if (poll(p, 2, ms) <= 0) return true;
	int signo = cube_signals_next(&t->signals);
	if (signo == SIGTSTP) return suspend(t);
	if (signo) return signo == SIGWINCH;
	char key = 'q';
	if (p[0].revents && read(STDIN_FILENO, &key, 1) < 0) return errno == EINTR;
	return key != 'q' && key != 'Q' && key != 3 && key != 4;
}

static int live(struct screen *s, uint64_t interval) {
	static const int list[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, 0};
	struct terminal t;
	struct cube_err err;
	int rc = 0;
	if (tcgetattr(STDIN_FILENO, &t.before) < 0) return snapshot(s);
	cube_signals_open(&t.signals, list);
	enter(&t);
	do rc = draw(s, &err);
	while (!rc && wait_key(&t, (int)(interval / CUBE_NS_PER_MS)));
	leave(&t);
	cube_signals_close(&t.signals);
	return rc ? cube_cli_fail(&err) : 0;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct screen s = {.cli = cli};
	struct cube_err err;
	uint64_t interval = a->interval < 100 * CUBE_NS_PER_MS ? 100 * CUBE_NS_PER_MS : a->interval;
	if (interval > 3600 * CUBE_NS_PER_S) interval = 3600 * CUBE_NS_PER_S;
	int rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (rc) return cube_cli_fail(&err);
	int code = cube_render_live(STDOUT_FILENO) && isatty(STDIN_FILENO) ? live(&s, interval)
									   : snapshot(&s);
	json_decref(s.nodes);
	json_decref(s.tasks);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_top = {
	.name = "top",
	.usage = "[OPTIONS]",
	.help = "watch hosts and tasks live; q quits; prints once where stdout is no terminal",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
