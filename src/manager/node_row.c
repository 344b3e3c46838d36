#include "node_row.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/id.h"
#include "cube/mem.h"

/* What the row has no column for goes into `facts`: the host's, and what a reconnect needs. */
static char *facts_to_json(const struct cube_mnode *node) {
	char boot[CUBE_ID_HEX];
	const struct cube_node_facts *f = &node->facts;
	json_t *o = json_pack("{s:s*, s:s*, s:b, s:I}", "ssh_config", node->ssh_config, "boot",
			      node->boot ? cube_id_hex(node->boot, boot) : NULL, "strict_host_keys",
			      node->strict_host_keys, "connect_timeout_ms",
			      (json_int_t)(node->connect_timeout_ns / CUBE_NS_PER_MS));
	if (o && node->touched) json_object_set_new(o, "touched", json_true());
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

static void facts_from_json(struct cube_mnode *node, const char *text) {
	json_t *o = json_loads(text, 0, NULL);
	if (!o) return;
	struct cube_node_facts *f = &node->facts;
	if (*text_of(o, "ssh_config")) node->ssh_config = cube_strdup(text_of(o, "ssh_config"));
	cube_id_unhex(text_of(o, "boot"), &node->boot);
	node->strict_host_keys = json_is_true(json_object_get(o, "strict_host_keys"));
	node->touched = json_is_true(json_object_get(o, "touched"));
	json_int_t ms = json_integer_value(json_object_get(o, "connect_timeout_ms"));
	if (ms > 0) node->connect_timeout_ns = (uint64_t)ms * CUBE_NS_PER_MS;
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

int cube_node_to_row(const struct cube_mnode *node, struct cube_store *s, struct cube_err *err) {
	cube_autofree char *facts = facts_to_json(node);
	struct cube_node_row row = {
		.id = node->id,
		.state = (uint8_t)node->state,
		.name = node->name,
		.host = or_empty(node->host),
		.user = or_empty(node->user),
		.identity = or_empty(node->identity),
		.labels = or_empty(node->labels),
		.port = node->port,
		.local = node->local,
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

void cube_node_from_row(struct cube_mnode *node, const struct cube_node_row *row) {
	node->state = row->state < CUBE_NODE_STATES ? row->state : CUBE_NODE_FAILED;
	node->host = or_null(row->host);
	node->user = or_null(row->user);
	node->identity = or_null(row->identity);
	node->labels = or_null(row->labels);
	node->port = row->port;
	node->local = row->local;
	node->auto_slots = row->auto_slots;
	node->slots = row->slots;
	node->reason = or_null(row->reason);
	node->added = row->added;
	node->seen = row->seen;
	node->connect_timeout_ns = 10 * CUBE_NS_PER_S;
	facts_from_json(node, row->facts ? row->facts : "");
}
