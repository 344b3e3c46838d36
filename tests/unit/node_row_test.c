/* What is known of a node, through the store and back: a new manager reaches it as the old one. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "cube/store.h"
#include "node_row.h"

static struct cube_node_link link_of, got_link;
static struct cube_node got;

static int take(void *arg, const struct cube_node_row *row) {
	cube_node_from_row(&got, row);
	return 0;
}

/* Through a store. */
static void there_and_back(const struct cube_node *node) {
	struct cube_store *s;
	struct cube_err err;
	got_link = (struct cube_node_link){0};
	got = (struct cube_node){.link = &got_link};
	ck_assert_int_eq(cube_store_memory(&s, &err), 0);
	ck_assert_int_eq(s->ops->begin(s, &err), 0);
	ck_assert_int_eq(cube_node_to_row(node, s, &err), 0);
	ck_assert_int_eq(s->ops->commit(s, &err), 0);
	ck_assert_int_eq(s->ops->node_list(s, take, NULL, &err), 0);
	s->ops->free(s);
}

static void done(void) {
	cube_node_settings_done(&got.set);
	free(got.fallback);
	free(got.reason);
}

START_TEST(all_settings) {
	struct cube_node node = {.link = &link_of,
				 .id = 3,
				 .name = (char *)"n3",
				 .fallback = (char *)"RSA keys",
				 .set = {.host = (char *)"10.0.0.3",
					 .user = (char *)"u",
					 .identity = (char *)"/k",
					 .labels = (char *)"a=b",
					 .ssh_config = (char *)"/c",
					 .jump = (char *)"j@[::1]:22,b",
					 .transport = (char *)"docker exec -i {host}",
					 .port = 2222,
					 .strict_host_keys = true,
					 .become = true,
					 .connect_timeout_ns = 3500000000}};
	cube_strv_add(&node.set.options, "Port=1");
	cube_strv_add(&node.set.options, "ProxyCommand=nc \"%h\" '\xc3\xa9' %p");
	there_and_back(&node);
	ck_assert_str_eq(got.set.host, "10.0.0.3");
	ck_assert_str_eq(got.set.user, "u");
	ck_assert_str_eq(got.set.identity, "/k");
	ck_assert_str_eq(got.set.labels, "a=b");
	ck_assert_str_eq(got.set.ssh_config, "/c");
	ck_assert_str_eq(got.set.jump, "j@[::1]:22,b");
	ck_assert_str_eq(got.set.transport, "docker exec -i {host}");
	ck_assert_str_eq(got.fallback, "RSA keys");
	ck_assert_uint_eq(got.set.port, 2222);
	ck_assert(got.set.strict_host_keys && got.set.become && !got.set.local);
	ck_assert_uint_eq(got.set.connect_timeout_ns, 3500000000);
	ck_assert_uint_eq(got.set.options.len, 2);
	ck_assert_str_eq(got.set.options.v[0], node.set.options.v[0]);
	ck_assert_str_eq(got.set.options.v[1], node.set.options.v[1]);
	cube_strv_done(&node.set.options);
	done();
}
END_TEST

START_TEST(no_settings) {
	struct cube_node node = {.link = &link_of, .id = 1, .name = (char *)"n", .set.local = true};
	there_and_back(&node);
	ck_assert_ptr_null(got.set.host);
	ck_assert_ptr_null(got.set.user);
	ck_assert_ptr_null(got.set.identity);
	ck_assert_ptr_null(got.set.ssh_config);
	ck_assert_ptr_null(got.set.jump);
	ck_assert_ptr_null(got.set.transport);
	ck_assert_ptr_null(got.fallback);
	ck_assert_uint_eq(got.set.options.len, 0);
	ck_assert(!got.set.strict_host_keys && !got.set.become && got.set.local);
	done();
}
END_TEST

int main(void) {
	Suite *s = suite_create("node_row");
	TCase *tc = tcase_create("node_row");
	tcase_add_test(tc, all_settings);
	tcase_add_test(tc, no_settings);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
