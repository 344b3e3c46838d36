#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "cube/task.h"
#include "listings.h"
#include "select.h"

struct args {
	struct cube_common common;
	struct cube_listing list;
	struct cube_select select;
	const char *state, *name;
	struct cube_strv job;
	uint64_t limit;
	bool all, quiet;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"all", NULL, 'a', CUBE_OPT_FLAG, AT(all), NULL, "tasks that have ended as well"},
	{"last", NULL, 'n', CUBE_OPT_UINT, AT(limit), "N", "only the N newest, ended ones as well",
	 NULL, NULL, 1, 10000000},
	{"state", NULL, 0, CUBE_OPT_STRING, AT(state), "STATE",
	 "of pending, scheduled, running, completed, failed; several with commas"},
	{"job", NULL, 0, CUBE_OPT_LIST, AT(job), "ID", "of this job"},
	{"name", NULL, 0, CUBE_OPT_STRING, AT(name), "NAME", "of this name"},
	{"quiet", NULL, 'q', CUBE_OPT_FLAG, AT(quiet), NULL, "only the ids"},
	{0},
};

#define PAGE 1000u

static int check_states(const char *list, struct cube_err *err) {
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ",");
		cube_autofree char *word = cube_strndup(p, len);
		enum cube_task_state state;
		if (cube_task_state_parse(word, &state))
			return cube_fail(
				err, CUBE_EUSAGE,
				"--state: '%.40s' is not one of pending, scheduled, running, "
				"completed, failed",
				word);
		p += len + (p[len] == ',');
	}
	return 0;
}

/* The query but for paging; values have been checked to need no escaping, or are escaped here. */
static int add_query(struct cube_buf *path, const char *key, const char *value) {
	int rc = cube_buf_printf(path, "&%s=", key);
	for (const unsigned char *p = (const unsigned char *)value; !rc && *p; p++) {
		bool plain = (*p | 32) >= 'a' && (*p | 32) <= 'z';
		plain |= (*p >= '0' && *p <= '9') || strchr("-._,", *p);
		rc = cube_buf_printf(path, plain ? "%c" : "%%%02X", *p);
	}
	return rc;
}

/* The query's part that is the same for each page. */
static void add_filters(struct cube_buf *path, const struct args *a, const char *node,
			const char *job) {
	bool ended = a->all || a->limit != CUBE_OPT_UNSET;
	if (a->state) add_query(path, "state", a->state);
	else if (!ended) add_query(path, "state", "pending,scheduled,running");
	if (node) add_query(path, "node", node);
	if (job) add_query(path, "job", job);
	if (a->name) add_query(path, "name", a->name);
}

/* The tasks of one node (or all): the newest `limit` at once, or all a page at a time. */
static int fetch(struct cube_cli *cli, const struct args *a, const char *node, const char *job,
		 json_t *rows, struct cube_err *err) {
	bool newest = a->limit != CUBE_OPT_UNSET;
	uint64_t after = 0, page = newest ? a->limit : PAGE;
	for (;;) {
		struct cube_buf path;
		json_t *reply = NULL, *row;
		size_t i, n = 0;
		cube_buf_init(&path, 64u << 10);
		cube_buf_printf(&path, "/v1/tasks?limit=%llu", (unsigned long long)page);
		if (newest) cube_buf_addstr(&path, "&newest=1");
		if (after) cube_buf_printf(&path, "&after=%llu", (unsigned long long)after);
		add_filters(&path, a, node, job);
		int rc = cube_client_json(cli->client, "GET", cube_buf_str(&path), NULL, &reply,
					  err);
		cube_buf_done(&path);
		json_array_foreach(json_object_get(reply, "tasks"), i, row) {
			json_array_append(rows, row);
			after = (uint64_t)cube_json_num(row, "id", 0);
			n++;
		}
		json_decref(reply);
		if (rc || newest || n < page) return rc;
	}
}

static int by_id(const void *x, const void *y) {
	double a = cube_json_num(*(json_t *const *)x, "id", 0);
	double b = cube_json_num(*(json_t *const *)y, "id", 0);
	return a < b ? -1 : a > b;
}

/* In rising order, each task once, the newest `limit`. */
static json_t *in_order(const json_t *rows, uint64_t limit) {
	size_t n = json_array_size(rows);
	json_t **list = cube_realloc_array(NULL, n + 1, sizeof(json_t *));
	json_t *sorted = json_array();
	for (size_t i = 0; i < n; i++) list[i] = json_array_get(rows, i);
	qsort(list, n, sizeof *list, by_id);
	size_t once = 0; /* a job may have been named twice */
	for (size_t i = 0; i < n; i++)
		if (once == 0 || by_id(&list[once - 1], &list[i])) list[once++] = list[i];
	for (size_t i = once > limit ? once - (size_t)limit : 0; i < once; i++)
		json_array_append(sorted, list[i]);
	free(list);
	return sorted;
}

static int collect(struct cube_cli *cli, const struct args *a, json_t *rows, struct cube_err *err) {
	json_t *names = NULL;
	int rc = cube_select_nodes(cli, &a->select, NULL, &names, err);
	size_t jobs = a->job.len ? a->job.len : 1, nodes = names ? json_array_size(names) : 1;
	for (size_t i = 0; !rc && i < nodes; i++) {
		const char *node = json_string_value(json_array_get(names, i));
		for (size_t k = 0; !rc && k < jobs; k++) {
			const char *job = a->job.len ? a->job.v[k] : NULL;
			if (job && strncmp(job, "job:", 4) == 0) job += 4;
			rc = fetch(cli, a, node, job, rows, err);
		}
	}
	json_decref(names);
	return rc;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct cube_err err;
	json_t *rows = json_array();
	int code, rc = a->state ? check_states(a->state, &err) : 0;
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = collect(cli, a, rows, &err);
	if (rc == CUBE_ENOTFOUND && !cli->client) rc = 0; /* no manager: no tasks */
	json_t *sorted = in_order(rows, a->limit);
	if (rc) code = cube_cli_fail(&err);
	else
		code = a->quiet ? cube_render_values(sorted, "id")
				: cube_render_list(&a->list, cube_task_columns, "tasks", sorted);
	json_decref(sorted);
	json_decref(rows);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	{"Nodes", cube_select_node_options, offsetof(struct args, select)},
	CUBE_LISTING_GROUP(struct args),
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_ps = {
	.name = "ps",
	.aliases = "status",
	.usage = "[OPTIONS]",
	.help = "list tasks: those that have not ended, or all",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
