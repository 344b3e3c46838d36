#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cube/mem.h"
#include "cube/nodeset.h"
#include "hostile.h"

/* ---- sources ------------------------------------------------------------------------------ */

static const char *const groups[][2] = {
	{"web", "web[1-4]"}, {"db", "db1\ndb2 # comment\n\n"}, {"mix", "@web!web2\n@db"},
	{"loop", "@loop"},   {"bad", "ok1\nok2\nno$pe"},       {"*", "@web\n@db"},
	{"deep", "^d1"},     {"empty", "# nothing\n"},
};
static const char *const files[][2] = {
	{"list", "# hosts\nweb1\r\n  web2 , db[1-2]   # two\n\n@web&web3\n"},
	{"-", "stdin1\n"},
	{"nest", "a1\n^list\n"},
	{"self", "^self\n"},
	{"sub", "a1\na2!a1\n"},
	{"broken", "a1\n\n  a[3\n"},
};

static int look_up(const char *const (*table)[2], size_t n, const char *name, char **ret,
		   struct cube_err *err) {
	for (size_t i = 0; i < n; i++)
		if (!strcmp(table[i][0], name)) {
			*ret = cube_strdup(table[i][1]);
			return 0;
		}
	return cube_fail(err, CUBE_EUSAGE, "there is no %s", name);
}

static int from_groups(void *arg, const char *name, char **ret, struct cube_err *err) {
	return look_up(groups, sizeof groups / sizeof groups[0], name, ret, err);
}

static int from_files(void *arg, const char *name, char **ret, struct cube_err *err) {
	unsigned level;

	if (sscanf(name, "d%u", &level) == 1) { /* d1 leads to d2, ... d15 to a host */
		*ret = level < 15 ? cube_strf("^d%u", level + 1) : cube_strdup("bottom");
		return 0;
	}
	return look_up(files, sizeof files / sizeof files[0], name, ret, err);
}

static const struct cube_nodeset_source source = {.group = from_groups, .file = from_files};

static char *joined(const struct cube_nodeset *set) {
	struct cube_buf b;

	cube_buf_init(&b, 64 << 20);
	for (size_t i = 0; i < set->len; i++)
		cube_buf_printf(&b, "%s%s", i ? " " : "", set->v[i].name);
	return cube_buf_take(&b, NULL);
}

/* ---- tables ------------------------------------------------------------------------------- */

static const struct {
	const char *expr, *want;
} good[] = {
	{"", ""},
	{" , ,", ""},
	{"a", "a"},
	{"web[1-3]", "web1 web2 web3"},
	{"web[1-3,10]", "web1 web2 web3 web10"},
	{"web[08-11]", "web08 web09 web10 web11"},
	{"web[098-101]", "web098 web099 web100 web101"},
	{"web[98-101]", "web98 web99 web100 web101"},
	{"web[01-5]", "web01 web02 web03 web04 web05"},
	{"web[1,01,001]", "web1 web01 web001"},
	{"web[0-2]", "web0 web1 web2"},
	{"web[00-02]", "web00 web01 web02"},
	{"web[7]", "web7"},
	{"[1-3]", "1 2 3"},
	{"[1-2]x", "1x 2x"},
	{"web[1-9/2]", "web1 web3 web5 web7 web9"},
	{"web[1-10/4,2]", "web1 web5 web9 web2"},
	{"web[1-2/999]", "web1"},
	{"n[999999999999999998-999999999999999999]", "n999999999999999998 n999999999999999999"},
	{"r[1-2]n[1-3]", "r1n1 r1n2 r1n3 r2n1 r2n2 r2n3"},
	{"r[1,3]n[01-02]-x[8-9]",
	 "r1n01-x8 r1n01-x9 r1n02-x8 r1n02-x9 r3n01-x8 r3n01-x9 r3n02-x8 r3n02-x9"},
	{"10.0.0.[1-2]", "10.0.0.1 10.0.0.2"},
	{"a,b c\td\ne", "a b c d e"},
	{"b,a,b,c,a", "b a c"},
	{"web[1-3,2-4]", "web1 web2 web3 web4"},
	{"web[1-5]!web[2-3]", "web1 web4 web5"},
	{"web[1-5]&web[3-9]", "web3 web4 web5"},
	{"web[1-3]^web[3-5]", "web1 web2 web4 web5"},
	{"a,b!a", "b"}, /* left to right, over all that stands before */
	{"a,b!a,a", "b a"},
	{"a!a", ""},
	{"a!b&a^c", "a c"},
	{"a^a^a", "a"},
	{"a[1-6]&a[2-9]!a3^a[4,7]", "a2 a5 a6 a7"},
	{"@web", "web1 web2 web3 web4"},
	{"@db", "db1 db2"},
	{"@mix", "web1 web3 web4 db1 db2"}, /* each line for itself */
	{"@*", "web1 web2 web3 web4 db1 db2"},
	{"@*!@db", "web1 web2 web3 web4"},
	{"@empty", ""},
	{"@web&web[2-9],x", "web2 web3 web4 x"},
	{"^list", "web1 web2 db1 db2 web3"},
	{"^-", "stdin1"},
	{"x,^- y", "x stdin1 y"},
	{"a^^-", "a stdin1"},
	{"stdin1,b!^-", "b"},
	{"^nest", "a1 web1 web2 db1 db2 web3"},
	{"a1,^sub", "a1 a2"}, /* a file's ! does not reach out of it */
	{"@deep", "bottom"},
	{"u@web1", "web1"},
	{"u@web[1-2]:2222", "web1:2222 web2:2222"},
	{"web1 web1:22", "web1 web1:22"},
	{"[2001:db8::1]", "[2001:db8::1]"},
	{"root@[2001:db8::1]:22 [::1]", "[2001:db8::1]:22 [::1]"},
	{"localhost", "localhost"},
	{"localhost*3", "localhost-1 localhost-2 localhost-3"},
	{"localhost*3!localhost-2", "localhost-1 localhost-3"},
	{"_x-y.example.com", "_x-y.example.com"},
};

START_TEST(expressions) {
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct cube_nodeset set = {0};
		struct cube_err err;
		char *got;

		if (cube_nodeset_parse(&set, good[i].expr, &source, &err) != 0)
			ck_abort_msg("%s: %s", good[i].expr, err.msg);
		got = joined(&set);
		if (strcmp(got, good[i].want)) ck_abort_msg("%s: %s", good[i].expr, got);
		free(got);
		cube_nodeset_done(&set);
	}
}
END_TEST

static const struct {
	const char *expr;
	int code;
	const char *msg;
} bad[] = {
	{"web[1-3", CUBE_EUSAGE, "\"web[1-3\" at column 8: the bracket is not closed"},
	{"a,web[1-", CUBE_EUSAGE, "\"web[1-\" at column 9: it ends where a number is expected"},
	{"web[]", CUBE_EUSAGE, "\"web[]\" at column 5: a number is expected here"},
	{"web[1,]", CUBE_EUSAGE, "\"web[1,]\" at column 7: a number is expected here"},
	{"web[a]", CUBE_EUSAGE, "\"web[a]\" at column 5: a number is expected here"},
	{"web[1x]", CUBE_EUSAGE,
	 "\"web[1x]\" at column 6: only numbers, - / and , belong in brackets"},
	{"web[3-1]", CUBE_EUSAGE, "\"web[3-1]\" at column 7: the range runs backwards"},
	{"web[1-010]", CUBE_EUSAGE,
	 "\"web[1-010]\" at column 7: both ends need the same number of digits"},
	{"web[1-9/0]", CUBE_EUSAGE, "\"web[1-9/0]\" at column 9: a step of 0"},
	{"web[1234567890123456789]", CUBE_EUSAGE,
	 "\"web[1234567890123456789]\" at column 5: the number is too long"},
	{"web]", CUBE_EUSAGE, "\"web]\" at column 4: this character cannot be in a host name"},
	{"ok we$b no", CUBE_EUSAGE,
	 "\"we$b\" at column 6: this character cannot be in a host name"},
	{"a;rm", CUBE_EUSAGE, "\"a;rm\" at column 2: this character cannot be in a host name"},
	{"a\x1b[2J", CUBE_EUSAGE,
	 "\"a\\x1b[2J\" at column 2: this character cannot be in a host name"},
	{"\xc3\xa4", CUBE_EUSAGE, "\"\\xc3\\xa4\" at column 1: a host name is missing"},
	{"-oProxyCommand", CUBE_EUSAGE,
	 "\"-oProxyCommand\" at column 1: a name begins with a letter, a digit or _"},
	{"u@-x", CUBE_EUSAGE, "\"u@-x\" at column 3: a name begins with a letter, a digit or _"},
	{"-l@x", CUBE_EUSAGE, "\"-l@x\" at column 1: a user begins with a letter, a digit or _"},
	{"..", CUBE_EUSAGE, "\"..\" at column 1: a name begins with a letter, a digit or _"},
	{"u@", CUBE_EUSAGE, "\"u@\" at column 3: a host name is missing"},
	{"u@v@w", CUBE_EUSAGE, "\"u@v@w\" at column 4: this character cannot be in a host name"},
	{"a:", CUBE_EUSAGE, "\"a:\" at column 3: it ends where a number is expected"},
	{"a:0", CUBE_EUSAGE, "\"a:0\" at column 3: a port is a number from 1 to 65535"},
	{"a:65536", CUBE_EUSAGE, "\"a:65536\" at column 3: a port is a number from 1 to 65535"},
	{"a:22x", CUBE_EUSAGE, "\"a:22x\" at column 5: this character cannot be in a host name"},
	{"::1", CUBE_EUSAGE, "\"::1\" at column 1: a host name is missing"},
	{"[1:2:z]", CUBE_EUSAGE, "\"[1:2:z]\" at column 1: not an IPv6 address"},
	{"[::1]x", CUBE_EUSAGE, "\"[::1]x\" at column 6: this character cannot be in a host name"},
	{"web*3", CUBE_EUSAGE, "\"web*3\" at column 4: only localhost can be multiplied"},
	{"u@localhost*3", CUBE_EUSAGE,
	 "\"u@localhost*3\" at column 12: only localhost can be multiplied"},
	{"localhost*0", CUBE_EUSAGE, "\"localhost*0\" at column 11: no hosts at all"},
	{"localhost*", CUBE_EUSAGE,
	 "\"localhost*\" at column 11: it ends where a number is expected"},
	{"!a", CUBE_EUSAGE, "\"!a\" at column 1: nothing stands before the operator"},
	{"a &b", CUBE_EUSAGE, "\"&b\" at column 3: nothing stands before the operator"},
	{"a! b", CUBE_EUSAGE, "\"!\" at column 2: nothing follows the operator"},
	{"a&", CUBE_EUSAGE, "\"&\" at column 2: nothing follows the operator"},
	{"a!!b", CUBE_EUSAGE, "\"!!b\" at column 2: nothing follows the operator"},
	{"@", CUBE_EUSAGE, "\"@\" at column 1: the group's name is missing"},
	{"a,^,b", CUBE_EUSAGE, "\"^\" at column 3: the file's name is missing"},
	{"@w[1-2]", CUBE_EUSAGE,
	 "\"@w[1-2]\" at column 1: a group's name is of letters, digits and ._-:"},
	{"@nope", CUBE_EUSAGE, "there is no nope"},
	{"@bad", CUBE_EUSAGE,
	 "group \"bad\": \"no$pe\" at column 3: this character cannot be in a host name"},
	{"^broken", CUBE_EUSAGE,
	 "\"broken\" line 3: \"a[3\" at column 6: the bracket is not closed"},
	{"@loop", CUBE_ETOOBIG,
	 "group \"loop\": groups and files nest deeper than 16; does it contain itself?"},
	{"^self", CUBE_ETOOBIG,
	 "file \"self\": groups and files nest deeper than 16; does it contain itself?"},
	{"n[1-100001]", CUBE_ETOOBIG, "\"n[1-100001]\" at column 1: more than 100000 hosts"},
	{"n[0-999999999999999999]", CUBE_ETOOBIG,
	 "\"n[0-999999999999999999]\" at column 1: more than 100000 hosts"},
	{"n[1-1000]m[1-1000]", CUBE_ETOOBIG,
	 "\"n[1-1000]m[1-1000]\" at column 1: more than 100000 hosts"},
	{"n[1-100000],x", CUBE_ETOOBIG, "more than 100000 hosts"},
	{"localhost*100001", CUBE_ETOOBIG,
	 "\"localhost*100001\" at column 1: more than 100000 hosts"},
	{"a[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]", CUBE_ETOOBIG,
	 "\"a[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]\" at column 1: "
	 "more than 16 ranges in one name"},
};

START_TEST(errors) {
	struct cube_nodeset set = {0};

	ck_assert_int_eq(cube_nodeset_parse(&set, "keep me", NULL, NULL), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct cube_err err = {0};
		char *names;
		int rc = cube_nodeset_parse(&set, bad[i].expr, &source, &err);

		if (rc != bad[i].code || err.code != rc) ck_abort_msg("%s: %d", bad[i].expr, rc);
		if (strcmp(err.msg, bad[i].msg))
			ck_abort_msg("%s:\n got %s\nwant %s", bad[i].expr, err.msg, bad[i].msg);
		ck_assert_int_eq(cube_nodeset_parse(&set, bad[i].expr, &source, NULL), rc);
		names = joined(&set);
		ck_assert_str_eq(names, "keep me");
		free(names);
	}
	cube_nodeset_done(&set);
}
END_TEST

START_TEST(no_sources) {
	struct cube_nodeset_source none = {0};
	struct cube_nodeset set = {0};
	struct cube_err err;

	ck_assert_int_eq(cube_nodeset_parse(&set, "@web", NULL, &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "group \"web\": groups cannot be used here");
	ck_assert_int_eq(cube_nodeset_parse(&set, "^list", &none, &err), CUBE_EUSAGE);
	ck_assert_str_eq(err.msg, "file \"list\": files cannot be used here");
	cube_nodeset_done(&set);
}
END_TEST

START_TEST(name_length) {
	struct cube_nodeset set = {0};
	struct cube_err err;
	char name[300];

	memset(name, 'a', sizeof name);
	memcpy(name + 252, "[9-10]", 7);
	ck_assert_int_eq(cube_nodeset_parse(&set, name, NULL, &err), 0); /* 253 and 254 bytes */
	memset(name, 'b', sizeof name);
	memcpy(name + 254, "[9-10]", 7);
	ck_assert_int_eq(cube_nodeset_parse(&set, name, NULL, &err), CUBE_ETOOBIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "longer than 255 bytes"));
	memcpy(name + 253, ":22", 4); /* the port counts */
	ck_assert_int_eq(cube_nodeset_parse(&set, name, NULL, &err), CUBE_ETOOBIG);
	memcpy(name + 252, ":22", 4);
	ck_assert_int_eq(cube_nodeset_parse(&set, name, NULL, &err), 0);
	ck_assert_uint_eq(set.len, 3);
	cube_nodeset_done(&set);
}
END_TEST

START_TEST(fields) {
	static const struct {
		const char *expr, *name, *host, *user;
		uint16_t port;
		bool local;
	} rows[] = {
		{"web1", "web1", "web1", NULL, 0, false},
		{"u.v-w+x@web1", "web1", "web1", "u.v-w+x", 0, false},
		{"u@web1:65535", "web1:65535", "web1", "u", 65535, false},
		{"u@[2001:db8::1]:22", "[2001:db8::1]:22", "2001:db8::1", "u", 22, false},
		{"[fe80::1]", "[fe80::1]", "fe80::1", NULL, 0, false},
		{"localhost", "localhost", "", NULL, 0, true},
		{"localhost*1", "localhost-1", "", NULL, 0, true},
		{"u@localhost", "localhost", "localhost", "u", 0, false},
		{"localhost:22", "localhost:22", "localhost", NULL, 22, false},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1", NULL, 0, false},
		{"localhost-1", "localhost-1", "localhost-1", NULL, 0, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_nodeset set = {0};

		ck_assert_int_eq(cube_nodeset_parse(&set, rows[i].expr, NULL, NULL), 0);
		ck_assert_uint_eq(set.len, 1);
		ck_assert_str_eq(set.v[0].name, rows[i].name);
		ck_assert_str_eq(set.v[0].host, rows[i].host);
		ck_assert_pstr_eq(set.v[0].user, rows[i].user);
		ck_assert_uint_eq(set.v[0].port, rows[i].port);
		ck_assert_int_eq(set.v[0].local, rows[i].local);
		cube_nodeset_done(&set);
	}
}
END_TEST

START_TEST(set_functions) {
	struct cube_nodeset a = {0}, b = {0};
	char *names;

	ck_assert(!cube_nodeset_has(&a, "x"));
	cube_nodeset_remove(&a, &b);
	cube_nodeset_keep(&a, &b);
	ck_assert_int_eq(cube_nodeset_parse(&a, "n[1-9]", NULL, NULL), 0);
	ck_assert_int_eq(cube_nodeset_parse(&a, "x,n3", NULL, NULL), 0); /* appends */
	ck_assert_int_eq(cube_nodeset_parse(&b, "n[2-4]", NULL, NULL), 0);
	ck_assert_uint_eq(a.len, 10);
	cube_nodeset_remove(&a, &b);
	names = joined(&a);
	ck_assert_str_eq(names, "n1 n5 n6 n7 n8 n9 x");
	free(names);
	ck_assert(cube_nodeset_has(&a, "x") && !cube_nodeset_has(&a, "n3"));
	ck_assert_int_eq(cube_nodeset_parse(&b, "x,n9", NULL, NULL), 0);
	cube_nodeset_keep(&a, &b);
	names = joined(&a);
	ck_assert_str_eq(names, "n9 x");
	free(names);
	cube_nodeset_keep(&a, &a);
	ck_assert_uint_eq(a.len, 2);
	cube_nodeset_remove(&a, &a);
	ck_assert_uint_eq(a.len, 0);
	cube_nodeset_done(&a);
	cube_nodeset_done(&b);
	cube_nodeset_done(NULL);
}
END_TEST

/* ---- folding ------------------------------------------------------------------------------ */

static char *fold_names(const char *const *names, size_t n) {
	struct cube_buf out;

	cube_buf_init(&out, 64 << 20);
	ck_assert_int_eq(cube_nodeset_fold(names, n, &out), 0);
	return cube_buf_take(&out, NULL);
}

static char *fold_set(const struct cube_nodeset *set) {
	const char **names = cube_realloc_array(NULL, set->len, sizeof *names);
	char *text;

	for (size_t i = 0; i < set->len; i++) names[i] = set->v[i].name;
	text = fold_names(names, set->len);
	free(names);
	return text;
}

START_TEST(folds) {
	static const struct {
		const char *expr, *want;
	} rows[] = {
		{"", ""},
		{"a", "a"},
		{"web1", "web1"},
		{"web4 web1 db1 web2", "db1,web[1-2,4]"},
		{"web[01-12]", "web[01-12]"},
		{"web[098-101]", "web[098-101]"},
		{"web[8-11]", "web[8-11]"},
		{"web[01-02,9-11]", "web[01-02,9-11]"},
		{"web[1,01]", "web[1,01]"},
		{"r[1-2]n[1-3]", "r1n[1-3],r2n[1-3]"},
		{"r[1-11]n1", "r[1-11]n1"}, /* the last one that differs */
		{"web[1-2]-eth0", "web[1-2]-eth0"},
		{"n[1-9/2]", "n[1,3,5,7,9]"},
		{"10.0.0.[1-3],10.0.1.9", "10.0.0.[1-3],10.0.1.9"},
		{"h2 h10 h1-x", "h1-x,h[2,10]"},
		{"r10n[1-2] r9n[1-2]", "r9n[1-2],r10n[1-2]"},
		{"web[1-2]:2222", "web[1-2]:2222"},
		{"web1:22 web1:23", "web1:22,web1:23"},
		{"[2001:db8::1] [2001:db8::2]", "[2001:db8::1],[2001:db8::2]"},
		{"localhost*3", "localhost-[1-3]"},
		{"[1-3]", "[1-3]"},
		{"x b a", "a,b,x"},
	};
	static const char *const doubled[] = {"a2", "a1", "a2", "b", "b"};
	char *text;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_nodeset set = {0};

		ck_assert_int_eq(cube_nodeset_parse(&set, rows[i].expr, NULL, NULL), 0);
		text = fold_set(&set);
		if (strcmp(text, rows[i].want)) ck_abort_msg("%s: %s", rows[i].expr, text);
		free(text);
		cube_nodeset_done(&set);
	}
	text = fold_names(doubled, 5);
	ck_assert_str_eq(text, "a[1-2],b");
	free(text);
}
END_TEST

START_TEST(fold_is_whole_or_nothing) {
	static const char *const names[] = {"a1", "a2", "b7"};
	struct cube_buf out;

	for (size_t max = 3; max < 11; max++) { /* "-> a[1-2],b7" is 12 */
		cube_buf_init(&out, max);
		cube_buf_addstr(&out, "-> ");
		ck_assert_int_eq(cube_nodeset_fold(names, 3, &out), CUBE_ETOOBIG);
		ck_assert_str_eq(cube_buf_str(&out), "-> ");
		cube_buf_done(&out);
	}
}
END_TEST

/* ---- models ------------------------------------------------------------------------------- */

static int by_string(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *random_name(uint64_t *rnd) {
	static const char *const shapes[] = {"n%d",         "n%02d",      "r%d-n%02d", "a%dx",
					     "%d",          "10.0.%d.%d", "h%d:22",    "db",
					     "x%d.y%d.z%d", "n%03d"};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
	return cube_strf(shapes[rnd_below(rnd, sizeof shapes / sizeof shapes[0])],
			 (int)rnd_below(rnd, 12), (int)rnd_below(rnd, 12), (int)rnd_below(rnd, 3));
#pragma GCC diagnostic pop
}

/* fold(names) parsed is names, whatever they are. */
START_TEST(round_trip) {
	uint64_t rnd = rnd_seed("nodeset round trip");

	for (int round = 0; round < 3000; round++) {
		size_t n = 1 + rnd_below(&rnd, 40), unique = 0;
		char *names[40], *text;
		struct cube_nodeset set = {0};
		struct cube_err err;

		for (size_t i = 0; i < n; i++) names[i] = random_name(&rnd);
		text = fold_names((const char *const *)names, n);
		if (cube_nodeset_parse(&set, text, NULL, &err) != 0)
			ck_abort_msg("round %d: %s: %s", round, text, err.msg);
		qsort(names, n, sizeof *names, by_string);
		for (size_t i = 0; i < n; i++) {
			if (!cube_nodeset_has(&set, names[i]))
				ck_abort_msg("round %d: %s is not in %s", round, names[i], text);
			unique += i == 0 || strcmp(names[i], names[i - 1]) != 0;
		}
		if (set.len != unique) ck_abort_msg("round %d: too many in %s", round, text);
		for (size_t i = 0; i < n; i++) free(names[i]);
		free(text);
		cube_nodeset_done(&set);
	}
}
END_TEST

/* A chain of operators on hosts n0 .. n63 against bit masks; the order is that of joining. */
START_TEST(operators_against_masks) {
	uint64_t rnd = rnd_seed("nodeset operators");

	for (int round = 0; round < 1000; round++) {
		struct cube_nodeset set = {0};
		struct cube_buf expr;
		uint64_t mask = 0, found = 0;

		cube_buf_init(&expr, 1 << 16);
		for (size_t terms = 1 + rnd_below(&rnd, 12), i = 0; i < terms; i++) {
			unsigned lo = (unsigned)rnd_below(&rnd, 64);
			unsigned hi = lo + (unsigned)rnd_below(&rnd, 64 - lo);
			char op = i ? ",!&^ "[rnd_below(&rnd, 5)] : ' ';
			uint64_t term =
				(hi == 63 ? 0 : (uint64_t)1 << (hi + 1)) - ((uint64_t)1 << lo);

			cube_buf_printf(&expr, "%cn[%u-%u]", op, lo, hi);
			if (op == '!') mask &= ~term;
			else if (op == '&') mask &= term;
			else if (op == '^') mask ^= term;
			else mask |= term;
		}
		ck_assert_int_eq(cube_nodeset_parse(&set, cube_buf_str(&expr), NULL, NULL), 0);
		for (size_t i = 0; i < set.len; i++)
			found |= (uint64_t)1 << strtoul(set.v[i].name + 1, NULL, 10);
		if (found != mask || (size_t)__builtin_popcountll(mask) != set.len)
			ck_abort_msg("round %d: %s", round, cube_buf_str(&expr));
		cube_buf_done(&expr);
		cube_nodeset_done(&set);
	}
}
END_TEST

/* Cut or changed anywhere, an expression parses or is refused with words; it never crashes. */
START_TEST(mutations) {
	static const char chars[] = "a1[]-,/!&^@:*. \n#\x01\xff";

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		size_t n = strlen(good[i].expr);

		for (size_t at = 0; at < n; at++)
			for (size_t c = 0; c < sizeof chars; c++) { /* the NUL cuts */
				char *text = cube_strdup(good[i].expr);
				struct cube_nodeset set = {0};
				struct cube_err err = {0};

				text[at] = chars[c];
				if (cube_nodeset_parse(&set, text, &source, &err) != 0) {
					ck_assert_int_lt(err.code, 0);
					ck_assert_str_ne(err.msg, "");
					ck_assert_uint_eq(set.len, 0);
				}
				cube_nodeset_done(&set);
				free(text);
			}
	}
}
END_TEST

/* Quadratic work would take minutes here, and the case's time limit is seconds. */
START_TEST(large) {
	struct cube_nodeset set = {0}, odd = {0};
	struct cube_buf b;
	struct cube_err err;
	char *text;

	cube_buf_init(&b, 16 << 20);
	for (int i = 0; i < 100000; i++) cube_buf_printf(&b, "host%x-%d,", i * 7919, i % 7);
	if (cube_nodeset_parse(&set, cube_buf_str(&b), NULL, &err) != 0)
		ck_abort_msg("%s", err.msg);
	ck_assert_uint_eq(set.len, 100000);
	for (size_t i = 0; i < set.len; i++)
		if (!cube_nodeset_has(&set, set.v[i].name)) ck_abort_msg("%s", set.v[i].name);
	text = fold_set(&set);
	ck_assert_int_eq(cube_nodeset_parse(&odd, text, NULL, NULL), 0);
	ck_assert_uint_eq(odd.len, 100000);
	cube_nodeset_remove(&set, &odd);
	ck_assert_uint_eq(set.len, 0);
	free(text);
	cube_nodeset_done(&set);
	cube_nodeset_done(&odd);
	cube_buf_clear(&b);
	cube_buf_addstr(&b, "n[1-100000]");
	for (int i = 1; i < 100000; i++) cube_buf_printf(&b, "!n%d", i);
	ck_assert_int_eq(cube_nodeset_parse(&set, cube_buf_str(&b), NULL, NULL), 0);
	ck_assert_uint_eq(set.len, 1);
	ck_assert_str_eq(set.v[0].name, "n100000");
	cube_nodeset_done(&set);
	/* The same hosts over and over are refused before they take long. */
	cube_buf_clear(&b);
	for (int i = 0; i < 10000; i++) cube_buf_addstr(&b, "n[1-100000] ");
	ck_assert_int_eq(cube_nodeset_parse(&set, cube_buf_str(&b), NULL, NULL), CUBE_ETOOBIG);
	cube_buf_done(&b);
}
END_TEST

int main(void) {
	Suite *s = suite_create("nodeset");
	TCase *tc = tcase_create("nodeset");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, expressions);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, no_sources);
	tcase_add_test(tc, name_length);
	tcase_add_test(tc, fields);
	tcase_add_test(tc, set_functions);
	tcase_add_test(tc, folds);
	tcase_add_test(tc, fold_is_whole_or_nothing);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, operators_against_masks);
	tcase_add_test(tc, mutations);
	tcase_add_test(tc, large);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
