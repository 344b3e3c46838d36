/* Lanes over an ssh connection: see ssh_carrier.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ssh_carrier.h"
#include "ssh_priv.h"

enum { PIECE = 32 * 1024, FLUSH_AT = 64 * 1024 };
static const uint64_t STUCK_NS = CUBE_NS_PER_S, PROBE_NS = 5 * CUBE_NS_PER_S;

struct lane {
	struct cube_list entry;
	struct ssh_carrier *k;
	LIBSSH2_CHANNEL *channel;
	int fd; /* -1: closing, libssh2 waits for the other side */
	struct cube_io *io;
	struct cube_buf up, down; /* read and not yet written */
	bool eof;                 /* of the socket */
};

struct ssh_carrier {
	struct cube_carrier base;
	struct ssh_conn *c;
	const struct cube_carrier_events *events;
	void *arg;
	struct cube_list lanes;
	char *host; /* being opened, or NULL */
	uint16_t port;
	struct cube_timer *timer;
	uint64_t heard; /* c->received when it was asked for a sign of life */
	bool probed;
	bool blocked; /* sockets are not read while so much waits to be sent */
	bool gone;
	char *person;
};

static struct ssh_carrier *carrier_of(const struct cube_carrier *base) {
	return (struct ssh_carrier *)base;
}

/* ---- lanes ------------------------------------------------------------------------------- */

static void on_socket(void *arg, uint32_t events) {
	struct lane *l = arg;
	cube_ssh_kick(l->k->c);
}

static void lane_hang_up(struct lane *l) {
	cube_io_del(l->io);
	l->io = NULL;
	if (l->fd >= 0) close(l->fd);
	l->fd = -1;
}

static void lane_free(struct lane *l) {
	lane_hang_up(l);
	cube_list_remove(&l->entry);
	cube_buf_done(&l->up);
	cube_buf_done(&l->down);
	free(l);
}

/* Without interest the source goes: a socket that was hung up would wake us for ever. */
static void watch(struct lane *l) {
	struct cube_err err;
	bool may_read = !l->eof && !cube_buf_len(&l->up) && !l->k->blocked;
	uint32_t want = (may_read ? EPOLLIN : 0) | (cube_buf_len(&l->down) ? EPOLLOUT : 0);
	if (!want) {
		cube_io_del(l->io);
		l->io = NULL;
	} else if (l->io) {
		cube_io_set(l->io, want);
	} else if (cube_io_add(l->k->c->ssh->loop, l->fd, want, on_socket, l, &l->io, &err) < 0) {
		lane_hang_up(l);
	}
}

/* Bytes to the socket; how many it took, -1 when it is gone. */
static ssize_t put(struct lane *l, const uint8_t *bytes, size_t n) {
	ssize_t rc;
	do rc = send(l->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (rc < 0 && errno == EINTR);
	if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
	return rc;
}

/* From the channel to the socket; false when the lane is over. */
static bool carry_down(struct lane *l) {
	uint8_t *plain = l->k->c->ssh->plain;
	if (cube_buf_len(&l->down)) {
		ssize_t sent = put(l, cube_buf_data(&l->down), cube_buf_len(&l->down));
		if (sent < 0) return false;
		cube_buf_consume(&l->down, (size_t)sent);
	}
	while (!cube_buf_len(&l->down)) {
		ssize_t n = libssh2_channel_read_ex(l->channel, 0, (char *)plain, SSH_PLAIN);
		if (n == LIBSSH2_ERROR_EAGAIN) return true;
		if (n <= 0) return n == 0 && libssh2_channel_eof(l->channel) != 1;
		ssize_t sent = put(l, plain, (size_t)n);
		if (sent < 0) return false;
		if (sent < n && cube_buf_add(&l->down, plain + sent, (size_t)(n - sent)) < 0)
			return false;
	}
	return true;
}

/* What the channel takes of the bytes; less where it has no window. */
static ssize_t to_channel(struct lane *l, const uint8_t *bytes, size_t n) {
	size_t done = 0;
	while (done < n) {
		ssize_t rc = libssh2_channel_write_ex(l->channel, 0, (const char *)bytes + done,
						      n - done);
		if (rc == LIBSSH2_ERROR_EAGAIN || rc == 0) break;
		if (rc < 0) return -1;
		done += (size_t)rc;
	}
	if (cube_buf_len(&l->k->c->out) >= FLUSH_AT) cube_ssh_link_flush(l->k->c);
	return (ssize_t)done;
}

/* From the socket to the channel; false when the lane is over. */
static bool carry_up(struct lane *l) {
	uint8_t *plain = l->k->c->ssh->plain;
	if (cube_buf_len(&l->up)) {
		ssize_t sent = to_channel(l, cube_buf_data(&l->up), cube_buf_len(&l->up));
		if (sent < 0) return false;
		cube_buf_consume(&l->up, (size_t)sent);
	}
	while (!cube_buf_len(&l->up) && !l->eof && cube_buf_len(&l->k->c->out) < SSH_OUT_DATA) {
		ssize_t n = recv(l->fd, plain, PIECE, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
		if (n <= 0) {
			l->eof = true;
			break;
		}
		ssize_t sent = to_channel(l, plain, (size_t)n);
		if (sent < 0) return false;
		if (sent < n && cube_buf_add(&l->up, plain + sent, (size_t)(n - sent)) < 0)
			return false;
	}
	/* Whoever had the socket is gone: what found no window is nobody's any more. */
	return !l->eof;
}

static void lane_pump(struct lane *l) {
	if (l->fd >= 0 && (!carry_down(l) || !carry_up(l))) lane_hang_up(l);
	if (l->fd >= 0) watch(l);
	if (l->fd < 0 && libssh2_channel_free(l->channel) != LIBSSH2_ERROR_EAGAIN) lane_free(l);
}

static int lane_new(struct ssh_carrier *k, LIBSSH2_CHANNEL *channel, int *ret_fd,
		    struct cube_err *err) {
	int fds[2];
	struct lane *l = cube_alloc(sizeof *l);
	l->k = k;
	l->channel = channel;
	l->fd = -1;
	cube_buf_init(&l->up, PIECE);
	cube_buf_init(&l->down, SSH_PLAIN);
	cube_list_append(&k->lanes, &l->entry);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return cube_fail_sys(err, errno, "socketpair");
	l->fd = fds[0];
	*ret_fd = fds[1];
	return 0;
}

/* ---- opening one ------------------------------------------------------------------------- */

static void opening_over(struct ssh_carrier *k) {
	cube_timer_disarm(k->timer);
	free(k->host);
	k->host = NULL;
}

static void refused(struct ssh_carrier *k) {
	struct cube_err err;
	char *text = NULL;
	libssh2_session_last_error(k->c->session, &text, NULL, 0);
	cube_fail(&err, CUBE_ECONNECT, "connecting to %.100s port %u: %.100s", k->host, k->port,
		  text && *text ? text : "refused");
	opening_over(k);
	k->events->opened(k->arg, -1, &err);
}

static void pump_opening(struct ssh_carrier *k) {
	struct cube_err err;
	int fd = -1;
	if (!k->host) return;
	LIBSSH2_CHANNEL *channel =
		libssh2_channel_direct_tcpip_ex(k->c->session, k->host, k->port, "127.0.0.1", 0);
	if (!channel && libssh2_session_last_errno(k->c->session) == LIBSSH2_ERROR_EAGAIN) return;
	if (!channel) {
		refused(k);
		return;
	}
	opening_over(k);
	int rc = lane_new(k, channel, &fd, &err);
	k->events->opened(k->arg, fd, rc < 0 ? &err : NULL);
}

static bool idle(const struct cube_carrier *base) {
	const struct ssh_carrier *k = carrier_of(base);
	return k->c->state == SSH_CARRY && !k->host;
}

static void open_lane(struct cube_carrier *base, const char *host, uint16_t port) {
	struct ssh_carrier *k = carrier_of(base);
	k->host = cube_strdup(host);
	k->port = port;
	k->probed = false;
	cube_timer_after(k->timer, STUCK_NS);
	cube_ssh_kick(k->c);
}

/* A jump host that tries to reach a host says nothing meanwhile; one that is gone neither. */
static void on_timer(void *arg) {
	struct ssh_carrier *k = arg;
	struct cube_err err;
	int next;
	if (k->probed && k->c->received == k->heard) {
		cube_fail(&err, CUBE_ETIMEOUT, "the connection to %s broke: it does not answer",
			  cube_ssh_where(k->c));
		cube_ssh_fail(k->c, &err);
		return;
	}
	bool first = !k->probed;
	k->probed = true;
	k->heard = k->c->received;
	cube_timer_after(k->timer, PROBE_NS);
	libssh2_keepalive_config(k->c->session, 1, 1);
	libssh2_keepalive_send(k->c->session, &next);
	cube_ssh_kick(k->c);
	if (first) k->events->stuck(k->arg);
}

/* ---- the connection ---------------------------------------------------------------------- */

static void pump(void *arg) {
	struct ssh_carrier *k = arg;
	pump_opening(k);
	if (k->gone) return;
	cube_list_each (&k->lanes, l, struct lane, entry) lane_pump(l);
	bool blocked = cube_buf_len(&k->c->out) >= SSH_OUT_DATA;
	if (blocked == k->blocked) return;
	k->blocked = blocked;
	cube_list_each (&k->lanes, l, struct lane, entry)
		if (l->fd >= 0) watch(l);
}

static void flushed(void *arg) {
	struct ssh_carrier *k = arg;
	if (k->blocked && cube_buf_len(&k->c->out) < SSH_OUT_DATA) cube_ssh_kick(k->c);
}

static void on_open(void *arg) {
	struct ssh_carrier *k = arg;
	k->c->state = SSH_CARRY;
	cube_ssh_kick(k->c);
	k->events->ready(k->arg);
}

static void on_fail(void *arg, const struct cube_err *err) {
	struct ssh_carrier *k = arg;
	cube_timer_disarm(k->timer);
	k->events->failed(k->arg, err);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	struct ssh_carrier *k = arg;
	k->events->ask(k->arg, ask);
}

static void on_fact(void *arg, enum cube_transport_fact fact, const char *text) {
	struct ssh_carrier *k = arg;
	bool login = fact == CUBE_FACT_LOGIN &&
		     (!strncmp(text, "password", 8) || !strncmp(text, "keyboard", 8));
	if (k->person || (!login && fact != CUBE_FACT_JUMP)) return;
	k->person = cube_strdup(text);
}

static const char *person(const struct cube_carrier *base) {
	return carrier_of(base)->person;
}

static const struct cube_transport_events EVENTS = {
	.on_open = on_open, .on_fail = on_fail, .on_ask = on_ask, .on_fact = on_fact};

static void answer(struct cube_carrier *base, const char *const *answers) {
	cube_transport_answer(&carrier_of(base)->c->base, answers);
}

/* The session goes first: it frees its channels, and its lanes have none then. */
static void carrier_free(struct cube_carrier *base) {
	struct ssh_carrier *k = carrier_of(base);
	if (k->gone) return;
	k->gone = true;
	struct cube_loop *loop = k->c->ssh->loop;
	cube_transport_free(&k->c->base);
	while (!cube_list_empty(&k->lanes))
		lane_free(cube_container(k->lanes.next, struct lane, entry));
	cube_timer_del(k->timer);
	free(k->host);
	free(k->person);
	cube_loop_defer(loop, free, k);
}

static const struct ssh_rider RIDER = {.pump = pump, .flushed = flushed};
static const struct cube_carrier_ops OPS = {
	.idle = idle, .open = open_lane, .answer = answer, .person = person, .free = carrier_free};

int cube_ssh_carrier_new(struct cube_ssh *ssh, const struct cube_target *target,
			 struct cube_jump_group *from, const struct cube_carrier_events *events,
			 void *arg, struct cube_carrier **ret, struct cube_err *err) {
	struct cube_transport *t;
	struct ssh_carrier *k = cube_alloc(sizeof *k);
	int rc = cube_transport_ssh(ssh, target, &EVENTS, k, &t, err);
	if (rc < 0) {
		free(k);
		return rc;
	}
	k->base.ops = &OPS;
	k->c = (struct ssh_conn *)t;
	k->c->rider = &RIDER;
	k->c->rider_arg = k;
	k->c->jumps_from = from;
	k->events = events;
	k->arg = arg;
	cube_list_init(&k->lanes);
	k->timer = cube_timer_add(ssh->loop, on_timer, k);
	*ret = &k->base;
	return 0;
}
