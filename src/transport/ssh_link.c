/* Bytes between the socket and libssh2: see ssh_priv.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/text.h"
#include "ssh_priv.h"

static void on_io(void *arg, uint32_t events);

/* ---- what libssh2 calls ------------------------------------------------------------------ */

static ssize_t take(uint8_t *to, size_t n, const uint8_t *from, size_t have) {
	if (n > have) n = have;
	memcpy(to, from, n);
	return (ssize_t)n;
}

static LIBSSH2_RECV_FUNC(feed_session) {
	struct ssh_conn *c = *abstract;
	ssize_t n;
	if (c->fd < 0) return -ECONNRESET; /* being freed */
	if (c->hold || cube_buf_len(&c->out) > SSH_OUT_STOP) return -EAGAIN;
	if (cube_buf_len(&c->in)) {
		n = take(buffer, length, cube_buf_data(&c->in), cube_buf_len(&c->in));
		cube_buf_consume(&c->in, (size_t)n);
		return n;
	}
	if (!c->fed_len) return -EAGAIN;
	n = take(buffer, length, c->fed, c->fed_len);
	c->fed += n;
	c->fed_len -= (size_t)n;
	return n;
}

static LIBSSH2_SEND_FUNC(collect) {
	struct ssh_conn *c = *abstract;
	if (c->fd < 0) return (ssize_t)length;
	if (length > cube_buf_room(&c->out)) return -EAGAIN;
	c->collected += length;
	return cube_buf_add(&c->out, buffer, length) == 0 ? (ssize_t)length : -ENOMEM;
}

static LIBSSH2_DISCONNECT_FUNC(note_bye) {
	struct ssh_conn *c = *abstract;
	struct cube_buf safe;
	cube_buf_init(&safe, 1024);
	if (message_len > 0 && message_len < 200)
		cube_text_escape(&safe, message, (size_t)message_len);
	snprintf(c->bye, sizeof c->bye, "%s", cube_buf_str(&safe));
	cube_buf_done(&safe);
}

static void set_callback(LIBSSH2_SESSION *s, int which, void (*fn)(void)) {
#if LIBSSH2_VERSION_NUM >= 0x010b01
	libssh2_session_callback_set2(s, which, fn);
#else
	libssh2_session_callback_set(s, which, (void *)fn);
#endif
}

int cube_ssh_link_start(struct ssh_conn *c, int fd, struct cube_err *err) {
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;
	c->fd = fd;
	c->tcp = getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family != AF_UNIX;
	c->session = cube_ssh_session_new(c);
	if (!c->session) return cube_fail(err, CUBE_ESYS, "no memory for an ssh session");
	libssh2_session_set_blocking(c->session, 0);
	set_callback(c->session, LIBSSH2_CALLBACK_RECV, (void (*)(void))feed_session);
	set_callback(c->session, LIBSSH2_CALLBACK_SEND, (void (*)(void))collect);
	set_callback(c->session, LIBSSH2_CALLBACK_DISCONNECT, (void (*)(void))note_bye);
	return cube_io_add(c->ssh->loop, fd, EPOLLIN, on_io, c, &c->io, err);
}

/* Says goodbye if the socket takes it at once. */
void cube_ssh_link_stop(struct ssh_conn *c) {
	cube_io_del(c->io);
	c->io = NULL;
	if (c->session && c->fd >= 0 && c->state >= SSH_IDLE && c->state < SSH_FAILED) {
		libssh2_session_disconnect(c->session, "cube is done");
		cube_ssh_link_flush(c);
	}
	if (c->fd >= 0) close(c->fd);
	c->fd = -1;
	cube_ssh_session_free(c);
}

/* ---- sending ----------------------------------------------------------------------------- */

void cube_ssh_link_flush(struct ssh_conn *c) {
	while (cube_buf_len(&c->out)) {
		ssize_t n = send(c->fd, cube_buf_data(&c->out), cube_buf_len(&c->out),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
		if (n < 0) {
			/* What the peer said before it hung up is still to be read. */
			c->link_sys = errno;
			cube_buf_clear(&c->out);
			return;
		}
		cube_buf_consume(&c->out, (size_t)n);
	}
	cube_buf_clear(&c->out);
}

/* ---- receiving --------------------------------------------------------------------------- */

static void note_hello(struct ssh_conn *c, size_t n) {
	size_t have = strlen(c->hello), room = sizeof c->hello - 1 - have;
	if (c->state != SSH_KEX || !room) return;
	for (size_t i = 0; i < n && room && c->fed[i]; i++, room--)
		c->hello[have++] = (char)c->fed[i];
	c->hello[have] = '\0';
}

static void receive(struct ssh_conn *c) {
	int on = 1;
	ssize_t n;
	do n = recv(c->fd, c->ssh->feed, SSH_FEED, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
	if (n <= 0) {
		if (n < 0) c->link_sys = errno;
		c->link_eof = true;
		return;
	}
	/* Not sticky: without it each small reply waits 40 ms for our delayed ACK. */
	if (c->tcp) setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
	c->fed = c->ssh->feed;
	c->fed_len = (size_t)n;
	if (!c->received) cube_dial_greeted(c->dial);
	c->received += (uint64_t)n;
	note_hello(c, (size_t)n);
}

/* A consumer that takes nothing stops the socket; a peer that reads nothing stops us. */
static bool may_receive(const struct ssh_conn *c) {
	if (c->link_eof || cube_buf_len(&c->in) >= SSH_FEED || cube_buf_len(&c->out) > SSH_OUT_STOP)
		return false;
	return c->state != SSH_RUN || cube_outlet_room(&c->outlet);
}

/* Without interest the source goes: a peer that hung up would wake us for ever. */
void cube_ssh_link_refresh(struct ssh_conn *c) {
	struct cube_err err;
	uint32_t want = (may_receive(c) ? EPOLLIN : 0) | (cube_buf_len(&c->out) ? EPOLLOUT : 0);
	if (!want) {
		cube_io_del(c->io);
		c->io = NULL;
	} else if (c->io) {
		cube_io_set(c->io, want);
	} else if (cube_io_add(c->ssh->loop, c->fd, want, on_io, c, &c->io, &err) < 0) {
		cube_ssh_fail(c, &err);
	}
}

static void on_io(void *arg, uint32_t events) {
	struct ssh_conn *c = arg;
	if (events & EPOLLOUT) cube_ssh_link_flush(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && may_receive(c)) receive(c);
	c->owner->pump(c);
}
