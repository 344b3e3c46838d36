#include "gone.h"

#include <string.h>

#include "asking.h"
#include "select.h"
#include "watch.h"

#define ALL_GONE 1

struct going {
	json_t *pending; /* {name: true} */
	json_t *gone, *left;
	struct cube_asking asking;
};

static int check(const struct going *g) {
	return json_object_size(g->pending) == 0 ? ALL_GONE : 0;
}

static bool waits_for(void *arg, const char *node) {
	const struct going *g = arg;
	return json_object_get(g->pending, node) != NULL;
}

static int on_event(void *arg, const char *event, const json_t *data) {
	struct going *g = arg;
	const char *name = cube_json_str(data, "node", ""), *now = cube_json_str(data, "new", "");
	const char *reason = cube_json_str(data, "reason", "");
	cube_asking_event(&g->asking, event, data);
	if (strcmp(event, "note") == 0 && json_object_get(g->pending, name))
		cube_cli_say("%s: %s", name, cube_json_str(data, "text", ""));
	if (strcmp(event, "node") != 0 || !json_object_get(g->pending, name)) return 0;
	if (strcmp(now, "gone") == 0) json_array_append_new(g->gone, json_string(name));
	else if (strcmp(now, "failed") == 0)
		cube_reasons_add(g->left, *reason ? reason : "it could not be cleaned", name);
	else return 0;
	json_object_del(g->pending, name);
	return check(g);
}

/* Those that are not known any more need no waiting. */
static int look(struct cube_cli *cli, struct going *g, struct cube_err *err) {
	json_t *reply = NULL, *there = json_object(), *node;
	int rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	size_t i;
	const char *name;
	void *next;
	json_t *value;
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		if (strcmp(cube_json_str(node, "state", ""), "gone") == 0) continue;
		json_object_set_new(there, cube_json_str(node, "name", ""), json_true());
	}
	if (!rc) json_object_foreach_safe(g->pending, next, name, value) {
			if (json_object_get(there, name)) continue;
			json_array_append_new(g->gone, json_string(name));
			json_object_del(g->pending, name);
		}
	json_decref(there);
	json_decref(reply);
	return rc;
}

static int wait_gone(struct cube_cli *cli, struct going *g, int64_t after, struct cube_err *err) {
	struct cube_watch watch;
	int rc = look(cli, g, err);
	if (rc || check(g)) return rc;
	cube_asking_start(&g->asking, cli, (struct cube_asking_owner){waits_for, NULL}, g);
	if (g->asking.started) cube_watch_start_asking(&watch, cli, after, on_event, g);
	else cube_watch_start(&watch, cli, after, true, on_event, g);
	rc = cube_watch_wait(&watch, cli, err);
	cube_watch_stop(&watch);
	cube_asking_stop(&g->asking);
	if (rc == ALL_GONE) return 0;
	return rc ? rc
		  : cube_fail(err, CUBE_ECONNECT,
			      "the manager went away before all were gone; `cube down` goes on");
}

/* Those that are just being taken down, of names. */
static int find_leaving(struct cube_cli *cli, const json_t *names, json_t *ret,
			struct cube_err *err) {
	json_t *reply = NULL, *meant = json_object(), *node, *name;
	size_t i;
	json_array_foreach(names, i, name) {
		json_object_set_new(meant, json_string_value(name), json_true());
	}
	int rc = cube_client_json(cli->client, "GET", "/v1/nodes", NULL, &reply, err);
	json_array_foreach(json_object_get(reply, "nodes"), i, node) {
		if (strcmp(cube_json_str(node, "state", ""), "leaving") != 0) continue;
		const char *is = cube_json_str(node, "name", "");
		if (json_object_get(meant, is)) json_object_set_new(ret, is, json_true());
	}
	json_decref(meant);
	json_decref(reply);
	return rc;
}

int cube_nodes_await_gone(struct cube_cli *cli, const json_t *names, struct cube_err *err) {
	struct going g = {.pending = json_object(), .gone = json_array(), .left = json_object()};
	json_t *list = json_array();
	const char *name;
	json_t *value;
	int64_t after = 0;
	int rc = cube_watch_now(cli, &after, err);
	if (!rc) rc = find_leaving(cli, names, g.pending, err);
	json_object_foreach(g.pending, name, value) json_array_append_new(list, json_string(name));
	cube_autofree char *folded = cube_fold_names(list);
	if (*folded) cube_cli_say("%s: just being taken down; waiting for the end of that", folded);
	if (!rc && *folded) rc = wait_gone(cli, &g, after, err);
	if (!rc && *folded) rc = 1;
	json_decref(list);
	json_decref(g.pending);
	json_decref(g.gone);
	json_decref(g.left);
	return rc;
}

int cube_nodes_down(struct cube_cli *cli, const json_t *names, bool purge, json_t **ret_gone,
		    json_t **ret_left, struct cube_err *err) {
	return cube_nodes_end_use(cli, &(struct cube_nodes_use){.names = names}, purge, ret_gone,
				  ret_left, err);
}

/* Who stays because of others is told of. */
static void tell_kept(const json_t *reply) {
	cube_autofree char *kept = cube_fold_names(json_object_get(reply, "kept"));
	if (*kept) cube_cli_say("%s: not taken down, others use it still", kept);
}

int cube_nodes_end_use(struct cube_cli *cli, const struct cube_nodes_use *use, bool purge,
		       json_t **ret_gone, json_t **ret_left, struct cube_err *err) {
	json_t *body = json_pack("{s:b}", "ask", cube_asking_possible()), *reply = NULL;
	const json_t *names = use->names;
	struct going g = {.pending = json_object(), .gone = json_array(), .left = json_object()};
	if (names) json_object_set(body, "nodes", (json_t *)names);
	if (use->id) json_object_set_new(body, "use", json_integer((json_int_t)use->id));
	if (use->job) json_object_set_new(body, "job", json_integer((json_int_t)use->job));
	const char *path = purge ? "/v1/nodes?purge=1" : "/v1/nodes";
	int rc = cube_client_json(cli->client, "DELETE", path, body, &reply, err);
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(reply, "nodes"), i, name) {
		if (json_is_string(name))
			json_object_set_new(g.pending, json_string_value(name), json_true());
	}
	if (!rc) tell_kept(reply);
	if (!rc) rc = wait_gone(cli, &g, (int64_t)cube_json_num(reply, "event", 0), err);
	json_decref(reply);
	json_decref(body);
	json_decref(g.pending);
	if (rc) {
		json_decref(g.gone);
		json_decref(g.left);
		return rc;
	}
	*ret_gone = g.gone;
	*ret_left = g.left;
	return 0;
}
