/* Command templates: "docker exec -i {host}" into the words of a program. Pure.
 * Private to this folder; the syntax stands in cube/transport.h. */
#ifndef CUBE_TRANSPORT_TEMPLATE_H
#define CUBE_TRANSPORT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/mem.h"

struct cube_template {
	struct cube_strv words; /* unquoted, placeholders as they were */
	bool has_line;          /* one of them is {line} */
};
/* Zero *ret first. CUBE_EUSAGE: no words, an open quote, an unknown placeholder. */
int cube_template_parse(const char *text, struct cube_template *ret, struct cube_err *err);
void cube_template_done(struct cube_template *t);

struct cube_template_values { /* NULL, or port 0: not given */
	const char *host, *user, *name;
	uint16_t port;
};
/* Appends the program for one command line. CUBE_EUSAGE where a value is wanted that is not given;
 * argv is unchanged then. */
int cube_template_fill(const struct cube_template *t, const struct cube_template_values *values,
		       const char *line, struct cube_strv *argv, struct cube_err *err);

#endif
