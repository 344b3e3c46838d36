/* From a node's settings to a transport. */
#include <string.h>

#include "cube/mem.h"
#include "cube/events.h"
#include "cube/nodes.h"

bool cube_node_settings_choose(const struct cube_node_settings *s) {
	return !s->local && (!s->transport || strcmp(s->transport, "auto") == 0);
}

static const char *choose(const struct cube_node_settings *s, bool by_openssh) {
	if (s->local) return "local";
	if (!cube_node_settings_choose(s)) return s->transport;
	return by_openssh ? "openssh" : "ssh";
}

int cube_node_open(struct cube_manager *m, const char *name, const struct cube_node_settings *set,
		   bool by_openssh, bool ask, bool old_jumps,
		   const struct cube_transport_events *events, void *arg,
		   struct cube_transport **ret, struct cube_err *err) {
	const char *transport = choose(set, by_openssh);
	struct cube_target target = {
		.name = name,
		.host = set->host ? set->host : name,
		.user = set->user,
		.port = set->port,
		.identity = set->identity,
		.ssh_config = set->ssh_config,
		.jump = set->jump,
		.options = &set->options,
		.command = transport,
		.ask = ask,
		.old_jumps = old_jumps,
		.strict_host_keys = set->strict_host_keys,
		.timeout_ns = set->connect_timeout_ns,
	};
	if (set->local) return cube_transport_local(m->loop, &target, events, arg, ret, err);
	if (strcmp(transport, "ssh") == 0)
		return cube_transport_ssh(m->ssh, &target, events, arg, ret, err);
	return cube_transport_command(m->ssh, &target, events, arg, ret, err);
}

const char *cube_node_transport(const struct cube_mnode *node) {
	return choose(&node->set, node->fallback != NULL);
}

bool cube_node_fall_back(struct cube_mnode *node, const struct cube_err *err) {
	if (err->code != CUBE_ELIBRARY || !cube_node_settings_choose(&node->set) || node->fallback)
		return false;
	cube_autofree char *text = cube_strf("using OpenSSH's ssh: %s", err->msg);
	node->fallback = cube_strdup(err->msg);
	cube_node_persist(node);
	cube_events_note(node->m->events, node->id, node->name, text);
	return true;
}
