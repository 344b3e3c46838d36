/* The process that places files: `cube-worker place FOLDER [SHA256 MODE NAME]...` in the worker's
 * folder. What fails is "<errno> <text>" on stdout. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/format.h"
#include "files.h"
#include "folder.h"
#include "self.h"
#include "tools.h"

#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)
#endif

enum { BLOCK = 128 << 10, PIECE = 64 << 20 };

static uint8_t block[BLOCK];

/* The folder of the scratch folders. A task could put a link in its place. */
static int open_scratch(void) {
	for (int i = 0;; i++) {
		int fd = -1;

		if (mkdir("scratch", 0700) == 0 || errno == EEXIST)
			fd = open("scratch", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || i || (errno != ENOTDIR && errno != ELOOP)) return fd;
		unlink("scratch");
	}
}

/* Makes the folder anew: what has its name already is nobody's. */
static int make_folder(const char *name, struct cube_err *err) {
	const char *base = strchr(name, '/') + 1;
	int scratch = open_scratch(), fd = -1, rc;

	if (scratch < 0) return cube_fail_sys(err, errno, "cannot make the folder scratch");
	rc = folder_remove(scratch, base, 0, err);
	if (rc == 0 && mkdirat(scratch, base, 0700) == 0)
		fd = openat(scratch, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (rc == 0 && fd < 0) cube_fail_sys(err, errno, "cannot make the folder %s", name);
	close(scratch);
	return fd;
}

static bool has_hash(int fd, const char *hex) {
	uint8_t digest[CUBE_SHA256_LEN];
	char found[CUBE_SHA256_HEX];
	struct cube_sha256 s;
	ssize_t n;

	cube_sha256_init(&s);
	while ((n = read(fd, block, sizeof block)) > 0) cube_sha256_update(&s, block, (size_t)n);
	cube_sha256_final(&s, digest);
	cube_sha256_hex(digest, found);
	return n == 0 && lseek(fd, 0, SEEK_SET) == 0 && strcmp(found, hex) == 0;
}

/* Somebody changed it: it goes, unless another has come in its place meanwhile. */
static int remove_wrong(int fd, const char *stored) {
	struct stat here, there;

	if (fd < 0 ||
	    (fstat(fd, &here) == 0 && lstat(stored, &there) == 0 && here.st_ino == there.st_ino))
		folder_remove(AT_FDCWD, stored, 0, NULL);
	return ESTALE;
}

/* Each step goes on where the one before stopped, and knows best why there is no going on. */
static int copy(int in, int out) {
	ssize_t n;

	if (ioctl(out, FICLONE, in) == 0) return 0;
	do n = copy_file_range(in, NULL, out, NULL, PIECE, 0);
	while (n > 0);
	while ((n = read(in, block, sizeof block)) > 0)
		if (cube_write_all(out, block, (size_t)n) < 0) return errno;
	return n < 0 ? errno : 0;
}

/* 0 or an errno. Some disks tell at close only that they are full. */
static int copy_to(int in, int dir, const char *name, mode_t mode) {
	int out = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int sys = out < 0 ? errno : copy(in, out);

	if (!sys && fchmod(out, mode) < 0) sys = errno;
	if (out >= 0 && close(out) < 0 && !sys) sys = errno;
	return sys;
}

static int place(int dir, const char *hex, const char *mode, const char *name) {
	char stored[FILES_NAME_LEN];
	bool check = *mode == 'c';
	struct stat st;
	int in, sys = 0;

	cube_format(stored, sizeof stored, "files/%s", hex);
	in = open(stored, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 && errno == ENOENT) return ESTALE;
	if (in < 0 && errno != ELOOP && errno != EACCES) return errno;
	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || (check && !has_hash(in, hex)))
		sys = remove_wrong(in, stored);
	if (!sys) sys = copy_to(in, dir, name, (mode_t)strtoul(mode + check, NULL, 8));
	if (in >= 0) close(in);
	return sys;
}

static int answer(const struct cube_err *err) {
	(void)cube_print(STDOUT_FILENO, "%d %s", err->sys, err->msg);
	return 1;
}

int place_main(int argc, char **argv) {
	char here[SELF_PATH];
	struct cube_err err;
	int dir;

	if (!strchr(argv[0], '/')) return 2;
	umask(0);
	sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN},
		  NULL); /* a limit is an error as others are */
	dir = make_folder(argv[0], &err);
	if (dir < 0) return answer(&err);
	if (!folder_name(here, sizeof here)) cube_format(here, sizeof here, "the worker's folder");
	for (int i = 1; i + 2 < argc; i += 3) {
		int sys = place(dir, argv[i], argv[i + 1], argv[i + 2]);

		if (!sys) continue;
		if (sys == ESTALE)
			cube_fail(&err, CUBE_EEXEC,
				  "file %.80s: its content in %.100s/files is gone or was changed",
				  argv[i + 2], here);
		else
			cube_fail_sys(&err, sys, "file %.60s: no copy in %.90s/%s", argv[i + 2],
				      here, argv[0]);
		err.sys = sys;
		return answer(&err);
	}
	return 0;
}
