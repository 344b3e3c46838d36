/* Settings by the real `ssh -G`, and what of them is remembered: in memory, and on disk. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/openssh/ssh_answers.h"
#include "cube/ssh_config.h"
#include "../../src/openssh/ssh_stamp.h"
#include "cube/clock.h"

static char dir[64], cache[96], file[96], path[4096];
static struct cube_loop *loop;
static struct cube_ssh_configs *configs;

static void write_text(const char *name, mode_t mode, const char *text) {
	cube_autofree char *full = cube_strf("%s/%s", dir, name);
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	ck_assert_msg(fd >= 0, "%s: %s", full, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* The configuration; every & in it stands for the folder. */
static void write_config(const char *name, const char *text) {
	struct cube_buf b;
	cube_buf_init(&b, 1 << 20);
	for (; *text; text++) {
		if (*text == '&') cube_buf_addstr(&b, dir);
		else cube_buf_add(&b, text, 1);
	}
	write_text(name, 0600, cube_buf_str(&b));
	cube_buf_done(&b);
}

static void setup(void) {
	struct cube_err err;
	snprintf(dir, sizeof dir, "/tmp/cube-config.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(cache, sizeof cache, "%s/cache/cube", dir);
	snprintf(file, sizeof file, "%s/config", dir);
	cube_autofree char *bin = cube_strf("%s/bin", dir);
	ck_assert_int_eq(mkdir(bin, 0700), 0);
	snprintf(path, sizeof path, "%s", getenv("PATH"));
	/* Tells how often it was started. */
	cube_autofree char *ssh =
		cube_strf("#!/bin/sh\necho >>%s/asked\nPATH='%s'\nexec ssh \"$@\"\n", dir, path);
	write_text("bin/ssh", 0700, ssh);
	cube_autofree char *both = cube_strf("%s:%s", bin, path);
	setenv("PATH", both, 1);
	ck_assert_int_eq(cube_loop_new(&loop, &err), 0);
	cube_ssh_configs_new(loop, cache, &configs);
}

static int remove_one(const char *name, const struct stat *st, int kind, struct FTW *ftw) {
	return remove(name);
}

static void teardown(void) {
	cube_ssh_configs_free(configs);
	cube_loop_free(loop);
	setenv("PATH", path, 1);
	ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Another process would begin like this. */
static void begin_anew(void) {
	cube_ssh_configs_free(configs);
	cube_ssh_configs_new(loop, cache, &configs);
}

static int asked(void) {
	struct stat st;
	cube_autofree char *full = cube_strf("%s/asked", dir);
	return stat(full, &st) == 0 ? (int)st.st_size : 0;
}

static struct cube_ssh_config answer;
static struct cube_err answer_err;
static int answers;

static void on_answer(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	answers++;
	cube_ssh_config_done(&answer);
	if (config) cube_ssh_config_copy(&answer, config);
	else answer_err = *err;
	if (answers == *(int *)arg) cube_loop_stop(loop);
}

static const struct cube_ssh_config *ask(const struct cube_ssh_question *q) {
	struct cube_err err;
	int wanted = 1;
	answers = 0;
	cube_ssh_configs_ask(configs, q, on_answer, &wanted);
	ck_assert_int_eq(cube_loop_run(loop, &err), 0);
	ck_assert_int_eq(answers, 1);
	return &answer;
}

static const struct cube_ssh_config *ask_host(const char *host) {
	struct cube_ssh_question q = {.host = host, .file = file};
	return ask(&q);
}

static void done(void) {
	cube_ssh_config_done(&answer);
}

static char *in_dir(const char *name) { /* to be freed */
	return cube_strf("%s/%s", dir, name);
}

/* ---- what ssh -G says ---------------------------------------------------------------------- */

static const char CONFIG[] = "Include &/inc.d/*.conf\n"
			     "Match host web1.example.com user deploy\n  Port 2201\n"
			     "Match originalhost short\n  HostName long.example.com\n"
			     "  Port 2202\n"
			     "Match user bob\n  ProxyCommand nc %h %p\n"
			     "Host web*\n  HostName %h.example.com\n  User deploy\n"
			     "  IdentityFile &/k-%h-%n-%p-%r\n  IdentityFile %d/%u/${CUBE_TEST_X}\n"
			     "Host viaj\n  ProxyJump %r@jump-%n:22,b2\n  User joe\n"
			     "Host *\n  UserKnownHostsFile &/known\n  ConnectTimeout 7\n";

static void write_all(void) {
	cube_autofree char *inc = in_dir("inc.d");
	mkdir(inc, 0700);
	setenv("CUBE_TEST_X", "envy", 1);
	write_config("config", CONFIG);
	write_config("inc.d/1.conf", "Include &/inc.d/deep\nHost inc\n  Port 2203\n");
	write_config("inc.d/deep", "Host deep\n  Port 2204\n  IdentityAgent none\n");
}

START_TEST(real_config) {
	write_all();
	cube_autofree char *known = in_dir("known"),
			   *key = in_dir("k-web1.example.com-web1-22-deploy"),
			   *home = cube_ssh_home();
	const struct cube_ssh_config *c = ask_host("web1");
	ck_assert_str_eq(c->hostname, "web1.example.com");
	ck_assert_str_eq(c->user, "deploy");
	ck_assert_uint_eq(c->port, 22); /* the Match stands before HostName is known */
	ck_assert_uint_eq(c->connect_timeout_s, 7);
	ck_assert_uint_eq(c->identities.len, 2);
	ck_assert_str_eq(c->identities.v[0], key);
	ck_assert_ptr_eq(strstr(c->identities.v[1], home), c->identities.v[1]);
	ck_assert_ptr_nonnull(strstr(c->identities.v[1], "/envy"));
	ck_assert_str_eq(c->user_hosts.v[0], known);
	c = ask_host("short");
	ck_assert_str_eq(c->hostname, "long.example.com");
	ck_assert_uint_eq(c->port, 2202);
	ck_assert_uint_eq(ask_host("inc")->port, 2203);
	c = ask_host("deep");
	ck_assert_uint_eq(c->port, 2204);
	ck_assert_str_eq(c->identityagent, "none");
	ck_assert_str_eq(ask_host("viaj")->proxyjump, "joe@jump-viaj:22,b2");
	c = ask(&(struct cube_ssh_question){.host = "x", .file = file, .user = "bob"});
	ck_assert_str_eq(c->proxycommand, "nc %h %p"); /* expanded by whoever runs it */
	ck_assert_ptr_null(ask_host("x")->proxycommand);
	c = ask(&(struct cube_ssh_question){
		.host = "web1.example.com", .file = file, .user = "deploy", .port = 77});
	ck_assert_uint_eq(c->port, 77);
	c = ask(&(struct cube_ssh_question){
		.host = "web1.example.com", .file = file, .user = "deploy"});
	ck_assert_uint_eq(c->port, 2201);
	done();
}
END_TEST

static const struct {
	const char *user, *jump, *options[4];
	uint16_t port;
} passed[] = {
	{.options = {"Port=2300"}},
	{.port = 77, .options = {"Port=2300"}},
	{.user = "eve", .options = {"User=adam", "HostName=%h.lan"}},
	{.jump = "me@b1:2222,b2"},
	{.jump = "none", .options = {"ProxyCommand=never"}},
	{.options = {"ProxyCommand=nc %h 1", "ProxyJump=b"}},
	{.options = {"ProxyJump=b", "ProxyCommand=nc %h 1"}},
	{.options = {"IdentityFile=/k/1", "IdentityFile=/k/%r", "IdentitiesOnly=yes"}},
	{.options = {"identityfile=\"/k/a b\"", "HostKeyAlias=al", "IdentityAgent=/a"}},
	{.options = {"StrictHostKeyChecking=yes", "ConnectTimeout=3", "ConnectTimeout=9"}},
	{.options = {"UserKnownHostsFile=/k/h /k/h2", "GlobalKnownHostsFile=none"}},
	{.user = "eve",
	 .port = 77,
	 .options = {"UserKnownHostsFile=/k/h-%C-%d-%h-%i-%k-%L-%l-%n-%p-%r-%u-%%",
		     "GlobalKnownHostsFile=none"}},
	{.user = "eve",
	 .options = {"HostName=10.0.0.7", "IdentityAgent=/a-%C-%d-%h-%i-%k-%L-%l-%n-%p-%r-%u-%%"}},
	{.options = {"Compression=yes", "hostname=10.0.0.7"}},
};

/* ssh's own %d is what the account has, whatever HOME says; ours then is too. */
static void live_at_home(void) {
	setenv("HOME", getpwuid(getuid())->pw_dir, 1);
}

static void same_lists(const struct cube_strv *a, const struct cube_strv *b, const char *what) {
	ck_assert_msg(a->len == b->len, "%s: %zu, %zu", what, a->len, b->len);
	for (size_t i = 0; i < a->len; i++) ck_assert_str_eq(a->v[i], b->v[i]);
}

/* Each flag and option goes through to ssh -G; and where there is no ssh, the built-in defaults
 * make the same of them. */
START_TEST(options_pass) {
	struct cube_strv options = {0};
	struct cube_ssh_config with = {0};
	live_at_home();
	for (size_t i = 0; i < 4 && passed[_i].options[i]; i++)
		cube_strv_add(&options, passed[_i].options[i]);
	struct cube_ssh_question q = {.host = "h1",
				      .file = "none",
				      .user = passed[_i].user,
				      .jump = passed[_i].jump,
				      .port = passed[_i].port,
				      .options = &options};
	cube_ssh_config_copy(&with, ask(&q));
	ck_assert_str_ne(with.hostname, "");
	setenv("PATH", "/nonexistent", 1);
	cube_ssh_configs_free(configs); /* what is remembered is of the other PATH */
	cube_ssh_configs_new(loop, NULL, &configs);
	const struct cube_ssh_config *c = ask(&q);
	ck_assert_str_eq(c->hostname, with.hostname);
	ck_assert_str_eq(c->user, with.user);
	ck_assert_uint_eq(c->port, with.port);
	ck_assert_pstr_eq(c->hostkeyalias, with.hostkeyalias);
	ck_assert_pstr_eq(c->identityagent, with.identityagent);
	ck_assert_pstr_eq(c->proxycommand, with.proxycommand);
	ck_assert_pstr_eq(c->proxyjump, with.proxyjump);
	ck_assert_uint_eq(c->connect_timeout_s, with.connect_timeout_s);
	ck_assert_int_eq(c->identities_only, with.identities_only);
	ck_assert_int_eq(c->strict, with.strict);
	if (passed[_i].options[0] && !strncasecmp(passed[_i].options[0], "identityfile", 12))
		same_lists(&c->identities, &with.identities, "identities");
	if (passed[_i].options[0] && !strncmp(passed[_i].options[0], "UserKnown", 9)) {
		same_lists(&c->user_hosts, &with.user_hosts, "known hosts");
		same_lists(&c->global_hosts, &with.global_hosts, "global known hosts");
	}
	cube_ssh_config_done(&with);
	cube_strv_done(&options);
	done();
}
END_TEST

/* Every word that ssh_config(5) knows for the files of a login, whether ssh -G replaces it or
 * leaves it to us. */
START_TEST(every_word) {
	static const char WORDS[] = "%C-%d-%h-%i-%k-%L-%l-%n-%p-%r-%u-%%-${CUBE_TEST_X}";
	struct cube_strv options = {0};
	static const char *const KEYS[] = {"UserKnownHostsFile", "IdentityFile", "CertificateFile",
					   "IdentityAgent"};
	live_at_home();
	for (size_t i = 0; i < 4; i++) {
		cube_autofree char *option = cube_strf("%s=/x%s", KEYS[i], WORDS);
		cube_strv_add(&options, option);
	}
	cube_strv_add(&options, "HostName=10.0.0.7");
	if (_i) cube_strv_add(&options, "ProxyJump=away");
	setenv("CUBE_TEST_X", "envy", 1);
	const struct cube_ssh_config *c = ask(&(struct cube_ssh_question){
		.host = "h1", .file = "none", .user = "eve", .port = 77, .options = &options});
	ck_assert_uint_eq(c->user_hosts.len, 1);
	const char *full = c->user_hosts.v[0]; /* as ssh has it */
	ck_assert_ptr_null(strchr(full, '$'));
	ck_assert_str_eq(c->identityagent, full);
	ck_assert_str_eq(c->identities.v[0], full);
	ck_assert_str_eq(c->certificates.v[0], full);
	cube_strv_done(&options);
	done();
}
END_TEST

START_TEST(bad_option) {
	struct cube_strv options = {0};
	struct cube_ssh_question q = {.host = "h1", .file = "none", .options = &options};
	cube_strv_add(&options, "Port=many");
	ask(&q);
	ck_assert_ptr_null(answer.hostname);
	ck_assert_int_eq(answer_err.code, CUBE_EUSAGE);
	ck_assert_ptr_nonnull(strstr(answer_err.msg, "many"));
	setenv("PATH", "/nonexistent", 1);
	begin_anew();
	ask(&q);
	ck_assert_int_eq(answer_err.code, CUBE_EUSAGE);
	ck_assert_ptr_nonnull(strstr(answer_err.msg, "-o Port=many"));
	cube_strv_done(&options);
}
END_TEST

/* ---- what is remembered ------------------------------------------------------------------- */

START_TEST(second_process) {
	struct stat st;
	write_all();
	struct cube_strv options = {0};
	cube_strv_add(&options, "Port=1");
	struct cube_ssh_question q = {.host = "web1", .file = file, .options = &options};
	ask_host("web1");
	ask_host("web1");
	ck_assert_int_eq(asked(), 1);
	ask(&q); /* another question */
	ck_assert_int_eq(asked(), 2);
	begin_anew();
	cube_autofree char *key = in_dir("k-web1.example.com-web1-22-deploy");
	ck_assert_str_eq(ask_host("web1")->identities.v[0], key);
	ck_assert_uint_eq(ask(&q)->port, 1);
	ck_assert_int_eq(asked(), 2);
	q.jump = "none";
	ask(&q);
	ck_assert_int_eq(asked(), 3);
	ck_assert_int_eq(stat(cache, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	cube_strv_done(&options);
	done();
}
END_TEST

/* Whatever decides: asked again, in this process and in the next; and what does not: not. */
static const struct {
	const char *file, *text, *variable;
	int more;
} changes[] = {
	{"config", "Host web1\n  Port 9\n", NULL, 1},
	{"inc.d/1.conf", "Host web1\n  Port 9\n", NULL, 1},
	{"inc.d/deep", "Host web1\n  Port 9\n", NULL, 1},
	{"inc.d/2.conf", "Host web1\n  Port 9\n", NULL, 1}, /* now there, for the pattern */
	{"inc.d/other", "Host web1\n  Port 9\n", NULL, 0},  /* not included */
	{"inc.d/deep", "Host deep\n  Port 2204\n  IdentityAgent none\n", NULL, 0}, /* as it was */
	{NULL, "/another", "CUBE_TEST_X", 1},
	{NULL, "/another", "CUBE_TEST_Y", 0},
	{NULL, "/another", "HOME", 1},
};

START_TEST(changed) {
	cube_autofree char *home = cube_strdup(getenv("HOME"));
	write_all();
	ask_host("web1");
	ask_host("db1");
	ck_assert_int_eq(asked(), 2);
	if (changes[_i].variable) setenv(changes[_i].variable, changes[_i].text, 1);
	else write_config(changes[_i].file, changes[_i].text);
	bool port = changes[_i].file && changes[_i].more;
	ck_assert_uint_eq(ask_host("web1")->port, port ? 9 : 22);
	ck_assert_int_eq(asked(), 2 + changes[_i].more);
	begin_anew();
	ck_assert_uint_eq(ask_host("web1")->port, port ? 9 : 22);
	ck_assert_int_eq(asked(), 2 + changes[_i].more);
	setenv("HOME", home, 1);
	done();
}
END_TEST

static const char *const fleeting[] = {
	"Match exec \"test -e &/flag\"\n  Port 9\n",
	"Host *\n  User u\nmatch host web1 !EXEC \"test -e &/flag\"\n",
	"Include &/fleeting\n",
	"CanonicalizeHostname yes\n",
};

START_TEST(not_on_disk) {
	write_config("config", fleeting[_i]);
	write_config("fleeting", "Match exec true\n");
	ask_host("127.0.0.1");
	ask_host("127.0.0.1");
	ck_assert_int_eq(asked(), 1);
	begin_anew();
	ask_host("127.0.0.1");
	ck_assert_int_eq(asked(), 2);
	ck_assert_int_eq(access(cache, F_OK), -1);
	done();
}
END_TEST

START_TEST(canonical_no_is_kept) {
	write_config("config", "CanonicalizeHostname no\nHost web1 # Match exec\n  Port 9\n");
	ask_host("web1");
	begin_anew();
	ck_assert_uint_eq(ask_host("web1")->port, 9);
	ck_assert_int_eq(asked(), 1);
	done();
}
END_TEST

/* More than run at a time, many of them the same. */
START_TEST(many_at_once) {
	struct cube_err err;
	int wanted = 60;
	char name[16];
	write_all();
	for (int round = 0; round < 2; round++) {
		answers = 0;
		for (int i = 0; i < wanted; i++) {
			snprintf(name, sizeof name, "db%d", i % 15);
			struct cube_ssh_question q = {.host = name, .file = file};
			cube_ssh_configs_ask(configs, &q, on_answer, &wanted);
		}
		ck_assert_int_eq(cube_loop_run(loop, &err), 0);
		ck_assert_int_eq(answers, wanted);
	}
	int before = asked();
	ck_assert_int_le(before, wanted);
	begin_anew();
	ck_assert_str_eq(ask_host("db14")->hostname, "db14");
	ck_assert_int_eq(asked(), before);
	done();
}
END_TEST

/* ---- the file ----------------------------------------------------------------------------- */

static struct cube_ssh_stamp stamp_of(uint8_t n) {
	struct cube_ssh_stamp stamp = {.lasting = true};
	memset(stamp.id, n, sizeof stamp.id);
	return stamp;
}

static void put(struct cube_ssh_answers *a, uint8_t stamp, const char *key, const char *text) {
	struct cube_ssh_stamp s = stamp_of(stamp);
	cube_ssh_answers_put(a, &s, key, 1, text, strlen(text));
}

/* The answer as a string, or NULL. */
static const char *get(struct cube_ssh_answers *a, uint8_t stamp, const char *key) {
	static char text[CUBE_SSH_ANSWER_MAX + 1];
	struct cube_ssh_stamp s = stamp_of(stamp);
	size_t n;
	const char *got = cube_ssh_answers_get(a, &s, key, 1, &n);
	if (got) snprintf(text, sizeof text, "%.*s", (int)n, got);
	return got ? text : NULL;
}

static char *the_file(uint8_t stamp) {
	return cube_strf("%s/ssh-%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x",
			 cache, stamp, stamp, stamp, stamp, stamp, stamp, stamp, stamp, stamp,
			 stamp, stamp, stamp, stamp, stamp, stamp, stamp);
}

static char *slurp(const char *name, size_t *ret_n) {
	char *text = cube_alloc(1 << 20);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	*ret_n = (size_t)read(fd, text, 1 << 20);
	close(fd);
	return text;
}

static void spill(const char *name, const char *text, size_t n) {
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	close(fd);
}

START_TEST(two_writers) {
	struct cube_ssh_answers *a = cube_ssh_answers_new(cache), *b = cube_ssh_answers_new(cache);
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof key, "%d", i);
		put(i % 2 ? a : b, 7, key, key);
		if (i % 7 == 0) cube_ssh_answers_flush(i % 2 ? a : b);
	}
	put(a, 7, "both", "a");
	put(b, 7, "both", "a");
	ck_assert_str_eq(get(a, 7, "1"), "1");
	ck_assert_ptr_null(get(a, 7, "2"));
	ck_assert_ptr_null(get(a, 8, "1"));
	cube_ssh_answers_free(a);
	cube_ssh_answers_free(b);
	a = cube_ssh_answers_new(cache);
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof key, "%d", i);
		ck_assert_pstr_eq(get(a, 7, key), key);
	}
	ck_assert_pstr_eq(get(a, 7, "both"), "a");
	cube_ssh_answers_free(a);
}
END_TEST

/* Damaged in any one byte, or cut: an answer is the right one, or none; and the file is good again
 * after the next one was put. */
static void check_damaged(const char *text, size_t n) {
	static const char *const keys[] = {"k1", "k2", "k3"};
	cube_autofree char *name = the_file(7);
	spill(name, text, n);
	struct cube_ssh_answers *a = cube_ssh_answers_new(cache);
	for (size_t i = 0; i < 3; i++) {
		const char *got = get(a, 7, keys[i]);
		ck_assert_msg(!got || !strcmp(got, keys[i]), "%s: %s", keys[i], got);
	}
	put(a, 7, "more", "more");
	cube_ssh_answers_free(a);
	a = cube_ssh_answers_new(cache);
	ck_assert_pstr_eq(get(a, 7, "more"), "more");
	cube_ssh_answers_free(a);
}

START_TEST(damaged) {
	struct cube_ssh_answers *a = cube_ssh_answers_new(cache);
	cube_autofree char *name = the_file(7);
	size_t n;
	put(a, 7, "k1", "k1");
	put(a, 7, "k2", "k2");
	put(a, 7, "k3", "k3");
	cube_ssh_answers_free(a);
	cube_autofree char *text = slurp(name, &n);
	for (size_t i = 1; i < n; i++) check_damaged(text, i);
	for (size_t i = 0; i < n; i++) {
		char was = text[i];
		text[i] = was == '1' ? '2' : '1';
		check_damaged(text, n);
		text[i] = '\n';
		check_damaged(text, n);
		text[i] = was;
	}
}
END_TEST

/* Not ours to trust: neither read nor written. */
START_TEST(foreign) {
	struct stat st;
	struct cube_ssh_answers *a = cube_ssh_answers_new(cache);
	cube_autofree char *name = the_file(7), *other = in_dir("other");
	put(a, 7, "k1", "k1");
	cube_ssh_answers_free(a);
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	off_t size = st.st_size;
	for (int i = 0; i < 3; i++) {
		if (i == 0) ck_assert_int_eq(chmod(name, 0640), 0);
		if (i == 1)
			ck_assert_int_eq(
				chmod(name, 0600) | rename(name, other) | symlink(other, name), 0);
		if (i == 2)
			ck_assert_int_eq(unlink(name) | rename(other, name) | chmod(cache, 0777),
					 0);
		a = cube_ssh_answers_new(cache);
		ck_assert_ptr_null(get(a, 7, "k1"));
		put(a, 7, "k2", "k2");
		ck_assert_pstr_eq(get(a, 7, "k2"), "k2");
		cube_ssh_answers_free(a);
		ck_assert_int_eq(stat(name, &st), 0);
		ck_assert_int_eq(st.st_size, size);
	}
}
END_TEST

START_TEST(eight_are_kept) {
	int n = 0;
	for (int i = 1; i <= 20; i++) {
		struct cube_ssh_answers *a = cube_ssh_answers_new(cache);
		put(a, (uint8_t)i, "k", "k");
		cube_ssh_answers_free(a);
		a = cube_ssh_answers_new(cache);
		ck_assert_pstr_eq(get(a, 1, "k"), "k"); /* used: it stays */
		cube_ssh_answers_free(a);
	}
	DIR *d = opendir(cache);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) n += e->d_name[0] != '.';
	closedir(d);
	ck_assert_int_eq(n, 8);
}
END_TEST

/* More configurations than tables, in one process. */
START_TEST(many_tables) {
	struct cube_ssh_answers *a = cube_ssh_answers_new(cache);
	for (int i = 1; i <= 20; i++) put(a, (uint8_t)i, "k", i % 2 ? "odd" : "even");
	for (int i = 20; i > 12; i--)
		ck_assert_pstr_eq(get(a, (uint8_t)i, "k"), i % 2 ? "odd" : "even");
	ck_assert_ptr_null(get(a, 1, "k"));
	cube_ssh_answers_free(a);
	a = cube_ssh_answers_new(NULL);
	put(a, 1, "k", "k");
	ck_assert_pstr_eq(get(a, 1, "k"), "k");
	cube_ssh_answers_free(a);
}
END_TEST

START_TEST(limits) {
	struct cube_ssh_answers *a = cube_ssh_answers_new(NULL);
	struct cube_ssh_stamp soon = {.lasting = false};
	char key[16];
	size_t n;
	char *large = cube_alloc(CUBE_SSH_ANSWER_MAX + 2);
	memset(large, 'x', CUBE_SSH_ANSWER_MAX + 1);
	put(a, 1, "large", large);
	ck_assert_ptr_null(get(a, 1, "large"));
	large[CUBE_SSH_ANSWER_MAX] = 0;
	put(a, 1, "large", large);
	ck_assert_ptr_nonnull(get(a, 1, "large"));
	for (int i = 0; i < CUBE_SSH_ANSWERS_MAX + 10; i++) {
		snprintf(key, sizeof key, "%d", i);
		put(a, 1, key, "x");
	}
	ck_assert_ptr_nonnull(get(a, 1, "0"));
	ck_assert_ptr_null(get(a, 1, key));
	for (int i = 0; i < 1100; i++) { /* 64 KiB each: over 64 MiB */
		snprintf(key, sizeof key, "%d", i);
		put(a, 2, key, large);
	}
	ck_assert_ptr_nonnull(get(a, 2, "0"));
	ck_assert_ptr_null(get(a, 2, key));
	cube_ssh_answers_put(a, &soon, "k", 5, "k", 1);
	ck_assert_ptr_nonnull(cube_ssh_answers_get(a, &soon, "k", 299 * CUBE_NS_PER_S, &n));
	ck_assert_ptr_null(cube_ssh_answers_get(a, &soon, "k", 301 * CUBE_NS_PER_S, &n));
	free(large);
	cube_ssh_answers_free(a);
}
END_TEST

int main(void) {
	Suite *s = suite_create("ssh_config");
	TCase *tc = tcase_create("real"), *files = tcase_create("files");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_set_timeout(files, 60);
	tcase_add_test(tc, real_config);
	tcase_add_loop_test(tc, options_pass, 0, sizeof passed / sizeof passed[0]);
	tcase_add_loop_test(tc, every_word, 0, 2);
	tcase_add_test(tc, bad_option);
	tcase_add_test(tc, second_process);
	tcase_add_loop_test(tc, changed, 0, sizeof changes / sizeof changes[0]);
	tcase_add_loop_test(tc, not_on_disk, 0, sizeof fleeting / sizeof fleeting[0]);
	tcase_add_test(tc, canonical_no_is_kept);
	tcase_add_test(tc, many_at_once);
	tcase_add_test(files, two_writers);
	tcase_add_test(files, damaged);
	tcase_add_test(files, foreign);
	tcase_add_test(files, eight_are_kept);
	tcase_add_test(files, many_tables);
	tcase_add_test(files, limits);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, files);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
