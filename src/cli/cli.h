/* What the commands of `cube` share: the command table's row, the context, error printing. */
#ifndef CUBE_CLI_CLI_H
#define CUBE_CLI_CLI_H

#include <jansson.h>

#include "client.h"
#include "cube/paths.h"
#include "options.h"

struct cube_common { /* options that each command has */
	const char *cluster;
	bool help;
};
extern const struct cube_option cube_common_options[];

struct cube_cli {
	const struct cube_command *const *commands; /* the table */
	struct cube_paths paths;
	struct cube_client *client; /* NULL until cube_cli_connect */
};

struct cube_command {
	const char *name;
	const char *aliases; /* "node status", or NULL */
	const char *usage;   /* what follows the name */
	const char *help;    /* one line */
	const char *text;    /* more for --help, ends with a newline, or NULL */
	const struct cube_option_group *groups;
	size_t size;   /* of the values */
	size_t common; /* where in them struct cube_common is */
	bool stop_at_word;
	bool no_words; /* takes options only */
	bool hidden;   /* for programs: not listed */
	/* Words are the user's command, or its tasks, and the exit code is theirs (err.h). */
	bool carries;
	/* The exit code. words: NULL-terminated. */
	int (*run)(struct cube_cli *cli, void *values, char **words, size_t n);
};

/* command.c: of a table, whose end is NULL. */
/* By its name or another it has; NULL: there is none. */
const struct cube_command *cube_command_find(const struct cube_command *const *table,
					     const char *name);
int cube_command_help(const struct cube_command *command, struct cube_buf *out);
int cube_command_overview(const struct cube_command *const *table, struct cube_buf *out);
/* "unknown command", and the one that may be meant. The exit code. */
int cube_command_unknown(const struct cube_command *const *table, const char *word);

/* Prints "cube: error: ..." (escaped) and gives the exit code of err, as of a command that carries
 * one of the user's: main.c knows which do. Interrupted (CUBE_ECANCELED, .sys the signal): 128+n,
 * without words. */
int cube_cli_fail(const struct cube_err *err);
/* Prints "cube: ..." on stderr, escaped, one line. */
void cube_cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

enum cube_cli_start {
	CUBE_START_NEVER,    /* only a manager that runs */
	CUBE_START_KNOWN,    /* and one whose state is on disk: it takes its work up again */
	CUBE_START_IF_NEEDED /* always */
};
/* Opens cli->client. CUBE_ENOTFOUND where no manager runs and none was to be started. */
int cube_cli_connect(struct cube_cli *cli, enum cube_cli_start start, struct cube_err *err);

/* "17" or "job:3". CUBE_EUSAGE else. */
struct cube_ref {
	bool job;
	uint64_t id;
};
int cube_ref_parse(const char *word, struct cube_ref *ret, struct cube_err *err);
/* CUBE_ENOTFOUND: there is none. */
int cube_ref_none(const struct cube_ref *ref, struct cube_err *err);

/* Members of API objects, with what to take where they are missing or of another type. */
const char *cube_json_str(const json_t *object, const char *key, const char *otherwise);
double cube_json_num(const json_t *object, const char *key, double otherwise);
bool cube_json_true(const json_t *object, const char *key);
/* Sets key to text, or leaves it absent where text is NULL. CUBE_EUSAGE where that is not UTF-8. */
int cube_json_set_text(json_t *object, const char *key, const char *text, struct cube_err *err);
/* s (n bytes) as the API wants bytes: a string, or {"base64": ...}. */
json_t *cube_json_bytes(const char *s, size_t n);

#define CUBE_COMMON_GROUP(type) \
	{ "Options of every command", cube_common_options, offsetof(type, common) }

#endif
