/* libmicrohttpd inside the loop: its epoll fd is one of our io sources, its timeout one of our
 * timers.
 *
 * A request that waits (for its answer, for room for its body, for more to send) is suspended: the
 * library then forgets its socket, so we watch that socket for the client's going away. Waking
 * one only marks it; the library runs by a deferred call, once for all that were woken, never
 * inside one of its own callbacks, and before the loop sleeps.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/mem.h"
#include "httpd_impl.h"

#define ROUNDS      4 /* of the library in one turn, while it has more to do */
#define SWALLOW_MAX (1u << 20)

static void run_deferred(void *arg) {
	struct cube_httpd *h = arg;
	h->deferred = false;
	if (!h->daemon) free(h);
	else if (h->again) cube_httpd_run(h);
}

static void do_not_sleep(struct cube_httpd *h) {
	if (h->deferred) return;
	h->deferred = true;
	cube_loop_defer(h->loop, run_deferred, h);
}

void cube_httpd_run_soon(struct cube_httpd *h) {
	h->again = true; /* the library's own timeout does not tell of it */
	if (!h->running) do_not_sleep(h);
}

static void mhd_resume(struct cube_request *req) {
	struct cube_httpd *h = req->h;
	if (!req->suspended) return;
	req->suspended = false;
	MHD_resume_connection(req->connection);
	cube_httpd_run_soon(h);
}

static void on_client_gone(void *arg, uint32_t events) {
	struct cube_request *req = arg;
	cube_io_del(req->watch);
	req->watch = NULL;
	req->gone = true;
	mhd_resume(req);
}

/* Only for a callback of the library: it takes effect when that callback returns. */
void cube_httpd_suspend(struct cube_request *req) {
	if (!req->watch && !req->gone) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		/* No events: only a hang-up comes, which on a unix socket is the client's close. */
		if (info)
			cube_io_add(req->h->loop, info->connect_fd, 0, on_client_gone, req,
				    &req->watch, NULL);
	}
	req->suspended = true;
	MHD_suspend_connection(req->connection);
}

void cube_httpd_wake(struct cube_request *req) {
	req->woken = true;
	mhd_resume(req);
}

/* --- until the commit --- */

void cube_httpd_hold(struct cube_request *req) {
	if (!cube_list_linked(&req->held)) cube_list_append(&req->h->held, &req->held);
}

void cube_httpd_flush(struct cube_httpd *h) {
	cube_list_each (&h->held, req, struct cube_request, held) {
		cube_list_remove(&req->held);
		req->let = req->answered;
		cube_httpd_wake(req);
	}
	if (h->again) cube_httpd_run(h);
	/* who came in just now waits for the next commit */
	if (!cube_list_empty(&h->held)) do_not_sleep(h);
}

/* --- requests --- */

static struct cube_request *request_new(struct cube_httpd *h, struct MHD_Connection *connection,
					const char *method, const char *path) {
	struct cube_request *req = cube_alloc(sizeof *req);
	req->h = h;
	req->connection = connection;
	req->conn = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
			    ->socket_context;
	req->conn->req = req;
	req->conn->asked = true;
	req->method = cube_strdup(method);
	req->path = cube_strdup(path);
	cube_buf_init(&req->body, 0);
	cube_list_append(&h->requests, &req->entry);
	return req;
}

static void request_free(struct cube_request *req) {
	cube_httpd_heard(req);
	req->conn->req = NULL;
	if (req->follows) req->h->following[req->follows]--;
	cube_io_del(req->watch);
	cube_list_remove(&req->entry);
	cube_list_remove(&req->held);
	if (req->sink.gone) req->sink.gone(req->sink_arg, req);
	if (req->stream.source.free) req->stream.source.free(req->stream.arg);
	if (req->response) MHD_destroy_response(req->response);
	cube_buf_done(&req->body);
	cube_buf_done(&req->plain);
	free(req->segments);
	free(req->method);
	free(req->path);
	free(req);
}

/* Compares a route's path with the request's; on a match the values of its {names} lie one after
 * the other, NUL-terminated, in *ret (malloc'd; NULL when there are none). */
static bool match_path(const char *route, const char *path, char **ret) {
	char *values = NULL, *to = NULL;
	while (*route && *path) {
		if (*route != '{') {
			if (*route++ != *path++) goto no;
			continue;
		}
		size_t n = strcspn(path, "/");
		if (n == 0) goto no;
		if (!values) values = to = cube_alloc(strlen(path) + 2);
		memcpy(to, path, n);
		to += n + 1; /* zeroed memory: a NUL is there */
		path += n;
		route += strcspn(route, "}") + 1;
	}
	if (*route || *path) goto no;
	*ret = values;
	return true;
no:
	free(values);
	return false;
}

static bool method_fits(const char *route, const char *method, bool exact) {
	if (strcmp(route, method) == 0) return true;
	return !exact && strcmp(method, "HEAD") == 0 && strcmp(route, "GET") == 0;
}

/* Sets req->route, or req->refusal. A HEAD route of its own goes before GET's. */
static void find_route(struct cube_request *req) {
	struct cube_httpd *h = req->h;
	req->refusal = 404;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < h->nroutes; i++) {
			char *values = NULL;
			if (!match_path(h->routes[i].path, req->path, &values)) continue;
			if (!method_fits(h->routes[i].method, req->method, pass == 0)) {
				free(values);
				req->refusal = 405;
				continue;
			}
			req->route = &h->routes[i];
			req->segments = values;
			req->refusal = 0;
			return;
		}
	}
}

static bool header_is(const struct cube_request *req, const char *key, const char *value) {
	const char *v = cube_request_header(req, key);
	return v && strcasecmp(v, value) == 0;
}

/* The announced length of the body; UINT64_MAX for a chunked one. */
static uint64_t body_announced(const struct cube_request *req) {
	if (cube_request_header(req, "Transfer-Encoding")) return UINT64_MAX;
	const char *v = cube_request_header(req, "Content-Length");
	return v ? strtoull(v, NULL, 10) : 0;
}

/* --- the library's callbacks --- */

static enum MHD_Result send_response(struct cube_request *req) {
	struct MHD_Response *response = req->response;
	req->response = NULL;
	req->sent = true;
	/* Refused for want of room: it does not keep what there is. */
	if (req->refusal == 503)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result rc = MHD_queue_response(req->connection, (unsigned)req->status, response);
	MHD_destroy_response(response);
	return rc;
}

static void dispatch(struct cube_request *req) {
	if (req->refusal) req->h->refuse(req->h->arg, req);
	else req->route->fn(req->h->arg, req);
}

/* The head is in. */
static enum MHD_Result begin(struct cube_request *req) {
	if (req->h->closing) return MHD_NO; /* not begun: the client asks the next one */
	find_route(req);
	req->announced = body_announced(req);
	req->begun = true;
	if (cube_httpd_refuses(req)) req->refusal = 503;
	else if (req->route) req->follows = req->route->follows;
	if (req->follows) req->h->following[req->follows]++;
	bool sinks = req->route && req->route->max_body == SIZE_MAX;
	if (req->route && !sinks) {
		cube_buf_init(&req->body, req->route->max_body);
		if (req->route->secret) cube_buf_set_secret(&req->body);
		if (req->announced != UINT64_MAX && req->announced > req->route->max_body)
			req->refusal = 413;
	}
	if (req->refusal || sinks) dispatch(req);
	/* A client that waits to be asked for the body can be told right now. */
	if (req->response && req->announced && header_is(req, "Expect", "100-continue"))
		return send_response(req);
	if (req->response && req->announced > SWALLOW_MAX) cube_httpd_answer_early(req);
	return MHD_YES;
}

/* Returns how many bytes were taken. */
static size_t body_bytes(struct cube_request *req, const uint8_t *bytes, size_t n) {
	if (req->answered) return n; /* thrown away */
	if (req->sink.data) {
		req->woken = false;
		size_t took = req->sink.data(req->sink_arg, req, bytes, n);
		if (req->response) cube_httpd_answer_early(req);
		return req->answered ? n : took;
	}
	if (cube_buf_add(&req->body, bytes, n) == 0) {
		/* The library's buffer, which it will not look at again. */
		if (req->route->secret) explicit_bzero((void *)bytes, n);
		return n;
	}
	req->refusal = 413;
	dispatch(req);
	if (req->response) cube_httpd_answer_early(req);
	return n;
}

static enum MHD_Result body_end(struct cube_request *req) {
	req->complete = true;
	if (!req->answered && !req->ended) {
		req->ended = true;
		if (req->sink.end) req->sink.end(req->sink_arg, req);
		else if (!req->sink.data) dispatch(req);
	}
	if (req->early) return MHD_NO; /* told already: only closing is left */
	if (req->response && req->let) return send_response(req);
	cube_httpd_suspend(req);
	return MHD_YES;
}

static enum MHD_Result look(struct cube_request *req, const char *bytes, size_t *n) {
	if (req->gone) return MHD_NO;
	if (!req->begun) return begin(req);
	if (req->sent) return MHD_YES;
	if (*n == 0) return body_end(req);
	*n -= body_bytes(req, (const uint8_t *)bytes, *n);
	if (*n) {
		cube_httpd_suspend(req);
		if (req->woken) mhd_resume(req);
	}
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload_data,
				  size_t *upload_data_size, void **con_cls) {
	struct cube_request *req = *con_cls;
	if (!req) {
		req = request_new(cls, connection, method, url);
		*con_cls = req;
	}
	req->inside = true;
	if (!req->begun || *upload_data_size) cube_httpd_heard(req);
	enum MHD_Result rc = look(req, upload_data, upload_data_size);
	req->inside = false;
	return rc;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode why) {
	if (!*con_cls) return;
	request_free(*con_cls);
	*con_cls = NULL;
}

/* --- in the loop --- */

void cube_httpd_run(struct cube_httpd *h) {
	MHD_UNSIGNED_LONG_LONG ms = 0;
	bool timed = true;
	h->running = true;
	for (int i = 0; i < ROUNDS && timed && ms == 0; i++) {
		h->again = false;
		MHD_run(h->daemon);
		timed = MHD_get_timeout(h->daemon, &ms) == MHD_YES;
		if (h->again) timed = true, ms = 0;
	}
	h->running = false;
	if (!timed) cube_timer_disarm(h->timer);
	else cube_timer_after(h->timer, ms > 3600000 ? 3600 * CUBE_NS_PER_S : ms * CUBE_NS_PER_MS);
}

static void on_ready(void *arg, uint32_t events) {
	cube_httpd_run(arg);
}
static void on_timer(void *arg) {
	cube_httpd_run(arg);
}

static int start_daemon(struct cube_httpd *h, struct cube_err *err) {
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
			MHD_ALLOW_UPGRADE | MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CUBE_HTTPD_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CUBE_HTTPD_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_NOTIFY_CONNECTION, cube_httpd_on_connection, h, MHD_OPTION_END);
	if (!h->daemon) return cube_fail(err, CUBE_ESYS, "cannot start the HTTP server");
	return 0;
}

int cube_httpd_new(struct cube_loop *loop, int listen_fd, const struct cube_route *routes,
		   size_t nroutes, cube_route_fn *refuse, cube_may_tell_fn *may_tell, void *arg,
		   struct cube_httpd **ret, struct cube_err *err) {
	struct cube_httpd *h = cube_alloc(sizeof *h);
	*h = (struct cube_httpd){
		.loop = loop, .routes = routes, .nroutes = nroutes, .refuse = refuse, .arg = arg};
	h->may_tell = may_tell;
	cube_list_init(&h->requests);
	cube_list_init(&h->held);
	cube_httpd_accept_init(h);
	int rc = start_daemon(h, err);
	if (!rc) {
		int fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
		h->timer = cube_timer_add(loop, on_timer, h);
		rc = cube_io_add(loop, fd, EPOLLIN, on_ready, h, &h->io, err);
	}
	if (!rc) rc = cube_httpd_listen(h, listen_fd, err);
	else close(listen_fd);
	if (!rc) *ret = h;
	else cube_httpd_free(h);
	return rc;
}

static void end_daemon(struct cube_httpd *h) {
	for (int i = 0; i < ROUNDS; i++) MHD_run(h->daemon); /* answers given in the last turn */
	cube_list_each (&h->requests, req, struct cube_request, entry) {
		req->gone = true;
		mhd_resume(req);
		struct cube_upgraded *up = req->upgraded;
		if (!up) continue;
		up->req = NULL; /* whoever has it still closes it */
		req->upgraded = NULL;
		MHD_upgrade_action(up->handle, MHD_UPGRADE_ACTION_CLOSE);
	}
	MHD_run(h->daemon);
	MHD_stop_daemon(h->daemon);
	h->daemon = NULL;
}

void cube_httpd_free(struct cube_httpd *h) {
	if (!h) return;
	cube_io_del(h->io);
	cube_timer_del(h->timer);
	h->closing = true;
	if (h->daemon) end_daemon(h);
	cube_httpd_accept_free(h);
	if (!h->deferred) free(h);
}
unsigned cube_httpd_connections(const struct cube_httpd *h) {
	return h->connections;
}

void cube_httpd_finish(struct cube_httpd *h) {
	h->closing = h->finished = true;
	cube_list_each (&h->requests, req, struct cube_request, entry) {
		if (req->route && req->route->follows == CUBE_FOLLOWS_ENDLESS) mhd_resume(req);
	}
	cube_httpd_run(h);
}
