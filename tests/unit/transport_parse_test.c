/* The text the ssh transport reads: ssh -G, known_hosts, proxy words. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/hop.h"
#include "cube/known_hash.h"
#include "../../src/transport/known_hosts.h"
#include "../../src/transport/ssh_keyfile.h"
#include "../../src/transport/ssh_priv.h"
#include "../../src/transport/proxy.h"
#include "cube/ssh_config.h"

static const char SAMPLE[] = "Pseudo-terminal will not be allocated\r\n"
			     "host x\nuser bob\nhostname 10.1.2.3\nport 2222\n"
			     "identitiesonly yes\nidentityagent none\nconnecttimeout 7\n"
			     "stricthostkeychecking true\nhostkeyalias al\n"
			     "identityfile ~/.ssh/a\nidentityfile /k/b c\nidentityfile none\n"
			     "userknownhostsfile /a/b /c/d\nglobalknownhostsfile none\n"
			     "proxycommand nc %h %p\nproxyjump none\n"
			     "controlpath /run/cm-1\n"
			     "novalue\n\n   \nunknown thing\n";

static void check_sample(const struct cube_ssh_config *c) {
	ck_assert_str_eq(c->hostname, "10.1.2.3");
	ck_assert_str_eq(c->user, "bob");
	ck_assert_uint_eq(c->port, 2222);
	ck_assert(c->identities_only && c->strict);
	ck_assert_str_eq(c->identityagent, "none");
	ck_assert_uint_eq(c->connect_timeout_s, 7);
	ck_assert_str_eq(c->hostkeyalias, "al");
	ck_assert_uint_eq(c->identities.len, 2);
	ck_assert_str_eq(c->identities.v[0], "/home/me/.ssh/a");
	ck_assert_str_eq(c->identities.v[1], "/k/b c");
	ck_assert_uint_eq(c->user_hosts.len, 2);
	ck_assert_str_eq(c->user_hosts.v[1], "/c/d");
	ck_assert_uint_eq(c->global_hosts.len, 0);
	ck_assert_str_eq(c->proxycommand, "nc %h %p");
	ck_assert_ptr_null(c->proxyjump);
	ck_assert_str_eq(c->controlpath, "/run/cm-1");
}

START_TEST(test_config) {
	struct cube_ssh_config c = {0}, copy;
	struct cube_err err;
	setenv("HOME", "/home/me", 1);
	ck_assert_int_eq(cube_ssh_config_parse(SAMPLE, sizeof SAMPLE - 1, &c, &err), 0);
	check_sample(&c);
	cube_ssh_config_copy(&copy, &c);
	cube_ssh_config_done(&c);
	check_sample(&copy);
	cube_ssh_config_done(&copy);
}
END_TEST

/* Every prefix, from a block of just that size: the sanitizer sees one byte too far. */
START_TEST(test_config_cut) {
	for (size_t n = 0; n < sizeof SAMPLE; n++) {
		struct cube_ssh_config c = {0};
		char *text = malloc(n ? n : 1);
		memcpy(text, SAMPLE, n);
		if (cube_ssh_config_parse(text, n, &c, NULL) == 0) cube_ssh_config_done(&c);
		free(text);
	}
}
END_TEST

START_TEST(test_config_bad) {
	static const char *const bad[] = {"",
					  "hostname x\n",
					  "user y\n",
					  "hostname x\nuser y\nport 99999\n",
					  "hostname x\nuser y\nport -1\n",
					  "hostname x\nuser y\nconnecttimeout soon\n"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct cube_ssh_config c = {0};
		struct cube_err err;
		ck_assert_int_eq(cube_ssh_config_parse(bad[i], strlen(bad[i]), &c, &err),
				 CUBE_EUSAGE);
		ck_assert_ptr_null(c.hostname);
	}
}
END_TEST

START_TEST(test_names) {
	static const struct {
		const char *names, *host;
		bool match;
	} cases[] = {
		{"web1", "web1", true},
		{"WEB1", "web1", true},
		{"web1", "web11", false},
		{"a,web1,b", "web1", true},
		{"web?", "web1", true},
		{"*", "x", true},
		{"*.x.org", "a.b.x.org", true},
		{"*.x.org", "x.org", false},
		{"*,!web1", "web1", false},
		{"!web1", "web2", false},
		{"!web1,*", "web2", true},
		{"", "web1", false},
		{",,", "web1", false},
		{"[web1]:22??", "[web1]:2222", true},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXbXbX", false},
		{"!", "!", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		ck_assert_msg(cube_known_names_match(cases[i].names, strlen(cases[i].names),
						     cases[i].host) == cases[i].match,
			      "%s", cases[i].names);
}
END_TEST

START_TEST(test_known_line) {
	static const char *const bad[] = {"",
					  "# x y z",
					  "web1",
					  "web1 ssh-rsa",
					  "@other a b c",
					  "web1 1024 35 12345",
					  "a ssh-rsa AA*A",
					  "  \t\r"};
	struct cube_known_line l;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(!cube_known_line_parse(bad[i], strlen(bad[i]), &l), "%s", bad[i]);
	const char *good = " @revoked  a,b\tssh-ed25519 AAAA= a comment\r";
	for (size_t n = 0; n <= strlen(good); n++) {
		char *text = malloc(n ? n : 1);
		memcpy(text, good, n);
		cube_known_line_parse(text, n, &l);
		free(text);
	}
	ck_assert(cube_known_line_parse(good, strlen(good), &l));
	ck_assert(l.revoked && !l.ca);
	ck_assert_int_eq(strncmp(l.names, "a,b", l.names_len), 0);
	ck_assert_int_eq(strncmp(l.type, "ssh-ed25519", l.type_len), 0);
	ck_assert_uint_eq(l.key_len, 5);
	ck_assert(cube_known_line_parse("@cert-authority * ssh-rsa AA", 28, &l) && l.ca);
}
END_TEST

static bool verify_ed(const char *type) {
	return !strcmp(type, "ssh-ed25519");
}

START_TEST(test_verdict) {
	char ed[] = "ssh-ed25519", rsa[] = "ssh-rsa", k1[] = "K1", k2[] = "K2", k3[] = "K3";
	struct cube_known_entry e[] = {{.type = rsa, .key = k1}, {.type = ed, .key = k2}};
	struct cube_known both = {e, 2}, only_rsa = {e, 1}, none = {0};
	const struct cube_known_entry *bad;
	ck_assert_int_eq(cube_known_check(&none, ed, k2, verify_ed, &bad), CUBE_KNOWN_NEW);
	ck_assert_int_eq(cube_known_check(&both, ed, k2, verify_ed, &bad), CUBE_KNOWN_SAME);
	ck_assert_int_eq(cube_known_check(&both, ed, k3, verify_ed, &bad), CUBE_KNOWN_CHANGED);
	ck_assert_ptr_eq(bad, &e[1]);
	/* a type we could not have verified is no contradiction; one we could is */
	ck_assert_int_eq(cube_known_check(&only_rsa, ed, k2, verify_ed, &bad), CUBE_KNOWN_NEW);
	ck_assert_int_eq(cube_known_check(&both, "ecdsa", k3, verify_ed, &bad), CUBE_KNOWN_CHANGED);
	e[1].revoked = true;
	ck_assert_int_eq(cube_known_check(&both, ed, k2, verify_ed, &bad), CUBE_KNOWN_REVOKED);
	ck_assert_int_eq(cube_known_check(&both, ed, k3, verify_ed, &bad), CUBE_KNOWN_NEW);
}
END_TEST

START_TEST(test_append) {
	char dir[] = "/tmp/cube-known-XXXXXX";
	struct stat st;
	struct cube_known known = {0};
	struct cube_strv files = {0};
	ck_assert_ptr_nonnull(mkdtemp(dir));
	cube_autofree char *file = cube_strf("%s/.ssh/known_hosts", dir);
	cube_autofree char *folder = cube_strf("%s/.ssh", dir);
	umask(0);
	ck_assert_int_eq(cube_known_append(file, "web1", false, "ssh-ed25519", "AAAA", NULL), 0);
	ck_assert(stat(file, &st) == 0 && (st.st_mode & 0777) == 0600);
	ck_assert(stat(folder, &st) == 0 && (st.st_mode & 0777) == 0700);
	ck_assert_int_eq(truncate(file, 21), 0); /* a file without its last newline */
	ck_assert_int_eq(cube_known_append(file, "web2", false, "ssh-ed25519", "BBBB", NULL), 0);
	cube_strv_add(&files, "/nonexistent");
	cube_strv_add(&files, "/dev/null");
	cube_strv_add(&files, file);
	cube_known_load("web2", &files, &known);
	ck_assert_uint_eq(known.len, 1);
	ck_assert_uint_eq(known.v[0].line, 2);
	ck_assert_str_eq(known.v[0].key, "BBBB");
	cube_known_done(&known);
	cube_strv_done(&files);
	unlink(file);
	rmdir(folder);
	rmdir(dir);
}
END_TEST

/* However large the file is, and whatever stands in it, the last line counts as the first does. */
START_TEST(test_large_file) {
	enum { LARGE = 17 << 20, LONG = 40000 };
	char file[] = "/tmp/cube-known-XXXXXX";
	struct cube_known known = {0};
	struct cube_strv files = {0};
	static char text[LONG + 1];
	FILE *f = fdopen(mkstemp(file), "w");
	unsigned lines = 3;
	memset(text, 'x', LONG);
	fputs("web1 ssh-ed25519 AAAA\n", f);
	fprintf(f, "web1 ssh-ed25519 %s\n", text); /* longer than a line may be */
	while (ftell(f) < LARGE) {
		fprintf(f, "other%u,%.*s ssh-ed25519 CCCC\n", lines, (int)(lines % 997), text);
		lines++;
	}
	fputs("web1 ssh-rsa BBBB", f); /* and no newline */
	fclose(f);
	cube_strv_add(&files, file);
	cube_known_load("web1", &files, &known);
	unlink(file);
	ck_assert_uint_eq(known.len, 2);
	ck_assert_uint_eq(known.v[0].line, 1);
	ck_assert_str_eq(known.v[1].key, "BBBB");
	ck_assert_uint_eq(known.v[1].line, lines);
	cube_known_done(&known);
	cube_strv_done(&files);
}
END_TEST

/* A disk that fills up within the line: here a limit of the file's size does it. */
START_TEST(test_append_full) {
	char file[] = "/tmp/cube-known-XXXXXX";
	struct stat st;
	struct cube_err err;
	close(mkstemp(file));
	ck_assert_int_eq(cube_known_append(file, "web1", false, "ssh-ed25519", "AAAA", NULL), 0);
	ck_assert_int_eq(stat(file, &st), 0);
	struct rlimit limit = {(rlim_t)st.st_size + 10, RLIM_INFINITY}, none;
	getrlimit(RLIMIT_FSIZE, &none);
	sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	setrlimit(RLIMIT_FSIZE, &limit);
	int rc = cube_known_append(file, "web2", false, "ssh-ed25519", "BBBB", &err);
	off_t before = st.st_size;
	ck_assert_int_eq(stat(file, &st), 0);
	setrlimit(RLIMIT_FSIZE, &none);
	ck_assert_int_eq(rc, CUBE_ESYS);
	ck_assert_int_eq(st.st_size, before);
	unlink(file);
}
END_TEST

/* Many at once: every line is there, whole. */
START_TEST(test_append_together) {
	enum { WRITERS = 8, LINES = 50 };
	char file[] = "/tmp/cube-known-XXXXXX";
	struct cube_strv files = {0};
	close(mkstemp(file));
	for (int w = 0; w < WRITERS; w++) {
		if (fork()) continue;
		for (int i = 0; i < LINES; i++) {
			cube_autofree char *name = cube_strf("w%dn%d", w, i);
			cube_known_append(file, name, i % 2, "ssh-ed25519", "AAAA", NULL);
		}
		_exit(0);
	}
	while (wait(NULL) > 0) {}
	cube_strv_add(&files, file);
	for (int w = 0; w < WRITERS; w++) {
		for (int i = 0; i < LINES; i++) {
			struct cube_known known = {0};
			cube_autofree char *name = cube_strf("w%dn%d", w, i);
			cube_known_load(name, &files, &known);
			ck_assert_msg(known.len == 1, "%s: %zu", name, known.len);
			cube_known_done(&known);
		}
	}
	cube_strv_done(&files);
	unlink(file);
}
END_TEST

START_TEST(test_known_hash) {
	static const struct {
		const char *text, *hex;
	} sums[] = {
		{"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
		{"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
	};
	uint8_t sum[CUBE_SHA1_LEN];
	char hex[2 * CUBE_SHA1_LEN + 1];
	for (size_t i = 0; i < 3; i++) {
		cube_known_sha1(sums[i].text, strlen(sums[i].text), sum);
		for (size_t k = 0; k < sizeof sum; k++) snprintf(hex + 2 * k, 3, "%02x", sum[k]);
		ck_assert_str_eq(hex, sums[i].hex);
	}
	cube_known_hmac((const uint8_t *)"Jefe", 4, "what do ya want for nothing?", sum);
	ck_assert(sum[0] == 0xef && sum[1] == 0xfc && sum[19] == 0x79); /* RFC 2202, 2 */
	cube_autofree char *word = cube_known_hash("[web1]:2222");
	cube_autofree char *other = cube_known_hash("[web1]:2222");
	ck_assert_str_ne(word, other);
	ck_assert(cube_known_hash_match(word, strlen(word), "[web1]:2222"));
	ck_assert(!cube_known_hash_match(word, strlen(word), "[web1]:2223"));
	for (size_t n = 0; n < strlen(word); n++)
		ck_assert(!cube_known_hash_match(word, n, "[web1]:2222"));
}
END_TEST

START_TEST(test_keyfile) {
	struct cube_keyfile k;
	cube_keyfile_parse("ssh-ed25519 AAAA me\n", &k);
	ck_assert(k.public_only && !k.locked);
	ck_assert_str_eq(k.pub, "AAAA");
	free(k.pub);
	cube_keyfile_parse("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", &k);
	ck_assert(k.locked && !k.pub && !k.public_only);
	cube_keyfile_parse("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n", &k);
	ck_assert(!k.locked && !k.pub);
	cube_keyfile_parse("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA", &k);
	ck_assert(!k.locked && !k.pub);
}
END_TEST

START_TEST(test_refuses_sha1) {
	static const struct {
		const char *banner;
		bool refuses;
	} cases[] = {{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", true},
		     {"SSH-2.0-OpenSSH_8.8", true},
		     {"SSH-2.0-OpenSSH_10.0p2", true},
		     {"SSH-2.0-OpenSSH_8.7p1", false},
		     {"SSH-2.0-OpenSSH_for_Windows_8.1", false},
		     {"SSH-2.0-dropbear_2022.83", false},
		     {NULL, false}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		ck_assert_msg(cube_ssh_refuses_sha1(cases[i].banner) == cases[i].refuses, "%s",
			      cases[i].banner);
}
END_TEST

START_TEST(test_known_name) {
	static const struct {
		const char *host, *alias, *name;
		uint16_t port;
	} cases[] = {{"Web1", NULL, "web1", 22},
		     {"Web1", NULL, "[web1]:2222", 2222},
		     {"::1", NULL, "[::1]:2222", 2222},
		     {"x", "Farm", "farm", 2222}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		cube_autofree char *name =
			cube_known_name(cases[i].host, cases[i].port, cases[i].alias);
		ck_assert_str_eq(name, cases[i].name);
	}
}
END_TEST

START_TEST(test_hops) {
	static const struct {
		const char *text, *user, *host, *port;
	} cases[] = {{"box", NULL, "box", NULL},         {"bob@box:33", "bob", "box", "33"},
		     {"ssh://d@e:5", "d", "e", "5"},     {"u@[::1]:9", "u", "::1", "9"},
		     {"fe80::1", NULL, "fe80::1", NULL}, {"a@b@c", "a@b", "c", NULL},
		     {"[::1", NULL, "[::1", NULL}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct cube_jump_hop hop;
		cube_jump_parse(cases[i].text, &hop);
		ck_assert_pstr_eq(hop.user, cases[i].user);
		ck_assert_str_eq(hop.host, cases[i].host);
		ck_assert_pstr_eq(hop.port, cases[i].port);
		cube_jump_hop_done(&hop);
	}
}
END_TEST

START_TEST(test_proxy_words) {
	char host[] = "h", user[] = "u";
	struct cube_ssh_config c = {.hostname = host, .user = user, .port = 22};
	struct cube_proxy_spec spec = {.host = "orig", .config = &c};
	cube_autofree char *line = cube_proxy_expand("x %h:%p %r %n %% %z %", &spec);
	ck_assert_str_eq(line, "x h:22 u orig % %z %");
}
END_TEST

int main(void) {
	Suite *suite = suite_create("transport_parse");
	TCase *tc = tcase_create("parse");
	tcase_add_test(tc, test_config);
	tcase_add_test(tc, test_config_cut);
	tcase_add_test(tc, test_config_bad);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_known_line);
	tcase_add_test(tc, test_verdict);
	tcase_add_test(tc, test_append);
	tcase_add_test(tc, test_large_file);
	tcase_add_test(tc, test_known_name);
	tcase_add_test(tc, test_append_full);
	tcase_add_test(tc, test_append_together);
	tcase_add_test(tc, test_known_hash);
	tcase_add_test(tc, test_keyfile);
	tcase_add_test(tc, test_refuses_sha1);
	tcase_add_test(tc, test_hops);
	tcase_add_test(tc, test_proxy_words);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
