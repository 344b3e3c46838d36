/* Connecting: see dial.h. Addresses are tried in turn; each gets an equal share of the time that
 * is left, so that one that swallows packets does not cost the others their chance. A place at the
 * limiter is held from the connect on until the login went well or the dial is freed. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/hop.h"
#include "cube/clock.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "dial.h"
#include "jump.h"
#include "limit.h"
#include "proxy.h"
#include "resolve.h"
#include "ssh_shared.h"
#include "cube/route.h"

static const uint64_t NAME_PAUSE_NS = CUBE_NS_PER_S / 4;

struct cube_dial {
	struct cube_ssh *ssh;
	struct cube_jump_group *from;
	const struct cube_ssh_config *config;
	const struct cube_dial_events *events;
	void *arg;
	char *host, *file;
	char *jump_list; /* ProxyJump with its tokens replaced, or NULL */
	const uint64_t *deadline;
	struct cube_ticket target, bastion; /* entered in this order */
	void (*then)(struct cube_dial *d);  /* when the place that is waited for is there */
	struct cube_resolve *question;
	unsigned asked; /* questions that got no answer */
	struct cube_addrs addrs;
	unsigned next; /* address to be tried */
	int fd;
	struct cube_io *io;
	struct cube_timer *timer;
	struct cube_proxy *proxy;
	struct cube_jump *way;    /* through jump hosts */
	struct cube_route *route; /* the ssh program's through them .. */
	char *jump_command;       /* .. as a proxy command */
	bool strict, ask, old_jumps;
	uint64_t timeout_ns;
	struct cube_err last; /* of the newest failed address */
	char where[160];
	bool gone;
};

const char *cube_dial_where(const struct cube_dial *d) {
	return d->where;
}

const char *cube_dial_proxy_says(struct cube_dial *d) {
	if (d->proxy) return cube_proxy_says(d->proxy);
	return d->way ? cube_jump_says(d->way) : NULL;
}

const char *cube_dial_person(const struct cube_dial *d) {
	return d->way ? cube_jump_person(d->way) : NULL;
}

static void hang_up(struct cube_dial *d) {
	cube_limit_leave(&d->bastion, CUBE_LIMIT_DONE);
	cube_limit_leave(&d->target, CUBE_LIMIT_DONE);
	cube_io_del(d->io);
	d->io = NULL;
	cube_timer_disarm(d->timer);
	if (d->fd >= 0) close(d->fd);
	d->fd = -1;
}

static void fail(struct cube_dial *d, const struct cube_err *err) {
	struct cube_err copy = *err;
	hang_up(d);
	d->events->failed(d->arg, &copy);
}

/* ---- waiting for one's turn -------------------------------------------------------------- */

static void on_place(void *arg) {
	struct cube_dial *d = arg;
	d->events->waits(d->arg, false);
	if (!d->gone) d->then(d);
}

static void in_turn(struct cube_dial *d, struct cube_ticket *ticket, const char *endpoint,
		    void (*then)(struct cube_dial *d)) {
	d->then = then;
	if (cube_limit_enter(d->ssh->limit, ticket, endpoint, on_place, d)) then(d);
	else d->events->waits(d->arg, true);
}

void cube_dial_greeted(struct cube_dial *d) {
	cube_limit_leave(&d->bastion, CUBE_LIMIT_LOGIN);
}

void cube_dial_logged_in(struct cube_dial *d) {
	cube_limit_leave(&d->bastion, CUBE_LIMIT_LOGIN);
	cube_limit_leave(&d->target, CUBE_LIMIT_LOGIN);
}

void cube_dial_dropped(struct cube_dial *d) {
	/* Through a proxy: by whom of the two is not known. */
	cube_limit_leave(&d->bastion, CUBE_LIMIT_DROPPED);
	cube_limit_leave(&d->target, CUBE_LIMIT_DROPPED);
}

/* ---- TCP --------------------------------------------------------------------------------- */

static void try_next(struct cube_dial *d);

static void connected(struct cube_dial *d) {
	int fd = d->fd, on = 1;
	cube_io_del(d->io);
	d->io = NULL;
	d->fd = -1;
	cube_timer_disarm(d->timer);
	/* Small frames must not wait for an ACK; a vanished peer must be noticed at last. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	d->events->connected(d->arg, fd);
}

static void address_failed(struct cube_dial *d, int code, const char *why) {
	cube_fail(&d->last, code, "connecting to %s: %s", d->where, why);
	hang_up(d);
	try_next(d);
}

static void on_connect(void *arg, uint32_t events) {
	struct cube_dial *d = arg;
	int sys = 0;
	socklen_t len = sizeof sys;
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &sys, &len) < 0) sys = errno;
	if (sys) address_failed(d, CUBE_ECONNECT, strerror(sys));
	else connected(d);
}

static void ask_name(struct cube_dial *d);

static void on_timer(void *arg) {
	struct cube_dial *d = arg;
	if (d->addrs.len) address_failed(d, CUBE_ETIMEOUT, "no answer");
	else ask_name(d);
}

static int begin_connect(struct cube_dial *d, const struct cube_addr *addr) {
	d->fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0) return errno;
	int rc;
	do rc = connect(d->fd, (const struct sockaddr *)&addr->sa, addr->len);
	while (rc < 0 && errno == EINTR);
	return rc < 0 && errno != EINPROGRESS ? errno : 0;
}

/* The last address may use up the caller's deadline, which is the caller's to watch. */
static void share_time(struct cube_dial *d) {
	uint64_t now = cube_loop_now(d->ssh->loop);
	unsigned left = d->addrs.len - d->next;
	if (!left || *d->deadline <= now) return;
	cube_timer_after(d->timer, (*d->deadline - now) / (left + 1));
}

static void connect_now(struct cube_dial *d) {
	struct cube_err err;
	int sys = begin_connect(d, &d->addrs.v[d->next++]);
	if (!sys && cube_io_add(d->ssh->loop, d->fd, EPOLLOUT, on_connect, d, &d->io, &err) == 0) {
		share_time(d);
		return;
	}
	address_failed(d, CUBE_ECONNECT, sys ? strerror(sys) : err.msg);
}

static void try_next(struct cube_dial *d) {
	char text[64];
	if (d->next == d->addrs.len) {
		fail(d, &d->last);
		return;
	}
	snprintf(d->where, sizeof d->where, "%s port %u",
		 cube_addr_text(&d->addrs.v[d->next], text, sizeof text), d->config->port);
	in_turn(d, &d->target, d->where, connect_now);
}

/* ---- names ------------------------------------------------------------------------------- */

/* A resolver that is not there yet, as after a laptop's sleep, is asked again while there is
 * time. */
static bool ask_later(struct cube_dial *d, struct cube_err *err) {
	uint64_t now = cube_loop_now(d->ssh->loop);
	uint64_t pause = NAME_PAUSE_NS << (d->asked < 4 ? d->asked : 4);
	d->asked++;
	pause = pause / 2 + cube_id_u64() % pause;
	if (err->sys == EAGAIN && now + pause < *d->deadline) {
		cube_timer_after(d->timer, pause);
		return true;
	}
	if (d->asked > 1) cube_wrap(err, "asked %u times", d->asked);
	return false;
}

/* AddressFamily: the others do not count. */
static bool keep_family(struct cube_dial *d) {
	unsigned n = 0;
	int family = d->config->family;
	for (unsigned i = 0; i < d->addrs.len; i++)
		if (!family || d->addrs.v[i].sa.ss_family == family)
			d->addrs.v[n++] = d->addrs.v[i];
	d->addrs.len = n;
	if (!n)
		cube_fail(&d->last, CUBE_ECONNECT, "%.80s has no address of AddressFamily %s",
			  d->config->hostname, family == AF_INET ? "inet" : "inet6");
	return n > 0;
}

static void on_resolved(void *arg, const struct cube_addrs *addrs, const struct cube_err *err) {
	struct cube_dial *d = arg;
	d->question = NULL;
	if (err) {
		struct cube_err copy = *err;
		if (!ask_later(d, &copy)) fail(d, &copy);
		return;
	}
	d->addrs = *addrs;
	if (!keep_family(d)) {
		fail(d, &d->last);
		return;
	}
	d->events->step(d->arg, CUBE_STEP_CONNECT);
	if (!d->gone) try_next(d);
}

static void ask_name(struct cube_dial *d) {
	struct cube_err err;
	if (cube_resolve_start(d->ssh->resolver, d->config->hostname, d->config->port, on_resolved,
			       d, &d->question, &err) < 0)
		fail(d, &err);
}

static void resolve(struct cube_dial *d) {
	if (cube_resolve_numeric(d->config->hostname, d->config->port, &d->addrs)) {
		d->events->step(d->arg, CUBE_STEP_CONNECT);
		if (d->gone) return;
		if (keep_family(d)) try_next(d);
		else fail(d, &d->last);
		return;
	}
	d->addrs.len = 0;
	d->events->step(d->arg, CUBE_STEP_RESOLVE);
	if (d->gone) return;
	snprintf(d->where, sizeof d->where, "%.100s port %u", d->config->hostname, d->config->port);
	ask_name(d);
}

/* ---- a proxy ----------------------------------------------------------------------------- */

static void start_proxy(struct cube_dial *d) {
	struct cube_err err;
	int fd;
	struct cube_proxy_spec spec = {.host = d->host,
				       .command = d->jump_command,
				       .config = d->config,
				       .dying = &d->ssh->dying};
	if (cube_proxy_start(d->ssh->loop, &spec, &d->proxy, &fd, &err) < 0) {
		cube_wrap(&err, "connecting to %s", d->where);
		fail(d, &err);
		return;
	}
	d->events->connected(d->arg, fd);
}

static void enter_bastion(struct cube_dial *d) {
	cube_autofree char *endpoint =
		cube_strf("jump %s\n%s", d->jump_list, d->file ? d->file : "");
	in_turn(d, &d->bastion, endpoint, start_proxy);
}

/* ---- jump hosts -------------------------------------------------------------------------- */

static void on_way(void *arg, int fd) {
	struct cube_dial *d = arg;
	d->events->connected(d->arg, fd);
}

static void on_route(void *arg, const char *command, const struct cube_err *err) {
	struct cube_dial *d = arg;
	d->route = NULL;
	if (err) {
		fail(d, err);
		return;
	}
	d->jump_command = cube_strdup(command);
	enter_bastion(d);
}

/* Nobody is there to answer questions of that ssh. */
static void find_route(struct cube_dial *d) {
	struct cube_route_spec spec = {
		.jumps = d->jump_list,
		.file = d->file,
		.strict = d->strict,
		.timeout_s = (unsigned)((d->timeout_ns + CUBE_NS_PER_S - 1) / CUBE_NS_PER_S)};
	d->route = cube_route_find(d->ssh->loop, d->ssh->configs, &spec, on_route, d);
}

static void on_no_way(void *arg, const struct cube_err *err) {
	struct cube_dial *d = arg;
	if (err->code == CUBE_ELIBRARY) {
		d->events->waits(d->arg, false);
		if (!d->gone) find_route(d);
	} else {
		fail(d, err);
	}
}

static void on_way_waits(void *arg, bool on) {
	struct cube_dial *d = arg;
	d->events->waits(d->arg, on);
}

static void on_way_asks(void *arg, const struct cube_ask *ask) {
	struct cube_dial *d = arg;
	d->events->asks(d->arg, ask);
}

void cube_dial_answer(struct cube_dial *d, const char *const *answers) {
	if (d->way) cube_jump_answer(d->way, answers);
}

static const struct cube_jump_events JUMP_EVENTS = {
	.connected = on_way, .failed = on_no_way, .waits = on_way_waits, .asks = on_way_asks};

static void find_way(struct cube_dial *d) {
	struct cube_jump_spec spec = {.jumps = d->jump_list,
				      .file = d->file,
				      .host = d->config->hostname,
				      .port = d->config->port,
				      .strict = d->strict,
				      .ask = d->ask,
				      .old_only = d->old_jumps,
				      .timeout_ns = d->timeout_ns,
				      .from = d->from};
	d->way = cube_jump_start(d->ssh->jumps, &spec, &JUMP_EVENTS, d);
}

static void through_jump(struct cube_dial *d) {
	cube_autofree char *endpoint =
		cube_strf("%s port %u\n%s\n%s", d->config->hostname, d->config->port, d->jump_list,
			  d->file ? d->file : "");
	in_turn(d, &d->target, endpoint, find_way);
}

static void through_proxy(struct cube_dial *d, bool jump) {
	snprintf(d->where, sizeof d->where, "%.100s through its %s", d->config->hostname,
		 jump ? "jump host" : "proxy command");
	d->events->step(d->arg, CUBE_STEP_CONNECT);
	if (d->gone) return;
	/* What the command reaches is its secret: the command itself counts as one endpoint. */
	if (jump) through_jump(d);
	else in_turn(d, &d->target, d->config->proxycommand, start_proxy);
}

static void begin(void *arg) {
	struct cube_dial *d = arg;
	if (d->gone) return;
	struct cube_proxy_spec spec = {.host = d->host, .config = d->config};
	if (d->config->proxyjump) d->jump_list = cube_proxy_expand(d->config->proxyjump, &spec);
	bool jump = d->jump_list && !cube_jump_to_itself(d->jump_list, d->host, d->config);
	if (jump || d->config->proxycommand) through_proxy(d, jump);
	else resolve(d);
}

struct cube_dial *cube_dial_start(struct cube_ssh *ssh, const struct cube_dial_spec *spec,
				  const struct cube_dial_events *events, void *arg) {
	struct cube_dial *d = cube_alloc(sizeof *d);
	d->ssh = ssh;
	d->from = spec->from;
	d->strict = spec->strict;
	d->ask = spec->ask;
	d->old_jumps = spec->old_jumps;
	d->timeout_ns = spec->timeout_ns;
	d->config = spec->config;
	d->events = events;
	d->arg = arg;
	d->host = cube_strdup(spec->host);
	d->file = cube_strdup(spec->file);
	d->deadline = spec->deadline;
	d->fd = -1;
	d->timer = cube_timer_add(ssh->loop, on_timer, d);
	snprintf(d->where, sizeof d->where, "%.100s port %u", d->config->hostname, d->config->port);
	cube_loop_defer(ssh->loop, begin, d);
	return d;
}

static void destroy(void *arg) {
	struct cube_dial *d = arg;
	free(d->host);
	free(d->file);
	free(d->jump_list);
	free(d->jump_command);
	free(d);
}

void cube_dial_free(struct cube_dial *d) {
	if (!d || d->gone) return;
	d->gone = true;
	hang_up(d);
	cube_resolve_cancel(d->question);
	cube_proxy_free(d->proxy);
	cube_jump_free(d->way);
	cube_route_cancel(d->route);
	cube_timer_del(d->timer);
	cube_loop_defer(d->ssh->loop, destroy, d);
}
