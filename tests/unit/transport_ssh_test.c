/* The ssh transport against a real sshd, and its parsers. */
#include "transport_sshd.h"

#include "transport_shim.c"

static struct sshd server;
static struct cube_loop *loop;
static struct cube_ssh *ssh;
static struct peer p;
static char config[96];

static void start_server(void) {
	sshd_prepare(&server);
	sshd_start(&server, "host_key", "MaxSessions 1\nMaxStartups 100\nMaxAuthTries 3");
	snprintf(config, sizeof config, "%s/.ssh/config", server.dir);
}

static void stop_server(void) {
	sshd_cleanup(&server);
}

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_ssh_new(loop, NULL, &ssh, NULL), 0);
	peer_init(&p, loop);
	cube_autofree char *known = cube_strf("%s/.ssh/known_hosts", server.dir);
	unlink(known);
}

static void teardown(void) {
	peer_done(&p);
	for (int i = 0; i < 2; i++) cube_loop_turn(loop, 0, NULL);
	cube_ssh_free(ssh);
	cube_loop_free(loop);
}

static struct cube_target box(void) {
	return (struct cube_target){
		.name = "box", .host = "box", .ssh_config = config, .timeout_ns = patience()};
}

static void begin(const struct cube_target *target) {
	struct cube_err err;
	int rc = cube_transport_ssh(ssh, target, &PEER_EVENTS, &p, &p.t, &err);
	if (rc) ck_abort_msg("%s", err.msg);
	ck_assert(!p.steps);
}

static void open_box(void) {
	struct cube_target target = box();
	begin(&target);
	peer_wait_open(&p);
}

static void must_fail(const struct cube_target *target, int code, const char *words) {
	begin(target);
	RUN_UNTIL(&p, p.open || p.failed);
	ck_assert_msg(p.failed, "it opened");
	ck_assert_msg(p.err.code == code, "code %d: %s", p.err.code, p.err.msg);
	ck_assert_msg(strstr(p.err.msg, words) != NULL, "'%s' lacks '%s'", p.err.msg, words);
	peer_drop(&p);
	turn(loop);
}

static void again(void) {
	peer_done(&p);
	peer_init(&p, loop);
}

/* ---- commands ---------------------------------------------------------------------------- */

START_TEST(test_commands) {
	static const struct {
		const char *line, *out, *err;
		int status;
	} cases[] = {
		{"echo hi", "hi\n", "", 0},
		{"exit 7", "", "", 7},
		{"kill -KILL $$", "", "", 137},
		{"kill -TERM $$", "", "", 143},
		{"echo out; echo err >&2", "out\n", "err\n", 0},
		{"exec /bin/sh -c 'printf %s \"$0\"' 'a b'", "a b", "", 0},
	};
	open_box();
	ck_assert_uint_eq(p.steps, 1u << CUBE_STEP_CONFIG | 1u << CUBE_STEP_CONNECT |
					   1u << CUBE_STEP_KEX | 1u << CUBE_STEP_AUTH |
					   1u << CUBE_STEP_OPEN);
	ck_assert_int_lt(cube_transport_write(p.t, "x", 1), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		peer_run(&p, cases[i].line);
		ck_out(&p, cases[i].out);
		ck_assert_str_eq(cube_buf_str(&p.errs), cases[i].err);
		ck_assert_int_eq(p.status, cases[i].status);
	}
}
END_TEST

START_TEST(test_cat) {
	open_box();
	p.take = (unsigned)_i;
	peer_exec(&p, "cat");
	peer_send(&p, 8 << 20);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	ck_assert_uint_eq(p.got, 8 << 20);
	ck_assert_uint_eq(p.hash, p.sent_hash);
	ck_assert_int_eq(p.status, 0);
}
END_TEST

/* The command reads nothing until its own output is out: no window for ours, and reading must
 * go on all the same. */
START_TEST(test_no_window) {
	open_box();
	peer_exec(&p, "head -c 8388608 /dev/zero; cat >/dev/null; echo end >&2");
	peer_send(&p, 8 << 20);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	ck_assert_uint_eq(p.got, 8 << 20);
	ck_assert_str_eq(cube_buf_str(&p.errs), "end\n");
}
END_TEST

START_TEST(test_unread_input) {
	open_box();
	peer_exec(&p, "exec 0<&-; head -c 300000 /dev/zero; exit 5");
	peer_send(&p, 4 << 20);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	ck_assert_uint_eq(p.got, 300000);
	ck_assert_int_eq(p.status, 5);
}
END_TEST

START_TEST(test_hold) {
	open_box();
	p.hold = true;
	peer_exec(&p, "head -c 20000000 /dev/zero; echo done >&2");
	for (int i = 0; i < 300; i++) cube_loop_turn(loop, 1, NULL);
	ck_assert(!p.ended);
	p.hold = false;
	cube_transport_resume(p.t);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	ck_assert_uint_eq(p.got, 20000000);
}
END_TEST

START_TEST(test_link_breaks) {
	open_box();
	peer_exec(&p, "echo x; kill -KILL $PPID; sleep 1");
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert(p.failed && !p.ended);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(p.err.msg, "127.0.0.1") != NULL, "%s", p.err.msg);
	ck_assert_int_eq(cube_transport_exec(p.t, "echo", NULL), CUBE_ECONFLICT);
	ck_assert_int_lt(cube_transport_write(p.t, "x", 1), 0);
	cube_transport_resume(p.t);
	cube_transport_end_write(p.t);
}
END_TEST

START_TEST(test_shim) {
	struct cube_shim_plan plan = {.seed = 0x51ed270bu + (uint32_t)_i,
				      .piece = _i % 2 ? 65536 : 20000,
				      .storm = (unsigned)_i % 3,
				      .cut_read = CUBE_SHIM_NEVER,
				      .cut_write = CUBE_SHIM_NEVER};
	struct cube_target target = box();
	struct cube_transport *inner;
	p.t = cube_shim_new(loop, &plan, &PEER_EVENTS, &p);
	ck_assert_int_eq(cube_transport_ssh(ssh, &target, cube_shim_events(), p.t, &inner, NULL),
			 0);
	cube_shim_attach(p.t, inner);
	peer_wait_open(&p);
	peer_exec(&p, "cat; exit 4");
	peer_send(&p, 8 << 20);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	ck_assert_msg(p.got == 8 << 20 && p.hash == p.sent_hash, "seed %u", plan.seed);
	ck_assert_int_eq(p.status, 4);
}
END_TEST

START_TEST(test_many) {
	enum { N = 12 };
	static struct peer peers[N];
	struct cube_target target = box();
	for (int i = 0; i < N; i++) {
		peer_init(&peers[i], loop);
		ck_assert_int_eq(cube_transport_ssh(ssh, &target, &PEER_EVENTS, &peers[i],
						    &peers[i].t, NULL),
				 0);
	}
	for (int i = 0; i < N; i++) peer_wait_open(&peers[i]);
	for (int i = 0; i < N; i++) {
		peer_exec(&peers[i], "cat");
		peer_send(&peers[i], 1 << 20);
	}
	for (int i = 0; i < N; i++) {
		RUN_UNTIL(&peers[i], peers[i].ended || peers[i].failed);
		ck_assert_msg(peers[i].hash == peers[i].sent_hash, "%s", peers[i].err.msg);
		peer_done(&peers[i]);
	}
	/* all of them new at once, and yet one line */
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_ptr_eq(strchr(known, '\n'), known + strlen(known) - 1);
}
END_TEST

/* ---- freeing ----------------------------------------------------------------------------- */

START_TEST(test_free_in_event) {
	struct cube_target target = box();
	p.free_in = "sode"[_i];
	begin(&target);
	while (p.t) {
		turn(loop);
		if (p.open && p.t && !p.ended)
			cube_transport_exec(p.t, "echo x; echo y >&2; head -c 100000 /dev/zero",
					    NULL);
	}
}
END_TEST

START_TEST(test_free_in_fail) {
	struct cube_target target = box();
	target.host = "127.0.0.1";
	target.port = 1;
	p.free_in = 'f';
	begin(&target);
	RUN_UNTIL(&p, p.failed);
	ck_assert_ptr_null(p.t);
}
END_TEST

/* After each number of turns: every state is among them. */
START_TEST(test_free_after_turns) {
	struct cube_target target = box();
	begin(&target);
	for (int i = 0; i < _i * 2 && !p.ended; i++) {
		turn(loop);
		if (p.open && !p.ended && !p.got && p.status == 0 &&
		    cube_transport_exec(p.t, "cat; echo bye", NULL) == 0) {
			cube_transport_write(p.t, "hello", 5);
			cube_transport_end_write(p.t);
		}
	}
	peer_drop(&p);
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 0, NULL);
}
END_TEST

/* ---- failures ---------------------------------------------------------------------------- */

START_TEST(test_names) {
	static const char *const bad[] = {"", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a\nb"};
	struct cube_target target = box();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		target.host = bad[i];
		ck_assert_int_eq(cube_transport_ssh(ssh, &target, &PEER_EVENTS, &p, &p.t, NULL),
				 CUBE_EUSAGE);
	}
}
END_TEST

START_TEST(test_wrong_key) {
	cube_autofree char *id2 = cube_strf("%s/id2", server.dir);
	cube_autofree char *enc = cube_strf("%s/idenc", server.dir);
	cube_autofree char *none = cube_strf("%s/nothere", server.dir);
	struct cube_target target = box();
	target.identity = id2;
	must_fail(&target, CUBE_EAUTH, "permission denied (server accepts publickey; tried ~/id2)");
	again();
	target.identity = enc;
	must_fail(&target, CUBE_EAUTH, "tried ~/idenc"); /* the server does not want it */
	again();
	target.identity = none;
	must_fail(&target, CUBE_EAUTH, "~/nothere (no such file)");
	again();
	cube_autofree char *id = cube_strf("%s/id", server.dir);
	target.identity = id;
	begin(&target);
	peer_wait_open(&p);
}
END_TEST

START_TEST(test_accept_new_once) {
	cube_autofree char *want = cube_strf("[127.0.0.1]:%u ssh-ed25519 ", server.port);
	for (int i = 0; i < 3; i++) {
		struct cube_target target = box();
		target.strict_host_keys = i == 2; /* known by now */
		begin(&target);
		peer_wait_open(&p);
		again();
		cube_autofree char *text = read_file(server.dir, ".ssh/known_hosts");
		ck_assert_msg(!strncmp(text, want, strlen(want)), "%s", text);
		ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	}
}
END_TEST

START_TEST(test_strict) {
	struct cube_target target = box();
	target.strict_host_keys = true;
	must_fail(&target, CUBE_EHOSTKEY, "not known");
	cube_autofree char *text = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_str_eq(text, "");
}
END_TEST

/* known_hosts holds another key: plain, hashed, by pattern. */
START_TEST(test_changed) {
	struct cube_target target = box();
	cube_autofree char *pub = read_file(server.dir, "host_key2.pub");
	cube_autofree char *name = _i == 2 ? cube_strdup("other,[127.0.0.?]:*")
					   : cube_strf("[127.0.0.1]:%u", server.port);
	cube_autofree char *text = cube_strf("# comment\nbad line\n%s %s", name, pub);
	write_file(server.dir, ".ssh/known_hosts", 0600, text);
	if (_i == 1) {
		cube_autofree char *path = cube_strf("%s/.ssh/known_hosts", server.dir);
		const char *argv[] = {"ssh-keygen", "-q", "-H", "-f", path, NULL};
		write_file(server.dir, ".ssh/known_hosts", 0600,
			   strchr(strchr(text, '\n') + 1, '\n') + 1);
		run_program(argv);
	}
	cube_autofree char *want = cube_strf(
		"ssh-keygen -R '[127.0.0.1]:%u' -f %s/.ssh/known_hosts", server.port, server.dir);
	must_fail(&target, CUBE_EHOSTKEY, want);
	cube_autofree char *line = cube_strf("/.ssh/known_hosts:%d", _i == 1 ? 1 : 3);
	ck_assert_msg(strstr(p.err.msg, line) != NULL, "%s", p.err.msg);
	again();
	cube_autofree char *good = read_file(server.dir, "host_key.pub");
	cube_autofree char *revoked = cube_strf("@revoked * %s", good);
	write_file(server.dir, ".ssh/known_hosts", 0600, revoked);
	must_fail(&target, CUBE_EHOSTKEY, "revoked");
}
END_TEST

START_TEST(test_refused) {
	struct cube_target target = box();
	target.host = "127.0.0.1";
	int fd = listen_any(&target.port);
	close(fd);
	must_fail(&target, CUBE_ECONNECT, "onnection refused");
	ck_assert_msg(strstr(p.err.msg, "connecting to 127.0.0.1 port") != NULL, "%s", p.err.msg);
}
END_TEST

START_TEST(test_unknown_host) {
	struct cube_target target = box();
	target.host = "nowhere.invalid";
	must_fail(&target, CUBE_ECONNECT, "cannot resolve nowhere.invalid");
}
END_TEST

START_TEST(test_resolved) {
	struct cube_target target = box();
	target.host = "localhost";
	target.port = server.port;
	begin(&target);
	peer_wait_open(&p);
	ck_assert_uint_ne(p.steps & 1u << CUBE_STEP_RESOLVE, 0);
}
END_TEST

START_TEST(test_timeout) {
	struct cube_target target = box();
	target.host = "127.0.0.1";
	target.timeout_ns = CUBE_NS_PER_S / 2;
	int fd = listen_any(&target.port);
	must_fail(&target, CUBE_ETIMEOUT, "timed out after 0.5 s (no greeting came)");
	close(fd);
}
END_TEST

/* Answers one connection with these words and hangs up. */
static void hang_up_on_one(int fd, const char *says) {
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char drop[256]; /* unread input would make the close a reset */
	while (!p.failed && poll(&wait, 1, 0) == 0) cube_loop_turn(loop, 10, NULL);
	int conn = p.failed ? -1 : accept(fd, NULL, NULL);
	if (conn < 0) return;
	ck_assert(send(conn, says, strlen(says), MSG_NOSIGNAL) >= 0);
	while (!p.failed && recv(conn, drop, sizeof drop, MSG_DONTWAIT) < 1)
		cube_loop_turn(loop, 1, NULL);
	close(conn);
}

/* What a peer says instead of a greeting, then hangs up: not to be tried again. */
START_TEST(test_no_greeting) {
	static const struct {
		const char *says, *words;
	} cases[] = {
		{"Go away\r\n", "is no ssh server: it says \"Go away\""},
		{"HTTP/1.0 400 \033[1mBad\r\n",
		 "is no ssh server: it says \"HTTP/1.0 400 \\x1b[1mBad\""},
	};
	struct cube_target target = box();
	target.host = "127.0.0.1";
	int fd = listen_any(&target.port);
	begin(&target);
	hang_up_on_one(fd, cases[_i].says);
	RUN_UNTIL(&p, p.failed);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(p.err.msg, cases[_i].words) != NULL, "%s", p.err.msg);
	close(fd);
}
END_TEST

/* What the server said is read though a reset follows it, which one that does not read ours makes.
 */
START_TEST(test_no_greeting_and_reset) {
	struct cube_target target = box();
	target.host = "127.0.0.1";
	int fd = listen_any(&target.port);
	char first;
	begin(&target);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	while (!p.failed && poll(&pfd, 1, 0) < 1) cube_loop_turn(loop, 1, NULL);
	int conn = accept(fd, NULL, NULL);
	ck_assert_int_ge(conn, 0);
	while (!p.failed && recv(conn, &first, 1, MSG_PEEK | MSG_DONTWAIT) < 1)
		cube_loop_turn(loop, 1, NULL);
	ck_assert_int_eq(send(conn, "HTTP/1.0 400 Bad Request\r\n", 26, MSG_NOSIGNAL), 26);
	close(conn);
	RUN_UNTIL(&p, p.failed);
	ck_assert_msg(strstr(p.err.msg, "it says \"HTTP/1.0 400") != NULL, "%s", p.err.msg);
	close(fd);
}
END_TEST

/* A real one, which counts logins that failed. */
START_TEST(test_penalties) {
	struct sshd strict = server;
	if (!server.penalties) {
		printf("skipped: this sshd has no PerSourcePenalties\n");
		return;
	}
	close(listen_any(&strict.port));
	sshd_launch(&strict, "host_key", "PerSourcePenalties authfail:60s min:1s\n", NULL);
	cube_autofree char *wrong = cube_strf("%s/id2", server.dir);
	struct cube_target target = box();
	target.port = strict.port;
	target.identity = wrong;
	target.timeout_ns = patience() / 10;
	must_fail(&target, CUBE_EAUTH, "publickey");
	do { /* it is counted when sshd has seen its child end */
		again();
		begin(&target);
		RUN_UNTIL(&p, p.open || p.failed);
		ck_assert(p.failed);
	} while (p.err.code == CUBE_EAUTH);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(p.err.msg, "PerSourcePenalties") != NULL, "%s", p.err.msg);
	sshd_stop(&strict);
}
END_TEST

/* A second is so many looks at the clock, however long this machine lets us wait. */
static uint64_t looked;
static uint64_t looks(void) {
	return looked += CUBE_NS_PER_MS;
}
static const struct cube_clock_source by_looks = {.mono = looks};

/* Dropped again and again: tried until the time is up, then the error says so. */
START_TEST(test_dropped) {
	static const char *const says[] = {"", "Exceeded MaxStartups\r\n", "SSH-2.0-x\r\n",
					   "Not allowed at this time\r\n"};
	struct cube_target target = box();
	target.host = "127.0.0.1";
	target.timeout_ns = CUBE_NS_PER_S;
	int fd = listen_any(&target.port);
	looked = cube_clock_mono();
	cube_clock_set_source(&by_looks);
	begin(&target);
	for (int i = 0; i < 3; i++) hang_up_on_one(fd, says[_i]);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	while (!p.failed) hang_up_on_one(fd, says[_i]);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(p.err.msg, "MaxStartups") != NULL, "%s", p.err.msg);
	ck_assert_msg(strstr(p.err.msg, "times in 1 s: 127.0.0.1 port") != NULL, "%s", p.err.msg);
	close(fd);
}
END_TEST

/* One that refuses after it dropped us is not tried again. */
START_TEST(test_dropped_then_refused) {
	struct cube_target target = box();
	target.host = "127.0.0.1";
	int fd = listen_any(&target.port);
	begin(&target);
	hang_up_on_one(fd, "");
	close(fd);
	RUN_UNTIL(&p, p.failed);
	ck_assert_msg(strstr(p.err.msg, "onnection refused") != NULL, "%s", p.err.msg);
}
END_TEST

/* sshd takes one login at a time and drops all others: they all get in. */
START_TEST(test_max_startups) {
	enum { N = 10 };
	static struct peer peers[N];
	struct cube_target target = box();
	struct sshd one = server;
	close(listen_any(&one.port));
	sshd_start(&one, "host_key", "MaxStartups 1:100:1");
	target.port = one.port;
	for (int i = 0; i < N; i++) {
		peer_init(&peers[i], loop);
		ck_assert_int_eq(cube_transport_ssh(ssh, &target, &PEER_EVENTS, &peers[i],
						    &peers[i].t, NULL),
				 0);
	}
	for (int i = 0; i < N; i++) peer_wait_open(&peers[i]);
	for (int i = 0; i < N; i++) peer_done(&peers[i]);
	sshd_stop(&one);
}
END_TEST

/* Garbage after a good greeting never crashes or hangs. */
START_TEST(test_garbage) {
	struct cube_target target = box();
	uint8_t noise[4096];
	uint32_t x = 77 + (uint32_t)_i;
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	if (_i % 2) memset(noise, 0, 3); /* a believable packet length */
	target.host = "127.0.0.1";
	int fd = listen_any(&target.port);
	begin(&target);
	RUN_UNTIL(&p, p.steps & 1u << CUBE_STEP_KEX);
	int conn = accept(fd, NULL, NULL);
	ck_assert(send(conn, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL) == 11);
	ck_assert(send(conn, noise, sizeof noise, MSG_NOSIGNAL) > 0);
	shutdown(conn, SHUT_WR);
	close(fd); /* an end after the greeting is a drop, which is tried again */
	RUN_UNTIL(&p, p.failed);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	close(conn);
}
END_TEST

/* ---- proxies ----------------------------------------------------------------------------- */

static void write_config(const char *name, const char *more) {
	cube_autofree char *base = read_file(server.dir, ".ssh/config");
	cube_autofree char *text = cube_strf("%s\n%s", more, base);
	write_file(server.dir, name, 0600, text);
}

START_TEST(test_proxy_command) {
	cube_autofree char *file = cube_strf("%s/proxy.config", server.dir);
	cube_autofree char *more = cube_strf(
		"Host far\n  HostName 127.0.0.1\n  Port %u\n  ProxyCommand sh -c \"exec ssh -F %s "
		"-oStrictHostKeyChecking=no -W %%h:%%p box\"\n",
		server.port, config);
	write_config("proxy.config", more);
	struct cube_target target = box();
	target.host = "far";
	target.ssh_config = file;
	begin(&target);
	peer_wait_open(&p);
	peer_run(&p, "echo through");
	ck_out(&p, "through\n");
	peer_exec(&p, "cat");
	peer_send(&p, 2 << 20);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_uint_eq(p.hash, p.sent_hash);
}
END_TEST

START_TEST(test_proxy_fails) {
	cube_autofree char *file = cube_strf("%s/proxy2.config", server.dir);
	write_config(
		"proxy2.config",
		"Host far\n  HostName h\n  ProxyCommand echo no way to %h %p %% >&2; exit 1\n");
	struct cube_target target = box();
	target.host = "far";
	target.ssh_config = file;
	must_fail(&target, CUBE_ECONNECT, "no way to h 22 %");
}
END_TEST

START_TEST(test_proxy_jump) {
	cube_autofree char *file = cube_strf("%s/jump.config", server.dir);
	cube_autofree char *more = cube_strf("Host far\n  HostName 127.0.0.1\n  Port %u\n"
					     "  ProxyJump box\n  HostKeyAlias farhost\n"
					     "Host *\n  StrictHostKeyChecking accept-new\n",
					     server.port);
	write_config("jump.config", more);
	struct cube_target target = box();
	target.host = "far";
	target.ssh_config = file;
	begin(&target);
	peer_wait_open(&p);
	peer_run(&p, "echo jumped");
	ck_out(&p, "jumped\n");
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_msg(strstr(known, "farhost ssh-ed25519 ") != NULL, "%s", known);
}
END_TEST

START_TEST(test_bad_config) {
	cube_autofree char *file = cube_strf("%s/bad.config", server.dir);
	write_file(server.dir, "bad.config", 0600, "Host x\n  Nonsense yes\n");
	struct cube_target target = box();
	target.ssh_config = file;
	must_fail(&target, CUBE_EUSAGE, "ssh configuration: ");
}
END_TEST

/* Without OpenSSH's client: the target's words and the default key files. */
START_TEST(test_without_ssh) {
	struct cube_target target = box();
	cube_autofree char *id = cube_strf("%s/id", server.dir);
	cube_autofree char *home_key = cube_strf("%s/.ssh/id_ed25519", server.dir);
	cube_autofree char *path = cube_strdup(getenv("PATH"));
	ck_assert_int_eq(symlink(id, home_key), 0);
	setenv("PATH", "/nonexistent", 1);
	target.host = "127.0.0.1";
	target.port = server.port;
	target.ssh_config = NULL;
	begin(&target);
	peer_wait_open(&p);
	setenv("PATH", path, 1);
	unlink(home_key);
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_uint_gt(strlen(known), 0);
}
END_TEST

static void agent_start(char *sock, size_t size, pid_t *ret) {
	snprintf(sock, size, "%s/agent", server.dir);
	unlink(sock);
	*ret = fork();
	if (!*ret) {
		const char *argv[] = {"ssh-agent", "-D", "-a", sock, NULL};
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (access(sock, F_OK) < 0) poll(NULL, 0, 1);
	setenv("SSH_AUTH_SOCK", sock, 1);
}

START_TEST(test_agent) {
	char sock[108];
	pid_t agent;
	cube_autofree char *file = cube_strf("%s/agent.config", server.dir);
	cube_autofree char *id = cube_strf("%s/id", server.dir);
	cube_autofree char *id2 = cube_strf("%s/id2", server.dir);
	agent_start(sock, sizeof sock, &agent);
	cube_autofree char *text =
		cube_strf("Host box\n  HostName 127.0.0.1\n  Port %u\n"
			  "Host *\n  IdentityFile none\n  UserKnownHostsFile %s/.ssh/known_hosts\n",
			  server.port, server.dir);
	write_file(server.dir, "agent.config", 0600, text);
	struct cube_target target = box();
	target.ssh_config = file;
	const char *add2[] = {"ssh-add", "-q", id2, NULL};
	const char *add[] = {"ssh-add", "-q", id, NULL};
	run_program(add2);
	must_fail(&target, CUBE_EAUTH, "tried agent (1 key)");
	again();
	run_program(add);
	begin(&target);
	peer_wait_open(&p);
	again();
	/* an identity of one's own: the agent's other keys are not even tried */
	target.identity = id2;
	must_fail(&target, CUBE_EAUTH, "tried agent (1 key)");
	kill(agent, SIGTERM);
	waitpid(agent, NULL, 0);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_ssh");
	TCase *tc = tcase_create("sshd");
	tcase_add_unchecked_fixture(tc, start_server, stop_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_commands);
	tcase_add_loop_test(tc, test_cat, 0, 1);
	tcase_add_loop_test(tc, test_cat, 7000, 7001);
	tcase_add_test(tc, test_no_window);
	tcase_add_test(tc, test_unread_input);
	tcase_add_test(tc, test_hold);
	tcase_add_test(tc, test_link_breaks);
	tcase_add_loop_test(tc, test_shim, 0, 4);
	tcase_add_test(tc, test_many);
	tcase_add_loop_test(tc, test_free_in_event, 0, 4);
	tcase_add_test(tc, test_free_in_fail);
	tcase_add_loop_test(tc, test_free_after_turns, 0, 24);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_wrong_key);
	tcase_add_test(tc, test_accept_new_once);
	tcase_add_test(tc, test_strict);
	tcase_add_loop_test(tc, test_changed, 0, 3);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_unknown_host);
	tcase_add_test(tc, test_resolved);
	tcase_add_test(tc, test_timeout);
	tcase_add_loop_test(tc, test_no_greeting, 0, 2);
	tcase_add_test(tc, test_no_greeting_and_reset);
	tcase_add_test(tc, test_penalties);
	tcase_add_loop_test(tc, test_dropped, 0, 4);
	tcase_add_test(tc, test_dropped_then_refused);
	tcase_add_test(tc, test_max_startups);
	tcase_add_loop_test(tc, test_garbage, 0, 6);
	tcase_add_test(tc, test_proxy_command);
	tcase_add_test(tc, test_proxy_fails);
	tcase_add_test(tc, test_proxy_jump);
	tcase_add_test(tc, test_bad_config);
	tcase_add_test(tc, test_without_ssh);
	tcase_add_test(tc, test_agent);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
