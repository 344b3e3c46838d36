/* Bytes between the socket and libssh2, and when to pump: see ssh_priv.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/text.h"
#include "ssh_carrier.h"
#include "ssh_auth.h"

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
	cube_ssh_auth_free(c->auth);
	c->auth = NULL;
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

/* ---- the pump ---------------------------------------------------------------------------- */

/* One state's work; true when the next one's may follow at once. */
static bool work(struct ssh_conn *c) {
	switch (c->state) {
	case SSH_KEX:
		if (cube_ssh_kex_pump(c) != 0) return false;
		c->state = SSH_AUTH;
		cube_ssh_step(c, CUBE_STEP_AUTH);
		return true;
	case SSH_AUTH:
		if (cube_ssh_auth_pump(c) != 0) return false;
		cube_ssh_opened(c);
		return true;
	case SSH_CHANNEL:
	case SSH_EXEC:
	case SSH_RUN:
	case SSH_CLOSE: return cube_ssh_channel_pump(c);
	case SSH_CARRY: cube_carrier_pump(c->carrier); return false;
	default: return false;
	}
}

/* All that was received is with libssh2, or waits in c->in for the next pump. */
static void keep_rest(struct ssh_conn *c) {
	if (c->fed_len && cube_buf_add(&c->in, c->fed, c->fed_len) < 0) {
		c->link_sys = ENOMEM;
		c->link_eof = true;
	}
	c->fed_len = 0;
}

static bool output_waits(const struct ssh_conn *c) {
	return c->state == SSH_FLUSH || (c->state == SSH_RUN && !cube_outlet_room(&c->outlet));
}

static void pump(struct ssh_conn *c) {
	while (!cube_ssh_over(c) && c->session && work(c)) {}
	if (cube_ssh_over(c) || !c->session) return;
	keep_rest(c);
	cube_ssh_link_flush(c);
	if (c->state == SSH_CARRY) cube_carrier_flushed(c->carrier);
	if (c->link_eof && !output_waits(c)) {
		cube_ssh_link_fail(c, NULL);
		return;
	}
	cube_ssh_link_refresh(c);
}

static void on_io(void *arg, uint32_t events) {
	struct ssh_conn *c = arg;
	if (events & EPOLLOUT) cube_ssh_link_flush(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && may_receive(c)) receive(c);
	pump(c);
}

static void kicked(void *arg) {
	struct ssh_conn *c = arg;
	c->kicked = false;
	if (!cube_ssh_over(c)) pump(c);
}

void cube_ssh_kick(struct ssh_conn *c) {
	if (c->kicked || cube_ssh_over(c)) return;
	c->kicked = true;
	cube_loop_defer(c->ssh->loop, kicked, c);
}

/* ---- what went wrong --------------------------------------------------------------------- */

static void say_hello_trouble(struct ssh_conn *c, struct cube_err *err) {
	struct cube_buf safe;
	size_t n = strcspn(c->hello, "\r\n");
	cube_buf_init(&safe, 1024);
	cube_text_escape(&safe, c->hello, n);
	cube_fail(err, CUBE_ECONNECT, "%s is no ssh server: it says \"%.80s\"", cube_ssh_where(c),
		  cube_buf_str(&safe));
	cube_buf_done(&safe);
}

static const char *cause(struct ssh_conn *c, char **text) {
	if (c->bye[0]) return c->bye;
	if (c->link_sys) return strerror(c->link_sys);
	if (c->link_eof) return "closed by the server";
	*text = NULL;
	if (c->session) libssh2_session_last_error(c->session, text, NULL, 0);
	return *text && **text ? *text : "protocol error";
}

/* A person was being asked, or had answered: that is not to be done again unasked. */
static void fail_login(struct ssh_conn *c) {
	struct cube_err err;
	char *text;
	cube_fail(&err, CUBE_ELOGIN,
		  "%s ended the login while a question was open or answered: %s (the server gives "
		  "LoginGraceTime for all of it)",
		  cube_ssh_where(c), cause(c, &text));
	err.sys = c->link_sys;
	cube_ssh_fail(c, &err);
}

void cube_ssh_link_fail(struct ssh_conn *c, const char *doing) {
	static const char *const DOING[] = {
		[SSH_KEX] = "exchanging keys with", [SSH_AUTH] = "authenticating with"};
	struct cube_err err;
	char *text;
	const char *proxy = c->dial ? cube_dial_proxy_says(c->dial) : NULL;
	bool greeted = strstr(c->hello, "SSH-") != NULL;
	if (cube_ssh_auth_asked(c->auth)) {
		fail_login(c);
		return;
	}
	if (!doing && cube_ssh_again(c)) return;
	if (!doing && c->state < SSH_IDLE) doing = DOING[c->state];
	if (c->state == SSH_KEX && !greeted && proxy)
		cube_fail(&err, CUBE_ECONNECT, "connecting to %s: %s", cube_ssh_where(c), proxy);
	else if (c->state == SSH_KEX && !greeted && (c->received || !c->link_sys))
		say_hello_trouble(c, &err); /* a reset may follow: it did not read our greeting */
	else if (doing)
		cube_fail(&err, CUBE_ECONNECT, "%s %s: %s%s%s", doing, cube_ssh_where(c),
			  cause(c, &text), proxy ? "; " : "", proxy ? proxy : "");
	else
		cube_fail(&err, CUBE_ECONNECT, "the connection to %s broke: %s%s%s",
			  cube_ssh_where(c), cause(c, &text), proxy ? "; " : "",
			  proxy ? proxy : "");
	err.sys = c->link_sys;
	cube_ssh_fail(c, &err);
}
