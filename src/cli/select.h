/* Which hosts a command means: -w, -i, -x, --limit, and what the hosts file says of each. */
#ifndef CUBE_CLI_SELECT_H
#define CUBE_CLI_SELECT_H

#include <jansson.h>

#include "cube/hosts.h"
#include "options.h"

struct cube_select { /* option values */
	struct cube_strv workers, exclude, limit;
	const char *hosts;
};
extern const struct cube_option cube_select_options[];      /* with -i for the hosts file */
extern const struct cube_option cube_select_node_options[]; /* --hosts has no letter */

struct cube_selection { /* zero-initialise */
	struct cube_nodeset set;
	struct cube_hosts hosts; /* the hosts file's content; empty without one */
	bool has_hosts;
};

/* Adds words (more expressions, may be NULL) to -w. Without any expression: with whole_file all
 * hosts of the file, else those of --limit; empty where nothing was chosen. */
int cube_select_hosts(const struct cube_select *o, char *const *words, bool whole_file,
		      struct cube_selection *ret, struct cube_err *err);
/* The same for hosts to be reached, of which there must be one: where none is named, the question.
 * *ret is to be done in any case. */
int cube_select_some(const struct cube_select *o, char *const *words, const char *question,
		     struct cube_selection *ret, struct cube_err *err);
void cube_selection_done(struct cube_selection *s);
json_t *cube_selection_names(const struct cube_selection *s);

struct cube_cli;
/* "alice@web1" of a node that is logged in to as somebody else: CUBE_ECONFLICT. A node takes one
 * login's commands only. Without a connection to a manager nothing is looked at. */
int cube_select_check_logins(struct cube_cli *cli, const struct cube_selection *s,
			     struct cube_err *err);
/* The names of nodes that a command means: NULL in *ret_names where nothing was chosen, which is
 * all; only --exclude takes from all nodes there are. CUBE_EUSAGE where none is left. */
int cube_select_nodes(struct cube_cli *cli, const struct cube_select *o, char *const *words,
		      json_t **ret_names, struct cube_err *err);
bool cube_names_have(const json_t *names, const char *name); /* always, where names is NULL */

/* Names (an array of strings) folded, for people; in *ret, to be freed. */
char *cube_fold_names(const json_t *names);
/* {reason: [names]}: appends name under reason, any bytes (escaped), which is made when new. */
void cube_reasons_add(json_t *reasons, const char *reason, const char *name);
/* Prints "cube: <before>web[3,7]: reason" a reason. */
void cube_reasons_print(const json_t *reasons, const char *before);

#endif
