/* What a START says, and the environment made of it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"
#include "attempt.h"

static int check_words(const struct cube_msg_list *list, const char *what, bool assignment,
		       struct cube_err *err) {
	struct cube_slice word;
	size_t pos = 0;

	while (cube_msg_next_bytes(list, &pos, &word)) {
		const uint8_t *eq = memchr(word.p, '=', word.n);

		if (memchr(word.p, '\0', word.n))
			return cube_fail(err, CUBE_EPROTO, "NUL inside %s", what);
		if (assignment && (!eq || eq == word.p))
			return cube_fail(err, CUBE_EPROTO, "no NAME= in %s", what);
	}
	return 0;
}

int start_spec_check(const struct cube_msg *msg, struct cube_err *err) {
	bool open = msg->type == CUBE_MSG_OPEN;
	const struct cube_msg_list *argv = open ? &msg->open.argv : &msg->start.argv;
	int rc;

	if (!open && argv->count == 0)
		return cube_fail(err, CUBE_EPROTO, "START without a program");
	rc = check_words(argv, "argv", false, err);
	return rc < 0 ? rc : check_words(open ? &msg->open.env : &msg->start.env, "env", true, err);
}

static struct cube_msg_list copy_list(uint8_t **at, const struct cube_msg_list *from) {
	struct cube_msg_list to = {.count = from->count, .raw = {.p = *at, .n = from->raw.n}};

	if (from->raw.n) memcpy(*at, from->raw.p, from->raw.n);
	*at += from->raw.n;
	return to;
}

struct start_spec *start_spec_copy(const struct cube_msg *msg) {
	static const struct cube_msg_list none;
	bool open = msg->type == CUBE_MSG_OPEN;
	const struct cube_msg_list *argv = open ? &msg->open.argv : &msg->start.argv;
	const struct cube_msg_list *env = open ? &msg->open.env : &msg->start.env;
	const struct cube_msg_list *files = open ? &none : &msg->start.files;
	struct cube_slice dir = open ? msg->open.dir : msg->start.dir;
	size_t bytes = argv->raw.n + env->raw.n + files->raw.n + dir.n + 1;
	struct start_spec *spec = malloc(sizeof *spec + bytes);
	uint8_t *at;

	if (!spec) return NULL;
	at = spec->block;
	spec->bytes = sizeof *spec + bytes;
	spec->flags = open ? msg->open.flags : msg->start.flags;
	spec->argv = copy_list(&at, argv);
	spec->env = copy_list(&at, env);
	spec->files = copy_list(&at, files);
	spec->dir = (char *)at;
	if (dir.n) memcpy(at, dir.p, dir.n);
	at[dir.n] = '\0';
	return spec;
}

char **start_spec_argv(const struct start_spec *spec, size_t before) {
	const struct cube_msg_list *list = &spec->argv;
	char **argv = malloc((before + list->count + 1) * sizeof *argv + list->raw.n);
	struct cube_slice word;
	size_t pos = 0, n = before;
	char *at;

	if (!argv) return NULL;
	at = (char *)(argv + before + list->count + 1);
	while (cube_msg_next_bytes(list, &pos, &word)) {
		argv[n++] = at;
		memcpy(at, word.p, word.n);
		at[word.n] = '\0';
		at += word.n + 1; /* the list has a length of 4 bytes before each word */
	}
	argv[n] = NULL;
	return argv;
}

/* ---- the environment ------------------------------------------------------------------------ */

/* Entries in rising order of weight, and the block that holds those that are made here. The set
 * of names seen makes it linear, whatever a peer sends. */
struct maker {
	char **v;
	size_t n;
	char *at, *end;
};

static void add(struct maker *m, const char *entry) {
	m->v[m->n++] = (char *)entry;
}

static void addf(struct maker *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void addf(struct maker *m, const char *fmt, ...) {
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = cube_vformat(m->at, (size_t)(m->end - m->at), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= m->end - m->at) return; /* the block was measured for all of them */
	add(m, m->at);
	m->at += n + 1;
}

static void add_words(struct maker *m, const struct cube_msg_list *list) {
	struct cube_slice word;
	size_t pos = 0;

	while (cube_msg_next_bytes(list, &pos, &word)) {
		memcpy(m->at, word.p, word.n);
		m->at[word.n] = '\0';
		add(m, m->at);
		m->at += word.n + 1;
	}
}

static size_t name_len(const char *entry) {
	return strcspn(entry, "=");
}

static size_t hash_name(const char *entry, size_t len) {
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)entry[i]) * 16777619u;
	return h;
}

/* Keeps the last entry of each name, in order. */
static bool keep_last(struct maker *m) {
	size_t slots = 16, to = m->n;
	char **seen;

	while (slots < 2 * m->n) slots *= 2;
	seen = calloc(slots, sizeof *seen);
	if (!seen) return false;
	for (size_t i = m->n; i-- > 0;) {
		size_t len = name_len(m->v[i]), at = hash_name(m->v[i], len) & (slots - 1);

		while (seen[at] && (strncmp(seen[at], m->v[i], len) != 0 || seen[at][len] != '='))
			at = (at + 1) & (slots - 1);
		if (seen[at]) continue;
		seen[at] = m->v[i];
		m->v[--to] = m->v[i];
	}
	memmove(m->v, m->v + to, (m->n - to) * sizeof *m->v);
	m->n -= to;
	free(seen);
	return true;
}

/* What an environment is made of; a is NULL for a stream's. */
struct parts {
	const struct runner *r;
	const struct attempt *a;
	const struct start_spec *spec;
	const char *scratch, *cookie;
	bool login;
};

/* A pointer array and a text block in one allocation: the base, own variables, list, cookies. */
static char **make(const struct parts *p) {
	const struct runner *r = p->r;
	char *const *base = p->login ? login_environ(r->login) : environ;
	size_t own = 0, entries, text;
	struct maker m = {0};

	while (base[own]) own++;
	entries = own + p->spec->env.count + 7;
	text = p->spec->env.raw.n + p->spec->env.count + strlen(r->node_name) + 128 +
	       (p->scratch ? strlen(r->folder) + strlen(p->scratch) + 32 : 0);
	m.v = malloc(entries * sizeof *m.v + text);
	if (!m.v) return NULL;
	m.at = (char *)(m.v + entries);
	m.end = m.at + text;
	for (size_t i = 0; i < own; i++)
		if (strchr(base[i], '=')) add(&m, base[i]);
	if (p->a) {
		addf(&m, "CUBE_TASK_ID=%" PRIu64, p->a->task);
		addf(&m, "CUBE_ATTEMPT=%" PRIu32, p->a->attempt);
	}
	addf(&m, "CUBE_HOST=%s", r->node_name);
	if (p->scratch) addf(&m, "CUBE_SCRATCH=%s/%s", r->folder, p->scratch);
	add_words(&m, &p->spec->env);
	add(&m, r->node_cookie);
	add(&m, p->cookie);
	if (!keep_last(&m)) {
		free(m.v);
		return NULL;
	}
	m.v[m.n] = NULL;
	return m.v;
}

char **environ_make(const struct attempt *a, const char *scratch) {
	struct parts p = {a->r, a, a->spec, scratch, a->cookie, a->spec->flags & CUBE_START_LOGIN};

	return make(&p);
}

char **environ_for_stream(const struct runner *r, const struct start_spec *spec,
			  const char *cookie) {
	struct parts p = {r, NULL, spec, NULL, cookie, spec->flags & CUBE_OPEN_LOGIN};

	return make(&p);
}

void environ_free(char **env) {
	free(env);
}
