/* Candidates, and the names that are there now. A completion never starts a manager, and nothing it
 * meets is an error: what cannot be had is left out. */
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "complete.h"
#include "cube/clock.h"
#include "cube/hosts.h"
#include "cube/text.h"
#include "readfile.h"

enum { LIVE_MS = 300, TASKS = 200, FILE_BYTES = 1 << 20, DEPTH = 8, REPLY_MAX = 16 << 20 };
enum { CANDIDATES_MAX = 2000, HELP_MAX = 60 };

void cube_complete_add(struct cube_complete *c, const char *word, const char *help) {
	if (!*word || strncmp(word, c->part, strlen(c->part)) != 0) return;
	if (strpbrk(word, "\t\n") || c->count++ >= CANDIDATES_MAX) return;
	size_t n = help ? strnlen(help, HELP_MAX) : 0;
	cube_buf_printf(&c->out, "%s%s%s\t", c->lead, word, c->tail);
	cube_text_escape(&c->out, help ? help : "", n);
	cube_buf_addstr(&c->out, "\n");
}

/* ---- files -------------------------------------------------------------------------------- */

static void add_hosts_file(struct cube_complete *c, bool only_groups) {
	cube_autofree char *text = NULL;
	struct cube_hosts hosts = {0};
	size_t n;
	if (!c->hosts || !strcmp(c->hosts, "-")) return;
	if (cube_read_file(c->hosts, FILE_BYTES, &text, &n, NULL)) return;
	if (cube_hosts_parse(&hosts, text, n, c->hosts, NULL)) return;
	for (size_t i = 0; !only_groups && i < hosts.len; i++)
		cube_complete_add(c, hosts.v[i].host.name, "hosts file");
	for (size_t i = 0; i < hosts.ngroups; i++) {
		cube_autofree char *name = cube_strf("@%s", hosts.groups[i].name);
		cube_complete_add(c, name, "group");
	}
	cube_hosts_done(&hosts);
}

static void add_ssh_file(struct cube_complete *c, const char *path, unsigned depth);

static void include(struct cube_complete *c, const char *word, unsigned depth) {
	const char *home = getenv("HOME");
	glob_t found = {0};
	if (!home || depth >= DEPTH) return;
	cube_autofree char *pattern = *word == '/'   ? cube_strdup(word)
				      : *word == '~' ? cube_strf("%s%s", home, word + 1)
						     : cube_strf("%s/.ssh/%s", home, word);
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			add_ssh_file(c, found.gl_pathv[i], depth + 1);
	globfree(&found);
}

static void add_ssh_line(struct cube_complete *c, char *line, unsigned depth) {
	char *save = NULL, *key = strtok_r(line, " \t=\r\"", &save), *word;
	bool host = key && !strcasecmp(key, "Host");
	if (!host && !(key && !strcasecmp(key, "Include"))) return;
	while ((word = strtok_r(NULL, " \t\r\"", &save)) && *word != '#') {
		if (!host) include(c, word, depth);
		else if (!strpbrk(word, "*?!")) cube_complete_add(c, word, "ssh configuration");
	}
}

static void add_ssh_file(struct cube_complete *c, const char *path, unsigned depth) {
	cube_autofree char *text = NULL;
	size_t n;
	if (cube_read_file(path, FILE_BYTES, &text, &n, NULL)) return;
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next) *next++ = 0;
		add_ssh_line(c, line, depth);
	}
}

static void add_ssh_config(struct cube_complete *c) {
	const char *home = getenv("HOME");
	if (c->ssh_config) {
		add_ssh_file(c, c->ssh_config, 0);
	} else if (home) {
		cube_autofree char *own = cube_strf("%s/.ssh/config", home);
		add_ssh_file(c, own, 0);
	}
}

/* ---- the manager -------------------------------------------------------------------------- */

static int take(void *arg, const void *bytes, size_t n) {
	return cube_buf_add(arg, bytes, n);
}

/* NULL where the answer is not whole by the deadline. */
static json_t *get(struct cube_complete *c, const char *path, uint64_t deadline) {
	struct cube_buf body;
	json_t *reply = NULL;
	cube_buf_init(&body, REPLY_MAX);
	struct cube_transfer *t = cube_client_get(c->cli->client, path, take, &body);
	while (!cube_transfer_ended(t)) {
		uint64_t now = cube_clock_mono();
		if (now >= deadline) break;
		cube_client_turn(c->cli->client, NULL, 0,
				 (int)((deadline - now) / CUBE_NS_PER_MS) + 1);
	}
	if (cube_transfer_ended(t) && cube_transfer_result(t, NULL) == 0)
		reply = json_loadb((const char *)cube_buf_data(&body), cube_buf_len(&body), 0,
				   NULL);
	cube_transfer_free(t);
	cube_buf_done(&body);
	return reply;
}

static void add_nodes(struct cube_complete *c, uint64_t deadline) {
	json_t *reply = get(c, "/v1/nodes", deadline), *node;
	size_t i;
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const char *state = cube_json_str(node, "state", "");
		if (!strcmp(state, "gone")) continue;
		cube_complete_add(c, cube_json_str(node, "name", ""), state);
	}
	json_decref(reply);
}

static void add_tasks(struct cube_complete *c, uint64_t deadline) {
	cube_autofree char *path = cube_strf("/v1/tasks?newest=1&limit=%d", TASKS);
	json_t *reply = get(c, path, deadline), *task;
	double job = 0;
	size_t i;
	json_array_foreach(json_object_get(reply, "tasks"), i, task) {
		cube_autofree char *id = cube_strf("%.0f", cube_json_num(task, "id", 0));
		cube_autofree char *help = cube_strf("%s %s", cube_json_str(task, "state", ""),
						     cube_json_str(task, "command", ""));
		cube_complete_add(c, id, help);
		if (cube_json_num(task, "job", 0) == job) continue;
		job = cube_json_num(task, "job", 0);
		cube_autofree char *name = cube_strf("job:%.0f", job);
		cube_complete_add(c, name, cube_json_str(task, "command", ""));
	}
	json_decref(reply);
}

void cube_complete_live(struct cube_complete *c, unsigned kinds) {
	uint64_t deadline = cube_clock_mono() + LIVE_MS * CUBE_NS_PER_MS;
	if (kinds & (CUBE_WORD_HOST | CUBE_WORD_NODE)) add_hosts_file(c, !(kinds & CUBE_WORD_HOST));
	if (kinds & CUBE_WORD_HOST) add_ssh_config(c);
	if (cube_client_new(&c->cli->paths, &c->cli->client, NULL)) return;
	if (kinds & (CUBE_WORD_HOST | CUBE_WORD_NODE)) add_nodes(c, deadline);
	if (kinds & CUBE_WORD_TASK) add_tasks(c, deadline);
}
