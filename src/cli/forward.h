/* Local ports whose connections go to a host and port as a node sees it. */
#ifndef CUBE_CLI_FORWARD_H
#define CUBE_CLI_FORWARD_H

#include "cli.h"

struct cube_forward { /* owns its strings */
	char *bind;   /* address to listen on */
	char *local;  /* port, "0": any */
	char *node, *host, *port;
};

/* "[BIND:]LOCALPORT:NODE:[HOST:]PORT"; a part with ':' goes in [brackets]. CUBE_EUSAGE. */
int cube_forward_parse(const char *word, struct cube_forward *ret, struct cube_err *err);
void cube_forward_done(struct cube_forward *f);

/* Listens, prints a line for each, and relays until a signal comes (CUBE_ECANCELED, err->sys the
 * signal). */
int cube_forward_run(struct cube_cli *cli, const struct cube_forward *list, size_t n,
		     struct cube_err *err);

#endif
