/* Will logind take the worker along at logout? */
#include <check.h>
#include <string.h>

#include "cube/logind.h"

START_TEST(sessions) {
	ck_assert(cube_logind_is_session("0::/user.slice/user-1000.slice/session-3.scope\n"));
	ck_assert(cube_logind_is_session(
		"12:pids:/user.slice\n1:name=systemd:/user.slice/user-0.slice/"
		"session-c12.scope\n0::/\n"));
	ck_assert(!cube_logind_is_session(
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
		"cube-worker-7.scope\n"));
	ck_assert(!cube_logind_is_session("0::/system.slice/ssh.service\n"));
	ck_assert(!cube_logind_is_session("0::/session-holder\n1:x:/a.scope\n"));
	ck_assert(!cube_logind_is_session(""));
}
END_TEST

static const struct {
	const char *text, *user;
	bool kills;
} confs[] = {
	{"", "ann", false},
	{"[Login]\nKillUserProcesses=yes\n", "ann", true},
	{"[Login]\nKillUserProcesses=yes", "root", false},
	{"[Login]\n#KillUserProcesses=yes\n", "ann", false},
	{"[Login]\n  KillUserProcesses = true \r\n", "ann", true},
	{"[Other]\nKillUserProcesses=yes\n", "ann", false},
	{"[Login]\nKillUserProcesses=yes\nKillUserProcesses=no\n", "ann", false},
	{"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=root ann\n", "ann", false},
	{"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=root anna\n", "ann", true},
	{"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n", "root", true},
	{"[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n", "ann", false},
	{"[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob ann\n", "ann", true},
};

START_TEST(configurations) {
	struct cube_logind l = {0};
	cube_logind_read(&l, confs[_i].text);
	ck_assert_msg(cube_logind_kills(&l, confs[_i].user) == confs[_i].kills, "%s",
		      confs[_i].text);
}
END_TEST

/* A drop-in has the last word. */
START_TEST(files_override) {
	struct cube_logind l = {0};
	cube_logind_read(&l, "[Login]\nKillUserProcesses=yes\n");
	cube_logind_read(&l, "[Login]\nHandleLidSwitch=ignore\n");
	ck_assert(cube_logind_kills(&l, "ann"));
	cube_logind_read(&l, "[Login]\nKillUserProcesses=no\n");
	ck_assert(!cube_logind_kills(&l, "ann"));
}
END_TEST

START_TEST(long_lines) {
	static char text[40000];
	struct cube_logind l = {0};
	memset(text, 'x', sizeof text - 1);
	memcpy(text, "[Login]\nKillExcludeUsers=", 25);
	memcpy(text + 30000, "\nKillUserProcesses=1\n", 21);
	cube_logind_read(&l, text);
	ck_assert(cube_logind_kills(&l, "ann"));
}
END_TEST

int main(void) {
	Suite *s = suite_create("logind");
	TCase *t = tcase_create("logind");
	tcase_add_test(t, sessions);
	tcase_add_loop_test(t, configurations, 0, sizeof confs / sizeof confs[0]);
	tcase_add_test(t, files_override);
	tcase_add_test(t, long_lines);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}
