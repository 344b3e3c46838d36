/* The command transport: templates and ssh's complaints as pure parts, then real programs and a
 * real sshd. */
#include <pwd.h>

#include "transport_sshd.h"

#include "askpass.h"
#include "cube/program.h"
#include "cube/ssh_says.h"
#include "template.h"

/* ---- templates --------------------------------------------------------------------------- */

static char *joined(const struct cube_strv *argv) {
	char *all = cube_strdup("");
	for (size_t i = 0; i < argv->len; i++) {
		char *more = cube_strf("%s[%s]", all, argv->v[i]);
		free(all);
		all = more;
	}
	return all;
}

static const struct {
	const char *text, *argv;
} GOOD[] = {
	{"docker exec -i {host}", "[docker][exec][-i][web1][/bin/sh][-c][echo 'a b']"},
	{" kubectl\texec\n-i {name}  -- ", "[kubectl][exec][-i][n1][--][/bin/sh][-c][echo 'a b']"},
	{"ssh {host} {line}", "[ssh][web1][echo 'a b']"},
	{"run {line} after", "[run][echo 'a b'][after]"},
	{"x {user}@{host}:{port}", "[x][me@web1:22][/bin/sh][-c][echo 'a b']"},
	{"x 'a b' \"c 'd'\" e\\ f \"g\\\"\\\\\\n\"",
	 "[x][a b][c 'd'][e f][g\"\\\\n][/bin/sh][-c][echo 'a b']"},
	{"x '' \"\" a''b", "[x][][][ab][/bin/sh][-c][echo 'a b']"},
	{"x {} {Host} {{host}} {ho {1}",
	 "[x][{}][{Host}][{web1}][{ho][{1}][/bin/sh][-c][echo 'a b']"},
	{"x {host}{host}", "[x][web1web1][/bin/sh][-c][echo 'a b']"},
};

START_TEST(test_template) {
	struct cube_template_values values = {"web1", "me", "n1", 22};
	struct cube_template t = {0};
	struct cube_strv argv = {0};
	struct cube_err err;
	if (cube_template_parse(GOOD[_i].text, &t, &err)) ck_abort_msg("%s", err.msg);
	ck_assert_int_eq(cube_template_fill(&t, &values, "echo 'a b'", &argv, &err), 0);
	cube_autofree char *got = joined(&argv);
	ck_assert_str_eq(got, GOOD[_i].argv);
	cube_strv_done(&argv);
	cube_template_done(&t);
}
END_TEST

static const struct {
	const char *text, *why;
} BAD[] = {
	{"", "no program"},
	{"  \n", "no program"},
	{"''", "no program"},
	{"x 'a", "quote"},
	{"x \"a\\\"", "quote"},
	{"x {nothost}", "{nothost} is unknown"},
	{"x {line} {line}", "twice"},
	{"x 'sh {line}'", "word of its own"},
	{"/usr/bin/ssh -p 2 {host}", "end with {line}"},
};

START_TEST(test_template_refused) {
	struct cube_err err;
	ck_assert_int_eq(cube_transport_command_check(BAD[_i].text, &err), CUBE_EUSAGE);
	ck_assert_msg(strstr(err.msg, BAD[_i].why) != NULL, "%s: %s", BAD[_i].text, err.msg);
}
END_TEST

START_TEST(test_template_values) {
	struct cube_template_values none = {"web1", NULL, "n1", 0};
	struct cube_template t = {0};
	struct cube_strv argv = {0};
	struct cube_err err;
	static const char *const WANT[] = {"x {user}", "x {port}"};
	ck_assert_int_eq(cube_transport_command_check("openssh", &err), 0);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(cube_template_parse(WANT[i], &t, &err), 0);
		ck_assert_int_eq(cube_template_fill(&t, &none, "l", &argv, &err), CUBE_EUSAGE);
		ck_assert_uint_eq(argv.len, 0);
		cube_template_done(&t);
	}
	cube_autofree char *endless = cube_alloc(5001);
	memset(endless, 'x', 5000);
	ck_assert_int_eq(cube_transport_command_check(endless, &err), CUBE_EUSAGE);
}
END_TEST

/* ---- what ssh says ----------------------------------------------------------------------- */

static const struct {
	const char *text;
	int code;
	const char *msg;
} SAYS[] = {
	{"me@web1: Permission denied (publickey).\r\n", CUBE_EAUTH,
	 "me@web1: Permission denied (publickey)."},
	{"Load key \"/k\": error in libcrypto\r\nme@web1: Permission denied (publickey,password).\r\n",
	 CUBE_EAUTH,
	 "me@web1: Permission denied (publickey,password).; Load key \"/k\": error in libcrypto"},
	{"me@web1: Permission denied (gssapi-with-mic).\r\n", CUBE_ELOGIN,
	 "me@web1: Permission denied (gssapi-with-mic): no valid Kerberos ticket, or not one for it; "
	 "`kinit` gets one, `klist` shows them"},
	{"Permission denied (gssapi-keyex,gssapi-with-mic).\n", CUBE_ELOGIN,
	 "Permission denied (gssapi-keyex,gssapi-with-mic): no valid Kerberos ticket, or not one for "
	 "it; `kinit` gets one, `klist` shows them"},
	{"Permission denied (gssapi-with-mic,password).\n", CUBE_EAUTH,
	 "Permission denied (gssapi-with-mic,password)."},
	{"Permission denied (gssapi-\n", CUBE_EAUTH, "Permission denied (gssapi-"},
	{"Permission denied (gssapi-x,\n", CUBE_EAUTH, "Permission denied (gssapi-x,"},
	{"Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures\r\n"
	 "Disconnected from 1.2.3.4 port 22\r\n",
	 CUBE_EAUTH,
	 "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures"},
	{"ssh: connect to host web1 port 22: Connection refused\r\n", CUBE_ECONNECT,
	 "connect to host web1 port 22: Connection refused"},
	{"ssh: Could not resolve hostname web1: Name or service not known\r\n", CUBE_ECONNECT,
	 "Could not resolve hostname web1: Name or service not known"},
	{"nc: no route\nkex_exchange_identification: Connection closed by remote host\r\n"
	 "Connection closed by UNKNOWN port 65535\r\n",
	 CUBE_ECONNECT, "nc: no route"},
	{"kex_exchange_identification: Connection closed by remote host\r\n", CUBE_ECONNECT,
	 "kex_exchange_identification: Connection closed by remote host"},
	{"kex_exchange_identification: read: Connection reset by peer\r\n"
	 "packet.c:sshpkt_vfatal():1920 (pid=7): Connection reset by 1.2.3.4 port 22\r\n",
	 CUBE_ECONNECT, "Connection reset by 1.2.3.4 port 22"},
	{"packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Unable to negotiate with 1.2.3.4 port 22: "
	 "no matching cipher found. Their offer: x\r\n",
	 CUBE_ECONNECT,
	 "Unable to negotiate with 1.2.3.4 port 22: no matching cipher found. Their offer: x"},
	{"packet.c:sshpkt_vfatal():20", CUBE_ECONNECT, "packet.c:sshpkt_vfatal():20"},
	{"packet.c:sshpkt_vfatal():2009 (pid=7): ", CUBE_ECONNECT, "it ended and did not say why"},
	{"Received disconnect from 1.2.3.4 port 22:11: off you go\r\n"
	 "packet.c:sshpkt_vfatal():2009 (pid=7): Disconnected from 1.2.3.4 port 22\r\n",
	 CUBE_ECONNECT, "Received disconnect from 1.2.3.4 port 22:11: off you go"},
	{"Warning: Permanently added 'x' (ED25519) to the list of known hosts.\r\n", CUBE_ECONNECT,
	 "it ended and did not say why"},
	{"", CUBE_ECONNECT, "it ended and did not say why"},
	{"\n\r\n\t@@\n", CUBE_ECONNECT, "it ended and did not say why"},
	{"No ED25519 host key is known for web1 and you have requested strict checking.\r\n"
	 "Host key verification failed.\r\n",
	 CUBE_EHOSTKEY,
	 "No ED25519 host key is known for web1 and you have requested strict checking."},
	{"Host key verification failed.\r\n", CUBE_EHOSTKEY, "Host key verification failed."},
	{"Offending ED25519 key in /h/.ssh/known_hosts:7\r\n  remove with:\r\n"
	 "  ssh-keygen -f \"/h/.ssh/known_hosts\" -R \"[web1]:2222\"\r\n"
	 "Host key for [web1]:2222 has changed and you have requested strict checking.\r\n"
	 "Host key verification failed.\r\n",
	 CUBE_EHOSTKEY,
	 "HOST KEY CHANGED; if that is right: ssh-keygen -f \"/h/.ssh/known_hosts\" -R \"[web1]:2222\""},
	{"Offending RSA key in /h/.ssh/known_hosts:7\n"
	 "Host key for web1 has changed and you have requested strict checking.\n",
	 CUBE_EHOSTKEY,
	 "HOST KEY CHANGED; if that is right: ssh-keygen -R 'web1' -f '/h/.ssh/known_hosts'"},
	{"Host key for web1 has changed and you have requested strict checking.", CUBE_EHOSTKEY,
	 "HOST KEY CHANGED: Host key for web1 has changed and you have requested strict checking."},
	{"\033[31mred\007\n", CUBE_ECONNECT, "\\x1b[31mred\\x07"},
};

START_TEST(test_says) {
	struct cube_err err = {0};
	ck_assert_int_eq(cube_ssh_says(SAYS[_i].text, strlen(SAYS[_i].text), &err), SAYS[_i].code);
	ck_assert_int_eq(err.code, SAYS[_i].code);
	ck_assert_str_eq(err.msg, SAYS[_i].msg);
}
END_TEST

/* As OpenSSH 9.2 and 10.0 say it; what else there is means that it is something else. */
static const struct {
	const char *text;
	bool dropped;
} DROPS[] = {
	{"kex_exchange_identification: Connection closed by remote host\n"
	 "packet.c:sshpkt_vfatal():1909 (pid=7): Connection closed by 127.0.0.1 port 2\n",
	 true},
	{"packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Connection closed by 127.0.0.1 port 2\n",
	 true},
	{"packet.c:sshpkt_vfatal():2020 (bin=ssh, pid=7): Connection reset by UNKNOWN port -1\n",
	 true},
	{"Connection closed by 127.0.0.1 port 2\n"
	 "packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Connection closed by UNKNOWN port 65535\n",
	 true},
	{"kex_exchange_identification: read: Connection reset by peer\n", true},
	{"ssh: connect to host 127.0.0.1 port 2: Connection reset by peer\r\n", true},
	{"ssh: connect to host 127.0.0.1 port 2: Connection refused\r\n", false},
	{"", false},
	{"nc: no route\n"
	 "packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Connection closed by UNKNOWN port 65535\n",
	 false},
	{"packet.c:sshpkt_vfatal():9 (bin=ssh, pid=7): Unable to negotiate with x port 2: no\n",
	 false},
	{"packet.c:sshpkt_vfatal():9 (bin=ssh, pid=7): Disconnected from 127.0.0.1 port 2\n",
	 false},
	{"Connection to box closed by remote host.\n", false},
};

START_TEST(test_says_dropped) {
	ck_assert(cube_ssh_says_dropped(DROPS[_i].text, strlen(DROPS[_i].text)) ==
		  DROPS[_i].dropped);
}
END_TEST

/* Of a line whose master has no session for it, or went. */
static const struct {
	const char *text, *refused;
	bool no_master;
} MUX[] = {
	{"mux_client_request_session: session request failed: Session open refused by peer\r\n"
	 "Connection closed by UNKNOWN port 65535\r\n",
	 "account for tunnels only): Session open refused by peer", true},
	{"Master refused session request: Permission denied\r\n", "only): Permission denied",
	 false},
	{"packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Connection closed by UNKNOWN port 65535\n",
	 NULL, true},
	{"Control socket connect(/x): Connection refused\r\n"
	 "Connection closed by UNKNOWN port 65535\r\n",
	 NULL, true},
	{"Connection closed by UNKNOWN port 65535\nbash: x: not found\n", NULL, false},
	{"Connection closed by 1.2.3.4 port 22\n", NULL, false},
	{"", NULL, false},
};

START_TEST(test_says_of_master) {
	struct cube_err err = {0};
	const char *text = MUX[_i].text;
	ck_assert(cube_ssh_says_no_master(text, strlen(text)) == MUX[_i].no_master);
	ck_assert(cube_ssh_says_refused(text, strlen(text), &err) == (MUX[_i].refused != NULL));
	if (!MUX[_i].refused) return;
	ck_assert_int_eq(err.code, CUBE_ECONNECT);
	ck_assert_msg(strstr(err.msg, MUX[_i].refused) != NULL, "%s", err.msg);
}
END_TEST

/* ---- what ssh asks ----------------------------------------------------------------------- */

static const struct {
	const char *prompt;
	enum cube_ask_kind kind;
	const char *key, *host;
} ASKS[] = {
	{"me@Web1's password: ", CUBE_ASK_PASSWORD, "me", "web1"},
	{"me@bastion's password: ", CUBE_ASK_PASSWORD, "me@bastion", "web1"},
	{"me@web's password: ", CUBE_ASK_PASSWORD, "me@web", "web1"},
	{"Enter passphrase for key '/h/.ssh/id': ", CUBE_ASK_PASSPHRASE, "/h/.ssh/id"},
	{"Enter passphrase for PKCS#11 token", CUBE_ASK_PASSPHRASE,
	 "Enter passphrase for PKCS#11 token"},
	{"me@web1's password: ", CUBE_ASK_PASSWORD, "me"},
	{"a@b@web1's password: ", CUBE_ASK_PASSWORD, "a@b"},
	{"(me@web1) Password: ", CUBE_ASK_KEYBOARD, "(me@web1) Password: "},
	{"(me@web1) me@web1's password: ", CUBE_ASK_KEYBOARD, "(me@web1) me@web1's password: "},
	{"Enter PIN for ED25519-SK key /k: ", CUBE_ASK_PASSWORD,
	 "Enter PIN for ED25519-SK key /k: "},
	{"", CUBE_ASK_KEYBOARD, ""},
};

START_TEST(test_ask_kind) {
	char key[64];
	ck_assert_int_eq(cube_askpass_kind(ASKS[_i].prompt, ASKS[_i].host, key, sizeof key),
			 ASKS[_i].kind);
	ck_assert_str_eq(key, ASKS[_i].key);
}
END_TEST

/* ---- programs ---------------------------------------------------------------------------- */

static struct cube_loop *loop;
static struct cube_ssh *ssh;
static struct peer p;
static struct sshd server;

static void setup(void) {
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	sshd_prepare(&server);
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	ck_assert_int_eq(cube_ssh_new(loop, NULL, &ssh, NULL), 0);
	peer_init(&p, loop);
}

static void teardown(void) {
	peer_done(&p);
	cube_loop_turn(loop, 0, NULL);
	cube_ssh_free(ssh);
	cube_loop_free(loop);
	sshd_cleanup(&server);
}

static void open_target(struct cube_target target) {
	struct cube_err err;
	target.name = "box";
	if (!target.host) target.host = "box";
	if (!target.timeout_ns) target.timeout_ns = patience();
	if (cube_transport_command(ssh, &target, &PEER_EVENTS, &p, &p.t, &err))
		ck_abort_msg("%s", err.msg);
	ck_assert(!p.open);
	peer_wait_open(&p);
}

static void open_command(const char *command) {
	open_target((struct cube_target){.command = command});
}

static char *script(const char *text) {
	write_file(server.dir, "script", 0755, text);
	return cube_strf("%s/script", server.dir);
}

static void fails(const char *line, int code, const char *why) {
	peer_exec(&p, line);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(p.failed, "it ended with %d", p.status);
	ck_assert_msg(p.err.code == code && strstr(p.err.msg, why), "%d: %s", p.err.code,
		      p.err.msg);
}

START_TEST(test_script) {
	static const struct {
		const char *line, *out, *err;
		int status;
	} cases[] = {
		{"echo hi", "box -i\nhi\n", "", 0},
		{"exit 7", "box -i\n", "", 7},
		{"exit 255", "box -i\n", "", 255},
		{"kill -KILL $$", "box -i\n", "", 137},
		{"echo 'a  b' \"$0\"; echo err >&2", "box -i\na  b /bin/sh\n", "err\n", 0},
	};
	cube_autofree char *path = script("#!/bin/sh\necho \"$1\" \"$2\"\nshift 2\nexec \"$@\"\n");
	cube_autofree char *command = cube_strf("%s {host} -i", path);
	open_command(command);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		peer_run(&p, cases[i].line);
		ck_out(&p, cases[i].out);
		ck_assert_str_eq(cube_buf_str(&p.errs), cases[i].err);
		ck_assert_int_eq(p.status, cases[i].status);
	}
}
END_TEST

START_TEST(test_script_fails) {
	static const struct {
		const char *body;
		int code;
		const char *why;
	} cases[] = {
		{"echo 'no such pod: x' >&2; exit 255", CUBE_ECONNECT, "no such pod: x"},
		{"echo 'x: Permission denied (why).' >&2; exit 255", CUBE_EAUTH, "denied (why)"},
		{"head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; exit 255",
		 CUBE_ECONNECT, "last"},
		{"exit 255", CUBE_ECONNECT, "did not say why"},
	};
	cube_autofree char *body = cube_strf("#!/bin/sh\n%s\n", cases[_i].body);
	cube_autofree char *path = script(body);
	open_command(path);
	fails("echo never", cases[_i].code, cases[_i].why);
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 0, NULL);
	ck_assert(!p.ended);
}
END_TEST

/* Its own stderr means nothing where the command was there: it printed, or had another status. */
START_TEST(test_hosts_own_words) {
	open_command("env");
	peer_run(&p, "echo out; echo 'x: Permission denied (publickey).' >&2; exit 255");
	ck_assert_int_eq(p.status, 255);
	ck_out(&p, "out\n");
	peer_run(&p, "echo 'Connection to x closed by remote host.' >&2; exit 1");
	ck_assert_int_eq(p.status, 1);
}
END_TEST

START_TEST(test_no_program) {
	struct cube_err err;
	open_command("/no/such/program {host}");
	ck_assert_int_eq(cube_transport_exec(p.t, "echo", &err), CUBE_EEXEC);
	ck_assert_ptr_nonnull(strstr(err.msg, "/no/such/program"));
}
END_TEST

START_TEST(test_refused_at_once) {
	static const struct cube_target bad[] = {
		{.host = "box"},
		{.host = "box", .command = "x {nothing}"},
		{.host = "box", .command = "x {user}"},
		{.host = "-oProxyCommand=x", .command = "openssh"},
		{.host = "a b", .command = "x {host}"},
		{.host = "box", .user = "-x", .command = "openssh"},
		{.command = "x"},
	};
	struct cube_err err;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_int_eq(cube_transport_command(ssh, &bad[i], &PEER_EVENTS, &p, &p.t, &err),
				 CUBE_EUSAGE);
}
END_TEST

START_TEST(test_silence) {
	uint64_t began = cube_clock_mono();
	cube_autofree char *path = script("#!/bin/sh\necho 'still waiting' >&2\nexec sleep 60\n");
	open_target((struct cube_target){.command = path, .timeout_ns = CUBE_NS_PER_S / 5});
	fails("echo", CUBE_ETIMEOUT, "timed out after 0.2 s; still waiting");
	ck_assert_uint_lt(cube_clock_mono() - began, 10 * CUBE_NS_PER_S);
}
END_TEST

/* The limit is for the first byte only. */
START_TEST(test_slow_afterwards) {
	uint64_t limit = patience() / 120;
	double longer = (double)limit / (double)CUBE_NS_PER_S * 1.4;
	cube_autofree char *there = cube_strf("echo here; sleep %.2f; echo there", longer);
	cube_autofree char *late = cube_strf("sleep %.2f; echo late", longer);
	open_target((struct cube_target){.command = "env", .timeout_ns = limit});
	peer_run(&p, there);
	ck_out(&p, "here\nthere\n");
	peer_run(&p, late);
	ck_out(&p, "late\n");
}
END_TEST

static bool is_there(pid_t pid) {
	cube_autofree char *path = cube_strf("/proc/%d/stat", (int)pid);
	char text[512] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	const char *after = n > 0 ? strrchr(text, ')') : NULL;
	return after && after[2] != 'Z';
}

/* The whole group goes: what the program started, too, and also what does not want to. */
START_TEST(test_hang_up) {
	cube_autofree char *path =
		script("#!/bin/sh\n[ $1 = 0 ] || trap '' TERM HUP\nsleep 100 &\necho $$ $!\n"
		       "while :; do sleep 100; done\n");
	cube_autofree char *command = cube_strf("%s %d", path, _i);
	int leader, child;
	open_command(command);
	peer_exec(&p, "x");
	RUN_UNTIL(&p, strchr(cube_buf_str(&p.out), '\n'));
	ck_assert_int_eq(sscanf(cube_buf_str(&p.out), "%d %d", &leader, &child), 2);
	peer_drop(&p);
	if (_i == 2) { /* the end of all does not wait */
		cube_ssh_free(ssh);
		ck_assert_int_eq(cube_ssh_new(loop, NULL, &ssh, NULL), 0);
	}
	while (is_there(leader) || is_there(child)) turn(loop);
	ck_assert(!p.ended && !p.failed);
}
END_TEST

START_TEST(test_free_anywhere) {
	cube_autofree char *path = script("#!/bin/sh\nexec \"$@\"\n");
	struct cube_target target = {.name = "box", .host = "box"};
	target.command = _i < 4 ? path : "openssh";
	p.free_in = "sodesodef"[_i];
	if (_i < 8) sshd_start(&server, "host_key", NULL);
	ck_assert_int_eq(cube_transport_command(ssh, &target, &PEER_EVENTS, &p, &p.t, NULL), 0);
	while (p.t) {
		turn(loop);
		if (p.open && p.t && !p.ended) cube_transport_exec(p.t, "echo x; echo y >&2", NULL);
	}
	for (int i = 0; i < 3; i++) cube_loop_turn(loop, 0, NULL);
}
END_TEST

/* ---- OpenSSH ----------------------------------------------------------------------------- */

static void open_openssh(void) {
	sshd_start(&server, "host_key", NULL);
	open_command("openssh");
}

static void open_again(void) {
	peer_drop(&p);
	cube_loop_turn(loop, 0, NULL);
	peer_done(&p);
	peer_init(&p, loop);
	open_command("openssh");
}

/* How often somebody logged in: of a server with LogLevel INFO. */
static int logins(void) {
	int n = 0;
	cube_autofree char *log = read_file(server.dir, "sshd.log");
	for (const char *at = log; (at = strstr(at, "Accepted publickey for")); at++) n++;
	return n;
}

static int number(void) {
	int n = 0;
	ck_assert_int_eq(sscanf(cube_buf_str(&p.out), "%d", &n), 1);
	return n;
}

/* Commands in the place of ssh, but where it is asked for its configuration. */
static void fake_ssh(const char *body) {
	cube_autofree char *bin = cube_strf("%s/bin", server.dir);
	cube_autofree char *path = cube_strf("%s:%s", bin, getenv("PATH"));
	cube_autofree char *text = cube_strf(
		"#!/bin/sh\nfor a; do [ \"$a\" != -TG ] || exec /usr/bin/ssh \"$@\"; done\ncd %s\n%s",
		server.dir, body);
	ck_assert_int_eq(mkdir(bin, 0700), 0);
	write_file(server.dir, "bin/ssh", 0755, text);
	setenv("PATH", path, 1);
}

START_TEST(test_openssh) {
	open_openssh();
	peer_run(&p, "exec /bin/sh -c 'echo out; echo err >&2; exit 3'");
	ck_out(&p, "out\n");
	ck_assert_str_eq(cube_buf_str(&p.errs), "err\n");
	ck_assert_int_eq(p.status, 3);
	peer_run(&p, "echo again \"$XX\"");
	ck_out(&p, "again \n");
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_ptr_nonnull(strstr(known, "127.0.0.1"));
}
END_TEST

/* The target's own words, with no alias in any configuration. */
START_TEST(test_openssh_target) {
	struct cube_strv options = {0};
	cube_autofree char *key = cube_strf("%s/id", server.dir);
	cube_autofree char *config = cube_strf("%s/other", server.dir);
	sshd_start(&server, "host_key", NULL);
	cube_strv_add(&options, "SetEnv=XX=through");
	write_file(server.dir, "other", 0600,
		   "Host x\n  HostName 127.0.0.1\n  RemoteCommand none\n");
	open_target((struct cube_target){.host = "x",
					 .port = server.port,
					 .identity = key,
					 .ssh_config = config,
					 .options = &options,
					 .command = "openssh"});
	peer_run(&p, "echo \"$XX\"");
	ck_out(&p, "through\n");
	cube_strv_done(&options);
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_ptr_nonnull(strstr(known, "127.0.0.1"));
}
END_TEST

/* A configuration for people does not get between. */
START_TEST(test_openssh_config_for_people) {
	cube_autofree char *old = read_file(server.dir, ".ssh/config");
	cube_autofree char *config =
		cube_strf("Host box\n  RemoteCommand tmux\n  RequestTTY force\n"
			  "  PermitLocalCommand yes\n  LocalCommand echo hello from here\n"
			  "  LocalForward 1 127.0.0.1:1\n  ExitOnForwardFailure yes\n"
			  "  LogLevel QUIET\n%s",
			  old);
	write_file(server.dir, ".ssh/config", 0600, config);
	write_file(server.dir, "banner", 0600, "Authorised use only\n");
	cube_autofree char *more = cube_strf("Banner %s/banner", server.dir);
	sshd_start(&server, "host_key", more);
	open_command("openssh");
	peer_run(&p, "tty; echo done");
	ck_out(&p, "not a tty\ndone\n");
	ck_assert_str_eq(cube_buf_str(&p.errs), "");
}
END_TEST

START_TEST(test_openssh_cat) {
	open_openssh();
	p.take = (unsigned)_i;
	peer_exec(&p, "cat");
	peer_send(&p, 8 << 20);
	RUN_UNTIL(&p, p.ended);
	ck_assert_uint_eq(p.got, 8 << 20);
	ck_assert_uint_eq(p.hash, p.sent_hash);
	ck_assert_int_eq(p.status, 0);
}
END_TEST

START_TEST(test_openssh_denied) {
	cube_autofree char *pub = read_file(server.dir, "id2.pub");
	write_file(server.dir, "authorized_keys", 0600, pub);
	open_openssh();
	fails("echo", CUBE_EAUTH, "Permission denied (publickey).");
}
END_TEST

START_TEST(test_openssh_refused) {
	open_command("openssh");
	fails("echo", CUBE_ECONNECT, "port");
	ck_assert_ptr_nonnull(strstr(p.err.msg, "Connection refused"));
}
END_TEST

START_TEST(test_openssh_no_name) {
	open_target((struct cube_target){.host = "no-such-host.invalid", .command = "openssh"});
	fails("echo", CUBE_ECONNECT, "Could not resolve hostname no-such-host.invalid");
}
END_TEST

START_TEST(test_openssh_silent_server) {
	uint16_t port;
	int fd = listen_any(&port);
	open_target((struct cube_target){.host = "127.0.0.1",
					 .port = port,
					 .command = "openssh",
					 .timeout_ns = CUBE_NS_PER_S / 2});
	fails("echo", CUBE_ETIMEOUT, "connecting to 127.0.0.1 by ssh timed out after 0.5 s");
	close(fd);
}
END_TEST

START_TEST(test_openssh_changed_key) {
	open_openssh();
	peer_run(&p, "true");
	sshd_stop(&server);
	sshd_start(&server, "host_key2", NULL);
	open_again();
	fails("echo", CUBE_EHOSTKEY, "HOST KEY CHANGED; if that is right: ssh-keygen ");
	cube_autofree char *name = cube_strf("[127.0.0.1]:%u", server.port);
	ck_assert_ptr_nonnull(strstr(p.err.msg, name));
	cube_autofree char *file = cube_strf("%s/.ssh/known_hosts", server.dir);
	ck_assert_ptr_nonnull(strstr(p.err.msg, file));
}
END_TEST

/* By the target's word, or by the configuration's. */
START_TEST(test_openssh_strict) {
	if (_i) {
		cube_autofree char *old = read_file(server.dir, ".ssh/config");
		cube_autofree char *config = cube_strf("StrictHostKeyChecking yes\n%s", old);
		write_file(server.dir, ".ssh/config", 0600, config);
	}
	sshd_start(&server, "host_key", NULL);
	open_target((struct cube_target){.command = "openssh", .strict_host_keys = _i == 0});
	fails("echo", CUBE_EHOSTKEY, "is known for");
}
END_TEST

/* ssh -J, with a bastion that is this machine once more. */
START_TEST(test_openssh_jump) {
	cube_autofree char *jump = cube_strdup("box");
	sshd_start(&server, "host_key", NULL);
	open_target((struct cube_target){.command = "openssh"});
	peer_run(&p, "true"); /* the bastion is known from here on */
	peer_drop(&p);
	cube_loop_turn(loop, 0, NULL);
	peer_done(&p);
	peer_init(&p, loop);
	open_target((struct cube_target){.command = "openssh", .jump = jump});
	peer_run(&p, "echo through");
	ck_out(&p, "through\n");
}
END_TEST

/* Through two hosts never seen before, with a HOME that ssh would not look into. */
START_TEST(test_openssh_new_jump) {
	cube_autofree char *old = read_file(server.dir, ".ssh/config");
	cube_autofree char *config =
		cube_strf("Host first\n  HostName 127.0.0.2\n  HostKeyAlias one%%d\nHost second\n"
			  "  HostName 127.0.0.1\n  HostKeyAlias two\n  ProxyJump first\n"
			  "Host first second\n  Port %u\n%s",
			  server.port, old);
	write_file(server.dir, ".ssh/config", 0600, config);
	sshd_launch(&server, "host_key", "ListenAddress 127.0.0.2\n", NULL);
	open_target((struct cube_target){.command = "openssh",
					 .jump = _i ? "second" : "first,second",
					 .strict_host_keys = _i == 2});
	if (_i == 2) {
		fails("echo", CUBE_EHOSTKEY, "is known for");
		return;
	}
	peer_run(&p, "echo through");
	ck_out(&p, "through\n");
	cube_autofree char *known = read_file(server.dir, ".ssh/known_hosts");
	ck_assert_ptr_nonnull(strstr(known, "two "));
	ck_assert_ptr_nonnull(strstr(known, "one"));
}
END_TEST

enum { MANY = 10 };
static struct peer many[MANY];

static void run_many(const char *jump) {
	struct cube_target target = {.name = "box",
				     .host = "box",
				     .jump = jump,
				     .command = "openssh",
				     .timeout_ns = 3 * patience()};
	for (int i = 0; i < MANY; i++) {
		peer_init(&many[i], loop);
		ck_assert_int_eq(cube_transport_command(ssh, &target, &PEER_EVENTS, &many[i],
							&many[i].t, NULL),
				 0);
	}
	for (int i = 0; i < MANY; i++) {
		peer_wait_open(&many[i]);
		peer_exec(&many[i], "cat");
		peer_send(&many[i], 100000);
	}
	for (int i = 0; i < MANY; i++) {
		RUN_UNTIL(&many[i], many[i].ended || many[i].failed);
		ck_assert_msg(many[i].ended, "%s", many[i].err.msg);
		ck_assert_uint_eq(many[i].hash, many[i].sent_hash);
		ck_assert_uint_eq(many[i].got, 100000);
	}
	int waited = 0; /* over the 8 of the limiter, and told so */
	for (int i = 0; i < MANY; i++) waited += (many[i].steps & 1u << CUBE_STEP_CONNECT) != 0;
	ck_assert_int_ge(waited, MANY - 8);
	for (int i = 0; i < MANY; i++) peer_done(&many[i]);
}

/* sshd takes two logins at a time and drops all others: they all get in, and no byte is lost. */
START_TEST(test_openssh_max_startups) {
	sshd_launch(&server, "host_key", "MaxStartups 2:100:2\n", NULL);
	run_many(NULL);
}
END_TEST

/* So does a bastion; the host behind it does not. */
START_TEST(test_openssh_max_startups_of_jump) {
	struct sshd bastion = server;
	close(listen_any(&bastion.port));
	cube_autofree char *old = read_file(server.dir, ".ssh/config");
	cube_autofree char *config =
		cube_strf("Host bastion\n  HostName 127.0.0.1\n  Port %u\n%s", bastion.port, old);
	write_file(server.dir, ".ssh/config", 0600, config);
	sshd_launch(&bastion, "host_key2", "MaxStartups 2:100:2\n", NULL);
	sshd_launch(&server, "host_key", "MaxStartups 100\n", NULL);
	run_many("bastion");
	sshd_stop(&bastion);
}
END_TEST

/* Before its greeting, after it, and with a reset, which ssh has different words for. */
static void hang_up(int fd, int how) {
	static const struct linger at_once = {.l_onoff = 1};
	char text[256];
	if (how == 1) (void)!write(fd, "SSH-2.0-x\r\n", 11);
	if (how == 1) (void)!read(fd, text, sizeof text);
	if (how == 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(fd);
}

/* A server that hangs up on everybody is told of as such, with what was tried. */
START_TEST(test_openssh_dropped) {
	uint16_t port;
	int fd = listen_any(&port);
	pid_t pid = fork();
	for (int one; pid == 0 && (one = accept(fd, NULL, NULL)) >= 0;) hang_up(one, _i);
	close(fd);
	open_target((struct cube_target){.host = "127.0.0.1",
					 .port = port,
					 .command = "openssh",
					 .timeout_ns = CUBE_NS_PER_S});
	fails("echo", CUBE_ETIMEOUT, ": Connection ");
	ck_assert_ptr_nonnull(strstr(p.err.msg, "MaxStartups"));
	ck_assert_ptr_nonnull(strstr(p.err.msg, "; tried "));
	ck_assert_ptr_null(strstr(p.err.msg, "vfatal"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
END_TEST

/* A line that has read of its input is not run again on the rest of it. */
START_TEST(test_openssh_hangs_up_later) {
	fake_ssh("for a; do case $a in\n"
		 "-N) exec 3>&2 2>/dev/null\n"
		 "	trap 'echo Connection reset by 1.2.3.4 port 22 >&3; exit 255' TERM\n"
		 "	echo ready\n"
		 "	while :; do sleep 0.1; done;;\n"
		 "true) exit 0;; esac; done\n"
		 "echo >>count; read first; echo 'Connection closed by UNKNOWN port 65535' >&2\n"
		 "exit 255\n");
	open_command("openssh");
	peer_run(&p, "true");
	peer_exec(&p, "cat");
	cube_transport_write(p.t, "one\ntwo\n", 8);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(p.failed && p.err.code == CUBE_ECONNECT, "%d %s", p.err.code, p.err.msg);
	ck_assert_str_eq(p.err.msg, "the connection broke: Connection reset by 1.2.3.4 port 22");
	cube_autofree char *times = read_file(server.dir, "count");
	ck_assert_str_eq(times, "\n");
}
END_TEST

/* OpenSSH before 8.5 knows no LogVerbose, and says so. */
START_TEST(test_openssh_old) {
	fake_ssh("");
	write_file(server.dir, "bin/ssh", 0755,
		   "#!/bin/sh\nfor a; do case $a in\n"
		   "-TG) /usr/bin/ssh \"$@\" | grep -v '^logverbose '; exit;;\n"
		   "LogVerbose=*) echo 'Bad configuration option: logverbose' >&2; exit 255;;\n"
		   "esac; done\nexec /usr/bin/ssh \"$@\"\n");
	open_openssh();
	peer_run(&p, "echo out");
	ck_out(&p, "out\n");
}
END_TEST

/* ssh's reason, though it takes it for mere information. */
START_TEST(test_openssh_no_cipher) {
	struct cube_strv options = {0};
	sshd_start(&server, "host_key", "Ciphers aes128-ctr\n");
	cube_strv_add(&options, "Ciphers=aes256-ctr");
	open_target((struct cube_target){.command = "openssh", .options = &options});
	fails("echo", CUBE_ECONNECT, "Unable to negotiate with 127.0.0.1 port ");
	ck_assert_ptr_nonnull(strstr(p.err.msg, ": no matching cipher found."));
	cube_strv_done(&options);
}
END_TEST

/* One login for all lines, of which there is never more than one, also where the server forgets a
 * session a little late. */
START_TEST(test_openssh_one_login) {
	sshd_launch(&server, "host_key", "LogLevel INFO\nMaxSessions 1\n", NULL);
	open_command("openssh");
	for (int i = 0; i < 20; i++) {
		peer_run(&p, "echo out; exit 7");
		ck_assert_int_eq(p.status, 7);
	}
	peer_run(&p, "exit 255");
	ck_assert_int_eq(p.status, 255);
	peer_run(&p, "echo out; exit 255");
	ck_assert_int_eq(p.status, 255);
	peer_run(&p, "kill -9 $$");
	ck_assert_int_eq(p.status, 255); /* as ssh has it */
	ck_assert_int_eq(logins(), 1);
	open_again();
	peer_run(&p, "true");
	ck_assert_int_eq(logins(), 2);
}
END_TEST

/* ssh runs what says that it is ready by the user's shell: fish, csh, or a service's. */
START_TEST(test_openssh_any_shell) {
	static const char *const SHELLS[] = {"/bin/false", "/usr/sbin/nologin", "/usr/bin/fish",
					     "/bin/tcsh"};
	if (access(SHELLS[_i], X_OK) != 0) return;
	setenv("SHELL", SHELLS[_i], 1);
	open_openssh();
	peer_run(&p, "echo out");
	ck_out(&p, "out\n");
}
END_TEST

/* Where a server takes the login and no session, nobody logs in a second time to be told so. */
START_TEST(test_openssh_no_session) {
	sshd_launch(&server, "host_key", "LogLevel INFO\nMaxSessions 0\n", NULL);
	open_command("openssh");
	fails("echo", CUBE_ECONNECT, "the server refuses a session (MaxSessions in ");
	ck_assert_int_eq(logins(), 1);
}
END_TEST

/* A server that hangs up after each line costs a login a line, and no input. */
START_TEST(test_openssh_hangs_up_between) {
	sshd_launch(&server, "host_key", "LogLevel INFO\n", NULL);
	open_command("openssh");
	for (int i = 1; i <= 3; i++) {
		peer_run(&p, "echo $PPID");
		ck_assert_int_eq(logins(), i);
		kill(number(), SIGKILL);
	}
	peer_exec(&p, "cat");
	peer_send(&p, 100000);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert_msg(p.ended, "%s", p.err.msg);
	ck_assert_uint_eq(p.hash, p.sent_hash);
	ck_assert_int_eq(logins(), 4);
}
END_TEST

static void with_master(const char *lines) {
	cube_autofree char *old = read_file(server.dir, ".ssh/config");
	cube_autofree char *config =
		cube_strf("StrictHostKeyChecking accept-new\nControlPath %s/user-%%r.sock\n%s%s",
			  server.dir, lines, old);
	write_file(server.dir, ".ssh/config", 0600, config);
}

/* The user's configuration makes masters: none is made by us, and one that is there serves. */
START_TEST(test_openssh_users_master) {
	cube_autofree char *config = cube_strf("%s/.ssh/config", server.dir);
	cube_autofree char *socket =
		cube_strf("%s/user-%s.sock", server.dir, getpwuid(getuid())->pw_name);
	const char *make[] = {"ssh", "-F", config, "-fN", "-oControlMaster=yes", "box", NULL};
	const char *check[] = {"ssh", "-F", config, "-Ocheck", "box", NULL};
	const char *leave[] = {"ssh", "-F", config, "-Oexit", "box", NULL};
	cube_autofree char *first = cube_strf("LogLevel INFO\nMaxSessions %d\n", _i ? 0 : 1);
	with_master("ControlMaster auto\nControlPersist yes\n");
	sshd_launch(&server, "host_key", first, NULL);
	if (!_i) {
		open_command("openssh");
		peer_run(&p, "true");
		ck_assert_int_eq(logins(), 1);
		ck_assert_int_ne(access(socket, F_OK), 0);
	}
	run_program(make);
	if (_i) { /* it has no session to give: one of our own is tried */
		open_command("openssh");
		fails("true", CUBE_ECONNECT, "the server refuses a session");
		ck_assert_int_eq(logins(), 2);
	} else {
		open_again();
		peer_run(&p, "echo through");
		ck_out(&p, "through\n");
		ck_assert_int_eq(logins(), 2); /* the first one, and the user's */
		peer_exec(&p, "echo in; cat");
		RUN_UNTIL(&p, p.got);
		peer_drop(&p);
		cube_loop_turn(loop, 0, NULL);
		ck_assert_int_eq(run_to_end(check, false), 0);
	}
	run_to_end(leave, false);
}
END_TEST

/* One that goes while a line runs. */
START_TEST(test_openssh_users_master_goes) {
	cube_autofree char *config = cube_strf("%s/.ssh/config", server.dir);
	const char *make[] = {"ssh", "-F", config, "-fN", "-oControlMaster=yes", "box", NULL};
	const char *leave[] = {"ssh", "-F", config, "-Oexit", "box", NULL};
	with_master("");
	sshd_launch(&server, "host_key", "LogLevel INFO\n", NULL);
	run_program(make);
	open_command("openssh");
	peer_exec(&p, "echo in; cat");
	RUN_UNTIL(&p, p.got);
	ck_assert_int_eq(run_to_end(leave, false), 0);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert(p.failed && p.err.code == CUBE_ECONNECT);
	ck_assert_ptr_nonnull(strstr(p.err.msg, "the connection broke: the ControlMaster is gone"));
	open_again();
	peer_run(&p, "true");
	ck_assert_int_eq(logins(), 2);
}
END_TEST

/* The socket was taken away from under the master. */
START_TEST(test_openssh_socket_goes) {
	cube_autofree char *dir = cube_strf("%s/sockets", server.dir);
	cube_autofree char *socket = cube_strf("%s/1", dir);
	cube_ssh_sockets(ssh, dir);
	sshd_launch(&server, "host_key", "LogLevel INFO\n", NULL);
	open_command("openssh");
	peer_run(&p, "true");
	ck_assert_int_eq(unlink(socket), 0);
	peer_run(&p, "echo anew");
	ck_out(&p, "anew\n");
	ck_assert_int_eq(logins(), 2);
	peer_drop(&p);
	cube_loop_turn(loop, 0, NULL);
	ck_assert_int_ne(access(socket, F_OK), 0);
}
END_TEST

START_TEST(test_openssh_link_breaks) {
	open_openssh();
	peer_exec(&p, "echo here; read go; kill -9 $PPID; exec sleep 100");
	RUN_UNTIL(&p, p.got);
	cube_transport_write(p.t, "go\n", 3);
	RUN_UNTIL(&p, p.ended || p.failed);
	ck_assert(p.failed);
	ck_assert_int_eq(p.err.code, CUBE_ECONNECT);
	ck_assert_ptr_nonnull(strstr(p.err.msg, "the connection broke: "));
	ck_out(&p, "here\n");
}
END_TEST

/* ---- questions --------------------------------------------------------------------------- */

static struct {
	const char *answer; /* NULL: nobody is there */
	bool at_once, owed, again;
	int asked, noted;
	enum cube_ask_kind kind;
	char key[256], text[256], note[256];
} person;
static struct cube_transport_events asking;

static void give(void) {
	const char *answers[] = {person.answer};
	person.owed = false;
	cube_transport_answer(p.t, person.answer ? answers : NULL);
}

static void on_ask(void *arg, const struct cube_ask *ask) {
	person.asked++;
	person.kind = ask->kind;
	person.again = ask->again;
	snprintf(person.key, sizeof person.key, "%s", ask->key);
	snprintf(person.text, sizeof person.text, "%s", ask->prompts[0].text);
	ck_assert_uint_eq(ask->n, 1);
	if (person.at_once) give();
	else person.owed = true;
}

static void on_note(void *arg, const char *text) {
	person.noted++;
	snprintf(person.note, sizeof person.note, "%s", text);
}

static void open_asking(const char *answer, bool at_once) {
	struct cube_target target = {.name = "box",
				     .host = "box",
				     .command = "openssh",
				     .ask = true,
				     .timeout_ns = patience()};
	struct cube_err err;
	memset(&person, 0, sizeof person);
	person.answer = answer;
	person.at_once = at_once;
	asking = PEER_EVENTS;
	asking.on_ask = on_ask;
	asking.on_note = on_note;
	if (cube_transport_command(ssh, &target, &asking, &p, &p.t, &err))
		ck_abort_msg("%s", err.msg);
	peer_wait_open(&p);
}

/* The server takes only the key that has the passphrase "secret". */
static void wants_passphrase(void) {
	cube_autofree char *pub = read_file(server.dir, "idenc.pub");
	cube_autofree char *config = cube_strf(
		"Host box\n  HostName 127.0.0.1\n  Port %u\n  IdentityFile %s/idenc\n"
		"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile %s/.ssh/known_hosts\n",
		server.port, server.dir, server.dir);
	write_file(server.dir, "authorized_keys", 0600, pub);
	write_file(server.dir, ".ssh/config", 0600, config);
	sshd_start(&server, "host_key", NULL);
}

/* Asked once for all lines; and again where the server hung up between two of them. */
START_TEST(test_asks) {
	cube_autofree char *key = cube_strf("%s/idenc", server.dir);
	wants_passphrase();
	open_asking("secret", _i);
	peer_exec(&p, "echo in; tr '\\0' '\\n' </proc/$PPID/environ");
	while (!p.ended && !p.failed) {
		turn(loop);
		if (person.owed) give();
	}
	ck_assert_msg(p.ended, "%s", p.err.msg);
	ck_assert_int_eq(person.asked, 1);
	ck_assert_int_eq(person.kind, CUBE_ASK_PASSPHRASE);
	ck_assert(!person.again);
	ck_assert_str_eq(person.key, key);
	peer_run(&p, "echo again");
	ck_out(&p, "again\n");
	ck_assert_int_eq(person.asked, 1);
	cube_transport_settled(p.t); /* nothing is kept now */
	peer_run(&p, "echo still");
	ck_assert_int_eq(person.asked, 1);
	peer_run(&p, "echo $PPID");
	kill(number(), SIGKILL);
	peer_exec(&p, "echo anew");
	while (!p.ended && !p.failed) {
		turn(loop);
		if (person.owed) give();
	}
	ck_assert_int_eq(person.asked, 2);
	ck_assert(!person.again);
}
END_TEST

START_TEST(test_wrong_answer) {
	wants_passphrase();
	open_asking("wrong", true);
	fails("echo", CUBE_ELOGIN, "Permission denied (publickey)");
	ck_assert_int_ge(person.asked, 1); /* ssh may ask for a passphrase once more */
	ck_assert(person.again == (person.asked > 1));
	ck_assert_ptr_null(strstr(p.err.msg, "wrong"));
}
END_TEST

START_TEST(test_nobody_answers) {
	wants_passphrase();
	open_asking(NULL, _i);
	peer_exec(&p, "echo");
	while (!p.failed) {
		turn(loop);
		if (person.owed) give();
	}
	ck_assert_int_eq(p.err.code, CUBE_ELOGIN);
	ck_assert_int_eq(person.asked, 1);
}
END_TEST

START_TEST(test_may_not_ask) {
	wants_passphrase();
	open_command("openssh");
	fails("echo", CUBE_EAUTH, "Permission denied (publickey)");
}
END_TEST

/* A stand-in for ssh with a security key: a PIN, a touch, and a one-time code. */
START_TEST(test_security_key) {
	fake_ssh("for a; do [ \"$a\" != -N ] || master=1; done; [ \"$master\" ] || exec cat seen\n"
		 "{ env | grep -c 12-34; tr '\\0' '\\n' </proc/$$/cmdline | grep -c 12-34\n"
		 "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); "
		 "s.connect((chr(0) + \"'${CUBE_ASKPASS#@}'\").ljust(108, chr(0)))' || exit 255\n"
		 "SSH_ASKPASS_PROMPT=none \"$SSH_ASKPASS\" 'Confirm user presence' & touch=$!\n"
		 "pin=$(\"$SSH_ASKPASS\" 'Enter PIN for ED25519-SK key /k: ') || exit 255\n"
		 "echo \"pin $pin\"; \"$SSH_ASKPASS\" '(me@box) Code: '\n"
		 "SSH_ASKPASS_PROMPT=confirm \"$SSH_ASKPASS\" 'Allow?' >/dev/null && echo allowed\n"
		 "while kill $touch 2>/dev/null; do wait $touch; done; echo done; } >seen\n"
		 "echo ready; exec sleep 100\n");
	open_asking("12-34", true);
	peer_exec(&p, "x");
	RUN_UNTIL(&p, person.noted && p.ended);
	ck_out(&p, "0\n0\npin 12-34\n12-34\ndone\n");
	ck_assert_int_eq(person.asked, 3);
	ck_assert_str_eq(person.note, "Confirm user presence");
	peer_run(&p, "x");
	ck_out(&p, "0\n0\npin 12-34\n12-34\ndone\n");
	ck_assert_int_eq(person.asked, 3);
}
END_TEST

static void add_questions(TCase *tc) {
	tcase_add_loop_test(tc, test_asks, 0, 2);
	tcase_add_test(tc, test_wrong_answer);
	tcase_add_loop_test(tc, test_nobody_answers, 0, 2);
	tcase_add_test(tc, test_may_not_ask);
	tcase_add_test(tc, test_security_key);
}

static void add_programs(TCase *tc) {
	tcase_add_test(tc, test_script);
	tcase_add_loop_test(tc, test_script_fails, 0, 4);
	tcase_add_test(tc, test_hosts_own_words);
	tcase_add_test(tc, test_no_program);
	tcase_add_test(tc, test_refused_at_once);
	tcase_add_test(tc, test_silence);
	tcase_add_test(tc, test_slow_afterwards);
	tcase_add_loop_test(tc, test_hang_up, 0, 3);
	tcase_add_loop_test(tc, test_free_anywhere, 0, 9);
}

static void add_openssh(TCase *tc) {
	tcase_add_test(tc, test_openssh);
	tcase_add_test(tc, test_openssh_target);
	tcase_add_test(tc, test_openssh_config_for_people);
	tcase_add_loop_test(tc, test_openssh_cat, 0, 1);
	tcase_add_loop_test(tc, test_openssh_cat, 5000, 5001);
	tcase_add_test(tc, test_openssh_denied);
	tcase_add_test(tc, test_openssh_refused);
	tcase_add_test(tc, test_openssh_no_name);
	tcase_add_test(tc, test_openssh_silent_server);
	tcase_add_test(tc, test_openssh_changed_key);
	tcase_add_loop_test(tc, test_openssh_strict, 0, 2);
	tcase_add_test(tc, test_openssh_jump);
	tcase_add_loop_test(tc, test_openssh_new_jump, 0, 3);
	tcase_add_test(tc, test_openssh_max_startups);
	tcase_add_test(tc, test_openssh_max_startups_of_jump);
	tcase_add_loop_test(tc, test_openssh_dropped, 0, 3);
	tcase_add_test(tc, test_openssh_hangs_up_later);
	tcase_add_test(tc, test_openssh_old);
	tcase_add_test(tc, test_openssh_no_cipher);
	tcase_add_test(tc, test_openssh_link_breaks);
	tcase_add_test(tc, test_openssh_one_login);
	tcase_add_loop_test(tc, test_openssh_any_shell, 0, 4);
	tcase_add_test(tc, test_openssh_no_session);
	tcase_add_test(tc, test_openssh_hangs_up_between);
	tcase_add_loop_test(tc, test_openssh_users_master, 0, 2);
	tcase_add_test(tc, test_openssh_users_master_goes);
	tcase_add_test(tc, test_openssh_socket_goes);
}

int main(int argc, char **argv) {
	if (getenv("CUBE_ASKPASS")) return cube_askpass_main(argc, argv);
	Suite *suite = suite_create("transport_command");
	TCase *pure = tcase_create("pure");
	tcase_add_loop_test(pure, test_template, 0, sizeof GOOD / sizeof GOOD[0]);
	tcase_add_loop_test(pure, test_template_refused, 0, sizeof BAD / sizeof BAD[0]);
	tcase_add_test(pure, test_template_values);
	tcase_add_loop_test(pure, test_says, 0, sizeof SAYS / sizeof SAYS[0]);
	tcase_add_loop_test(pure, test_says_dropped, 0, sizeof DROPS / sizeof DROPS[0]);
	tcase_add_loop_test(pure, test_says_of_master, 0, sizeof MUX / sizeof MUX[0]);
	tcase_add_loop_test(pure, test_ask_kind, 0, sizeof ASKS / sizeof ASKS[0]);
	suite_add_tcase(suite, pure);
	TCase *tc = tcase_create("programs");
	tcase_add_unchecked_fixture(tc, sshd_keys, sshd_keys_cleanup);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	add_programs(tc);
	add_openssh(tc);
	add_questions(tc);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
