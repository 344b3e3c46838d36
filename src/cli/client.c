#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cube/assert.h"
#include "cube/buf.h"
#include "cube/id.h"
#include "cube/mem.h"

#define REPLY_MAX  (256u << 20)
#define TIMEOUT_S  120L
#define TURN_FDS   16
#define URL_PREFIX "http://cube"
#define ONCE_TRIES 3 /* a manager that goes away each time has a reason */

struct cube_client {
	CURLM *multi;
	CURL *easy; /* for JSON; keeps its connection */
	char socket[sizeof((struct sockaddr_un *)0)->sun_path];
	int dir_fd; /* of the socket's folder, where its path is too long for sun_path */
	const struct cube_paths *restarts; /* NULL: who asks is told that nobody listens */
	struct cube_transfer *transfers;
	struct cube_client_hook *hooks;
	struct cube_client_hook *next_hook; /* the one to be called next, while some are */
};

struct cube_transfer {
	struct cube_client *client;
	struct cube_transfer *next;
	CURL *easy;
	struct curl_slist *headers;
	cube_client_fn *fn;
	void *arg;
	int fd;      /* what a POST sends, or -1 */
	bool paused; /* waits for fd */
	bool ended;
	bool calling; /* fn is being called, by libcurl: not to be freed */
	int stopped;  /* what fn returned */
	CURLcode code;
	struct cube_buf error_body;
};

/* A path longer than sun_path is reached through its folder's fd. */
static int set_socket(struct cube_client *c, const char *path, struct cube_err *err) {
	if (strlen(path) < sizeof c->socket) {
		memcpy(c->socket, path, strlen(path) + 1);
		return 0;
	}
	const char *slash = strrchr(path, '/');
	cube_autofree char *dir = cube_strndup(path, slash ? (size_t)(slash - path) : 0);
	c->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd < 0) {
		int sys = errno;
		cube_fail(err, CUBE_ECONNECT, "%s: %s", dir, strerror(sys));
		if (err) err->sys = sys;
		return CUBE_ECONNECT;
	}
	int n = snprintf(c->socket, sizeof c->socket, "/proc/self/fd/%d/%s", c->dir_fd, slash + 1);
	if (n < 0 || (size_t)n >= sizeof c->socket)
		return cube_fail(err, CUBE_ETOOBIG, "socket name '%.80s' is too long", slash + 1);
	return 0;
}

/* libcurl's and jansson's memory may hold what a person typed. */
static void free_wiped(void *p) {
	if (p) explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *realloc_wiped(void *p, size_t n) {
	size_t had = p ? malloc_usable_size(p) : 0;
	void *fresh = malloc(n);
	if (!fresh) return NULL;
	if (p) memcpy(fresh, p, had < n ? had : n);
	free_wiped(p);
	return fresh;
}

void cube_client_secret_begin(void) {
	json_set_alloc_funcs(malloc, free_wiped);
}

void cube_client_secret_end(void) {
	json_set_alloc_funcs(malloc, free);
}

int cube_client_new(const struct cube_paths *paths, struct cube_client **ret,
		    struct cube_err *err) {
	struct cube_client *c = cube_alloc(sizeof *c);
	c->dir_fd = -1;
	int rc = set_socket(c, paths->socket, err);
	if (!rc && curl_global_init_mem(CURL_GLOBAL_NOTHING, malloc, free_wiped, realloc_wiped,
					strdup, calloc) != CURLE_OK)
		rc = cube_fail(err, CUBE_EINTERNAL, "libcurl cannot be initialised");
	if (!rc) {
		c->multi = curl_multi_init();
		c->easy = curl_easy_init();
		if (!c->multi || !c->easy) rc = cube_fail_sys(err, ENOMEM, "libcurl");
	}
	if (rc) cube_client_free(c);
	else *ret = c;
	return rc;
}

void cube_client_free(struct cube_client *c) {
	if (!c) return;
	while (c->transfers) cube_transfer_free(c->transfers);
	if (c->easy) curl_easy_cleanup(c->easy);
	if (c->multi) curl_multi_cleanup(c->multi);
	if (c->dir_fd >= 0) close(c->dir_fd);
	free(c);
}

/* What each request has: the socket, no proxy, no signals. */
static void set_common(struct cube_client *c, CURL *easy, const char *path) {
	cube_autofree char *url = cube_strf(URL_PREFIX "%s", path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
}

static long status_of(CURL *easy) {
	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static int fail_gone(struct cube_err *err) {
	return cube_fail(err, CUBE_ECONNECT,
			 "the manager went away; the next command starts it again");
}

/* In words of ours: what libcurl says is for those who program with it. */
static int fail_curl(CURL *easy, CURLcode code, struct cube_err *err) {
	long sys = 0;
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return cube_fail(err, CUBE_ETIMEOUT, "the manager did not answer within %ld s",
				 TIMEOUT_S);
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &sys);
		if (!sys) sys = ECONNREFUSED;
		cube_fail(err, CUBE_ECONNECT, "cannot reach the manager: %s", strerror((int)sys));
		if (err) err->sys = (int)sys;
		return CUBE_ECONNECT;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE: return fail_gone(err);
	case CURLE_OUT_OF_MEMORY: return cube_fail_sys(err, ENOMEM, "talking to the manager");
	case CURLE_WRITE_ERROR:
		return cube_fail(err, CUBE_ETOOBIG, "the manager's answer is over %u MiB",
				 REPLY_MAX >> 20);
	case CURLE_ABORTED_BY_CALLBACK:
		return cube_fail(err, CUBE_ESYS, "a file for the manager cannot be read");
	default:
		return cube_fail(err, CUBE_EPROTO,
				 "what answers on the manager's socket is no manager of cube's "
				 "(HTTP, %d)",
				 (int)code);
	}
}

static int code_of_name(const char *name, long status) {
	for (int code = CUBE_EUSAGE; code >= CUBE_ELIBRARY; code--)
		if (name && strcmp(cube_err_name(code), name) == 0) return code;
	return status == 404 ? CUBE_ENOTFOUND : status < 500 ? CUBE_EUSAGE : CUBE_EINTERNAL;
}

/* The error an answer of status >= 400 tells. */
static int fail_reply(const char *body, size_t n, long status, struct cube_err *err) {
	json_t *reply = json_loadb(body, n, 0, NULL);
	json_t *e = json_object_get(reply, "error");
	const char *message = json_string_value(json_object_get(e, "message"));
	int code = code_of_name(json_string_value(json_object_get(e, "code")), status);
	/* A field of the request, which on the command line are words or -w. */
	if (message && strncmp(message, "nodes: ", 7) == 0) message += 7;
	if (message) cube_fail(err, code, "%s", message);
	else cube_fail(err, code, "the manager answered HTTP %ld", status);
	json_decref(reply);
	return code;
}

static size_t take_reply(char *bytes, size_t size, size_t n, void *arg) {
	return cube_buf_add(arg, bytes, size * n) == 0 ? size * n : 0;
}

/* Performs c->easy, whose method and body are set, and reads the answer. */
static int perform(struct cube_client *c, json_t **ret_reply, struct cube_err *err) {
	struct cube_buf reply;
	cube_buf_init(&reply, REPLY_MAX);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_reply);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, &reply);
	CURLcode code = curl_easy_perform(c->easy);
	long status = status_of(c->easy);
	const char *body = (const char *)cube_buf_data(&reply);
	size_t n = cube_buf_len(&reply);
	int rc = 0;
	if (code != CURLE_OK) {
		rc = fail_curl(c->easy, code, err);
	} else if (status >= 400) {
		rc = fail_reply(body, n, status, err);
	} else if (ret_reply) {
		json_t *json = n ? json_loadb(body, n, 0, NULL) : NULL;
		if (n && !json) rc = cube_fail(err, CUBE_EPROTO, "the manager's answer is no JSON");
		else *ret_reply = json;
	}
	cube_buf_done(&reply);
	return rc;
}

/* key: of a request that may come twice, or NULL. */
static int request(struct cube_client *c, const char *method, const char *path, const char *key,
		   const json_t *body, json_t **ret_reply, struct cube_err *err) {
	struct cube_err why = {0};
	curl_easy_reset(c->easy);
	set_common(c, c->easy, path);
	curl_easy_setopt(c->easy, CURLOPT_TIMEOUT, TIMEOUT_S);
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	cube_autofree char *named = key ? cube_strf("Idempotency-Key: %s", key) : NULL;
	if (named) headers = curl_slist_append(headers, named);
	char *dump = NULL;
	if (body) {
		dump = json_dumps(body, JSON_COMPACT);
		if (!dump) {
			curl_slist_free_all(headers);
			return cube_fail(err, CUBE_EINTERNAL, "request body");
		}
		headers = curl_slist_append(headers, "Content-Type: application/json");
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(dump));
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, dump);
	} else if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, "");
	}
	if (strcmp(method, "HEAD") == 0) curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
	int rc = perform(c, ret_reply, &why);
	/* Nobody has seen the request: one that had nothing to do has ended since the last one. */
	if (rc == CUBE_ECONNECT && why.sys && c->restarts &&
	    (rc = cube_client_start_manager(c->restarts, &why)) == 0)
		rc = perform(c, ret_reply, &why);
	if (rc && err) *err = why;
	curl_slist_free_all(headers);
	if (dump) explicit_bzero(dump, strlen(dump));
	free(dump);
	return rc;
}

int cube_client_json(struct cube_client *c, const char *method, const char *path,
		     const json_t *body, json_t **ret_reply, struct cube_err *err) {
	return request(c, method, path, NULL, body, ret_reply, err);
}

int cube_client_post_once(struct cube_client *c, const char *path, const json_t *body,
			  const struct cube_paths *paths, json_t **ret_reply,
			  struct cube_err *err) {
	char first[CUBE_ID_HEX], second[CUBE_ID_HEX];
	cube_autofree char *key = cube_strf("%s%s", cube_id_hex(cube_id_u64(), first),
					    cube_id_hex(cube_id_u64(), second));
	int rc = request(c, "POST", path, key, body, ret_reply, err);
	for (int tries = 0; rc == CUBE_ECONNECT && tries < ONCE_TRIES; tries++) {
		rc = cube_client_start_manager(paths, err);
		if (!rc) rc = request(c, "POST", path, key, body, ret_reply, err);
	}
	return rc;
}

int cube_client_json_secret(struct cube_client *c, const char *method, const char *path,
			    json_t *taken, struct cube_err *err) {
	cube_client_secret_begin();
	int rc = cube_client_json(c, method, path, taken, NULL, err);
	json_decref(taken);
	/* The connection's buffers go with it. */
	curl_easy_cleanup(c->easy);
	c->easy = curl_easy_init();
	if (!c->easy) abort(); /* out of memory, as cube_alloc */
	cube_client_secret_end();
	return rc;
}

void cube_client_restarts(struct cube_client *c, const struct cube_paths *paths) {
	c->restarts = paths;
}

static size_t read_file(char *into, size_t size, size_t n, void *arg) {
	const int *fd = arg;
	ssize_t got;
	do got = read(*fd, into, size * n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

int cube_client_put(struct cube_client *c, const char *path, int fd, uint64_t size,
		    struct cube_err *err) {
	curl_easy_reset(c->easy);
	set_common(c, c->easy, path);
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c->easy, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
	curl_easy_setopt(c->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, read_file);
	curl_easy_setopt(c->easy, CURLOPT_READDATA, &fd);
	int rc = perform(c, NULL, err);
	curl_slist_free_all(headers);
	return rc;
}

/* ---- upgrades ---- */

/* Waits for the socket, which is non-blocking, and writes or reads some of it. */
static ssize_t transfer(int fd, bool out, char *bytes, size_t n) {
	for (;;) {
		struct pollfd p = {.fd = fd, .events = out ? POLLOUT : POLLIN};
		int rc = poll(&p, 1, (int)(TIMEOUT_S * 1000));
		if (rc < 0 && errno == EINTR) continue;
		if (rc <= 0) return -1;
		ssize_t done = out ? send(fd, bytes, n, MSG_NOSIGNAL) : recv(fd, bytes, n, 0);
		if (done < 0 && (errno == EAGAIN || errno == EINTR)) continue;
		return done;
	}
}

/* The value of a header, as a number; 0 where it is absent. */
static size_t header_number(const char *head, const char *name) {
	const char *at = strcasestr(head, name);
	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

/* The answer to an upgrade: 0 for 101; else what it says. */
static int read_answer(int fd, struct cube_err *err) {
	struct cube_buf b;
	const char *text = "", *body = NULL;
	size_t want = 0;
	ssize_t got = 1;
	cube_buf_init(&b, 64u << 10);
	while (got > 0 && (!body || cube_buf_len(&b) - (size_t)(body - text) < want)) {
		char chunk[4096];
		/* what comes right behind the head of a 101 is the stream's */
		got = transfer(fd, false, chunk, body ? sizeof chunk : 1);
		if (got > 0 && cube_buf_add(&b, chunk, (size_t)got)) got = -1;
		text = cube_buf_str(&b);
		body = strstr(text, "\r\n\r\n");
		if (!body) continue;
		body += 4;
		want = header_number(text, "\r\nContent-Length:");
	}
	long status = body && strncmp(text, "HTTP/1.1 ", 9) == 0 ? strtol(text + 9, NULL, 10) : 0;
	int rc = 0;
	if (!status) rc = fail_gone(err);
	else if (status >= 400) rc = fail_reply(body, strlen(body), status, err);
	else if (status != 101)
		rc = cube_fail(err, CUBE_EPROTO, "the manager answered HTTP %ld", status);
	cube_buf_done(&b);
	return rc;
}

static int ask_upgrade(int fd, const char *path, const char *protocol, struct cube_err *err) {
	cube_autofree char *head =
		cube_strf("POST %s HTTP/1.1\r\nHost: cube\r\nContent-Length: 0\r\n"
			  "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n",
			  path, protocol);
	for (size_t n = strlen(head), at = 0; at < n;) {
		ssize_t done = transfer(fd, true, head + at, n - at);
		if (done < 0) return fail_gone(err);
		at += (size_t)done;
	}
	return read_answer(fd, err);
}

int cube_client_upgrade(struct cube_client *c, const char *path, const char *protocol, int *ret_fd,
			struct cube_err *err) {
	curl_socket_t sock = CURL_SOCKET_BAD;
	CURL *easy = curl_easy_init();
	if (!easy) return cube_fail_sys(err, ENOMEM, "libcurl");
	set_common(c, easy, path);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	CURLcode code = curl_easy_perform(easy);
	int fd = -1, rc = code == CURLE_OK ? 0 : fail_curl(easy, code, err);
	if (!rc) {
		curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &sock);
		fd = fcntl(sock, F_DUPFD_CLOEXEC, 3); /* libcurl closes its own */
		if (fd < 0) rc = cube_fail_sys(err, errno, "the manager's socket");
	}
	if (!rc) rc = ask_upgrade(fd, path, protocol, err);
	curl_easy_cleanup(easy);
	if (!rc) *ret_fd = fd;
	else if (fd >= 0) close(fd);
	return rc;
}

/* ---- streams ---- */

static size_t take_bytes(char *bytes, size_t size, size_t n, void *arg) {
	struct cube_transfer *t = arg;
	n *= size;
	if (status_of(t->easy) >= 400) {
		size_t room = cube_buf_room(&t->error_body);
		cube_buf_add(&t->error_body, bytes, n < room ? n : room);
		return n;
	}
	t->calling = true;
	t->stopped = t->fn ? t->fn(t->arg, bytes, n) : 0;
	t->calling = false;
	return t->stopped ? CURL_WRITEFUNC_ERROR : n;
}

/* Reads what is there; pauses the transfer until the fd has more. */
static size_t read_pausing(char *into, size_t size, size_t n, void *arg) {
	struct cube_transfer *t = arg;
	struct pollfd p = {.fd = t->fd, .events = POLLIN};
	ssize_t got = -1;
	errno = EAGAIN;
	if (poll(&p, 1, 0) > 0) got = read(t->fd, into, size * n);
	if (got >= 0) return (size_t)got;
	if (errno == EAGAIN || errno == EINTR) {
		t->paused = true;
		return CURL_READFUNC_PAUSE;
	}
	return 0; /* what cannot be read is at its end */
}

static struct cube_transfer *transfer_new(struct cube_client *c, const char *path) {
	struct cube_transfer *t = cube_alloc(sizeof *t);
	t->client = c;
	t->fd = -1;
	t->easy = curl_easy_init();
	if (!t->easy) abort(); /* out of memory, as cube_alloc */
	cube_buf_init(&t->error_body, 64u << 10);
	set_common(c, t->easy, path);
	t->headers = curl_slist_append(NULL, "Expect:");
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	t->next = c->transfers;
	c->transfers = t;
	return t;
}

struct cube_transfer *cube_client_get(struct cube_client *c, const char *path, cube_client_fn *fn,
				      void *arg) {
	struct cube_transfer *t = transfer_new(c, path);
	t->fn = fn;
	t->arg = arg;
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	curl_multi_add_handle(c->multi, t->easy);
	return t;
}

struct cube_transfer *cube_client_ask(struct cube_client *c, const char *path, const json_t *body,
				      cube_client_fn *fn, void *arg) {
	struct cube_transfer *t = transfer_new(c, path);
	char *dump = json_dumps(body, JSON_COMPACT);
	if (!dump) abort(); /* out of memory, as cube_alloc */
	t->fn = fn;
	t->arg = arg;
	t->headers = curl_slist_append(t->headers, "Content-Type: application/json");
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(dump));
	curl_easy_setopt(t->easy, CURLOPT_COPYPOSTFIELDS, dump);
	curl_multi_add_handle(c->multi, t->easy);
	free(dump);
	return t;
}

struct cube_transfer *cube_client_post(struct cube_client *c, const char *path, int fd) {
	struct cube_transfer *t = transfer_new(c, path);
	t->fd = fd;
	t->headers = curl_slist_append(t->headers, "Transfer-Encoding: chunked");
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, read_pausing);
	curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
	curl_multi_add_handle(c->multi, t->easy);
	return t;
}

bool cube_transfer_ended(const struct cube_transfer *t) {
	return t->ended;
}

int cube_transfer_result(const struct cube_transfer *t, struct cube_err *err) {
	if (t->stopped) return t->stopped;
	long status = status_of(t->easy);
	if (status >= 400)
		return fail_reply((const char *)cube_buf_data(&t->error_body),
				  cube_buf_len(&t->error_body), status, err);
	return t->code == CURLE_OK ? 0 : fail_curl(t->easy, t->code, err);
}

void cube_transfer_free(struct cube_transfer *t) {
	if (!t) return;
	cube_assert(!t->calling);
	struct cube_transfer **at = &t->client->transfers;
	while (*at != t) at = &(*at)->next;
	*at = t->next;
	curl_multi_remove_handle(t->client->multi, t->easy);
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	cube_buf_done(&t->error_body);
	free(t);
}

/* Lets paused transfers go on whose fd has something. */
static void resume(struct cube_client *c, const struct curl_waitfd *w, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (!w[i].revents) continue;
		for (struct cube_transfer *t = c->transfers; t; t = t->next) {
			if (!t->paused || t->fd != w[i].fd) continue;
			t->paused = false;
			curl_easy_pause(t->easy, CURLPAUSE_CONT);
		}
	}
}

/* One may remove itself and any other: next_hook goes along. */
static void call_hooks(struct cube_client *c, enum cube_client_turn what) {
	c->next_hook = c->hooks;
	for (struct cube_client_hook *h; (h = c->next_hook);) {
		bool readable = h->readable;
		c->next_hook = h->next;
		h->readable = false;
		h->fn(h->arg, what == CUBE_TURN_IDLE && readable ? CUBE_TURN_READABLE : what);
	}
}

void cube_client_turn(struct cube_client *c, struct pollfd *fds, size_t n, int timeout_ms) {
	struct curl_waitfd w[TURN_FDS] = {0};
	size_t count = 0;
	for (; count < n && count < TURN_FDS; count++) {
		w[count].fd = fds[count].fd;
		w[count].events = CURL_WAIT_POLLIN;
	}
	for (struct cube_transfer *t = c->transfers; t && count < TURN_FDS; t = t->next) {
		if (!t->paused || t->ended) continue;
		w[count].fd = t->fd;
		w[count++].events = CURL_WAIT_POLLIN;
	}
	size_t hooked = count;
	for (struct cube_client_hook *h = c->hooks; h && count < TURN_FDS; h = h->next) {
		if (h->fd < 0) continue;
		w[count].fd = h->fd;
		w[count++].events = CURL_WAIT_POLLIN;
	}
	/* poll(2) skips negative fds, curl does not like them: 0 fds then only means "wait" */
	curl_multi_poll(c->multi, w, (unsigned)count, timeout_ms < 0 ? 60000 : timeout_ms, NULL);
	for (size_t i = 0; i < n && i < TURN_FDS; i++) fds[i].revents = w[i].revents;
	resume(c, w, hooked);
	int running, left;
	curl_multi_perform(c->multi, &running);
	for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
		struct cube_transfer *t = NULL;
		if (m->msg != CURLMSG_DONE) continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->ended = true;
		t->code = m->data.result;
	}
	for (struct cube_client_hook *h = c->hooks; h; h = h->next)
		h->readable = hooked < count && w[hooked].fd == h->fd && w[hooked++].revents;
	call_hooks(c, CUBE_TURN_IDLE);
}

void cube_client_hook_add(struct cube_client *c, struct cube_client_hook *hook) {
	hook->next = c->hooks;
	c->hooks = hook;
}

void cube_client_hook_remove(struct cube_client *c, struct cube_client_hook *hook) {
	struct cube_client_hook **at = &c->hooks;
	while (*at && *at != hook) at = &(*at)->next;
	if (*at) *at = hook->next;
	if (c->next_hook == hook) c->next_hook = hook->next;
}

void cube_client_interrupted(struct cube_client *c) {
	call_hooks(c, CUBE_TURN_INTERRUPTED);
}
