/* Running `ssh -G` and remembering what it said: see ssh_config.h.
 *
 * The process costs some 5 ms, so a cluster is asked about 8 hosts at a time and an answer is kept
 * as long as all that it came from stays the same.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/spawn.h"
#include "cube/bufio.h"
#include "cube/hangup.h"
#include "ssh_answers.h"
#include "cube/ssh_config.h"
#include "ssh_stamp.h"

enum { RUNNING_MAX = 8, OUTPUT_MAX = 256 * 1024 };
/* A configuration without an end (/dev/zero) is one line that grows; ssh takes its failure to get
 * more memory for the end of the file. The line had grown to more than half of the limit then: who
 * took that much gives no answer. The kernel counts the memory of who started it as its own until
 * it execs, which moves both up where we are large ourselves. */
enum { GROWN_KIB = 250 << 10 };
static const uint64_t LIMIT_NS = 30 * CUBE_NS_PER_S;

struct cube_ssh_configs {
	struct cube_loop *loop;
	struct cube_list waiting; /* lookups without a process */
	unsigned running;
	struct cube_list dying; /* hangup.h */
	struct cube_ssh_answers *answers;
	char *format;
	/* The stamp taken last: of one turn's many questions about one file it is the same. */
	struct cube_ssh_stamp stamp;
	char *stamp_file; /* NULL: of the usual files */
	uint64_t stamp_at;
	bool stamped;
};

struct cube_ssh_lookup {
	struct cube_list entry;
	struct cube_ssh_configs *cs;
	char *host, *user, *file, *jump, *key;
	struct cube_strv options;
	uint16_t port;
	cube_ssh_config_fn *fn;
	void (*begun)(void *arg);
	void *arg;
	struct cube_bufio *out;
	struct cube_timer *limit;
	struct cube_buf text;
	pid_t pid, group; /* pid: 0 when reaped */
	int status;
	struct cube_ssh_stamp stamp;
	bool spawned, eof, too_long, grown, gone;
	long most_kib; /* of memory, that it may take */
};

/* ---- what is remembered ------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b) {
	return a && b ? !strcmp(a, b) : a == b;
}

/* Options that bring in more than their own text. */
static bool lasting_options(const struct cube_strv *options) {
	static const char *const MORE[] = {"include", "match", "canonicalizehostname"};
	for (size_t i = 0; i < options->len; i++) {
		const char *o = options->v[i];
		if (strchr(o, '$')) return false;
		for (size_t k = 0; k < sizeof MORE / sizeof MORE[0]; k++)
			if (!strncasecmp(o, MORE[k], strlen(MORE[k]))) return false;
	}
	return true;
}

static struct cube_ssh_stamp stamp_now(struct cube_ssh_lookup *l) {
	struct cube_ssh_configs *cs = l->cs;
	uint64_t now = cube_loop_now(cs->loop);
	if (!cs->stamped || cs->stamp_at != now || !same_text(cs->stamp_file, l->file)) {
		cube_ssh_stamp_take(l->file, cs->format, &cs->stamp);
		free(cs->stamp_file);
		cs->stamp_file = cube_strdup(l->file);
		cs->stamp_at = now;
		cs->stamped = true;
	}
	struct cube_ssh_stamp stamp = cs->stamp;
	if (!lasting_options(&l->options)) {
		/* Another table: there they are forgotten in time. */
		stamp.lasting = false;
		stamp.id[0] ^= 0xff;
	}
	return stamp;
}

static bool named(const struct cube_ssh_lookup *l, const char *word) {
	cube_autofree char *blanks = cube_strf(" %s ", word);
	if (strcasestr(l->stamp.unknown, blanks)) return true;
	for (size_t i = 0; i < l->options.len; i++) {
		size_t n = strcspn(l->options.v[i], "=");
		if (n == strlen(word) && !strncasecmp(l->options.v[i], word, n)) return true;
	}
	return false;
}

/* ssh prints what is there by default as well: only what somebody asked for counts. */
static void judge_unknown(const struct cube_ssh_lookup *l, struct cube_ssh_config *c) {
	for (size_t i = 0; i < c->unknown.len && !c->program; i++)
		if (named(l, c->unknown.v[i]))
			c->program = cube_strf(
				"%.60s, which is newer than this cube, needs the ssh program",
				c->unknown.v[i]);
}

static bool recall(struct cube_ssh_lookup *l, struct cube_ssh_config *ret) {
	size_t n;
	uint64_t now = cube_loop_now(l->cs->loop);
	const char *text = cube_ssh_answers_get(l->cs->answers, &l->stamp, l->key, now, &n);
	return text && cube_ssh_config_parse(text, n, ret, NULL) == 0;
}

/* Not where the files were changed while ssh read them. */
static void remember(struct cube_ssh_lookup *l) {
	struct cube_ssh_stamp stamp = stamp_now(l);
	struct cube_buf text;
	if (memcmp(stamp.id, l->stamp.id, sizeof stamp.id) != 0) return;
	cube_buf_init(&text, CUBE_SSH_ANSWER_MAX);
	if (cube_ssh_config_filter(cube_buf_str(&l->text), cube_buf_len(&l->text), &text) == 0)
		cube_ssh_answers_put(l->cs->answers, &stamp, l->key, cube_loop_now(l->cs->loop),
				     cube_buf_str(&text), cube_buf_len(&text));
	cube_buf_done(&text);
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
	cube_strv_done(&l->options);
	free(l);
}

static void release(struct cube_ssh_lookup *l) {
	if (l->gone) return;
	l->gone = true;
	cube_list_remove(&l->entry);
	/* Also what its Match exec started. */
	if (l->pid) cube_hang_up(l->cs->loop, &l->cs->dying, l->pid);
	else if (l->spawned && !l->eof) kill(-l->group, SIGKILL);
	cube_timer_del(l->limit);
	cube_bufio_free(l->out);
	if (l->spawned) l->cs->running--;
	if (l->spawned && !l->cs->running) cube_ssh_answers_flush(l->cs->answers);
	start_waiting(
		l->cs); /* also after an answer out of memory: those behind it wait for that */
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
	else if (l->grown)
		cube_fail(err, CUBE_ETOOBIG,
			  "ssh -G %.80s takes over %ld MB of memory: is one of its configuration "
			  "files endless?",
			  l->host, l->most_kib >> 10);
	else if (n) cube_fail(err, CUBE_EUSAGE, "ssh configuration: %.*s", n > 160 ? 160 : n, text);
	else cube_fail(err, CUBE_EUSAGE, "ssh -G failed with status %d", l->status);
}

static void check_done(struct cube_ssh_lookup *l) {
	struct cube_ssh_config config = {0};
	struct cube_err err;
	if (l->gone || l->pid || !l->eof) return;
	int rc = -1;
	if (l->status || l->too_long || l->grown) complain(l, &err);
	else
		rc = cube_ssh_config_parse(cube_buf_str(&l->text), cube_buf_len(&l->text), &config,
					   &err);
	if (rc == 0) {
		remember(l);
		judge_unknown(l, &config);
		cube_ssh_config_expand(&config, l->host);
	}
	answer(l, rc == 0 ? &config : NULL, rc == 0 ? NULL : &err);
	cube_ssh_config_done(&config);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct cube_ssh_lookup *l = arg;
	l->pid = 0;
	l->grown = usage && usage->ru_maxrss > l->most_kib;
	l->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	check_done(l);
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct cube_ssh_lookup *l = arg;
	if (cube_buf_add(&l->text, bytes, n) < 0) l->too_long = true;
	if (l->too_long && l->pid) kill(-l->pid, SIGKILL); /* it may print for ever */
	return n;
}

static void on_limit(void *arg) {
	struct cube_ssh_lookup *l = arg;
	struct cube_err err;
	cube_fail(
		&err, CUBE_ETIMEOUT,
		"ssh -G %.80s gave no answer in 30 s: what does its configuration run (Match exec)?",
		l->host);
	answer(l, NULL, &err);
}

static void on_closed(void *arg, const struct cube_err *err) {
	struct cube_ssh_lookup *l = arg;
	l->eof = true;
	check_done(l);
}

static const struct cube_bufio_ops STREAM_OPS = {.data = on_data, .closed = on_closed};

static long most_kib(void) {
	struct rusage ours;
	bool large = getrusage(RUSAGE_SELF, &ours) == 0 && ours.ru_maxrss > GROWN_KIB / 2;
	return large ? ours.ru_maxrss + GROWN_KIB / 2 : GROWN_KIB;
}

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
	cube_strv_add(&argv, "-o");
	cube_strv_add(&argv, CUBE_SSH_CONFIG_HASH);
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
	for (size_t i = 0; i < l->options.len; i++) {
		cube_strv_add(&argv, "-o");
		cube_strv_add(&argv, l->options.v[i]);
	}
	cube_strv_add(&argv, "--");
	cube_strv_add(&argv, l->host);
	l->most_kib = most_kib();
	rlim_t most = 2 * 1024 * ((rlim_t)l->most_kib + GROWN_KIB / 16);
	struct rlimit data = {most, most};
	struct cube_spawn spawn = {.argv = (const char *const *)cube_strv_argv(&argv),
				   .in = -1,
				   .out = out,
				   .err = out,
				   .session = true,
				   .mortal = true,
				   .data = &data};
	int rc = cube_spawn(&spawn, &l->pid, err);
	cube_strv_done(&argv);
	return rc;
}

static int start(struct cube_ssh_lookup *l, struct cube_err *err) {
	static const struct cube_bufio_limits LIMITS = {.max_in = 64 * 1024};
	int fds[2];
	int rc = cube_pipe(fds, err);
	if (rc < 0) return rc;
	rc = cube_bufio_new(l->cs->loop, fds[0], -1, &STREAM_OPS, l, &LIMITS, &l->out, err);
	if (rc == 0) rc = spawn_ssh(l, fds[1], err);
	close(fds[1]);
	if (rc < 0) return rc;
	l->spawned = true;
	l->group = l->pid;
	l->cs->running++;
	l->limit = cube_timer_add(l->cs->loop, on_limit, l);
	cube_timer_after(l->limit, LIMIT_NS);
	return cube_loop_on_child(l->cs->loop, l->pid, on_child, l, err);
}

static void answer_default(struct cube_ssh_lookup *l) {
	struct cube_ssh_question q = {.host = l->host,
				      .user = l->user,
				      .file = l->file,
				      .jump = l->jump,
				      .port = l->port,
				      .options = &l->options};
	struct cube_ssh_config config;
	struct cube_err err;
	if (cube_ssh_config_default(&q, &config, &err) < 0) {
		answer(l, NULL, &err);
		return;
	}
	cube_ssh_config_expand(&config, l->host);
	cube_ssh_config_expand_rest(&config, l->host);
	answer(l, &config, NULL);
	cube_ssh_config_done(&config);
}

static void begin(void *arg) {
	struct cube_ssh_lookup *l = arg;
	struct cube_ssh_config known = {0};
	struct cube_err err;
	if (l->gone || l->spawned) return;
	if (l->cs->running >= RUNNING_MAX) return;
	cube_list_remove(&l->entry);
	l->stamp = stamp_now(l);
	if (recall(l, &known)) {
		judge_unknown(l, &known);
		cube_ssh_config_expand(&known, l->host);
		answer(l, &known, NULL);
		cube_ssh_config_done(&known);
		return;
	}
	if (start(l, &err) == 0) {
		if (l->begun) l->begun(l->arg);
		return;
	}
	if (err.code == CUBE_EEXEC && err.sys == ENOENT) answer_default(l);
	else answer(l, NULL, &err);
}

/* Only puts the next one on the list of deferred calls: answers never come inside a cancel. */
static void start_waiting(struct cube_ssh_configs *cs) {
	unsigned room = cs->running < RUNNING_MAX ? RUNNING_MAX - cs->running : 0;
	cube_list_each (&cs->waiting, l, struct cube_ssh_lookup, entry) {
		if (!room--) break;
		cube_loop_defer(cs->loop, begin, l);
	}
}

/* Every word with its length: no two questions have the same. */
static char *key_of(const struct cube_ssh_lookup *l) {
	const char *const words[] = {l->host, l->user, l->file, l->jump};
	char *key = cube_strf("%u %zu", l->port, l->options.len);
	for (size_t i = 0; i < 4 + l->options.len; i++) {
		const char *word = i < 4 ? words[i] : l->options.v[i - 4];
		char *more = word ? cube_strf("%s\n%zu %s", key, strlen(word), word)
				  : cube_strf("%s\n-", key);
		free(key);
		key = more;
	}
	return key;
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
	for (size_t i = 0; q->options && i < q->options->len; i++)
		cube_strv_add(&l->options, q->options->v[i]);
	l->fn = fn;
	l->begun = q->begun;
	l->arg = arg;
	l->key = key_of(l);
	cube_buf_init(&l->text, OUTPUT_MAX);
	cube_list_append(&cs->waiting, &l->entry);
	cube_loop_defer(cs->loop, begin, l);
	return l;
}

void cube_ssh_configs_new(struct cube_loop *loop, const char *cache_dir,
			  struct cube_ssh_configs **ret) {
	struct cube_ssh_configs *cs = cube_alloc(sizeof *cs);
	cs->loop = loop;
	cs->answers = cube_ssh_answers_new(cache_dir);
	cs->format = cube_ssh_config_format();
	cube_list_init(&cs->waiting);
	cube_list_init(&cs->dying);
	*ret = cs;
}

void cube_ssh_configs_free(struct cube_ssh_configs *cs) {
	if (!cs) return;
	cube_hang_up_all(&cs->dying);
	cube_ssh_answers_free(cs->answers);
	free(cs->format);
	free(cs->stamp_file);
	free(cs);
}
