/* Every setting of the real `ssh -G`, and what becomes of it: ssh_keywords.h. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/ssh_config.h"
#include "../../src/openssh/ssh_keywords.h"

/* What is printed only where it is set. */
#define SET                                                                                   \
	"-oHostKeyAlias=a -oProxyCommand=x -oControlPath=/x -oIdentityAgent=/x "              \
	"-oCertificateFile=/x -oPKCS11Provider=/x -oRevokedHostKeys=/x "                      \
	"-oKnownHostsCommand=/x -oBindAddress=127.0.0.1 -oBindInterface=lo -oSetEnv=A=b "     \
	"-oSendEnv=A -oLocalCommand=x -oRemoteCommand=x -oKbdInteractiveDevices=pam "         \
	"-oPreferredAuthentications=password -oLocalForward='1 b:1' -oRemoteForward='1 b:1' " \
	"-oDynamicForward=2 -oIgnoreUnknown=x -oXAuthLocation=/x "

static char *say(const char *options) {
	cube_autofree char *line = cube_strf("ssh -TG -F none %s -- h1", options);
	char *text = cube_alloc(65536);
	FILE *f = popen(line, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert(fread(text, 1, 65535, f) > 1000);
	ck_assert_int_eq(pclose(f), 0);
	return text;
}

static struct cube_ssh_config parse(const char *text) {
	struct cube_ssh_config c = {0};
	struct cube_err err;
	ck_assert_int_eq(cube_ssh_config_parse(text, strlen(text), &c, &err), 0);
	return c;
}

/* Nothing that this ssh prints is new to us. */
START_TEST(all_are_known) {
	cube_autofree char *text = say(_i ? SET : "");
	struct cube_ssh_config c = parse(text);
	for (size_t i = 0; i < c.unknown.len; i++) ck_abort_msg("unknown: %s", c.unknown.v[i]);
	cube_ssh_config_done(&c);
}
END_TEST

/* Nothing is in the table and done otherwise. */
START_TEST(as_the_table_says) {
	const struct cube_ssh_keyword *k;
	for (size_t i = 0; (k = cube_ssh_keyword_at(i)) != NULL; i++) {
		bool read = cube_ssh_config_key(k->name, strlen(k->name)) >= 0;
		ck_assert_msg(read == (k->use == CUBE_SSH_READ), "%s", k->name);
		ck_assert_msg(read == !k->text, "%s", k->name);
		ck_assert_ptr_eq(cube_ssh_keyword_find(k->name, strlen(k->name)), k);
	}
}
END_TEST

/* By default no host needs the program. */
START_TEST(the_usual_values) {
	cube_autofree char *text = say("");
	struct cube_ssh_config c = parse(text);
	ck_assert_msg(!c.program, "%s", c.program);
	ck_assert(c.ciphers && c.macs && c.kex && c.host_keys && c.public_keys);
	cube_ssh_config_done(&c);
}
END_TEST

static const char *const ASKED[] = {
	"BindAddress=127.0.0.1",
	"BindInterface=lo",
	"ConnectionAttempts=3",
	"ProxyUseFdpass=yes",
	"RevokedHostKeys=/x",
	"KnownHostsCommand=/bin/x",
	"VerifyHostKeyDNS=ask",
	"CheckHostIP=yes",
	"NoHostAuthenticationForLocalhost=yes",
	"RekeyLimit=1G",
	"HostbasedAuthentication=yes",
	"SetEnv=A=b",
	"KbdInteractiveDevices=pam",
};

START_TEST(needs_the_program) {
	cube_autofree char *option = cube_strf("-o%s", ASKED[_i]);
	cube_autofree char *text = say(option);
	struct cube_ssh_config c = parse(text), kept = {0};
	size_t n = strcspn(ASKED[_i], "=");
	ck_assert_msg(c.program && !strncmp(c.program, ASKED[_i], n) && c.program[n] == ' ',
		      "%s: %s", ASKED[_i], c.program ? c.program : "nothing");
	/* The answer that is kept says so too. */
	struct cube_buf out;
	cube_buf_init(&out, 65536);
	ck_assert_int_eq(cube_ssh_config_filter(text, strlen(text), &out), 0);
	kept = parse(cube_buf_str(&out));
	ck_assert_str_eq(kept.program, c.program);
	ck_assert_str_eq(kept.ciphers, c.ciphers);
	cube_buf_done(&out);
	cube_ssh_config_done(&c);
	cube_ssh_config_done(&kept);
}
END_TEST

static struct cube_loop *loop;
static struct cube_ssh_config answer;
static struct cube_err answer_err;

static void on_answer(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	if (config) cube_ssh_config_copy(&answer, config);
	else answer_err = *err;
	cube_loop_stop(loop);
}

static void ask(const char *file, const char *option) {
	struct cube_ssh_configs *configs;
	struct cube_strv options = {0};
	struct cube_err err;
	if (option) cube_strv_add(&options, option);
	struct cube_ssh_question q = {.host = "h1", .file = file, .options = &options};
	ck_assert_int_eq(cube_loop_new(&loop, &err), 0);
	cube_ssh_configs_new(loop, NULL, &configs);
	cube_ssh_configs_ask(configs, &q, on_answer, NULL);
	ck_assert_int_eq(cube_loop_run(loop, &err), 0);
	cube_ssh_configs_free(configs);
	cube_loop_free(loop);
	cube_strv_done(&options);
}

/* An ssh of a later year prints one more, whatever its value by default is: only those who set it
 * get the program. */
START_TEST(of_a_newer_ssh) {
	char dir[] = "/tmp/cube-words.XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(dir));
	cube_autofree char *ssh = cube_strf("%s/ssh", dir), *file = cube_strf("%s/config", dir);
	cube_autofree char *path = cube_strf("%s:%s", dir, getenv("PATH"));
	FILE *f = fopen(ssh, "we");
	fprintf(f,
		"#!/bin/sh\necho quantumguard on\nPATH='%s'\nexec ssh -o "
		"IgnoreUnknown=QuantumGuard \"$@\"\n",
		getenv("PATH"));
	fclose(f);
	chmod(ssh, 0700);
	setenv("PATH", path, 1);
	f = fopen(file, "we");
	fprintf(f, _i == 1 ? "QuantumGuard on\n" : "Port 7\n");
	fclose(f);
	ask(file, _i == 2 ? "QuantumGuard=on" : NULL);
	ck_assert_ptr_nonnull(answer.hostname);
	if (_i == 0) ck_assert_msg(!answer.program, "%s", answer.program);
	else
		ck_assert_str_eq(answer.program,
				 "quantumguard, which is newer than this cube, needs "
				 "the ssh program");
	cube_ssh_config_done(&answer);
	unlink(ssh);
	unlink(file);
	rmdir(dir);
}
END_TEST

/* Without ssh nothing is dropped either. */
START_TEST(without_ssh) {
	static const char *const BAD[] = {"RevokedHostKeys=/x", "QuantumGuard=on", "Ciphers=+aes*"};
	setenv("PATH", "/nonexistent", 1);
	ask("none", "CheckHostIP=no");
	ck_assert_ptr_nonnull(answer.hostname);
	cube_ssh_config_done(&answer);
	ask("none", BAD[_i]);
	ck_assert_ptr_null(answer.hostname);
	ck_assert_int_eq(answer_err.code, CUBE_EUSAGE);
	ck_assert_msg(strstr(answer_err.msg, "OpenSSH's ssh, which is not installed") != NULL, "%s",
		      answer_err.msg);
}
END_TEST

START_TEST(lists) {
	ck_assert(cube_ssh_config_allows(NULL, "x"));
	ck_assert(cube_ssh_config_allows("a,b", "b"));
	ck_assert(cube_ssh_config_allows("ssh-*,b", "ssh-ed25519"));
	ck_assert(!cube_ssh_config_allows("a,b", "a,b"));
	ck_assert(!cube_ssh_config_allows("ab,b", "a"));
	ck_assert(!cube_ssh_config_allows("", "a"));
}
END_TEST

int main(void) {
	Suite *s = suite_create("ssh_keywords");
	TCase *tc = tcase_create("keywords");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_are_known, 0, 2);
	tcase_add_test(tc, as_the_table_says);
	tcase_add_test(tc, the_usual_values);
	tcase_add_loop_test(tc, needs_the_program, 0, sizeof ASKED / sizeof ASKED[0]);
	tcase_add_loop_test(tc, of_a_newer_ssh, 0, 3);
	tcase_add_loop_test(tc, without_ssh, 0, 3);
	tcase_add_test(tc, lists);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
