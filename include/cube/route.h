/* Ways through jump hosts for the ssh program, as one ProxyCommand.
 *
 * ssh -J would start another ssh for each jump host with next to none of our settings: a host never
 * seen before would be asked about, and $HOME would not be where the keys and known_hosts are. Here
 * each hop is asked for its own configuration and gets what a target would get. */
#ifndef CUBE_TRANSPORT_ROUTE_H
#define CUBE_TRANSPORT_ROUTE_H

#include "cube/openssh.h"
#include "cube/ssh_config.h"

struct cube_route;
struct cube_route_spec {   /* borrowed during the call */
	const char *jumps; /* "a,user@b:22": b through a */
	const char *file;  /* ssh -F, or NULL */
	bool strict, ask;
	unsigned timeout_s; /* 0: as configured */
};
/* command, with %h and %p for the target as ssh replaces them; or NULL and why. */
typedef void cube_route_fn(void *arg, const char *command, const struct cube_err *err);

/* fn runs once, never inside the call; the handle is over then. */
struct cube_route *cube_route_find(struct cube_loop *loop, struct cube_ssh_configs *configs,
				   const struct cube_route_spec *spec, cube_route_fn *fn,
				   void *arg);
void cube_route_cancel(struct cube_route *r); /* NULL is fine */

#endif
