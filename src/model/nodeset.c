#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "names.h"
#include "nodeset_internal.h"
#include "quote.h"

/* ---- sets ---------------------------------------------------------------------------------
 * A set under construction may hold dead hosts (name NULL) where some were taken out; packing
 * them away later keeps each operation proportional to its operand. */

struct build {
	struct cube_nodeset set;
	size_t live;
};

static struct cube_names names_in(const struct cube_nodeset *set) {
	return (struct cube_names){.base = set->v, .stride = sizeof *set->v};
}

static uint32_t find(const struct cube_nodeset *set, const char *name) {
	return cube_names_find(&set->index, names_in(set), name);
}

/* The block's size follows from len: 8, 16, 32, ... */
static size_t block_size(size_t len) {
	size_t size = 8;

	while (size < len) size *= 2;
	return size;
}

static void reserve(struct cube_nodeset *set, size_t more) {
	size_t want = block_size(set->len + more);

	if (!set->v || want > block_size(set->len))
		set->v = cube_realloc_array(set->v, want, sizeof *set->v);
}

static void append(struct cube_nodeset *set, struct cube_host *host) {
	reserve(set, 1);
	set->v[set->len++] = *host;
	*host = (struct cube_host){0};
	cube_names_add(&set->index, names_in(set), (uint32_t)set->len - 1);
}

static void pack(struct build *b) {
	struct cube_nodeset *set = &b->set;
	size_t len = 0;

	if (b->live == set->len) return;
	for (size_t i = 0; i < set->len; i++)
		if (set->v[i].name) set->v[len++] = set->v[i];
	set->len = len;
	cube_names_rebuild(&set->index, names_in(set), len);
}

/* Takes the host in, or frees it when its name is there. */
static int build_add(void *arg, struct cube_host *host, struct cube_err *err) {
	struct build *b = arg;

	if (find(&b->set, host->name) != CUBE_NAMES_NONE) {
		cube_host_done(host);
		return 0;
	}
	if (b->live == CUBE_NODESET_HOSTS) {
		cube_host_done(host);
		return cube_fail(err, CUBE_ETOOBIG, "more than %d hosts", CUBE_NODESET_HOSTS);
	}
	if (b->set.len >= 64 && b->live < b->set.len / 2) pack(b);
	append(&b->set, host);
	b->live++;
	return 0;
}

static void build_kill(struct build *b, uint32_t i) {
	cube_host_done(&b->set.v[i]);
	b->live--;
}

static void build_done(struct build *b) {
	cube_nodeset_done(&b->set);
	b->live = 0;
}

static void keep_common(struct build *b, const struct cube_nodeset *with) {
	for (size_t i = 0; i < b->set.len; i++)
		if (b->set.v[i].name && find(with, b->set.v[i].name) == CUBE_NAMES_NONE)
			build_kill(b, (uint32_t)i);
	pack(b);
}

/* b = b op with; what b takes over leaves `with`. op: ',' '!' '&' '^' */
static int combine(struct build *b, char op, struct build *with, struct cube_err *err) {
	if (op == '&') {
		keep_common(b, &with->set);
		return 0;
	}
	for (size_t i = 0; i < with->set.len; i++) {
		struct cube_host *host = &with->set.v[i];
		uint32_t at;
		int rc;

		if (!host->name) continue;
		at = op == ',' ? CUBE_NAMES_NONE : find(&b->set, host->name);
		if (at != CUBE_NAMES_NONE) build_kill(b, at);
		else if (op != '!' && (rc = build_add(b, host, err)) < 0) return rc;
	}
	return 0;
}

/* ---- expressions -------------------------------------------------------------------------- */

struct eval {
	const struct cube_nodeset_source *source;
	size_t *work;
	unsigned depth;
	bool placed; /* the error says already in which group or file it is */
	struct cube_err *err;
};

/* The line at hand. */
struct line {
	const char *text;
	size_t n, at, column;
};

static int eval_text(struct eval *e, const char *text, size_t n, size_t column, struct build *out);

static int spend(struct eval *e, size_t amount) {
	if (amount > *e->work)
		return cube_fail(e->err, CUBE_ETOOBIG,
				 "the same hosts are named over and over; this takes too long");
	*e->work -= amount;
	return 0;
}

static int bad(struct eval *e, const struct line *l, size_t from, const char *why) {
	return cube_nodeset_bad(e->err, CUBE_EUSAGE, l->text, l->n, from, from, l->column, why);
}

/* Adds the place to the error of a nested text, once: the innermost says most. */
static int place(struct eval *e, int rc, bool group, const char *name, size_t line) {
	struct cube_quote q;

	if (e->placed) return rc;
	e->placed = true;
	if (group) return cube_wrap(e->err, "group %s", cube_quote(&q, name));
	return cube_wrap(e->err, "%s line %zu", cube_quote(&q, name), line);
}

/* The members of a group or lines of a file: each line an expression of its own. */
static int eval_lines(struct eval *e, const char *text, bool group, const char *name,
		      struct build *out) {
	int rc = spend(e, strlen(text) / 64);

	for (size_t line = 1; rc == 0 && *text; line++) {
		size_t whole = strcspn(text, "\n"), n = strcspn(text, "#\n");
		struct build one = {0};

		rc = eval_text(e, text, n, 1, &one);
		if (rc == 0) rc = combine(out, ',', &one, e->err);
		build_done(&one);
		if (rc < 0) rc = place(e, rc, group, name, line);
		text += whole + (text[whole] == '\n');
	}
	return rc;
}

static bool is_group_name(const char *s, size_t n) {
	if (n == 1 && *s == '*') return true;
	for (size_t i = 0; i < n; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !(s[i] >= '0' && s[i] <= '9') && !strchr("._-:", s[i]))
			return false;
	return n > 0;
}

static int nested_text(struct eval *e, bool group, const char *name, struct build *out) {
	const struct cube_nodeset_source *src = e->source;
	int (*read)(void *, const char *, char **, struct cube_err *) = !src    ? NULL
									: group ? src->group
										: src->file;
	struct cube_quote q;
	char *text = NULL;
	int rc;

	if (!read)
		return cube_fail(e->err, CUBE_EUSAGE, "%s %s: %s cannot be used here",
				 group ? "group" : "file", cube_quote(&q, name),
				 group ? "groups" : "files");
	if (e->depth == CUBE_NODESET_NESTING) {
		e->placed = true;
		return cube_fail(
			e->err, CUBE_ETOOBIG,
			"%s %s: groups and files nest deeper than %d; does it contain itself?",
			group ? "group" : "file", cube_quote(&q, name), CUBE_NODESET_NESTING);
	}
	rc = read(src->arg, name, &text, e->err);
	if (rc != 0) return rc;
	e->depth++;
	rc = eval_lines(e, text, group, name, out);
	e->depth--;
	free(text);
	return rc;
}

/* @group or ^file; l->at is on its first character. */
static int eval_nested(struct eval *e, struct line *l, struct build *out) {
	bool group = l->text[l->at] == '@';
	size_t from = l->at++, start = l->at;
	cube_autofree char *name = NULL;

	while (l->at < l->n && !cube_term_ends(l->text[l->at])) l->at++;
	if (l->at == start)
		return bad(e, l, from,
			   group ? "the group's name is missing" : "the file's name is missing");
	if (group && !is_group_name(l->text + start, l->at - start))
		return bad(e, l, from, "a group's name is of letters, digits and ._-:");
	name = cube_strndup(l->text + start, l->at - start);
	return nested_text(e, group, name, out);
}

static int eval_hosts(struct eval *e, struct line *l, struct build *out) {
	struct cube_term t;
	int rc = cube_term_parse(&t, l->text, l->n, &l->at, l->column, e->err);

	if (rc == 0) rc = spend(e, t.total);
	if (rc == 0) rc = cube_term_each(&t, build_add, out, e->err);
	cube_term_done(&t);
	return rc;
}

/* One term and its operator onto out. */
static int eval_term(struct eval *e, struct line *l, char op, struct build *out) {
	char c = l->text[l->at];
	bool nested = c == '@' || c == '^';
	struct build term = {0};
	int rc = spend(e, 1);

	if (rc < 0) return rc;
	if (op == ',' && !nested) return eval_hosts(e, l, out);
	rc = nested ? eval_nested(e, l, &term) : eval_hosts(e, l, &term);
	if (rc == 0) rc = combine(out, op, &term, e->err);
	build_done(&term);
	return rc;
}

static bool skip_separators(struct line *l) {
	size_t start = l->at;

	while (l->at < l->n && strchr(" \t\r\n,", l->text[l->at]) && l->text[l->at]) l->at++;
	return l->at > start;
}

/* Left to right: the operators have no precedence. A ^ is a file where a term may begin, and an
 * operator right behind a term. */
static int eval_text(struct eval *e, const char *text, size_t n, size_t column, struct build *out) {
	struct line l = {.text = text, .n = n, .column = column};
	bool fresh = true;

	for (;;) {
		size_t from;
		char op = ',';
		int rc;

		if (skip_separators(&l)) fresh = true;
		if (l.at == n) return 0;
		from = l.at;
		if (!fresh) {
			op = text[l.at++];
			if (l.at == n || (cube_term_ends(text[l.at]) && text[l.at] != '^'))
				return bad(e, &l, from, "nothing follows the operator");
		} else if (text[l.at] == '!' || text[l.at] == '&') {
			return bad(e, &l, from, "nothing stands before the operator");
		}
		rc = eval_term(e, &l, op, out);
		if (rc != 0) return rc;
		fresh = false;
	}
}

/* ---- the interface ------------------------------------------------------------------------ */

static int add_all(struct cube_nodeset *set, struct build *b, struct cube_err *err) {
	size_t fresh = 0;

	for (size_t i = 0; i < b->set.len; i++)
		if (find(set, b->set.v[i].name) == CUBE_NAMES_NONE) fresh++;
	if (set->len + fresh > CUBE_NODESET_HOSTS)
		return cube_fail(err, CUBE_ETOOBIG, "more than %d hosts", CUBE_NODESET_HOSTS);
	if (fresh) reserve(set, fresh);
	for (size_t i = 0; i < b->set.len; i++)
		if (find(set, b->set.v[i].name) == CUBE_NAMES_NONE) append(set, &b->set.v[i]);
	return 0;
}

int cube_nodeset_eval(struct cube_nodeset *set, const char *expr, size_t column,
		      const struct cube_nodeset_source *source, size_t *work,
		      struct cube_err *err) {
	struct cube_err why = {0};
	struct eval e = {.source = source, .work = work, .err = &why};
	struct build b = {0};
	int rc = eval_text(&e, expr, strlen(expr), column, &b);

	if (rc == 0) {
		pack(&b);
		rc = add_all(set, &b, &why);
	}
	build_done(&b);
	if (rc != 0 && err) *err = why;
	return rc;
}

int cube_nodeset_parse(struct cube_nodeset *set, const char *expr,
		       const struct cube_nodeset_source *source, struct cube_err *err) {
	size_t work = CUBE_NODESET_WORK;

	return cube_nodeset_eval(set, expr, 1, source, &work, err);
}

void cube_nodeset_done(struct cube_nodeset *set) {
	if (!set) return;
	for (size_t i = 0; i < set->len; i++) cube_host_done(&set->v[i]);
	free(set->v);
	cube_names_done(&set->index);
	*set = (struct cube_nodeset){0};
}

bool cube_nodeset_has(const struct cube_nodeset *set, const char *name) {
	return find(set, name) != CUBE_NAMES_NONE;
}

/* Keeps the hosts whose being in `those` is as wanted. */
static void filter(struct cube_nodeset *set, const struct cube_nodeset *those, bool wanted) {
	size_t len = 0;

	for (size_t i = 0; i < set->len; i++) {
		if (cube_nodeset_has(those, set->v[i].name) == wanted) set->v[len++] = set->v[i];
		else cube_host_done(&set->v[i]);
	}
	set->len = len;
	if (set->v) cube_names_rebuild(&set->index, names_in(set), len);
}

void cube_nodeset_remove(struct cube_nodeset *set, const struct cube_nodeset *those) {
	if (set == those) cube_nodeset_done(set);
	else filter(set, those, false);
}

void cube_nodeset_keep(struct cube_nodeset *set, const struct cube_nodeset *those) {
	if (set != those) filter(set, those, true);
}
