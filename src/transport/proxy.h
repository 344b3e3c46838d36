/* The child process that ProxyCommand and ProxyJump ask for. Private to this folder. */
#ifndef CUBE_TRANSPORT_PROXY_H
#define CUBE_TRANSPORT_PROXY_H

#include "cube/ssh_config.h"
#include "cube/list.h"

struct cube_proxy;

struct cube_proxy_spec {     /* borrowed during the call */
	const char *host;    /* as in cube_dial_spec */
	const char *command; /* NULL: the configuration's proxy command */
	const struct cube_ssh_config *config;
	struct cube_list *dying; /* hangup.h; not for cube_proxy_expand */
};

/* *ret_fd, a socket whose other end is the child's stdin and stdout, is the caller's. */
int cube_proxy_start(struct cube_loop *loop, const struct cube_proxy_spec *spec,
		     struct cube_proxy **ret, int *ret_fd, struct cube_err *err);
/* Ends the child and what it started (hangup.h); NULL is fine. A KILL of this process ends it too.
 */
void cube_proxy_free(struct cube_proxy *p);
/* The newest line of its stderr, or NULL; borrowed until the next call. */
const char *cube_proxy_says(struct cube_proxy *p);

/* %h %p %r %n %% replaced; other % words are left alone. Fresh. */
char *cube_proxy_expand(const char *command, const struct cube_proxy_spec *spec);

#endif
