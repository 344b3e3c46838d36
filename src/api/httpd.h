/* HTTP/1.1 server on libmicrohttpd inside the manager's loop: no threads, no blocking.
 * The only user of libmicrohttpd. It knows nothing of cube's API: api.c hands it the routes.
 *
 * Nothing is told that is not committed: an answer begins to go out, and a long one goes on, when
 * whoever runs the loop has committed and calls cube_httpd_flush.
 */
#ifndef CUBE_HTTPD_H
#define CUBE_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cube/buf.h"
#include "cube/err.h"
#include "cube/loop.h"

struct cube_httpd;
struct cube_request; /* one request; valid from its handler's call until it was answered */

/* Called once the head is complete and, unless the route streams its body, the body too.
 * Must answer with exactly one cube_reply_... call, now or later. */
typedef void cube_route_fn(void *arg, struct cube_request *req);

/* A body taken as it arrives. */
struct cube_body_sink {
	/* Returns how many of the n bytes were taken; fewer: the client waits until
	 * cube_request_wake. Once the request was answered, the rest of the body is thrown away. */
	size_t (*data)(void *arg, struct cube_request *req, const uint8_t *bytes, size_t n);
	void (*end)(void *arg,
		    struct cube_request *req); /* whole body is in; answer now or later */
	void (*gone)(void *arg,
		     struct cube_request *req); /* client went away, or it is all over: drop
						   the pointer; called exactly once, last */
};

/* A client that stays: it keeps no manager alive, and may not take what others need. */
enum cube_follows {
	CUBE_FOLLOWS_NOT,
	CUBE_FOLLOWS,         /* half of the connections */
	CUBE_FOLLOWS_ENDLESS, /* three eighths; an answer without an end of its own */
	CUBE_FOLLOWS_KINDS
};

struct cube_route {
	const char *method; /* "GET"; HEAD is served by GET's route unless it has its own */
	const char *path;   /* "/v1/tasks/{id}/logs": a {name} takes one segment */
	cube_route_fn *fn;
	size_t max_body; /* 0: no body is accepted; SIZE_MAX: fn itself sets a sink by
			    cube_request_sink */
	bool secret;     /* the body is wiped after use */
	enum cube_follows follows;
	bool patient; /* the body may pause for as long as it likes, as what a person types */
};

/* Whether all that could be read now is committed: what a long answer's next piece is made of. */
typedef bool cube_may_tell_fn(void *arg);

/* Serves an already listening socket (owned from now on), to the same user and root. routes must
 * outlive it. Unknown path: 404, known path with another method: 405, too many that follow: 503,
 * all through `refuse`.
 *
 * There are at most 1000 connections, and half as many as there are descriptors. When they, or the
 * descriptors, are used up, one that has not asked for anything for a second makes room: an
 * unfinished head or body, or an idle one. Unfinished heads end after 30 s, bodies after 120 s
 * without a byte. */
int cube_httpd_new(struct cube_loop *loop, int listen_fd, const struct cube_route *routes,
		   size_t nroutes, cube_route_fn *refuse, cube_may_tell_fn *may_tell, void *arg,
		   struct cube_httpd **ret, struct cube_err *err);
/* After a commit, before the loop sleeps: what was held back goes out. */
void cube_httpd_flush(struct cube_httpd *h);
void cube_httpd_free(struct cube_httpd *h);
unsigned cube_httpd_connections(const struct cube_httpd *h);
/* Listens there instead (owned; -1: nowhere). Who waits at the old one to be accepted is hung up.
 */
int cube_httpd_listen(struct cube_httpd *h, int listen_fd, struct cube_err *err);
/* Whether a client is really doing something: since the last look it asked, sent, or read, or it
 * waits for an answer we owe. Not one that is idle, follows in silence, or does not read. */
bool cube_httpd_busy(struct cube_httpd *h);
/* Takes who waits to be accepted, and what has been sent by now. */
void cube_httpd_catch_up(struct cube_httpd *h);
/* Nothing is left to follow: endless answers come to a clean end, and no request is begun. */
void cube_httpd_finish(struct cube_httpd *h);

const char *cube_request_method(const struct cube_request *req);
const char *cube_request_path(const struct cube_request *req);
/* The decoded segment behind {name}; never NULL for a name in the route's path. */
const char *cube_request_segment(const struct cube_request *req, const char *name);
const char *cube_request_query(const struct cube_request *req, const char *key); /* NULL: absent */
const char *cube_request_header(const struct cube_request *req, const char *key);
/* The client's process, or 0 where that is not to be seen. */
pid_t cube_request_client(const struct cube_request *req);
const void *cube_request_body(const struct cube_request *req, size_t *ret_len);
/* For `refuse`: 404, 405, 413 or 503. */
int cube_request_refusal(const struct cube_request *req);

void cube_request_sink(struct cube_request *req, const struct cube_body_sink *sink, void *arg);
void cube_request_wake(struct cube_request *req); /* offer untaken body bytes again, soon */

/* A whole answer; bytes are copied. */
void cube_reply(struct cube_request *req, int status, const char *content_type, const void *bytes,
		size_t n);

/* An answer that is produced over time. */
struct cube_reply_source {
	/* Fills at most n bytes at space: > 0 so many; 0 nothing now, wait for cube_reply_wake;
	 * -1 the end; -2 failed: the client sees the answer cut off. */
	ssize_t (*pull)(void *arg, uint8_t *space, size_t n);
	void (*free)(void *arg); /* finished, or the client went away */
};
struct cube_reply_stream;
/* Takes arg: source->free will be called once. The handle stays valid until then. */
struct cube_reply_stream *cube_reply_begin(struct cube_request *req, int status,
					   const char *content_type,
					   const struct cube_reply_source *source, void *arg);
void cube_reply_wake(struct cube_reply_stream *rs); /* may be called any time, also inside pull */

/* The connection becomes something else: 101 with `Upgrade: protocol`, then fn gets the socket, as
 * a non-blocking descriptor that is fn's to close, and what the client sent too early (borrowed).
 * The request lives until then, and the HTTP side of the connection until cube_upgraded_close,
 * which must come, once. fn is not called where the client went away before. */
struct cube_upgraded;
typedef void cube_upgrade_fn(void *arg, struct cube_request *req, struct cube_upgraded *up, int fd,
			     const void *early, size_t n);
void cube_reply_upgrade(struct cube_request *req, const char *protocol, cube_upgrade_fn *fn,
			void *arg);
void cube_upgraded_close(struct cube_upgraded *up);

#endif
