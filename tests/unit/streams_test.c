/* Streams through a real manager: clients that keep to the rules and such that do not, to real
 * workers and to workers that lie. Nothing sleeps. */
#include "manager_host.h"

#define WINDOW 65536

struct client {
	int fd;
	struct cube_buf in, out[3];
	uint32_t granted;
	bool over;
	struct cube_msg closed;
};

/* The answer's status; the connection goes on where it is 101. */
static int dial_as(struct client *c, const char *node, const char *upgrade) {
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char head[1024];
	size_t n = 0;
	memset(c, 0, sizeof *c);
	cube_buf_init(&c->in, 64u << 20);
	for (int i = 0; i < 3; i++) cube_buf_init(&c->out[i], 64u << 20);
	snprintf(to.sun_path, sizeof to.sun_path, "%.100s", site.sock);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
	const char *ask = text_of("POST /v1/nodes/%s/streams HTTP/1.1\r\nHost: cube\r\n"
				  "Content-Length: 0\r\n%s\r\n",
				  node, upgrade);
	ck_assert_int_eq(send(c->fd, ask, strlen(ask), MSG_NOSIGNAL), (ssize_t)strlen(ask));
	while (n < sizeof head - 1 && (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0))
		ck_assert_int_eq(recv(c->fd, head + n++, 1, 0), 1);
	head[n] = 0;
	return (int)strtol(head + 9, NULL, 10);
}

static void dial(struct client *c, const char *node) {
	ck_assert_int_eq(dial_as(c, node, "Connection: Upgrade\r\nUpgrade: cube-stream/1\r\n"),
			 101);
}

static void hang_up(struct client *c) {
	close(c->fd);
	cube_buf_done(&c->in);
	for (int i = 0; i < 3; i++) cube_buf_done(&c->out[i]);
}

static void send_bytes(struct client *c, const void *bytes, size_t n) {
	ck_assert_int_eq(send(c->fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void send_frame(struct client *c, const struct cube_msg *msg) {
	struct cube_buf b;
	cube_buf_init(&b, 2u << 20);
	ck_assert_int_eq(cube_msg_encode(&b, msg), 0);
	send_bytes(c, cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
}

static void send_window(struct client *c, uint8_t fd, uint32_t n) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_WINDOW};
	m.stream.fd = fd;
	m.stream.window = n;
	send_frame(c, &m);
}

static void send_input(struct client *c, const void *bytes, size_t n) {
	struct cube_msg m = {.type = CUBE_MSG_STREAM_INPUT};
	m.stream.bytes = (struct cube_slice){bytes, n};
	send_frame(c, &m);
}

static void send_open(struct client *c, const char *script, const char *const *env) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	struct cube_msg_open open = {.argv = argv, .env = env, .dir = "/"};
	struct cube_buf b;
	cube_buf_init(&b, 2u << 20);
	ck_assert_int_eq(cube_msg_encode_open(&b, &open), 0);
	send_bytes(c, cube_buf_data(&b), cube_buf_len(&b));
	cube_buf_done(&b);
}

static bool take(struct client *c) {
	struct cube_msg m;
	size_t used;
	if (cube_msg_decode(cube_buf_data(&c->in), cube_buf_len(&c->in), &m, &used, NULL))
		return false;
	ck_assert_uint_eq(m.task, 0);
	ck_assert(!c->over);
	if (m.type == CUBE_MSG_STREAM_OUTPUT)
		cube_buf_add(&c->out[m.stream.fd], m.stream.bytes.p, m.stream.bytes.n);
	else if (m.type == CUBE_MSG_STREAM_GRANT) c->granted += m.stream.window;
	else if (m.type == CUBE_MSG_STREAM_CLOSED) c->over = true, c->closed = m;
	else ck_abort_msg("%s came", cube_msg_name((int)m.type));
	cube_buf_consume(&c->in, used);
	return true;
}

/* One frame; false at the connection's end. */
static bool hear_one(struct client *c) {
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	uint8_t *space;
	while (!take(c)) {
		ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "nothing comes");
		ck_assert_int_eq(cube_buf_reserve(&c->in, 65536, &space), 0);
		ssize_t n = recv(c->fd, space, 65536, 0);
		if (n <= 0) return false;
		cube_buf_commit(&c->in, (size_t)n);
	}
	return true;
}

static void hear_end(struct client *c) {
	while (!c->over) ck_assert_msg(hear_one(c), "the connection ended without STREAM_CLOSED");
	ck_assert(!hear_one(c)); /* the manager has nothing more to say */
}

static void begin(struct client *c, const char *script) {
	dial(c, "n1");
	send_open(c, script, NULL);
	send_window(c, 1, WINDOW);
	send_window(c, 2, WINDOW);
	while (!c->granted) ck_assert(hear_one(c));
}

static void one_node(void) {
	manager_start();
	add_node("n1", 1);
	wait_node(0, "n1", "ready");
}

/* Another stream works, over the same link. */
static void expect_fine(void) {
	struct client c;
	begin(&c, "cat; echo bad >&2; exit 3");
	send_input(&c, "all is well", 11);
	send_input(&c, "", 0);
	hear_end(&c);
	ck_assert_str_eq(cube_buf_str(&c.out[1]), "all is well");
	ck_assert_str_eq(cube_buf_str(&c.out[2]), "bad\n");
	ck_assert_int_eq(c.closed.closed.how, CUBE_EXIT_EXITED);
	ck_assert_int_eq(c.closed.closed.value, 3);
	hang_up(&c);
}

START_TEST(through) {
	struct client c;
	one_node();
	ck_assert_int_eq(dial_as(&c, "n1", ""), 400);
	hang_up(&c);
	ck_assert_int_eq(dial_as(&c, "other", "Connection: Upgrade\r\nUpgrade: cube-stream/1\r\n"),
			 404);
	hang_up(&c);
	expect_fine();
	expect_fine();
}
END_TEST

/* Each breaks a rule; the client is told, and nobody else suffers. */
static const char *const wrongs[] = {"data-first", "signal-first", "open-twice", "over-grant",
				     "after-eof",  "window",       "signal",     "workers",
				     "hello",      "type",         "giant",      "env"};

static void do_wrong(struct client *c, const char *what) {
	static const uint8_t giant[] = {0xff, 0xff, 0xff, 0xff, 13}, type[] = {1, 0, 0, 0, 99};
	static const char *const env[] = {"NOTHING", NULL};
	static const uint8_t zeros[4096];
	struct cube_msg m = {.type = CUBE_MSG_STREAM_SIGNAL, .signal.signo = 15};
	if (!strcmp(what, "data-first")) send_input(c, "x", 1);
	else if (!strcmp(what, "signal-first")) send_frame(c, &m);
	else if (!strcmp(what, "env")) send_open(c, "true", env);
	else send_open(c, "sleep 1000", NULL);
	if (!strcmp(what, "open-twice")) send_open(c, "true", NULL);
	while (!strcmp(what, "after-eof") && !c->granted) ck_assert(hear_one(c));
	if (!strcmp(what, "after-eof")) send_input(c, "", 0), send_input(c, "x", 1);
	if (!strcmp(what, "over-grant")) {
		while (!c->granted) ck_assert(hear_one(c));
		/* sleep reads nothing */
		for (uint32_t n = 0; n <= c->granted; n += sizeof zeros)
			send_input(c, zeros, sizeof zeros);
	}
	if (!strcmp(what, "window")) send_window(c, 1, CUBE_WINDOW_MAX), send_window(c, 1, 1);
	m.signal.signo = 65;
	if (!strcmp(what, "signal")) send_frame(c, &m);
	m = (struct cube_msg){.type = CUBE_MSG_STREAM_CLOSED};
	if (!strcmp(what, "workers")) send_frame(c, &m);
	m = (struct cube_msg){.type = CUBE_MSG_PING};
	if (!strcmp(what, "hello")) send_frame(c, &m);
	if (!strcmp(what, "giant")) send_bytes(c, giant, sizeof giant);
	if (!strcmp(what, "type")) send_bytes(c, type, sizeof type);
}

START_TEST(rules) {
	one_node();
	for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
		struct client c;
		dial(&c, "n1");
		do_wrong(&c, wrongs[i]);
		hear_end(&c);
		ck_assert_msg(
			c.closed.closed.how == CUBE_EXIT_NOT_STARTED && *c.closed.closed.message,
			"%s: how %d, %s", wrongs[i], c.closed.closed.how, c.closed.closed.message);
		hang_up(&c);
	}
	expect_fine();
}
END_TEST

/* What the client does not ask for does not come, and others go on meanwhile. */
START_TEST(windows) {
	struct client c;
	one_node();
	begin(&c, "exec cat /dev/zero");
	while (cube_buf_len(&c.out[1]) < WINDOW - 2 * CUBE_STREAM_COST) {
		size_t before = cube_buf_len(&c.out[1]);
		ck_assert(hear_one(&c));
		ck_assert_uint_lt(cube_buf_len(&c.out[1]), WINDOW);
		/* many small pieces use it up as well */
		if (cube_buf_len(&c.out[1]) - before < 2 * CUBE_STREAM_COST) break;
	}
	expect_fine();
	struct pollfd p = {.fd = c.fd, .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	hang_up(&c);
	expect_fine();
}
END_TEST

/* A client that goes away hangs its process up; one whose worker goes away is told. */
START_TEST(ends) {
	struct client c;
	struct pollfd p;
	char *fifo = strdup(text_of("%s/alive", site.root));
	one_node();
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	begin(&c, text_of("exec 5<>%s; exec sleep 1000 5>%s", fifo, fifo));
	p = (struct pollfd){.fd = open(fifo, O_RDONLY | O_CLOEXEC)};
	hang_up(&c);
	ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "the process goes on"); /* POLLHUP: no writer */
	close(p.fd);
	begin(&c, "sleep 1000");
	kill(find_daemon(), SIGKILL);
	hear_end(&c);
	ck_assert_int_eq(c.closed.closed.how, CUBE_EXIT_LOST);
	hang_up(&c);
	wait_node(wait_node(0, "n1", "lost"), "n1", "ready");
	begin(&c, "sleep 1000 & sleep 1000");
	ck_assert_int_eq(http("DELETE", "/v1/nodes/n1", NULL, NULL) / 100, 2);
	hear_end(&c);
	/* the worker kills it, and is gone itself: whichever is heard of first */
	ck_assert(c.closed.closed.how == CUBE_EXIT_LOST ||
		  c.closed.closed.how == CUBE_EXIT_SIGNALED);
	hang_up(&c);
	free(fifo);
}
END_TEST

/* A client that sends small control frames without end waits, as one that sends data does. */
START_TEST(flood) {
	static uint8_t frames[18 * 4096];
	struct cube_msg m = {.type = CUBE_MSG_STREAM_WINDOW};
	struct cube_buf b;
	struct client c;
	size_t sent = 0;
	cube_buf_init(&b, 64);
	m.stream.fd = 1;
	ck_assert_int_eq(cube_msg_encode(&b, &m), 0);
	ck_assert_uint_eq(cube_buf_len(&b), 18);
	for (size_t i = 0; i < 4096; i++) memcpy(frames + 18 * i, cube_buf_data(&b), 18);
	cube_buf_done(&b);
	play("deaf");
	one_node();
	dial(&c, "n1");
	send_open(&c, "true", NULL);
	for (;;) { /* until the manager takes no more */
		struct pollfd p = {.fd = c.fd, .events = POLLOUT};
		ssize_t n = send(c.fd, frames + sent % 18, sizeof frames - 18,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		ck_assert_msg(n > 0 || errno == EAGAIN, "%s", strerror(errno));
		if (n > 0) sent += (size_t)n;
		else if (poll(&p, 1, 500) == 0) break;
		ck_assert_msg(sent < 32u << 20, "it takes everything");
	}
	hang_up(&c);
}
END_TEST

/* Frames may be longer than what they hold: the largest there can be go through as well. */
START_TEST(long_frames) {
	static uint8_t frame[CUBE_FRAME_MAX + 4];
	struct client c, other;
	one_node();
	begin(&other, "cat");
	begin(&c, "cat");
	cube_msg_stream_head(frame, CUBE_MSG_STREAM_INPUT, 0, 0, 1);
	cube_poke_u32(frame, CUBE_FRAME_MAX);
	frame[CUBE_STREAM_HEAD] = 'x';
	for (int i = 0; i < 20; i++) send_bytes(&c, frame, sizeof frame);
	send_input(&c, "", 0);
	hear_end(&c);
	ck_assert_int_eq(c.closed.closed.how, CUBE_EXIT_EXITED);
	ck_assert_str_eq(cube_buf_str(&c.out[1]), "xxxxxxxxxxxxxxxxxxxx");
	hang_up(&c);
	send_input(&other, "", 0); /* over the same link */
	hear_end(&other);
	ck_assert_int_eq(other.closed.closed.how, CUBE_EXIT_EXITED);
	hang_up(&other);
}
END_TEST

/* Workers that break the rules lose their link; the reason says why. */
static const struct lie {
	const char *name, *reason;
} lies[] = {
	{"output", "sends more than was granted"},
	{"eof-twice", "sends more than was granted"},
	{"grant", "grants more than it may"},
	{"input", "which is not its to send"},
	{"unknown", NULL},
};

static void say_output(uint64_t id, uint8_t fd, size_t n) {
	static const uint8_t zeros[4096];
	struct cube_msg m = {.type = CUBE_MSG_STREAM_OUTPUT, .task = id};
	m.stream.fd = fd;
	m.stream.bytes = (struct cube_slice){zeros, n};
	say(&m);
}

static void lie(const char *name) {
	struct cube_msg open, m = {.type = CUBE_MSG_STREAM_GRANT};
	hear(CUBE_MSG_OPEN, &open);
	if (!strcmp(name, "output")) say_output(open.task, 1, 4096);
	if (!strcmp(name, "eof-twice")) {
		say_output(open.task, 2, 0);
		say_output(open.task, 2, 0);
	}
	m.task = open.task;
	m.stream.window = CUBE_WINDOW_MAX;
	if (!strcmp(name, "grant")) say(&m), say(&m);
	m = (struct cube_msg){.type = CUBE_MSG_STREAM_CLOSE, .task = open.task};
	if (!strcmp(name, "input")) say(&m);
	if (!strcmp(name, "unknown")) {
		say_output(open.task + 1, 1, 100);
		say_output(0, 1, 100);
		m = (struct cube_msg){.type = CUBE_MSG_STREAM_CLOSED, .task = 0};
		say(&m);
		m.task = open.task;
		m.closed.value = 9;
		say(&m);
		say(&m);
	}
	hear(CUBE_MSG_SHUTDOWN, &m);
}

static int attach_main(char **argv) {
	const char *role = getenv("CUBE_TEST_ROLE");
	struct cube_msg hello;
	printf("CUBE %s attach\n", argv[3]);
	fflush(stdout);
	hello = hello_of(argv, 1);
	say(&hello);
	say(&(struct cube_msg){.type = CUBE_MSG_READY});
	if (!strcmp(role, "deaf")) { /* reads nothing, and ends with its link */
		struct pollfd p = {.fd = 0, .events = 0};
		while (poll(&p, 1, -1) != 1) {}
		return 0;
	}
	lie(role);
	return 0;
}

START_TEST(lying_worker) {
	const struct lie *l = &lies[_i];
	struct client c;
	play(l->name);
	one_node();
	dial(&c, "n1");
	send_open(&c, "true", NULL);
	hear_end(&c);
	if (l->reason) {
		ck_assert_int_eq(c.closed.closed.how, CUBE_EXIT_LOST);
		ck_assert_msg(strstr(c.closed.closed.message, l->reason), "%s: %s", l->name,
			      c.closed.closed.message);
	} else {
		ck_assert_int_eq(c.closed.closed.how, CUBE_EXIT_EXITED);
		ck_assert_int_eq(c.closed.closed.value, 9);
		ck_assert_uint_eq(cube_buf_len(&c.out[1]), 0);
	}
	hang_up(&c);
}
END_TEST

int main(int argc, char **argv) {
	if (argc == 7 && strcmp(argv[1], "attach") == 0) return attach_main(argv);
	Suite *s = suite_create("streams");
	TCase *t = tcase_create("streams");
	tcase_set_timeout(t, 40);
	tcase_add_checked_fixture(t, site_open, site_close);
	tcase_add_test(t, through);
	tcase_add_test(t, rules);
	tcase_add_test(t, windows);
	tcase_add_test(t, ends);
	tcase_add_test(t, flood);
	tcase_add_test(t, long_frames);
	tcase_add_loop_test(t, lying_worker, 0, sizeof lies / sizeof lies[0]);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
