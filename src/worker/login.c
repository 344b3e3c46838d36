#include "login.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/format.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "cube/spawn.h"
#include "self.h"

#define LIMIT_NS (10 * CUBE_NS_PER_S)

enum { TEXT_MAX = 1 << 20, SAID_MAX = 4096, SAID_SHOWN = 100, CHUNK = 16384, CHUNKS_MAX = 16 };

/* One word for all of bash, dash, ash, zsh, fish and tcsh: the names come by the environment, since
 * no two of these shells quote alike. */
static const char COMMAND[] = "exec \"$CUBE_LOGIN_PROGRAM\" environ \"$CUBE_LOGIN_MARK\"";

struct login {
	struct cube_loop *loop;
	const char *self, *home, *node_cookie;
	struct cube_list waits;
	struct cube_timer *timer; /* the limit; or 0: there is something to tell */
	char **env;
	struct cube_err failed; /* to be told; code 0: nothing */
	pid_t pid;              /* of the shell that was asked; 0: none */
	int fd[2];              /* its stdout and stderr */
	struct cube_io *io[2];
	struct cube_buf text; /* what came on stdout */
	char said[SAID_MAX];  /* the last of what came on stderr */
	size_t said_len;
	char mark[CUBE_ID_HEX];
};

/* The shell of "name:x:UID:GID:comment:home:shell" where UID is ours, cut in place. Not getpwuid,
 * which in a static program knows no more than this file and costs 6 KB. */
static const char *shell_in(char *line) {
	char *at = line, *field[7] = {line};
	uint64_t uid;

	for (int i = 1; i < 7; i++) {
		at = strchr(at, ':');
		if (!at) return NULL;
		*at++ = '\0';
		field[i] = at;
	}
	if (cube_parse_u64(field[2], 0, UINT32_MAX, &uid, NULL) < 0 || uid != getuid()) return NULL;
	return field[6][0] == '/' ? field[6] : NULL;
}

static void shell_of_passwd(char *shell, size_t size) {
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	struct cube_buf text;
	uint8_t *space;
	ssize_t n = 0;

	cube_buf_init(&text, TEXT_MAX);
	while (fd >= 0 && cube_buf_reserve(&text, CHUNK, &space) == 0 &&
	       (n = read(fd, space, CHUNK)) > 0)
		cube_buf_commit(&text, (size_t)n);
	if (fd >= 0) close(fd);
	for (char *line = (char *)cube_buf_str(&text), *next; line; line = next) {
		const char *found;

		next = strchr(line, '\n');
		if (next) *next++ = '\0';
		found = shell_in(line);
		if (!found) continue;
		cube_format(shell, size, "%s", found);
		break;
	}
	cube_buf_done(&text);
}

void login_shell(char *shell, size_t size) {
	const char *set = getenv("SHELL");

	cube_format(shell, size, "/bin/sh");
	if (set && set[0] == '/' && access(set, X_OK) == 0) cube_format(shell, size, "%s", set);
	else shell_of_passwd(shell, size);
}

void login_argv0(const char *shell, char *name, size_t size) {
	const char *slash = strrchr(shell, '/');

	cube_format(name, size, "-%s", slash ? slash + 1 : shell);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Where the mark stands with its NUL, at or behind `from`; NULL where it does not. */
static const char *find_mark(const struct login *l, const char *from, const char *end) {
	size_t n = strlen(l->mark) + 1;

	while (from && (size_t)(end - from) >= n) {
		if (memcmp(from, l->mark, n) == 0) return from;
		from = memchr(from + 1, l->mark[0], (size_t)(end - from) - 1);
	}
	return NULL;
}

/* What belongs to the shell that was asked, not to the user's environment. */
static bool is_wanted(const char *entry) {
	static const char *const NOT[] = {
		"CUBE_LOGIN_PROGRAM=", "CUBE_LOGIN_MARK=", "_=", "SHLVL=", "PWD=", "OLDPWD="};

	for (size_t i = 0; i < sizeof NOT / sizeof *NOT; i++)
		if (strncmp(entry, NOT[i], strlen(NOT[i])) == 0) return false;
	return strchr(entry, '=') && entry[0] != '=';
}

/* Entries that end with a NUL each. */
static bool keep(struct login *l, const char *p, const char *end) {
	size_t n = 0, bytes = (size_t)(end - p);
	char *at;

	for (const char *e = p; e < end; e += strlen(e) + 1) n++;
	l->env = malloc((n + 1) * sizeof *l->env + bytes);
	if (!l->env) return false;
	at = memcpy(l->env + n + 1, p, bytes);
	n = 0;
	for (char *last = at + bytes; at < last; at += strlen(at) + 1)
		if (is_wanted(at)) l->env[n++] = at;
	l->env[n] = NULL;
	return true;
}

/* True when the whole answer has come. */
static bool take_answer(struct login *l) {
	const char *p = (const char *)cube_buf_data(&l->text), *end = p + cube_buf_len(&l->text);
	const char *begin = find_mark(l, p, end), *last;

	if (!begin) return false;
	begin += strlen(l->mark) + 1;
	last = find_mark(l, begin, end);
	while (last && last[-1]) last = find_mark(l, last + 1, end); /* CUBE_LOGIN_MARK's own */
	return last && keep(l, begin, last);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void stop_asking(struct login *l, bool kill_it) {
	for (int i = 0; i < 2; i++) {
		cube_io_del(l->io[i]);
		l->io[i] = NULL;
		if (l->fd[i] >= 0) close(l->fd[i]);
		l->fd[i] = -1;
	}
	if (l->pid) {
		if (kill_it) kill(-l->pid, SIGKILL);
		cube_loop_forget_child(l->loop, l->pid);
	}
	l->pid = 0;
	cube_buf_done(&l->text);
	cube_timer_disarm(l->timer);
}

/* Whoever waits is told; a callback may ask again. */
static void tell(struct login *l) {
	struct cube_err err = l->failed;
	struct cube_list told;

	l->failed.code = 0;
	cube_list_move(&told, &l->waits);
	while (!cube_list_empty(&told)) {
		struct login_wait *w = cube_container(told.next, struct login_wait, entry);

		cube_list_remove(&w->entry);
		w->done(w->arg, l->env ? NULL : &err);
	}
}

/* The last line that the shell printed, which mostly says what is wrong. */
static const char *last_words(struct login *l) {
	size_t n = l->said_len, from;

	while (n && (l->said[n - 1] == '\n' || l->said[n - 1] == '\r')) n--;
	for (from = n; from && l->said[from - 1] != '\n';) from--;
	for (size_t i = from; i < n; i++)
		if ((unsigned char)l->said[i] < ' ') l->said[i] = ' ';
	l->said[n] = '\0';
	return l->said + from;
}

static void fail(struct login *l, const char *what) {
	const char *said = last_words(l);
	char shell[256];

	if (strlen(said) > SAID_SHOWN) said += strlen(said) - SAID_SHOWN; /* why comes last */
	login_shell(shell, sizeof shell);
	cube_fail(&l->failed, CUBE_ESYS, "the login shell %.40s %s%s%s", shell, what,
		  *said ? ": " : "", said);
	stop_asking(l, true);
	tell(l);
}

static void on_timer(void *arg) {
	struct login *l = arg;

	if (l->pid) fail(l, "did not tell its environment within 10 s");
	else tell(l);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void hear(struct login *l, const char *p, size_t n) {
	size_t room = SAID_MAX - 1;

	if (n > room) p += n - room, n = room;
	if (l->said_len + n > room) {
		size_t drop = l->said_len + n - room;

		memmove(l->said, l->said + drop, l->said_len - drop);
		l->said_len -= drop;
	}
	memcpy(l->said + l->said_len, p, n);
	l->said_len += n;
}

static void shut(struct login *l, int i) {
	cube_io_del(l->io[i]);
	l->io[i] = NULL;
	close(l->fd[i]);
	l->fd[i] = -1;
}

/* Reads what is there; of a shell that prints without end not more than others can wait for. */
static void take(struct login *l, int i) {
	char chunk[CHUNK];
	ssize_t n = 0;

	for (int k = 0; k < CHUNKS_MAX && l->fd[i] >= 0; k++) {
		do n = read(l->fd[i], chunk, sizeof chunk);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno == EAGAIN) return;
		if (n <= 0) shut(l, i);
		else if (i == 1) hear(l, chunk, (size_t)n);
		else if (cube_buf_add(&l->text, chunk, (size_t)n) < 0) return; /* seen by settle */
	}
}

static void settle(struct login *l) {
	if (!l->pid) return;
	if (take_answer(l)) {
		stop_asking(l, false);
		tell(l);
	} else if (cube_buf_room(&l->text) < CHUNK) fail(l, "printed more than 1 MiB");
}

static void on_out(void *arg, uint32_t events) {
	take(arg, 0);
	settle(arg);
}

static void on_err(void *arg, uint32_t events) {
	take(arg, 1);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct login *l = arg;
	char what[80];

	take(l, 0);
	take(l, 1);
	l->pid = 0;
	if (take_answer(l)) {
		stop_asking(l, false);
		tell(l);
		return;
	}
	if (!l->said_len) /* complaints may have gone to stdout */
		hear(l, (const char *)cube_buf_data(&l->text), cube_buf_len(&l->text));
	if (WIFSIGNALED(status))
		cube_format(what, sizeof what, "died of signal %d", WTERMSIG(status));
	else
		cube_format(what, sizeof what, "ended with %d instead of telling its environment",
			    WEXITSTATUS(status));
	fail(l, what);
}

/* The daemon's own environment with what COMMAND needs. NULL without memory. */
static const char **shell_environ(const struct login *l, char *program, size_t size, char *mark) {
	char proc[SELF_PROC];
	size_t n = 0;
	const char **env;

	while (environ[n]) n++;
	env = malloc((n + 4) * sizeof *env);
	if (!env) return NULL;
	memcpy(env, environ, n * sizeof *env);
	cube_format(program, size, "CUBE_LOGIN_PROGRAM=%s", self_runnable(l->self, proc));
	cube_format(mark, CUBE_ID_HEX + 20, "CUBE_LOGIN_MARK=%s", l->mark);
	env[n] = program;
	env[n + 1] = mark;
	env[n + 2] = l->node_cookie;
	env[n + 3] = NULL;
	return env;
}

static int spawn_shell(struct login *l, int out, int err_fd, struct cube_err *err) {
	char program[4096 + 32], mark[CUBE_ID_HEX + 20], name[256], shell[256];
	const char *const argv[] = {name, "-c", COMMAND, NULL};
	const char **env = shell_environ(l, program, sizeof program, mark);
	struct cube_spawn s = {.argv = argv,
			       .file = shell,
			       .envp = env,
			       .dir = l->home,
			       .in = -1,
			       .out = out,
			       .err = err_fd,
			       .session = true};
	int rc = env ? 0 : cube_fail_sys(err, ENOMEM, "login shell");

	login_shell(shell, sizeof shell);
	login_argv0(shell, name, sizeof name);
	if (rc == 0) rc = cube_spawn(&s, &l->pid, err);
	if (rc < 0) l->pid = 0;
	free(env);
	return rc;
}

static int start(struct login *l, struct cube_err *err) {
	int out[2] = {-1, -1}, errs[2] = {-1, -1};
	int rc = cube_pipe(out, err);

	if (rc == 0) rc = cube_pipe(errs, err);
	if (rc == 0) rc = spawn_shell(l, out[1], errs[1], err);
	if (out[1] >= 0) close(out[1]);
	if (errs[1] >= 0) close(errs[1]);
	l->fd[0] = out[0];
	l->fd[1] = errs[0];
	if (rc < 0) return rc;
	cube_set_nonblock(l->fd[0], true);
	cube_set_nonblock(l->fd[1], true);
	rc = cube_loop_on_child(l->loop, l->pid, on_child, l, err);
	if (rc == 0) rc = cube_io_add(l->loop, l->fd[0], EPOLLIN, on_out, l, &l->io[0], err);
	if (rc == 0) rc = cube_io_add(l->loop, l->fd[1], EPOLLIN, on_err, l, &l->io[1], err);
	return rc;
}

void login_ask(struct login *l, struct login_wait *w) {
	cube_list_append(&l->waits, &w->entry);
	if (l->pid || cube_timer_armed(l->timer)) return;
	l->said_len = 0;
	cube_buf_init(&l->text, TEXT_MAX + CHUNK);
	cube_id_hex(cube_id_u64(), l->mark);
	if (!l->env && start(l, &l->failed) < 0) stop_asking(l, true);
	cube_timer_after(l->timer, l->pid ? LIMIT_NS : 0);
}

void login_forget(struct login_wait *w) {
	cube_list_remove(&w->entry);
}

char *const *login_environ(const struct login *l) {
	return l->env;
}

struct login *login_new(struct cube_loop *loop, const char *self, const char *home,
			const char *node_cookie) {
	struct login *l = cube_alloc(sizeof *l);

	*l = (struct login){.loop = loop,
			    .self = self,
			    .home = home,
			    .node_cookie = node_cookie,
			    .fd = {-1, -1}};
	cube_list_init(&l->waits);
	cube_buf_init(&l->text, TEXT_MAX + CHUNK);
	l->timer = cube_timer_add(loop, on_timer, l);
	return l;
}

void login_free(struct login *l) {
	if (!l) return;
	stop_asking(l, true);
	cube_timer_del(l->timer);
	free(l->env);
	free(l);
}
