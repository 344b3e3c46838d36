/* The bootstrap's command line in the login shells that are here, as a user without rights. */
/* Ahead of check.h, which takes the name `fail` for itself. */
#include "../../src/fleet/deploy/deploy.c"
#include "cube/images.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct shell {
	const char *path, *name;
} shells[] = {
	{"/bin/dash", "dash"}, {"/bin/bash", "bash"},     {"/bin/busybox", "sh"},
	{"/bin/zsh", "zsh"},   {"/usr/bin/fish", "fish"}, {"/bin/tcsh", "tcsh"},
};
enum { SHELLS = sizeof shells / sizeof shells[0] };

static char root[64], line[4096];
static struct cube_builds *builds;
static struct cube_deploy *deploy; /* NULL: it is over */

/* ---- what a deploy calls -----------------------------------------------------------------------
 */

static int take_line(struct cube_transport *t, const char *text, struct cube_err *err) {
	snprintf(line, sizeof line, "%s", text);
	return 0;
}
static int take_bytes(struct cube_transport *t, const void *bytes, size_t n) {
	return 0;
}
static size_t nothing_queued(const struct cube_transport *t) {
	return 0;
}
static void nothing(struct cube_transport *t) {}
static const struct cube_transport_ops ops = {.exec = take_line,
					      .write = take_bytes,
					      .queued = nothing_queued,
					      .end_write = nothing,
					      .resume = nothing,
					      .free = nothing};
static struct cube_transport transport = {&ops};

static bool begun;
static char failed[240], noted[400];
static int failed_code, asked;

static void on_stage(void *arg, enum cube_node_state stage) {}
static void on_step(void *arg, const char *step, double progress) {}
static void on_let_in(void *arg) {}
static void on_touched(void *arg, bool on) {}
static void on_note(void *arg, const char *text) {
	snprintf(noted, sizeof noted, "%s", text);
}
static void on_ask(void *arg, const struct cube_ask *ask) {
	asked += ask->kind == CUBE_ASK_BECOME;
}
static void over(void) {
	cube_deploy_free(deploy);
	deploy = NULL;
}
static void on_attached(void *arg) {
	begun = true;
	over();
}
static void on_cleaned(void *arg, const char *stays) {
	ck_abort_msg("nothing was to be cleaned");
}
static void on_failed(void *arg, const struct cube_err *err) {
	snprintf(failed, sizeof failed, "%s", err->msg);
	failed_code = err->code;
	over();
}
static const struct cube_deploy_events events = {
	.stage = on_stage,
	.step = on_step,
	.let_in = on_let_in,
	.touched = on_touched,
	.note = on_note,
	.ask = on_ask,
	.attached = on_attached,
	.cleaned = on_cleaned,
	.failed = on_failed,
};

static void begin(bool become) {
	struct cube_deploy_target target = {
		.cluster = 0x1234, .node = 7, .login = "user", .become = become};
	over();
	deploy = cube_deploy_new(&transport, builds, &target, &events, NULL);
	ck_assert_int_eq(cube_deploy_begin(deploy, NULL), 0);
}

/* ---- running a line ---------------------------------------------------------------------------
 */

static const char WORKER[] =
	"#!/bin/sh\n"
	"case $1 in install) mv \"$0\" \"${0%/*}/$2\"; echo CUBE $3 installed;;\n"
	"attach) echo CUBE $3 attach $4 $5 $6;; esac\n";

/* The answer of the line run by the shell, with input; as nobody where we are root. */
static void run_line(const struct shell *sh, const char *input, char *out, size_t size) {
	int in[2], to[2], status;
	size_t n = 0;
	ssize_t got;
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(to[1], 1);
		dup2(to[1], 2);
		if (getuid() == 0 && (setgid(65534) || setuid(65534))) _exit(97);
		if (strcmp(sh->path, "/bin/busybox"))
			execl(sh->path, sh->name, "-c", line, (char *)NULL);
		else execl(sh->path, "busybox", sh->name, "-c", line, (char *)NULL);
		_exit(99);
	}
	close(in[0]);
	close(to[1]);
	ck_assert_int_eq(write(in[1], input, strlen(input)), (ssize_t)strlen(input));
	close(in[1]);
	while ((got = read(to[0], out + n, size - 1 - n)) > 0) n += (size_t)got;
	out[n] = 0;
	close(to[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

static bool shell_here(const struct shell *sh) {
	if (access(sh->path, X_OK) == 0) return true;
	printf("skipped: there is no %s\n", sh->path);
	return false;
}

static void setup(void) {
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	snprintf(root, sizeof root, "/tmp/cube-deploy.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(chmod(root, 0777), 0);
	setenv("HOME", root, 1);
	unsetenv("XDG_RUNTIME_DIR");
	cube_builds_new(NULL, NULL, &builds);
	begun = false;
	*failed = 0;
	begin(false);
}

static void teardown(void) {
	over();
	cube_builds_free(builds);
	pid_t rm = fork();
	if (rm == 0) execl("/bin/rm", "rm", "-rf", root, (char *)NULL);
	waitpid(rm, NULL, 0); /* not just any child: check ends what is left of the test */
}

static void feed(const char *text) {
	cube_deploy_out(deploy, (const uint8_t *)text, strlen(text));
}

/* ---- tests ------------------------------------------------------------------------------------
 */

/* Probe, push, install, attach; then the warm start, and nothing is left by the last line. */
START_TEST(whole_way) {
	const struct shell *sh = &shells[_i];
	char out[8192], input[1024], dir[100];
	struct stat st;
	if (!shell_here(sh)) return;
	snprintf(dir, sizeof dir, "%s/deep/cube", root); /* its parent is not there: it is made */
	setenv("CUBE_DIR", dir, 1);
	unsigned long size;
	char sha[65];
	cube_worker_image(cube_worker_machine(0), &size, sha);
	snprintf(input, sizeof input, "%s\n%s", sha, WORKER);
	run_line(sh, input, out, sizeof out);
	const char *none = strstr(out, "none Linux ");
	ck_assert_msg(none && strstr(none, " installed\n"), "%s: %s", sh->path, out);
	snprintf(dir, sizeof dir, "%s/deep/cube/.made-parent", root);
	ck_assert_msg(stat(dir, &st) == 0, "%s: %s", sh->path, out);
	run_line(sh, "", out, sizeof out); /* the same line finds it now */
	ck_assert_msg(strstr(out, "attach 0000000000001234 7 1\n"), "%s: %s", sh->path, out);
	begin(false);
	ck_assert_int_eq(cube_deploy_clean(deploy, NULL), 0);
	run_line(sh, "", out, sizeof out);
	ck_assert_msg(strstr(out, " clean\n"), "%s: %s", sh->path, out);
	snprintf(dir, sizeof dir, "%s/deep", root);
	ck_assert_msg(access(dir, F_OK) < 0, "%s leaves %s", sh->path, dir);
}
END_TEST

/* A folder that is ours and cannot be written to is passed over. */
START_TEST(next_folder) {
	const struct shell *sh = &shells[_i];
	char out[8192], dir[100];
	if (!shell_here(sh)) return;
	snprintf(dir, sizeof dir, "%s/full", root);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	setenv("CUBE_DIR", dir, 1);
	char bin[120];
	snprintf(bin, sizeof bin, "%s/bin", dir);
	ck_assert_int_eq(mkdir(bin, 0755), 0);
	if (getuid() == 0) ck_assert_int_eq(chown(dir, 65534, 65534), 0);
	ck_assert_int_eq(chmod(bin, 0555), 0);
	run_line(sh, "", out, sizeof out); /* an empty upload: what is taken does not run */
	ck_assert_msg(strstr(out, "none Linux "), "%s gave up: %s", sh->path, out);
	snprintf(dir, sizeof dir, "skip 2 ; Permission denied: %s/full", root);
	ck_assert_msg(strstr(out, dir), "%s: %s", sh->path, out);
	snprintf(dir, sizeof dir, "; damaged on its way: %s/.cache/cube\n", root);
	ck_assert_msg(strstr(out, dir), "%s: %s", sh->path, out);
	snprintf(bin, sizeof bin, "%s/.cache/fish", root); /* fish 4 makes it for itself */
	snprintf(dir, sizeof dir, "%s/.cache%s", root, access(bin, F_OK) ? "" : "/cube");
	ck_assert_msg(access(dir, F_OK) < 0, "%s leaves %s", sh->path, dir);
}
END_TEST

/* The answer is found wherever noise is cut, and however long its line is. */
START_TEST(answer_after_noise) {
	static char text[20000];
	static const size_t lengths[] = {0, 1, 3500, 3990, 4050, 4090, 4096, 4097, 9000, 15000};
	memset(text, 'n', lengths[_i]);
	text[lengths[_i] / 2] = lengths[_i] ? 0 : 'C';
	char *at = text + lengths[_i];
	int len = snprintf(at, 200, "CUBE %s attach\nframes", deploy->nonce);
	size_t total = lengths[_i] + (size_t)len, cut = lengths[_i] + (size_t)len / 2, used;
	used = cube_deploy_out(deploy, (const uint8_t *)text, cut);
	ck_assert_uint_eq(used, cut);
	used = cube_deploy_out(deploy, (const uint8_t *)text + cut, total - cut);
	ck_assert(begun);
	ck_assert_uint_eq(cut + used, total - 6);
}
END_TEST

START_TEST(endless_line) {
	static char text[65536];
	memset(text, 'n', sizeof text);
	for (int i = 0; i < 16 && deploy; i++)
		cube_deploy_out(deploy, (const uint8_t *)text, sizeof text);
	ck_assert_ptr_nonnull(deploy);
	cube_deploy_out(deploy, (const uint8_t *)text, sizeof text);
	ck_assert_ptr_null(deploy);
	ck_assert_msg(strstr(failed, "more than 1 MiB"), "%s", failed);
}
END_TEST

START_TEST(what_the_host_says) {
	char answer[400];
	snprintf(answer, sizeof answer, "CUBE %s error \x1b[31mno folder\n", deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 1); /* looks again without the cache */
	snprintf(answer, sizeof answer, "CUBE %s error \x1b[31mno folder\n", deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 1);
	ck_assert_msg(strstr(failed, "no folder") && !strchr(failed, '\x1b'), "%s", failed);
}
END_TEST

/* A folder without room: the next line begins after it, and all are named at the end. */
START_TEST(folders_without_room) {
	char answer[400];
	snprintf(answer, sizeof answer, "CUBE %s none Linux %s\n", deploy->nonce,
		 cube_worker_machine(0));
	feed(answer);
	snprintf(answer, sizeof answer,
		 "CUBE %s skip 2 ; Read-only file system: /a; No space: /b\n", deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 1);
	ck_assert_ptr_nonnull(deploy);
	ck_assert_ptr_nonnull(strstr(line, "[ $i -gt 2 ]"));
	snprintf(answer, sizeof answer, "CUBE %s nowhere ; No space: /c; noexec: /d /e\n",
		 deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 0);
	ck_assert_ptr_null(deploy);
	ck_assert_str_eq(failed, "deploying: no folder can hold the worker (Read-only file system: "
				 "/a; No space: /b /c; noexec: /d /e)");
	begin(false);
	snprintf(answer, sizeof answer, "CUBE %s skip 0\n", deploy->nonce);
	feed(answer);
	ck_assert_ptr_null(deploy);
}
END_TEST

/* A cached worker lies where its daemon has no room: the next line does not run it again. It runs
 * from another folder, and that is told. */
START_TEST(cached_without_room) {
	char answer[400];
	*noted = 0;
	snprintf(answer, sizeof answer, "CUBE %s skip 1 ; Disk quota exceeded: /a\n",
		 deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 1);
	ck_assert_ptr_nonnull(strstr(line, "[ $i -gt 1 ] && [ \"$h\" ]"));
	snprintf(answer, sizeof answer, "CUBE %s attach /b\x1b\n", deploy->nonce);
	feed(answer);
	ck_assert(begun);
	ck_assert_str_eq(noted, "the worker is in /b\\x1b (Disk quota exceeded: /a)");
}
END_TEST

/* ---- sudo -------------------------------------------------------------------------------------
 */

/* Like sudo -S: asks on stderr with the -p text, reads a line byte by byte, runs the rest. */
static const char SUDO[] =
	"#!/bin/sh\n"
	"[ \"$1 $2 $3\" = '-H -S -p' ] || exit 98\n"
	"printf '%s' \"$4\" >&2; read -r word; [ \"$word\" = 'a b$c' ] || exit 97\n"
	"shift 4; exec \"$@\"\n";

static void become(void) {
	asked = failed_code = 0;
	begin(true);
}

/* What is run lies in the place of sudo, in $PATH. */
static void put_sudo(const char *text) {
	static char path[300];
	char file[100];
	snprintf(file, sizeof file, "%s/path", root);
	ck_assert_int_eq(mkdir(file, 0755), 0);
	snprintf(path, sizeof path, "%s:/usr/bin:/bin", file);
	snprintf(file, sizeof file, "%s/path/sudo", root);
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	setenv("PATH", path, 1);
}

START_TEST(line_by_sudo) {
	const struct shell *sh = &shells[_i];
	char out[8192], input[1024], sha[65];
	unsigned long size;
	if (!shell_here(sh)) return;
	put_sudo(SUDO);
	setenv("CUBE_DIR", root, 1);
	become();
	cube_worker_image(cube_worker_machine(0), &size, sha);
	snprintf(input, sizeof input, "a b$c\n%s\n%s", sha, WORKER);
	run_line(sh, input, out, sizeof out);
	ck_assert_msg(strstr(out, deploy->become.marker) && strstr(out, " hello\n") &&
			      strstr(out, "none Linux ") && strstr(out, " installed\n"),
		      "%s: %s", sh->path, out);
}
END_TEST

START_TEST(marker_at_any_byte) {
	become();
	char text[200];
	int n = snprintf(text, sizeof text, "the usual lecture\n%s", deploy->become.marker);
	for (int cut = 0; cut <= n; cut++) {
		become();
		n = snprintf(text, sizeof text, "the usual lecture\n%s", deploy->become.marker);
		cube_deploy_err(deploy, (const uint8_t *)text, (size_t)cut);
		ck_assert_int_eq(asked, cut == n);
		cube_deploy_err(deploy, (const uint8_t *)text + cut, (size_t)(n - cut));
		ck_assert_int_eq(asked, 1);
		cube_deploy_answer(deploy, "secret");
		cube_deploy_err(deploy, (const uint8_t *)"Sorry, try again.\n", 18);
		ck_assert_int_eq(failed_code, 0);
		cube_deploy_err(deploy, (const uint8_t *)deploy->become.marker,
				strlen(deploy->become.marker));
		ck_assert_int_eq(failed_code, CUBE_ELOGIN);
	}
}
END_TEST

static const struct {
	bool given;
	const char *said, *reason;
	int code;
} ends[] = {
	{false, "sudo: sorry, you must have a tty to run sudo\n", "requiretty", CUBE_EAUTH},
	{true, "user is not in the sudoers file.\n", "does not allow", CUBE_EAUTH},
	{true, "Sorry, user user may not run sudo on h.\n", "does not allow", CUBE_EAUTH},
	{true, "sudo: 1 incorrect password attempt\n", "refused the password", CUBE_ELOGIN},
	{false, "sudo: /etc/sudoers: syntax error\n", "syntax error", CUBE_EEXEC},
};

START_TEST(how_sudo_ends) {
	become();
	if (ends[_i].given) cube_deploy_answer(deploy, "secret");
	cube_deploy_err(deploy, (const uint8_t *)ends[_i].said, strlen(ends[_i].said));
	cube_deploy_end(deploy, 1);
	ck_assert_int_eq(failed_code, ends[_i].code);
	ck_assert_msg(strstr(failed, ends[_i].reason) != NULL, "%s", failed);
}
END_TEST

START_TEST(no_sudo_and_no_answer) {
	char answer[200];
	become();
	snprintf(answer, sizeof answer, "CUBE %s error sudo is not installed there\n",
		 deploy->nonce);
	feed(answer);
	cube_deploy_end(deploy, 1);
	ck_assert_str_eq(failed, "sudo is not installed there");
	become();
	cube_deploy_answer(deploy, NULL);
	ck_assert_int_eq(failed_code, CUBE_ELOGIN);
}
END_TEST

int main(void) {
	Suite *s = suite_create("deploy");
	TCase *t = tcase_create("deploy");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, whole_way, 0, SHELLS);
	tcase_add_loop_test(t, next_folder, 0, SHELLS);
	tcase_add_loop_test(t, answer_after_noise, 0, 10);
	tcase_add_test(t, endless_line);
	tcase_add_test(t, what_the_host_says);
	tcase_add_test(t, folders_without_room);
	tcase_add_test(t, cached_without_room);
	tcase_add_loop_test(t, line_by_sudo, 0, SHELLS);
	tcase_add_test(t, marker_at_any_byte);
	tcase_add_loop_test(t, how_sudo_ends, 0, sizeof ends / sizeof ends[0]);
	tcase_add_test(t, no_sudo_and_no_answer);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}
