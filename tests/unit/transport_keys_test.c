/* Keys of all kinds against a real sshd: which are tried, in which order, when the ssh program is
 * asked for instead, and what is told on the way; host keys of several types. */
#include <libssh2.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "transport_sshd.h"

#include "transport_shim.c"

static struct sshd server;
static struct cube_loop *loop;
static struct cube_ssh *ssh;
static struct peer p;
static char facts[CUBE_FACT_LOGIN + 1][300];
static pid_t agent;

static void shell(const char *text) {
	cube_autofree char *all = cube_strf("cd %s && %s", server.dir, text);
	const char *argv[] = {"sh", "-ec", all, NULL};
	run_program(argv);
}

static void on_fact(void *arg, enum cube_transport_fact fact, const char *text) {
	ck_assert_msg(!facts[fact][0], "fact %d twice", fact);
	for (int i = (int)fact + 1; i <= CUBE_FACT_LOGIN; i++) ck_assert(!facts[i][0]);
	snprintf(facts[fact], sizeof facts[fact], "%s", text);
	note(arg, (char)('0' + fact));
}

static struct cube_transport_events events;

static void prepare(void) {
	sshd_prepare(&server);
	shell("ssh-keygen -q -t rsa -b 2048 -N '' -f rsa; "
	      "ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f rsapem; "
	      "ssh-keygen -q -t ecdsa -N '' -f host_ecdsa; ssh-keygen -q -t rsa -N '' -f host_rsa; "
	      "ssh-keygen -q -t ed25519 -N '' -f ca; ssh-keygen -q -t ed25519 -N '' -f signed; "
	      "ssh-keygen -q -s ca -I me -n x signed.pub; ssh-keygen -q -t ecdsa -N '' -f ec; ssh-keygen -q -t ecdsa -b 521 -m PEM -N '' -f ecpem; "
	      "ssh-keygen -q -t ecdsa -b 384 -N '' -f ec384; cat ec.pub ec384.pub ecpem.pub >>authorized_keys; rm ecpem.pub; "
	      "cat rsa.pub rsapem.pub >>authorized_keys; rm rsapem.pub; "
	      "echo 'no key at all' >junk; "
	      "for i in 1 2 3 4 5 6 7 8; do ssh-keygen -q -t ed25519 -N '' -f agent$i; done; "
	      "cat agent8.pub >>authorized_keys");
	/* the public half of a key on a token: a string, 32 bytes and an application */
	write_file(
		server.dir, "token.pub", 0600,
		"sk-ssh-ed25519@openssh.com "
		"AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAAAAAAAAABHNzaDo= me\n");
	write_file(server.dir, "token", 0600, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
}

static void cleanup(void) {
	sshd_cleanup(&server);
}

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_ssh_new(loop, NULL, &ssh, NULL), 0);
	peer_init(&p, loop);
	memset(facts, 0, sizeof facts);
	events = PEER_EVENTS;
	events.on_fact = on_fact;
	cube_autofree char *known = cube_strf("%s/.ssh/known_hosts", server.dir);
	unlink(known);
}

static void teardown(void) {
	peer_done(&p);
	for (int i = 0; i < 2; i++) cube_loop_turn(loop, 0, NULL);
	cube_ssh_free(ssh);
	cube_loop_free(loop);
	sshd_stop(&server);
	if (agent) {
		kill(agent, SIGTERM);
		waitpid(agent, NULL, 0);
	}
	agent = 0;
}

static void again(void) {
	peer_done(&p);
	for (int i = 0; i < 2; i++) cube_loop_turn(loop, 0, NULL);
	peer_init(&p, loop);
	memset(facts, 0, sizeof facts);
}

/* An ssh configuration of a test's own; with the key ~/id unless it names others. */
static struct cube_target host(const char *words) {
	static char file[96];
	static unsigned n;
	bool keys = strstr(words, "IdentityFile") != NULL;
	cube_autofree char *name = cube_strf("config%u", n++);
	cube_autofree char *text =
		cube_strf("%s\nHost *\n  HostName 127.0.0.1\n  Port %u\n"
			  "  UserKnownHostsFile %s/.ssh/known_hosts\n"
			  "  GlobalKnownHostsFile none\n  IdentityAgent %s\n"
			  "%s%s%s\n",
			  words, server.port, server.dir, agent ? "SSH_AUTH_SOCK" : "none",
			  keys ? "" : "  IdentityFile ", keys ? "" : server.dir, keys ? "" : "/id");
	write_file(server.dir, name, 0600, text);
	snprintf(file, sizeof file, "%s/%s", server.dir, name);
	return (struct cube_target){
		.name = "box", .host = "box", .ssh_config = file, .timeout_ns = patience()};
}

static void begin(const struct cube_target *target) {
	struct cube_err err;
	int rc = cube_transport_ssh(ssh, target, &events, &p, &p.t, &err);
	if (rc) ck_abort_msg("%s", err.msg);
}

static void must_open(const struct cube_target *target) {
	begin(target);
	peer_wait_open(&p);
}

static void must_fail(const struct cube_target *target, int code, const char *words) {
	begin(target);
	RUN_UNTIL(&p, p.open || p.failed);
	ck_assert_msg(p.failed, "it opened");
	ck_assert_msg(p.err.code == code, "code %d: %s", p.err.code, p.err.msg);
	ck_assert_msg(strstr(p.err.msg, words) != NULL, "'%s' lacks '%s'", p.err.msg, words);
}

/* ---- what the ssh program is needed for -------------------------------------------------- */

/* RSA with SHA-2, and AES-GCM. */
static bool is_old(void) {
	return !libssh2_version(0x010b00);
}

START_TEST(test_needs_program) {
	static const struct {
		const char *key, *words, *reason;
		bool also_new; /* also with libssh2 1.11 */
	} cases[] = {
		{"rsa", "", "RSA keys need libssh2 1.11, this is 1.", false},
		{"rsapem", "", "RSA keys need libssh2 1.11", false},
		{"token", "", "FIDO keys need the ssh program", true},
		{"signed", "", "certificates need the ssh program", true},
		{"id2", "CertificateFile ~/signed-cert.pub", "certificates need", true},
		{"id2", "PKCS11Provider /x.so", "PKCS11Provider needs the ssh program", true},
		{"junk", "", "libssh2 cannot read ~/junk", true},
	};
	cube_autofree char *path = cube_strdup(getenv("PATH"));
	sshd_start(&server, "host_key", "");
	cube_autofree char *key = cube_strf("%s/%s", server.dir, cases[_i].key);
	struct cube_target target = host(cases[_i].words);
	target.identity = key;
	if (!is_old() && !cases[_i].also_new) {
		cube_autofree char *login = cube_strf("publickey ~/%s", cases[_i].key);
		must_open(&target);
		ck_assert_str_eq(facts[CUBE_FACT_LOGIN], login);
		return;
	}
	must_fail(&target, CUBE_ELIBRARY, cases[_i].reason);
	again();
	/* without it: what went wrong, and what could be done */
	struct cube_target same = target;
	same.ssh_config = NULL;
	same.host = "127.0.0.1";
	same.port = server.port;
	if (*cases[_i].words) return; /* nobody reads a configuration then */
	setenv("PATH", "/nonexistent", 1);
	must_fail(&same, CUBE_EAUTH, "no ssh program is installed");
	setenv("PATH", path, 1);
	ck_assert_msg(strstr(p.err.msg, cases[_i].reason) != NULL, "%s", p.err.msg);
}
END_TEST

/* libssh2 1.10 loses a BIGNUM of each ECDSA file in OpenSSH's format that it reads: what is
 * allocated meanwhile is no leak of ours. */
static void open_past_leaks(const struct cube_target *target) {
#ifdef __SANITIZE_ADDRESS__
	__lsan_disable();
	must_open(target);
	__lsan_enable();
#else
	must_open(target);
#endif
}

/* In a file of OpenSSH's, in an older one; the public half derived. */
START_TEST(test_ecdsa) {
	static const char *const names[] = {"ec", "ecpem", "ec384"};
	sshd_start(&server, "host_key", "");
	cube_autofree char *key = cube_strf("%s/%s", server.dir, names[_i]);
	cube_autofree char *login = cube_strf("publickey ~/%s", names[_i]);
	struct cube_target target = host("");
	target.identity = key;
	open_past_leaks(&target);
	ck_assert_str_eq(facts[CUBE_FACT_LOGIN], login);
	peer_run(&p, "echo hi");
	ck_out(&p, "hi\n");
}
END_TEST

/* It is the last resort: a key that works is found first. */
START_TEST(test_program_is_last) {
	sshd_start(&server, "host_key", "");
	cube_autofree char *words =
		cube_strf("IdentityFile %s/rsa\nIdentityFile %s/token\nIdentityFile %s/signed\n"
			  "IdentityFile %s/id",
			  server.dir, server.dir, server.dir, server.dir);
	struct cube_target target = host(words);
	must_open(&target);
	ck_assert_str_eq(facts[CUBE_FACT_LOGIN], is_old() ? "publickey ~/id" : "publickey ~/rsa");
}
END_TEST

START_TEST(test_kex) {
	sshd_start(&server, "host_key", "KexAlgorithms sntrup761x25519-sha512@openssh.com\n");
	struct cube_target target = host("");
	must_fail(&target, CUBE_ELIBRARY, "no algorithm in common");
	ck_assert_msg(strstr(facts[CUBE_FACT_SERVER], "OpenSSH") != NULL, "%s",
		      facts[CUBE_FACT_SERVER]);
	again();
	sshd_stop(&server);
	sshd_start(&server, "host_rsa", "");
	if (is_old()) {
		must_fail(&target, CUBE_ELIBRARY, "RSA keys only");
		return;
	}
	must_open(&target);
	ck_assert_int_eq(strncmp(facts[CUBE_FACT_HOST_KEY], "ssh-rsa SHA256:", 15), 0);
}
END_TEST

/* ---- agents ------------------------------------------------------------------------------ */

static void agent_start(void) {
	static char sock[108];
	snprintf(sock, sizeof sock, "%s/agent.sock", server.dir);
	unlink(sock);
	agent = fork();
	if (!agent) {
		const char *argv[] = {"ssh-agent", "-D", "-a", sock, NULL};
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (access(sock, F_OK) < 0) poll(NULL, 0, 1);
	setenv("SSH_AUTH_SOCK", sock, 1);
}

/* Eight keys, the right one last. */
START_TEST(test_many_keys) {
	sshd_start(&server, "host_key", "");
	agent_start();
	shell("ssh-add -q agent1 agent2 agent3 agent4 agent5 agent6 agent7 agent8");
	struct cube_target target = host("IdentityFile none");
	must_fail(&target, CUBE_EAUTH, "Too many authentication failures");
	ck_assert_msg(strstr(p.err.msg, "name the right key: --identity KEY") != NULL, "%s",
		      p.err.msg);
	again();
	cube_autofree char *right = cube_strf("%s/agent8", server.dir);
	target.identity = right;
	must_open(&target);
	ck_assert_str_eq(facts[CUBE_FACT_LOGIN], "agent key 1");
	again();
	/* a public key names one of the agent's */
	cube_autofree char *pub = cube_strf("%s/agent8.pub", server.dir);
	target.identity = pub;
	must_open(&target);
	again();
	/* a server with more patience sees all of them, after the key file */
	sshd_stop(&server);
	sshd_start(&server, "host_key", "MaxAuthTries 20\n");
	cube_autofree char *words = cube_strf("IdentityFile %s/id2", server.dir);
	target = host(words);
	target.identity = NULL;
	must_open(&target);
}
END_TEST

START_TEST(test_agent_certificate) {
	sshd_start(&server, "host_key", "");
	agent_start();
	shell("ssh-add -q signed && ssh-add -q -d signed.pub 2>/dev/null || :");
	struct cube_target target = host("IdentityFile none");
	must_fail(&target, CUBE_ELIBRARY, "certificates need the ssh program");
}
END_TEST

/* ---- facts ------------------------------------------------------------------------------- */

START_TEST(test_facts) {
	sshd_start(&server, "host_key", "");
	struct cube_target target = host("");
	must_open(&target);
	cube_autofree char *address = cube_strf("127.0.0.1 port %u", server.port);
	cube_autofree char *line = cube_strf("HostName=127.0.0.1 Port=%u", server.port);
	ck_assert_msg(strstr(facts[CUBE_FACT_CONFIG], line) != NULL, "%s", facts[CUBE_FACT_CONFIG]);
	ck_assert_str_eq(facts[CUBE_FACT_ADDRESS], address);
	ck_assert_int_eq(strncmp(facts[CUBE_FACT_SERVER], "SSH-2.0-OpenSSH_", 16), 0);
	ck_assert_msg(strstr(facts[CUBE_FACT_KEX],
			     is_old() ? ", aes128-ctr" : ", aes128-gcm@openssh.com") != NULL,
		      "%s", facts[CUBE_FACT_KEX]);
	shell("ssh-keygen -lf host_key.pub | cut -d' ' -f2 | tr -d '\\n' >print");
	cube_autofree char *print = read_file(server.dir, "print");
	cube_autofree char *fresh = cube_strf("ssh-ed25519 %s new", print);
	cube_autofree char *known = cube_strf("ssh-ed25519 %s known", print);
	ck_assert_str_eq(facts[CUBE_FACT_HOST_KEY], fresh);
	ck_assert_str_eq(facts[CUBE_FACT_METHODS], "publickey");
	ck_assert_str_eq(facts[CUBE_FACT_LOGIN], "publickey ~/id");
	again();
	must_open(&target);
	ck_assert_str_eq(facts[CUBE_FACT_HOST_KEY], known);
}
END_TEST

/* The receiver of any fact may hang up. */
START_TEST(test_free_in_fact) {
	if (_i == CUBE_FACT_JUMP) return; /* there is no jump host */
	sshd_start(&server, "host_key", "");
	struct cube_target target = host("");
	p.free_in = (char)('0' + _i);
	begin(&target);
	RUN_UNTIL(&p, !p.t || p.failed);
	ck_assert_msg(!p.failed, "%s", p.err.msg);
	turn(loop);
}
END_TEST

/* ---- host keys --------------------------------------------------------------------------- */

/* A host known by its second best key shows that one, and is known. */
START_TEST(test_known_type) {
	cube_autofree char *both = cube_strf("HostKey %s/host_ecdsa\n", server.dir);
	sshd_start(&server, "host_key", both);
	cube_autofree char *pub = read_file(server.dir, "host_ecdsa.pub");
	cube_autofree char *line = cube_strf("[127.0.0.1]:%u %s", server.port, pub);
	write_file(server.dir, ".ssh/known_hosts", 0600, line);
	struct cube_target target = host("");
	target.strict_host_keys = true;
	must_open(&target);
	ck_assert_msg(strstr(facts[CUBE_FACT_HOST_KEY], "ecdsa-sha2-nistp256 SHA256:") ==
			      facts[CUBE_FACT_HOST_KEY],
		      "%s", facts[CUBE_FACT_HOST_KEY]);
}
END_TEST

START_TEST(test_hashed_names) {
	sshd_start(&server, "host_key", "");
	struct cube_target target = host("HashKnownHosts yes");
	must_open(&target);
	cube_autofree char *text = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_msg(!strncmp(text, "|1|", 3) && !strstr(text, "127.0.0.1"), "%s", text);
	again();
	target.strict_host_keys = true;
	must_open(&target);
	/* ssh's own tools find it too */
	cube_autofree char *find = cube_strf(
		"ssh-keygen -F '[127.0.0.1]:%u' -f .ssh/known_hosts >/dev/null", server.port);
	shell(find);
}
END_TEST

/* Two files: what the second says counts, and new keys go to the first. */
START_TEST(test_two_files) {
	sshd_start(&server, "host_key", "");
	cube_autofree char *words =
		cube_strf("UserKnownHostsFile %s/first %s/second", server.dir, server.dir);
	struct cube_target target = host(words);
	must_open(&target);
	again();
	shell("mv first second");
	target.strict_host_keys = true;
	must_open(&target);
	again();
	shell("test ! -e first; sed -i 's/ AAAA.*//' second; cat host_key2.pub | cut -d' ' -f1,2 "
	      ">key; sed -i \"s|ssh-ed25519.*|$(cat key)|\" second");
	cube_autofree char *fix =
		cube_strf("ssh-keygen -R '[127.0.0.1]:%u' -f %s/second", server.port, server.dir);
	must_fail(&target, CUBE_EHOSTKEY, fix);
	ck_assert_msg(strstr(facts[CUBE_FACT_HOST_KEY], " changed") != NULL, "%s",
		      facts[CUBE_FACT_HOST_KEY]);
	again();
	/* the line does what it says */
	cube_autofree char *paste = cube_strf("%s 2>/dev/null", strstr(fix, "ssh-keygen"));
	shell(paste);
	target.strict_host_keys = false;
	must_open(&target);
}
END_TEST

/* A name that the shell would take apart. */
START_TEST(test_pasted_line) {
	sshd_start(&server, "host_key", "");
	cube_autofree char *words = cube_strf("UserKnownHostsFile \"%s/it's&touch>x\"", server.dir);
	struct cube_target target = host(words);
	target.strict_host_keys = true;
	must_fail(&target, CUBE_EHOSTKEY, "is not known");
	again();
	cube_autofree char *file = cube_strf("it's&touch>x");
	cube_autofree char *pub = read_file(server.dir, "host_key2.pub");
	cube_autofree char *line = cube_strf("[127.0.0.1]:%u %s", server.port, pub);
	write_file(server.dir, file, 0600, line);
	must_fail(&target, CUBE_EHOSTKEY, "ssh-keygen -R");
	cube_autofree char *paste =
		cube_strf("%s 2>/dev/null; test ! -e x", strstr(p.err.msg, "ssh-keygen"));
	shell(paste);
	again();
	target.strict_host_keys = false;
	must_open(&target);
}
END_TEST

START_TEST(test_strictness) {
	static const struct {
		const char *words;
		bool opens;
	} cases[] = {{"StrictHostKeyChecking no", true},
		     {"StrictHostKeyChecking off", true},
		     {"StrictHostKeyChecking accept-new", true},
		     {"StrictHostKeyChecking ask", true},
		     {"StrictHostKeyChecking yes", false}};
	sshd_start(&server, "host_key", "");
	struct cube_target target = host(cases[_i].words);
	if (cases[_i].opens) must_open(&target);
	else must_fail(&target, CUBE_EHOSTKEY, "is not known and strict checking is on");
	again();
	cube_autofree char *pub = read_file(server.dir, "host_key2.pub");
	cube_autofree char *line = cube_strf("[127.0.0.1]:%u %s", server.port, pub);
	write_file(server.dir, ".ssh/known_hosts", 0600, line);
	must_fail(&target, CUBE_EHOSTKEY, "HOST KEY CHANGED"); /* whatever is said there */
}
END_TEST

/* An authority vouches for the host: libssh2 cannot ask it for its certificate. */
START_TEST(test_authority) {
	sshd_start(&server, "host_key", "");
	cube_autofree char *pub = read_file(server.dir, "ca.pub");
	cube_autofree char *line = cube_strf("@cert-authority [127.0.0.*]:* %s", pub);
	write_file(server.dir, ".ssh/known_hosts", 0600, line);
	struct cube_target target = host("");
	must_fail(&target, CUBE_ELIBRARY, "host certificates need the ssh program");
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_keys");
	TCase *tc = tcase_create("sshd");
	tcase_add_unchecked_fixture(tc, prepare, cleanup);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_needs_program, 0, 7);
	tcase_add_loop_test(tc, test_ecdsa, 0, 3);
	tcase_add_test(tc, test_program_is_last);
	tcase_add_test(tc, test_kex);
	tcase_add_test(tc, test_many_keys);
	tcase_add_test(tc, test_agent_certificate);
	tcase_add_test(tc, test_facts);
	tcase_add_loop_test(tc, test_free_in_fact, 0, CUBE_FACT_LOGIN + 1);
	tcase_add_test(tc, test_known_type);
	tcase_add_test(tc, test_hashed_names);
	tcase_add_test(tc, test_two_files);
	tcase_add_test(tc, test_pasted_line);
	tcase_add_loop_test(tc, test_strictness, 0, 5);
	tcase_add_test(tc, test_authority);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
