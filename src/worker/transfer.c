#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/copy.h"
#include "cube/format.h"
#include "parts.h"

enum { PIECE = 256 << 10 };

/* Pipes hold 64 KiB by default; with more there are fewer turns. */
static void prepare(int fd) {
	fcntl(fd, F_SETPIPE_SZ, 1 << 20);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Seen from the home, where we are. */
static const char *expand(const char *path) {
	if (path[0] != '~' || (path[1] && path[1] != '/')) return path;
	path += 1 + strspn(path + 1, "/");
	return *path ? path : ".";
}

static int fail(const char *what, const char *why) {
	(void)cube_print(STDERR_FILENO, "%s: %s\n", what, why);
	return 1;
}

static int go_home(void) {
	const char *home = getenv("HOME");

	return !home || !*home || chdir(home) == 0 ? 0 : fail(home, strerror(errno));
}

/* True where there is a next time. */
static bool again(ssize_t n) {
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Takes what can be had; 0 is the end of it. */
static ssize_t take(int fd, void *space, size_t n) {
	ssize_t got = read(fd, space, n);

	return again(got) ? -1 : got < 0 ? 0 : got;
}

static bool flush(struct cube_buf *out) {
	ssize_t n = write(STDOUT_FILENO, cube_buf_data(out), cube_buf_len(out));

	if (n > 0) cube_buf_consume(out, (size_t)n);
	return n >= 0 || again(n);
}

static volatile sig_atomic_t stopped;

static void on_stop(int signo) {
	stopped = 1;
}

/* HUP and TERM come only in here: what is begun is tidied up after them. */
static void wait_for(struct pollfd p[2], bool wait) {
	static const struct timespec now;
	sigset_t none;

	sigemptyset(&none);
	ppoll(p, 2, wait ? NULL : &now, &none);
}

static int receive_all(struct cube_receiver *r, uint8_t *space) {
	struct cube_buf *out = cube_receiver_out(r);
	struct cube_err err;
	size_t held = 0, at = 0, used;

	while (!stopped && (!cube_receiver_done(r) || cube_buf_len(out) > 0)) {
		bool busy = cube_receiver_busy(r) || at < held;
		struct pollfd p[2] = {
			{.fd = busy ? -1 : STDIN_FILENO, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = cube_buf_len(out) ? POLLOUT : 0},
		};
		/* what is held waits for room in the output, unless there is work to do */
		bool idle = cube_buf_len(out) && at < held && !cube_receiver_busy(r);
		wait_for(p, !busy || idle);
		if (cube_buf_len(out) && (p[1].revents & (POLLOUT | POLLERR)) && !flush(out))
			return 1;
		if (p[0].revents) {
			ssize_t n = take(STDIN_FILENO, space, PIECE);
			if (n == 0) return 1;
			at = 0;
			held = n > 0 ? (size_t)n : 0;
		}
		if (cube_receiver_feed(r, space + at, held - at, &used, &err) < 0)
			return fail("put", err.msg);
		at += used;
	}
	return stopped;
}

static int send_all(struct cube_sender *s, uint8_t *space) {
	struct cube_slice out = {NULL, 0};
	struct cube_err err;
	bool busy = true;

	while (!stopped && !cube_sender_done(s)) {
		struct pollfd p[2] = {
			{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = out.n ? STDOUT_FILENO : -1, .events = POLLOUT},
		};
		wait_for(p, !busy);
		if (p[0].revents) {
			ssize_t n = take(STDIN_FILENO, space, PIECE);
			if (n == 0) return 1;
			if (n > 0 && cube_sender_feed(s, space, (size_t)n, &err) < 0)
				return fail("get", err.msg);
		}
		if (p[1].revents) {
			ssize_t n = write(STDOUT_FILENO, out.p, out.n);
			if (n < 0 && !again(n)) return 1;
			if (n > 0) cube_sender_sent(s, (size_t)n);
		}
		busy = cube_sender_next(s, &out) == 0 && out.n == 0;
	}
	return stopped;
}

static int start(uint8_t **ret_space) {
	static const struct sigaction ignore = {.sa_handler = SIG_IGN},
				      stop = {.sa_handler = on_stop};
	sigset_t stops;

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigemptyset(&stops);
	sigaddset(&stops, SIGHUP);
	sigaddset(&stops, SIGTERM);
	sigprocmask(SIG_BLOCK, &stops, NULL);
	prepare(STDIN_FILENO);
	prepare(STDOUT_FILENO);
	*ret_space = malloc(PIECE);
	return *ret_space ? 0 : fail("memory", strerror(errno));
}

int put_main(int n, char **words) {
	struct parts parts = {.link = ""};
	struct cube_receiver_config config = {.wait = true, .part = parts_note, .arg = &parts};
	struct cube_receiver *r;
	uint8_t *space;
	int rc;

	for (; n > 1; n--, words++) {
		if (strcmp(*words, "-d") == 0) config.folder = true;
		else if (strcmp(*words, "-m") == 0) config.make = true;
		else return fail(*words, "put: an option?");
	}
	config.dest = expand(*words);
	if (go_home() || start(&space)) return 1;
	r = cube_receiver_new(&config);
	rc = receive_all(r, space);
	cube_receiver_free(r);
	parts_settle(&parts);
	free(space);
	return rc;
}

int get_main(int n, char **words) {
	struct cube_sender_config config = {0};
	struct cube_sender *s;
	uint8_t *space;
	int rc;

	if (strcmp(*words, "-a") == 0) config.again = true, n--, words++;
	for (int i = 0; i < n; i++) words[i] = (char *)(uintptr_t)expand(words[i]);
	config.paths = (const char *const *)words;
	config.n = (size_t)n;
	if (go_home() || start(&space)) return 1;
	cube_copy_measure(config.paths, config.n, &config.total_files, &config.total_bytes);
	s = cube_sender_new(&config);
	rc = send_all(s, space);
	cube_sender_free(s);
	free(space);
	return rc;
}
