#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/dns.h"

#define COUNT(a) (sizeof a / sizeof a[0])

static const char *shown(const struct cube_dns_address *a) {
	static char text[80];

	inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->bytes, text, sizeof text);
	if (a->zone[0]) {
		snprintf(text + strlen(text), sizeof text - strlen(text), "%%%s", a->zone);
	}
	return text;
}

/* inet_aton and inet_pton say what is right. */
START_TEST(literals) {
	static const char *const texts[] = {
		"127.0.0.1",
		"127.1",
		"10.1.2",
		"0x7f000001",
		"2130706433",
		"0177.0.0.1",
		"0x7f.1",
		"4294967295",
		"4294967296",
		"256.1.1.1",
		"1.2.3.256",
		"1.2.3.4.5",
		"1.2.3.",
		"1..2",
		"",
		"1.2.3.4x",
		"08.1",
		"0x",
		"0",
		"1.16777215",
		"1.16777216",
		"a.example",
		"1.2.3.4%1",
		"-1",
		" 1.2.3.4",
		"::1",
		"2001:db8::7",
		"::ffff:1.2.3.4",
		"1::2::3",
		":",
		"fe80::",
		"1:2:3:4:5:6:7:8:9",
		"::g",
	};

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct cube_dns_address a;
		uint8_t want[16];
		bool v6 = strchr(texts[i], ':') != NULL;
		bool good = v6 ? inet_pton(AF_INET6, texts[i], want) == 1
			       : inet_aton(texts[i], (struct in_addr *)want) == 1;

		if (texts[i][0] == ' ') good = false;
		ck_assert_msg(cube_dns_literal(texts[i], &a) == good, "'%s'", texts[i]);
		if (!good) continue;
		ck_assert_msg(a.v6 == v6 && !memcmp(a.bytes, want, v6 ? 16 : 4), "'%s' is %s",
			      texts[i], shown(&a));
	}
}
END_TEST

START_TEST(zones) {
	struct cube_dns_address a;

	ck_assert(cube_dns_literal("fe80::1%eth0", &a));
	ck_assert_str_eq(shown(&a), "fe80::1%eth0");
	ck_assert(cube_dns_literal("fe80::1%123456789012345", &a));
	ck_assert_str_eq(a.zone, "123456789012345");
	ck_assert(!cube_dns_literal("fe80::1%1234567890123456", &a));
	ck_assert(!cube_dns_literal("%eth0", &a));
}
END_TEST

START_TEST(ranks) {
	static const struct {
		const char *text;
		unsigned rank;
	} rows[] = {{"2001:db8::1", 0}, {"::1", 0}, {"10.0.0.1", 1}, {"fd00::1", 2}, {"fc00::", 2}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cube_dns_address a;

		ck_assert(cube_dns_literal(rows[i].text, &a));
		ck_assert_uint_eq(cube_dns_rank(&a), rows[i].rank);
	}
}
END_TEST

START_TEST(hosts_lines) {
	static const struct {
		const char *line, *found;
	} rows[] = {
		{"127.0.0.1 localhost db", "127.0.0.1"},
		{"127.0.0.1\tlocalhost\tDB\r", "127.0.0.1"},
		{"  ::1  db", "::1"},
		{"fe80::2%eth1 db # mine", "fe80::2%eth1"},
		{"127.0.0.1 localhost # db", NULL},
		{"# 127.0.0.1 db", NULL},
		{"127.0.0.1 db2 xdb d db.", NULL},
		{"db 127.0.0.1", NULL},
		{"nothing db", NULL},
		{"127.0.0.1", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct cube_dns_addresses list = {0};
		char line[100];

		snprintf(line, sizeof line, "%s", rows[i].line);
		cube_dns_hosts_line(&list, line, "db");
		ck_assert_msg(list.n == (rows[i].found != NULL), "%s", rows[i].line);
		if (list.n) ck_assert_str_eq(shown(&list.at[0]), rows[i].found);
	}
}
END_TEST

START_TEST(hosts_are_bounded) {
	struct cube_dns_addresses list = {0};

	for (int i = 0; i < CUBE_DNS_ADDRESSES + 8; i++) {
		char line[100];

		snprintf(line, sizeof line, "10.0.0.%d db", i);
		cube_dns_hosts_line(&list, line, "db");
	}
	ck_assert_uint_eq(list.n, CUBE_DNS_ADDRESSES);
	ck_assert_str_eq(shown(&list.at[CUBE_DNS_ADDRESSES - 1]), "10.0.0.31");
}
END_TEST

static void configure(struct cube_dns_config *c, const char *const *lines) {
	cube_dns_config_init(c);
	for (; *lines; lines++) {
		char line[1200];

		snprintf(line, sizeof line, "%s", *lines);
		cube_dns_config_line(c, line);
	}
	cube_dns_config_end(c);
}

START_TEST(config) {
	static const char *const none[] = {NULL};
	static const char *const full[] = {"# a comment",
					   "nameserver 10.0.0.1",
					   "nameserver\tfe80::1%eth0  ",
					   "nameserver nonsense",
					   "nameserver 10.0.0.3",
					   "nameserver 10.0.0.4",
					   "sortlist 10.0.0.0",
					   "domain old",
					   "search cube.test example.com",
					   "options rotate ndots:3 timeout:100 attempts:0 edns0",
					   NULL};
	struct cube_dns_config c;

	configure(&c, none);
	ck_assert_uint_eq(c.count, 1);
	ck_assert_str_eq(shown(&c.servers[0]), "127.0.0.1");
	ck_assert_uint_eq(c.ndots, 1);
	ck_assert_uint_eq(c.attempts, 2);
	ck_assert_uint_eq(c.timeout_s, 5);
	configure(&c, full);
	ck_assert_uint_eq(c.count, 3);
	ck_assert_str_eq(shown(&c.servers[0]), "10.0.0.1");
	ck_assert_str_eq(shown(&c.servers[1]), "fe80::1%eth0");
	ck_assert_str_eq(shown(&c.servers[2]), "10.0.0.3");
	ck_assert_uint_eq(c.ndots, 3);
	ck_assert_uint_eq(c.attempts, 1);
	ck_assert_uint_eq(c.timeout_s, 60);
	ck_assert_str_eq(c.search, "cube.test example.com");
}
END_TEST

START_TEST(candidates) {
	static const char *const lines[] = {"search cube.test  example.com ", "options ndots:2",
					    NULL};
	static const struct {
		const char *name, *want[4];
	} rows[] = {
		{"db", {"db.cube.test", "db.example.com", "db"}},
		{"db.a", {"db.a.cube.test", "db.a.example.com", "db.a"}},
		{"db.a.b", {"db.a.b"}},
		{"db.", {"db."}},
	};
	struct cube_dns_config c;
	char name[CUBE_DNS_NAME], big[300];

	configure(&c, lines);
	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned k = 0;

		for (; rows[i].want[k]; k++) {
			ck_assert(cube_dns_candidate(&c, rows[i].name, k, name));
			ck_assert_str_eq(name, rows[i].want[k]);
		}
		ck_assert(!cube_dns_candidate(&c, rows[i].name, k, name));
	}
	memset(big, 'a', sizeof big);
	big[250] = '\0';
	ck_assert(cube_dns_candidate(&c, big, 0, name));
	ck_assert_str_eq(name, "");
	ck_assert(cube_dns_candidate(&c, big, 2, name));
	ck_assert_str_eq(name, big);
}
END_TEST

/* What does not fit is left out, never half a domain. */
START_TEST(long_search) {
	char line[1200] = "search", name[CUBE_DNS_NAME];
	const char *const lines[] = {line, NULL};
	struct cube_dns_config c;
	unsigned n = 0;

	for (int i = 0; i < 100; i++) memcpy(line + 6 + i * 10, " abcd.test", 11);
	configure(&c, lines);
	for (; cube_dns_candidate(&c, "x", n, name); n++)
		ck_assert_msg(!strcmp(name, "x.abcd.test") || !strcmp(name, "x"), "%s", name);
	ck_assert_uint_eq(n, 51 + 1);
}
END_TEST

START_TEST(queries) {
	static const uint8_t want[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\2db\4cube\4test\0\0\34\0\1";
	static const char *const bad[] = {"", ".", "..", "a..b", ".a", "a..", NULL};
	uint8_t query[CUBE_DNS_QUERY];
	char name[300];

	ck_assert_uint_eq(cube_dns_query(query, "DB.Cube.test", CUBE_DNS_AAAA, 0x1234),
			  sizeof want - 1);
	ck_assert_mem_eq(query, want, sizeof want - 1);
	ck_assert_uint_eq(cube_dns_query(query, "db.cube.test.", CUBE_DNS_AAAA, 0x1234),
			  sizeof want - 1);
	ck_assert_mem_eq(query, want, sizeof want - 1);
	for (int i = 0; bad[i]; i++)
		ck_assert_uint_eq(cube_dns_query(query, bad[i], CUBE_DNS_A, 0), 0);
	for (int n = 1; n < 300; n++) { /* labels of one letter: 253 characters are a name */
		for (int i = 0; i < n; i++) name[i] = i % 2 ? '.' : 'a';
		name[n] = '\0';
		if (n % 2)
			ck_assert_int_eq(cube_dns_query(query, name, CUBE_DNS_A, 0) > 0, n <= 253);
	}
	memset(name, 'a', 64);
	name[63] = '\0';
	ck_assert_uint_gt(cube_dns_query(query, name, CUBE_DNS_A, 0), 0);
	memcpy(name + 63, "a", 2);
	ck_assert_uint_eq(cube_dns_query(query, name, CUBE_DNS_A, 0), 0);
}
END_TEST

#define ALIAS "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
#define A(d)  "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0" d

static size_t reply_with(uint8_t *reply, const uint8_t *query, size_t len, int code, int count,
			 const char *records, size_t n) {
	memcpy(reply, query, len);
	reply[2] |= 0x80;
	reply[3] = (uint8_t)(0x80 | code);
	reply[7] = (uint8_t)count;
	memcpy(reply + len, records, n);
	return len + n;
}

START_TEST(replies) {
	static const char records[] = ALIAS A("\1") A("\2");
	uint8_t query[CUBE_DNS_QUERY], reply[600];
	size_t len = cube_dns_query(query, "a.example", CUBE_DNS_A, 7), n, found = 0;
	struct cube_dns_addresses list = {0};

	n = reply_with(reply, query, len, 0, 3, records, sizeof records - 1);
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), 0);
	ck_assert_uint_eq(list.n, 2);
	ck_assert_str_eq(shown(&list.at[0]), "10.0.0.1");
	ck_assert_str_eq(shown(&list.at[1]), "10.0.0.2");
	for (size_t cut = 0; cut < n; cut++) { /* in memory of that size, for the sanitizer */
		uint8_t *part = malloc(cut ? cut : 1);

		ck_assert_ptr_nonnull(part);
		memcpy(part, reply, cut);
		list.n = 0;
		ck_assert_int_eq(cube_dns_reply(&list, part, cut, query, len), cut < len ? -1 : 0);
		ck_assert_uint_ge(list.n, found);
		found = list.n;
		free(part);
	}
	list.n = 0;
	n = reply_with(reply, query, len, CUBE_DNS_NXDOMAIN, 0, "", 0);
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), CUBE_DNS_NXDOMAIN);
	ck_assert_uint_eq(list.n, 0);
}
END_TEST

/* Too many for a datagram: some servers send what fits, others nothing. */
START_TEST(truncated_replies) {
	uint8_t query[CUBE_DNS_QUERY], reply[600];
	size_t len = cube_dns_query(query, "a.example", CUBE_DNS_A, 7), n;
	struct cube_dns_addresses list = {0};

	n = reply_with(reply, query, len, 0, 2, A("\1"), sizeof A("\1") - 1);
	reply[2] |= 2;
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), 0);
	ck_assert_uint_eq(list.n, 1);
	n = reply_with(reply, query, len, 0, 0, "", 0);
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), 0);
	reply[2] |= 2;
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), 2);
	ck_assert_uint_eq(list.n, 1);
}
END_TEST

START_TEST(replies_to_others) {
	uint8_t query[CUBE_DNS_QUERY], reply[600];
	size_t len = cube_dns_query(query, "a.example", CUBE_DNS_A, 7), n;
	struct cube_dns_addresses list = {0};

	n = reply_with(reply, query, len, 0, 1, A("\1"), sizeof A("\1") - 1);
	for (size_t i = 0; i < len; i++) {
		if (i == 3 || (i >= 6 && i < 12)) continue; /* the code, and counts */
		reply[i] ^= i == 2 ? 0x80 : 1;
		ck_assert_msg(cube_dns_reply(&list, reply, n, query, len) == -1, "byte %zu", i);
		reply[i] ^= i == 2 ? 0x80 : 1;
	}
	ck_assert_uint_eq(list.n, 0);
	ck_assert_int_eq(cube_dns_reply(&list, reply, n, query, len), 0);
	ck_assert_uint_eq(list.n, 1);
}
END_TEST

int main(void) {
	Suite *s = suite_create("dns");
	TCase *tc = tcase_create("dns");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, literals);
	tcase_add_test(tc, zones);
	tcase_add_test(tc, ranks);
	tcase_add_test(tc, hosts_lines);
	tcase_add_test(tc, hosts_are_bounded);
	tcase_add_test(tc, config);
	tcase_add_test(tc, candidates);
	tcase_add_test(tc, long_search);
	tcase_add_test(tc, queries);
	tcase_add_test(tc, replies);
	tcase_add_test(tc, replies_to_others);
	tcase_add_test(tc, truncated_replies);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
