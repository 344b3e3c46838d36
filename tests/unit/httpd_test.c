/* The HTTP server over real unix sockets, one thread: the test is the client and turns the loop. */
#include <check.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/api/httpd.h"
#include "cube/listen.h"
#include "cube/loop.h"
#include "cube/mem.h"

enum { TURNS = 20000 };

/* ck_assert writes a line each time: too slow for each byte. */
#define SAME(a, b)                                                                          \
	do {                                                                                \
		if ((a) != (b)) ck_abort_msg("%u is not %u", (unsigned)(a), (unsigned)(b)); \
	} while (0)

struct source { /* of an answer over time: `total` bytes of a pattern */
	uint64_t at, total;
	bool pauses;  /* every other pull gives nothing, and asks to be woken */
	bool inside;  /* ... from inside pull */
	bool blocked; /* gives nothing until the test wakes it */
	bool hiccup;
	struct cube_reply_stream *rs;
};

struct sink {
	uint64_t taken, sum, step; /* step: at most so many bytes a call, then a wake is needed */
	bool blocked, early, ended;
	struct cube_request *req;
};

static struct fixture {
	struct cube_loop *loop;
	struct cube_httpd *h;
	char dir[32], path[64];
	struct cube_request *waiting; /* of /later */
	struct source source;
	struct sink sink;
	unsigned frees, gones, ends, handled;
	bool wake_in_hook;
	bool open;     /* something is not committed */
	bool hold;     /* .. and will not be in this turn */
	bool modifies; /* /hello changes something */
	struct cube_upgraded *up;
	int up_fd;
	char early[16];
} fx;

static uint8_t pattern(uint64_t at) {
	return (uint8_t)(at * 31 + (at >> 8) + (at >> 16));
}

/* --- handlers --- */

static void hello(void *arg, struct cube_request *req) {
	fx.handled++;
	fx.open |= fx.modifies;
	cube_reply(req, 200, "text/plain", "hello", 5);
}

static void words(void *arg, struct cube_request *req) {
	char text[512];
	const char *q = cube_request_query(req, "q"), *h = cube_request_header(req, "X-Test");
	int n = snprintf(text, sizeof text, "%s %s [%s] [%s] [%s] [%s]", cube_request_method(req),
			 cube_request_path(req), cube_request_segment(req, "a"),
			 cube_request_segment(req, "b"), q ? q : "-", h ? h : "-");
	cube_reply(req, 200, "text/plain", text, (size_t)n);
}

static void body(void *arg, struct cube_request *req) {
	size_t n;
	const void *bytes = cube_request_body(req, &n);
	fx.handled++;
	cube_reply(req, 200, "text/plain", bytes, n);
}

static void answer_waiting(void *arg) {
	cube_reply(fx.waiting, 202, "text/plain", "later", 5);
	fx.waiting = NULL;
}

static void later(void *arg, struct cube_request *req) {
	fx.waiting = req;
	if (cube_request_query(req, "never")) return;
	cube_loop_defer(fx.loop, answer_waiting, NULL);
}

static void wake_source(void *arg) {
	if (fx.source.rs) cube_reply_wake(fx.source.rs);
}

static ssize_t source_pull(void *arg, uint8_t *space, size_t n) {
	struct source *s = arg;
	if (s->blocked) return 0;
	if (s->pauses && (s->hiccup = !s->hiccup)) {
		if (s->inside) wake_source(NULL);
		else cube_loop_defer(fx.loop, wake_source, NULL);
		return 0;
	}
	if (s->at == s->total) return -1;
	if (n > s->total - s->at) n = s->total - s->at;
	for (size_t i = 0; i < n; i++) space[i] = pattern(s->at + i);
	s->at += n;
	return (ssize_t)n;
}

static void source_free(void *arg) {
	((struct source *)arg)->rs = NULL;
	fx.frees++;
}

static void stream(void *arg, struct cube_request *req) {
	static const struct cube_reply_source source = {source_pull, source_free};
	fx.source.rs = cube_reply_begin(req, 200, "application/octet-stream", &source, &fx.source);
}

static void wake_sink(void *arg) {
	if (fx.sink.req) cube_request_wake(fx.sink.req);
}

static size_t sink_data(void *arg, struct cube_request *req, const uint8_t *bytes, size_t n) {
	struct sink *s = arg;
	if (s->blocked) return 0;
	if (s->step && n > s->step) {
		n = s->step;
		cube_loop_defer(fx.loop, wake_sink, NULL);
	}
	for (size_t i = 0; i < n; i++) SAME(bytes[i], pattern(s->taken + i));
	s->taken += n;
	if (s->early && s->taken >= 10) cube_reply(req, 409, "text/plain", "enough", 6);
	return n;
}

static void sink_end(void *arg, struct cube_request *req) {
	struct sink *s = arg;
	char text[32];
	fx.ends++;
	s->ended = true;
	int n = snprintf(text, sizeof text, "%llu", (unsigned long long)s->taken);
	cube_reply(req, 200, "text/plain", text, (size_t)n);
}

static void sink_gone(void *arg, struct cube_request *req) {
	fx.gones++;
	((struct sink *)arg)->req = NULL;
}

static void take(void *arg, struct cube_request *req) {
	static const struct cube_body_sink sink = {sink_data, sink_end, sink_gone};
	if (cube_request_query(req, "refuse")) {
		cube_reply(req, 409, "text/plain", "no", 2);
		return;
	}
	fx.sink.req = req;
	cube_request_sink(req, &sink, &fx.sink);
}

static void upgraded(void *arg, struct cube_request *req, struct cube_upgraded *up, int fd,
		     const void *early, size_t n) {
	fx.up = up;
	fx.up_fd = fd;
	ck_assert_str_eq(cube_request_segment(req, "name"), "it");
	snprintf(fx.early, sizeof fx.early, "%.*s", (int)n, (const char *)early);
}

static void upgrade(void *arg, struct cube_request *req) {
	cube_reply_upgrade(req, "test/1", upgraded, NULL);
}

static void head(void *arg, struct cube_request *req) {
	cube_reply(req, 204, "text/x-head", NULL, 0);
}

static void refuse(void *arg, struct cube_request *req) {
	char text[32];
	int n = snprintf(text, sizeof text, "refused %d", cube_request_refusal(req));
	cube_reply(req, cube_request_refusal(req), "text/plain", text, (size_t)n);
}

static const struct cube_route routes[] = {
	{"GET", "/hello", hello, 0},        {"GET", "/w/{a}/x/{b}", words, 0},
	{"POST", "/body", body, 64},        {"POST", "/later", later, 64},
	{"GET", "/stream", stream, 0},      {"POST", "/sink", take, SIZE_MAX},
	{"GET", "/both", hello, 0},         {"HEAD", "/both", head, 0},
	{"POST", "/up/{name}", upgrade, 0},
};

/* --- the client --- */

static void hook(void *arg) {
	if (fx.wake_in_hook) {
		fx.wake_in_hook = false;
		fx.source.blocked = false;
		wake_source(NULL);
	}
	if (fx.hold) return;
	fx.open = false;
	if (fx.h) cube_httpd_flush(fx.h);
}

static bool may_tell(void *arg) {
	return !fx.open;
}

static void setup(void) {
	int fd;
	memset(&fx, 0, sizeof fx);
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	snprintf(fx.dir, sizeof fx.dir, "/tmp/httpd-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fx.dir));
	snprintf(fx.path, sizeof fx.path, "%s/sock", fx.dir);
	ck_assert_int_eq(cube_loop_new(&fx.loop, NULL), 0);
	ck_assert_int_eq(cube_listen_unix_fd(fx.path, &fd, NULL), 0);
	cube_loop_before_sleep(fx.loop, 20, hook, NULL);
	ck_assert_int_eq(cube_httpd_new(fx.loop, fd, routes, sizeof routes / sizeof routes[0],
					refuse, may_tell, NULL, &fx.h, NULL),
			 0);
}

static void teardown(void) {
	cube_httpd_free(fx.h);
	cube_loop_free(fx.loop);
	unlink(fx.path);
	rmdir(fx.dir);
}

static void turn(void) {
	if (cube_loop_turn(fx.loop, 0, NULL)) ck_abort_msg("the loop failed");
}
static void turns(int n) {
	while (n--) turn();
}

static int dial(void) {
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", fx.path);
	for (int i = 0; connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0; i++) {
		ck_assert_int_eq(errno, EAGAIN); /* as many wait to be accepted as may */
		ck_assert_int_lt(i, 100);
		turn();
	}
	return fd;
}

static void put(int fd, const void *bytes, size_t n) {
	const char *p = bytes;
	for (int i = 0; n; i++) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		if (w < 0 && errno == EPIPE) return;
		if (w > 0) p += w, n -= (size_t)w;
		else turn();
		if (i >= TURNS) ck_abort_msg("nobody reads");
	}
}
static void say(int fd, const char *text) {
	put(fd, text, strlen(text));
}

/* Reads until `until` was seen so many times, or the end of file (until NULL). */
static size_t hear(int fd, char *to, size_t size, const char *until, int times) {
	size_t n = 0;
	for (int i = 0; i < TURNS; i++) {
		ssize_t r = recv(fd, to + n, size - 1 - n, 0);
		if (r > 0) n += (size_t)r, i = 0;
		to[n] = 0;
		if (r == 0 || (r < 0 && errno == ECONNRESET)) return n;
		if (until) {
			int seen = 0;
			for (const char *p = to; (p = strstr(p, until)); p++) seen++;
			if (seen >= times) return n;
		}
		turn();
	}
	ck_abort_msg("nothing more comes; so far: %s", to);
	return 0;
}

static char answer[1 << 20];

static const char *ask(const char *request, const char *until) {
	int fd = dial();
	say(fd, request);
	hear(fd, answer, sizeof answer, until, 1);
	close(fd);
	turns(5);
	return answer;
}

/* --- tests --- */

START_TEST(routes_and_words) {
	ck_assert_ptr_nonnull(
		strstr(ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", "hello"), "200 OK"));
	ask("GET /w/a%20b/x/%C3%A9?q=1%262&z HTTP/1.1\r\nHost: x\r\nx-test: yes\r\n\r\n", "[yes]");
	ck_assert_ptr_nonnull(strstr(answer, "GET /w/a b/x/\xc3\xa9 [a b] [\xc3\xa9] [1&2] [yes]"));
	ask("GET /w/1/x/2?q HTTP/1.1\r\nHost: x\r\n\r\n", "[-]");
	ck_assert_ptr_nonnull(strstr(answer, "[1] [2] [] [-]"));
	static const char *const missing[] = {"/",       "/hell",   "/hello/",   "/hellox",
					      "/w//x/2", "/w/1/x/", "/w/1/x/2/3"};
	for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", missing[i]);
		ck_assert_ptr_nonnull(strstr(ask(text, "refused"), "404"));
	}
	ck_assert_ptr_nonnull(
		strstr(ask("DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n", "refused"), "refused 405"));
}
END_TEST

static ssize_t heard(int fd) {
	return recv(fd, answer, sizeof answer, MSG_DONTWAIT);
}

/* What a request changed is committed before its answer goes out, and a long answer has nothing
 * that is not committed, whoever changed it. */
START_TEST(nothing_is_told_before_the_commit) {
	int modifier = dial(), reader = dial();
	fx.modifies = fx.hold = true;
	say(modifier, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	ck_assert_uint_eq(fx.handled, 1);
	ck_assert_int_lt(heard(modifier), 0);
	fx.hold = false;
	turn();
	ck_assert_int_gt(heard(modifier), 0);

	fx.source.total = 100;
	fx.source.blocked = true;
	say(reader, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	turns(20);
	ck_assert_int_gt(heard(reader), 0); /* the head */
	fx.hold = fx.open = true;
	fx.source.blocked = false;
	wake_source(NULL);
	turns(20);
	ck_assert_uint_eq(fx.source.at, 0);
	ck_assert_int_lt(heard(reader), 0);
	fx.hold = false;
	turns(2);
	ck_assert_uint_eq(fx.source.at, 100);
	close(modifier);
	close(reader);
	turns(5);
}
END_TEST

/* A reader goes on although something is changed in every turn. */
START_TEST(changes_without_end_starve_no_reader) {
	int modifier = dial(), reader = dial();
	size_t n = 0;
	fx.modifies = true;
	fx.source.total = sizeof answer / 2;
	say(reader, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 5000; i++) {
		ssize_t r;
		char some[512];
		if (recv(modifier, some, sizeof some, MSG_DONTWAIT) != 0)
			say(modifier, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
		fx.open = true;
		turn();
		while ((r = heard(reader)) > 0) n += (size_t)r;
		if (r == 0) break;
	}
	ck_assert_uint_gt(n, fx.source.total);
	ck_assert_uint_eq(fx.source.at, fx.source.total);
	close(modifier);
	close(reader);
	turns(5);
}
END_TEST

START_TEST(head_requests) {
	ask("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
	ck_assert_ptr_nonnull(strstr(answer, "Content-Length: 5\r\n"));
	ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	ask("HEAD /both HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
	ck_assert_ptr_nonnull(strstr(answer, "204"));
	fx.source.total = 100;
	ask("HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
	ck_assert_uint_eq(fx.frees, 1);
	ck_assert_uint_eq(fx.source.at, 0);
}
END_TEST

/* A keep-alive connection with all kinds of requests one after the other. */
static const char MIXED[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
			    "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"
			    "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
			    "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
			    "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
			    "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
			    "GET /w/1/x/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

START_TEST(split_anywhere) {
	static char whole[16384];
	ask(MIXED, NULL);
	ck_assert_uint_lt(strlen(answer), sizeof whole);
	memcpy(whole, answer, strlen(answer) + 1);
	const char *const in_order[] = {"hello", "0123456789",  "later",
					"abcde", "refused 404", "[1] [2]"};
	const char *p = whole;
	for (size_t i = 0; i < sizeof in_order / sizeof in_order[0]; i++) {
		p = strstr(p, in_order[i]);
		ck_assert_msg(p, "%s is missing in %s", in_order[i], whole);
	}
	for (size_t at = 1; at < sizeof MIXED - 1; at++) {
		int fd = dial();
		put(fd, MIXED, at);
		turns(3);
		put(fd, MIXED + at, sizeof MIXED - 1 - at);
		hear(fd, answer, sizeof answer, NULL, 0);
		close(fd);
		ck_assert_msg(!strcmp(answer, whole), "split at %zu: %s", at, answer);
	}
	int fd = dial(); /* and each byte by itself */
	for (size_t at = 0; at < sizeof MIXED - 1; at++) {
		put(fd, MIXED + at, 1);
		turns(2);
	}
	hear(fd, answer, sizeof answer, NULL, 0);
	close(fd);
	ck_assert_str_eq(answer, whole);
}
END_TEST

START_TEST(pipelined) {
	int fd = dial();
	for (int i = 0; i < 500; i++) say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(fd, answer, sizeof answer, "hello", 500);
	close(fd);
	ck_assert_uint_eq(fx.handled, 500);
	turns(5);
	ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
}
END_TEST

START_TEST(bodies_too_big) {
	char text[4096];
	ask("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n"
	    "01234567890123456789012345678901234567890123456789012345678901234",
	    "refused 413");
	ask("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 64\r\n\r\n"
	    "0123456789012345678901234567890123456789012345678901234567890123",
	    "90123");
	ck_assert_ptr_nonnull(strstr(answer, "200 OK"));
	/* A client that waits to be asked is not. */
	ask("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n"
	    "Expect: 100-continue\r\n\r\n",
	    "refused 413");
	ck_assert_ptr_null(strstr(answer, "100 Continue"));
	/* One that does not wait is answered before it has sent all. */
	ask("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n0123",
	    "refused 413");
	/* Chunks tell their sum late. */
	snprintf(text, sizeof text,
		 "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "40\r\n%064d\r\n40\r\n%064d\r\n",
		 1, 2);
	ask(text, "refused 413");
	ask("GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", "refused 413");
	ck_assert_uint_eq(fx.handled, 1);
}
END_TEST

START_TEST(head_too_big) {
	static char big[400000];
	int fd = dial();
	memset(big, 'a', sizeof big);
	say(fd, "GET /");
	put(fd, big, sizeof big);
	hear(fd, answer, sizeof answer, NULL, 0);
	close(fd);
	ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 4"));
	turns(5);
	ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
}
END_TEST

static size_t unchunk(char *text, size_t n) {
	char *from = strstr(text, "\r\n\r\n") + 4, *to = text;
	while (from < text + n) {
		size_t len = strtoul(from, &from, 16);
		from += 2;
		memmove(to, from, len);
		to += len;
		from += len + 2;
		if (!len) break;
	}
	return (size_t)(to - text);
}

START_TEST(streams) {
	static char big[4 << 20];
	for (int mode = 0; mode < 3; mode++) {
		fx.source =
			(struct source){.total = 1000000, .pauses = mode > 0, .inside = mode > 1};
		int fd = dial();
		say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
		size_t n = unchunk(big, hear(fd, big, sizeof big, NULL, 0));
		close(fd);
		ck_assert_uint_eq(n, 1000000);
		for (size_t i = 0; i < n; i++) SAME((uint8_t)big[i], pattern(i));
		ck_assert_uint_eq(fx.frees, (unsigned)mode + 1);
	}
	/* HTTP/1.0 knows no chunks. */
	fx.source = (struct source){.total = 100000, .pauses = true};
	size_t n = strlen("HTTP/1.0");
	int fd = dial();
	say(fd, "GET /stream HTTP/1.0\r\n\r\n");
	n = hear(fd, big, sizeof big, NULL, 0);
	close(fd);
	char *at = strstr(big, "\r\n\r\n") + 4;
	ck_assert_uint_eq(n - (size_t)(at - big), 100000);
	for (size_t i = 0; i < 100000; i++) SAME((uint8_t)at[i], pattern(i));
}
END_TEST

START_TEST(slow_reader) {
	enum { TOTAL = 20 << 20 };
	char *got = malloc(TOTAL * 2);
	fx.source = (struct source){.total = TOTAL};
	int fd = dial();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	turns(1000);
	uint64_t at = fx.source.at;
	ck_assert_uint_lt(at, 1 << 20); /* what the kernel takes and one buffer */
	turns(1000);
	ck_assert_uint_eq(fx.source.at, at);
	size_t n = unchunk(got, hear(fd, got, TOTAL * 2, NULL, 0));
	close(fd);
	ck_assert_uint_eq(n, TOTAL);
	for (size_t i = 0; i < n; i++) SAME((uint8_t)got[i], pattern(i));
	free(got);
}
END_TEST

/* Woken by a before-sleep hook, a stream's bytes are at the client within that same turn. */
START_TEST(woken_by_flush) {
	fx.source = (struct source){.total = 50, .blocked = true};
	int fd = dial();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(fd, answer, sizeof answer, "\r\n\r\n", 1);
	turns(5);
	fx.wake_in_hook = true;
	ck_assert_int_eq(cube_loop_turn(fx.loop, 5000, NULL), 0);
	ck_assert_uint_eq(fx.source.at, 50);
	ck_assert_int_gt(recv(fd, answer, sizeof answer, 0), 50);
	close(fd);
}
END_TEST

static void send_body(int fd, uint64_t n, bool chunked) {
	uint8_t block[1000];
	char size[16];
	for (uint64_t at = 0; at < n;) {
		size_t k = n - at < sizeof block ? n - at : sizeof block;
		for (size_t i = 0; i < k; i++) block[i] = pattern(at + i);
		snprintf(size, sizeof size, "%zx\r\n", k);
		if (chunked) say(fd, size);
		put(fd, block, k);
		if (chunked) say(fd, "\r\n");
		at += k;
	}
	if (chunked) say(fd, "0\r\n\r\n");
}

START_TEST(sinks) {
	static const uint64_t steps[] = {0, 1, 7, 999, 70000};
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		for (int chunked = 0; chunked < 2; chunked++) {
			uint64_t total = steps[i] && steps[i] < 100 ? 1000 : 300000;
			char text[128];
			fx.sink = (struct sink){.step = steps[i]};
			int fd = dial();
			snprintf(text, sizeof text,
				 "POST /sink HTTP/1.1\r\nHost: x\r\n%s%.0llu\r\n\r\n",
				 chunked ? "Transfer-Encoding: chunked" : "Content-Length: ",
				 chunked ? 0ull : (unsigned long long)total);
			say(fd, text);
			send_body(fd, total, chunked);
			hear(fd, answer, sizeof answer, "\r\n\r\n", 1);
			ck_assert_ptr_nonnull(strstr(answer, "200 OK"));
			ck_assert_uint_eq(fx.sink.taken, total);
			say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"); /* kept alive */
			hear(fd, answer, sizeof answer, "hello", 1);
			close(fd);
			turns(5);
		}
	}
	ck_assert_uint_eq(fx.ends, 10);
	ck_assert_uint_eq(fx.gones, 10);
	ask("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200 OK");
	ask("POST /sink?refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "no");
	ck_assert_ptr_nonnull(strstr(answer, "409"));
}
END_TEST

START_TEST(body_back_pressure) {
	static uint8_t block[1 << 20];
	fx.sink.blocked = true;
	int fd = dial();
	say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n");
	uint64_t sent = 0;
	for (int i = 0; i < 2000; i++) {
		for (size_t k = 0; k < sizeof block; k++) block[k] = pattern(sent + k);
		ssize_t w = send(fd, block, sizeof block, MSG_NOSIGNAL);
		if (w > 0) sent += (uint64_t)w;
		turn();
	}
	ck_assert_uint_lt(sent, 1 << 20);
	ck_assert_uint_eq(fx.sink.taken, 0);
	fx.sink.blocked = false;
	wake_sink(NULL);
	while (sent < 8388608) {
		size_t n = 8388608 - sent < sizeof block ? 8388608 - sent : sizeof block;
		for (size_t k = 0; k < n; k++) block[k] = pattern(sent + k);
		put(fd, block, n);
		sent += n;
	}
	hear(fd, answer, sizeof answer, "8388608", 1);
	close(fd);
}
END_TEST

/* An answer in the middle of the body reaches a client that goes on sending, and one that waits. */
START_TEST(answers_early) {
	fx.sink.early = true;
	int fd = dial();
	say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
	send_body(fd, 20, false);
	hear(fd, answer, sizeof answer, NULL, 0);
	ck_assert_ptr_nonnull(strstr(answer, "409 Conflict"));
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nenough"));
	close(fd);
	turns(5);
	fx.sink = (struct sink){0}; /* idle in the middle, and the answer comes from elsewhere */
	fd = dial();
	say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	turns(5);
	cube_reply(fx.sink.req, 409, "text/plain", "gone", 4);
	hear(fd, answer, sizeof answer, NULL, 0);
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\ngone"));
	close(fd);
	turns(5);
	fx.sink = (struct sink){.blocked = true}; /* the same while the body waits for room */
	fd = dial();
	say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
	send_body(fd, 100, false);
	turns(5);
	cube_reply(fx.sink.req, 409, "text/plain", "gone", 4);
	hear(fd, answer, sizeof answer, NULL, 0);
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\ngone"));
	close(fd);
	turns(5);
	ck_assert_uint_eq(fx.gones, 3);
	ck_assert_uint_eq(fx.ends, 0);
	ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
}
END_TEST

START_TEST(client_vanishes) {
	static const char *const requests[] = {
		"GET /hel",
		"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123",
		"POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST /later?never HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		fx.source = (struct source){.total = 100, .blocked = true};
		int fd = dial();
		say(fd, requests[i]);
		turns(5);
		ck_assert_uint_eq(cube_httpd_connections(fx.h), 1);
		close(fd);
		turns(10);
		ck_assert_msg(cube_httpd_connections(fx.h) == 0, "still there: %s", requests[i]);
	}
	ck_assert_uint_eq(fx.gones, 1);
	ck_assert_uint_eq(fx.frees, 1);
	/* blocked in the body, and blocked in sending */
	fx.sink.blocked = true;
	int fd = dial();
	say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789");
	turns(5);
	close(fd);
	turns(10);
	ck_assert_uint_eq(fx.gones, 2);
	fx.source = (struct source){.total = 100 << 20};
	fd = dial();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	close(fd);
	turns(10);
	ck_assert_uint_eq(fx.frees, 2);
	ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
}
END_TEST

/* Taken down with requests in every kind of waiting. */
START_TEST(freed_while_busy) {
	int fds[4];
	fx.source = (struct source){.total = 100, .blocked = true};
	fx.sink.blocked = true;
	for (int i = 0; i < 4; i++) fds[i] = dial();
	say(fds[0], "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	say(fds[1], "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789");
	say(fds[2], "POST /later?never HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	say(fds[3], "GET /he");
	turns(10);
	cube_reply_wake(fx.source.rs); /* a deferred run is pending */
	cube_httpd_free(fx.h);
	fx.h = NULL;
	ck_assert_uint_eq(fx.frees, 1);
	ck_assert_uint_eq(fx.gones, 1);
	for (int i = 0; i < 4; i++) close(fds[i]);
}
END_TEST

START_TEST(many_connections) {
	enum { N = 1010 }; /* more than are served at a time: the others wait */
	static int fds[N];
	for (int i = 0; i < N; i++) fds[i] = dial();
	turns(20);
	ck_assert_uint_le(cube_httpd_connections(fx.h), 1000);
	for (int i = 0; i < N; i++) say(fds[i], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < N; i++) {
		hear(fds[i], answer, sizeof answer, "hello", 1);
		close(fds[i]);
	}
	turns(20);
	ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
}
END_TEST

/* --- libcurl, which the CLI uses --- */

struct upload {
	uint64_t at, total;
};

static int dial_upgrade(void) {
	int fd = dial();
	say(fd, "POST /up/it HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"
		"Upgrade: test/1\r\n\r\n");
	hear(fd, answer, sizeof answer, "\r\n\r\n", 1);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 101 ", 13), 0);
	ck_assert_ptr_nonnull(strstr(answer, "Upgrade: test/1\r\n"));
	turns(5);
	ck_assert_ptr_nonnull(fx.up);
	return fd;
}

/* Bytes both ways that are no HTTP, beside requests that are; then the end, from either side. */
START_TEST(upgrades) {
	char text[32] = "";
	for (int server_first = 0; server_first < 2; server_first++) {
		int fd = dial_upgrade();
		say(fd, "ping");
		turns(5);
		ck_assert_int_eq(recv(fx.up_fd, text, sizeof text, 0), 4);
		ck_assert_int_eq(strncmp(text, "ping", 4), 0);
		ck_assert_int_eq(send(fx.up_fd, "GET / pong", 10, MSG_NOSIGNAL), 10);
		hear(fd, text, sizeof text, "pong", 1);
		ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", "hello");
		ck_assert_uint_eq(cube_httpd_connections(fx.h), 1);
		if (!server_first) close(fd);
		close(fx.up_fd);
		cube_upgraded_close(fx.up);
		fx.up = NULL;
		turns(5);
		ck_assert_uint_eq(cube_httpd_connections(fx.h), 0);
		if (!server_first) continue;
		ck_assert_int_eq(hear(fd, text, sizeof text, NULL, 0), 0);
		close(fd);
	}
}
END_TEST

/* The server ends first; whoever has the connection still closes it. */
START_TEST(freed_while_upgraded) {
	int fd = dial_upgrade();
	cube_httpd_free(fx.h);
	fx.h = NULL;
	ck_assert_int_eq(send(fx.up_fd, "still", 5, MSG_NOSIGNAL), 5);
	close(fx.up_fd);
	cube_upgraded_close(fx.up);
	close(fd);
}
END_TEST

static size_t curl_read(char *to, size_t size, size_t n, void *arg) {
	struct upload *u = arg;
	size_t k = size * n < u->total - u->at ? size * n : u->total - u->at;
	for (size_t i = 0; i < k; i++) to[i] = (char)pattern(u->at + i);
	u->at += k;
	return k;
}
static size_t curl_write(char *from, size_t size, size_t n, void *arg) {
	char *to = arg; /* of 256 bytes */
	size_t have = strlen(to);
	snprintf(to + have, 256 - have, "%.*s", (int)(size * n), from);
	return size * n;
}

static long curl_post(const char *url, uint64_t total, bool chunked, char *to, CURLcode *ret) {
	CURL *c = curl_easy_init();
	CURLM *m = curl_multi_init();
	struct curl_slist *headers = NULL;
	struct upload u = {0, total};
	long status = 0;
	int running = 1, left;
	*to = 0;
	if (chunked) headers = curl_slist_append(headers, "Transfer-Encoding: chunked");
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, fx.path);
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, curl_read);
	curl_easy_setopt(c, CURLOPT_READDATA, &u);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, curl_write);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, to);
	if (!chunked) curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)total);
	curl_multi_add_handle(m, c);
	while (running) {
		curl_multi_perform(m, &running);
		turn();
	}
	*ret = curl_multi_info_read(m, &left)->data.result;
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(m, c);
	curl_easy_cleanup(c);
	curl_multi_cleanup(m);
	curl_slist_free_all(headers);
	return status;
}

START_TEST(with_libcurl) {
	char text[256];
	CURLcode rc;
	for (int chunked = 0; chunked < 2; chunked++) {
		fx.sink = (struct sink){.step = 3000};
		ck_assert_int_eq(curl_post("http://cube/sink", 5 << 20, chunked, text, &rc), 200);
		ck_assert_int_eq(rc, CURLE_OK);
		ck_assert_str_eq(text, "5242880");
		ck_assert_int_eq(curl_post("http://cube/body", 5 << 20, chunked, text, &rc), 413);
		ck_assert_str_eq(text, "refused 413");
		fx.sink = (struct sink){.early = true};
		ck_assert_int_eq(curl_post("http://cube/sink", 5 << 20, chunked, text, &rc), 409);
		ck_assert_str_eq(text, "enough");
		ck_assert_int_eq(curl_post("http://cube/nowhere", 2000, chunked, text, &rc), 404);
		ck_assert_str_eq(text, "refused 404");
	}
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("httpd");
	Suite *s = suite_create("httpd");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, routes_and_words);
	tcase_add_test(tc, nothing_is_told_before_the_commit);
	tcase_add_test(tc, changes_without_end_starve_no_reader);
	tcase_add_test(tc, head_requests);
	tcase_add_test(tc, split_anywhere);
	tcase_add_test(tc, pipelined);
	tcase_add_test(tc, bodies_too_big);
	tcase_add_test(tc, head_too_big);
	tcase_add_test(tc, streams);
	tcase_add_test(tc, slow_reader);
	tcase_add_test(tc, woken_by_flush);
	tcase_add_test(tc, sinks);
	tcase_add_test(tc, body_back_pressure);
	tcase_add_test(tc, answers_early);
	tcase_add_test(tc, client_vanishes);
	tcase_add_test(tc, freed_while_busy);
	tcase_add_test(tc, many_connections);
	tcase_add_test(tc, upgrades);
	tcase_add_test(tc, freed_while_upgraded);
	tcase_add_test(tc, with_libcurl);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
