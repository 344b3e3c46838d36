/* Copies from a sender to a receiver in one process, over a wire that hands bytes on in pieces and
 * can be cut, and receivers that hear from a hostile sender. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/copy/record.h"
#include "cube/copy.h"
#include "cube/mem.h"
#include "hostile.h"

static char top[64], before[4096];
static char told[8192]; /* "path: message\n" of all problems, of the receiver's callback */

/* Another cube that is faster, once: before a lock is asked for, or before a name is removed. As
 * cube does, it removes what it could lock only, and puts a part of its own there. */
static char rival_at[4096];
static bool rival_unlocked;
static ino_t rivals;

static void rival(void) {
	int fd = open(rival_at, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd >= 0 && syscall(SYS_flock, fd, LOCK_EX | LOCK_NB) == 0) {
		unlink(rival_at);
		int mine = open(rival_at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (mine >= 0 && fstat(mine, &st) == 0) rivals = st.st_ino;
		/* it stays open, so that no other file gets that number */
	}
	close(fd);
	rival_at[0] = '\0';
}

int flock(int fd, int operation) {
	if (rival_at[0] && !rival_unlocked) rival();
	return (int)syscall(SYS_flock, fd, operation);
}

int unlinkat(int dir, const char *name, int flags) {
	if (rival_at[0] && rival_unlocked) rival();
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

static void note(void *arg, const char *path, const char *message) {
	size_t at = strlen(told);
	snprintf(told + at, sizeof told - at, "%s: %s\n", path, message);
}

static void setup(void) {
	ck_assert_ptr_nonnull(getcwd(before, sizeof before));
	snprintf(top, sizeof top, "/tmp/copy-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chdir(top), 0);
	told[0] = '\0';
	umask(022);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	if (S_ISDIR(st->st_mode)) chmod(path, 0700);
	return remove(path);
}

static void teardown(void) {
	ck_assert_int_eq(chdir(before), 0);
	nftw(top, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

/* ---- files -------------------------------------------------------------------------------- */

static void make(const char *path, const void *bytes, size_t n) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static uint8_t *noise(size_t n, uint64_t seed) {
	uint8_t *p = malloc(n + 8);
	for (size_t i = 0; i < n; i += 8) {
		uint64_t v = rnd_next(&seed);
		memcpy(p + i, &v, 8);
	}
	return p;
}

static void make_noise(const char *path, size_t n, uint64_t seed) {
	cube_autofree uint8_t *p = noise(n, seed);
	make(path, p, n);
}

static void set_times(const char *path, time_t s, long ns) {
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = s, .tv_nsec = ns}};
	ck_assert_int_eq(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static bool exists(const char *path) {
	struct stat st;
	return lstat(path, &st) == 0;
}

/* Equal: type, mode, mtime, contents, link target; of folders all that is in them. */
static void same(const char *a, const char *b) {
	struct stat x, y;
	ck_assert_msg(lstat(a, &x) == 0, "%s: %s", a, strerror(errno));
	ck_assert_msg(lstat(b, &y) == 0, "%s: %s", b, strerror(errno));
	ck_assert_msg(x.st_mode == y.st_mode, "%s: mode %o, not %o", b, y.st_mode, x.st_mode);
	ck_assert_msg(x.st_mtim.tv_sec == y.st_mtim.tv_sec &&
			      x.st_mtim.tv_nsec == y.st_mtim.tv_nsec,
		      "%s: mtime", b);
	if (S_ISLNK(x.st_mode)) {
		char t[4096], u[4096];
		ssize_t n = readlink(a, t, sizeof t), m = readlink(b, u, sizeof u);
		ck_assert(n == m && memcmp(t, u, (size_t)n) == 0);
	} else if (S_ISREG(x.st_mode)) {
		ck_assert_int_eq(x.st_size, y.st_size);
		int i = open(a, O_RDONLY), j = open(b, O_RDONLY);
		uint8_t p[65536], q[65536];
		ssize_t n;
		while ((n = read(i, p, sizeof p)) > 0) {
			ck_assert_int_eq(read(j, q, sizeof q), n);
			ck_assert_msg(memcmp(p, q, (size_t)n) == 0, "%s differs", b);
		}
		close(i);
		close(j);
	} else if (S_ISDIR(x.st_mode)) {
		DIR *d = opendir(a);
		unsigned n = 0, m = 0;
		for (struct dirent *e; (e = readdir(d)); n++) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
			cube_autofree char *p = cube_strf("%s/%s", a, e->d_name);
			cube_autofree char *q = cube_strf("%s/%s", b, e->d_name);
			same(p, q);
		}
		closedir(d);
		d = opendir(b);
		while (readdir(d)) m++;
		closedir(d);
		ck_assert_msg(n == m, "%s: %u entries, not %u", b, m, n);
	}
}

/* The part in dir, its size; NULL where there is none. Fails where there are two. */
static const char *part_in(const char *dir, off_t *ret_size) {
	static char path[4096];
	DIR *d = opendir(dir);
	bool found = false;
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (!strstr(e->d_name, ".cube-part")) continue;
		ck_assert_msg(!found, "two parts");
		found = true;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		ck_assert_int_eq(stat(path, &st), 0);
		if (ret_size) *ret_size = st.st_size;
	}
	closedir(d);
	return found ? path : NULL;
}

/* ---- a copy ------------------------------------------------------------------------------- */

struct wire {
	size_t piece; /* bytes handed on at a time */
	uint64_t cut; /* after so many bytes to the receiver; 0: never */
	bool again, folder, no_note;
	uint64_t passed;
	struct cube_copy_counts sent, received;
};

static bool carry(struct wire *w, struct cube_sender *s, struct cube_receiver *r) {
	struct cube_err err;
	struct cube_slice out;
	size_t used, n;
	for (unsigned idle = 0; idle < 1000;) {
		struct cube_buf *back = cube_receiver_out(r);
		bool moved = false;
		if (cube_sender_next(s, &out) == 0) {
			n = out.n < w->piece ? out.n : w->piece;
			if (w->cut && w->passed + n > w->cut) n = (size_t)(w->cut - w->passed);
			moved = out.n == 0;
			if (!cube_receiver_busy(r) && n > 0) {
				ck_assert_msg(cube_receiver_feed(r, out.p, n, &used, &err) == 0,
					      "%s", err.msg);
				cube_sender_sent(s, used);
				w->passed += used;
				moved = moved || used > 0;
			}
			if (w->cut && w->passed == w->cut) return false;
		}
		if (cube_receiver_busy(r)) {
			ck_assert_int_eq(cube_receiver_feed(r, NULL, 0, &used, &err), 0);
			moved = true;
		}
		n = cube_buf_len(back) < w->piece ? cube_buf_len(back) : w->piece;
		if (n > 0) {
			ck_assert_msg(cube_sender_feed(s, cube_buf_data(back), n, &err) == 0, "%s",
				      err.msg);
			cube_buf_consume(back, n);
			moved = true;
		}
		if (cube_sender_done(s) && cube_receiver_done(r)) return true;
		idle = moved ? 0 : idle + 1;
	}
	ck_abort_msg("the copy hangs");
	return false;
}

/* True where it came to its end. */
static bool copy_all(struct wire *w, const char *const *paths, size_t n, const char *dest) {
	struct cube_sender_config sc = {.paths = paths, .n = n, .again = w->again};
	struct cube_receiver_config rc = {.dest = dest, .folder = w->folder};
	cube_copy_measure(paths, n, &sc.total_files, &sc.total_bytes);
	if (!w->no_note) rc.problem = note;
	if (!w->piece) w->piece = 256 << 10;
	struct cube_sender *s = cube_sender_new(&sc);
	struct cube_receiver *r = cube_receiver_new(&rc);
	w->passed = 0;
	bool whole = carry(w, s, r);
	w->sent = *cube_sender_counts(s);
	w->received = *cube_receiver_counts(r);
	cube_sender_free(s);
	cube_receiver_free(r);
	return whole;
}

static struct wire copy(const char *path, const char *dest) {
	struct wire w = {0};
	ck_assert(copy_all(&w, &path, 1, dest));
	return w;
}

/* ---- round trips -------------------------------------------------------------------------- */

static void make_tree(void) {
	char name[300] = "src/";
	for (int i = 1; i < 32; i++) name[3 + i] = (char)(i == 10 ? '\n' : i);
	ck_assert_int_eq(mkdir("src", 0755), 0);
	ck_assert_int_eq(mkdir("src/a", 0755), 0);
	ck_assert_int_eq(mkdir("src/a/none", 0755), 0);
	make(name, "bytes", 5);
	make("src/\xff\xfe", "not utf-8", 9);
	make("src/-rf", "", 0);
	make("src/.hidden", "x", 1);
	memset(name + 4, 'n', 255);
	name[259] = '\0';
	make(name, "huge name", 9);
	make_noise("src/a/small", 100000, 1);
	make_noise("src/a/limit", CUBE_COPY_RESUMES, 2);
	make_noise("src/a/over", CUBE_COPY_RESUMES + 1, 3);
	make_noise("src/a/large", 3000000, 4);
	make("src/a/sparse", "begin", 5);
	ck_assert_int_eq(truncate("src/a/sparse", 80 << 20), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "src/link"), 0);
	ck_assert_int_eq(symlink("nowhere", "src/a/dangling"), 0);
	set_times("src/link", 1, 999999999);
	set_times("src/a/small", 981173106, 123456789);
	set_times("src/a/over", -5, 7);
	chmod("src/a/small", 0640);
	chmod("src/a/large", 0400);
	chmod("src/a/limit", 0777);
	chmod("src/a/none", 0555);
	set_times("src/a/none", 1000000000, 1);
	set_times("src/a", 1000000000, 2);
	set_times("src", 1000000000, 3);
}

START_TEST(trees) {
	static const size_t pieces[] = {1 << 20, 4099, 7};
	make_tree();
	for (size_t i = 0; i < 3; i++) {
		cube_autofree char *dest = cube_strf("d%zu", i);
		struct wire w = {.piece = pieces[i]};
		ck_assert(copy_all(&w, &(const char *){"src"}, 1, dest));
		same("src", dest);
		ck_assert_str_eq(told, "");
		ck_assert_uint_eq(w.sent.files, 12);
		ck_assert_uint_eq(w.received.files, 12);
		ck_assert_uint_eq(w.received.bytes, w.sent.bytes);
		ck_assert_uint_eq(w.received.total_bytes, w.sent.bytes);
		ck_assert_uint_eq(w.received.total_files, 12);
		ck_assert_uint_lt(w.passed, 6 << 20); /* holes are not sent */
		struct stat st;
		cube_autofree char *sparse = cube_strf("%s/a/sparse", dest);
		stat(sparse, &st);
		ck_assert_int_lt(st.st_blocks, 2000);
	}
	copy("src", "d0"); /* into it, now that it is there */
	same("src", "d0/src");
	copy("src", "d0"); /* and over that, with its read-only files and folders */
	same("src", "d0/src");
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(many_small) {
	ck_assert_int_eq(mkdir("src", 0755), 0);
	for (int i = 0; i < 3000; i++) {
		cube_autofree char *path = cube_strf("src/%d", i);
		make(path, path, strlen(path));
	}
	struct wire w = copy("src", "dst");
	same("src", "dst");
	ck_assert_uint_eq(w.received.files, 3000);
}
END_TEST

START_TEST(places) {
	const char *two[] = {"one", "two"};
	struct wire w = {.folder = true};
	make("one", "1", 1);
	make("two", "2", 1);
	copy("one", "three"); /* a new name */
	same("one", "three");
	copy("two", "three"); /* over a file */
	same("two", "three");
	mkdir("dir", 0755);
	copy("one", "dir");
	same("one", "dir/one");
	copy("one", "dir/");
	ck_assert(copy_all(&w, two, 2, "dir"));
	same("two", "dir/two");
	ck_assert_str_eq(told, "");
	copy("one", "dst/");
	ck_assert_str_eq(told, "dst/: no such folder\n");
	told[0] = '\0';
	ck_assert(copy_all(&w, two, 2, "dst"));
	ck_assert_str_eq(told, "dst: no such folder\n");
	told[0] = '\0';
	ck_assert(copy_all(&w, two, 2, "three"));
	ck_assert_str_eq(told, "three: is no folder\n");
	told[0] = '\0';
	copy("one", "no/where");
	ck_assert_str_eq(told, "no/where: No such file or directory\n");
	told[0] = '\0';
	copy("dir", "three");
	ck_assert_str_eq(told, "three: is no folder\n");
	told[0] = '\0';
	copy("one", "one/below");
	ck_assert_str_eq(told, "one/below: Not a directory\n");
	copy("dir", "new/");
	same("dir", "new");
	copy("dir/.", "new2"); /* what is in it */
	same("dir/one", "new2/one");
	chmod("new2", 0700);
	copy("dir/", "new2");
	same("dir", "new2/dir");
	copy("dir/.", "new2");
	struct stat st;
	stat("new2", &st);
	ck_assert_int_eq(st.st_mode & 0777, 0700); /* it was there: left as it is */
	symlink("dir", "todir");
	symlink("dir/one", "toone");
	copy("two", "todir"); /* what is named is followed */
	ck_assert(exists("dir/two"));
	copy("two", "toone");
	same("two", "dir/one");
	copy("toone", "followed");
	same("two", "followed");
	char here[PATH_MAX], far[PATH_MAX + 16];
	ck_assert_ptr_nonnull(getcwd(here, sizeof here));
	snprintf(far, sizeof far, "%s/dir/back", here);
	symlink(far, "chain"); /* by a full name, then by ones of the folders they lie in */
	symlink("../new2/./on", "dir/back");
	symlink("one", "new2/on");
	make("other", "other", 5);
	copy("other", "chain");
	same("other", "new2/one");
	ck_assert(lstat("chain", &st) == 0 && S_ISLNK(st.st_mode));
	ck_assert(lstat("new2/on", &st) == 0 && S_ISLNK(st.st_mode));
}
END_TEST

START_TEST(problems_go_on) {
	const char *paths[] = {"none", "src", "file/"};
	struct wire w = {.folder = true};
	mkdir("src", 0755);
	mkdir("dst", 0755);
	mkdir("dst/src", 0755);
	mkdir("dst/src/a", 0755); /* where a file is to be */
	make("dst/src/d", "", 0); /* where a folder is to be */
	make("src/a", "x", 1);
	make_noise("src/b", 3 << 20, 1);
	mkdir("dst/src/b", 0755); /* a large one */
	make("src/c", "y", 1);
	mkdir("src/d", 0755);
	mkdir("src/d/e", 0755);
	make("src/d/e/f", "lost", 4);
	make_noise("src/d/e/g", 3 << 20, 1);
	ck_assert_int_eq(mkfifo("src/fifo", 0644), 0);
	ck_assert_int_eq(mkfifo("dst/src/c", 0644), 0);
	make("file", "", 0);
	ck_assert(copy_all(&w, paths, 3, "dst"));
	ck_assert_ptr_nonnull(strstr(told, "none: No such file or directory\n"));
	ck_assert_ptr_nonnull(strstr(told, "dst/src/a: a folder is in the way\n"));
	ck_assert_ptr_nonnull(strstr(told, "dst/src/b: a folder is in the way\n"));
	ck_assert_ptr_nonnull(strstr(told, "dst/src/c: something that is no file is in the way\n"));
	ck_assert_ptr_nonnull(
		strstr(told, "dst/src/d: something that is no folder is in the way\n"));
	ck_assert_ptr_nonnull(strstr(told, "src/fifo: is no file, folder or link\n"));
	ck_assert_ptr_nonnull(strstr(told, "file/: Not a directory\n"));
	ck_assert_uint_eq(w.sent.problems, 7);
	ck_assert_uint_eq(w.received.problems, 7);
	ck_assert_uint_eq(w.received.files, 0);
	ck_assert_ptr_null(part_in("dst/src", NULL));
}
END_TEST

START_TEST(deep) {
	cube_autofree char *path = cube_strdup("src");
	mkdir(path, 0755);
	for (int i = 0; i < CUBE_COPY_DEPTH + 5; i++) {
		char *next = cube_strf("%s/d", path);
		mkdir(next, 0755);
		free(path);
		path = next;
	}
	make("src/last", "x", 1);
	copy("src", "dst");
	same("src/last", "dst/last");
	ck_assert_ptr_nonnull(strstr(told, "too many folders in folders"));
	ck_assert_ptr_null(strstr(strchr(told, '\n') + 1, "folders")); /* once */
}
END_TEST

START_TEST(without_size) {
	char text[4096];
	struct stat st;
	copy("/proc/self/status", "status");
	ck_assert_int_eq(stat("status", &st), 0);
	ck_assert_int_gt(st.st_size, 100);
	int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
	if (fd < 0) return; /* not every kernel has this one */
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	copy("/sys/kernel/mm/transparent_hugepage/enabled", "enabled");
	stat("enabled", &st);
	ck_assert_int_eq(st.st_size, n);
	ck_assert_str_eq(told, "");
}
END_TEST

/* ---- cut and resumed ---------------------------------------------------------------------- */

enum { LARGE = 5000000 };

START_TEST(resumed_at_every_kind_of_cut) {
	const char *src = "large";
	off_t have;
	make_noise(src, LARGE, 5);
	/* in the preamble, a record, the file's beginning, a data head, its middle, its end */
	const uint64_t cuts[] = {1,      8,      20,      40,        80,         100,
				 262144, 262150, 2500000, LARGE - 1, LARGE + 100};
	for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
		struct wire w = {.cut = cuts[i], .piece = 1000 + i}, rest = {0};
		unlink("dst");
		ck_assert(!copy_all(&w, &src, 1, "dst"));
		ck_assert_msg(!exists("dst"), "cut at %llu", (unsigned long long)cuts[i]);
		have = 0;
		part_in(".", &have);
		ck_assert_uint_eq((uint64_t)have, w.received.moved);
		ck_assert(copy_all(&rest, &src, 1, "dst"));
		same(src, "dst");
		ck_assert_uint_eq(rest.sent.moved, LARGE - (uint64_t)have);
		ck_assert_uint_eq(rest.received.bytes, LARGE);
		ck_assert_ptr_null(part_in(".", NULL));
	}
}
END_TEST

static void cut_at(const char *src, uint64_t at) {
	struct wire w = {.cut = at};
	ck_assert(!copy_all(&w, &src, 1, "dst"));
	ck_assert_ptr_nonnull(part_in(".", NULL));
}

/* Whatever happened to the part: what comes out is the source. */
START_TEST(damaged_parts) {
	const char *part;
	make_noise("large", LARGE, 6);
	for (int i = 0; i < 6; i++) {
		cut_at("large", 3000000);
		part = part_in(".", NULL);
		int fd = open(part, O_RDWR);
		if (i == 0) ck_assert_int_eq(pwrite(fd, "?", 1, 0), 1);
		if (i == 1) ck_assert_int_eq(pwrite(fd, "?", 1, 1500000), 1);
		if (i == 2) ck_assert_int_eq(pwrite(fd, "?????", 5, 2990000), 5);
		if (i == 3) ck_assert_int_eq(ftruncate(fd, 1000), 0);
		if (i == 4) ck_assert_int_eq(ftruncate(fd, LARGE), 0);
		if (i == 5) ck_assert_int_eq(ftruncate(fd, LARGE + 100000), 0);
		close(fd);
		struct wire w = copy("large", "dst");
		same("large", "dst");
		ck_assert_uint_eq(w.sent.moved, i == 3 ? LARGE - 1000 : LARGE);
		ck_assert_ptr_null(part_in(".", NULL));
		unlink("dst");
	}
}
END_TEST

START_TEST(other_versions_parts_go) {
	make_noise("large", LARGE, 7);
	cut_at("large", 3000000);
	make_noise("large", LARGE, 8); /* another version, also for its mtime */
	set_times("large", 1000, 5);
	cut_at("large", 2000000);
	make("large", "small now", 9);
	make(".dst.0123456789abcdef.cube-part", "", 0);
	make(".dst2.0123456789abcdef.cube-part", "", 0); /* of another file */
	copy("large", "dst");
	same("large", "dst");
	ck_assert(strstr(part_in(".", NULL), "dst2"));
}
END_TEST

START_TEST(concurrent) {
	const char *src = "large";
	make_noise(src, LARGE, 9);
	cut_at(src, 3000000);
	int fd = open(part_in(".", NULL), O_RDWR);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	copy(src, "dst");
	ck_assert_str_eq(told, "dst: another copy of it is under way\n");
	close(fd);
	struct wire w = copy(src, "dst");
	ck_assert_uint_lt(w.sent.moved, LARGE);
	same(src, "dst");
}
END_TEST

/* Copies of one small file to one place at the same time tidy up behind each other, and get on. */
START_TEST(many_to_one_place) {
	make("one", "bytes", 5);
	mkdir("dst", 0755);
	pid_t pids[4];
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i]) continue;
		for (int n = 0; n < 200 && !told[0]; n++) copy("one", "dst");
		if (told[0]) fprintf(stderr, "%s", told);
		_exit(told[0] != 0);
	}
	int failed = 0, status;
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		failed += status != 0;
	}
	ck_assert_int_eq(failed, 0);
	same("one", "dst/one");
	ck_assert_ptr_null(part_in("dst", NULL));
}
END_TEST

/* Who tidies up opens a part, and gets its lock when it has been removed already and another copy
 * has begun anew under that name. */
START_TEST(tidying_spares_a_new_part) {
	struct stat st;
	make(".x.0123456789abcdef.cube-part", "old", 3);
	snprintf(rival_at, sizeof rival_at, ".x.0123456789abcdef.cube-part");
	rival_unlocked = false;
	cube_part_remove(".x.0123456789abcdef.cube-part");
	ck_assert_int_eq(stat(".x.0123456789abcdef.cube-part", &st), 0);
	ck_assert_uint_eq(st.st_ino, rivals);
}
END_TEST

/* Two find a file that is none of theirs where the part would be, and remove it: one after the
 * other. */
START_TEST(two_make_room_for_a_part) {
	struct wire w = {.cut = 3000000};
	make_noise("large", LARGE, 1);
	ck_assert(!copy_all(&w, &(const char *){"large"}, 1, "dst"));
	snprintf(rival_at, sizeof rival_at, "%s", part_in(".", NULL));
	rival_unlocked = true;
	ck_assert_int_eq(link(rival_at, "elsewhere"), 0);
	struct stat st;
	copy("large", "dst");
	same("large", "dst");
	ck_assert_int_eq(stat("dst", &st), 0);
	ck_assert(rivals == 0 || st.st_ino == rivals);
}
END_TEST

START_TEST(goes_on_after_a_cut) {
	struct wire w = {.cut = 7000000}, rest = {.again = true};
	mkdir("src", 0755);
	make_noise("src/1", LARGE, 1);
	make_noise("src/2", LARGE, 2);
	mkdir("dst", 0755);
	ck_assert(!copy_all(&w, &(const char *){"src"}, 1, "dst"));
	ck_assert(copy_all(&rest, &(const char *){"src"}, 1, "dst"));
	same("src", "dst/src");
	ck_assert_uint_eq(rest.sent.moved + w.received.moved, 2 * LARGE);
	ck_assert_uint_eq(rest.received.files, 2);
	ck_assert_uint_eq(rest.received.bytes, 2 * LARGE);
}
END_TEST

START_TEST(parts_of_small_files_go) {
	struct wire w = {.cut = 50000};
	make_noise("small", 100000, 1);
	ck_assert(!copy_all(&w, &(const char *){"small"}, 1, "dst"));
	ck_assert_ptr_null(part_in(".", NULL));
	ck_assert(!exists("dst"));
}
END_TEST

START_TEST(shrinking) {
	const char *src = "large";
	struct cube_sender_config sc = {.paths = &src, .n = 1};
	struct cube_receiver_config rc = {.dest = "dst", .problem = note};
	struct wire w = {.cut = 1000000, .piece = 100000};
	make_noise(src, LARGE, 1);
	struct cube_sender *s = cube_sender_new(&sc);
	struct cube_receiver *r = cube_receiver_new(&rc);
	ck_assert(!carry(&w, s, r));
	ck_assert_int_eq(truncate(src, 1500000), 0);
	w.cut = 0;
	ck_assert(carry(&w, s, r));
	cube_sender_free(s);
	cube_receiver_free(r);
	ck_assert_str_eq(told, "large: became shorter while it was copied\n");
	ck_assert(!exists("dst"));
	ck_assert_ptr_null(part_in(".", NULL));
}
END_TEST

/* Between two calls of the sender somebody else works on the file. */
static const char *victim;
static off_t victim_size;

off_t lseek(int fd, off_t at, int whence) {
	if (victim && whence == SEEK_HOLE) {
		int other = open(victim, O_WRONLY);
		fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 64 << 10);
		close(other);
		victim = NULL;
	}
	return syscall(SYS_lseek, fd, at, whence);
}

ssize_t pread(int fd, void *space, size_t n, off_t at) {
	const char *path = at >= 100000 ? victim : NULL;
	if (path) ck_assert_int_eq(truncate(path, 50000), 0);
	ssize_t got = syscall(SYS_pread64, fd, space, n, at);
	if (path) ck_assert_int_eq(truncate(path, victim_size), 0);
	return got;
}

static bool can_punch(const char *path) {
	int fd = open(path, O_WRONLY);
	bool can = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 128 << 10,
			     128 << 10) == 0;
	close(fd);
	if (!can) fprintf(stderr, "punched: no holes in files here: %s\n", strerror(errno));
	return can;
}

static void set_old(const char *path) {
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
}

START_TEST(punched) {
	make_noise("src", 512 << 10, 1);
	if (!can_punch("src")) return;
	victim = "src";
	struct wire w = copy("src", "dst");
	ck_assert_ptr_null(victim);
	ck_assert_uint_eq(w.received.problems, 0);
	set_old("src"); /* the hole is newer than what was copied */
	set_old("dst");
	same("src", "dst");
}
END_TEST

/* Its end is gone for a moment only. */
START_TEST(shorter_and_back) {
	make_noise("src", victim_size = 400000, 1);
	set_old("src");
	victim = "src";
	copy("src", "dst");
	victim = NULL;
	ck_assert_str_eq(told, "src: became shorter while it was copied\n");
	ck_assert(!exists("dst"));
}
END_TEST

/* ---- no space ----------------------------------------------------------------------------- */

START_TEST(full_disk) {
	const char *paths[] = {"large", "small"};
	struct wire w = {.folder = true};
	mkdir("dst", 0755);
	if (mount("tmpfs", "dst", "tmpfs", 0, "size=2m") != 0) {
		fprintf(stderr, "full_disk: no tmpfs may be mounted here\n");
		return;
	}
	make_noise("large", LARGE, 1);
	make("small", "x", 1);
	ck_assert(copy_all(&w, paths, 2, "dst"));
	ck_assert_str_eq(told, "dst/large: No space left on device\n");
	ck_assert_uint_eq(w.sent.problems, 1);
	ck_assert(!exists("dst/small")); /* it ends everything */
	ck_assert_ptr_null(part_in("dst", NULL));
	ck_assert_int_eq(mount("tmpfs", "dst", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	told[0] = '\0';
	ck_assert(copy_all(&w, paths, 2, "dst"));
	ck_assert_str_eq(told, "dst/large: Read-only file system\n");
	umount("dst");
}
END_TEST

/* ---- hostile senders ---------------------------------------------------------------------- */

struct evil {
	struct cube_buf out;
	struct record rec;
};

static void evil_begin(struct evil *e) {
	memset(e, 0, sizeof *e);
	cube_buf_init(&e->out, 1 << 20);
	cube_buf_addstr(&e->out, PREAMBLE);
	e->rec.type = REC_BEGIN;
	ck_assert_int_eq(record_put(&e->out, &e->rec), 0);
	e->rec.mode = 0777;
}

static void evil_add(struct evil *e, uint8_t type, const char *name) {
	e->rec.type = type;
	snprintf(e->rec.name, sizeof e->rec.name, "%s", name);
	ck_assert_int_eq(record_put(&e->out, &e->rec), 0);
}

/* What the receiver says to all that. */
static int evil_to(struct evil *e, const struct cube_receiver_config *config) {
	struct cube_receiver_config rc = *config;
	rc.problem = note;
	struct cube_receiver *r = cube_receiver_new(&rc);
	size_t at = 0, used, n = cube_buf_len(&e->out);
	int result = 0;
	while (result == 0 && at < n) {
		result = cube_receiver_feed(r, cube_buf_data(&e->out) + at, n - at, &used, NULL);
		if (result == 0) at += used;
		cube_buf_consume(cube_receiver_out(r), cube_buf_len(cube_receiver_out(r)));
	}
	cube_receiver_free(r);
	cube_buf_done(&e->out);
	return result;
}

static int evil_end(struct evil *e) {
	return evil_to(e, &(struct cube_receiver_config){.dest = "dst"});
}

START_TEST(hostile_names) {
	static const char *const names[] = {"..", ".", "", "a/b", "/etc/x", "../x", "x/"};
	struct evil e;
	mkdir("dst", 0755);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		for (int type = REC_DIR; type <= REC_LINK; type++) {
			if (type != REC_DIR && type != REC_FILE && type != REC_LINK) continue;
			if (type == REC_DIR && !*names[i]) continue; /* the destination itself */
			evil_begin(&e);
			evil_add(&e, (uint8_t)type, names[i]);
			ck_assert_msg(evil_end(&e) == CUBE_EPROTO, "%s", names[i]);
			evil_begin(&e);
			evil_add(&e, REC_DIR, "in");
			evil_add(&e, (uint8_t)type, names[i]);
			ck_assert_msg(evil_end(&e) == CUBE_EPROTO, "%s", names[i]);
		}
	evil_begin(&e);
	evil_add(&e, REC_DIR, "in");
	evil_add(&e, REC_DIR, "");
	ck_assert_int_eq(evil_end(&e), CUBE_EPROTO);
}
END_TEST

/* Who asks for some files gets no others beside them. */
START_TEST(hostile_extras) {
	static const char *const paths[] = {"logs/notes.txt", "~/tree/", "/srv/.", "x/.."};
	struct cube_receiver_config rc = {.dest = "dst", .asked = paths, .nasked = 2};
	struct evil e;
	mkdir("dst", 0755);
	for (int type = REC_DIR; type <= REC_LINK; type++) {
		if (type != REC_DIR && type != REC_FILE && type != REC_LINK) continue;
		evil_begin(&e);
		snprintf(e.rec.text, sizeof e.rec.text, "nowhere");
		evil_add(&e, REC_DIR, "tree");
		evil_add(&e, (uint8_t)type, ".bashrc"); /* in what was asked for: fine */
		if (type == REC_DIR) evil_add(&e, REC_UP, "");
		e.rec.flag = 1;
		if (type == REC_FILE) evil_add(&e, REC_END, "");
		evil_add(&e, REC_UP, "");
		evil_add(&e, REC_FILE, "notes.txt");
		evil_add(&e, REC_END, "");
		evil_add(&e, (uint8_t)type, ".bashrc");
		ck_assert_int_eq(evil_to(&e, &rc), CUBE_EPROTO);
		ck_assert(exists("dst/notes.txt") && exists("dst/tree/.bashrc"));
		ck_assert(!exists("dst/.bashrc"));
		remove("dst/tree/.bashrc");
	}
	evil_begin(&e); /* the destination itself, where nobody asked for a folder's contents */
	evil_add(&e, REC_DIR, "");
	evil_add(&e, REC_FILE, ".bashrc");
	ck_assert_int_eq(evil_to(&e, &rc), CUBE_EPROTO);
	evil_begin(&e); /* a link instead of the file */
	snprintf(e.rec.text, sizeof e.rec.text, "/etc/passwd");
	evil_add(&e, REC_LINK, "notes.txt");
	ck_assert_int_eq(evil_to(&e, &rc), CUBE_EPROTO);
	rc.nasked = 3;
	evil_begin(&e);
	evil_add(&e, REC_DIR, "");
	evil_add(&e, REC_FILE, "anything");
	ck_assert_int_eq(evil_to(&e, &rc), 0);
	rc.dest = "new"; /* the one entry gets this name, whatever its own is */
	rc.nasked = 1;
	evil_begin(&e);
	evil_add(&e, REC_FILE, "other");
	e.rec.flag = 1;
	evil_add(&e, REC_END, "");
	ck_assert_int_eq(evil_to(&e, &rc), 0);
	ck_assert(exists("new") && !exists("other"));
}
END_TEST

START_TEST(hostile_links) {
	struct evil e;
	mkdir("dst", 0755);
	mkdir("out", 0755);
	make("file", "mine", 4);
	evil_begin(&e);
	snprintf(e.rec.text, sizeof e.rec.text, "../out");
	evil_add(&e, REC_LINK, "way");
	evil_add(&e, REC_DIR, "way"); /* into it: refused, and what follows is lost */
	evil_add(&e, REC_FILE, "got");
	e.rec.flag = 1;
	evil_add(&e, REC_END, "");
	evil_add(&e, REC_UP, "");
	snprintf(e.rec.text, sizeof e.rec.text, "../file");
	evil_add(&e, REC_LINK, "file");
	evil_add(&e, REC_FILE, "file"); /* the link is replaced */
	evil_add(&e, REC_END, "");
	evil_add(&e, REC_DONE, "");
	ck_assert_int_eq(evil_end(&e), 0);
	ck_assert_str_eq(told, "dst/way: something that is no folder is in the way\n");
	ck_assert(!exists("out/got"));
	struct stat st;
	stat("file", &st);
	ck_assert_int_eq(st.st_size, 4);
	lstat("dst/file", &st);
	ck_assert(S_ISREG(st.st_mode));
}
END_TEST

START_TEST(hostile_order) {
	/* each letter a record, after BEGIN; all are refused */
	static const char *const orders[] = {"u",  "e",  "o",   "d",  "h",   "fu", "ff", "fo",
					     "fx", "fz", "iuu", "b",  "fez", "iz", "Fd", "Fe",
					     "Fh", "Fp", "9",   "fH", "fD",  "Foo"};
	struct evil e;
	mkdir("dst", 0755);
	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
		evil_begin(&e);
		for (const char *o = orders[i]; *o; o++) {
			e.rec.number = *o == 'F' ? 5 << 20 : *o == 'p' ? 7 : *o == 'H' ? ~0ull : 3;
			e.rec.length = *o == 'D' ? 200 : 1;
			evil_add(&e,
				 *o == 'u'                ? REC_UP
				 : *o == 'e'              ? REC_END
				 : *o == 'o' || *o == 'p' ? REC_FROM
				 : *o == 'd' || *o == 'D' ? REC_DATA
				 : *o == 'h' || *o == 'H' ? REC_HOLE
				 : *o == 'f' || *o == 'F' ? REC_FILE
				 : *o == 'i'              ? REC_DIR
				 : *o == 'b'              ? REC_BEGIN
				 : *o == '9'              ? REC_HAVE
				 : *o == 'x'              ? REC_LINK
							  : REC_DONE,
				 "name");
			if (*o == 'd' || *o == 'D') cube_buf_add(&e.out, "x", 1);
		}
		int rc = evil_end(&e);
		/* an end of a file that was there is fine; its second one is not */
		ck_assert_msg(strcmp(orders[i], "fez") == 0 ? rc == 0 : rc == CUBE_EPROTO, "%s: %d",
			      orders[i], rc);
	}
}
END_TEST

START_TEST(hostile_parts) {
	/* what lies where the part would be is not ours to write to */
	make_noise("large", LARGE, 1);
	cut_at("large", 3000000);
	cube_autofree char *part = cube_strdup(part_in(".", NULL));
	make("victim", "mine", 4);
	for (int i = 0; i < 3; i++) {
		unlink(part);
		if (i == 0) ck_assert_int_eq(symlink("victim", part), 0);
		if (i == 1) ck_assert_int_eq(link("victim", part), 0);
		if (i == 2) ck_assert_int_eq(mkfifo(part, 0600), 0);
		copy("large", "dst");
		same("large", "dst");
		struct stat st;
		stat("victim", &st);
		ck_assert_int_eq(st.st_size, 4);
	}
	unlink(part);
	mkdir(part, 0755);
	copy("large", "dst");
	ck_assert_ptr_nonnull(strstr(told, "dst: "));
}
END_TEST

/* Any byte of a copy changed: it ends, somehow, and nothing is outside the destination. */
START_TEST(flipped_bits) {
	uint64_t seed = rnd_seed("copy_test");
	struct cube_buf all;
	struct cube_slice out;
	const char *src = "src";
	struct cube_sender_config sc = {.paths = &src, .n = 1};
	mkdir("src", 0755);
	mkdir("src/in", 0755);
	make("src/in/x", "some bytes", 10);
	make("src/y", "", 0);
	symlink("x", "src/link");
	cube_buf_init(&all, 1 << 20);
	struct cube_sender *s = cube_sender_new(&sc);
	while (cube_sender_next(s, &out) == 0) {
		cube_buf_add(&all, out.p, out.n);
		cube_sender_sent(s, out.n);
	}
	cube_sender_free(s);
	mkdir("box", 0755);
	ck_assert_int_eq(chdir("box"), 0);
	mkdir("dst", 0755);
	for (int i = 0; i < 3000; i++) {
		struct evil e;
		cube_buf_init(&e.out, 1 << 20);
		cube_buf_add(&e.out, cube_buf_data(&all), cube_buf_len(&all));
		uint8_t *p = (uint8_t *)(uintptr_t)cube_buf_data(&e.out);
		p[rnd_below(&seed, cube_buf_len(&e.out))] ^= (uint8_t)(1u << rnd_below(&seed, 8));
		told[0] = '\0';
		evil_end(&e);
		DIR *d = opendir(".");
		unsigned n = 0;
		while (readdir(d)) n++;
		closedir(d);
		ck_assert_uint_eq(n, 3);
	}
	cube_buf_done(&all);
	ck_assert_int_eq(chdir(".."), 0);
}
END_TEST

int main(void) {
	TCase *tc = tcase_create("copy");
	Suite *s = suite_create("copy");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, trees);
	tcase_add_test(tc, many_small);
	tcase_add_test(tc, places);
	tcase_add_test(tc, problems_go_on);
	tcase_add_test(tc, deep);
	tcase_add_test(tc, without_size);
	tcase_add_test(tc, resumed_at_every_kind_of_cut);
	tcase_add_test(tc, damaged_parts);
	tcase_add_test(tc, other_versions_parts_go);
	tcase_add_test(tc, concurrent);
	tcase_add_test(tc, many_to_one_place);
	tcase_add_test(tc, tidying_spares_a_new_part);
	tcase_add_test(tc, two_make_room_for_a_part);
	tcase_add_test(tc, goes_on_after_a_cut);
	tcase_add_test(tc, parts_of_small_files_go);
	tcase_add_test(tc, shrinking);
	tcase_add_test(tc, punched);
	tcase_add_test(tc, shorter_and_back);
	tcase_add_test(tc, full_disk);
	tcase_add_test(tc, hostile_names);
	tcase_add_test(tc, hostile_extras);
	tcase_add_test(tc, hostile_links);
	tcase_add_test(tc, hostile_order);
	tcase_add_test(tc, hostile_parts);
	tcase_add_test(tc, flipped_bits);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
