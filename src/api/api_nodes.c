/* Nodes: adding, showing, taking down. */
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/task.h"
#include "cube/events.h"
#include "cube/work.h"
#include "cube/uses.h"

/* --- NODE --- */

static json_t *facts_json(const struct cube_node *node) {
	if (!node->has_facts) return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "hostname",
			 cube_jv_text(node->facts.hostname), "kernel",
			 cube_jv_text(node->facts.kernel), "machine",
			 cube_jv_text(node->facts.machine), "cpus", cube_jv_u64(node->facts.cpus),
			 "memory", cube_jv_u64(node->facts.memory));
}

static void add_counts(json_t *o, struct cube_node *node) {
	unsigned running, queued;
	cube_work_counts(node, &running, &queued);
	json_object_set_new(o, "slots", cube_jv_u64(node->slots));
	json_object_set_new(o, "running", cube_jv_u64(running));
	json_object_set_new(o, "queued", cube_jv_u64(queued));
}

json_t *cube_api_node_json(struct cube_node *node) {
	double took = (double)node->join_took / 1e9;
	json_t *o = json_object();
	json_object_set_new(o, "id", cube_jv_u64(node->id));
	json_object_set_new(o, "name", cube_jv_text(node->name));
	json_object_set_new(o, "host", cube_jv_text(node->set.host ? node->set.host : node->name));
	json_object_set_new(o, "user", cube_jv_text(node->set.user));
	json_object_set_new(o, "login", cube_jv_optional(node->login));
	json_object_set_new(o, "port", node->set.port ? json_integer(node->set.port) : json_null());
	json_object_set_new(o, "labels", cube_jv_text(node->set.labels));
	json_object_set_new(o, "local", json_boolean(node->set.local));
	json_object_set_new(o, "jump", cube_jv_text(node->set.jump));
	json_object_set_new(o, "become", json_boolean(node->set.become));
	json_object_set_new(o, "transport", cube_jv_text(cube_node_transport(node)));
	json_object_set_new(o, "transport_reason", cube_jv_text(node->fallback));
	json_object_set_new(o, "state", json_string(cube_node_state_name(node->state)));
	json_object_set_new(o, "reason", cube_jv_optional(node->reason));
	json_object_set_new(o, "step", cube_jv_text(node->step));
	json_object_set_new(o, "progress",
			    node->progress >= 0 ? cube_jv_real(node->progress) : json_null());
	add_counts(o, node);
	json_object_set_new(o, "added", cube_jv_time(node->added));
	json_object_set_new(o, "seen", cube_jv_time(node->seen));
	json_object_set_new(o, "join_seconds", took > 0 ? cube_jv_real(took) : json_null());
	json_object_set_new(o, "notice", cube_jv_optional(node->notice));
	json_object_set_new(o, "facts", facts_json(node));
	json_object_set_new(o, "metrics",
			    node->metric.wall
				    ? cube_api_metric_json(&node->metric, &node->metric_before)
				    : json_null());
	return o;
}

void cube_api_nodes_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	json_t *nodes = json_array();
	cube_list_each (cube_fleet_list(api->parts.fleet), node, struct cube_node, hook) {
		json_array_append_new(nodes, cube_api_node_json(node));
	}
	cube_reply_json(req, 200, json_pack("{s:o}", "nodes", nodes));
}

struct cube_node *cube_api_node_find(struct cube_api *api, struct cube_request *req) {
	const char *name = cube_request_segment(req, "name");
	struct cube_node *node = cube_fleet_find(api->parts.fleet, name);
	struct cube_err err;
	if (node) return node;
	cube_fail(&err, CUBE_ENOTFOUND, "there is no node '%.80s'", name);
	cube_reply_error(req, &err);
	return NULL;
}

void cube_api_node_show(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_node *node = cube_api_node_find(api, req);
	if (!node) return;
	cube_reply_json(req, 200, cube_api_node_json(node));
}

/* --- POST /v1/nodes --- */

struct join {
	json_t *nodes;
	const char *ssh_config, *jump, *transport, *host_key_check;
	json_t *options;
	struct cube_strv words; /* the options' */
	uint64_t connect_timeout_ns;
	bool become, ask, once;
};
static const struct cube_field join_fields[] = {
	{"nodes", CUBE_FIELD_ARRAY, .required = true, .at = offsetof(struct join, nodes)},
	{"ssh_config", CUBE_FIELD_STRING, .at = offsetof(struct join, ssh_config)},
	{"connect_timeout", CUBE_FIELD_SECONDS, .min = 0, .max = 86400,
	 .at = offsetof(struct join, connect_timeout_ns)},
	{"host_key_check", CUBE_FIELD_STRING, .at = offsetof(struct join, host_key_check)},
	{"jump", CUBE_FIELD_STRING, .at = offsetof(struct join, jump)},
	{"transport", CUBE_FIELD_STRING, .at = offsetof(struct join, transport)},
	{"options", CUBE_FIELD_ARRAY, .at = offsetof(struct join, options)},
	{"become", CUBE_FIELD_BOOL, .at = offsetof(struct join, become)},
	{"ask", CUBE_FIELD_BOOL, .at = offsetof(struct join, ask)},
	{"once", CUBE_FIELD_BOOL, .at = offsetof(struct join, once)},
};

struct one {
	const char *name, *host, *user, *key, *labels, *jump, *transport;
	uint64_t port, slots;
	bool local;
};
static const struct cube_field one_fields[] = {
	{"name", CUBE_FIELD_STRING, .required = true, .at = offsetof(struct one, name)},
	{"host", CUBE_FIELD_STRING, .at = offsetof(struct one, host)},
	{"user", CUBE_FIELD_STRING, .at = offsetof(struct one, user)},
	{"port", CUBE_FIELD_INTEGER, .max = 65535, .at = offsetof(struct one, port)},
	{"key", CUBE_FIELD_STRING, .at = offsetof(struct one, key)},
	{"slots", CUBE_FIELD_INTEGER, .max = 65536, .at = offsetof(struct one, slots)},
	{"labels", CUBE_FIELD_STRING, .at = offsetof(struct one, labels)},
	{"jump", CUBE_FIELD_STRING, .at = offsetof(struct one, jump)},
	{"transport", CUBE_FIELD_STRING, .at = offsetof(struct one, transport)},
	{"local", CUBE_FIELD_BOOL, .at = offsetof(struct one, local)},
};

static int read_options(const json_t *list, struct cube_strv *ret, struct cube_err *err) {
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v);
		if (!s || !strchr(s, '='))
			return cube_fail(err, CUBE_EUSAGE, "options: \"Key=Value\" each");
		cube_strv_add(ret, s);
	}
	return 0;
}

static int read_one(const struct join *join, const json_t *v, struct cube_node_request *ret,
		    struct cube_err *err) {
	struct one o = {0};
	int rc = cube_fields_read(v, one_fields, sizeof one_fields / sizeof one_fields[0], &o, err);
	if (rc) {
		struct cube_err why = *err;
		return cube_fail(err, rc, "nodes.%.220s", why.msg);
	}
	const char *check = join->host_key_check ? join->host_key_check : "accept-new";
	bool strict = strcmp(check, "strict") == 0;
	if (!strict && strcmp(check, "accept-new") != 0)
		return cube_fail(err, CUBE_EUSAGE, "host_key_check: 'strict' or 'accept-new'");
	*ret = (struct cube_node_request){
		.name = o.name,
		.slots = (uint32_t)o.slots,
		.ask = join->ask,
		.set = {.host = (char *)o.host,
			.user = (char *)o.user,
			.identity = (char *)o.key,
			.labels = (char *)o.labels,
			.ssh_config = (char *)join->ssh_config,
			.jump = (char *)(o.jump ? o.jump : join->jump),
			.transport = (char *)(o.transport ? o.transport : join->transport),
			.port = (uint16_t)o.port,
			.local = o.local,
			.strict_host_keys = strict,
			.become = join->become,
			.options = join->words,
			.connect_timeout_ns = join->connect_timeout_ns},
	};
	return 0;
}

int cube_api_nodes_read(struct cube_api *api, const json_t *body, struct cube_api_nodes *ret,
			struct cube_err *err) {
	struct join join = {.connect_timeout_ns = 10 * CUBE_NS_PER_S};
	size_t i;
	json_t *v;
	int rc = cube_fields_read(body, join_fields, sizeof join_fields / sizeof join_fields[0],
				  &join, err);
	if (!rc) rc = read_options(join.options, &ret->options, err);
	if (rc) return rc;
	ret->once = join.once;
	join.words = ret->options;
	ret->v = cube_realloc_array(NULL, json_array_size(join.nodes) + 1, sizeof *ret->v);
	json_array_foreach(join.nodes, i, v) {
		rc = read_one(&join, v, &ret->v[i], err);
		if (!rc) rc = cube_fleet_check(api->parts.fleet, &ret->v[i], err);
		if (rc) return rc;
		ret->n++;
	}
	return 0;
}

void cube_api_nodes_done(struct cube_api_nodes *nodes) {
	cube_strv_done(&nodes->options);
	free(nodes->v);
}

/* use: of the command that needs them, or NULL: they are to stay. */
static int add_nodes(struct cube_api *api, const struct cube_api_nodes *list, struct cube_use *use,
		     json_t *nodes, json_t *added, struct cube_err *err) {
	for (size_t i = 0; i < list->n; i++) {
		struct cube_node *node = cube_fleet_find(api->parts.fleet, list->v[i].name);
		bool is_new, stays = node && node->state != CUBE_NODE_FAILED && !node->once;
		int rc = cube_fleet_add(api->parts.fleet, &list->v[i], &node, &is_new, err);
		if (rc) return rc;
		node->once = use && !stays;
		if (use) cube_use_add(use, node);
		json_t *row = cube_api_node_json(node);
		json_array_append_new(nodes, row);
		if (is_new) json_array_append_new(added, cube_jv_text(node->name));
		else if (cube_node_kept(node, &list->v[i]))
			json_object_set_new(row, "kept", json_string("slots"));
	}
	return 0;
}

void cube_api_nodes_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_api_nodes list = {0};
	struct cube_err err;
	json_t *body = NULL, *nodes = json_array(), *added = json_array(), *reply;
	struct cube_use *use = NULL;
	uint64_t event = cube_events_last(api->parts.events);
	int rc = cube_body_json(req, &body, &err);
	/* All are checked before any is added. */
	if (!rc) rc = cube_api_nodes_read(api, body, &list, &err);
	cube_uses_prune(api->parts.work);
	if (!rc && list.once) use = cube_use_new(api->parts.work, cube_request_client(req));
	if (!rc) rc = add_nodes(api, &list, use, nodes, added, &err);
	if (rc) {
		cube_use_free(use);
		cube_reply_error(req, &err);
	} else {
		reply = json_pack("{s:O, s:O, s:o}", "nodes", nodes, "added", added, "event",
				  cube_jv_u64(event));
		if (use) json_object_set_new(reply, "use", cube_jv_u64(cube_use_id(use)));
		cube_reply_json(req, 202, reply);
	}
	json_decref(nodes);
	json_decref(added);
	cube_api_nodes_done(&list);
	json_decref(body);
}

/* --- DELETE --- */

struct leave {
	json_t *nodes;
	bool ask;
	uint64_t use, job;
};
static const struct cube_field leave_fields[] = {
	{"nodes", CUBE_FIELD_ARRAY, .at = offsetof(struct leave, nodes)},
	{"ask", CUBE_FIELD_BOOL, .at = offsetof(struct leave, ask)},
	{"use", CUBE_FIELD_INTEGER, .max = INT64_MAX, .at = offsetof(struct leave, use)},
	{"job", CUBE_FIELD_INTEGER, .max = INT64_MAX, .at = offsetof(struct leave, job)},
};

int cube_api_check_names(struct cube_api *api, const json_t *names, struct cube_err *err) {
	size_t i;
	json_t *v;
	json_array_foreach(names, i, v) {
		const char *name = json_string_value(v);
		if (!name) return cube_fail(err, CUBE_EUSAGE, "nodes: must be an array of names");
		if (!cube_fleet_find(api->parts.fleet, name))
			return cube_fail(err, CUBE_ENOTFOUND,
					 "nodes: there is no node '%.80s'; `cube nodes` lists them",
					 name);
	}
	return 0;
}

/* kept (taken, or NULL): of those asked for, what others need. */
static void reply_leave(struct cube_api *api, struct cube_request *req, const json_t *names,
			bool ask, json_t *kept) {
	bool purge = cube_query_flag(req, "purge");
	json_t *left = json_array(), *v;
	size_t i;
	uint64_t event = cube_events_last(api->parts.events);
	json_array_foreach(names, i, v) {
		struct cube_node *node = cube_fleet_find(api->parts.fleet, json_string_value(v));
		if (!node) continue; /* named twice */
		json_array_append_new(left, cube_jv_text(node->name));
		cube_node_leave(node, purge || node->purge_once, ask);
	}
	json_t *reply = json_pack("{s:o, s:o}", "nodes", left, "event", cube_jv_u64(event));
	if (kept) json_object_set_new(reply, "kept", kept);
	cube_reply_json(req, 202, reply);
}

/* The end of a use: those of its nodes go that came for a while and that nobody else needs. Of one
 * that is not known any more (another manager's) it is the nodes that the client names. */
static void end_use(struct cube_api *api, struct cube_request *req, const struct leave *leave) {
	json_t *names = json_array(), *kept = json_array(), *v;
	bool purge = cube_query_flag(req, "purge");
	size_t i;
	cube_uses_prune(api->parts.work);
	struct cube_use *use = cube_use_find(api->parts.work, leave->use);
	json_t *asked = use ? json_array() : json_incref(leave->nodes);
	cube_list_each (cube_fleet_list(api->parts.fleet), node, struct cube_node, hook) {
		if (use && cube_use_has(use, node) && node->once)
			json_array_append_new(asked, json_string_nocheck(node->name));
	}
	cube_use_free(use);
	json_array_foreach(asked, i, v) {
		struct cube_node *node = cube_fleet_find(api->parts.fleet, json_string_value(v));
		if (!node) continue; /* taken down meanwhile */
		bool used = cube_node_is_used(node, leave->job);
		if (used && purge) node->purge_once = true;
		json_array_append(used ? kept : names, v);
	}
	reply_leave(api, req, names, leave->ask, kept);
	json_decref(asked);
	json_decref(names);
}

/* With purge also nodes that are gone and left their worker on their host: named, or all. */
static int bring_back(struct cube_api *api, const json_t *names, struct cube_err *err) {
	size_t i;
	json_t *v;
	if (!names) return cube_fleet_bring_back(api->parts.fleet, NULL, err);
	json_array_foreach(names, i, v) {
		const char *name = json_string_value(v);
		if (!name || cube_fleet_find(api->parts.fleet, name)) continue;
		if (!cube_fleet_left_worker(api->parts.fleet, name))
			return cube_fail(
				err, CUBE_ENOTFOUND,
				"nodes: there is no node '%.80s', and none of that name left "
				"its worker on a host; to clean a host, `cube spawn "
				"--workers=HOST` first",
				name);
	}
	int rc = 0;
	json_array_foreach(names, i, v) {
		const char *name = json_string_value(v);
		if (!rc && name && !cube_fleet_find(api->parts.fleet, name))
			rc = cube_fleet_bring_back(api->parts.fleet, name, err);
	}
	return rc;
}

void cube_api_node_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	const char *name = cube_request_segment(req, "name");
	struct cube_err err;
	if (cube_query_flag(req, "purge") && cube_fleet_left_worker(api->parts.fleet, name) &&
	    !cube_fleet_find(api->parts.fleet, name) &&
	    cube_fleet_bring_back(api->parts.fleet, name, &err)) {
		cube_reply_error(req, &err);
		return;
	}
	struct cube_node *node = cube_api_node_find(api, req);
	if (!node) return;
	json_t *names = json_array();
	json_array_append_new(names, json_string_nocheck(node->name));
	reply_leave(api, req, names, false, NULL);
	json_decref(names);
}

void cube_api_nodes_delete(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct leave leave = {0};
	struct cube_err err;
	json_t *body = NULL, *all = json_array();
	int rc = cube_body_json(req, &body, &err);
	if (!rc)
		rc = cube_fields_read(body, leave_fields,
				      sizeof leave_fields / sizeof leave_fields[0], &leave, &err);
	if (!rc && !leave.use && cube_query_flag(req, "purge"))
		rc = bring_back(api, leave.nodes, &err);
	if (!rc && !leave.use) rc = cube_api_check_names(api, leave.nodes, &err);
	cube_list_each (cube_fleet_list(api->parts.fleet), node, struct cube_node, hook) {
		json_array_append_new(all, json_string_nocheck(node->name));
	}
	if (rc) cube_reply_error(req, &err);
	else if (leave.use) end_use(api, req, &leave);
	else reply_leave(api, req, leave.nodes ? leave.nodes : all, leave.ask, NULL);
	json_decref(all);
	json_decref(body);
}
