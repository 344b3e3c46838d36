/* Options that say how hosts are reached, and the request made of them and of a selection: the same
 * for each command that names hosts. */
#ifndef CUBE_CLI_CONNOPTS_H
#define CUBE_CLI_CONNOPTS_H

#include "cli.h"
#include "select.h"

/* --become has no letter: ansible's -b is --fold here, and whoever means that must not get root. */
struct cube_conn_options {
	const char *user, *identity, *ssh_config, *jump, *transport, *host_key_check;
	struct cube_strv options; /* -o, as written */
	uint64_t port, connect_timeout;
	bool become;
};
extern const struct cube_option cube_conn_option_rows[];

/* The body of POST /v1/nodes for the hosts of s. slots: CUBE_OPT_UNSET, or for each of them.
 *
 * user, port: what the host expression says goes first, then the options, then the hosts file. key,
 * slots, jump: the options, then the hosts file. transport: the hosts file, then the options, so
 * that a host which is no ssh host may stand among others. */
int cube_conn_body(const struct cube_conn_options *o, const struct cube_selection *s,
		   uint64_t slots, json_t **ret, struct cube_err *err);

#endif
