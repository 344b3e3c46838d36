/* Command-line options from declarative tables: parsing, environment, help text.
 *
 * A command's values are one struct; an option row says where in it its value lies. Order of
 * precedence: the command line, the environment (CUBE_<NAME>, '-' as '_'), the row's default.
 */
#ifndef CUBE_CLI_OPTIONS_H
#define CUBE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/mem.h"

enum cube_option_type {
	CUBE_OPT_FLAG,     /* bool */
	CUBE_OPT_STRING,   /* const char *: borrowed from argv, environment or table; NULL unset */
	CUBE_OPT_LIST,     /* struct cube_strv: one word a use; the environment gives one word */
	CUBE_OPT_UINT,     /* uint64_t in min..max; CUBE_OPT_UNSET without default */
	CUBE_OPT_DURATION, /* uint64_t nanoseconds; CUBE_OPT_UNSET without default */
};
#define CUBE_OPT_UNSET UINT64_MAX

struct cube_option {
	const char *name;  /* "connect-timeout"; a row without name ends a table */
	const char *alias; /* another long name, or NULL */
	char letter;       /* or 0 */
	enum cube_option_type type;
	size_t at;       /* of the value, in the group's struct */
	const char *arg; /* how help calls the value */
	const char *help;
	const char *def;     /* as a user would write it, or NULL */
	const char *choices; /* STRING: the words allowed, separated by '|', or NULL */
	uint64_t min, max;
};

struct cube_option_group { /* a row without v ends a list */
	const char *title;
	const struct cube_option *v;
	size_t at; /* of the group's struct, in the values */
};

/* Reads argv (without program and command name) into the zeroed struct at values. Words that are
 * no options come out in *ret_words, NULL-terminated, strings borrowed, array to be freed;
 * `--` ends the options; with stop_at_word the first word does. CUBE_EUSAGE names the option
 * and the nearest one. Call cube_options_done in any case. */
int cube_options_parse(const struct cube_option_group *groups, bool stop_at_word, int argc,
		       char **argv, void *values, char ***ret_words, size_t *ret_n,
		       struct cube_err *err);
void cube_options_done(const struct cube_option_group *groups, void *values);

/* The groups' part of a command's help: "  -n, --count N   how many (default: 1)". */
int cube_options_help(const struct cube_option_group *groups, struct cube_buf *out);

#endif
