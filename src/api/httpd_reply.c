/* What handlers call: looking at a request, and answering it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/spawn.h"
#include "httpd_impl.h"

#define LINGER_S 10 /* for a client that goes on sending a body nobody wants */

const char *cube_request_method(const struct cube_request *req) {
	return req->method;
}
const char *cube_request_path(const struct cube_request *req) {
	return req->path;
}
int cube_request_refusal(const struct cube_request *req) {
	return req->refusal;
}

const char *cube_request_segment(const struct cube_request *req, const char *name) {
	const char *value = req->segments;
	size_t n = strlen(name);
	for (const char *p = strchr(req->route->path, '{'); p; p = strchr(p + 1, '{')) {
		if (strncmp(p + 1, name, n) == 0 && p[1 + n] == '}') return value;
		value += strlen(value) + 1;
	}
	return "";
}

const char *cube_request_query(const struct cube_request *req, const char *key) {
	const char *value = NULL;
	/* "?follow" without a value is there all the same. */
	if (MHD_lookup_connection_value_n(req->connection, MHD_GET_ARGUMENT_KIND, key, strlen(key),
					  &value, NULL) != MHD_YES)
		return NULL;
	return value ? value : "";
}

const char *cube_request_header(const struct cube_request *req, const char *key) {
	return MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, key);
}

const void *cube_request_body(const struct cube_request *req, size_t *ret_len) {
	*ret_len = cube_buf_len(&req->body);
	return cube_buf_data(&req->body);
}

void cube_request_sink(struct cube_request *req, const struct cube_body_sink *sink, void *arg) {
	req->sink = *sink;
	req->sink_arg = arg;
}

void cube_request_wake(struct cube_request *req) {
	cube_httpd_wake(req);
}

/* --- answers --- */

static void answer(struct cube_request *req, int status, const char *content_type,
		   struct MHD_Response *response) {
	req->answered = true;
	req->status = status;
	req->content_type = content_type;
	if (!response) { /* no memory: hang up */
		req->gone = true;
		cube_httpd_wake(req);
		return;
	}
	if (content_type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	req->response = response;
	cube_httpd_hold(req);
	/* In the middle of the body it goes out now, and the body's rest is let in. */
	if (req->complete) return;
	if (!req->inside) cube_httpd_answer_early(req);
	cube_httpd_wake(req);
}

void cube_reply(struct cube_request *req, int status, const char *content_type, const void *bytes,
		size_t n) {
	if (req->answered) return;
	if (!req->complete) { /* may have to be written by hand */
		cube_buf_init(&req->plain, CUBE_HTTPD_PLAIN_MAX);
		cube_buf_add(&req->plain, bytes, n);
	}
	answer(req, status, content_type,
	       MHD_create_response_from_buffer(n, (void *)(n ? bytes : ""), MHD_RESPMEM_MUST_COPY));
}

static ssize_t on_pull(void *cls, uint64_t pos, char *space, size_t n) {
	struct cube_request *req = cls;
	if (req->gone) return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!req->h->may_tell(req->h->arg)) {
		cube_httpd_suspend(req);
		cube_httpd_hold(req);
		return 0;
	}
	req->woken = false;
	ssize_t got = req->stream.source.pull(req->stream.arg, (uint8_t *)space, n);
	if (got > 0) {
		req->conn->moved = true;
		return got;
	}
	if (got == 0 && req->h->finished && req->route->follows == CUBE_FOLLOWS_ENDLESS) got = -1;
	if (got == -1) return MHD_CONTENT_READER_END_OF_STREAM;
	if (got < 0) return MHD_CONTENT_READER_END_WITH_ERROR;
	cube_httpd_suspend(req);
	if (req->woken) cube_httpd_wake(req);
	return 0;
}

struct cube_reply_stream *cube_reply_begin(struct cube_request *req, int status,
					   const char *content_type,
					   const struct cube_reply_source *source, void *arg) {
	req->stream = (struct cube_reply_stream){.req = req, .source = *source, .arg = arg};
	answer(req, status, content_type,
	       MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CUBE_HTTPD_BLOCK, on_pull, req,
						 NULL));
	return &req->stream;
}

void cube_reply_wake(struct cube_reply_stream *rs) {
	cube_httpd_wake(rs->req);
}

/* --- upgrades --- */

static void on_upgrade(void *cls, struct MHD_Connection *connection, void *con_cls,
		       const char *extra_in, size_t extra_in_size, MHD_socket sock,
		       struct MHD_UpgradeResponseHandle *handle) {
	struct cube_request *req = con_cls;
	int fd = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || cube_set_nonblock(fd, true) < 0) {
		if (fd >= 0) close(fd);
		MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
		return;
	}
	struct cube_upgraded *up = cube_alloc(sizeof *up);
	*up = (struct cube_upgraded){req, handle};
	req->upgraded = up;
	req->upgrade(req->upgrade_arg, req, up, fd, extra_in, extra_in_size);
}

void cube_reply_upgrade(struct cube_request *req, const char *protocol, cube_upgrade_fn *fn,
			void *arg) {
	struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, NULL);
	req->upgrade = fn;
	req->upgrade_arg = arg;
	if (response) MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, protocol);
	answer(req, MHD_HTTP_SWITCHING_PROTOCOLS, NULL, response);
}

void cube_upgraded_close(struct cube_upgraded *up) {
	struct cube_request *req = up->req;
	if (req) {
		struct cube_httpd *h = req->h;
		req->upgraded = NULL;
		MHD_upgrade_action(up->handle, MHD_UPGRADE_ACTION_CLOSE);
		cube_httpd_run_soon(h);
	}
	free(up);
}

void cube_httpd_answer_early(struct cube_request *req) {
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (req->early || req->stream.source.pull || !info) return;
	char head[512];
	int n = snprintf(head, sizeof head,
			 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			 "Connection: close\r\n\r\n",
			 req->status, MHD_get_reason_phrase_for((unsigned)req->status),
			 req->content_type, cube_buf_len(&req->plain));
	struct iovec iov[2] = {
		{head, (size_t)n},
		{(void *)cube_buf_data(&req->plain), cube_buf_len(&req->plain)},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	/* Nothing was sent on this socket for this request, so a short answer fits; when it does
	 * not, the client sees a broken answer and not a wrong one. */
	sendmsg(info->connect_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(info->connect_fd, SHUT_WR);
	req->early = true;
	MHD_set_connection_option(req->connection, MHD_CONNECTION_OPTION_TIMEOUT, LINGER_S);
}
