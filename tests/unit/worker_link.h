/* A manager's end of a link to a real worker, for tests: frames by hand over a socketpair. */
#ifndef TESTS_WORKER_LINK_H
#define TESTS_WORKER_LINK_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "cube/msg.h"
#include "cube/sha256.h"

#define CLUSTER     0x0123456789abcdefull
#define CLUSTER_HEX "0123456789abcdef"
#define NODE        7u
#define NONCE       "00112233445566aa"

/* A host: BASE with an installed worker in BASE/bin. */
struct host {
	char base[PATH_MAX], exe[PATH_MAX + 80], run[PATH_MAX + 80];
	char sha[CUBE_SHA256_HEX];
};

struct link {
	const struct host *host;
	int fd;    /* both directions */
	pid_t pid; /* of the attach process */
	struct cube_buf in, out;
	size_t used; /* bytes of the frame handed out last */
	pid_t daemon;
	uint64_t boot;
	unsigned metrics;
};

/* What was seen of one attempt. */
struct seen {
	struct cube_buf out[3]; /* by stream */
	struct cube_msg exit;
	bool started, exited;
	uint32_t pid;
};

/* ---- files -------------------------------------------------------------------------------- */

static inline void read_whole(const char *path, struct cube_buf *b) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *space;
	ssize_t n;

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	do {
		ck_assert_int_eq(cube_buf_reserve(b, 65536, &space), 0);
		n = read(fd, space, 65536);
		ck_assert_int_ge(n, 0);
		cube_buf_commit(b, (size_t)n);
	} while (n);
	close(fd);
}

static inline void write_whole(const char *path, const void *bytes, size_t n, mode_t mode) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static inline bool exists(const char *path) {
	struct stat st;

	return lstat(path, &st) == 0;
}

static inline const char *worker_binary(void) {
	static char path[PATH_MAX];
	const char *set = getenv("CUBE_WORKER");
	struct utsname u;

	if (set) return set;
	uname(&u);
#ifdef __SANITIZE_ADDRESS__
	snprintf(path, sizeof path, "build/san/worker/%s/cube-worker", u.machine);
#else
	snprintf(path, sizeof path, "build/worker/%s/cube-worker", u.machine);
#endif
	return path;
}

/* ---- the worker's commands ---------------------------------------------------------------- */

/* Runs a program to its end; its stdout into text. Returns the exit status. */
static inline int run_program(const char *const *argv, char *text, size_t size) {
	int fds[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execv(argv[0], (char *const *)argv);
		_exit(99);
	}
	close(fds[1]);
	while ((got = read(fds[0], text + n, size - 1 - n)) > 0) n += (size_t)got;
	text[n] = '\0';
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int run_install(const char *file, const char *sha, char *text, size_t size) {
	const char *argv[] = {file, "install", sha, NONCE, NULL};

	return run_program(argv, text, size);
}

/* A fresh host below the root that main made, with the worker uploaded but not installed. */
static inline void host_upload(struct host *h, const char *name, char *upload, size_t size) {
	struct cube_buf bytes;
	uint8_t digest[CUBE_SHA256_LEN];
	char bin[PATH_MAX + 8];

	memset(h, 0, sizeof *h);
	snprintf(h->base, sizeof h->base, "%s/%s", getenv("CUBE_TEST_ROOT"), name);
	snprintf(bin, sizeof bin, "%s/bin", h->base);
	ck_assert_int_eq(mkdir(h->base, 0700), 0);
	ck_assert_int_eq(mkdir(bin, 0700), 0);
	cube_buf_init(&bytes, 64 << 20);
	read_whole(worker_binary(), &bytes);
	cube_sha256_of(cube_buf_data(&bytes), cube_buf_len(&bytes), digest);
	cube_sha256_hex(digest, h->sha);
	snprintf(upload, size, "%s/.tmp.abc", bin);
	write_whole(upload, cube_buf_data(&bytes), cube_buf_len(&bytes), 0700);
	cube_buf_done(&bytes);
	snprintf(h->exe, sizeof h->exe, "%s/%s", bin, h->sha);
	snprintf(h->run, sizeof h->run, "%s/run/" CLUSTER_HEX ".%u", h->base, NODE);
}

static inline void host_make(struct host *h, const char *name) {
	char upload[PATH_MAX + 32], text[1024];

	host_upload(h, name, upload, sizeof upload);
	ck_assert_int_eq(run_install(upload, h->sha, text, sizeof text), 0);
}

/* ---- the link ----------------------------------------------------------------------------- */

static inline void link_open_raw(struct link *l, const struct host *h) {
	static const char MARK[] = "CUBE " NONCE " attach\n";
	char line[sizeof MARK] = "";
	size_t n = 0;
	int fds[2];

	memset(l, 0, sizeof *l);
	l->host = h;
	cube_buf_init(&l->in, 64 << 20);
	cube_buf_init(&l->out, 64 << 20);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	l->fd = fds[0];
	l->pid = fork();
	if (l->pid == 0) {
		dup2(fds[1], 0);
		dup2(fds[1], 1);
		execl(h->exe, h->exe, "attach", h->sha, NONCE, CLUSTER_HEX, "7", (char *)NULL);
		_exit(99);
	}
	close(fds[1]);
	while (n < sizeof MARK - 1) {
		ssize_t got = read(l->fd, line + n, sizeof MARK - 1 - n);

		ck_assert_msg(got > 0, "the worker said only \"%s\"", line);
		n += (size_t)got;
	}
	ck_assert_str_eq(line, MARK);
}

/* Writes all of l->out, taking in what comes meanwhile, so that neither side waits for ever. */
static inline void link_flush(struct link *l) {
	while (cube_buf_len(&l->out)) {
		struct pollfd p = {.fd = l->fd, .events = POLLOUT | POLLIN};
		uint8_t *space;
		ssize_t n;

		ck_assert_int_ge(poll(&p, 1, -1), 0);
		if (p.revents & POLLIN) {
			ck_assert_int_eq(cube_buf_reserve(&l->in, 65536, &space), 0);
			n = recv(l->fd, space, 65536, MSG_DONTWAIT);
			cube_buf_commit(&l->in, n > 0 ? (size_t)n : 0);
			if (n == 0) return;
		}
		if (!(p.revents & POLLOUT)) continue;
		n = send(l->fd, cube_buf_data(&l->out), cube_buf_len(&l->out),
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EPIPE) return;
		if (n > 0) cube_buf_consume(&l->out, (size_t)n);
	}
}

static inline void link_send(struct link *l, const struct cube_msg *m) {
	ck_assert_int_eq(cube_msg_encode(&l->out, m), 0);
	link_flush(l);
}

/* The next frame, METRIC counted and skipped. False at the link's end. Its slices live until the
 * next call. */
static inline bool link_next(struct link *l, struct cube_msg *m) {
	struct cube_err err;

	for (;;) {
		uint8_t *space;
		ssize_t n;
		int rc;

		cube_buf_consume(&l->in, l->used);
		l->used = 0;
		rc = cube_msg_decode(cube_buf_data(&l->in), cube_buf_len(&l->in), m, &l->used,
				     &err);
		ck_assert_msg(rc >= 0, "%s", rc < 0 ? err.msg : "");
		if (rc == 0 && m->type == CUBE_MSG_METRIC) l->metrics++;
		else if (rc == 0) return true;
		if (rc == 0) continue;
		l->used = 0;
		ck_assert_int_eq(cube_buf_reserve(&l->in, 262144, &space), 0);
		n = read(l->fd, space, 262144);
		if (n <= 0) return false;
		cube_buf_commit(&l->in, (size_t)n);
	}
}

static inline void link_expect(struct link *l, enum cube_msg_type type, struct cube_msg *m) {
	ck_assert_msg(link_next(l, m), "the link ended, %s was due", cube_msg_name(type));
	ck_assert_msg(m->type == type, "%s instead of %s (%s)", cube_msg_name(m->type),
		      cube_msg_name(type), m->type == CUBE_MSG_ERROR ? m->error.message : "");
}

static inline struct cube_msg hello_msg(const struct host *h, uint32_t slots) {
	struct cube_msg m = {.type = CUBE_MSG_HELLO};

	m.hello.magic = CUBE_PROTO_MAGIC;
	m.hello.version = CUBE_PROTO_VERSION;
	m.hello.cluster = CLUSTER;
	m.hello.node = NODE;
	m.hello.slots = slots;
	memcpy(m.hello.build, h->sha, sizeof m.hello.build);
	snprintf(m.hello.node_name, sizeof m.hello.node_name, "web1");
	return m;
}

/* HELLO both ways; the ATTEMPTs up to READY go to known (n of them, at most max). */
static inline unsigned link_hello(struct link *l, uint32_t slots, struct cube_msg *known,
				  unsigned max) {
	struct cube_msg m = hello_msg(l->host, slots);
	unsigned n = 0;

	link_send(l, &m);
	link_expect(l, CUBE_MSG_WORKER_HELLO, &m);
	ck_assert_str_eq(m.worker_hello.build, l->host->sha);
	l->daemon = (pid_t)m.worker_hello.pid;
	l->boot = m.worker_hello.boot;
	while (link_next(l, &m) && m.type == CUBE_MSG_ATTEMPT)
		if (n < max) known[n++] = m;
	ck_assert_int_eq(m.type, CUBE_MSG_READY);
	return n;
}

static inline void link_open(struct link *l, const struct host *h, uint32_t slots) {
	link_open_raw(l, h);
	ck_assert_uint_eq(link_hello(l, slots, NULL, 0), 0);
}

/* Closes the link; returns how the attach process ended. */
static inline int link_drop(struct link *l) {
	int status;

	close(l->fd);
	cube_buf_done(&l->in);
	cube_buf_done(&l->out);
	ck_assert_int_eq(waitpid(l->pid, &status, 0), l->pid);
	return status;
}

static inline void link_close(struct link *l) {
	ck_assert_int_eq(link_drop(l), 0);
}

/* SHUTDOWN; returns when the daemon is gone (the test is its reaper: main is a subreaper). */
static inline void link_shutdown(struct link *l, bool purge) {
	struct cube_msg m = {.type = CUBE_MSG_SHUTDOWN};

	m.shutdown.purge = purge;
	link_send(l, &m);
	while (link_next(l, &m)) {}
	link_close(l);
}

/* ---- attempts ----------------------------------------------------------------------------- */

static inline struct cube_msg_start start_of(uint64_t task, const char *const *argv) {
	static const char *const none[] = {NULL};

	return (struct cube_msg_start){
		.task = task, .attempt = 1, .argv = argv, .env = none, .dir = "/"};
}

static inline void link_start_with(struct link *l, const struct cube_msg_start *s) {
	ck_assert_int_eq(cube_msg_encode_start(&l->out, s), 0);
	link_flush(l);
}

static inline void link_start(struct link *l, uint64_t task, const char *const *argv) {
	struct cube_msg_start s = start_of(task, argv);

	link_start_with(l, &s);
}

static inline void link_sh(struct link *l, uint64_t task, const char *script) {
	const char *argv[] = {"/bin/sh", "-c", script, NULL};

	link_start(l, task, argv);
}

static inline void link_ack(struct link *l, uint64_t task, uint8_t stream, uint64_t offset) {
	struct cube_msg m = {.type = CUBE_MSG_ACK, .task = task, .attempt = 1};

	m.ack.stream = stream;
	m.ack.offset = offset;
	link_send(l, &m);
}

static inline void link_forget(struct link *l, uint64_t task) {
	struct cube_msg m = {.type = CUBE_MSG_FORGET, .task = task, .attempt = 1};

	link_send(l, &m);
}

static inline void link_stop(struct link *l, uint64_t task, uint32_t grace_ms) {
	struct cube_msg m = {.type = CUBE_MSG_STOP, .task = task, .attempt = 1};

	m.stop.grace_ms = grace_ms;
	link_send(l, &m);
}

static inline void seen_init(struct seen *s) {
	memset(s, 0, sizeof *s);
	for (int i = 0; i < 3; i++) cube_buf_init(&s->out[i], 64 << 20);
}

static inline void seen_done(struct seen *s) {
	for (int i = 0; i < 3; i++) cube_buf_done(&s->out[i]);
}

/* Takes one frame of the attempt; offsets must be without gap and overlap. */
static inline void seen_take(struct seen *s, const struct cube_msg *m) {
	if (m->type == CUBE_MSG_STARTED) {
		s->started = true;
		s->pid = m->started.pid;
	} else if (m->type == CUBE_MSG_LOG) {
		struct cube_buf *b = &s->out[m->data.stream];

		ck_assert_uint_eq(m->data.offset, cube_buf_len(b));
		ck_assert_int_eq(cube_buf_add(b, m->data.bytes.p, m->data.bytes.n), 0);
	} else if (m->type == CUBE_MSG_EXIT) {
		s->exit = *m;
		s->exited = true;
	} else
		ck_assert_msg(m->type == CUBE_MSG_STDIN_ACK, "unexpected %s (%s)",
			      cube_msg_name(m->type),
			      m->type == CUBE_MSG_ERROR ? m->error.message : "");
}

/* Up to the EXIT of the only attempt that runs; each LOG is acknowledged at once if `ack`. */
static inline void link_watch(struct link *l, struct seen *s, bool ack) {
	struct cube_msg m;

	while (!s->exited) {
		ck_assert_msg(link_next(l, &m), "the link ended before the attempt");
		seen_take(s, &m);
		if (m.type == CUBE_MSG_LOG && ack)
			link_ack(l, m.task, m.data.stream, m.data.offset + m.data.bytes.n);
	}
	ck_assert_uint_eq(s->exit.exit.out_end, cube_buf_len(&s->out[1]));
	ck_assert_uint_eq(s->exit.exit.err_end, cube_buf_len(&s->out[2]));
}

/* Waits for a text on stdout of an attempt that goes on running. */
static inline const char *link_wait_text(struct link *l, struct seen *s, const char *text) {
	struct cube_msg m;

	while (!strstr(cube_buf_str(&s->out[1]), text)) {
		ck_assert_msg(link_next(l, &m), "the link ended");
		seen_take(s, &m);
	}
	return cube_buf_str(&s->out[1]);
}

/* Whether a process is there and no zombie. */
static inline bool alive(pid_t pid) {
	char path[64], text[512], *paren;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0) return false;
	text[n] = '\0';
	paren = strrchr(text, ')');
	return paren && paren[1] && paren[2] != 'Z' && paren[2] != 'X';
}

/* Waits for the end of a process; false after timeout_ms. */
static inline bool wait_gone(pid_t pid, int timeout_ms) {
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	bool gone;

	if (p.fd < 0) return true;
	gone = poll(&p, 1, timeout_ms) == 1;
	close(p.fd);
	return gone;
}

/* ---- main --------------------------------------------------------------------------------- */

/* Kills and reaps what is left: a test that failed leaves its daemon, whose tasks come next. */
static inline unsigned kill_leftovers(void) {
	unsigned killed = 0;

	for (;;) {
		char path[64], text[4096], *at = text;
		ssize_t n;
		int fd;

		snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		if (fd >= 0) close(fd);
		if (n <= 0) return killed;
		text[n] = '\0';
		for (long pid; (pid = strtol(at, &at, 10)) > 0;) {
			if (wait_gone((pid_t)pid, 3000)) continue; /* was on its way */
			killed++;
			kill((pid_t)pid, SIGKILL);
		}
		while (waitpid(-1, NULL, 0) > 0) {}
	}
}

/* Shows what sanitizers wrote about the workers below root; returns whether there was anything. */
static inline bool sanitizer_reports(const char *root) {
	DIR *d = opendir(root);
	struct dirent *e;
	bool any = false;

	while (d && (e = readdir(d))) {
		char path[PATH_MAX], line[512];
		FILE *f;

		if (strncmp(e->d_name, "report.", 7) != 0) continue;
		any = true;
		snprintf(path, sizeof path, "%s/%s", root, e->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof line, f)) fputs(line, stderr);
		if (f) fclose(f);
	}
	if (d) closedir(d);
	return any;
}

/* Runs the suite in a scratch folder of its own, CUBE_TEST_ROOT. */
static inline int worker_test_main(Suite *suite) {
	char root[] = "/tmp/cube-worker-test.XXXXXX";
	const char *rm[] = {"/bin/rm", "-rf", root, NULL};
	char options[128];
	SRunner *runner = srunner_create(suite);
	unsigned left;
	int failed;

	if (!mkdtemp(root)) return 1;
	setenv("CUBE_TEST_ROOT", root, 1);
	snprintf(options, sizeof options, "log_path=%s/report", root);
	setenv("ASAN_OPTIONS", options, 1);
	setenv("UBSAN_OPTIONS", options, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	left = kill_leftovers();
	if (left) fprintf(stderr, "%u processes were left over\n", left);
	failed += sanitizer_reports(root);
	if (fork() == 0) {
		execv(rm[0], (char *const *)rm);
		_exit(99);
	}
	wait(NULL);
	return failed || left;
}

#endif
