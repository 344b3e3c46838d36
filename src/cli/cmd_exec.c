#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "cube/mem.h"
#include "signals.h"
#include "sink.h"
#include "stream.h"
#include "taskopts.h"
#include "rawtty.h"
#include "writeout.h"

#define WINDOW (4u << 20)

struct args {
	struct cube_common common;
	struct cube_strv env;
	const char *dir;
	bool tty, interactive, no_input, login;
};

#define AT(member) offsetof(struct args, member)
static const struct cube_option options[] = {
	{"tty", NULL, 't', CUBE_OPT_FLAG, AT(tty), NULL, "on a terminal of its own there"},
	{"interactive", NULL, 'i', CUBE_OPT_FLAG, AT(interactive), NULL,
	 "as for docker; standard input goes along in any case"},
	{"no-input", NULL, 'n', CUBE_OPT_FLAG, AT(no_input), NULL,
	 "standard input stays here, as with ssh -n"},
	{"login", NULL, 0, CUBE_OPT_FLAG, AT(login), NULL,
	 "with the environment that the user's login shell has there"},
	{"env", NULL, 'e', CUBE_OPT_LIST, AT(env), "K=V",
	 "environment; K alone takes the value here"},
	{"workdir", NULL, 'C', CUBE_OPT_STRING, AT(dir), "DIR", "folder to run in; else the home"},
	{0},
};

struct session {
	struct cube_rstream *stream;
	struct cube_sink out[2];
	struct cube_signals signals;
	struct cube_rawtty terminal;
	uint8_t *frame;  /* input is read behind a frame's head */
	bool tty, input; /* there is input to read */
	bool interrupted, wide;
	bool line; /* the command is one word that looks like a line for a shell */
	int left;  /* exit code, not 0: the user left */
};

/* ---- output ---- */

static int on_data(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err) {
	struct session *s = arg;
	cube_rstream_grant(s->stream, fd, cube_sink_put(&s->out[fd - 1], bytes, n));
	return 0;
}

static void flush(struct session *s, int i) {
	cube_rstream_grant(s->stream, i + 1, cube_sink_flush(&s->out[i]));
}

/* ---- input ---- */

static void read_input(struct session *s) {
	size_t room = cube_rstream_room(s->stream);
	if (!room) return; /* used up by what was sent in this turn: reading nothing is no end */
	ssize_t n = read(STDIN_FILENO, s->frame + CUBE_RSTREAM_HEAD, room);
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n > 0) {
		cube_rstream_send(s->stream, s->frame, (size_t)n);
		if ((size_t)n >= 65536 && !s->wide) fcntl(STDIN_FILENO, F_SETPIPE_SZ, 1 << 20);
		s->wide |= (size_t)n >= 65536;
		return;
	}
	s->input = false;
	cube_rstream_end(s->stream);
}

/* ---- signals ---- */

static void on_signal(struct session *s, int signo) {
	uint16_t rows, cols;
	switch (signo) {
	case SIGCONT: /* the terminal was somebody else's, who may have made it another size */
		if (s->terminal.raw) cube_rawtty_raw(&s->terminal);
		/* fall through */
	case SIGWINCH:
		if (!s->tty) return;
		cube_rawtty_size(&rows, &cols);
		cube_rstream_resize(s->stream, rows, cols);
		return;
	case SIGINT:
	case SIGQUIT:
		if (!s->tty && !s->interrupted) {
			s->interrupted = true;
			cube_rstream_signal(s->stream, signo);
			return;
		}
		break;
	}
	s->left = 128 + signo;
}

/* ---- the loop ---- */

static int turn(struct session *s, struct cube_err *err) {
	bool reading = s->input && cube_rstream_room(s->stream);
	struct pollfd p[] = {
		{cube_rstream_fd(s->stream), cube_rstream_events(s->stream), 0},
		{s->signals.fd, POLLIN, 0},
		{reading ? STDIN_FILENO : -1, POLLIN, 0},
		{cube_sink_fd(&s->out[0]), POLLOUT, 0},
		{cube_sink_fd(&s->out[1]), POLLOUT, 0},
	};
	int rc = 0;
	if (poll(p, 5, -1) < 0) return 0;
	if (p[1].revents)
		for (int signo; (signo = cube_signals_next(&s->signals));) on_signal(s, signo);
	for (int i = 0; i < 2; i++)
		if (p[3 + i].revents) flush(s, i);
	if (p[0].revents) rc = cube_rstream_step(s->stream, err);
	if (!rc && p[2].revents) read_input(s);
	return rc;
}

/* What is still held goes out, unless the user does not want to wait for it. */
static void flush_all(struct session *s) {
	while (!s->left && (cube_sink_fd(&s->out[0]) >= 0 || cube_sink_fd(&s->out[1]) >= 0)) {
		struct pollfd p[] = {
			{s->signals.fd, POLLIN, 0},
			{cube_sink_fd(&s->out[0]), POLLOUT, 0},
			{cube_sink_fd(&s->out[1]), POLLOUT, 0},
		};
		if (poll(p, 3, -1) < 0) continue;
		for (int signo; p[0].revents && (signo = cube_signals_next(&s->signals));)
			if (signo != SIGWINCH && signo != SIGCONT) s->left = 128 + signo;
		for (int i = 0; i < 2; i++)
			if (p[1 + i].revents) cube_sink_flush(&s->out[i]);
	}
}

/* The exit code. A reader of stdout that left ends it, as it ends ssh. */
static int relay(struct session *s, const char *node) {
	struct cube_err err;
	int rc = 0;
	while (!rc && !s->left && !s->out[0].sys && !cube_rstream_closed(s->stream))
		rc = turn(s, &err);
	flush_all(s);
	cube_rawtty_restore(&s->terminal);
	if (s->left) return s->left;
	if (s->out[0].sys) return cube_write_broken(s->out[0].sys);
	if (rc && rc != CUBE_ECONNECT) cube_wrap(&err, "%.80s", node);
	return rc ? cube_cli_fail(&err) : cube_rstream_exit(s->stream, node);
}

static int attend(struct session *s, const char *node) {
	static const int caught[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH, 0};
	s->frame = cube_alloc(CUBE_RSTREAM_HEAD + CUBE_DATA_MAX);
	cube_sink_open(&s->out[0], STDOUT_FILENO, 2 * WINDOW);
	cube_sink_open(&s->out[1], STDERR_FILENO, 2 * WINDOW);
	cube_signals_open(&s->signals, caught);
	if (s->tty) cube_rawtty_raw(&s->terminal);
	if (!s->input) cube_rstream_end(s->stream);
	int code = relay(s, node);
	cube_signals_close(&s->signals);
	cube_sink_close(&s->out[0]);
	cube_sink_close(&s->out[1]);
	free(s->frame);
	return code;
}

/* TERM goes along with a terminal, below what -e says. */
static int make_env(const struct args *a, bool tty, struct cube_strv *env, struct cube_err *err) {
	const char *term = getenv("TERM");
	cube_autofree char *entry = cube_strf("TERM=%s", term && *term ? term : "xterm");
	int rc = 0;
	if (tty) cube_strv_add(env, entry);
	for (size_t i = 0; !rc && i < a->env.len; i++) rc = cube_env_word(env, a->env.v[i], err);
	return rc;
}

static int open_stream(struct cube_cli *cli, const struct args *a, char **words, struct session *s,
		       struct cube_err *err) {
	static const struct cube_rstream_ops ops = {on_data};
	struct cube_strv env = {0};
	char **argv = words + 1;
	if (*argv && strcmp(*argv, "--") == 0) argv++;
	s->tty = a->tty || (!*argv && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	s->input = !a->no_input;
	s->line = *argv && !argv[1] && strpbrk(*argv, " |&;<>$*");
	struct cube_rstream_open open = {
		.node = words[0],
		.argv = (const char *const *)argv,
		.dir = a->dir,
		.flags = (uint8_t)((s->tty ? CUBE_OPEN_PTY : 0) | (a->login ? CUBE_OPEN_LOGIN : 0)),
		.window = WINDOW,
	};
	cube_rawtty_size(&open.rows, &open.cols);
	int rc = make_env(a, s->tty, &env, err);
	open.env = (const char *const *)cube_strv_argv(&env);
	if (!rc) rc = cube_rstream_open_waiting(cli, &open, &ops, s, &s->stream, err);
	cube_strv_done(&env);
	return rc;
}

/* As many write it for ssh, which hands its words to a shell. */
static void tell_line(char **words) {
	cube_cli_say("no shell takes a command apart; where one is to: cube exec %s -- sh -c '...'",
		     words[0]);
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	struct session s = {.signals.fd = -1};
	struct cube_err err;
	int rc = 0;
	if (n == 0)
		rc = cube_fail(&err, CUBE_EUSAGE,
			       "where? cube exec [OPTIONS] NODE [--] COMMAND...");
	if (!rc) rc = cube_cli_connect(cli, CUBE_START_KNOWN, &err);
	if (!rc) rc = open_stream(cli, a, words, &s, &err);
	int code = rc ? cube_cli_fail(&err) : attend(&s, words[0]);
	if (code == 127 && s.line) tell_line(words);
	cube_rstream_free(s.stream);
	return code;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_exec = {
	.name = "exec",
	.usage = "[OPTIONS] NODE [--] [COMMAND [ARG...]]",
	.help = "run a command on a node right now, as ssh does",
	.text = "Input, output and errors are the command's byte for byte, and so is the exit code (128+N\n"
		"for signal N; 126/127 where it cannot be executed or is not found). No task, no record,\n"
		"no slot: it ends with this command. Standard input always goes along, as with ssh: in a\n"
		"loop that reads its list from there, use -n. Ctrl-C interrupts the command, twice leaves\n"
		"it (it gets HUP); with -t every key goes there. Without COMMAND: the login shell, on a\n"
		"terminal when this is one. The node must have joined;\n"
		"one that is on its way, or comes back after its link broke, is waited for 10 s.\n",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.stop_at_word = true,
	.carries = true,
	.run = run,
};
