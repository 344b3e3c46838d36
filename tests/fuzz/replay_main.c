/* Runs a fuzz target over every file of the folders given: linked in place of libFuzzer, it makes
 * a corpus a plain test. Each input lies right before a page that cannot be read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "../unit/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* 1: run; 0: not a regular file; -1: cannot be read. */
static int replay_file(int dir, const char *name) {
	struct stat st;
	struct guard g;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return 0;
	}
	size_t n = (size_t)st.st_size, have = 0;
	guard_init(&g, n);
	uint8_t *bytes = g.end - n;
	while (have < n) {
		ssize_t k = read(fd, bytes + have, n - have);
		if (k < 0 && errno == EINTR) continue;
		if (k <= 0) break;
		have += (size_t)k;
	}
	close(fd);
	if (have == n) LLVMFuzzerTestOneInput(bytes, n);
	guard_done(&g);
	return have == n ? 1 : -1;
}

/* How many inputs were run; -1 on trouble. */
static long replay_folder(const char *path) {
	DIR *d = opendir(path);
	struct dirent *e;
	long done = 0;
	if (!d) {
		perror(path);
		return -1;
	}
	while (done >= 0 && (e = readdir(d))) {
		int rc = e->d_name[0] == '.' ? 0 : replay_file(dirfd(d), e->d_name);
		if (rc < 0) fprintf(stderr, "%s/%s: cannot be read\n", path, e->d_name);
		done = rc < 0 ? -1 : done + rc;
	}
	closedir(d);
	return done;
}

int main(int argc, char **argv) {
	int failed = argc < 2;
	for (int i = 1; i < argc; i++) {
		long n = replay_folder(argv[i]);
		if (n >= 0) printf("%s: %ld inputs\n", argv[i], n);
		if (n <= 0) failed = 1;
	}
	if (argc < 2) fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
	return failed;
}
