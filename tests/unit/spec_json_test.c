#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/api/spec_json.h"

#define SHA "35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f"

static int parse(const char *text, struct cube_spec *spec, struct cube_err *err) {
	json_t *o = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	ck_assert_msg(o, "%s is no JSON", text);
	int rc = cube_spec_from_json(spec, o, err);
	json_decref(o);
	return rc;
}

START_TEST(all_fields) {
	struct cube_spec s = {0};
	ck_assert_int_eq(parse("{\"argv\":[\"sh\",{\"base64\":\"/w==\"},\"\"],"
			       "\"env\":{\"B\":\"2\",\"A\":\"x=y\"},\"dir\":{\"base64\":\"L4A=\"},"
			       "\"timeout\":1.5,\"grace\":0,\"name\":\"n\",\"stdin\":true,"
			       "\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"f\",\"mode\":448},"
			       "{\"sha256\":\"" SHA "\",\"name\":\"g\"}],\"other\":1}",
			       &s, NULL),
			 0);
	ck_assert_uint_eq(s.argv.len, 3);
	ck_assert_str_eq(s.argv.v[1], "\xff");
	ck_assert_str_eq(s.argv.v[2], "");
	ck_assert_str_eq(s.env.v[0], "B=2");
	ck_assert_str_eq(s.env.v[1], "A=x=y");
	ck_assert_str_eq(s.dir, "/\x80");
	ck_assert_uint_eq(s.timeout_ms, 1500);
	ck_assert_uint_eq(s.grace_ms, 0);
	ck_assert_str_eq(s.name, "n");
	ck_assert(s.has_stdin);
	ck_assert_uint_eq(s.nfiles, 2);
	ck_assert_uint_eq(s.files[0].sha256[0], 0x35);
	ck_assert_uint_eq(s.files[0].mode, 0700);
	ck_assert_uint_eq(s.files[1].mode, 0644);
	ck_assert_str_eq(s.files[1].name, "g");
	json_t *o = cube_spec_to_json(&s);
	char *text = json_dumps(o, JSON_COMPACT);
	ck_assert_str_eq(text, "{\"argv\":[\"sh\",{\"base64\":\"/w==\"},\"\"],"
			       "\"env\":{\"B\":\"2\",\"A\":\"x=y\"},\"dir\":{\"base64\":\"L4A=\"},"
			       "\"timeout\":1.5,\"grace\":0,\"name\":\"n\",\"stdin\":true,"
			       "\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"f\",\"mode\":448},"
			       "{\"sha256\":\"" SHA "\",\"name\":\"g\",\"mode\":420}]}");
	free(text);
	json_decref(o);
	cube_spec_done(&s);
}
END_TEST

START_TEST(defaults) {
	struct cube_spec s = {0};
	ck_assert_int_eq(parse("{\"argv\":[\"x\"],\"timeout\":null,\"dir\":null}", &s, NULL), 0);
	ck_assert_uint_eq(s.timeout_ms, 0);
	ck_assert_uint_eq(s.grace_ms, CUBE_GRACE_MS);
	ck_assert_ptr_null(s.name);
	ck_assert_ptr_null(s.dir);
	ck_assert(!s.has_stdin);
	cube_spec_done(&s);
	/* too short to be told, but not none */
	ck_assert_int_eq(parse("{\"argv\":[\"x\"],\"timeout\":0.00001}", &s, NULL), 0);
	ck_assert_uint_eq(s.timeout_ms, 1);
	cube_spec_done(&s);
}
END_TEST

static const struct {
	const char *json, *field;
} bad[] = {
	{"[]", "a JSON object"},
	{"{}", "argv: "},
	{"{\"argv\":\"x\"}", "argv: "},
	{"{\"argv\":[]}", "argv: "},
	{"{\"argv\":[1]}", "argv: "},
	{"{\"argv\":[\"a\\u0000b\"]}", "argv: "},
	{"{\"argv\":[{\"base64\":\"AA==\"}]}", "argv: "},
	{"{\"argv\":[{\"base64\":\"A\"}]}", "argv: "},
	{"{\"argv\":[{\"base64\":\"QQ==\",\"x\":1}]}", "argv: "},
	{"{\"argv\":[{\"base64\":1}]}", "argv: "},
	{"{\"argv\":[\"x\"],\"env\":[]}", "env: "},
	{"{\"argv\":[\"x\"],\"env\":{\"A B\":\"\"}}", "env: "},
	{"{\"argv\":[\"x\"],\"env\":{\"A=B\":\"\"}}", "env: "},
	{"{\"argv\":[\"x\"],\"env\":{\"A\":1}}", "env: "},
	{"{\"argv\":[\"x\"],\"dir\":7}", "dir: "},
	{"{\"argv\":[\"x\"],\"dir\":\"\"}", "dir: "},
	{"{\"argv\":[\"x\"],\"timeout\":\"1\"}", "timeout: "},
	{"{\"argv\":[\"x\"],\"timeout\":-1}", "timeout: "},
	{"{\"argv\":[\"x\"],\"timeout\":1e300}", "timeout: "},
	{"{\"argv\":[\"x\"],\"grace\":true}", "grace: "},
	{"{\"argv\":[\"x\"],\"name\":5}", "name: "},
	{"{\"argv\":[\"x\"],\"name\":\"\"}", "name: "},
	{"{\"argv\":[\"x\"],\"name\":\"a\\u0000\"}", "name: "},
	{"{\"argv\":[\"x\"],\"stdin\":1}", "stdin: "},
	{"{\"argv\":[\"x\"],\"files\":{}}", "files: "},
	{"{\"argv\":[\"x\"],\"files\":[1]}", "files: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"00\",\"name\":\"x\"}]}", "files.sha256: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"" SHA "\"}]}", "files.name: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"..\"}]}", "files: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"x\",\"mode\":4096}]}",
	 "files.mode: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"x\",\"mode\":\"7\"}]}",
	 "files.mode: "},
	{"{\"argv\":[\"x\"],\"files\":[{\"sha256\":\"" SHA "\",\"name\":\"x\",\"md\":1}]}",
	 "files.md: "},
};

START_TEST(refused) {
	struct cube_spec s = {.timeout_ms = 42};
	struct cube_err err;
	ck_assert_int_lt(parse(bad[_i].json, &s, &err), 0);
	ck_assert_int_eq(err.code, CUBE_EUSAGE);
	ck_assert_msg(strncmp(err.msg, bad[_i].field, strlen(bad[_i].field)) == 0, "%s: %s",
		      bad[_i].json, err.msg);
	ck_assert_uint_eq(s.timeout_ms, 42); /* untouched */
}
END_TEST

START_TEST(any_bytes) {
	for (unsigned seed = 0; seed < 2000; seed++) {
		char bytes[20], *back;
		size_t n = seed % sizeof bytes;
		for (size_t i = 0; i < n; i++)
			bytes[i] = (char)(1 + (seed * 7919u + i * 104729u + seed / 3) % 255);
		json_t *v = cube_bytes_to_json(bytes, n);
		ck_assert_int_eq(cube_bytes_from_json(v, "x", &back, NULL), 0);
		ck_assert_uint_eq(strlen(back), n);
		ck_assert_int_eq(memcmp(back, bytes, n), 0);
		free(back);
		json_decref(v);
	}
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("spec_json");
	Suite *s = suite_create("spec_json");
	tcase_add_test(tc, all_fields);
	tcase_add_test(tc, defaults);
	tcase_add_loop_test(tc, refused, 0, (int)(sizeof bad / sizeof bad[0]));
	tcase_add_test(tc, any_bytes);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
