#include "../../src/cli/options.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
	bool all, follow;
	const char *name, *format;
	struct cube_strv env;
	uint64_t count, timeout;
	struct {
		bool help;
	} common;
};

static const struct cube_option rows[] = {
	{"all", NULL, 'a', CUBE_OPT_FLAG, offsetof(struct values, all), NULL, "everything"},
	{"follow", "tail-f", 'f', CUBE_OPT_FLAG, offsetof(struct values, follow), NULL, "go on"},
	{"test-name", NULL, 'N', CUBE_OPT_STRING, offsetof(struct values, name), "NAME", "a name"},
	{"format", NULL, 'o', CUBE_OPT_STRING, offsetof(struct values, format), "F", "how", "table",
	 "table|json|jsonl"},
	{"env", NULL, 'e', CUBE_OPT_LIST, offsetof(struct values, env), "K=V", "environment"},
	{"test-count", NULL, 'n', CUBE_OPT_UINT, offsetof(struct values, count), "N", "how many",
	 "3", NULL, 1, 100},
	{"timeout", NULL, 't', CUBE_OPT_DURATION, offsetof(struct values, timeout), "TIME",
	 "after this long text that is wrapped because it does not fit into one line of help at all"},
	{0},
};
static const struct cube_option common[] = {
	{"help", NULL, 'h', CUBE_OPT_FLAG, 0, NULL, "this text"},
	{0},
};
static const struct cube_option_group groups[] = {
	{"Options", rows, 0},
	{"Common", common, offsetof(struct values, common)},
	{0},
};

struct parsed {
	struct values v;
	char **words;
	size_t n;
	struct cube_err err;
	int rc;
};

/* line: arguments separated by one blank each; "_" stands for an empty one. */
static void parse(struct parsed *p, const char *line, bool stop) {
	static char text[512];
	char *argv[32];
	int argc = 0;
	memset(p, 0, sizeof *p);
	ck_assert_uint_lt(strlen(line), sizeof text);
	memcpy(text, line, strlen(line) + 1);
	for (char *s = text; *s;) {
		size_t len = strcspn(s, " ");
		argv[argc++] = s;
		s += len;
		if (*s) *s++ = '\0';
	}
	argv[argc] = NULL;
	p->rc = cube_options_parse(groups, stop, argc, argv, &p->v, &p->words, &p->n, &p->err);
}

static void done(struct parsed *p) {
	free(p->words);
	cube_options_done(groups, &p->v);
}

/* What was read, as one text. */
static const char *show(const struct parsed *p) {
	static char out[1024];
	int n = snprintf(out, sizeof out,
			 "%s%s%sname=%s format=%s count=%lld env=", p->v.all ? "all " : "",
			 p->v.follow ? "follow " : "", p->v.common.help ? "help " : "",
			 p->v.name ? p->v.name : "-", p->v.format, (long long)p->v.count);
	for (size_t i = 0; i < p->v.env.len; i++)
		n += snprintf(out + n, sizeof out - (size_t)n, "%s;", p->v.env.v[i]);
	n += snprintf(out + n, sizeof out - (size_t)n, " words=");
	for (size_t i = 0; i < p->n; i++)
		n += snprintf(out + n, sizeof out - (size_t)n, "%s;", p->words[i]);
	ck_assert_ptr_null(p->words[p->n]);
	return out;
}

START_TEST(test_good) {
	static const struct {
		const char *line;
		bool stop;
		const char *seen;
	} cases[] = {
		{"", false, "name=- format=table count=3 env= words="},
		{"-af", false, "all follow name=- format=table count=3 env= words="},
		{"-afn5", false, "all follow name=- format=table count=5 env= words="},
		{"-n 5 -n 6", false, "name=- format=table count=6 env= words="},
		{"-n=5", false, "name=- format=table count=5 env= words="},
		{"--test-count=5", false, "name=- format=table count=5 env= words="},
		{"--test-count 100 x", false, "name=- format=table count=100 env= words=x;"},
		{"--tail-f", false, "follow name=- format=table count=3 env= words="},
		{"--all=false -a --follow=true", false,
		 "all follow name=- format=table count=3 env= words="},
		{"--test-name=", false, "name= format=table count=3 env= words="},
		{"--test-name -a", false, "name=-a format=table count=3 env= words="},
		{"-e A=1 -eB=2 --env=C=3 --env D", false,
		 "name=- format=table count=3 env=A=1;B=2;C=3;D; words="},
		{"x -a y", false, "all name=- format=table count=3 env= words=x;y;"},
		{"x -a y", true, "name=- format=table count=3 env= words=x;-a;y;"},
		{"-a x --all -- y", true,
		 "all name=- format=table count=3 env= words=x;--all;--;y;"},
		{"-a -- -f --nonsense", true,
		 "all name=- format=table count=3 env= words=-f;--nonsense;"},
		{"-a -- -f -- z", false, "all name=- format=table count=3 env= words=-f;--;z;"},
		{"-", false, "name=- format=table count=3 env= words=-;"},
		{"-o jsonl -h", false, "help name=- format=jsonl count=3 env= words="},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct parsed p;
		parse(&p, cases[i].line, cases[i].stop);
		ck_assert_msg(p.rc == 0, "%s: %s", cases[i].line, p.err.msg);
		ck_assert_str_eq(show(&p), cases[i].seen);
		ck_assert(p.v.timeout == CUBE_OPT_UNSET);
		done(&p);
	}
}
END_TEST

START_TEST(test_bad) {
	static const struct {
		const char *line, *message;
	} cases[] = {
		{"--folow", "unknown option --folow; did you mean --follow?"},
		{"--tail-g", "unknown option --tail-g; did you mean --tail-f?"},
		{"--xyzzyq", "unknown option --xyzzyq"},
		{"--folow=x", "unknown option --folow; did you mean --follow?"},
		{"-z", "unknown option -z"},
		{"-az", "unknown option -z in '-az'"},
		{"--test-count", "option --test-count needs a value (N)"},
		{"-an", "option -n needs a value (N)"},
		{"-n 0", "-n: "},
		{"-n 101", "-n: "},
		{"-n=", "-n: "},
		{"--test-count=abc", "--test-count: "},
		{"--timeout=soon", "--timeout: "},
		{"--format xml", "--format: 'xml' is not one of table|json|jsonl"},
		{"--format tab", "--format: 'tab' is not one of"},
		{"--all=maybe", "--all: 'maybe' is neither true nor false"},
		{"-\xff", "unknown option '-\xff'"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct parsed p;
		parse(&p, cases[i].line, false);
		ck_assert_msg(p.rc == CUBE_EUSAGE, "%s was taken", cases[i].line);
		ck_assert_msg(strncmp(p.err.msg, cases[i].message, strlen(cases[i].message)) == 0,
			      "%s: '%s' is not '%s'", cases[i].line, p.err.msg, cases[i].message);
		done(&p);
	}
}
END_TEST

START_TEST(test_environment) {
	struct parsed p;
	setenv("CUBE_TEST_COUNT", "7", 1);
	setenv("CUBE_TEST_NAME", "env", 1);
	setenv("CUBE_ALL", "yes", 1);
	setenv("CUBE_ENV", "FROM=env", 1);
	setenv("CUBE_HELP", "1", 1);
	parse(&p, "", false);
	ck_assert_str_eq(show(&p), "all name=env format=table count=7 env=FROM=env; words=");
	done(&p);
	parse(&p, "-n 8 --test-name=line --all=no -e A=1", false);
	ck_assert_str_eq(show(&p), "name=line format=table count=8 env=A=1; words=");
	done(&p);
	setenv("CUBE_TEST_COUNT", "many", 1);
	parse(&p, "", false);
	ck_assert_int_eq(p.rc, CUBE_EUSAGE);
	ck_assert_ptr_nonnull(strstr(p.err.msg, "CUBE_TEST_COUNT: "));
	done(&p);
	setenv("CUBE_TEST_COUNT", "", 1); /* as if it were not set */
	parse(&p, "", false);
	ck_assert_int_eq(p.rc, 0);
	ck_assert_uint_eq(p.v.count, 3);
	done(&p);
}
END_TEST

START_TEST(test_help) {
	struct cube_buf out;
	cube_buf_init(&out, 64u << 10);
	ck_assert_int_eq(cube_options_help(groups, &out), 0);
	const char *text = cube_buf_str(&out);
	ck_assert_ptr_nonnull(
		strstr(text, "\nOptions:\n  -a, --all                   everything\n"));
	ck_assert_ptr_nonnull(strstr(text, "  -f, --follow, --tail-f      go on\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "  -n, --test-count N          how many (default: 3)\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nCommon:\n  -h, --help"));
	for (const char *p = text; *p;) { /* no line is too long */
		size_t len = strcspn(p, "\n");
		ck_assert_uint_le(len, 96);
		p += len + (p[len] == '\n');
	}
	cube_buf_done(&out);
}
END_TEST

int main(void) {
	Suite *s = suite_create("options");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_good);
	tcase_add_test(t, test_bad);
	tcase_add_test(t, test_environment);
	tcase_add_test(t, test_help);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
