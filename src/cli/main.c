/* The command line: finds the command in the table, reads its options, runs it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"
#include "cube/program.h"
#include "reflow.h"

static int print_overview(void) {
	struct cube_buf out;
	cube_buf_init(&out, 64u << 10);
	int code = cube_command_overview(cube_commands, &out)
			   ? 125
			   : cube_reflow_print(cube_buf_str(&out));
	cube_buf_done(&out);
	return code;
}

static int print_help(const struct cube_command *c) {
	struct cube_buf out;
	cube_buf_init(&out, 64u << 10);
	int code = cube_command_help(c, &out) ? 125 : cube_reflow_print(cube_buf_str(&out));
	cube_buf_done(&out);
	return code;
}

static int run(const struct cube_command *c, void *values, char **words, size_t n) {
	struct cube_cli cli = {.commands = cube_commands};
	struct cube_err err;
	const struct cube_common *common = (const void *)((const char *)values + c->common);
	if (common->help) return print_help(c);
	int rc = 0;
	if (n && c->no_words)
		rc = cube_fail(&err, CUBE_EUSAGE, "'%.80s' is not expected here; usage: cube %s %s",
			       words[0], c->name, c->usage);
	if (!rc) rc = cube_paths_find(common->cluster, &cli.paths, &err);
	if (rc) return cube_cli_fail(&err);
	int code = c->run(&cli, values, words, n);
	cube_client_free(cli.client);
	return code;
}

/* Where there is no command of the user's to tell cube's failures from, they are 1 (err.h). */
static int plain(int code) {
	return code >= 124 && code <= 127 ? 1 : code;
}

static int run_command(const struct cube_command *c, int argc, char **argv) {
	struct cube_err err;
	char **words = NULL;
	size_t n = 0;
	void *values = cube_alloc(c->size);
	int code, rc = cube_options_parse(c->groups, c->stop_at_word, argc, argv, values, &words,
					  &n, &err);
	if (rc) {
		struct cube_err full = err;
		cube_fail(&full, rc, "%s (`cube help %s` lists the options)", err.msg, c->name);
		code = cube_cli_fail(&full);
	} else {
		code = run(c, values, words, n);
	}
	free(words);
	cube_options_done(c->groups, values);
	free(values);
	return c->carries && n ? code : plain(code);
}

static bool is_version(const char *word) {
	return strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0;
}

/* Options before the command: --cluster NAME is passed on through the environment. */
static int first_options(int argc, char **argv, int *at, const struct cube_command **ret) {
	static const struct cube_option_group groups[] = {
		{"Options", cube_common_options, 0},
		{0},
	};
	struct cube_common common = {0};
	struct cube_err err;
	char **words = NULL;
	size_t n = 0;
	if (argc > 1 && is_version(argv[1])) {
		*ret = &cube_cmd_version;
		*at = 1;
		return 0;
	}
	int rc = cube_options_parse(groups, true, argc - 1, argv + 1, &common, &words, &n, &err);
	free(words);
	if (rc) {
		struct cube_err full = err;
		cube_fail(&full, rc, "%s (options go after the command: cube nodes -o json)",
			  err.msg);
		return cube_cli_fail(&full);
	}
	if (common.help || n == 0) {
		int code = print_overview();
		return code ? code : common.help ? -1 : 2;
	}
	if (common.cluster) setenv("CUBE_CLUSTER", common.cluster, 1);
	*at = argc - (int)n;
	*ret = cube_command_find(cube_commands, argv[*at]);
	return *ret ? 0 : cube_command_unknown(cube_commands, argv[*at]);
}

/* Nothing of ours may get the number of a standard descriptor that came closed. What takes its
 * place cannot be used, so that reading and writing fail as they would have. */
static void fill_standard_fds(void) {
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0) continue;
		if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) abort();
	}
}

int cube_cli_main(int argc, char **argv) {
	const struct cube_command *command = NULL;
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	int at = 0;
	fill_standard_fds();
	sigaction(SIGPIPE, &ignore, NULL); /* a reader that left is an error of write(2) */
	int code = first_options(argc, argv, &at, &command);
	if (!command) return code < 0 ? 0 : plain(code);
	if (command == &cube_cmd_version && is_version(argv[at]))
		return run_command(command, 0, argv + argc);
	return run_command(command, argc - at - 1, argv + at + 1);
}
