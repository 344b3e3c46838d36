/* Options that say what a task is, and the request made of them. */
#ifndef CUBE_CLI_TASKOPTS_H
#define CUBE_CLI_TASKOPTS_H

#include "cli.h"

struct cube_task_options {
	struct cube_strv env, env_file, push;
	const char *dir, *name;
	uint64_t timeout, grace;
	bool login;
};
extern const struct cube_option cube_task_option_rows[];

struct cube_print_options {
	bool no_prefix, fold;
};
extern const struct cube_option cube_print_option_rows[];

/* The body of POST /v1/tasks with argv (n words), env, dir, timeout, grace, name and files; the
 * files are uploaded where the manager has not got them. */
int cube_task_body(struct cube_cli *cli, const struct cube_task_options *o, char *const *words,
		   size_t n, json_t **ret_body, struct cube_err *err);

/* Adds what -e WORD says: K=V, or K with the value it has here. */
int cube_env_word(struct cube_strv *env, const char *word, struct cube_err *err);

#endif
