/* A table of commands: finding one, and what is said of them. */
#include <string.h>

#include "cli.h"
#include "cube/parse.h"

static bool among(const char *words, const char *name) {
	size_t n = strlen(name);
	for (const char *p = words; p && *p;) {
		size_t len = strcspn(p, " ");
		if (len == n && memcmp(p, name, n) == 0) return true;
		p += len + strspn(p + len, " ");
	}
	return false;
}

const struct cube_command *cube_command_find(const struct cube_command *const *table,
					     const char *name) {
	if (!*name) return NULL;
	for (const struct cube_command *const *c = table; *c; c++)
		if (strcmp((*c)->name, name) == 0 || among((*c)->aliases, name)) return *c;
	return NULL;
}

int cube_command_help(const struct cube_command *c, struct cube_buf *out) {
	int rc = cube_buf_printf(out, "Usage: cube %s%s%s\n%s.\n", c->name, *c->usage ? " " : "",
				 c->usage, c->help);
	if (!rc && c->aliases) rc = cube_buf_printf(out, "Also called: %s\n", c->aliases);
	if (!rc && c->text) rc = cube_buf_printf(out, "\n%s", c->text);
	return rc ? rc : cube_options_help(c->groups, out);
}

int cube_command_overview(const struct cube_command *const *table, struct cube_buf *out) {
	int rc = cube_buf_addstr(
		out, "Usage: cube COMMAND [OPTIONS] [...]\n"
		     "Turns machines reachable by ssh into one computer.\n\nCommands:\n");
	for (const struct cube_command *const *c = table; !rc && *c; c++)
		if (!(*c)->hidden) rc = cube_buf_printf(out, "  %-9s %s\n", (*c)->name, (*c)->help);
	if (rc) return rc;
	return cube_buf_addstr(
		out,
		"\n`cube help COMMAND` tells more. Each option --some-name can also be given in the\n"
		"environment as CUBE_SOME_NAME; the command line goes first. CUBE_STATE_DIR says where\n"
		"cube keeps what it knows (else $XDG_STATE_HOME/cube, ~/.local/state/cube).\n");
}

/* What it is called here, of words that other tools have. */
static const char *known_as(const char *word) {
	static const char *const words[][2] = {
		{"attach", "logs -f"}, {"kill", "stop"},    {"rm", "stop"},    {"cancel", "stop"},
		{"ssh", "exec"},       {"shell", "exec"},   {"scp", "cp"},     {"copy", "cp"},
		{"list", "nodes"},     {"ls", "nodes"},     {"tasks", "ps"},   {"jobs", "ps"},
		{"up", "spawn"},       {"add", "spawn"},    {"join", "spawn"}, {"drain", "down"},
		{"remove", "down"},    {"port", "forward"}, {"tail", "logs"},  {"log", "logs"},
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(word, words[i][0]) == 0) return words[i][1];
	return NULL;
}

int cube_command_unknown(const struct cube_command *const *table, const char *word) {
	const char *names[64];
	size_t n = 0;
	struct cube_err err;
	for (const struct cube_command *const *c = table; *c && n < 63; c++)
		if (!(*c)->hidden) names[n++] = (*c)->name;
	names[n] = NULL;
	const char *near = known_as(word);
	if (!near) near = cube_parse_nearest(word, names);
	if (near)
		cube_fail(&err, CUBE_EUSAGE, "unknown command '%.80s'; did you mean `cube %s`?",
			  word, near);
	else cube_fail(&err, CUBE_EUSAGE, "unknown command '%.80s'; `cube help` lists them", word);
	return cube_cli_fail(&err);
}
