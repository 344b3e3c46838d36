/* Proxy processes: see proxy.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/spawn.h"
#include "cube/text.h"
#include "cube/hangup.h"
#include "proxy.h"
#include "cube/ssh_says.h"

enum { SAYS_MAX = 4096, LINE_MAX_SHOWN = 120, COMMAND_MAX = 64 * 1024 };

struct cube_proxy {
	struct cube_loop *loop;
	struct cube_list *dying;
	pid_t pid;  /* 0 when reaped */
	int err_fd; /* its stderr; read only when somebody wants to know */
	char text[SAYS_MAX];
	size_t len;
	struct cube_buf line;
};

/* ---- command lines ----------------------------------------------------------------------- */

static int expand_one(struct cube_buf *out, char what, const struct cube_proxy_spec *spec) {
	const struct cube_ssh_config *c = spec->config;
	switch (what) {
	case 'h': return cube_buf_addstr(out, c->hostname);
	case 'p': return cube_buf_printf(out, "%u", c->port);
	case 'r': return cube_buf_addstr(out, c->user);
	case 'n': return cube_buf_addstr(out, spec->host);
	case 'k': return cube_buf_addstr(out, c->hostkeyalias ? c->hostkeyalias : spec->host);
	case '%': return cube_buf_addstr(out, "%");
	default: return cube_buf_printf(out, "%%%c", what);
	}
}

char *cube_proxy_expand(const char *command, const struct cube_proxy_spec *spec) {
	struct cube_buf out;
	int rc = 0;
	cube_buf_init(&out, COMMAND_MAX);
	for (const char *p = command; *p && rc == 0; p++) {
		if (*p == '%' && p[1]) rc = expand_one(&out, *++p, spec);
		else rc = cube_buf_add(&out, p, 1);
	}
	char *text = rc == 0 ? cube_buf_take(&out, NULL) : NULL;
	cube_buf_done(&out);
	return text ? text : cube_strdup("");
}

static void proxy_argv(const struct cube_proxy_spec *spec, struct cube_strv *argv) {
	cube_autofree char *command =
		cube_proxy_expand(spec->command ? spec->command : spec->config->proxycommand, spec);
	cube_autofree char *line = cube_strf("exec %s", command);
	cube_strv_add(argv, "/bin/sh");
	cube_strv_add(argv, "-c");
	cube_strv_add(argv, line);
}

/* ---- the process ------------------------------------------------------------------------- */

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct cube_proxy *p = arg;
	p->pid = 0; /* the socket's end of file says the rest */
}

static int spawn(struct cube_proxy *p, const struct cube_proxy_spec *spec, int sock, int errfd,
		 struct cube_err *err) {
	struct cube_strv argv = {0};
	proxy_argv(spec, &argv);
	struct cube_spawn s = {.argv = (const char *const *)cube_strv_argv(&argv),
			       .in = sock,
			       .out = sock,
			       .err = errfd,
			       .session = true,
			       .mortal = true};
	int rc = cube_spawn(&s, &p->pid, err);
	cube_strv_done(&argv);
	if (rc == 0) rc = cube_loop_on_child(p->loop, p->pid, on_child, p, err);
	return rc;
}

int cube_proxy_start(struct cube_loop *loop, const struct cube_proxy_spec *spec,
		     struct cube_proxy **ret, int *ret_fd, struct cube_err *err) {
	int sock[2], errs[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return cube_fail_sys(err, errno, "socketpair");
	int rc = cube_pipe(errs, err);
	if (rc < 0) {
		close(sock[0]);
		close(sock[1]);
		return rc;
	}
	struct cube_proxy *p = cube_alloc(sizeof *p);
	p->loop = loop;
	p->dying = spec->dying;
	p->err_fd = errs[0];
	cube_buf_init(&p->line, 4 * SAYS_MAX);
	cube_set_nonblock(sock[0], true);
	cube_set_nonblock(errs[0], true);
	/* A proxy that complains for ever is not held up: the pipe is its own to fill. */
	cube_set_nonblock(errs[1], true);
	rc = spawn(p, spec, sock[1], errs[1], err);
	close(sock[1]);
	close(errs[1]);
	if (rc < 0) {
		close(sock[0]);
		cube_proxy_free(p);
		return rc;
	}
	*ret = p;
	*ret_fd = sock[0];
	return 0;
}

void cube_proxy_free(struct cube_proxy *p) {
	if (!p) return;
	if (p->pid) cube_hang_up(p->loop, p->dying, p->pid);
	close(p->err_fd);
	cube_buf_done(&p->line);
	free(p);
}

/* Keeps the tail: the last line tells most. */
static void read_says(struct cube_proxy *p) {
	for (;;) {
		if (p->len == sizeof p->text) {
			memmove(p->text, p->text + SAYS_MAX / 2, SAYS_MAX / 2);
			p->len = SAYS_MAX / 2;
		}
		ssize_t n = read(p->err_fd, p->text + p->len, sizeof p->text - p->len);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return;
		p->len += (size_t)n;
	}
}

const char *cube_proxy_says(struct cube_proxy *p) {
	read_says(p);
	size_t end = p->len;
	while (end && strchr("\r\n ", p->text[end - 1])) end--;
	size_t start = end;
	while (start && p->text[start - 1] != '\n') start--;
	if (start == end) return NULL;
	const char *text = p->text + start;
	size_t n = end - start;
	cube_ssh_says_untag(&text, &n);
	if (n > LINE_MAX_SHOWN) n = LINE_MAX_SHOWN;
	cube_buf_clear(&p->line);
	if (cube_text_escape(&p->line, text, n) < 0) return NULL;
	return cube_buf_str(&p->line);
}
