/* Connections: taking them, making room for the next one, and telling which of them are alive.
 *
 * We accept and hand the library what we took: it stops for good where descriptors are out, and
 * would keep who sends nothing for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/spawn.h"
#include "httpd_impl.h"

#define ACCEPT_BATCH 64
#define SWEEP_NS     (1 * CUBE_NS_PER_S)
#define QUIET_NS     (1 * CUBE_NS_PER_S) /* then it may have to make room */
#define HEAD_NS      (30 * CUBE_NS_PER_S)
#define BODY_NS      (120 * CUBE_NS_PER_S)

static void on_incoming(void *httpd, uint32_t events);

/* --- what a connection is at --- */

/* It has not asked for anything, or not to the end, and nothing of ours keeps it. */
static bool is_unfinished(const struct cube_conn *c) {
	const struct cube_request *req = c->req;
	if (!req) return true;
	return !req->complete && !req->suspended && !req->sent &&
	       !(req->route && req->route->patient);
}

/* We have not said all yet, and it is not the client that keeps us from it. */
static bool is_owed(const struct cube_conn *c) {
	const struct cube_request *req = c->req;
	return req && req->complete && req->suspended && req->route && !req->route->follows;
}

static bool has_moved(struct cube_conn *c) {
	int unread = 0;
	if (ioctl(c->fd, SIOCOUTQ, &unread) < 0) unread = 0;
	bool moved = c->moved || unread != c->unread;
	c->moved = false;
	c->unread = unread;
	return moved;
}

bool cube_httpd_busy(struct cube_httpd *h) {
	bool busy = h->incoming > 0 || h->moved;
	h->moved = false;
	cube_list_each (&h->conns, c, struct cube_conn, entry) {
		if (has_moved(c) || is_owed(c)) busy = true;
	}
	return busy;
}

void cube_httpd_heard(struct cube_request *req) {
	req->conn->heard = cube_loop_now(req->h->loop);
	req->conn->moved = true;
}

bool cube_httpd_refuses(const struct cube_request *req) {
	const struct cube_httpd *h = req->h;
	switch (req->route ? req->route->follows : CUBE_FOLLOWS_NOT) {
	case CUBE_FOLLOWS:
		return h->following[CUBE_FOLLOWS] >= h->limit / 2 || h->spares < CUBE_HTTPD_SPARE;
	case CUBE_FOLLOWS_ENDLESS: return h->following[CUBE_FOLLOWS_ENDLESS] >= h->limit * 3 / 8;
	default: return false;
	}
}

/* --- room --- */

/* The library sees the end as if the client had closed. */
static void hang_up(struct cube_conn *c) {
	shutdown(c->fd, SHUT_RDWR);
	c->ended = true;
}

/* Ends the one that has been silent longest. */
static bool make_room(struct cube_httpd *h) {
	struct cube_conn *oldest = NULL;
	unsigned before = h->connections;
	uint64_t now = cube_loop_now(h->loop);
	cube_list_each (&h->conns, c, struct cube_conn, entry) {
		if (c->ended || !is_unfinished(c) || now - c->heard < QUIET_NS) continue;
		if (!oldest || c->heard < oldest->heard) oldest = c;
	}
	if (!oldest) return false;
	hang_up(oldest);
	cube_httpd_run(h);
	return h->connections < before;
}

static void hold_spares(struct cube_httpd *h) {
	while (h->spares < CUBE_HTTPD_SPARE) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd < 0) return;
		h->spare[h->spares++] = fd;
	}
}

static bool spend_spare(struct cube_httpd *h) {
	if (!h->spares) return false;
	close(h->spare[--h->spares]);
	return true;
}

static void pause_accepting(struct cube_httpd *h, bool paused) {
	h->paused = paused;
	if (h->listen_io) cube_io_set(h->listen_io, paused ? 0 : EPOLLIN);
	if (paused && !cube_timer_armed(h->sweep)) cube_timer_after(h->sweep, SWEEP_NS);
}

static bool is_overdue(const struct cube_conn *c, uint64_t now) {
	if (c->ended || !is_unfinished(c)) return false;
	if (!c->asked) return now - c->heard > HEAD_NS;
	return c->req && now - c->heard > BODY_NS;
}

static void on_sweep(void *arg) {
	struct cube_httpd *h = arg;
	uint64_t now = cube_loop_now(h->loop);
	cube_list_each (&h->conns, c, struct cube_conn, entry) {
		if (is_overdue(c, now)) hang_up(c);
	}
	hold_spares(h);
	if (h->connections || h->paused) cube_timer_after(h->sweep, SWEEP_NS);
	if (!h->paused) return;
	pause_accepting(h, false);
	on_incoming(h, 0);
}

/* --- accepting --- */

void cube_httpd_on_connection(void *httpd, struct MHD_Connection *connection, void **context,
			      enum MHD_ConnectionNotificationCode what) {
	struct cube_httpd *h = httpd;
	struct cube_conn *c = *context;
	h->moved = true;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = c = cube_alloc(sizeof *c);
		c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
				->connect_fd;
		c->heard = cube_loop_now(h->loop);
		cube_list_append(&h->conns, &c->entry);
		h->connections++;
		if (!cube_timer_armed(h->sweep)) cube_timer_after(h->sweep, SWEEP_NS);
		return;
	}
	h->connections--;
	cube_list_remove(&c->entry);
	free(c);
	/* its descriptor is closed a little later */
	if (h->paused && !h->closing) cube_timer_after(h->sweep, 0);
}

static bool is_allowed(int fd) {
	struct ucred peer;
	socklen_t n = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0) return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

pid_t cube_request_client(const struct cube_request *req) {
	struct ucred peer = {0};
	socklen_t n = sizeof peer;
	return getsockopt(req->conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 ? 0 : peer.pid;
}

static void take(struct cube_httpd *h, int fd) {
	static const struct sockaddr_un sa = {.sun_family = AF_UNIX};
	if (!is_allowed(fd)) close(fd);
	else if (MHD_add_connection(h->daemon, fd, (const struct sockaddr *)&sa, sizeof sa) ==
		 MHD_YES)
		h->incoming++;
}

/* False: there is no more to take now. */
static bool accept_one(struct cube_httpd *h) {
	if (h->connections + h->incoming >= h->limit && !make_room(h)) {
		pause_accepting(h, true);
		return false;
	}
	int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		take(h, fd);
		return true;
	}
	if (errno == EINTR || errno == ECONNABORTED) return true;
	if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
	if (make_room(h) || spend_spare(h)) return true;
	pause_accepting(h, true);
	return false;
}

static void on_incoming(void *httpd, uint32_t events) {
	struct cube_httpd *h = httpd;
	for (int i = 0; i < ACCEPT_BATCH && h->listen_fd >= 0; i++)
		if (!accept_one(h)) break;
	cube_httpd_run(h);
	h->incoming = 0;
}

void cube_httpd_catch_up(struct cube_httpd *h) {
	on_incoming(h, 0);
}

int cube_httpd_listen(struct cube_httpd *h, int listen_fd, struct cube_err *err) {
	cube_io_del(h->listen_io);
	h->listen_io = NULL;
	if (h->listen_fd >= 0) close(h->listen_fd);
	h->listen_fd = listen_fd;
	if (listen_fd < 0) return 0;
	if (cube_set_nonblock(listen_fd, true) < 0)
		return cube_fail_sys(err, errno, "listening socket");
	return cube_io_add(h->loop, listen_fd, EPOLLIN, on_incoming, h, &h->listen_io, err);
}

void cube_httpd_accept_init(struct cube_httpd *h) {
	struct rlimit files = {0};
	cube_list_init(&h->conns);
	h->listen_fd = -1;
	h->limit = CUBE_HTTPD_CONNECTIONS;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < h->limit)
		h->limit = (unsigned)(files.rlim_cur / 2);
	if (h->limit < 8) h->limit = 8;
	h->sweep = cube_timer_add(h->loop, on_sweep, h);
	hold_spares(h);
}

void cube_httpd_accept_free(struct cube_httpd *h) {
	cube_httpd_listen(h, -1, NULL);
	cube_timer_del(h->sweep);
	while (spend_spare(h)) {}
}
