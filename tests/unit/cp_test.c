/* What `cube cp` shows, and how it reads its operands. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cp.h"
#include "cube/text.h"
#include "select.h"

START_TEST(operands) {
	static const struct {
		const char *word, *hosts, *path;
	} rows[] = {
		{"file", NULL, "file"},
		{"./a:b", NULL, "./a:b"},
		{"/x:y", NULL, "/x:y"},
		{":x", NULL, ":x"},
		{"web1:", "web1", ""},
		{"web1:/srv/a:b", "web1", "/srv/a:b"},
		{"web[1-3]:x", "web[1-3]", "x"},
		{"u@[::1]:x", "u@[::1]", "x"},
		{"web1:2222:x", "web1:2222", "x"},
		{"web1:2222", "web1", "2222"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_cp_operand o = cube_cp_operand(rows[i].word);
		ck_assert_msg(!o.hosts == !rows[i].hosts, "%s", rows[i].word);
		if (o.hosts) ck_assert_str_eq(o.hosts, rows[i].hosts);
		ck_assert_str_eq(o.path, rows[i].path);
		free(o.hosts);
	}
}
END_TEST

/* A host may say any bytes; the summary is JSON all the same, with every host in it. */
START_TEST(failures_of_any_bytes) {
	static const char *const said[] = {"plain", "\xff\xfe", "\x1b[31mred\n", ""};
	struct cube_cp cp = {0};
	for (size_t i = 0; i < 4; i++) {
		char name[8];
		snprintf(name, sizeof name, "n%zu", i);
		struct cube_cp_host *h = cube_cp_add(&cp, name, "");
		h->state = CUBE_CP_FAILED;
		h->failure = strdup(said[i]);
	}
	cube_cp_add(&cp, "n4", "")->state = CUBE_CP_DONE;
	json_t *hosts = cube_cp_json(&cp);
	ck_assert_uint_eq(json_array_size(hosts), 5);
	static const char *const want[] = {"plain", "\\xff\\xfe", "\\x1b[31mred\\n", ""};
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(
			json_string_value(json_object_get(json_array_get(hosts, i), "error")),
			want[i]);
	ck_assert(json_is_null(json_object_get(json_array_get(hosts, 4), "error")));
	json_decref(hosts);
	cube_cp_done(&cp);
}
END_TEST

/* And told, with every host that said them. */
START_TEST(reasons_of_any_bytes) {
	json_t *reasons = json_object();
	cube_reasons_add(reasons, "\xff\xfe", "n1");
	cube_reasons_add(reasons, "\xff\xfe", "n2");
	cube_reasons_add(reasons, "plain", "n3");
	ck_assert_uint_eq(json_object_size(reasons), 2);
	ck_assert_uint_eq(json_array_size(json_object_get(reasons, "\\xff\\xfe")), 2);
	json_decref(reasons);
}
END_TEST

/* A narrow terminal lacks whole parts of the line; only names are cut. */
START_TEST(line_of_any_width) {
	static const struct {
		size_t width;
		const char *want;
	} rows[] = {
		{3, ""},
		{10, " 25 %"},
		{39, " 25 %  200.0 MB of 800.0 MB  0/2 hosts"},
		{59, " 25 %  200.0 MB of 800.0 MB  0/2 hosts  50.0 MB/s"},
		{62, " 25 %  200.0 MB of 800.0 MB  0/2 hosts  50.0 MB/s  12.0 s left"},
		{199, " 25 %  200.0 MB of 800.0 MB  0/2 hosts  50.0 MB/s  12.0 s left  "
		      "a-long-name1,another-name2"},
	};
	const uint64_t mb = 1u << 20;
	struct cube_cp cp = {.up = true, .total_files = 1, .total_bytes = 400 * mb};
	static const char *const names[] = {"a-long-name1", "another-name2"};
	for (size_t i = 0; i < 2; i++) cube_cp_add(&cp, names[i], "")->counts.bytes = 100 * mb;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cube_buf out;
		cube_buf_init(&out, 4096);
		ck_assert_int_eq(cube_cp_line(&cp, 50.0 * (double)mb, rows[i].width, &out), 0);
		ck_assert_str_eq(cube_buf_str(&out), rows[i].want);
		cube_buf_done(&out);
	}
	for (size_t width = 0; width < 120; width++) {
		struct cube_buf out;
		cube_buf_init(&out, 4096);
		ck_assert_int_eq(cube_cp_line(&cp, 0, width, &out), 0);
		ck_assert_uint_le(cube_text_width(cube_buf_str(&out)), width);
		cube_buf_done(&out);
	}
	cube_cp_done(&cp);
}
END_TEST

int main(void) {
	Suite *s = suite_create("cp");
	TCase *t = tcase_create("cp");
	tcase_add_test(t, operands);
	tcase_add_test(t, failures_of_any_bytes);
	tcase_add_test(t, reasons_of_any_bytes);
	tcase_add_test(t, line_of_any_width);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
