/* Shared by httpd.c (the library, the loop, taking requests), httpd_accept.c (connections) and
 * httpd_reply.c (what handlers call). */
#ifndef CUBE_HTTPD_IMPL_H
#define CUBE_HTTPD_IMPL_H

#include <microhttpd.h>

#include "cube/list.h"
#include "httpd.h"

#define CUBE_HTTPD_CONNECTIONS 1000         /* at most; fewer where descriptors are few */
#define CUBE_HTTPD_SPARE       8            /* descriptors held back for when there are no others */
#define CUBE_HTTPD_MEMORY      (128u << 10) /* of a connection: head, and what waits to be sent */
#define CUBE_HTTPD_BLOCK       (16u << 10)  /* for clients that cannot take chunks */
#define CUBE_HTTPD_PLAIN_MAX   (64u << 20)  /* an answer that cube_reply gives */

struct cube_httpd {
	struct cube_loop *loop;
	struct MHD_Daemon *daemon;
	struct cube_io *io;
	struct cube_timer *timer;
	const struct cube_route *routes;
	size_t nroutes;
	cube_route_fn *refuse;
	cube_may_tell_fn *may_tell;
	void *arg;
	struct cube_list requests;
	struct cube_list held;  /* struct cube_request: they wait for cube_httpd_flush */
	struct cube_list conns; /* struct cube_conn */
	unsigned connections, incoming, limit;
	unsigned following[CUBE_FOLLOWS_KINDS]; /* requests */
	int listen_fd;                          /* -1: none */
	struct cube_io *listen_io;
	struct cube_timer *sweep;
	int spare[CUBE_HTTPD_SPARE];
	unsigned spares;
	bool moved;    /* somebody came or left since cube_httpd_busy looked */
	bool paused;   /* no room for who comes next */
	bool closing;  /* no request is begun any more */
	bool finished; /* .. and endless answers end as if that were all */
	bool running;  /* inside the library */
	bool again;    /* something was resumed since it last ran */
	bool deferred; /* a call of the loop will run it; h lives until then */
};

struct cube_conn {
	struct cube_list entry;
	int fd; /* the library's */
	struct cube_request *req;
	bool asked; /* a request came once: what is idle now may ask again */
	bool moved; /* since cube_httpd_busy looked */
	bool ended; /* we hung up */
	int unread; /* of what we sent, when cube_httpd_busy looked */
	uint64_t heard;
};

struct cube_reply_stream {
	struct cube_request *req;
	struct cube_reply_source source;
	void *arg;
};

struct cube_upgraded {
	struct cube_request *req; /* NULL: the server has ended */
	struct MHD_UpgradeResponseHandle *handle;
};

struct cube_request {
	struct cube_list entry;
	struct cube_list held;
	struct cube_httpd *h;
	struct MHD_Connection *connection;
	struct cube_conn *conn;
	const struct cube_route *route;
	char *method, *path, *segments;
	int refusal;
	enum cube_follows follows; /* counted as such */
	uint64_t announced;        /* length of the body; UINT64_MAX: chunked */
	bool begun;                /* the head was looked at */
	bool complete;             /* the whole body is in */
	bool ended;                /* and the handler knows */
	bool answered;             /* the handler gave its answer */
	bool let;                  /* .. which may go out */
	bool sent;                 /* the library has it */
	bool inside;               /* the library is calling us about it */
	bool early;                /* it was written before the body's end */
	bool suspended, woken, gone;
	struct cube_io *watch; /* for the client's hang-up while suspended */
	struct cube_buf body;
	struct cube_body_sink sink;
	void *sink_arg;
	int status;
	struct MHD_Response *response; /* given, and not yet the library's */
	struct cube_buf plain; /* the bytes of a cube_reply, while the library may not have it */
	const char *content_type;
	struct cube_reply_stream stream;
	cube_upgrade_fn *upgrade;
	void *upgrade_arg;
	struct cube_upgraded *upgraded; /* NULL: not yet, or closed */
};

void cube_httpd_suspend(struct cube_request *req);
/* It goes on after the next commit. */
void cube_httpd_hold(struct cube_request *req);
void cube_httpd_wake(struct cube_request *req);
void cube_httpd_run_soon(struct cube_httpd *h); /* the library has something to do */
void cube_httpd_run(struct cube_httpd *h);

/* httpd_accept.c */
void cube_httpd_accept_init(struct cube_httpd *h);
void cube_httpd_accept_free(struct cube_httpd *h);
void cube_httpd_on_connection(void *httpd, struct MHD_Connection *connection, void **context,
			      enum MHD_ConnectionNotificationCode what);
void cube_httpd_heard(struct cube_request *req);         /* bytes of it came */
bool cube_httpd_refuses(const struct cube_request *req); /* what is left is for others */
/* Writes a plain answer now, in the middle of the request's body, which the library cannot; what
 * still comes of the body is thrown away until the client closes. */
void cube_httpd_answer_early(struct cube_request *req);

#endif
