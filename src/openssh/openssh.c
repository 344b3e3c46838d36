/* ssh's arguments: see openssh.h.
 *
 * ssh takes the first value it is given for a setting, so the user's own -o come first.
 */
#include "cube/openssh.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"

void cube_openssh_init(struct cube_openssh *o, const struct cube_target *target) {
	*o = (struct cube_openssh){
		.host = cube_strdup(target->host),
		.user = cube_strdup(target->user),
		.identity = cube_strdup(target->identity),
		.jump = cube_strdup(target->jump),
		.port = target->port,
		.strict = target->strict_host_keys,
		.ask = target->ask,
		.timeout_s = (unsigned)((target->timeout_ns + CUBE_NS_PER_S - 1) / CUBE_NS_PER_S),
	};
	o->file = target->ssh_config ? cube_strdup(target->ssh_config) : cube_ssh_moved_config();
	for (size_t i = 0; target->options && i < target->options->len; i++)
		cube_strv_add(&o->options, target->options->v[i]);
}

void cube_openssh_config(struct cube_openssh *o, const struct cube_ssh_config *config) {
	if (config->strict) o->strict = true;
	o->logverbose = config->logverbose;
	o->session_type = config->session_type;
	if (!cube_ssh_home_moved()) return;
	for (size_t i = 0; i < config->user_hosts.len; i++)
		cube_strv_add(&o->moved_hosts, config->user_hosts.v[i]);
	for (size_t i = 0; i < config->identities.len && !o->identity; i++)
		if (access(config->identities.v[i], R_OK) == 0)
			cube_strv_add(&o->moved_keys, config->identities.v[i]);
}

static void add2(struct cube_strv *argv, const char *flag, const char *value) {
	if (!value) return;
	cube_strv_add(argv, flag);
	cube_strv_add(argv, value);
}

static void add_option(struct cube_strv *argv, const char *key, const char *value) {
	cube_autofree char *word = cube_strf("%s=%s", key, value);
	add2(argv, "-o", word);
}

static void add_number(struct cube_strv *argv, const char *key, unsigned value) {
	cube_autofree char *word = cube_strf("%s=%u", key, value);
	add2(argv, "-o", word);
}

/* Several files are one value; quotes keep blanks in a name together. */
static void add_hosts(const struct cube_openssh *o, struct cube_strv *argv) {
	cube_autofree char *all = cube_strdup("");
	for (size_t i = 0; i < o->moved_hosts.len; i++) {
		char *more = cube_strf("%s%s\"%s\"", all, *all ? " " : "", o->moved_hosts.v[i]);
		free(all);
		all = more;
	}
	if (*all) add_option(argv, "UserKnownHostsFile", all);
}

static void add_keys(const struct cube_openssh *o, struct cube_strv *argv) {
	add2(argv, "-i", o->identity);
	if (o->identity) add_option(argv, "IdentitiesOnly", "yes");
	for (size_t i = 0; i < o->moved_keys.len; i++) add2(argv, "-i", o->moved_keys.v[i]);
}

/* What a configuration made for people may say and a pipe of ours cannot have. */
static void add_plain(const struct cube_openssh *o, struct cube_strv *argv) {
	add_option(argv, "RemoteCommand", "none");
	add_option(argv, "PermitLocalCommand", "no"); /* but the master's */
	add_option(argv, "ClearAllForwardings", "yes");
	/* A command with stdin, that does not leave us; -N and -W have set theirs before. Older
	 * ones refuse the settings. */
	if (o->session_type) {
		add_option(argv, "SessionType", "default");
		add_option(argv, "StdinNull", "no");
		add_option(argv, "ForkAfterAuthentication", "no");
	}
	add_option(argv, "LogLevel", "ERROR"); /* nothing but why it failed ... */
	/* ... all of which comes from here, though ssh has some of it for mere information: that
	 * the server hung up, or has no algorithm in common. Older ones refuse the setting. */
	if (o->logverbose) add_option(argv, "LogVerbose", "packet.c:sshpkt_vfatal():*");
}

static void add_settings(const struct cube_openssh *o, struct cube_strv *argv) {
	cube_autofree char *port = o->port ? cube_strf("%u", o->port) : NULL;
	for (size_t i = 0; i < o->options.len; i++) add2(argv, "-o", o->options.v[i]);
	add_option(argv, "BatchMode", o->ask ? "no" : "yes");
	if (o->ask) add_number(argv, "NumberOfPasswordPrompts", 1);
	if (o->timeout_s) add_number(argv, "ConnectTimeout", o->timeout_s);
	add_option(argv, "StrictHostKeyChecking", o->strict ? "yes" : "accept-new");
	add_number(argv, "ServerAliveInterval", 5);
	add_number(argv, "ServerAliveCountMax", 4);
	add_hosts(o, argv);
	add_plain(o, argv);
	add2(argv, "-l", o->user);
	add2(argv, "-p", port);
	add_keys(o, argv);
}

static void add_host(const struct cube_openssh *o, struct cube_strv *argv) {
	cube_strv_add(argv, "--");
	cube_strv_add(argv, o->host);
}

static void add_program(const struct cube_openssh *o, struct cube_strv *argv) {
	cube_strv_add(argv, "ssh");
	cube_strv_add(argv, "-T");
	add2(argv, "-F", o->file);
}

/* The way to the host, where it is one of its own. */
static void add_rest(const struct cube_openssh *o, struct cube_strv *argv) {
	if (o->proxy) add_option(argv, "ProxyCommand", o->proxy); /* before the user's own */
	add_settings(o, argv);
	if (!o->proxy) add2(argv, "-J", o->jump);
	add_host(o, argv);
}

static void add_socket(const char *socket, struct cube_strv *argv) {
	cube_autofree char *quoted = cube_strf("\"%s\"", socket);
	add_option(argv, "ControlPath", quoted);
}

bool cube_openssh_socket_ok(const char *socket) {
	return *socket == '/' && !socket[strcspn(socket, "%\"\\$")];
}

void cube_openssh_master_argv(const struct cube_openssh *o, const char *socket,
			      struct cube_strv *argv) {
	add_program(o, argv);
	cube_strv_add(argv, "-N");
	add_option(argv, "ControlMaster", "yes");
	add_socket(socket, argv);
	add_option(argv, "ControlPersist", "no");
	add_option(argv, "PermitLocalCommand", "yes");
	add_option(argv, "LocalCommand", "echo ready"); /* in any shell */
	add_rest(o, argv);
}

void cube_openssh_argv(const struct cube_openssh *o, const char *socket, const char *line,
		       struct cube_strv *argv) {
	add_program(o, argv);
	add_option(argv, "ControlMaster", "no");
	add_socket(socket, argv);
	/* Where the master is gone or refuses, ssh would connect by itself. */
	add_option(argv, "ProxyCommand", "false");
	add_settings(o, argv);
	add_host(o, argv);
	cube_strv_add(argv, line);
}

void cube_openssh_jump_argv(const struct cube_openssh *o, struct cube_strv *argv) {
	add_program(o, argv);
	add_option(argv, "ControlMaster", "no");
	add_rest(o, argv);
}

void cube_openssh_done(struct cube_openssh *o) {
	free(o->host);
	free(o->user);
	free(o->identity);
	free(o->file);
	free(o->jump);
	free(o->proxy);
	cube_strv_done(&o->options);
	cube_strv_done(&o->moved_hosts);
	cube_strv_done(&o->moved_keys);
	*o = (struct cube_openssh){0};
}
