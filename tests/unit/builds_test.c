/* Workers built on demand: the cache, the waiting, and real cross compilers where there are any. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/builds.h"
#include "cross.h"
#include "cube/mem.h"

static char root[64];
static struct cube_loop *loop;
static struct cube_builds *builds;

static void put_file(const char *name, const char *text, mode_t mode) {
	cube_autofree char *path = cube_strf("%s/%s", root, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static char *path_of(const char *name) {
	return cube_strf("%s/%s", root, name);
}

static void reopen(void) {
	cube_autofree char *cache = path_of("cache");
	cube_builds_free(builds);
	cube_builds_new(loop, cache, &builds);
}

static void setup(void) {
	snprintf(root, sizeof root, "/tmp/cube-builds.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(cube_loop_new(&loop, NULL), 0);
	reopen();
}

static void teardown(void) {
	cube_builds_free(builds);
	builds = NULL;
	cube_loop_free(loop);
	pid_t rm = fork();
	if (rm == 0) execl("/bin/rm", "rm", "-rf", root, (char *)NULL);
	waitpid(rm, NULL, 0); /* not just any child: check ends what is left of the test */
}

static struct answer {
	const struct cube_image *image;
	char error[240];
	int done;
} answers[2];

static void on_built(void *arg, const struct cube_image *image, const struct cube_err *err) {
	struct answer *a = arg;
	if (!image && !err) return;
	a->done++;
	a->image = image;
	if (err) snprintf(a->error, sizeof a->error, "%s", err->msg);
}

static struct cube_builds_wait waits[2];

static int ask(int i, const char *machine, struct cube_err *err) {
	memset(&answers[i], 0, sizeof answers[i]);
	waits[i] = (struct cube_builds_wait){.fn = on_built, .arg = &answers[i]};
	return cube_builds_make(builds, machine, &waits[i], err);
}

static void until_done(int i) {
	while (!answers[i].done) ck_assert_int_eq(cube_loop_turn(loop, 1000, NULL), 0);
}

/* A "compiler" that counts its runs and copies a program to what follows -o. */
static void fake_compiler(const char *variable, const char *program) {
	cube_autofree char *cc = path_of("cc");
	cube_autofree char *text =
		cube_strf("#!/bin/sh\n"
			  "echo run >>%s/runs\n"
			  "for a; do [ \"$o\" = -o ] && cp %s \"$a\"; o=$a; done\n",
			  root, program);
	put_file("cc", text, 0755);
	setenv(variable, cc, 1);
}

static long runs(void) {
	struct stat st;
	cube_autofree char *path = path_of("runs");
	return stat(path, &st) < 0 ? 0 : (long)st.st_size / 4;
}

/* This laptop's own worker is a static program of a known architecture. */
static void write_own(const char *name) {
	const struct cube_image *own = cube_builds_at(builds, 0);
	cube_autofree char *path = path_of(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ck_assert_ptr_nonnull(own);
	ck_assert_int_eq(write(fd, own->bytes, own->size), (ssize_t)own->size);
	close(fd);
}

START_TEST(embedded) {
	struct utsname u;
	ck_assert_int_eq(uname(&u), 0);
	const struct cube_image *own = cube_builds_find(builds, u.machine);
	ck_assert_ptr_nonnull(own);
	ck_assert_uint_eq(strlen(own->sha256), 64);
	ck_assert_ptr_null(cube_builds_find(builds, "riscv64"));
	ck_assert_ptr_null(cube_builds_at(builds, 99));
}
END_TEST

/* Two hosts, one run; what is no program is nobody's worker. */
START_TEST(once_for_all) {
	const char *machine = "odd-machine";
	struct cube_err err;
	cube_autofree char *own = path_of("own");
	put_file("own",
		 "\x7f"
		 "ELF\2\1\1 ................................................",
		 0755);
	fake_compiler("CUBE_CC_ODD_MACHINE", own);
	ck_assert_int_eq(ask(0, machine, &err), 0);
	ck_assert_int_eq(ask(1, machine, &err), 0);
	until_done(0);
	ck_assert_int_eq(answers[1].done, 1);
	ck_assert_msg(strstr(answers[1].error, "no ELF program"), "%s", answers[1].error);
	ck_assert_int_eq(runs(), 1);
}
END_TEST

START_TEST(wrong_architecture) {
	struct cube_err err;
	cube_autofree char *own = path_of("own");
	struct utsname u;
	uname(&u);
	if (strcmp(u.machine, "x86_64")) {
		printf("skipped: not on x86_64\n");
		return;
	}
	/* A 32-bit x86 is what an x86_64 worker is not: the wrong one is refused. */
	write_own("own");
	fake_compiler("CUBE_CC_I686", own);
	ck_assert_int_eq(ask(0, "i686", &err), 0);
	until_done(0);
	ck_assert_ptr_null(answers[0].image);
	ck_assert_msg(strstr(answers[0].error, "another architecture"), "%s", answers[0].error);
	reopen();
	ck_assert_ptr_null(cube_builds_find(builds, "i686"));
}
END_TEST

START_TEST(no_compiler) {
	struct cube_err err;
	setenv("PATH", root, 1);
	unsetenv("CUBE_CC_RISCV64");
	ck_assert_int_eq(ask(0, "riscv64", &err), CUBE_ENOTFOUND);
	ck_assert_msg(strstr(err.msg, "gcc-riscv64-linux-gnu") &&
			      strstr(err.msg, "CUBE_CC_RISCV64"),
		      "%s", err.msg);
	ck_assert_int_eq(ask(0, "vax", &err), CUBE_ENOTFOUND);
	ck_assert_msg(strstr(err.msg, "vax-linux-gnu-gcc"), "%s", err.msg);
	ck_assert_int_eq(ask(0, "../../etc", &err), CUBE_ENOTFOUND);
	ck_assert_int_eq(ask(0, "", &err), CUBE_ENOTFOUND);
}
END_TEST

/* The error shows the compiler's complaint and names the file with the rest. */
START_TEST(complaint) {
	struct cube_err err;
	struct stat st;
	put_file("cc",
		 "#!/bin/sh\necho warming up\necho 'x.c:1: error: no such thing' >&2\nexit 3\n",
		 0755);
	cube_autofree char *cc = path_of("cc"), *log = path_of("cache/workers/s390x.log");
	setenv("CUBE_CC_S390X", cc, 1);
	ck_assert_int_eq(ask(0, "s390x", &err), 0);
	until_done(0);
	ck_assert_msg(strstr(answers[0].error, "error: no such thing") &&
			      strstr(answers[0].error, "s390x.log"),
		      "%s", answers[0].error);
	ck_assert_int_eq(stat(log, &st), 0);
}
END_TEST

/* The first error of a compiler that goes on and on. */
START_TEST(long_complaint) {
	struct cube_err err;
	put_file("cc",
		 "#!/bin/sh\necho 'x.c:1: error: no such thing' >&2\n"
		 "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2\nexit 3\n",
		 0755);
	cube_autofree char *cc = path_of("cc");
	setenv("CUBE_CC_S390X", cc, 1);
	ck_assert_int_eq(ask(0, "s390x", &err), 0);
	until_done(0);
	ck_assert_msg(strstr(answers[0].error, "error: no such thing"), "%s", answers[0].error);
}
END_TEST

START_TEST(cancelled) {
	struct cube_err err;
	setenv("CUBE_CC_S390X", "/bin/false", 1);
	ck_assert_int_eq(ask(0, "s390x", &err), 0);
	ck_assert_int_eq(ask(1, "s390x", &err), 0);
	cube_builds_cancel(&waits[0]);
	until_done(1);
	ck_assert_int_eq(answers[0].done, 0);
}
END_TEST

/* Real compilers: the program runs (under qemu-user) and is of this version. */
static const struct real {
	const char *machine, *gcc, *qemu;
} reals[] = {
	{"riscv64", "riscv64-linux-gnu-gcc", "qemu-riscv64-static"},
	{"armv7l", "arm-linux-gnueabihf-gcc", "qemu-arm-static"},
};

static bool here(const char *program) {
	cube_autofree char *path = cube_strf("/usr/bin/%s", program);
	if (access(path, X_OK) == 0) return true;
	printf("skipped: there is no %s\n", program);
	return false;
}

START_TEST(real_compiler) {
	const struct real *r = &reals[_i];
	struct cube_err err;
	char text[256] = "";
	if (!here(r->gcc) || !here(r->qemu)) return;
	ck_assert_int_eq(ask(0, r->machine, &err), 0);
	until_done(0);
	ck_assert_msg(answers[0].image != NULL, "%s", answers[0].error);
	char sha256[65];
	snprintf(sha256, sizeof sha256, "%s", answers[0].image->sha256);
	reopen(); /* the next manager finds it */
	const struct cube_image *image = cube_builds_find(builds, r->machine);
	ck_assert_ptr_nonnull(image);
	ck_assert_str_eq(image->sha256, sha256);
	cube_autofree char *program = path_of("program");
	int fd = open(program, O_WRONLY | O_CREAT, 0755);
	ck_assert_int_eq(write(fd, image->bytes, image->size), (ssize_t)image->size);
	close(fd);
	cube_autofree char *line = cube_strf("%s %s version", r->qemu, program);
	FILE *p = popen(line, "r");
	size_t n = fread(text, 1, sizeof text - 1, p);
	text[n] = 0;
	ck_assert_int_eq(pclose(p), 0);
	ck_assert_msg(strstr(text, CUBE_VERSION) && strstr(text, sha256), "%s", text);
	/* A file whose content changed is not used. */
	cube_autofree char *spoil =
		cube_strf("for f in %s/cache/workers/%s-*; do echo >>$f; done", root, r->machine);
	p = popen(spoil, "r");
	ck_assert_int_eq(pclose(p), 0);
	reopen();
	ck_assert_ptr_null(cube_builds_find(builds, r->machine));
}
END_TEST

int main(void) {
	Suite *s = suite_create("builds");
	TCase *t = tcase_create("builds");
	tcase_set_timeout(t, 180);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, embedded);
	tcase_add_test(t, once_for_all);
	tcase_add_test(t, wrong_architecture);
	tcase_add_test(t, no_compiler);
	tcase_add_test(t, complaint);
	tcase_add_test(t, long_complaint);
	tcase_add_test(t, cancelled);
	tcase_add_loop_test(t, real_compiler, 0, sizeof reals / sizeof reals[0]);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}
