/* A real manager in a process of its own, spoken to over its socket by hand-written HTTP; and a
 * worker that is this test program itself, playing a role. */
#ifndef TESTS_MANAGER_HOST_H
#define TESTS_MANAGER_HOST_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/msg.h"
#include "cube/sha256.h"

#ifdef BUILD
#elif defined __SANITIZE_ADDRESS__
#define BUILD "build/san"
#else
#define BUILD "build"
#endif
enum { WAIT_MS = 30000 }; /* far over what anything takes; then a test fails */

struct site { /* one test's world */
	char root[64], state[96], dir[96], sock[128];
	char sha[CUBE_SHA256_HEX];
	struct cube_buf image; /* of the real worker */
	pid_t manager;
};
static struct site site;

static inline const char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline const char *text_of(const char *format, ...) {
	static char ring[8][2048];
	static unsigned at;
	va_list ap;
	char *s = ring[at++ % 8];
	va_start(ap, format);
	vsnprintf(s, sizeof ring[0], format, ap);
	va_end(ap);
	return s;
}

/* ---- files ---------------------------------------------------------------------------------- */

static inline void read_file(const char *path, struct cube_buf *b) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *space;
	ssize_t n;
	cube_buf_init(b, 256u << 20);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	do {
		ck_assert_int_eq(cube_buf_reserve(b, 65536, &space), 0);
		n = read(fd, space, 65536);
		ck_assert_int_ge(n, 0);
		cube_buf_commit(b, (size_t)n);
	} while (n);
	close(fd);
}

static inline void write_file(const char *path, const void *bytes, size_t n, mode_t mode) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static inline bool exists(const char *path) {
	struct stat st;
	return lstat(path, &st) == 0;
}

/* Rises each time it is called; kept in a file, for a worker that is started many times. */
static inline int count_up(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat st;
	if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) < 0) _exit(98);
	close(fd);
	return (int)st.st_size;
}

/* ---- the manager ---------------------------------------------------------------------------- */

static inline void manager_start(void) {
	int fds[2];
	char byte;
	ck_assert_int_eq(pipe(fds), 0);
	site.manager = fork();
	if (site.manager == 0) {
		close(fds[0]);
		execl(BUILD "/cube", "cube", "manager", "--daemon", text_of("%d", fds[1]), "-v",
		      (char *)NULL);
		_exit(99);
	}
	close(fds[1]);
	ck_assert_msg(read(fds[0], &byte, 1) == 1, "the manager does not start");
	close(fds[0]);
}

static inline void manager_kill(void) {
	kill(site.manager, SIGKILL);
	ck_assert_int_eq(waitpid(site.manager, NULL, 0), site.manager);
	site.manager = 0;
}

/* Processes whose program lies in this site; attach processes lead their session, daemons do not.
 */
/* What lies in the site's folder is run. */
static inline bool runs_here(pid_t pid) {
	char exe[PATH_MAX];
	ssize_t n = readlink(text_of("/proc/%d/exe", pid), exe, sizeof exe - 1);
	exe[n < 0 ? 0 : n] = 0;
	return strncmp(exe, site.root, strlen(site.root)) == 0;
}

static inline bool lives_here(pid_t pid) {
	char env[8192], home[sizeof site.root + 8];
	int fd = open(text_of("/proc/%d/environ", pid), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, env, sizeof env);
	if (fd >= 0) close(fd);
	snprintf(home, sizeof home, "HOME=%s", site.root);
	return n > 0 && memmem(env, (size_t)n, home, strlen(home) + 1);
}

static inline bool is_daemon(pid_t pid) {
	return runs_here(pid) && getsid(pid) != pid;
}
static inline bool is_of_site(pid_t pid) {
	return runs_here(pid) || lives_here(pid);
}

static inline pid_t find_process(bool (*is_it)(pid_t)) {
	DIR *d = opendir("/proc");
	pid_t found = 0;
	for (struct dirent *e = readdir(d); e && !found; e = readdir(d)) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		if (pid > 0 && is_it(pid)) found = pid;
	}
	closedir(d);
	return found;
}

static inline pid_t find_daemon(void) {
	return find_process(is_daemon);
}

static inline void site_open(void) {
	struct utsname u;
	uint8_t digest[CUBE_SHA256_LEN];
	snprintf(site.root, sizeof site.root, "/tmp/cube-manager.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(site.root));
	snprintf(site.state, sizeof site.state, "%s/state/default", site.root);
	snprintf(site.dir, sizeof site.dir, "%s/host", site.root);
	snprintf(site.sock, sizeof site.sock, "%s/sock", site.state);
	static const char *const unsets[] = {"XDG_RUNTIME_DIR", "XDG_STATE_HOME", "CUBE_CLUSTER",
					     "CUBE_STORE"};
	for (size_t i = 0; i < 4; i++) unsetenv(unsets[i]);
	char dir[sizeof site.root + 8];
	snprintf(dir, sizeof dir, "%s/state", site.root);
	setenv("CUBE_STATE_DIR", dir, 1);
	setenv("CUBE_DIR", site.dir, 1);
	setenv("HOME", site.root, 1);
	uname(&u);
	read_file(text_of(BUILD "/worker/%s/cube-worker", u.machine), &site.image);
	cube_sha256_of(cube_buf_data(&site.image), cube_buf_len(&site.image), digest);
	cube_sha256_hex(digest, site.sha);
}

/* No manager may have died by itself, and no sanitizer may have said anything. */
static inline void check_log(const char *path) {
	struct cube_buf log;
	if (!exists(path)) return;
	read_file(path, &log);
	const char *s = cube_buf_str(&log);
	ck_assert_msg(!strstr(s, "AddressSanitizer") && !strstr(s, "runtime error"), "%s", s);
	ck_assert_msg(!strstr(s, "cannot go from"), "%s", s);
	cube_buf_done(&log);
}

static inline void site_close(void) {
	pid_t pid;
	if (site.manager > 0) manager_kill();
	/* Who waits in hold_pushing: a writer lets it go. */
	int go = open(text_of("%s/go", site.root), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (go >= 0) close(go);
	while ((pid = find_process(is_of_site)) > 0) {
		kill(pid, SIGKILL);
		poll(NULL, 0, 1);
	}
	check_log(text_of("%s/manager.log", site.state));
	cube_buf_done(&site.image);
	pid_t rm = fork();
	if (rm == 0) execl("/bin/rm", "rm", "-rf", site.root, (char *)NULL);
	waitpid(rm, NULL, 0); /* not just any child: check ends what is left of the test */
}

/* ---- HTTP ----------------------------------------------------------------------------------- */

static inline int http_connect(void) {
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%.100s", site.sock);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int http_open(const char *method, const char *path, const void *body, size_t n) {
	int fd = http_connect();
	if (fd < 0) return -1;
	const char *head = text_of("%s %s HTTP/1.1\r\nHost: cube\r\nConnection: close\r\n"
				   "Content-Length: %zu\r\n\r\n",
				   method, path, n);
	ck_assert_int_eq(send(fd, head, strlen(head), MSG_NOSIGNAL), (ssize_t)strlen(head));
	for (size_t sent = 0; sent < n;) {
		ssize_t w = send(fd, (const char *)body + sent, n - sent, MSG_NOSIGNAL);
		ck_assert_int_gt(w, 0);
		sent += (size_t)w;
	}
	return fd;
}

/* One more piece of the answer; false at its end. */
static inline bool http_more(int fd, struct cube_buf *b) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t *space;
	ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "nothing more comes after: %.2000s",
		      cube_buf_str(b));
	ck_assert_int_eq(cube_buf_reserve(b, 65536, &space), 0);
	ssize_t n = read(fd, space, 65536);
	cube_buf_commit(b, n > 0 ? (size_t)n : 0);
	return n > 0;
}

/* The body without head and chunk marks, as a malloc'd string of *ret_n bytes. */
static inline char *http_body(struct cube_buf *b, size_t *ret_n) {
	const char *s = cube_buf_str(b), *end = strstr(s, "\r\n\r\n");
	size_t len = cube_buf_len(b), to = 0;
	ck_assert_ptr_nonnull(end);
	bool chunked = memmem(s, (size_t)(end - s), "chunked", 7) != NULL;
	const char *p = end + 4, *stop = s + len;
	char *out = calloc(1, len + 1);
	while (chunked && p < stop) {
		char *after;
		size_t n = strtoul(p, &after, 16);
		if (!n || after + 2 + n > stop) break;
		memcpy(out + to, after + 2, n);
		to += n;
		p = after + 2 + n + 2;
	}
	if (!chunked) memcpy(out, p, to = (size_t)(stop - p));
	*ret_n = to;
	return out;
}

static inline int http_finish(int fd, char **ret, size_t *ret_n) {
	struct cube_buf b;
	size_t n;
	cube_buf_init(&b, 256u << 20);
	while (http_more(fd, &b)) {}
	close(fd);
	int status = (int)strtol(cube_buf_str(&b) + (cube_buf_len(&b) > 9 ? 9 : 0), NULL, 10);
	char *body = http_body(&b, ret_n ? ret_n : &n);
	if (ret) *ret = body;
	else free(body);
	cube_buf_done(&b);
	return status;
}

static inline int http(const char *method, const char *path, const char *body, json_t **ret) {
	char *text;
	int fd = http_open(method, path, body ? body : "", body ? strlen(body) : 0);
	ck_assert_msg(fd >= 0, "%s %s: the manager is gone", method, path);
	int status = http_finish(fd, &text, NULL);
	if (ret) *ret = json_loads(text, 0, NULL);
	free(text);
	return status;
}

/* A request as it is; its status. */
static inline int http_raw(const char *request, json_t **ret) {
	char *text;
	int fd = http_connect();
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL),
			 (ssize_t)strlen(request));
	int status = http_finish(fd, &text, NULL);
	if (ret) *ret = json_loads(text, 0, NULL);
	free(text);
	return status;
}

/* Waits until an event tells that the task (or the named node) came into the state; returns its
 * number, and the reason. */
static inline uint64_t wait_event(uint64_t after, uint64_t task, const char *node,
				  const char *state, char reason[256]) {
	struct cube_buf b;
	uint64_t seq = 0;
	int fd = http_open("GET", text_of("/v1/events?follow=1&after=%" PRIu64, after), "", 0);
	ck_assert_int_ge(fd, 0);
	cube_buf_init(&b, 64u << 20);
	for (size_t from = 0; !seq;) {
		ck_assert_msg(http_more(fd, &b), "events end: %s", cube_buf_str(&b));
		const char *s = cube_buf_str(&b), *nl;
		while (!seq && (nl = strchr(s + from, '\n'))) {
			const char *data = s + from;
			from = (size_t)(nl - s) + 1;
			if (strncmp(data, "data: ", 6)) continue;
			json_t *o = json_loadb(data + 6, (size_t)(nl - data) - 6, 0, NULL), *v;
			const char *kind = json_string_value(json_object_get(o, "kind"));
			const char *name = json_string_value(json_object_get(o, "node"));
			const char *new = json_string_value(json_object_get(o, "new"));
			const char *why = json_string_value(json_object_get(o, "reason"));
			v = json_object_get(o, "task");
			bool same =
				task ? (uint64_t)json_integer_value(v) == task
				     : kind && !strcmp(kind, "node") && name && !strcmp(name, node);
			if (same && new &&strcmp(new, state) == 0) {
				seq = (uint64_t)json_integer_value(json_object_get(o, "seq"));
				if (reason) snprintf(reason, 256, "%s", why ? why : "");
			}
			json_decref(o);
		}
	}
	close(fd);
	cube_buf_done(&b);
	return seq;
}

static inline uint64_t wait_node(uint64_t after, const char *node, const char *state) {
	return wait_event(after, 0, node, state, NULL);
}

static inline uint64_t wait_task(uint64_t task, const char *state) {
	return wait_event(0, task, NULL, state, NULL);
}

static inline int add_node(const char *name, unsigned slots) {
	return http(
		"POST", "/v1/nodes",
		text_of("{\"nodes\":[{\"name\":\"%s\",\"local\":true,\"slots\":%u}]}", name, slots),
		NULL);
}

/* more: further fields of the request, beginning with a comma, or "". Returns the first id. */
static inline uint64_t add_task(const char *script, const char *more) {
	json_t *o;
	int status = http("POST", "/v1/tasks",
			  text_of("{\"argv\":[\"sh\",\"-c\",\"%s\"]%s}", script, more), &o);
	ck_assert_msg(status == 201, "%d: %s", status, json_dumps(o, 0));
	uint64_t id = (uint64_t)json_integer_value(json_object_get(o, "first"));
	json_decref(o);
	return id;
}

static inline json_t *get_task(uint64_t id) {
	json_t *o;
	ck_assert_int_eq(http("GET", text_of("/v1/tasks/%" PRIu64, id), NULL, &o), 200);
	return o;
}

static inline char *get_logs(uint64_t id, const char *query, size_t *ret_n) {
	char *text;
	int fd = http_open("GET", text_of("/v1/tasks/%" PRIu64 "/logs?%s", id, query), "", 0);
	ck_assert_int_eq(http_finish(fd, &text, ret_n), 200);
	return text;
}

static inline void expect_output(uint64_t id, const char *text) {
	size_t n;
	char *out = get_logs(id, "stream=stdout", &n);
	ck_assert_str_eq(out, text);
	free(out);
}

static inline void expect_how(uint64_t id, const char *how) {
	json_t *o = get_task(id);
	const char *is = json_string_value(json_object_get(o, "how"));
	ck_assert_msg(is && strcmp(is, how) == 0, "%s", json_dumps(o, 0));
	json_decref(o);
}

/* PUT of a content; its hash. */
static inline const char *put_file(const void *bytes, size_t n) {
	uint8_t digest[CUBE_SHA256_LEN];
	char hex[CUBE_SHA256_HEX];
	cube_sha256_of(bytes, n, digest);
	cube_sha256_hex(digest, hex);
	int fd = http_open("PUT", text_of("/v1/files/%s", hex), bytes, n);
	ck_assert_int_eq(http_finish(fd, NULL, NULL), 201);
	return text_of("%s", hex);
}

/* ---- the worker that this program plays ----------------------------------------------------- */

/* The manager finds it in the place of the cached worker. */
static inline void play(const char *role) {
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	ck_assert_int_gt(n, 0);
	self[n] = 0;
	mkdir(site.dir, 0700);
	mkdir(text_of("%s/bin", site.dir), 0700);
	const char *script = text_of("#!/bin/sh\nexec %s \"$@\"\n", self);
	write_file(text_of("%s/bin/%s", site.dir, site.sha), script, strlen(script), 0700);
	setenv("CUBE_TEST_ROLE", role, 1);
	setenv("CUBE_TEST_COUNT", text_of("%s/count", site.root), 1);
}

static inline void say(const struct cube_msg *msg) {
	struct cube_buf b;
	cube_buf_init(&b, 2u << 20);
	if (cube_msg_encode(&b, msg) ||
	    write(1, cube_buf_data(&b), cube_buf_len(&b)) != (ssize_t)cube_buf_len(&b))
		_exit(97);
	cube_buf_done(&b);
}

/* Reads until a message of the type comes; its ids. At the end of the link: exits. */
static inline void hear(enum cube_msg_type type, struct cube_msg *ret) {
	static uint8_t bytes[4u << 20];
	static size_t have, used;
	for (;;) {
		size_t one;
		int rc = cube_msg_decode(bytes + used, have - used, ret, &one, NULL);
		if (rc < 0) _exit(96);
		if (rc == 0) {
			used += one;
			if (ret->type == type) return;
			continue;
		}
		memmove(bytes, bytes + used, have - used);
		have -= used;
		used = 0;
		ssize_t n = read(0, bytes + have, sizeof bytes - have);
		if (n <= 0) _exit(0);
		have += (size_t)n;
	}
}

static inline struct cube_msg hello_of(char **argv, uint64_t boot) {
	struct cube_msg m = {.type = CUBE_MSG_WORKER_HELLO};
	m.worker_hello.magic = CUBE_PROTO_MAGIC;
	m.worker_hello.version = CUBE_PROTO_VERSION;
	m.worker_hello.cluster = strtoull(argv[4], NULL, 16);
	m.worker_hello.node = (uint32_t)strtoul(argv[5], NULL, 10);
	m.worker_hello.boot = boot;
	m.worker_hello.cpus = 4;
	snprintf(m.worker_hello.build, sizeof m.worker_hello.build, "%s", argv[2]);
	snprintf(m.worker_hello.machine, sizeof m.worker_hello.machine, "x86_64");
	return m;
}

#endif
