/* Logging in with what only a person knows: passphrases, passwords, PAM's questions; against a
 * real sshd with accounts of its own (a private /etc in a mount namespace, so root only). */
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include "transport_sshd.h"

#include "transport_shim.c"

enum { ASKS_MAX = 16 };
static const char SECRET[] = "pass word'\"$;";

static struct sshd server;
static struct cube_loop *loop;
static struct cube_ssh *ssh;
static struct peer p;
static char config[96];

/* ---- a person ---------------------------------------------------------------------------- */

struct asked {
	enum cube_ask_kind kind;
	char key[128], title[256], text[160];
	unsigned n;
	bool again, echo;
};

static struct person {
	const char *answers[ASKS_MAX]; /* one a prompt, in turn; NULL: none is given */
	unsigned next;
	bool late; /* answers when told to */
	bool waits;
	unsigned n;
	struct asked asks[ASKS_MAX];
	char facts[CUBE_FACT_LOGIN + 1][200];
	unsigned nfacts;
	bool drop; /* frees the transport instead */
} me;

static void give_answers(void) {
	const char *answers[CUBE_ASK_PROMPTS] = {0};
	const struct asked *q = &me.asks[me.n - 1];
	bool none = false;
	me.waits = false;
	for (unsigned i = 0; i < q->n; i++) {
		answers[i] = me.answers[me.next++];
		none |= !answers[i];
	}
	cube_transport_answer(p.t, none ? NULL : answers);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	ck_assert_uint_lt(me.n, ASKS_MAX);
	struct asked *q = &me.asks[me.n++];
	q->kind = ask->kind;
	q->n = ask->n;
	q->again = ask->again;
	q->echo = ask->prompts[0].echo;
	snprintf(q->key, sizeof q->key, "%s", ask->key);
	snprintf(q->title, sizeof q->title, "%s", ask->title);
	for (unsigned i = 0; i < ask->n; i++)
		snprintf(q->text + strlen(q->text), sizeof q->text - strlen(q->text), "%s%s",
			 i ? "|" : "", ask->prompts[i].text);
	if (me.drop) peer_drop(&p);
	else if (me.late) me.waits = true;
	else give_answers();
}

static void on_fact(void *arg, enum cube_transport_fact fact, const char *text) {
	ck_assert_msg(!me.facts[fact][0], "fact %d twice", fact);
	for (int i = (int)fact + 1; i <= CUBE_FACT_LOGIN; i++) ck_assert(!me.facts[i][0]);
	snprintf(me.facts[fact], sizeof me.facts[fact], "%s", text);
}

static struct cube_transport_events events;

/* ---- the server -------------------------------------------------------------------------- */

static void shell(const char *text) {
	const char *argv[] = {"sh", "-c", text, NULL};
	run_program(argv);
}

/* sshd and its children see $dir/etc as /etc: accounts tester, old (its password has expired) and
 * locked, all with SECRET. */
static void make_etc(const char *dir) {
	cube_autofree char *script = cube_strf(
		"set -e; cd %s; mkdir -p etc home; chmod 755 . home\n"
		"cp -a /etc/passwd /etc/group /etc/shadow /etc/nsswitch.conf /etc/ld.so.cache "
		"/etc/login.defs /etc/security /etc/localtime /etc/ssl etc/ 2>/dev/null || :\n"
		"mkdir -p etc/pam.d; hash=$(openssl passwd -6 -stdin <secret)\n"
		"for u in tester old; do\n"
		"  echo \"$u:x:4242:4242::$PWD/home:/bin/sh\" >>etc/passwd\n"
		"done\n"
		"echo \"tester:$hash:19000:0:99999:7:::\" >>etc/shadow\n"
		"echo \"old:$hash:0:0:99999:7:::\" >>etc/shadow\n"
		"printf '%%s\\n' 'auth optional pam_exec.so quiet stdout '$PWD/count "
		"'auth required pam_unix.so' 'account required pam_unix.so' "
		"'password required pam_unix.so' 'session required pam_permit.so' "
		">etc/pam.d/sshd\n"
		"printf '#!/bin/sh\\ncd %%s; echo x >>counter; cat words 2>/dev/null\\n' $PWD >count\n"
		"chmod 755 count",
		dir);
	write_file(dir, "secret", 0600, SECRET);
	shell(script);
}

static void start_server(void) {
	sshd_prepare(&server);
	make_etc(server.dir);
	make_key(server.dir, "locked", "ed25519", SECRET);
	cube_autofree char *pem = cube_strf("ssh-keygen -q -t ecdsa -m PEM -N '%s' -f %s/pem",
					    "pem secret", server.dir);
	cube_autofree char *pkcs8 = cube_strf("ssh-keygen -q -t ecdsa -m PKCS8 -N '%s' -f %s/pkcs8",
					      "pem secret", server.dir);
	cube_autofree char *all =
		cube_strf("cd %s; cat locked.pub pem.pub pkcs8.pub id.pub "
			  ">authorized_keys; chmod 644 authorized_keys; rm pem.pub",
			  server.dir);
	shell(pem);
	shell(pkcs8);
	shell(all);
	cube_autofree char *etc = cube_strf("%s/etc", server.dir);
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(mount(etc, "/etc", NULL, MS_BIND, NULL), 0);
	snprintf(config, sizeof config, "%s/.ssh/config", server.dir);
}

static void stop_server(void) {
	umount("/etc");
	sshd_cleanup(&server);
}

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_ssh_new(loop, NULL, &ssh, NULL), 0);
	peer_init(&p, loop);
	memset(&me, 0, sizeof me);
	events = PEER_EVENTS;
	events.on_ask = on_ask;
	events.on_fact = on_fact;
}

static void teardown(void) {
	peer_done(&p);
	for (int i = 0; i < 2; i++) cube_loop_turn(loop, 0, NULL);
	cube_ssh_free(ssh);
	cube_loop_free(loop);
	sshd_stop(&server);
}

static void again(void) {
	peer_done(&p);
	for (int i = 0; i < 2; i++) cube_loop_turn(loop, 0, NULL);
	peer_init(&p, loop);
	memset(&me, 0, sizeof me);
}

static struct cube_target tester(void) {
	return (struct cube_target){.name = "box",
				    .host = "box",
				    .user = "tester",
				    .ssh_config = config,
				    .ask = true,
				    .timeout_ns = patience()};
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
	ck_assert_msg(!strstr(p.err.msg, SECRET), "%s", p.err.msg);
}

static const char NO_KEYS[] = "PubkeyAuthentication no\n";
static const char PASSWORD[] = "PubkeyAuthentication no\nPasswordAuthentication yes\n";
static const char PAM[] = "UsePAM yes\nKbdInteractiveAuthentication yes\n";

static void serve_login(const char *words) {
	sshd_stop(&server);
	sshd_launch(&server, "host_key", words, NULL);
}

/* ---- passwords --------------------------------------------------------------------------- */

START_TEST(test_password) {
	struct cube_target target = tester();
	serve_login(PASSWORD);
	me.answers[0] = SECRET;
	me.late = _i;
	begin(&target);
	if (me.late) {
		RUN_UNTIL(&p, me.waits || p.failed);
		give_answers();
	}
	peer_wait_open(&p);
	peer_run(&p, "id -un");
	ck_out(&p, "tester\n");
	ck_assert_uint_eq(me.n, 1);
	ck_assert_int_eq(me.asks[0].kind, CUBE_ASK_PASSWORD);
	ck_assert_str_eq(me.asks[0].key, "tester");
	ck_assert_str_eq(me.asks[0].text, "Password for tester: ");
	ck_assert(!me.asks[0].echo && !me.asks[0].again);
	ck_assert_str_eq(me.facts[CUBE_FACT_METHODS], "password");
	ck_assert_str_eq(me.facts[CUBE_FACT_LOGIN], "password");
}
END_TEST

/* A jump host's password is another one than the target's, though the accounts have one name. */
START_TEST(test_password_of_jump) {
	struct cube_target target = tester();
	cube_autofree char *lines = cube_strf("AllowTcpForwarding yes\n%s", PASSWORD);
	serve_login(lines);
	target.jump = "tester@box";
	target.host = "127.0.0.1";
	target.port = server.port;
	me.answers[0] = me.answers[1] = SECRET;
	must_open(&target);
	ck_assert_uint_eq(me.n, 2);
	ck_assert_str_eq(me.asks[0].key, "tester@tester@box");
	ck_assert_str_eq(me.asks[0].title, "jump host tester@box");
	ck_assert_str_eq(me.asks[1].key, "tester");
	ck_assert_str_eq(me.asks[1].title, "");
}
END_TEST

START_TEST(test_password_refused) {
	struct cube_target target = tester();
	serve_login(PASSWORD);
	me.answers[0] = "wrong";
	must_fail(&target, CUBE_ELOGIN, "as tester: the password was refused");
	ck_assert_uint_eq(me.n, 1);
	again();
	must_fail(&target, CUBE_ELOGIN, "needs a password, and none was given");
	again();
	target.ask = false;
	must_fail(&target, CUBE_ELOGIN, "needs a password");
	again();
	target.ask = true;
	cube_autofree char *batch = cube_strf("%s/batch", server.dir);
	cube_autofree char *text = cube_strf("BatchMode yes\nInclude %s\n", config);
	write_file(server.dir, "batch", 0600, text);
	target.ssh_config = batch;
	must_fail(&target, CUBE_ELOGIN, "needs a password");
	ck_assert_uint_eq(me.n, 0);
	again();
	cube_autofree char *not_so = cube_strf("PasswordAuthentication no\nInclude %s\n", config);
	write_file(server.dir, "batch", 0600, not_so);
	target.user = "root"; /* another question to the cache of ssh -G */
	must_fail(&target, CUBE_EAUTH, "server accepts password; no keys to try");
}
END_TEST

/* The clock of the opening stands while the question is open, and goes on after it. */
START_TEST(test_clock) {
	struct cube_target target = tester();
	serve_login(PASSWORD);
	me.answers[0] = SECRET;
	me.late = true;
	target.timeout_ns = patience() / 20; /* a busy machine takes long over a key exchange */
	begin(&target);
	RUN_UNTIL(&p, me.waits || p.failed);
	uint64_t end = cube_loop_now(loop) + target.timeout_ns * 11 / 10;
	while (cube_loop_now(loop) < end) {
		cube_loop_turn(loop, 50, NULL);
		ck_assert_msg(!p.failed, "%s", p.err.msg);
	}
	give_answers();
	peer_wait_open(&p);
}
END_TEST

/* sshd's own clock. */
START_TEST(test_grace) {
	struct cube_target target = tester();
	cube_autofree char *words = cube_strf("%sLoginGraceTime 1\n", PASSWORD);
	serve_login(words);
	me.late = true;
	must_fail(&target, CUBE_ELOGIN, "LoginGraceTime");
	ck_assert_uint_eq(me.n, 1);
}
END_TEST

START_TEST(test_free_while_asked) {
	struct cube_target target = tester();
	cube_autofree char *pam = cube_strf("%s%s", NO_KEYS, PAM);
	serve_login(_i ? pam : PASSWORD);
	me.drop = true;
	begin(&target);
	RUN_UNTIL(&p, !p.t);
	turn(loop);
}
END_TEST

/* dropbear counts and words it its own way. */
START_TEST(test_dropbear) {
	struct cube_target target = tester();
	const char *text = "dropbearkey -t ed25519 -f dropbear_key >/dev/null 2>&1";
	cube_autofree char *make = cube_strf("cd %s && rm -f dropbear_key && %s", server.dir, text);
	cube_autofree char *key = cube_strf("%s/dropbear_key", server.dir);
	cube_autofree char *known = cube_strf("%s/.ssh/known_hosts", server.dir);
	cube_autofree char *port = cube_strf("127.0.0.1:%u", server.port);
	cube_autofree char *pid = cube_strf("%s/dropbear.pid", server.dir); /* which it unlinks */
	unlink(known);
	shell(make);
	server.pid = fork();
	if (!server.pid) {
		const char *argv[] = {"dropbear", "-F", "-E", "-p", port,
				      "-r",       key,  "-P", pid,  NULL};
		int null = open("/dev/null", O_RDWR);
		dup2(null, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (!greets(server.port)) poll(NULL, 0, 2);
	me.answers[0] = _i ? "wrong" : SECRET;
	if (_i) must_fail(&target, CUBE_ELOGIN, "the password was refused");
	else must_open(&target);
	ck_assert_uint_eq(me.n, 1);
	ck_assert_int_eq(me.asks[0].kind, CUBE_ASK_PASSWORD);
	ck_assert_str_eq(me.facts[CUBE_FACT_METHODS], "publickey,password");
	unlink(known);
}
END_TEST

/* ---- passphrases ------------------------------------------------------------------------- */

START_TEST(test_passphrase) {
	static const struct {
		const char *name, *phrase;
	} files[] = {{"locked", SECRET}, {"pem", "pem secret"}, {"pkcs8", "pem secret"}};
	struct cube_target target = tester();
	cube_autofree char *path = cube_strf("%s/%s", server.dir, files[_i].name);
	cube_autofree char *text = cube_strf("Passphrase for ~/%s: ", files[_i].name);
	cube_autofree char *login = cube_strf("publickey ~/%s", files[_i].name);
	serve_login("");
	target.identity = path;
	me.answers[0] = "wrong";
	me.answers[1] = files[_i].phrase;
	must_open(&target);
	ck_assert_uint_eq(me.n, 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(me.asks[i].kind, CUBE_ASK_PASSPHRASE);
		ck_assert_str_eq(me.asks[i].key, path);
		ck_assert_str_eq(me.asks[i].text, text);
		ck_assert_int_eq(me.asks[i].again, i == 1);
	}
	ck_assert_str_eq(me.facts[CUBE_FACT_LOGIN], login);
	again();
	me.answers[0] = me.answers[1] = me.answers[2] = "wrong";
	must_fail(&target, CUBE_ELOGIN, "the ones given do not open it");
	ck_assert_uint_eq(me.n, 3);
	again();
	must_fail(&target, CUBE_ELOGIN, "and none was given");
	again();
	target.ask = false;
	cube_autofree char *needs = cube_strf("needs the passphrase of ~/%s", files[_i].name);
	must_fail(&target, CUBE_ELOGIN, needs);
}
END_TEST

/* Nobody is asked for the passphrase of a key the server does not want. */
START_TEST(test_passphrase_unwanted) {
	struct cube_target target = tester();
	cube_autofree char *path = cube_strf("%s/idenc", server.dir);
	serve_login("");
	target.identity = path;
	must_fail(&target, CUBE_EAUTH, "tried ~/idenc");
	ck_assert_uint_eq(me.n, 0);
}
END_TEST

/* ---- keyboard-interactive ---------------------------------------------------------------- */

static size_t attempts(void) {
	cube_autofree char *counter = read_file(server.dir, "counter");
	return strlen(counter) / 2;
}

static void serve_pam(const char *words) {
	cube_autofree char *all = cube_strf("%s%s", words, PAM);
	cube_autofree char *counter = cube_strf("%s/counter", server.dir);
	unlink(counter);
	serve_login(all);
}

START_TEST(test_keyboard) {
	struct cube_target target = tester();
	serve_pam(NO_KEYS);
	me.answers[0] = SECRET;
	me.late = _i;
	begin(&target);
	if (me.late) {
		RUN_UNTIL(&p, me.waits || p.failed);
		for (int i = 0; i < 5; i++) cube_loop_turn(loop, 20, NULL);
		ck_assert_msg(me.waits, "%s", p.err.msg);
		give_answers();
	}
	peer_wait_open(&p);
	peer_run(&p, "id -un");
	ck_out(&p, "tester\n");
	ck_assert_uint_eq(me.n, 1);
	ck_assert_int_eq(me.asks[0].kind, CUBE_ASK_KEYBOARD);
	ck_assert_msg(strstr(me.asks[0].text, "Password: ") != NULL, "%s", me.asks[0].text);
	ck_assert(!me.asks[0].echo);
	ck_assert_str_eq(me.facts[CUBE_FACT_METHODS], "keyboard-interactive");
	ck_assert_str_eq(me.facts[CUBE_FACT_LOGIN], "keyboard-interactive");
	ck_assert_uint_eq(attempts(), 1);
}
END_TEST

START_TEST(test_keyboard_refused) {
	struct cube_target target = tester();
	serve_pam(NO_KEYS);
	me.answers[0] = "wrong";
	must_fail(&target, CUBE_ELOGIN, "the answers to its questions were refused");
	ck_assert_uint_eq(me.n, 1);
	ck_assert_uint_eq(attempts(), 1);
	again();
	must_fail(&target, CUBE_ELOGIN, "its questions were not answered");
	again();
	serve_pam(NO_KEYS);
	target.ask = false;
	must_fail(&target, CUBE_ELOGIN, "needs keyboard-interactive");
	ck_assert_uint_eq(attempts(), 0);
}
END_TEST

/* No sshd here sends words without a question; this server does, and asks for nothing else. */
static const char SPEAKER[] =
	"import socket, sys, paramiko\n"
	"class Server(paramiko.ServerInterface):\n"
	"    def get_allowed_auths(self, user): return 'keyboard-interactive'\n"
	"    def check_auth_interactive(self, user, sub):\n"
	"        return paramiko.InteractiveQuery('Look at', 'your\\n\\033 phone\\n')\n"
	"    def check_auth_interactive_response(self, answers):\n"
	"        return paramiko.AUTH_FAILED if answers else paramiko.AUTH_SUCCESSFUL\n"
	"l = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
	"while True:\n"
	"    t = paramiko.Transport(l.accept()[0])\n"
	"    t.add_server_key(paramiko.Ed25519Key(filename='host_key'))\n"
	"    try: t.start_server(server=Server())\n"
	"    except Exception: pass\n";
static char said[512];

static void on_note(void *arg, const char *text) {
	snprintf(said, sizeof said, "%s", text);
	if (me.drop) peer_drop(&p);
}

START_TEST(test_keyboard_words) {
	struct cube_target target = tester();
	char port[8];
	snprintf(port, sizeof port, "%u", server.port);
	/* paramiko is the system's, whatever other python comes first in PATH */
	bool system = access("/usr/bin/python3", X_OK) == 0;
	const char *argv[] = {system ? "/usr/bin/python3" : "python3", "-c", SPEAKER, port, NULL};
	server.pid = fork();
	ck_assert(server.pid >= 0);
	if (!server.pid) {
		if (chdir(server.dir) == 0) execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (!greets(server.port)) {
		if (waitpid(server.pid, NULL, WNOHANG) == 0 && poll(NULL, 0, 2) == 0) continue;
		server.pid = 0;
		printf("skipped: no python3 with paramiko\n");
		return;
	}
	events.on_note = on_note;
	must_open(&target);
	ck_assert_str_eq(said, "Look at your \\x1b phone");
	ck_assert_uint_eq(me.n, 0);
	again();
	*said = 0;
	me.drop = true;
	begin(&target);
	RUN_UNTIL(&p, *said || p.failed);
	ck_assert_str_eq(p.err.msg, "");
}
END_TEST

/* A server that asks itself and then falls silent is not called again unasked: it may be ringing a
 * telephone. */
static uint64_t ahead;
static uint64_t later(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * CUBE_NS_PER_S + (uint64_t)ts.tv_nsec + ahead;
}
static const struct cube_clock_source clock_ahead = {.mono = later};

START_TEST(test_keyboard_silence) {
	struct cube_target target = tester();
	cube_autofree char *words = cube_strf("%s/words", server.dir);
	unlink(words);
	ck_assert_int_eq(mkfifo(words, 0600), 0);
	serve_pam(NO_KEYS);
	cube_clock_set_source(&clock_ahead);
	int fd;
	begin(&target);
	while ((fd = open(words, O_WRONLY | O_NONBLOCK)) < 0 && !p.failed)
		cube_loop_turn(loop, 10, NULL);
	ahead = target.timeout_ns; /* it asks itself now, and is silent for so long */
	RUN_UNTIL(&p, p.open || p.failed);
	close(fd); /* the script ends */
	unlink(words);
	ck_assert_int_eq(p.err.code, CUBE_ELOGIN);
	ck_assert_msg(strstr(p.err.msg, "timed out after") != NULL, "%s", p.err.msg);
	ck_assert_uint_eq(attempts(), 1);
}
END_TEST

/* An expired password: three rounds, and what PAM says between them. */
START_TEST(test_keyboard_rounds) {
	struct cube_target target = tester();
	serve_pam(NO_KEYS);
	target.user = "old";
	me.answers[0] = me.answers[1] = SECRET;
	me.answers[2] = me.answers[3] = "New horses 4 staples";
	must_open(&target);
	ck_assert_uint_ge(me.n, 3);
	ck_assert_msg(strstr(me.asks[me.n - 1].text, "new password") != NULL, "%s",
		      me.asks[me.n - 1].text);
	ck_assert_uint_eq(attempts(), 1);
	again();
	me.answers[0] = "New horses 4 staples";
	must_open(&target);
	ck_assert_uint_eq(me.n, 1);
}
END_TEST

/* A key and then the questions: libssh2 does not say that the key was right. */
START_TEST(test_two_factors) {
	struct cube_target target = tester();
	serve_pam("AuthenticationMethods publickey,keyboard-interactive\n");
	me.answers[0] = SECRET;
	must_open(&target);
	ck_assert_uint_eq(me.n, 1);
	ck_assert_str_eq(me.facts[CUBE_FACT_METHODS], "publickey");
	ck_assert_uint_eq(attempts(), 1);
	again();
	target.ask = false;
	must_fail(&target, CUBE_ELOGIN, "needs keyboard-interactive");
	/* the key that was right needs no help of the ssh program's */
	again();
	cube_autofree char *file = cube_strf("%s/others", server.dir);
	cube_autofree char *text =
		cube_strf("CertificateFile %s/id.pub\nInclude %s\n", server.dir, config);
	write_file(server.dir, "others", 0600, text);
	target.ssh_config = file;
	target.ask = true;
	me.answers[0] = SECRET;
	must_open(&target);
}
END_TEST

/* Nor does a server that takes no keys. */
START_TEST(test_password_and_certificate) {
	struct cube_target target = tester();
	cube_autofree char *file = cube_strf("%s/others", server.dir);
	cube_autofree char *text =
		cube_strf("CertificateFile %s/id.pub\nInclude %s\n", server.dir, config);
	write_file(server.dir, "others", 0600, text);
	serve_login(PASSWORD);
	target.ssh_config = file;
	me.answers[0] = SECRET;
	must_open(&target);
}
END_TEST

/* ---- what stays in memory ---------------------------------------------------------------- */

/* How often the secret stands in what this process may write to. The search's own text is constant,
 * and its buffer holds the secret only if it is found. */
static unsigned traces(void) {
	enum { CHUNK = 1 << 20, HUGE = 1 << 28 };
	static uint8_t chunk[CHUNK];
	char line[512], mode[8];
	unsigned long from, to;
	unsigned found = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ck_assert(maps && mem >= 0);
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3) continue;
		if (strncmp(mode, "rw", 2) != 0 || to - from > HUGE) continue;
		while (from < to) {
			size_t n = to - from < CHUNK ? to - from : CHUNK;
			ssize_t got = pread(mem, chunk, n, (off_t)from);
			if (got <= 0) break;
			found += memmem(chunk, (size_t)got, SECRET, strlen(SECRET)) != NULL;
			explicit_bzero(chunk, sizeof chunk);
			from += (size_t)got;
		}
	}
	fclose(maps);
	close(mem);
	return found;
}

START_TEST(test_wiped) {
	struct cube_target target = tester();
	cube_autofree char *path = cube_strf("%s/locked", server.dir);
	const char *const kinds[] = {"password", "keyboard-interactive", "publickey ~/locked"};
	cube_autofree char *pam = cube_strf("%s%s", NO_KEYS, PAM);
	const char *const words[] = {PASSWORD, pam, ""};
	serve_login(words[_i]);
	if (_i == 2) target.identity = path;
	me.answers[0] = SECRET;
	must_open(&target);
	ck_assert_str_eq(me.facts[CUBE_FACT_LOGIN], kinds[_i]);
	ck_assert_uint_eq(traces(), 0);
	char *kept = cube_strdup(SECRET); /* the search finds it where it is */
	ck_assert_uint_ge(traces(), 1);
	free(kept);
}
END_TEST

/* Why there can be no accounts of our own here, or NULL. */
static const char *lacks(void) {
	int status = 0;
	if (geteuid() != 0) return "accounts of its own need root";
	pid_t pid = fork();
	if (pid == 0) _exit(unshare(CLONE_NEWNS) != 0);
	waitpid(pid, &status, 0);
	return pid < 0 || status ? "no mount namespaces here" : NULL;
}

int main(void) {
	const char *why = lacks();
	if (why) {
		printf("skipped: %s\n", why);
		return 0;
	}
	Suite *suite = suite_create("transport_auth");
	TCase *tc = tcase_create("sshd");
	tcase_add_unchecked_fixture(tc, start_server, stop_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_password, 0, 2);
	tcase_add_test(tc, test_password_of_jump);
	tcase_add_test(tc, test_password_refused);
	tcase_add_test(tc, test_clock);
	tcase_add_test(tc, test_grace);
	tcase_add_loop_test(tc, test_free_while_asked, 0, 2);
	if (access("/usr/sbin/dropbear", X_OK) == 0) tcase_add_loop_test(tc, test_dropbear, 0, 2);
	else printf("skipped: dropbear is not installed (dropbear-bin)\n");
	tcase_add_loop_test(tc, test_passphrase, 0, 3);
	tcase_add_test(tc, test_passphrase_unwanted);
	tcase_add_loop_test(tc, test_keyboard, 0, 2);
	tcase_add_test(tc, test_keyboard_refused);
	tcase_add_test(tc, test_keyboard_words);
	tcase_add_test(tc, test_keyboard_silence);
	tcase_add_test(tc, test_keyboard_rounds);
	tcase_add_test(tc, test_two_factors);
	tcase_add_test(tc, test_password_and_certificate);
	tcase_add_loop_test(tc, test_wiped, 0, 3);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
