#include "cube/settings.h"

#include <stdlib.h>
#include <string.h>

void cube_node_settings_done(struct cube_node_settings *s) {
	free(s->host);
	free(s->user);
	free(s->identity);
	free(s->labels);
	free(s->ssh_config);
	free(s->jump);
	free(s->transport);
	cube_strv_done(&s->options);
	*s = (struct cube_node_settings){0};
}

void cube_node_settings_copy(struct cube_node_settings *to, const struct cube_node_settings *from) {
	*to = *from;
	to->host = cube_strdup(from->host);
	to->user = cube_strdup(from->user);
	to->identity = cube_strdup(from->identity);
	to->labels = cube_strdup(from->labels);
	to->ssh_config = cube_strdup(from->ssh_config);
	to->jump = cube_strdup(from->jump);
	to->transport = cube_strdup(from->transport);
	to->options = (struct cube_strv){0};
	for (size_t i = 0; i < from->options.len; i++)
		cube_strv_add(&to->options, from->options.v[i]);
}

bool cube_node_settings_choose(const struct cube_node_settings *s) {
	return !s->local && (!s->transport || strcmp(s->transport, "auto") == 0);
}

const char *cube_node_settings_transport(const struct cube_node_settings *s, bool by_openssh) {
	if (s->local) return "local";
	if (!cube_node_settings_choose(s)) return s->transport;
	return by_openssh ? "openssh" : "ssh";
}

static int open_real(struct cube_reach *reach, const char *name,
		     const struct cube_node_settings *set, const struct cube_reach_how *how,
		     const struct cube_transport_events *events, void *arg,
		     struct cube_transport **ret, struct cube_err *err) {
	const char *transport = cube_node_settings_transport(set, how->by_openssh);
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
		.ask = how->ask,
		.old_jumps = how->old_jumps,
		.strict_host_keys = set->strict_host_keys,
		.timeout_ns = set->connect_timeout_ns,
	};
	if (set->local) return cube_transport_local(reach->loop, &target, events, arg, ret, err);
	if (strcmp(transport, "ssh") == 0)
		return cube_transport_ssh(reach->ssh, &target, events, arg, ret, err);
	return cube_transport_command(reach->ssh, &target, events, arg, ret, err);
}

void cube_reach_init(struct cube_reach *reach, struct cube_loop *loop, struct cube_ssh *ssh) {
	*reach = (struct cube_reach){.open = open_real, .loop = loop, .ssh = ssh};
}
