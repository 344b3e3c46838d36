/* The body of POST /v1/nodes, from options, host expressions and a hosts file. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asking.h"
#include "connopts.h"

static const char HOSTS[] =
	"a user=filed port=7 key=/k jump=fj transport=openssh slots=2 labels=l\n"
	"b host=10.0.0.2 slots=3\nlocalhost slots=4\n";

/* With these options (user, port, jump: all or none), and what a node of it should be. */
static const struct {
	const char *workers;
	bool file, given;
	uint64_t slots;
	const char *want;
} rows[] = {
	{"a", false, false, CUBE_OPT_UNSET, "{'name':'a','host':'a'}"},
	{"a", false, true, CUBE_OPT_UNSET, "{'name':'a','host':'a','user':'opt','port':9}"},
	{"me@a:5", false, true, 1, "{'name':'a:5','host':'a','user':'me','port':5,'slots':1}"},
	{"a", true, false, CUBE_OPT_UNSET,
	 "{'name':'a','host':'a','user':'filed','port':7,'key':'/k','jump':'fj',"
	 "'transport':'openssh','slots':2,'labels':'l'}"},
	{"a", true, true, 1, /* the host's own transport stays; its jump does not */
	 "{'name':'a','host':'a','user':'opt','port':9,'key':'/k','transport':'openssh',"
	 "'slots':1,'labels':'l'}"},
	{"me@a", true, true, CUBE_OPT_UNSET,
	 "{'name':'a','host':'a','user':'me','port':9,'key':'/k','transport':'openssh',"
	 "'slots':2,'labels':'l'}"},
	{"b", true, false, CUBE_OPT_UNSET, "{'name':'b','host':'10.0.0.2','slots':3}"},
	{"localhost", true, true, CUBE_OPT_UNSET, "{'name':'localhost','local':true,'slots':4}"},
	{"localhost", false, true, CUBE_OPT_UNSET, "{'name':'localhost','local':true}"},
};

static json_t *json_of(const char *text) {
	char *s = strdup(text);
	for (char *p = s; *p; p++)
		if (*p == '\'') *p = '"';
	json_t *v = json_loads(s, 0, NULL);
	ck_assert_ptr_nonnull(v);
	free(s);
	return v;
}

static void same(const json_t *got, const char *want) {
	json_t *v = json_of(want);
	if (!json_equal(got, v)) {
		char *text = json_dumps(got, JSON_ENCODE_ANY);
		ck_abort_msg("%s is not %s", text, want);
	}
	json_decref(v);
}

static void select_hosts(struct cube_selection *s, const char *workers, bool file) {
	struct cube_nodeset_source source = {0};
	struct cube_err err;
	ck_assert_int_eq(cube_nodeset_parse(&s->set, workers, &source, &err), 0);
	if (file)
		ck_assert_int_eq(
			cube_hosts_parse(&s->hosts, HOSTS, sizeof HOSTS - 1, "hosts", &err), 0);
	s->has_hosts = file;
}

static struct cube_conn_options nothing(void) {
	return (struct cube_conn_options){.port = CUBE_OPT_UNSET,
					  .host_key_check = "accept-new",
					  .transport = "auto",
					  .connect_timeout = 10000000000};
}

START_TEST(precedence) {
	struct cube_conn_options o = nothing();
	struct cube_selection s = {0};
	struct cube_err err;
	json_t *body;
	if (rows[_i].given) o.user = "opt", o.port = 9, o.jump = "oj", o.transport = "ssh";
	select_hosts(&s, rows[_i].workers, rows[_i].file);
	ck_assert_int_eq(cube_conn_body(&o, &s, rows[_i].slots, &body, &err), 0);
	same(json_array_get(json_object_get(body, "nodes"), 0), rows[_i].want);
	ck_assert_pstr_eq(cube_json_str(body, "jump", NULL), o.jump);
	ck_assert_str_eq(cube_json_str(body, "transport", ""), o.transport);
	ck_assert_str_eq(cube_json_str(body, "host_key_check", ""), "accept-new");
	ck_assert(cube_json_num(body, "connect_timeout", 0) == 10);
	ck_assert_int_eq(cube_json_true(body, "ask"), cube_asking_possible());
	ck_assert(!cube_json_true(body, "become"));
	json_decref(body);
	cube_selection_done(&s);
}
END_TEST

/* @ stands for the present folder. */
static const struct {
	const char *word, *want; /* NULL: refused */
} options[] = {
	{"Port=22", "Port=22"},
	{"Port 22", "Port=22"},
	{"Port = 22", "Port=22"},
	{"port\t22", "port=22"},
	{"ProxyCommand=nc -x a=b %h %p", "ProxyCommand=nc -x a=b %h %p"},
	{"IdentityFile=key", "IdentityFile=@/key"},
	{"identityfile ~/key", "identityfile=~/key"},
	{"IdentityFile=/key", "IdentityFile=/key"},
	{"IdentityFile=%d/key", "IdentityFile=%d/key"},
	{"IdentityFile=${X}/key", "IdentityFile=${X}/key"},
	{"IdentityFile=none", "IdentityFile=none"},
	{"IdentityFile=\"a b\"", "IdentityFile=\"a b\""},
	{"UserKnownHostsFile=a /b  c", "UserKnownHostsFile=@/a /b  @/c"},
	{"Port", NULL},
	{"Port=", NULL},
	{"=22", NULL},
	{"", NULL},
	{"User=\xff", NULL},
};

START_TEST(ssh_options) {
	struct cube_conn_options o = nothing();
	struct cube_selection s = {0};
	struct cube_err err;
	json_t *body = NULL;
	char *here = getcwd(NULL, 0);
	const char *want = options[_i].want, *at = want ? strchr(want, '@') : NULL;
	select_hosts(&s, "a", false);
	cube_strv_add(&o.options, options[_i].word);
	int rc = cube_conn_body(&o, &s, CUBE_OPT_UNSET, &body, &err);
	ck_assert_int_eq(rc, want ? 0 : CUBE_EUSAGE);
	if (!want) ck_assert_ptr_nonnull(strstr(err.msg, "--option"));
	const char *got = json_string_value(json_array_get(json_object_get(body, "options"), 0));
	if (at) { /* each @ */
		struct cube_buf full;
		cube_buf_init(&full, 65536);
		for (const char *p = want; *p; p++) {
			if (*p == '@') cube_buf_addstr(&full, here);
			else cube_buf_add(&full, p, 1);
		}
		ck_assert_pstr_eq(got, cube_buf_str(&full));
		cube_buf_done(&full);
	} else {
		ck_assert_pstr_eq(got, want);
	}
	free(here);
	json_decref(body);
	cube_strv_done(&o.options);
	cube_selection_done(&s);
}
END_TEST

START_TEST(paths) {
	struct cube_conn_options o = nothing();
	struct cube_selection s = {0};
	struct cube_err err;
	json_t *body;
	setenv("HOME", "/etc", 1);
	select_hosts(&s, "a", true);
	o.identity = "~/passwd";
	o.ssh_config = "none";
	o.become = true;
	ck_assert_int_eq(cube_conn_body(&o, &s, CUBE_OPT_UNSET, &body, &err), 0);
	const json_t *node = json_array_get(json_object_get(body, "nodes"), 0);
	ck_assert_str_eq(cube_json_str(node, "key", ""), "/etc/passwd"); /* not the file's */
	ck_assert_str_eq(cube_json_str(body, "ssh_config", ""), "none");
	ck_assert(cube_json_true(body, "become"));
	json_decref(body);
	o.ssh_config = "/nonexistent/x";
	ck_assert_int_lt(cube_conn_body(&o, &s, CUBE_OPT_UNSET, &body, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/x"));
	cube_selection_done(&s);
}
END_TEST

int main(void) {
	Suite *s = suite_create("connopts");
	TCase *tc = tcase_create("connopts");
	tcase_add_loop_test(tc, precedence, 0, sizeof rows / sizeof rows[0]);
	tcase_add_loop_test(tc, ssh_options, 0, sizeof options / sizeof options[0]);
	tcase_add_test(tc, paths);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
