#include "forward.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/mem.h"
#include "signals.h"
#include "sink.h"
#include "stream.h"

#define WINDOW    (1u << 20)
#define LISTENERS 64
#define TRY_MS    100 /* between two tries for those that wait */

struct conn {
	struct cube_list entry;
	const struct cube_forward *forward;
	struct cube_rstream *stream; /* NULL: its node is waited for */
	uint64_t began;
	struct cube_sink out; /* the local socket */
	struct cube_buf said; /* the stream's stderr */
	int sock;
	bool in_eof, out_eof, shut;
};

struct relay {
	struct cube_cli *cli;
	struct cube_signals signals;
	struct {
		int fd;
		const struct cube_forward *forward;
	} listeners[LISTENERS];
	size_t nlisteners, nconns;
	struct cube_list conns;
	struct pollfd *polls;
	uint8_t *frame;
	uint64_t tried; /* when those that wait were last tried */
};

/* ---- connections ---- */

static void conn_free(struct relay *r, struct conn *c) {
	cube_list_remove(&c->entry);
	r->nconns--;
	cube_rstream_free(c->stream);
	cube_sink_close(&c->out);
	cube_buf_done(&c->said);
	close(c->sock);
	free(c);
}

static void tell(const struct conn *c, const char *why) {
	cube_cli_say("%s: %s", c->forward->node, why);
}

/* The far half is over: so is ours, once everything is out. */
static void shut_out(struct conn *c) {
	if (!c->out_eof || c->shut || cube_sink_fd(&c->out) >= 0) return;
	c->shut = true;
	shutdown(c->sock, SHUT_WR);
}

static int on_data(void *arg, int fd, const uint8_t *bytes, size_t n, struct cube_err *err) {
	struct conn *c = arg;
	size_t room = cube_buf_room(&c->said);
	if (fd == 2) {
		cube_buf_add(&c->said, bytes, n < room ? n : room);
		cube_rstream_grant(c->stream, fd, n);
		return 0;
	}
	if (!n) c->out_eof = true;
	else cube_rstream_grant(c->stream, fd, cube_sink_put(&c->out, bytes, n));
	shut_out(c);
	return 0;
}

/* False: it is to be tried again. One that cannot be is told, and freed. */
static bool conn_try(struct relay *r, struct conn *c) {
	static const struct cube_rstream_ops ops = {on_data};
	const struct cube_forward *f = c->forward;
	const char *const argv[] = {"connect", f->host, f->port, NULL};
	struct cube_rstream_open open = {
		.node = f->node, .argv = argv, .flags = CUBE_OPEN_OWN, .window = WINDOW};
	struct cube_err err;
	int rc = cube_rstream_try(r->cli, &open, &ops, c, c->began, &c->stream, &err);
	if (rc == CUBE_AGAIN) return false;
	if (rc) {
		tell(c, err.msg);
		conn_free(r, c);
	}
	return true;
}

/* Those that wait: of each node's in a row only the first asks for the others. */
static void try_waiting(struct relay *r) {
	const char *away = NULL;
	r->tried = cube_clock_mono();
	cube_list_each (&r->conns, c, struct conn, entry) {
		const char *node = c->forward->node;
		if (c->stream || (away && strcmp(away, node) == 0)) continue;
		if (!conn_try(r, c)) away = node;
	}
}

static bool any_waits(const struct relay *r) {
	cube_list_each (&r->conns, c, struct conn, entry)
		if (!c->stream) return true;
	return false;
}

static void conn_open(struct relay *r, const struct cube_forward *f, int sock) {
	struct conn *c = cube_alloc(sizeof *c);
	int on = 1;
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	*c = (struct conn){.forward = f, .sock = sock, .began = cube_clock_mono()};
	cube_sink_open(&c->out, sock, 2 * WINDOW);
	cube_buf_init(&c->said, 400);
	cube_list_append(&r->conns, &c->entry);
	r->nconns++;
	conn_try(r, c);
}

static void accept_all(struct relay *r, size_t i) {
	int fd;
	while ((fd = accept4(r->listeners[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		conn_open(r, r->listeners[i].forward, fd);
}

/* The stream has ended. */
static void conn_end(struct relay *r, struct conn *c) {
	struct cube_rstream_outcome end = cube_rstream_result(c->stream);
	size_t n = cube_buf_len(&c->said);
	const char *said = cube_buf_str(&c->said);
	cube_autofree char *line = cube_strndup(said, strcspn(said, "\n"));
	if (end.how != CUBE_EXIT_EXITED) tell(c, *end.message ? end.message : "the link broke");
	else if (n) tell(c, line);
	conn_free(r, c);
}

static bool is_over(const struct conn *c) {
	return cube_rstream_closed(c->stream) && cube_sink_fd(&c->out) < 0;
}

static void read_local(struct relay *r, struct conn *c) {
	size_t room = cube_rstream_room(c->stream);
	ssize_t n = room ? recv(c->sock, r->frame + CUBE_RSTREAM_HEAD, room, MSG_DONTWAIT) : -1;
	if (n < 0 && (!room || errno == EAGAIN || errno == EINTR)) return;
	if (n > 0) {
		cube_rstream_send(c->stream, r->frame, (size_t)n);
		return;
	}
	c->in_eof = true;
	cube_rstream_end(c->stream);
}

/* ---- the loop ---- */

static struct pollfd local_interest(const struct conn *c) {
	struct pollfd p = {.fd = -1};
	if (!c->stream) return p;
	if (!c->in_eof && cube_rstream_room(c->stream)) p.events |= POLLIN;
	if (cube_sink_fd(&c->out) >= 0) p.events |= POLLOUT;
	if (p.events) p.fd = c->sock;
	return p;
}

static void conn_step(struct relay *r, struct conn *c, const struct pollfd p[2]) {
	struct cube_err err;
	int rc = 0;
	if (!c->stream) return;
	if (p[1].revents & (POLLOUT | POLLERR)) {
		cube_rstream_grant(c->stream, 1, cube_sink_flush(&c->out));
		shut_out(c);
	}
	if (p[0].revents) rc = cube_rstream_step(c->stream, &err);
	if (p[1].revents & (POLLIN | POLLERR | POLLHUP)) read_local(r, c);
	if (rc) {
		tell(c, err.msg);
		conn_free(r, c);
	} else if (c->out.sys) conn_free(r, c); /* the local side is gone */
	else if (is_over(c)) conn_end(r, c);
}

static struct pollfd stream_interest(const struct conn *c) {
	if (!c->stream || cube_rstream_closed(c->stream)) return (struct pollfd){.fd = -1};
	return (struct pollfd){cube_rstream_fd(c->stream), cube_rstream_events(c->stream), 0};
}

/* How many there are. */
static size_t gather(struct relay *r) {
	size_t n = 0, most = 1 + r->nlisteners + 2 * r->nconns;
	r->polls = cube_realloc_array(r->polls, most, sizeof *r->polls);
	r->polls[n++] = (struct pollfd){r->signals.fd, POLLIN, 0};
	for (size_t i = 0; i < r->nlisteners; i++)
		r->polls[n++] = (struct pollfd){r->listeners[i].fd, POLLIN, 0};
	cube_list_each (&r->conns, c, struct conn, entry) {
		r->polls[n++] = stream_interest(c);
		r->polls[n++] = local_interest(c);
	}
	return n;
}

/* 0, or the signal that ends it. */
static int turn(struct relay *r) {
	size_t conns = r->nconns, n = gather(r);
	bool waits = any_waits(r);
	if (poll(r->polls, n, waits ? TRY_MS : -1) < 0) return 0;
	if (r->polls[0].revents) return cube_signals_next(&r->signals);
	n = 1 + r->nlisteners;
	cube_list_each (&r->conns, c, struct conn, entry) {
		if (!conns--) break;
		conn_step(r, c, r->polls + n);
		n += 2;
	}
	if (waits && cube_clock_mono() - r->tried >= TRY_MS * CUBE_NS_PER_MS) try_waiting(r);
	for (size_t i = 0; i < r->nlisteners; i++)
		if (r->polls[1 + i].revents) accept_all(r, i);
	return 0;
}

/* ---- listening ---- */

static int listen_on(const struct addrinfo *a) {
	int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 128) == 0) return fd;
	int sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

static void print_listener(const struct cube_forward *f, int fd) {
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;
	char host[NI_MAXHOST], port[NI_MAXSERV];
	getsockname(fd, (struct sockaddr *)&sa, &len);
	if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	printf(sa.ss_family == AF_INET6 ? "[%s]:%s -> %s %s:%s\n" : "%s:%s -> %s %s:%s\n", host,
	       port, f->node, f->host, f->port);
	fflush(stdout);
}

static int listen_for(struct relay *r, const struct cube_forward *f, struct cube_err *err) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
	int rc = getaddrinfo(*f->bind ? f->bind : NULL, f->local, &hints, &list), sys = 0;
	size_t before = r->nlisteners;
	if (rc) return cube_fail(err, CUBE_EUSAGE, "%.80s: %s", f->bind, gai_strerror(rc));
	for (const struct addrinfo *a = list; a && r->nlisteners < LISTENERS; a = a->ai_next) {
		int fd = listen_on(a);
		if (fd < 0) {
			sys = errno;
			continue;
		}
		r->listeners[r->nlisteners].fd = fd;
		r->listeners[r->nlisteners++].forward = f;
		print_listener(f, fd);
		if (strcmp(f->local, "0") == 0) break; /* another one would have another number */
	}
	freeaddrinfo(list);
	if (r->nlisteners > before) return 0;
	return cube_fail_sys(err, sys ? sys : EMFILE, "cannot listen on %.80s port %s", f->bind,
			     f->local);
}

int cube_forward_run(struct cube_cli *cli, const struct cube_forward *list, size_t n,
		     struct cube_err *err) {
	static const int caught[] = {SIGINT, SIGTERM, SIGHUP, 0};
	struct relay r = {.cli = cli};
	int rc = 0, signo = 0;
	cube_list_init(&r.conns);
	r.frame = cube_alloc(CUBE_RSTREAM_HEAD + CUBE_DATA_MAX);
	cube_signals_open(&r.signals, caught);
	for (size_t i = 0; !rc && i < n; i++) rc = listen_for(&r, &list[i], err);
	while (!rc && !signo) signo = turn(&r);
	cube_list_each (&r.conns, c, struct conn, entry) conn_free(&r, c);
	for (size_t i = 0; i < r.nlisteners; i++) close(r.listeners[i].fd);
	cube_signals_close(&r.signals);
	free(r.polls);
	free(r.frame);
	if (rc) return rc;
	cube_fail(err, CUBE_ECANCELED, "ended by a signal");
	if (err) err->sys = signo;
	return CUBE_ECANCELED;
}
