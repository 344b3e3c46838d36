/* A hostile sender, then a hostile receiver: whatever comes, both end in order, and nothing is made
 * outside the destination. */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char top[64], in[80], source[80]; /* absolute: the fuzzer reads its inputs by their paths */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	if (ftw->level == 0) return 0;
	if (S_ISDIR(st->st_mode)) chmod(path, 0700);
	return remove(path);
}

static void empty(const char *dir) {
	nftw(dir, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

static void finish(void) {
	empty(top);
	rmdir(top);
}

static void start(void) {
	FILE *f;
	snprintf(top, sizeof top, "/tmp/copy-fuzz.XXXXXX");
	if (!mkdtemp(top)) abort();
	atexit(finish);
	snprintf(in, sizeof in, "%s/in", top);
	snprintf(source, sizeof source, "%s/source", top);
	if (mkdir(in, 0755) < 0 || !(f = fopen(source, "w"))) abort();
	for (int i = 0; i < 300000; i++) fputs("0123456", f);
	fclose(f);
}

static void nothing_else(void) {
	DIR *d = opendir(top);
	unsigned count = 0;
	while (readdir(d)) count++;
	closedir(d);
	if (count != 4) abort(); /* ., .., in, source */
}

static void receive(const uint8_t *bytes, size_t n) {
	struct cube_receiver_config config = {.dest = in};
	struct cube_receiver *r = cube_receiver_new(&config);
	struct cube_buf *out = cube_receiver_out(r);
	struct cube_err err;
	size_t used;
	while (n > 0 && cube_receiver_feed(r, bytes, n, &used, &err) == 0) {
		bytes += used;
		n -= used;
		cube_buf_consume(out, cube_buf_len(out));
	}
	cube_receiver_free(r);
	nothing_else();
	empty(in);
}

static void send_to(const uint8_t *bytes, size_t n) {
	const char *paths[] = {source};
	struct cube_sender_config config = {.paths = paths, .n = 1};
	struct cube_sender *s = cube_sender_new(&config);
	struct cube_slice out;
	struct cube_err err;
	for (size_t at = 0; at < n && !cube_sender_done(s); at++) {
		if (cube_sender_next(s, &out) == 0) cube_sender_sent(s, out.n);
		if (cube_sender_feed(s, bytes + at, 1, &err) < 0) break;
	}
	cube_sender_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	if (!top[0]) start();
	receive(bytes, n);
	send_to(bytes, n < 200 ? n : 200);
	return 0;
}
