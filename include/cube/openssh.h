/* The command lines of OpenSSH's ssh for a target. Pure.
 *
 * A node's login is one ssh of its own, the master, which runs nothing (-N) and holds a control
 * socket; each line is another ssh that goes over that socket (ControlMaster, ControlPath) and
 * neither connects nor logs in itself, whatever the configuration says. A master of the user's own
 * is used by giving its socket to the lines; none is made, also not by the jump hosts' ssh: it
 * would outlive us. */
#ifndef CUBE_TRANSPORT_OPENSSH_H
#define CUBE_TRANSPORT_OPENSSH_H

#include "cube/mem.h"
#include "cube/target.h"
#include "cube/ssh_config.h"

struct cube_openssh { /* NULL, 0, false: as the configuration says */
	char *host, *user, *identity, *file, *jump;
	char *proxy;              /* ProxyCommand, instead of a jump */
	struct cube_strv options; /* -o */
	uint16_t port;
	bool strict, ask, logverbose, session_type;
	unsigned timeout_s;
	/* Where $HOME is not the home that ssh takes: its known_hosts files and keys. */
	struct cube_strv moved_hosts, moved_keys;
};

void cube_openssh_init(struct cube_openssh *o, const struct cube_target *target);
/* What `ssh -G` says; must come before the first argv. */
void cube_openssh_config(struct cube_openssh *o, const struct cube_ssh_config *config);
/* socket: of the master; cube_openssh_socket_ok. It prints a line when it is ready. */
void cube_openssh_master_argv(const struct cube_openssh *o, const char *socket,
			      struct cube_strv *argv);
void cube_openssh_argv(const struct cube_openssh *o, const char *socket, const char *line,
		       struct cube_strv *argv);
/* ssh would read it as it stands. */
bool cube_openssh_socket_ok(const char *socket);
/* ... without a line: to go through that host, with a -W yet to be put in. */
void cube_openssh_jump_argv(const struct cube_openssh *o, struct cube_strv *argv);
void cube_openssh_done(struct cube_openssh *o);

#endif
