/* How a host is reached, as its user asked for it; kept with the node. */
#ifndef CUBE_SETTINGS_H
#define CUBE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/mem.h"
#include "cube/transport.h"

struct cube_node_settings {
	char *host, *user, *identity, *labels, *ssh_config, *jump; /* NULL: none */
	char *transport;          /* NULL, "auto": libssh2, and OpenSSH where that cannot; "ssh":
				     libssh2 only; else a template as for cube_transport_command */
	struct cube_strv options; /* ssh -o */
	uint16_t port;
	bool local, strict_host_keys;
	bool become; /* the worker runs as root, by sudo */
	uint64_t connect_timeout_ns;
};
void cube_node_settings_copy(struct cube_node_settings *to, const struct cube_node_settings *from);
void cube_node_settings_done(struct cube_node_settings *s);
/* Whether what carries the connection is ours to choose: libssh2, and OpenSSH where that cannot. */
bool cube_node_settings_choose(const struct cube_node_settings *s);
/* "local", "ssh" (libssh2), "openssh", or the template. by_openssh: where the choice is ours. */
const char *cube_node_settings_transport(const struct cube_node_settings *s, bool by_openssh);

struct cube_reach_how {
	bool by_openssh; /* where the settings leave the choice */
	bool ask;        /* somebody is there to answer */
	bool old_jumps;  /* as in struct cube_target */
};
/* What opens transports: the real one, or a test's. */
struct cube_reach {
	/* name: the node's, for messages. Returns and calls back as the openers of
	 * cube/transport.h do. */
	int (*open)(struct cube_reach *reach, const char *name,
		    const struct cube_node_settings *set, const struct cube_reach_how *how,
		    const struct cube_transport_events *events, void *arg,
		    struct cube_transport **ret, struct cube_err *err);
	struct cube_loop *loop; /* the rest is the real one's; borrowed */
	struct cube_ssh *ssh;
};
void cube_reach_init(struct cube_reach *reach, struct cube_loop *loop, struct cube_ssh *ssh);

#endif
