#include "node_row.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/id.h"
#include "cube/mem.h"

/* What the row has no column for goes into `facts`: the host's, and what a reconnect needs. */
static void set_text(json_t *o, const char *key, const char *text) {
	if (text) json_object_set_new(o, key, json_string(text));
}

static void add_settings(json_t *o, const struct cube_node *node) {
	set_text(o, "jump", node->set.jump);
	set_text(o, "transport", node->set.transport);
	set_text(o, "fallback", node->fallback);
	if (node->set.become) json_object_set_new(o, "become", json_true());
	if (!node->set.options.len) return;
	json_t *list = json_array();
	for (size_t i = 0; i < node->set.options.len; i++)
		json_array_append_new(list, json_string(node->set.options.v[i]));
	json_object_set_new(o, "options", list);
}

static char *facts_to_json(const struct cube_node *node) {
	char boot[CUBE_ID_HEX];
	const struct cube_node_facts *f = &node->facts;
	json_t *o = json_pack("{s:s*, s:s*, s:b, s:I}", "ssh_config", node->set.ssh_config, "boot",
			      node->link->boot ? cube_id_hex(node->link->boot, boot) : NULL,
			      "strict_host_keys", node->set.strict_host_keys, "connect_timeout_ms",
			      (json_int_t)(node->set.connect_timeout_ns / CUBE_NS_PER_MS));
	if (o && node->link->touched) json_object_set_new(o, "touched", json_true());
	if (o && node->link->cached) json_object_set_new(o, "cached", json_true());
	if (o && (node->link->by_person || node->link->by_jump))
		json_object_set_new(o, "by_person", json_true());
	if (o) add_settings(o, node);
	if (o && node->has_facts) {
		json_object_set_new(o, "hostname", json_string(f->hostname));
		json_object_set_new(o, "kernel", json_string(f->kernel));
		json_object_set_new(o, "machine", json_string(f->machine));
		json_object_set_new(o, "cpus", json_integer(f->cpus));
		json_object_set_new(o, "memory", json_integer((json_int_t)f->memory));
	}
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text ? text : cube_strdup("");
}

static const char *text_of(const json_t *o, const char *key) {
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static char *fresh_text(const json_t *o, const char *key) {
	return *text_of(o, key) ? cube_strdup(text_of(o, key)) : NULL;
}

static void settings_from_json(struct cube_node *node, const json_t *o) {
	size_t i;
	json_t *v;
	node->set.jump = fresh_text(o, "jump");
	node->set.transport = fresh_text(o, "transport");
	node->fallback = fresh_text(o, "fallback");
	node->set.become = json_is_true(json_object_get(o, "become"));
	json_array_foreach(json_object_get(o, "options"), i, v) {
		if (json_is_string(v)) cube_strv_add(&node->set.options, json_string_value(v));
	}
}

static void facts_from_json(struct cube_node *node, const char *text) {
	json_t *o = json_loads(text, 0, NULL);
	if (!o) return;
	struct cube_node_facts *f = &node->facts;
	node->set.ssh_config = fresh_text(o, "ssh_config");
	settings_from_json(node, o);
	cube_id_unhex(text_of(o, "boot"), &node->link->boot);
	node->set.strict_host_keys = json_is_true(json_object_get(o, "strict_host_keys"));
	node->link->touched = json_is_true(json_object_get(o, "touched"));
	node->link->cached = json_is_true(json_object_get(o, "cached"));
	node->link->by_person = json_is_true(json_object_get(o, "by_person"));
	json_int_t ms = json_integer_value(json_object_get(o, "connect_timeout_ms"));
	if (ms > 0) node->set.connect_timeout_ns = (uint64_t)ms * CUBE_NS_PER_MS;
	if (json_object_get(o, "hostname")) {
		node->has_facts = node->joined = true;
		snprintf(f->hostname, sizeof f->hostname, "%s", text_of(o, "hostname"));
		snprintf(f->kernel, sizeof f->kernel, "%s", text_of(o, "kernel"));
		snprintf(f->machine, sizeof f->machine, "%s", text_of(o, "machine"));
		f->cpus = (uint32_t)json_integer_value(json_object_get(o, "cpus"));
		f->memory = (uint64_t)json_integer_value(json_object_get(o, "memory"));
	}
	json_decref(o);
}

static const char *or_empty(const char *s) {
	return s ? s : "";
}

int cube_node_to_row(const struct cube_node *node, struct cube_store *s, struct cube_err *err) {
	cube_autofree char *facts = facts_to_json(node);
	struct cube_node_row row = {
		.id = node->id,
		.state = (uint8_t)node->state,
		.name = node->name,
		.host = or_empty(node->set.host),
		.user = or_empty(node->set.user),
		.identity = or_empty(node->set.identity),
		.labels = or_empty(node->set.labels),
		.port = node->set.port,
		.local = node->set.local,
		.auto_slots = node->auto_slots,
		.slots = node->slots,
		.reason = or_empty(node->reason),
		.facts = facts,
		.added = node->added,
		.seen = node->seen,
	};
	return s->ops->node_put(s, &row, err);
}

static char *or_null(const char *s) {
	return s && *s ? cube_strdup(s) : NULL;
}

void cube_node_from_row(struct cube_node *node, const struct cube_node_row *row) {
	node->state = row->state < CUBE_NODE_STATES ? row->state : CUBE_NODE_FAILED;
	node->set.host = or_null(row->host);
	node->set.user = or_null(row->user);
	node->set.identity = or_null(row->identity);
	node->set.labels = or_null(row->labels);
	node->set.port = row->port;
	node->set.local = row->local;
	node->auto_slots = row->auto_slots;
	node->slots = row->slots;
	node->reason = or_null(row->reason);
	node->added = row->added;
	node->seen = row->seen;
	node->set.connect_timeout_ns = 10 * CUBE_NS_PER_S;
	facts_from_json(node, row->facts ? row->facts : "");
}
