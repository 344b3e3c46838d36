#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/spec.h"

static struct cube_spec plain(void) {
	struct cube_spec spec = {.grace_ms = CUBE_GRACE_MS};

	cube_strv_add(&spec.argv, "true");
	return spec;
}

static void refused(struct cube_spec *spec, int code, const char *begin) {
	struct cube_err err = {0};

	ck_assert_int_eq(cube_spec_check(spec, &err), code);
	ck_assert_int_eq(err.code, code);
	if (strncmp(err.msg, begin, strlen(begin)) != 0)
		ck_abort_msg("\"%s\" does not begin with \"%s\"", err.msg, begin);
	ck_assert_int_eq(cube_spec_check(spec, NULL), code);
	cube_spec_done(spec);
}

static char *repeat(char c, size_t n) {
	char *s = cube_alloc(n + 1);

	memset(s, c, n);
	return s;
}

START_TEST(good) {
	struct cube_spec spec = plain();
	struct cube_err err = {.code = 42};

	ck_assert_int_eq(cube_spec_check(&spec, &err), 0);
	ck_assert_int_eq(err.code, 42);
	spec.name = repeat('n', 255);
	spec.dir = repeat('/', CUBE_PATH_LEN - 1);
	cube_strv_add(&spec.argv, "");
	cube_strv_add(&spec.argv, "\xff\n not utf-8");
	cube_strv_add(&spec.env, "_A1=");
	cube_strv_add(&spec.env, "_A1=x=y");
	spec.files = cube_alloc(CUBE_FILES_MAX * sizeof *spec.files);
	for (spec.nfiles = 0; spec.nfiles < CUBE_FILES_MAX; spec.nfiles++) {
		snprintf(spec.files[spec.nfiles].name, CUBE_NAME_LEN, "f%u", spec.nfiles);
		spec.files[spec.nfiles].mode = 07777;
	}
	if (cube_spec_check(&spec, &err) != 0) ck_abort_msg("%s", err.msg);
	cube_spec_done(&spec);
	ck_assert_ptr_null(spec.argv.v);
	cube_spec_done(&spec);
	cube_spec_done(NULL);
}
END_TEST

START_TEST(bad_words) {
	struct cube_spec spec = {0};

	refused(&spec, CUBE_EUSAGE, "argv: ");
	cube_strv_add(&spec.argv, "");
	refused(&spec, CUBE_EUSAGE, "argv: ");
	spec = plain();
	cube_strv_add(&spec.env, "1A=x");
	refused(&spec, CUBE_EUSAGE, "env: \"1A=x\" ");
	spec = plain();
	cube_strv_add(&spec.env, "PATH");
	refused(&spec, CUBE_EUSAGE, "env: \"PATH\" has no value: write PATH=VALUE");
	spec = plain();
	for (int i = 0; i < 65536; i++) cube_strv_add(&spec.argv, "");
	refused(&spec, CUBE_ETOOBIG, "argv: ");
	spec = plain();
	for (int i = 0; i < 40000; i++) cube_strv_add(&spec.argv, "");
	for (int i = 0; i < 40000; i++) cube_strv_add(&spec.env, "A=");
	refused(&spec, CUBE_ETOOBIG, "env: ");
	spec = plain();
	for (int i = 0; i < 11; i++) {
		char *s = repeat('x', 100000);

		cube_strv_add(&spec.argv, s);
		free(s);
	}
	refused(&spec, CUBE_ETOOBIG, "argv: ");
}
END_TEST

START_TEST(bad_fields) {
	static const char *const names[] = {"", ".", "..", "a/b", "/"};
	struct cube_spec spec = plain();

	spec.name = cube_strdup("");
	refused(&spec, CUBE_EUSAGE, "name: ");
	spec = plain();
	spec.name = cube_strdup("a\x1b[2Jb");
	refused(&spec, CUBE_EUSAGE, "name: control characters in \"a\\x1b[2Jb\"");
	spec = plain();
	spec.name = repeat('n', 256);
	refused(&spec, CUBE_ETOOBIG, "name: ");
	spec = plain();
	spec.dir = cube_strdup("");
	refused(&spec, CUBE_EUSAGE, "dir: ");
	spec = plain();
	spec.dir = repeat('d', CUBE_PATH_LEN);
	refused(&spec, CUBE_ETOOBIG, "dir: ");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		spec = plain();
		spec.files = cube_alloc(sizeof *spec.files);
		spec.nfiles = 1;
		snprintf(spec.files[0].name, CUBE_NAME_LEN, "%s", names[i]);
		refused(&spec, CUBE_EUSAGE, "files: ");
	}
	spec = plain();
	spec.files = cube_alloc(2 * sizeof *spec.files);
	spec.nfiles = 2;
	memcpy(spec.files[0].name, "same", 5);
	memcpy(spec.files[1].name, "same", 5);
	refused(&spec, CUBE_EUSAGE, "files: \"same\" is there twice");
	spec = plain();
	spec.files = cube_alloc(sizeof *spec.files);
	spec.nfiles = 1;
	memset(spec.files[0].name, 'x', CUBE_NAME_LEN); /* no NUL at all */
	refused(&spec, CUBE_EUSAGE, "files: ");
	spec = plain();
	spec.files = cube_alloc(sizeof *spec.files);
	spec.nfiles = 1;
	spec.files[0].name[0] = 'x';
	spec.files[0].mode = 010000;
	refused(&spec, CUBE_EUSAGE, "files: mode 10000 ");
	spec = plain();
	spec.nfiles = CUBE_FILES_MAX + 1;
	refused(&spec, CUBE_ETOOBIG, "files: ");
}
END_TEST

START_TEST(env_file) {
	static const char text[] = "\xef\xbb\xbf# comment\r\n"
				   "A=1\r\n"
				   "\n"
				   "  \t B_2=x = 'y' # no comment\n"
				   "\t# another\n"
				   "C=";
	static const char *const want[] = {"OLD=1", "A=1", "B_2=x = 'y' # no comment", "C="};
	struct cube_strv env = {0};
	struct cube_err err;

	cube_strv_add(&env, "OLD=1");
	ck_assert_int_eq(cube_spec_parse_env_file(&env, text, sizeof text - 1, "f", &err), 0);
	ck_assert_uint_eq(env.len, 4);
	for (int i = 0; i < 4; i++) ck_assert_str_eq(env.v[i], want[i]);
	/* Cut anywhere it is still a list of entries, or an error that names the line. */
	for (size_t n = 0; n < sizeof text; n++) {
		struct cube_strv part = {0};
		char *copy = cube_strndup(text, n);

		if (cube_spec_parse_env_file(&part, copy, strlen(copy), "f", &err) != 0)
			ck_assert_ptr_nonnull(strstr(err.msg, "f:"));
		free(copy);
		cube_strv_done(&part);
	}
	cube_strv_done(&env);
}
END_TEST

START_TEST(env_file_errors) {
	static const struct {
		const char *text;
		size_t n;
		const char *msg;
	} rows[] = {
		{"A=1\nB\n", 6, ".env:2: \"B\" has no value: write B=VALUE"},
		{"A=1\n\n=x", 7,
		 ".env:3: \"=x\" is not NAME=VALUE with a name of letters, digits and _"},
		{"export A=1", 10,
		 ".env:1: \"export A=1\" is not NAME=VALUE with a name of letters, digits and _"},
		{"A=1\nB=\0z\n", 9, ".env:2: a NUL byte"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_strv env = {0};
		struct cube_err err;

		ck_assert_int_eq(
			cube_spec_parse_env_file(&env, rows[i].text, rows[i].n, ".env", &err),
			CUBE_EUSAGE);
		ck_assert_str_eq(err.msg, rows[i].msg);
		ck_assert_uint_eq(env.len, 0);
	}
}
END_TEST

START_TEST(signals) {
	static const struct {
		const char *name;
		int signo;
	} rows[] = {
		{"INT", 2},
		{"SIGINT", 2},
		{"sigint", 2},
		{"2", 2},
		{"KILL", 9},
		{"sigterm", 15},
		{"USR1", 10},
		{"CHLD", 17},
		{"CLD", 17},
		{"IOT", 6},
		{"WINCH", 28},
		{"SYS", 31},
		{"64", 64},
		{"65", 0},
		{"0", 0},
		{"", 0},
		{"SIG", 0},
		{"-9", 0},
		{"9x", 0},
		{"SIGSIGINT", 0},
		{"INTX", 0},
		{"SIG9", 0},
		{"1000000000000", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (cube_spec_signal(rows[i].name) != rows[i].signo)
			ck_abort_msg("%s", rows[i].name);
	for (int i = 1; i <= 31; i++) {
		ck_assert_str_ne(cube_spec_signal_name(i), "?");
		ck_assert_int_eq(cube_spec_signal(cube_spec_signal_name(i)), i);
	}
	ck_assert_str_eq(cube_spec_signal_name(9), "KILL");
	ck_assert_str_eq(cube_spec_signal_name(0), "?");
	ck_assert_str_eq(cube_spec_signal_name(-1), "?");
	ck_assert_str_eq(cube_spec_signal_name(32), "?");
	ck_assert_str_eq(cube_spec_signal_name(1 << 30), "?");
}
END_TEST

int main(void) {
	Suite *s = suite_create("spec");
	TCase *tc = tcase_create("spec");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, good);
	tcase_add_test(tc, bad_words);
	tcase_add_test(tc, bad_fields);
	tcase_add_test(tc, env_file);
	tcase_add_test(tc, env_file_errors);
	tcase_add_test(tc, signals);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
