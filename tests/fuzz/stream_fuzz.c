/* A worker says anything to `cube cp`: its bytes go through the stream to a receiver, then to a
 * sender, as the manager would relay them. Whatever comes, the copy ends, and nothing is made
 * outside the destination. The manager's client is ours: a socketpair instead of it. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char top[64], in[80], source[80];
static const uint8_t *answer;
static size_t answer_n;
static int peer = -1, opened;

/* ---- in place of client.c ---- */

int cube_client_upgrade(struct cube_client *c, const char *path, const char *protocol, int *ret_fd,
			struct cube_err *err) {
	static const struct cube_msg closed = {.type = CUBE_MSG_STREAM_CLOSED,
					       .closed.how = CUBE_EXIT_EXITED};
	struct cube_buf end;
	int fds[2], size = 1 << 20;
	if (opened++) return cube_fail(err, CUBE_ENOTFOUND, "only once");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) abort();
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (answer_n && write(fds[1], answer, answer_n) < 0) abort();
	/* a broken link, which is told each time, only now and then */
	cube_buf_init(&end, 1000);
	if (cube_msg_encode(&end, &closed)) abort();
	if ((!answer_n || answer[answer_n - 1] != 0xff) &&
	    write(fds[1], cube_buf_data(&end), cube_buf_len(&end)) < 0)
		abort();
	cube_buf_done(&end);
	shutdown(fds[1], SHUT_WR);
	peer = fds[1];
	*ret_fd = fds[0];
	return 0;
}

int cube_client_json(struct cube_client *c, const char *method, const char *path,
		     const json_t *body, json_t **ret_reply, struct cube_err *err) {
	if (ret_reply) *ret_reply = json_pack("{s:[]}", "nodes");
	return 0;
}

int cube_client_new(const struct cube_paths *paths, struct cube_client **ret,
		    struct cube_err *err) {
	return cube_fail(err, CUBE_ECONNECT, "not here");
}
void cube_client_free(struct cube_client *c) {}
void cube_client_restarts(struct cube_client *c, const struct cube_paths *paths) {}
int cube_client_start_manager(const struct cube_paths *paths, struct cube_err *err) {
	return cube_fail(err, CUBE_ECONNECT, "not here");
}

/* ---- the files ---- */

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
	int fd;
	snprintf(top, sizeof top, "/tmp/stream-fuzz.XXXXXX");
	if (!mkdtemp(top)) abort();
	atexit(finish);
	snprintf(in, sizeof in, "%s/in", top);
	snprintf(source, sizeof source, "%s/source", top);
	fd = open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (mkdir(in, 0755) < 0 || fd < 0 || ftruncate(fd, 2 << 20) || close(fd)) abort();
}

static void check(const struct cube_cp *cp) {
	DIR *d = opendir(top);
	unsigned count = 0;
	while (readdir(d)) count++;
	closedir(d);
	if (count != 4) abort(); /* ., .., in, source */
	for (size_t i = 0; i < cp->n; i++) {
		const struct cube_cp_host *h = &cp->hosts[i];
		if (h->stream || h->sender || h->receiver) abort();
		if (h->state == CUBE_CP_FAILED && !h->failure) abort();
	}
	json_t *told = cube_cp_json(cp);
	if (!told) abort();
	json_decref(told);
}

static void copy(bool up, const uint8_t *bytes, size_t n) {
	static struct cube_cli cli;
	const char *const paths[] = {source};
	struct cube_cp cp = {.cli = &cli, .up = up, .paths = paths, .npaths = 1, .fanout = 1};
	struct cube_cp_host *h = cube_cp_add(&cp, "liar", in);
	cube_strv_add(&h->paths, "x");
	opened = 0;
	answer = bytes;
	answer_n = n;
	while (cube_cp_turn(&cp, -1, 0)) {}
	check(&cp);
	cube_cp_done(&cp);
	close(peer);
	empty(in);
}

/* At most what the socket holds. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	if (!top[0]) start();
	if (n > 60000) n = 60000;
	copy(false, bytes, n);
	copy(true, bytes, n);
	return 0;
}
