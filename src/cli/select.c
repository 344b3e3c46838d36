#include "select.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cube/text.h"
#include "readfile.h"

#define FILE_MAX   (16u << 20)
#define FOLD_MAX   (64u << 20)
#define REASON_MAX (64u << 10)

#define ROW_WORKERS                                                                         \
	{                                                                                   \
		"workers", NULL, 'w', CUBE_OPT_LIST, offsetof(struct cube_select, workers), \
			"HOSTS", "web[1-8],db1 @group ^file - user@host:port localhost*3"   \
	}
#define ROW_EXCLUDE                                                                         \
	{                                                                                   \
		"exclude", NULL, 'x', CUBE_OPT_LIST, offsetof(struct cube_select, exclude), \
			"HOSTS", "without these"                                            \
	}
#define ROW_LIMIT                                                                              \
	{                                                                                      \
		"limit", NULL, 0, CUBE_OPT_LIST, offsetof(struct cube_select, limit), "HOSTS", \
			"only those that are among these as well"                              \
	}

const struct cube_option cube_select_options[] = {
	ROW_WORKERS,
	{"hosts", "inventory", 'i', CUBE_OPT_STRING, offsetof(struct cube_select, hosts), "FILE",
	 "hosts file: groups, and user, port, key, slots of each host"},
	ROW_EXCLUDE,
	ROW_LIMIT,
	{0},
};

const struct cube_option cube_select_node_options[] = {
	ROW_WORKERS,
	{"hosts", "inventory", 0, CUBE_OPT_STRING, offsetof(struct cube_select, hosts), "FILE",
	 "hosts file, for @groups"},
	ROW_EXCLUDE,
	ROW_LIMIT,
	{0},
};

static int source_file(void *arg, const char *path, char **ret_text, struct cube_err *err) {
	return cube_read_file(path, FILE_MAX, ret_text, NULL, err);
}

static int load_hosts(const char *path, struct cube_selection *s, struct cube_err *err) {
	cube_autofree char *text = NULL;
	size_t n;
	int rc = cube_read_file(path, FILE_MAX, &text, &n, err);
	if (!rc) rc = cube_hosts_parse(&s->hosts, text, n, path, err);
	s->has_hosts = !rc;
	return rc;
}

static int parse_list(struct cube_nodeset *set, char *const *words, size_t n,
		      const struct cube_nodeset_source *source, const char *what,
		      struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		const char *word =
			strcmp(words[i], "-") == 0 ? "^-" : words[i]; /* standard input */
		rc = cube_nodeset_parse(set, word, source, err);
	}
	return rc ? cube_wrap(err, "%s", what) : 0;
}

/* Takes hosts out, or keeps only those. */
static int apply(struct cube_selection *s, const struct cube_strv *list, bool keep,
		 const struct cube_nodeset_source *source, struct cube_err *err) {
	struct cube_nodeset those = {0};
	if (list->len == 0) return 0;
	int rc =
		parse_list(&those, list->v, list->len, source, keep ? "--limit" : "--exclude", err);
	if (!rc) (keep ? cube_nodeset_keep : cube_nodeset_remove)(&s->set, &those);
	cube_nodeset_done(&those);
	return rc;
}

static int add_all(struct cube_selection *s, const struct cube_nodeset_source *source,
		   struct cube_err *err) {
	int rc = 0;
	for (size_t i = 0; !rc && i < s->hosts.len; i++) {
		const char *name = s->hosts.v[i].host.name;
		rc = cube_nodeset_parse(&s->set, name, source, err);
	}
	return rc;
}

int cube_select_hosts(const struct cube_select *o, char *const *words, bool whole_file,
		      struct cube_selection *ret, struct cube_err *err) {
	struct cube_selection s = {0};
	struct cube_nodeset_source source = {.file = source_file};
	size_t n = 0;
	int rc = o->hosts ? load_hosts(o->hosts, &s, err) : 0;
	if (s.has_hosts) source.group = cube_hosts_group;
	source.arg = &s.hosts;
	while (words && words[n]) n++;
	bool none = o->workers.len + n == 0;
	if (!rc) rc = parse_list(&s.set, o->workers.v, o->workers.len, &source, "--workers", err);
	if (!rc) rc = parse_list(&s.set, words, n, &source, "hosts", err);
	if (!rc && none && whole_file) rc = add_all(&s, &source, err);
	if (!rc && none && !whole_file)
		rc = parse_list(&s.set, o->limit.v, o->limit.len, &source, "--limit", err);
	if (!rc) rc = apply(&s, &o->limit, true, &source, err);
	if (!rc) rc = apply(&s, &o->exclude, false, &source, err);
	if (rc) cube_selection_done(&s);
	else *ret = s;
	return rc;
}

int cube_select_some(const struct cube_select *o, char *const *words, const char *question,
		     struct cube_selection *ret, struct cube_err *err) {
	bool named = (words && words[0]) || o->workers.len || o->hosts;
	int rc = cube_select_hosts(o, words, true, ret, err);
	if (rc || ret->set.len) return rc;
	return cube_fail(err, CUBE_EUSAGE, "%s",
			 !named ? question
			 : o->limit.len || o->exclude.len
				 ? "no host is left after --limit and --exclude"
				 : "no host is named there");
}

void cube_selection_done(struct cube_selection *s) {
	cube_nodeset_done(&s->set);
	cube_hosts_done(&s->hosts);
}

json_t *cube_selection_names(const struct cube_selection *s) {
	json_t *names = json_array();
	for (size_t i = 0; i < s->set.len; i++)
		json_array_append_new(names, json_string(s->set.v[i].name));
	return names;
}

/* All nodes but those. */
static int all_but(struct cube_cli *cli, const struct cube_select *o, json_t *names,
		   struct cube_err *err) {
	struct cube_selection out = {0};
	struct cube_select those = {.workers = o->exclude, .hosts = o->hosts};
	json_t *reply = NULL, *node;
	size_t i;
	int rc = cube_select_hosts(&those, NULL, false, &out, err);
	if (!rc) rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		const char *name = cube_json_str(node, "name", "");
		if (strcmp(cube_json_str(node, "state", ""), "gone") == 0) continue;
		if (!cube_nodeset_has(&out.set, name))
			json_array_append_new(names, json_string(name));
	}
	cube_selection_done(&out);
	json_decref(reply);
	return rc;
}

/* The logins of all nodes, by name. */
static json_t *logins_of(const json_t *reply) {
	const json_t *node;
	json_t *o = json_object();
	size_t i;
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		json_object_set_new(o, cube_json_str(node, "name", ""),
				    json_string(cube_json_str(node, "login", "")));
	}
	return o;
}

int cube_select_check_logins(struct cube_cli *cli, const struct cube_selection *s,
			     struct cube_err *err) {
	json_t *reply = NULL;
	bool asked = false;
	for (size_t i = 0; i < s->set.len; i++) asked |= s->set.v[i].user != NULL;
	if (!asked || !cli->client) return 0;
	int rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	json_t *logins = logins_of(reply);
	for (size_t i = 0; !rc && i < s->set.len; i++) {
		const struct cube_host *h = &s->set.v[i];
		const char *login =
			h->user ? json_string_value(json_object_get(logins, h->name)) : NULL;
		if (login && strcmp(login, h->user) != 0)
			rc = cube_fail(
				err, CUBE_ECONFLICT,
				"%.80s is logged in to as %s, not as %.80s: `cube down %.80s` and "
				"spawn it anew, or name it without a user",
				h->name, *login ? login : "nobody yet", h->user, h->name);
	}
	json_decref(logins);
	json_decref(reply);
	return rc;
}

int cube_select_nodes(struct cube_cli *cli, const struct cube_select *o, char *const *words,
		      json_t **ret_names, struct cube_err *err) {
	struct cube_selection s = {0};
	bool chosen = (words && words[0]) || o->workers.len || o->limit.len;
	json_t *names = NULL;
	int rc = 0;
	if (chosen) {
		rc = cube_select_hosts(o, words, false, &s, err);
		if (!rc) rc = cube_select_check_logins(cli, &s, err);
		if (!rc) names = cube_selection_names(&s);
		cube_selection_done(&s);
	} else if (o->exclude.len && cli->client) {
		names = json_array();
		rc = all_but(cli, o, names, err);
	}
	if (!rc && names && json_array_size(names) == 0)
		rc = cube_fail(err, CUBE_EUSAGE, "%s",
			       o->limit.len || o->exclude.len
				       ? "no node is left after --limit and --exclude"
				       : "no node is named there");
	if (rc) json_decref(names);
	else *ret_names = names;
	return rc;
}

bool cube_names_have(const json_t *names, const char *name) {
	size_t i;
	json_t *one;
	if (!names) return true;
	json_array_foreach((json_t *)names, i, one) {
		if (strcmp(json_string_value(one), name) == 0) return true;
	}
	return false;
}

char *cube_fold_names(const json_t *names) {
	size_t n = json_array_size(names), count = 0;
	const char **list = cube_realloc_array(NULL, n + 1, sizeof *list);
	struct cube_buf out;
	cube_buf_init(&out, FOLD_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (name) list[count++] = name;
	}
	if (cube_nodeset_fold(list, count, &out)) cube_buf_clear(&out);
	free(list);
	char *text = cube_strdup(cube_buf_str(&out));
	cube_buf_done(&out);
	return text;
}

/* A reason may be what a host said: any bytes. */
void cube_reasons_add(json_t *reasons, const char *reason, const char *name) {
	struct cube_buf key;
	cube_buf_init(&key, REASON_MAX);
	if (cube_text_escape(&key, reason, strlen(reason))) cube_buf_addstr(&key, "a long reason");
	json_t *names = json_object_get(reasons, cube_buf_str(&key));
	if (!names) {
		names = json_array();
		json_object_set(reasons, cube_buf_str(&key), names);
		json_decref(names); /* the object's */
	}
	json_array_append_new(names, json_string(name));
	cube_buf_done(&key);
}

void cube_reasons_print(const json_t *reasons, const char *before) {
	const char *reason;
	json_t *names;
	json_object_foreach((json_t *)reasons, reason, names) {
		cube_autofree char *folded = cube_fold_names(names);
		cube_cli_say("%s%s: %s", before, folded, reason);
	}
}
