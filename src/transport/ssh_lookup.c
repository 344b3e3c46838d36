/* Running `ssh -G` and remembering what it said: see ssh_config.h.
 *
 * The process costs some 5 ms, so a cluster is asked about 8 hosts at a time and an answer is
 * kept while the configuration files keep their times (an Include'd file may change unseen:
 * answers are asked again after five minutes).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/spawn.h"
#include "cube/stream.h"
#include "ssh_config.h"

enum { RUNNING_MAX = 8, OUTPUT_MAX = 256 * 1024, CACHE_MAX = 8192, BUCKETS = 1024 };
static const uint64_t CACHE_NS = 300 * CUBE_NS_PER_S;

struct entry { /* of the cache */
	struct entry *next;
	char *key;
	uint64_t stamp, asked_at;
	struct cube_ssh_config config;
};

struct cube_ssh_configs {
	struct cube_loop *loop;
	struct cube_link waiting; /* lookups without a process */
	unsigned running;
	size_t cached;
	struct entry *buckets[BUCKETS];
};

struct cube_ssh_lookup {
	struct cube_link link;
	struct cube_ssh_configs *cs;
	char *host, *user, *file, *jump, *key;
	uint16_t port;
	cube_ssh_config_fn *fn;
	void *arg;
	struct cube_stream *out;
	struct cube_buf text;
	pid_t pid; /* 0 when reaped */
	int status;
	uint64_t stamp;
	bool spawned, eof, too_long, gone;
};

/* ---- the cache --------------------------------------------------------------------------- */

static uint64_t file_stamp(const char *path) {
	struct stat st;
	if (stat(path, &st) < 0) return 1;
	return (uint64_t)st.st_mtim.tv_sec * CUBE_NS_PER_S + (uint64_t)st.st_mtim.tv_nsec +
	       (uint64_t)st.st_size * 31 + (uint64_t)st.st_ino * 1000003;
}

static uint64_t config_stamp(const char *file) {
	if (file) return file_stamp(file);
	cube_autofree char *home = cube_ssh_home();
	cube_autofree char *own = cube_strf("%s/.ssh/config", home);
	return file_stamp(own) * 3 + file_stamp("/etc/ssh/ssh_config");
}

static struct entry **find(struct cube_ssh_configs *cs, const char *key) {
	uint32_t hash = 2166136261u;
	for (const char *p = key; *p; p++) hash = (hash ^ (uint8_t)*p) * 16777619u;
	struct entry **at = &cs->buckets[hash % BUCKETS];
	while (*at && strcmp((*at)->key, key) != 0) at = &(*at)->next;
	return at;
}

static void forget(struct cube_ssh_configs *cs, struct entry **at) {
	struct entry *e = *at;
	*at = e->next;
	cube_ssh_config_done(&e->config);
	free(e->key);
	free(e);
	cs->cached--;
}

static const struct cube_ssh_config *recall(struct cube_ssh_lookup *l) {
	struct entry **at = find(l->cs, l->key);
	if (!*at) return NULL;
	bool fresh =
		(*at)->stamp == l->stamp && cube_loop_now(l->cs->loop) - (*at)->asked_at < CACHE_NS;
	if (fresh) return &(*at)->config;
	forget(l->cs, at);
	return NULL;
}

static void remember(struct cube_ssh_lookup *l, const struct cube_ssh_config *config) {
	struct entry **at = find(l->cs, l->key);
	if (*at || l->cs->cached >= CACHE_MAX) return;
	struct entry *e = *at = cube_alloc(sizeof *e);
	e->key = cube_strdup(l->key);
	e->stamp = l->stamp;
	e->asked_at = cube_loop_now(l->cs->loop);
	cube_ssh_config_copy(&e->config, config);
	l->cs->cached++;
}

/* ---- one lookup -------------------------------------------------------------------------- */

static void start_waiting(struct cube_ssh_configs *cs);

static void destroy(void *arg) {
	struct cube_ssh_lookup *l = arg;
	cube_buf_done(&l->text);
	free(l->host);
	free(l->user);
	free(l->file);
	free(l->jump);
	free(l->key);
	free(l);
}

static void release(struct cube_ssh_lookup *l) {
	if (l->gone) return;
	l->gone = true;
	cube_list_remove(&l->link);
	if (l->pid) cube_loop_forget_child(l->cs->loop, l->pid);
	cube_stream_free(l->out);
	if (l->spawned) {
		l->cs->running--;
		start_waiting(l->cs);
	}
	cube_loop_defer(l->cs->loop, destroy, l);
}

void cube_ssh_lookup_cancel(struct cube_ssh_lookup *l) {
	if (l) release(l);
}

static void answer(struct cube_ssh_lookup *l, const struct cube_ssh_config *config,
		   const struct cube_err *err) {
	cube_ssh_config_fn *fn = l->fn;
	void *arg = l->arg;
	release(l); /* first: fn may free what we stand on */
	fn(arg, config, err);
}

/* The first line of what ssh complained about. */
static void complain(struct cube_ssh_lookup *l, struct cube_err *err) {
	const char *text = cube_buf_str(&l->text);
	int n = (int)strcspn(text, "\r\n");
	if (l->too_long) cube_fail(err, CUBE_ETOOBIG, "ssh -G printed over 256 KiB");
	else if (n) cube_fail(err, CUBE_EUSAGE, "ssh configuration: %.*s", n > 160 ? 160 : n, text);
	else cube_fail(err, CUBE_EUSAGE, "ssh -G failed with status %d", l->status);
}

static void check_done(struct cube_ssh_lookup *l) {
	struct cube_ssh_config config = {0};
	struct cube_err err;
	if (l->gone || l->pid || !l->eof) return;
	int rc = -1;
	if (l->status || l->too_long) complain(l, &err);
	else
		rc = cube_ssh_config_parse(cube_buf_str(&l->text), cube_buf_len(&l->text), &config,
					   &err);
	if (rc == 0) remember(l, &config);
	answer(l, rc == 0 ? &config : NULL, rc == 0 ? NULL : &err);
	cube_ssh_config_done(&config);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct cube_ssh_lookup *l = arg;
	l->pid = 0;
	l->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	check_done(l);
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_ssh_lookup *l = arg;
	if (cube_buf_add(&l->text, bytes, n) < 0) l->too_long = true;
	return n;
}

static void on_closed(void *arg, const struct cube_err *err) {
	struct cube_ssh_lookup *l = arg;
	l->eof = true;
	check_done(l);
}

static const struct cube_stream_ops STREAM_OPS = {.data = on_data, .closed = on_closed};

/* -T: without it ssh warns on stderr that it has no terminal. */
static int spawn_ssh(struct cube_ssh_lookup *l, int out, struct cube_err *err) {
	struct cube_strv argv = {0};
	char port[8];
	cube_strv_add(&argv, "ssh");
	cube_strv_add(&argv, "-TG");
	cube_autofree char *moved = l->file ? NULL : cube_ssh_moved_config();
	if (l->file || moved) {
		cube_strv_add(&argv, "-F");
		cube_strv_add(&argv, l->file ? l->file : moved);
	}
	if (l->port) {
		snprintf(port, sizeof port, "%u", l->port);
		cube_strv_add(&argv, "-p");
		cube_strv_add(&argv, port);
	}
	if (l->user) {
		cube_strv_add(&argv, "-l");
		cube_strv_add(&argv, l->user);
	}
	if (l->jump) {
		cube_strv_add(&argv, "-J");
		cube_strv_add(&argv, l->jump);
	}
	cube_strv_add(&argv, "--");
	cube_strv_add(&argv, l->host);
	struct cube_spawn spawn = {.argv = (const char *const *)cube_strv_argv(&argv),
				   .in = -1,
				   .out = out,
				   .err = out,
				   .session = true};
	int rc = cube_spawn(&spawn, &l->pid, err);
	cube_strv_done(&argv);
	return rc;
}

static int start(struct cube_ssh_lookup *l, struct cube_err *err) {
	static const struct cube_stream_limits LIMITS = {.max_in = 64 * 1024};
	int fds[2];
	int rc = cube_pipe(fds, err);
	if (rc < 0) return rc;
	rc = cube_stream_new(l->cs->loop, fds[0], -1, &STREAM_OPS, l, &LIMITS, &l->out, err);
	if (rc == 0) rc = spawn_ssh(l, fds[1], err);
	close(fds[1]);
	if (rc < 0) return rc;
	l->spawned = true;
	l->cs->running++;
	return cube_loop_on_child(l->cs->loop, l->pid, on_child, l, err);
}

static void answer_default(struct cube_ssh_lookup *l) {
	struct cube_ssh_question q = {.host = l->host,
				      .user = l->user,
				      .file = l->file,
				      .jump = l->jump,
				      .port = l->port};
	struct cube_ssh_config config;
	cube_ssh_config_default(&q, &config);
	answer(l, &config, NULL);
	cube_ssh_config_done(&config);
}

static void begin(void *arg) {
	struct cube_ssh_lookup *l = arg;
	struct cube_err err;
	if (l->gone || l->spawned) return;
	if (l->cs->running >= RUNNING_MAX) return;
	cube_list_remove(&l->link);
	const struct cube_ssh_config *known = recall(l);
	if (known) {
		struct cube_ssh_config copy; /* the cache may change under fn */
		cube_ssh_config_copy(&copy, known);
		answer(l, &copy, NULL);
		cube_ssh_config_done(&copy);
		return;
	}
	if (start(l, &err) == 0) return;
	if (err.code == CUBE_EEXEC && err.sys == ENOENT) answer_default(l);
	else answer(l, NULL, &err);
}

/* Only puts the next one on the list of deferred calls: answers never come inside a cancel. */
static void start_waiting(struct cube_ssh_configs *cs) {
	unsigned room = cs->running < RUNNING_MAX ? RUNNING_MAX - cs->running : 0;
	cube_list_each (&cs->waiting, l, struct cube_ssh_lookup, link) {
		if (!room--) break;
		cube_loop_defer(cs->loop, begin, l);
	}
}

struct cube_ssh_lookup *cube_ssh_configs_ask(struct cube_ssh_configs *cs,
					     const struct cube_ssh_question *q,
					     cube_ssh_config_fn *fn, void *arg) {
	struct cube_ssh_lookup *l = cube_alloc(sizeof *l);
	l->cs = cs;
	l->host = cube_strdup(q->host);
	l->user = cube_strdup(q->user);
	l->file = cube_strdup(q->file);
	l->jump = cube_strdup(q->jump);
	l->port = q->port;
	l->fn = fn;
	l->arg = arg;
	l->key = cube_strf("%s\n%s\n%u\n%s\n%s", q->host, q->user ? q->user : "", q->port,
			   q->file ? q->file : "", q->jump ? q->jump : "");
	l->stamp = config_stamp(q->file);
	cube_buf_init(&l->text, OUTPUT_MAX);
	cube_list_append(&cs->waiting, &l->link);
	cube_loop_defer(cs->loop, begin, l);
	return l;
}

void cube_ssh_configs_new(struct cube_loop *loop, struct cube_ssh_configs **ret) {
	struct cube_ssh_configs *cs = cube_alloc(sizeof *cs);
	cs->loop = loop;
	cube_list_init(&cs->waiting);
	*ret = cs;
}

void cube_ssh_configs_free(struct cube_ssh_configs *cs) {
	if (!cs) return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (cs->buckets[i]) forget(cs, &cs->buckets[i]);
	free(cs);
}
