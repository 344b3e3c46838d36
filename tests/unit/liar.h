/* Hosts that lie: a manager in a process of its own, which relays what a host of that name says.
 * "liar0", "liar1" and so on say the bytes they are given, whatever they were asked; "good..." do
 * what they are asked, and "late" does too, once it is allowed to. */
#ifndef CUBE_TEST_LIAR_H
#define CUBE_TEST_LIAR_H

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "cube/copy.h"
#include "cube/msg.h"
#include "record.h"

#define LIARS 64

struct lie_told {
	struct cube_buf bytes;
	const char *when; /* this has come: then it is told; NULL: at once */
	bool hangs_up;    /* afterwards */
};

struct liar {
	char dir[32]; /* scratch: the socket, "x" to be fetched, what was put */
	struct cube_cli cli;
	struct lie_told lies[LIARS];
	size_t n;
	int go; /* closing it allows the late ones */
	pid_t pid;
};

/* ---- what hosts say ---- */

static inline void say_frames(struct cube_buf *out, int fd, const void *bytes, size_t n) {
	const uint8_t *p = bytes;
	do {
		uint8_t head[CUBE_STREAM_HEAD];
		size_t one = n < CUBE_DATA_MAX ? n : CUBE_DATA_MAX;
		cube_msg_stream_head(head, CUBE_MSG_STREAM_OUTPUT, 0, (uint8_t)fd, (uint32_t)one);
		ck_assert_int_eq(cube_buf_add(out, head, sizeof head), 0);
		if (one) ck_assert_int_eq(cube_buf_add(out, p, one), 0);
		p += one;
		n -= one;
	} while (n > 0);
}

static inline void say_grant(struct cube_buf *out, uint32_t n) {
	struct cube_msg msg = {.type = CUBE_MSG_STREAM_GRANT};
	msg.stream.window = n;
	ck_assert_int_eq(cube_msg_encode(out, &msg), 0);
}

static inline void say_closed(struct cube_buf *out, const char *message) {
	struct cube_msg msg = {.type = CUBE_MSG_STREAM_CLOSED};
	msg.closed.how = *message ? CUBE_EXIT_NOT_STARTED : CUBE_EXIT_EXITED;
	snprintf(msg.closed.message, sizeof msg.closed.message, "%s", message);
	ck_assert_int_eq(cube_msg_encode(out, &msg), 0);
}

static inline bool send_all(int peer, const void *bytes, size_t n) {
	for (const char *p = bytes; n > 0;) {
		ssize_t k = send(peer, p, n, MSG_NOSIGNAL);
		if (k <= 0) return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static inline void send_buf(int peer, struct cube_buf *b) {
	send_all(peer, cube_buf_data(b), cube_buf_len(b));
	cube_buf_clear(b);
}

/* ---- honest ones ---- */

struct honest {
	int peer;
	const char *dir;
	struct cube_receiver *receiver; /* of a put */
	struct cube_buf out;
};

static inline void send_x(struct honest *h) {
	char path[64];
	snprintf(path, sizeof path, "%s/x", h->dir);
	const char *paths[] = {path};
	struct cube_sender_config config = {.paths = paths, .n = 1};
	struct cube_sender *s = cube_sender_new(&config);
	for (struct cube_slice out; cube_sender_next(s, &out) == 0;) {
		say_frames(&h->out, 1, out.p, out.n);
		cube_sender_sent(s, out.n);
	}
	cube_sender_free(s);
}

static inline void on_open(struct honest *h, const struct cube_msg *msg) {
	struct cube_slice word = {0}, dest = {0};
	size_t pos = 0;
	cube_msg_next_bytes(&msg->open.argv, &pos, &word);
	cube_msg_next_bytes(&msg->open.argv, &pos, &dest);
	say_grant(&h->out, 1u << 20);
	if (word.n == 3 && memcmp(word.p, "get", 3) == 0) send_x(h);
	if (word.n != 3 || memcmp(word.p, "put", 3) != 0) return;
	char path[128];
	snprintf(path, sizeof path, "%s/%.*s", h->dir, (int)dest.n, (const char *)dest.p);
	struct cube_receiver_config config = {.dest = path};
	h->receiver = cube_receiver_new(&config);
}

/* A copy's bytes go to the receiver; all others come back. */
static inline void on_input(struct honest *h, struct cube_slice in) {
	struct cube_err err;
	size_t used = 0;
	if (!h->receiver) {
		say_frames(&h->out, 1, in.p, in.n);
		if (!in.n) say_closed(&h->out, "");
		return;
	}
	if (cube_receiver_feed(h->receiver, in.p, in.n, &used, &err) || used < in.n) _exit(1);
	struct cube_buf *out = cube_receiver_out(h->receiver);
	if (cube_buf_len(out)) say_frames(&h->out, 1, cube_buf_data(out), cube_buf_len(out));
	cube_buf_clear(out);
}

static inline void serve_honestly(int peer, const char *dir) {
	struct honest h = {.peer = peer, .dir = dir};
	struct cube_buf in;
	struct cube_err err;
	struct cube_msg msg;
	char chunk[4096];
	size_t used;
	cube_buf_init(&in, 4u << 20);
	cube_buf_init(&h.out, 4u << 20);
	for (ssize_t n; (n = read(peer, chunk, sizeof chunk)) > 0;) {
		if (cube_buf_add(&in, chunk, (size_t)n)) _exit(1);
		while (!cube_msg_decode(cube_buf_data(&in), cube_buf_len(&in), &msg, &used, &err)) {
			if (msg.type == CUBE_MSG_OPEN) on_open(&h, &msg);
			if (msg.type == CUBE_MSG_STREAM_INPUT) on_input(&h, msg.stream.bytes);
			cube_buf_consume(&in, used);
		}
		send_buf(peer, &h.out);
	}
}

/* ---- the manager ---- */

static inline void wait_for(int peer, const char *what) {
	struct cube_buf in, grant;
	char chunk[4096];
	ssize_t n;
	cube_buf_init(&in, 4u << 20);
	cube_buf_init(&grant, 100);
	say_grant(&grant, 1u << 20);
	send_buf(peer, &grant);
	while (!memmem(cube_buf_data(&in), cube_buf_len(&in), what, strlen(what)) &&
	       (n = read(peer, chunk, sizeof chunk)) > 0)
		ck_assert_int_eq(cube_buf_add(&in, chunk, (size_t)n), 0);
	cube_buf_done(&in);
}

static inline void serve_stream(struct liar *l, int peer, const char *name, int go) {
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
				   "Connection: Upgrade\r\n\r\n";
	unsigned i;
	char c;
	send_all(peer, head, sizeof head - 1);
	if (strncmp(name, "late", 4) == 0)
		while (read(go, &c, 1) > 0) {}
	if (sscanf(name, "liar%u", &i) != 1 || i >= l->n) {
		serve_honestly(peer, l->dir);
		return;
	}
	if (l->lies[i].when) wait_for(peer, l->lies[i].when);
	send_buf(peer, &l->lies[i].bytes);
	if (!l->lies[i].hangs_up)
		while (read(peer, &c, 1) > 0) {}
}

static inline void send_nodes(const struct liar *l, int peer) {
	struct cube_buf json;
	cube_buf_init(&json, 64u << 10);
	cube_buf_addstr(&json, "{\"nodes\":[");
	for (size_t i = 0; i < l->n; i++)
		cube_buf_printf(&json, "{\"name\":\"liar%zu\",\"state\":\"ready\"},", i);
	cube_buf_addstr(&json, "{\"name\":\"good1\",\"state\":\"ready\"}]}");
	cube_autofree char *answer = cube_strf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
					       cube_buf_len(&json), cube_buf_str(&json));
	send_all(peer, answer, strlen(answer));
	cube_buf_done(&json);
}

/* Everything that is asked but for streams is answered with the nodes. */
static inline void serve_client(struct liar *l, int peer, int go) {
	char ask[8192], name[64];
	size_t n = 0;
	while (n < sizeof ask - 1 && read(peer, ask + n, 1) == 1) {
		ask[++n] = '\0';
		if (n < 4 || strcmp(ask + n - 4, "\r\n\r\n") != 0) continue;
		if (sscanf(ask, "POST /v1/nodes/%63[^/]/streams", name) == 1) {
			serve_stream(l, peer, name, go);
			return;
		}
		send_nodes(l, peer);
		n = 0;
	}
}

static inline _Noreturn void serve(struct liar *l, int s, int go) {
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGCHLD, &ignore, NULL);
	for (;;) {
		int peer = accept(s, NULL, NULL);
		if (peer >= 0 && fork() == 0) {
			serve_client(l, peer, go);
			_exit(0);
		}
		close(peer);
	}
}

static inline void liar_init(struct liar *l) {
	*l = (struct liar){.dir = "/tmp/cube-lies.XXXXXX", .go = -1};
	ck_assert_ptr_nonnull(mkdtemp(l->dir));
}

static inline struct lie_told *liar_add(struct liar *l) {
	ck_assert_uint_lt(l->n, LIARS);
	struct lie_told *t = &l->lies[l->n++];
	cube_buf_init(&t->bytes, 32u << 20);
	return t;
}

static inline char *liar_path(const struct liar *l, const char *name) {
	static char path[2][160];
	static int at;
	at = !at;
	snprintf(path[at], sizeof path[at], "%s/%s", l->dir, name);
	return path[at];
}

static inline void liar_start(struct liar *l) {
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct cube_err err;
	int go[2], s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *x = fopen(liar_path(l, "x"), "w");
	ck_assert(x && fputs("the truth\n", x) >= 0 && fclose(x) == 0);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/sock", l->dir);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(s, 2 * LIARS), 0);
	ck_assert_int_eq(pipe(go), 0);
	l->pid = fork();
	if (l->pid == 0) {
		close(go[1]);
		serve(l, s, go[0]);
	}
	close(s);
	close(go[0]);
	l->go = go[1];
	snprintf(l->cli.paths.socket, sizeof l->cli.paths.socket, "%s", at.sun_path);
	ck_assert_int_eq(cube_client_new(&l->cli.paths, &l->cli.client, &err), 0);
}

static inline int liar_remove(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	return remove(path);
}

static inline void liar_stop(struct liar *l) {
	int status;
	cube_client_free(l->cli.client);
	if (l->go >= 0) close(l->go);
	kill(l->pid, SIGKILL);
	ck_assert_int_eq(waitpid(l->pid, &status, 0), l->pid);
	for (size_t i = 0; i < l->n; i++) cube_buf_done(&l->lies[i].bytes);
	ck_assert_int_eq(nftw(l->dir, liar_remove, 20, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
