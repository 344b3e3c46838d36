#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/hosts.h"
#include "cube/mem.h"

static int parse(struct cube_hosts *h, const char *text, struct cube_err *err) {
	return cube_hosts_parse(h, text, strlen(text), "hosts", err);
}

static void parse_good(struct cube_hosts *h, const char *text) {
	struct cube_err err;

	*h = (struct cube_hosts){0};
	if (parse(h, text, &err) != 0) ck_abort_msg("%s", err.msg);
}

/* The names an expression stands for, with the file's groups. */
static char *members(struct cube_hosts *h, const char *expr) {
	struct cube_nodeset_source source = {.group = cube_hosts_group, .arg = h};
	struct cube_nodeset set = {0};
	struct cube_err err;
	struct cube_buf b;

	if (cube_nodeset_parse(&set, expr, &source, &err) != 0)
		ck_abort_msg("%s: %s", expr, err.msg);
	cube_buf_init(&b, 1 << 20);
	for (size_t i = 0; i < set.len; i++)
		cube_buf_printf(&b, "%s%s", i ? " " : "", set.v[i].name);
	cube_nodeset_done(&set);
	return cube_buf_take(&b, NULL);
}

static void same_members(struct cube_hosts *h, const char *expr, const char *want) {
	char *got = members(h, expr);

	if (strcmp(got, want)) ck_abort_msg("%s: %s", expr, got);
	free(got);
}

/* Everything that is said of a host, in one line. */
static char *described(const struct cube_hosts_entry *e) {
	return cube_strf("%s host=%s user=%s port=%u key=%s slots=%u labels=%s%s", e->host.name,
			 e->host.host, e->host.user ? e->host.user : "-", e->host.port,
			 e->key ? e->key : "-", e->slots, e->labels ? e->labels : "-",
			 e->host.local ? " local" : "");
}

static void same_hosts(const struct cube_hosts *h, const char *const *want) {
	size_t i;

	for (i = 0; i < h->len && want[i]; i++) {
		char *got = described(&h->v[i]);

		if (strcmp(got, want[i])) ck_abort_msg("%s\nnot %s", got, want[i]);
		ck_assert_ptr_eq(cube_hosts_find(h, h->v[i].host.name), &h->v[i]);
		free(got);
	}
	ck_assert_uint_eq(i, h->len);
	ck_assert_ptr_null(want[i]);
}

START_TEST(options) {
	static const char *const want[] = {
		"web1 host=10.0.0.8 user=ubuntu port=2222 key=~/.ssh/fleet slots=4 labels=gpu,zone=eu",
		"web2 host=10.0.0.9 user=root port=2222 key=~/.ssh/fleet slots=9 labels=gpu,zone=eu",
		"db1 host=db1 user=- port=0 key=- slots=0 labels=-",
		"e1:22 host=e1 user=u port=22 key=- slots=0 labels=-",
		"web9:22 host=web9 user=deploy port=22 key=- slots=8 labels=-",
		"b1 host=b1 user=- port=0 key=k slots=2 labels=-",
		"b2 host=b2 user=- port=0 key=k slots=3 labels=-",
		"localhost host= user=- port=0 key=- slots=6 labels=- local",
		"localhost-1 host= user=- port=0 key=- slots=0 labels=a local",
		"localhost-2 host= user=- port=0 key=- slots=0 labels=a local",
		"vm host=localhost user=- port=2201 key=- slots=0 labels=-",
		"six host=2001:db8::1 user=- port=0 key=- slots=0 labels=-",
		NULL,
	};
	struct cube_hosts h;

	parse_good(&h, "\xef\xbb\xbf# comment\n"
		       "web[1-2] user=ubuntu port=2222 key=~/.ssh/fleet slots=4 "
		       "labels=gpu,zone=eu host=10.0.0.[8-9]\r\n"
		       "\n\t db1 # key=none\n"
		       "u@e1:22\n"
		       "8/deploy@web9:22\n"
		       "2/b1 3/b2 key=k\n"
		       "6/:\n"
		       "localhost*2 labels=a\n"
		       "vm host=localhost port=2201\n"
		       "six host=[2001:db8::1]\n"
		       "root@web2 slots=9"); /* later wins; no newline at the end */
	same_hosts(&h, want);
	ck_assert_ptr_null(cube_hosts_find(&h, "web3"));
	ck_assert_ptr_null(cube_hosts_find(&h, ""));
	cube_hosts_done(&h);
	cube_hosts_done(&h);
	cube_hosts_done(NULL);
	ck_assert_ptr_null(cube_hosts_find(&h, "web1"));
}
END_TEST

START_TEST(groups) {
	struct cube_hosts h;
	struct cube_err err;
	char *text = NULL;

	parse_good(&h, "free[1-2]\n"
		       "[gpu] # cards\n"
		       "web[1-2] db1 slots=2\n"
		       "@late\n" /* defined below */
		       "[late]\n"
		       "4/u@x9:22\n"
		       ":\n"
		       "[gpu]\n" /* again */
		       "web7!web7 a!b\n"
		       "[1-2]x\n"); /* a range, no group */
	same_members(&h, "@gpu", "web1 web2 db1 x9:22 localhost a 1x 2x");
	same_members(&h, "@late", "x9:22 localhost");
	same_members(&h, "@*!@gpu", "");
	same_members(&h, "@gpu&web[1-9]", "web1 web2");
	ck_assert_uint_eq(h.ngroups, 2);
	ck_assert_uint_eq(cube_hosts_find(&h, "db1")->slots, 2);
	ck_assert_ptr_nonnull(cube_hosts_find(&h, "free2"));
	ck_assert_ptr_nonnull(cube_hosts_find(&h, "2x"));
	ck_assert(cube_hosts_find(&h, "localhost")->host.local);
	ck_assert_int_eq(cube_hosts_group(&h, "gup", &text, &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "there is no group \"gup\"; did you mean \"gpu\"?");
	ck_assert_int_eq(cube_hosts_group(&h, "production", &text, &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "there is no group \"production\"");
	cube_hosts_done(&h);
	ck_assert_int_eq(cube_hosts_group(&h, "x", &text, NULL), CUBE_EUSAGE);
	ck_assert_ptr_null(text);
}
END_TEST

/* The last one's transport, for a line's end. */
static void same_transport(const char *line, const char *want) {
	struct cube_hosts h;

	parse_good(&h, line);
	ck_assert_pstr_eq(h.v[h.len - 1].transport, want);
	cube_hosts_done(&h);
}

START_TEST(jump_and_transport) {
	struct cube_hosts h;

	parse_good(&h, "a b jump=bastion,me@[::1]:2222 transport=openssh\n"
		       "[g]\n"
		       "b jump=none slots=2\n"
		       "c transport=\"docker exec -i {host}\" slots=3 # \"\n");
	ck_assert_str_eq(cube_hosts_find(&h, "a")->jump, "bastion,me@[::1]:2222");
	ck_assert_str_eq(cube_hosts_find(&h, "a")->transport, "openssh");
	ck_assert_str_eq(cube_hosts_find(&h, "b")->jump, "none");
	ck_assert_str_eq(cube_hosts_find(&h, "c")->transport, "docker exec -i {host}");
	ck_assert_uint_eq(cube_hosts_find(&h, "c")->slots, 3);
	ck_assert_pstr_eq(cube_hosts_find(&h, "c")->jump, NULL);
	ck_assert_uint_eq(h.len, 3);
	cube_hosts_done(&h);
	same_transport("a transport='x \"y\" \\ # z'", "x \"y\" \\ # z");
	same_transport("a transport=\"x \\\"y\\\" \\\\ \\n 'z'\"\t", "x \"y\" \\ \\n 'z'");
	same_transport("a transport=x\"y=\"z", "x\"y=\"z"); /* no quote at its begin */
	same_transport("a transport='sh -c' slots=1\n", "sh -c");
}
END_TEST

/* Options of a group are for each of its members. */
START_TEST(options_of_a_group) {
	struct cube_hosts h;

	parse_good(&h, "@g slots=3\n[g]\na b\n@g2 labels=x\n[g2]\nc slots=1\n");
	ck_assert_uint_eq(cube_hosts_find(&h, "a")->slots, 3);
	ck_assert_uint_eq(cube_hosts_find(&h, "b")->slots, 3);
	ck_assert_uint_eq(cube_hosts_find(&h, "c")->slots, 1);
	ck_assert_pstr_eq(cube_hosts_find(&h, "a")->labels, NULL);
	ck_assert_pstr_eq(cube_hosts_find(&h, "c")->labels, "x");
	cube_hosts_done(&h);
}
END_TEST

START_TEST(errors) {
	static const struct {
		const char *text;
		int code;
		const char *msg;
	} rows[] = {
		{"a\n\nb$\n", CUBE_EUSAGE,
		 "hosts:3: \"b$\" at column 2: this character cannot be in a host name"},
		{"a\n  x 8/web[1-\n", CUBE_EUSAGE,
		 "hosts:2: \"web[1-\" at column 13: it ends where a number is expected"},
		{"a port=0", CUBE_EUSAGE,
		 "hosts:1: port: \"0\" is not a whole number from 1 to 65535"},
		{"a slots=x", CUBE_EUSAGE,
		 "hosts:1: slots: \"x\" is not a whole number from 1 to 65536"},
		{"0/a", CUBE_EUSAGE, "hosts:1: slots: \"0\" is not a whole number from 1 to 65536"},
		{"a user=", CUBE_EUSAGE, "hosts:1: user= has no value"},
		{"a user=-x", CUBE_EUSAGE,
		 "hosts:1: user: \"-x\" has characters other than letters, digits and ._+-"},
		{"a labels=x,,y", CUBE_EUSAGE,
		 "hosts:1: labels: \"x,,y\" is not like gpu,zone=eu (letters, digits and ._-/)"},
		{"a labels==y", CUBE_EUSAGE,
		 "hosts:1: labels: \"=y\" is not like gpu,zone=eu (letters, digits and ._-/)"},
		{"a slot=2", CUBE_EUSAGE,
		 "hosts:1: there is no option \"slot\"; did you mean slots=?"},
		{"a ansible_connection=ssh", CUBE_EUSAGE,
		 "hosts:1: there is no option \"ansible_connection\"; known are user, port, key, jump, "
		 "transport, slots, labels and host"},
		{"a jump=-oX=y", CUBE_EUSAGE,
		 "hosts:1: jump: \"-oX=y\" is not like user@host:port"},
		{"a jump=b,-x", CUBE_EUSAGE, "hosts:1: jump: \"b,-x\" is not like user@host:port"},
		{"a jump='b c'", CUBE_EUSAGE, "hosts:1: jump: \"b c\" is not like user@host:port"},
		{"a jump=$(x)", CUBE_EUSAGE, "hosts:1: jump: \"$(x)\" is not like user@host:port"},
		{"a jump=b;c", CUBE_EUSAGE, "hosts:1: jump: \"b;c\" is not like user@host:port"},
		{"a transport=''", CUBE_EUSAGE, "hosts:1: transport= has no value"},
		{"a\nb transport='x y", CUBE_EUSAGE, "hosts:2: a ' without its end"},
		{"[g]\nb transport=\"x\\\"", CUBE_EUSAGE, "hosts:2: a \" without its end"},
		{"b transport=\"x\"y", CUBE_EUSAGE, "hosts:1: no blank behind the closing \""},
		{"localhost transport=x", CUBE_EUSAGE,
		 "hosts:1: localhost is reached without ssh: user, port, key, jump, transport and "
		 "host say nothing; write 127.0.0.1 for ssh"},
		{"slots=2", CUBE_EUSAGE, "hosts:1: options without a host"},
		{"a!a slots=2", CUBE_EUSAGE, "hosts:1: options without a host"},
		{"a[1-3] host=10.0.0.[1-2]", CUBE_EUSAGE,
		 "hosts:1: host= names 2 for the line's 3 hosts"},
		{"a host=u@b", CUBE_EUSAGE,
		 "hosts:1: host: \"u@b\" is more than an address; user= and port= say the rest"},
		{"a host=b$", CUBE_EUSAGE,
		 "hosts:1: \"b$\" at column 9: this character cannot be in a host name"},
		{"a host=@g\n[g]\nb", CUBE_EUSAGE,
		 "hosts:1: group \"g\": groups cannot be used here"},
		{"a\nlocalhost user=x", CUBE_EUSAGE,
		 "hosts:2: localhost is reached without ssh: user, port, key, jump, transport and "
		 "host say nothing; write 127.0.0.1 for ssh"},
		{"[g] a", CUBE_EUSAGE, "hosts:1: a [group] stands alone in its line"},
		{"[]", CUBE_EUSAGE, "hosts:1: \"\" is no group name: letters, digits and ._- only"},
		{"[a*]", CUBE_EUSAGE,
		 "hosts:1: \"a*\" is no group name: letters, digits and ._- only"},
		{"a\n[g]\n@gg\n", CUBE_EUSAGE,
		 "hosts:3: there is no group \"gg\"; did you mean \"g\"?"},
		{"@g", CUBE_EUSAGE, "hosts:1: there is no group \"g\": no groups are defined"},
		{"[g]\n@h\n[h]\n@g", CUBE_ETOOBIG,
		 "hosts:2: group \"h\": groups and files nest deeper than 16; does it contain itself?"},
		{"^/etc/hosts", CUBE_EUSAGE,
		 "hosts:1: file \"/etc/hosts\": files cannot be used here"},
		{"n[1-100000]\nm", CUBE_ETOOBIG, "hosts:2: more than 100000 hosts"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_hosts h = {0};
		struct cube_err err = {0};
		int rc = parse(&h, rows[i].text, &err);

		if (rc != rows[i].code || err.code != rc) ck_abort_msg("%s: %d", rows[i].text, rc);
		if (strcmp(err.msg, rows[i].msg))
			ck_abort_msg("%s:\n got %s\nwant %s", rows[i].text, err.msg, rows[i].msg);
		ck_assert_int_eq(parse(&h, rows[i].text, NULL), rc);
		ck_assert_uint_eq(h.len, 0);
		ck_assert_ptr_null(h.v);
		ck_assert_ptr_null(h.groups);
	}
}
END_TEST

START_TEST(limits) {
	struct cube_hosts h = {0};
	struct cube_err err;
	size_t n = (1 << 20) + 1;
	char *text = cube_alloc(n + 1);

	memset(text, '\n', n);
	ck_assert_int_eq(cube_hosts_parse(&h, text, n, "f", &err), CUBE_ETOOBIG);
	ck_assert_str_eq(err.msg, "f: larger than 1048576 bytes");
	ck_assert_int_eq(cube_hosts_parse(&h, text, n - 1, "f", &err), 0);
	memset(text + 1, '#', 4096);
	ck_assert_int_eq(cube_hosts_parse(&h, text, n - 1, "f", &err), 0);
	text[4097] = '#';
	ck_assert_int_eq(cube_hosts_parse(&h, text, n - 1, "f", &err), CUBE_ETOOBIG);
	ck_assert_str_eq(err.msg, "f:2: a line longer than 4096 bytes");
	ck_assert_int_eq(cube_hosts_parse(&h, "a\nb\0c", 5, "f", &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "f:2: a NUL byte");
	ck_assert_int_eq(cube_hosts_parse(&h, NULL, 0, "f", &err), 0);
	free(text);
}
END_TEST

/* Many hosts, and groups that would multiply them without end: soon done, or refused. */
START_TEST(large) {
	struct cube_hosts h = {0};
	struct cube_err err;
	struct cube_buf b;

	cube_buf_init(&b, 1 << 20);
	cube_buf_addstr(&b, "[all]\n");
	for (int i = 0; i < 90000; i++) cube_buf_printf(&b, "h%x x%d\n", i, i % 10);
	if (cube_hosts_parse(&h, cube_buf_str(&b), cube_buf_len(&b), "f", &err) != 0)
		ck_abort_msg("%s", err.msg);
	ck_assert_uint_eq(h.len, 90010);
	ck_assert_ptr_nonnull(cube_hosts_find(&h, "h15f8f"));
	cube_hosts_done(&h);
	cube_buf_clear(&b);
	cube_buf_addstr(&b, "[a]\nn[1-100000]\n");
	for (int i = 0; i < 100000; i++) cube_buf_addstr(&b, "@a\n");
	ck_assert_int_eq(cube_hosts_parse(&h, cube_buf_str(&b), cube_buf_len(&b), "f", &err),
			 CUBE_ETOOBIG);
	cube_buf_done(&b);
}
END_TEST

static const char sample[] = "a[1-3] user=x labels=g,z=1 host=10.0.0.[1-3]\n[g]\n2/u@b:22 @h\r\n"
			     "[h]\n[::1]:22 slots=1 # c\nlocalhost*2\n"
			     "c jump=b transport=\"x \\\"y\" key='k k'\n";

/* Cut or changed anywhere: refused with the line, or a list whose hosts can all be found. */
START_TEST(mutations) {
	static const char chars[] = "a1[]-,/!&^@:*=. \n#\"'\\\x01\xff";

	for (size_t at = 0; at < sizeof sample - 1; at++)
		for (size_t c = 0; c <= sizeof chars; c++) {
			struct cube_hosts h = {0};
			struct cube_err err = {0};
			size_t n = c == sizeof chars ? at : sizeof sample - 1;
			char *text = malloc(n + 1);

			memcpy(text, sample, n);
			if (c < sizeof chars) text[at] = chars[c];
			if (cube_hosts_parse(&h, text, n, "hosts", &err) != 0)
				ck_assert_int_eq(strncmp(err.msg, "hosts:", 6), 0);
			for (size_t i = 0; i < h.len; i++)
				ck_assert_ptr_eq(cube_hosts_find(&h, h.v[i].host.name), &h.v[i]);
			cube_hosts_done(&h);
			free(text);
		}
}
END_TEST

static char *read_example(size_t *ret_n) {
	static const char *const places[] = {"hosts.example", "../hosts.example",
					     "../../hosts.example", "../../../hosts.example",
					     "../../../../hosts.example"};
	char *text = cube_alloc(1 << 16);

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		FILE *f = fopen(places[i], "re");

		if (!f) continue;
		*ret_n = fread(text, 1, 1 << 16, f);
		fclose(f);
		return text;
	}
	ck_abort_msg("hosts.example is not found from the present folder");
	return text;
}

START_TEST(the_example) {
	struct cube_hosts h = {0};
	struct cube_err err;
	size_t n = 0;
	char *text = read_example(&n), *got;

	if (cube_hosts_parse(&h, text, n, "hosts.example", &err) != 0) ck_abort_msg("%s", err.msg);
	ck_assert_uint_eq(h.len, 37);
	same_members(&h, "@front", "web1 web2 web3 web4 edge1:2222 edge2:2222");
	same_members(&h, "@spare", "web5 web6 web7 web8 cache1 cache2");
	same_members(&h, "@all!@front!@back", "gpu1 gpu2 gpu3");
	got = described(cube_hosts_find(&h, "gpu2"));
	ck_assert_str_eq(got, "gpu2 host=10.0.0.12 user=- port=0 key=- slots=2 labels=gpu,zone=eu");
	free(got);
	got = described(cube_hosts_find(&h, "batch2:2200"));
	ck_assert_str_eq(got,
			 "batch2:2200 host=batch2 user=deploy port=2200 key=- slots=2 labels=-");
	free(got);
	ck_assert_ptr_null(cube_hosts_find(&h, "r2n4"));
	cube_hosts_done(&h);
	free(text);
}
END_TEST

int main(void) {
	Suite *s = suite_create("hosts");
	TCase *tc = tcase_create("hosts");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, options);
	tcase_add_test(tc, groups);
	tcase_add_test(tc, jump_and_transport);
	tcase_add_test(tc, options_of_a_group);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, large);
	tcase_add_test(tc, mutations);
	tcase_add_test(tc, the_example);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
