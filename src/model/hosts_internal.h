/* The options of a line in the hosts file. */
#ifndef CUBE_MODEL_HOSTS_INTERNAL_H
#define CUBE_MODEL_HOSTS_INTERNAL_H

#include "cube/hosts.h"

struct cube_hosts_options {
	bool any, has_host;
	char *user, *key, *labels, *jump, *transport; /* NULL: not given */
	uint16_t port;                                /* 0: not given, as slots */
	uint32_t slots;
	struct cube_nodeset host; /* host=, expanded */
};

/* Reads "key=value" (cut up while reading), which begins in the given column. */
int cube_hosts_option(struct cube_hosts_options *o, char *word, size_t column, size_t *work,
		      struct cube_err *err);
/* Sets on e, the i-th host of the line, what was given. */
int cube_hosts_apply(const struct cube_hosts_options *o, size_t i, struct cube_hosts_entry *e,
		     struct cube_err *err);
void cube_hosts_options_done(struct cube_hosts_options *o);

int cube_hosts_slots(const char *text, uint32_t *ret, struct cube_err *err);
void cube_hosts_set(char **field, const char *value); /* replaces the string by a copy */

#endif
