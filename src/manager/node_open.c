/* From a node's settings to a transport. */
#include "nodes.h"

int cube_node_open(struct cube_manager *m, const char *name, const struct cube_node_settings *set,
		   bool by_openssh, bool ask, const struct cube_transport_events *events, void *arg,
		   struct cube_transport **ret, struct cube_err *err) {
	const char *transport = by_openssh ? "openssh" : set->transport;
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
		.strict_host_keys = set->strict_host_keys,
		.timeout_ns = set->connect_timeout_ns,
	};
	if (set->local) return cube_transport_local(m->loop, &target, events, arg, ret, err);
	return cube_transport_ssh(m->ssh, &target, events, arg, ret, err);
}
