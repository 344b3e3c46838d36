/* Jump hosts: many hosts over one connection, two hops, circles, broken and stuck carriers. One
 * sshd plays all parts. */
#include "transport_sshd.h"

#include "transport_shim.c"

/* The resolver, with an outage of so many questions. */
#include <dlfcn.h>
#include <netdb.h>

static _Atomic int outage, questions;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **res) {
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (!(hints->ai_flags & AI_NUMERICHOST)) {
		questions++;
		if (outage && outage--) return EAI_AGAIN;
	}
	return real(node, service, hints, res);
}

static struct sshd server;
static struct cube_loop *loop;
static struct cube_ssh *ssh;
static struct peer p;
static char config[96];
static uint16_t closed_port;

static void start_server(void) {
	sshd_prepare(&server);
	sshd_launch(&server, "host_key", "LogLevel INFO\nMaxStartups 100\n", NULL);
	snprintf(config, sizeof config, "%s/.ssh/config", server.dir);
	close(listen_any(&closed_port));
	cube_autofree char *base = read_file(server.dir, ".ssh/config");
	cube_autofree char *text =
		cube_strf("Host far*\n  ProxyJump box\nHost deep*\n  ProxyJump box,hop2\n"
			  "Host own\n  ProxyJump hop3\nHost hop3\n  ProxyJump box\n"
			  "Host circle\n  ProxyJump round1\nHost round1\n  ProxyJump round2\n"
			  "Host round2\n  ProxyJump round1\n"
			  "Host longer*\n  ProxyJump longer%%n\n"
			  "Host self\n  ProxyJump self\n"
			  "Host lost\n  ProxyJump nojump\nHost nojump\n  Port %u\n"
			  "Host behindstrict\n  ProxyJump strictjump\n"
			  "Host strictjump\n  StrictHostKeyChecking yes\n"
			  "Host nowhere\n  ProxyJump box\n  Port %u\n"
			  "Host far* deep* own hop* self round* longer* lost nojump nowhere "
			  "behindstrict strictjump\n"
			  "  HostName 127.0.0.1\n%s  StrictHostKeyChecking accept-new\n",
			  closed_port, closed_port, base);
	/* those whose port is not said before get sshd's */
	cube_autofree char *more = cube_strf("%sHost *\n  Port %u\n", text, server.port);
	write_file(server.dir, ".ssh/config", 0600, more);
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

static struct cube_target host(const char *name) {
	return (struct cube_target){
		.name = name, .host = name, .ssh_config = config, .timeout_ns = patience()};
}

static void begin(struct peer *peer, const struct cube_target *target) {
	struct cube_err err;
	int rc = cube_transport_ssh(ssh, target, &PEER_EVENTS, peer, &peer->t, &err);
	if (rc) ck_abort_msg("%s", err.msg);
}

/* Logins that sshd has seen so far. */
static int logins(void) {
	cube_autofree char *path = cube_strf("%s/sshd.log", server.dir);
	cube_autofree char *line = NULL;
	size_t size = 0;
	int n = 0;
	FILE *log = fopen(path, "re");
	ck_assert_ptr_nonnull(log);
	while (getline(&line, &size, log) > 0) n += strstr(line, "Accepted publickey") != NULL;
	fclose(log);
	return n;
}

static void must_fail(const char *name, int code, const char *words) {
	struct cube_target target = host(name);
	begin(&p, &target);
	RUN_UNTIL(&p, p.open || p.failed);
	ck_assert_msg(p.failed, "it opened");
	ck_assert_msg(p.err.code == code, "code %d: %s", p.err.code, p.err.msg);
	ck_assert_msg(strstr(p.err.msg, words) != NULL, "'%s' lacks '%s'", p.err.msg, words);
}

/* Both directions at once, more than all windows and buffers hold. */
static void echo_much(struct peer *peer, uint64_t n) {
	peer_exec(peer, "cat");
	peer_send(peer, n);
	RUN_UNTIL(peer, peer->ended || peer->failed);
	ck_assert_msg(!peer->failed, "%s", peer->err.msg);
	ck_assert_uint_eq(peer->got, n);
	ck_assert_uint_eq(peer->hash, peer->sent_hash);
}

/* hops: the logins but the last; -1: there may be some already. Then `much` bytes there and back:
 * sshd takes long over what waits for a lane, so what fills all windows is for the tests of the
 * lanes. */
enum { ALL_WINDOWS = 6 << 20, SOME = 100 << 10 };

static void open_one(const char *name, int hops, uint64_t much) {
	struct cube_target target = host(name);
	int before = logins();
	begin(&p, &target);
	peer_wait_open(&p);
	peer_run(&p, "echo through");
	ck_out(&p, "through\n");
	if (hops >= 0) ck_assert_int_eq(logins() - before, hops + 1);
	echo_much(&p, much);
}

START_TEST(test_one_hop) {
	open_one("far", 1, ALL_WINDOWS);
}
END_TEST

START_TEST(test_two_hops) {
	open_one("deep", 2, ALL_WINDOWS);
}
END_TEST

START_TEST(test_a_hop_of_its_own) { /* the jump host's configuration has a jump host */
	open_one("own", 2, SOME);
}
END_TEST

START_TEST(test_jump_to_itself) {
	open_one("self", 0, SOME);
}
END_TEST

START_TEST(test_jump_by_option) {
	struct cube_target target = host("127.0.0.1");
	target.jump = "box,hop2";
	int before = logins();
	begin(&p, &target);
	peer_wait_open(&p);
	ck_assert_int_eq(logins() - before, 3);
}
END_TEST

/* A consumer that takes nothing holds its own lane only, and the sender waits. */
START_TEST(test_one_lane_is_held) {
	struct peer other;
	struct cube_target target = host("far1"), second = host("far2");
	peer_init(&other, loop);
	begin(&p, &target);
	begin(&other, &second);
	peer_wait_open(&p);
	peer_wait_open(&other);
	p.hold = true;
	peer_exec(&p, "head -c 20000000 /dev/zero");
	echo_much(&other, 8 << 20);
	p.hold = false;
	cube_transport_resume(p.t);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_uint_eq(p.got, 20000000);
	peer_done(&other);
}
END_TEST

enum { MANY = 40 };
static struct peer peers[MANY];

static void open_many(void) {
	for (int i = 0; i < MANY; i++) {
		cube_autofree char *name = cube_strf("far%d", i);
		struct cube_target target = host(name);
		peer_init(&peers[i], loop);
		begin(&peers[i], &target);
	}
	for (int i = 0; i < MANY; i++) peer_wait_open(&peers[i]);
}

START_TEST(test_many_share_one) {
	int before = logins();
	open_many();
	ck_assert_int_eq(logins() - before, MANY + 1);
	for (int i = 0; i < MANY; i++) {
		peer_exec(&peers[i], "cat");
		peer_send(&peers[i], 300000);
	}
	for (int i = 0; i < MANY; i++) {
		RUN_UNTIL(&peers[i], peers[i].ended || peers[i].failed);
		ck_assert_msg(peers[i].hash == peers[i].sent_hash, "%s", peers[i].err.msg);
	}
	/* all hang up; who comes soon after finds the connection still there */
	for (int i = 0; i < MANY; i++) peer_done(&peers[i]);
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 10, NULL);
	open_one("far", 0, SOME);
}
END_TEST

/* Cuts every TCP connection to sshd we have: the carriers', as hosts have sockets of ours. */
static int cut_carriers(void) {
	int cut = 0;
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_in sa;
		socklen_t len = sizeof sa;
		if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0) continue;
		if (sa.sin_family != AF_INET || ntohs(sa.sin_port) != server.port) continue;
		shutdown(fd, SHUT_RDWR);
		cut++;
	}
	return cut;
}

/* Each host's link ends and says what broke; the next one gets a new carrier. */
START_TEST(test_carrier_breaks) {
	open_many();
	ck_assert_int_eq(cut_carriers(), 1);
	for (int i = 0; i < MANY; i++) {
		RUN_UNTIL(&peers[i], peers[i].failed);
		ck_assert_int_eq(peers[i].err.code, CUBE_ECONNECT);
		ck_assert_msg(strstr(peers[i].err.msg, "jump host box: ") != NULL, "%s",
			      peers[i].err.msg);
		peer_done(&peers[i]);
	}
	open_one("far", 1, SOME);
}
END_TEST

START_TEST(test_freed_on_the_way) {
	struct cube_target target = host("far");
	begin(&p, &target);
	for (int i = 0; i < _i * 3 && !p.open; i++) turn(loop);
	peer_drop(&p);
	peer_done(&p);
	peer_init(&p, loop);
	open_one("far", -1, SOME);
}
END_TEST

START_TEST(test_errors) {
	static const struct {
		const char *name;
		int code;
		const char *words;
	} cases[] = {
		{"lost", CUBE_ECONNECT, "jump host nojump: connecting to 127.0.0.1 port "},
		{"nowhere", CUBE_ECONNECT, "jump host box: connecting to 127.0.0.1 port "},
		{"circle", CUBE_EUSAGE, "ProxyJump leads in a circle"},
		{"longer", CUBE_EUSAGE, "over 8 jump hosts in a row"},
		{"behindstrict", CUBE_EHOSTKEY, "jump host strictjump: "},
	};
	must_fail(cases[_i].name, cases[_i].code, cases[_i].words);
}
END_TEST

/* The jump host takes our key no more: said once, by the jump host's name. */
START_TEST(test_jump_refuses_us) {
	cube_autofree char *id2 = cube_strf("%s/id2", server.dir);
	cube_autofree char *file = cube_strf("%s/refuse.config", server.dir);
	cube_autofree char *base = read_file(server.dir, ".ssh/config");
	cube_autofree char *text = cube_strf("Host box\n  IdentityFile %s\n  IdentitiesOnly yes\n"
					     "Host box2\n  HostName 127.0.0.1\n%s",
					     id2, base);
	write_file(server.dir, "refuse.config", 0600, text);
	cube_autofree char *keys = read_file(server.dir, "authorized_keys");
	struct cube_target target = host("far");
	target.ssh_config = file;
	write_file(server.dir, "authorized_keys", 0600, "");
	begin(&p, &target);
	RUN_UNTIL(&p, p.open || p.failed);
	write_file(server.dir, "authorized_keys", 0600, keys);
	ck_assert_msg(p.failed && p.err.code == CUBE_EAUTH, "%s", p.err.msg);
	ck_assert_msg(strstr(p.err.msg, "jump host box: ") == p.err.msg, "%s", p.err.msg);
}
END_TEST

/* ---- storms ------------------------------------------------------------------------------ */

/* A hundred names of one sshd at once, that takes 24 logins at a time and would drop each more. It
 * counts a login a moment longer than its client does, so eight in flight may be sixteen there. */
START_TEST(test_a_storm_is_paced) {
	enum { STORM = 100 };
	static struct peer storm[STORM];
	struct sshd one = server;
	close(listen_any(&one.port));
	write_file(server.dir, "sshd.log", 0600, "");
	sshd_launch(&one, "host_key", "LogLevel VERBOSE\nMaxStartups 24:100:24\n", NULL);
	for (int i = 0; i < STORM; i++) {
		cube_autofree char *name = cube_strf("hop-%d", i);
		struct cube_target target = host(name);
		target.port = one.port;
		target.timeout_ns = patience() / 2; /* waiting in line is not counted */
		peer_init(&storm[i], loop);
		begin(&storm[i], &target);
	}
	for (int i = 0; i < STORM; i++) peer_wait_open(&storm[i]);
	for (int i = 0; i < STORM; i++) peer_done(&storm[i]);
	cube_autofree char *path = cube_strf("%s/sshd.log", server.dir);
	const char *argv[] = {"sh", "-c", "! grep -qi 'startups' \"$0\"", path, NULL};
	run_program(argv);
	sshd_stop(&one);
}
END_TEST

/* No name server answers at first, as after a laptop's sleep. */
START_TEST(test_names_are_asked_again) {
	struct cube_target target = host("localhost");
	target.port = server.port;
	outage = 3;
	begin(&p, &target);
	peer_wait_open(&p);
	ck_assert_int_eq(questions, 4);
}
END_TEST

START_TEST(test_names_never_come) {
	struct cube_target target = host("localhost");
	target.timeout_ns = CUBE_NS_PER_S;
	outage = 1000;
	begin(&p, &target);
	RUN_UNTIL(&p, p.open || p.failed);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(p.err.msg, "times: cannot resolve localhost: ") != NULL, "%s",
		      p.err.msg);
}
END_TEST

/* ---- questions --------------------------------------------------------------------------- */

static int asked;

static void answer_it(void *arg) {
	struct peer *peer = arg;
	const char *const answers[] = {"secret"};
	if (peer->t) cube_transport_answer(peer->t, answers);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	ck_assert_int_eq(ask->kind, CUBE_ASK_PASSPHRASE);
	asked++;
	cube_loop_defer(loop, answer_it, arg);
}

/* The jump host wants a key with a passphrase: one host asks for all. */
START_TEST(test_jump_host_asks) {
	enum { N = 5 };
	struct cube_transport_events events = PEER_EVENTS;
	cube_autofree char *file = cube_strf("%s/ask.config", server.dir);
	cube_autofree char *text =
		cube_strf("Host asks\n  IdentityFile %s/idenc\n  IdentitiesOnly yes\n"
			  "  IdentityAgent none\n  UserKnownHostsFile %s/.ssh/known_hosts\n"
			  "Host to*\n  ProxyJump asks\n  IdentityFile %s/id\n"
			  "Host *\n  HostName 127.0.0.1\n  Port %u\n"
			  "  UserKnownHostsFile %s/.ssh/known_hosts\n",
			  server.dir, server.dir, server.dir, server.port, server.dir);
	cube_autofree char *keys = read_file(server.dir, "authorized_keys");
	cube_autofree char *enc = read_file(server.dir, "idenc.pub");
	cube_autofree char *both = cube_strf("%s%s", keys, enc);
	write_file(server.dir, "ask.config", 0600, text);
	write_file(server.dir, "authorized_keys", 0600, both);
	events.on_ask = on_ask;
	for (int i = 0; i < N; i++) {
		cube_autofree char *name = cube_strf("to%d", i);
		struct cube_target target = host(name);
		target.ssh_config = file;
		target.ask = true;
		peer_init(&peers[i], loop);
		ck_assert_int_eq(
			cube_transport_ssh(ssh, &target, &events, &peers[i], &peers[i].t, NULL), 0);
	}
	for (int i = 0; i < N; i++) peer_wait_open(&peers[i]);
	for (int i = 0; i < N; i++) peer_done(&peers[i]);
	ck_assert_int_eq(asked, 1);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_jump");
	TCase *tc = tcase_create("jump");
	tcase_add_unchecked_fixture(tc, start_server, stop_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_one_hop);
	tcase_add_test(tc, test_two_hops);
	tcase_add_test(tc, test_a_hop_of_its_own);
	tcase_add_test(tc, test_jump_to_itself);
	tcase_add_test(tc, test_jump_by_option);
	tcase_add_test(tc, test_one_lane_is_held);
	tcase_add_test(tc, test_many_share_one);
	tcase_add_test(tc, test_carrier_breaks);
	tcase_add_loop_test(tc, test_freed_on_the_way, 0, 14);
	tcase_add_loop_test(tc, test_errors, 0, 5);
	tcase_add_test(tc, test_jump_refuses_us);
	tcase_add_test(tc, test_jump_host_asks);
	tcase_add_test(tc, test_a_storm_is_paced);
	tcase_add_test(tc, test_names_are_asked_again);
	tcase_add_test(tc, test_names_never_come);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
