#include "cube/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/id.h"
#include "cube/mem.h"
#include "cube/paths.h"
#include "cube/sha256.h"

#define WRITE_OUT (8u << 20) /* so much is on its way to the disk at a time */

struct known {
	char name[CUBE_SHA256_HEX];
	struct cube_file_mark mark;
};

struct cube_files {
	int dir;
	char *path;
	struct known *known;
	size_t nknown, known_max;
};

struct cube_file_in {
	struct cube_files *files;
	int fd;
	uint64_t size, written_out;
	char name[CUBE_SHA256_HEX]; /* the content's, as announced */
	char temp[8 + CUBE_ID_HEX]; /* in-<random> */
	struct cube_sha256 hash;
};

/* A content's name is its hash; anything else here is what a killed manager left half-taken. */
static bool is_content(const char *name) {
	uint8_t digest[CUBE_SHA256_LEN];
	return cube_sha256_unhex(name, digest) == 0;
}

static void sweep(int dir) {
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0) close(fd);
		return;
	}
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (strncmp(e->d_name, "in-", 3) == 0) unlinkat(dir, e->d_name, 0);
	}
	closedir(d);
}

int cube_files_new(const char *state, struct cube_files **ret, struct cube_err *err) {
	cube_autofree char *path = cube_strf("%s/files", state);
	int rc = cube_paths_make(path, err);
	if (rc) return rc;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) return cube_fail_sys(err, errno, "%s", path);
	sweep(dir);
	*ret = cube_alloc(sizeof **ret);
	(*ret)->dir = dir;
	(*ret)->path = cube_strdup(path);
	return 0;
}

void cube_files_free(struct cube_files *files) {
	if (!files) return;
	close(files->dir);
	free(files->known);
	free(files->path);
	free(files);
}

bool cube_files_has(struct cube_files *files, const char *sha256hex) {
	struct stat st;
	return is_content(sha256hex) &&
	       fstatat(files->dir, sha256hex, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* --- what is known to be right --- */

static struct cube_file_mark mark_of(const struct stat *st) {
	return (struct cube_file_mark){.dev = st->st_dev,
				       .ino = st->st_ino,
				       .size = (uint64_t)st->st_size,
				       .changed = st->st_ctim.tv_sec,
				       .changed_ns = st->st_ctim.tv_nsec};
}

static struct known *find_known(struct cube_files *files, const char *name) {
	for (size_t i = 0; i < files->nknown; i++)
		if (strcmp(files->known[i].name, name) == 0) return &files->known[i];
	return NULL;
}

void cube_files_checked(struct cube_files *files, const char *sha256hex,
			const struct cube_file_mark *mark) {
	struct known *k = find_known(files, sha256hex);
	if (!k && files->nknown == files->known_max) {
		files->known_max = files->known_max ? 2 * files->known_max : 16;
		files->known = cube_realloc_array(files->known, files->known_max, sizeof *k);
	}
	if (!k) k = &files->known[files->nknown++];
	snprintf(k->name, sizeof k->name, "%s", sha256hex);
	k->mark = *mark;
}

int cube_files_damaged(struct cube_files *files, const char *sha256hex,
		       const struct cube_file_mark *mark, struct cube_err *err) {
	struct stat st;
	if (fstatat(files->dir, sha256hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == mark->ino && st.st_dev == mark->dev)
		unlinkat(files->dir, sha256hex, 0);
	return cube_fail(err, CUBE_ESYS,
			 "%.100s/%.8s... was changed on this computer's disk; it is removed: give "
			 "the task anew, which sends the file again",
			 files->path, sha256hex);
}

int cube_files_open(struct cube_files *files, const char *sha256hex, struct cube_file_open *ret,
		    struct cube_err *err) {
	struct stat st;
	int fd = -1;
	errno = ENOENT;
	if (is_content(sha256hex))
		fd = openat(files->dir, sha256hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return cube_fail(err, CUBE_ENOTFOUND, "content %.64s is not here; send it first",
				 sha256hex);
	if (fd < 0) return cube_fail_sys(err, errno, "content %.64s", sha256hex);
	if (fstat(fd, &st) < 0) {
		int sys = errno;
		close(fd);
		return cube_fail_sys(err, sys, "content %.64s", sha256hex);
	}
	const struct known *k = find_known(files, sha256hex);
	*ret = (struct cube_file_open){.fd = fd, .mark = mark_of(&st)};
	ret->trusted = k && memcmp(&k->mark, &ret->mark, sizeof k->mark) == 0;
	return 0;
}

int cube_file_in_begin(struct cube_files *files, const char *sha256hex, struct cube_file_in **ret,
		       struct cube_err *err) {
	if (!is_content(sha256hex))
		return cube_fail(err, CUBE_EUSAGE,
				 "sha256: '%.70s' is not 64 lower-case hex digits", sha256hex);
	struct cube_file_in *in = cube_alloc(sizeof *in);
	char id[CUBE_ID_HEX];
	in->files = files;
	memcpy(in->name, sha256hex, sizeof in->name);
	snprintf(in->temp, sizeof in->temp, "in-%s", cube_id_hex(cube_id_u64(), id));
	in->fd = openat(files->dir, in->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (in->fd < 0) {
		int sys = errno;
		free(in);
		return cube_fail_sys(err, sys, "cannot take a file in");
	}
	cube_sha256_init(&in->hash);
	*ret = in;
	return 0;
}

int cube_file_in_add(struct cube_file_in *in, const void *bytes, size_t n, struct cube_err *err) {
	const uint8_t *p = bytes;
	if (n > CUBE_FILE_SIZE_MAX - in->size)
		return cube_fail(err, CUBE_ETOOBIG, "a file may have at most 4 GiB");
	for (size_t left = n; left;) {
		ssize_t w = write(in->fd, p, left);
		if (w < 0 && errno == EINTR) continue;
		if (w < 0)
			return cube_fail_sys(err, errno, "cannot store the file in %.150s",
					     in->files->path);
		p += w;
		left -= (size_t)w;
	}
	in->size += n;
	if (in->size - in->written_out >= WRITE_OUT) { /* now rather than all of it at the end */
		sync_file_range(in->fd, (off_t)in->written_out, (off_t)(in->size - in->written_out),
				SYNC_FILE_RANGE_WRITE);
		in->written_out = in->size;
	}
	cube_sha256_update(&in->hash, bytes, n);
	return 0;
}

/* Under its name, and on the disk. */
static int settle(struct cube_file_in *in, struct cube_err *err) {
	struct stat st;
	if (fsync(in->fd) < 0 || renameat(in->files->dir, in->temp, in->files->dir, in->name) < 0 ||
	    fsync(in->files->dir) < 0 || fstat(in->fd, &st) < 0)
		return cube_fail_sys(err, errno, "cannot store the file in %.150s",
				     in->files->path);
	struct cube_file_mark mark = mark_of(&st);
	cube_files_checked(in->files, in->name, &mark);
	return 0;
}

int cube_file_in_commit(struct cube_file_in *in, struct cube_err *err) {
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX];
	int rc = 0;
	cube_sha256_final(&in->hash, digest);
	cube_sha256_hex(digest, hex);
	if (strcmp(hex, in->name) != 0)
		rc = cube_fail(err, CUBE_EUSAGE, "sha256: the content's is %s, not %s", hex,
			       in->name);
	else rc = settle(in, err);
	if (rc) {
		cube_file_in_abort(in);
		return rc;
	}
	close(in->fd);
	free(in);
	return 0;
}

void cube_file_in_abort(struct cube_file_in *in) {
	if (!in) return;
	unlinkat(in->files->dir, in->temp, 0);
	close(in->fd);
	free(in);
}
