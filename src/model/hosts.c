/* The hosts file is read twice: first for the groups, which may be used before they are written,
 * then line by line for the hosts and their options. */
#include <stdlib.h>
#include <string.h>

#include "cube/hosts.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "hosts_internal.h"
#include "names.h"
#include "nodeset_internal.h"
#include "quote.h"

enum {
	TEXT_MAX = 1 << 20,
	LINE_MAX_BYTES = 4096,
	WORK = 2 * CUBE_NODESET_WORK,
	GROUP_NAME_MAX = 255
};

static struct cube_names hosts_in(const struct cube_hosts *hosts) {
	return (struct cube_names){.base = hosts->v, .stride = sizeof *hosts->v};
}

static struct cube_names groups_in(const struct cube_hosts *hosts) {
	return (struct cube_names){.base = hosts->groups, .stride = sizeof *hosts->groups};
}

/* ---- lines and words ---------------------------------------------------------------------- */

struct reader {
	struct cube_hosts *hosts;
	struct cube_buf *members; /* one per group, while they are collected */
	uint32_t group;           /* the present one, or CUBE_NAMES_NONE */
	size_t work;
	struct cube_err *err; /* never NULL */
};

static bool is_blank(char c) {
	return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the quotes away from a value that begins at line[*at] with one. */
static int unquote(char *line, size_t *at, struct cube_err *err) {
	char quote = line[*at], *to = line + *at;
	size_t i = *at + 1;

	for (; line[i] && line[i] != quote; i++) {
		if (quote == '"' && line[i] == '\\' && (line[i + 1] == '"' || line[i + 1] == '\\'))
			i++;
		*to++ = line[i];
	}
	if (!line[i]) return cube_fail(err, CUBE_EUSAGE, "a %c without its end", quote);
	i++;
	if (line[i] && !is_blank(line[i]))
		return cube_fail(err, CUBE_EUSAGE, "no blank behind the closing %c", quote);
	*to = '\0';
	*at = i + (line[i] != '\0');
	return 0;
}

/* The next word of the line from *at on; NULL at its end or at a comment. NUL-terminates it, in
 * the line's copy, without the quotes of a value. */
static int next_word(char *line, size_t *at, char **ret_word, struct cube_err *err) {
	bool key = true; /* no = yet */

	*ret_word = NULL;
	while (is_blank(line[*at])) ++*at;
	if (line[*at] == '\0' || line[*at] == '#') return 0;
	*ret_word = line + *at;
	for (; line[*at] && !is_blank(line[*at]); ++*at) {
		bool quoted =
			line[*at] == '=' && key && line[*at + 1] && strchr("\"'", line[*at + 1]);

		key = key && line[*at] != '=';
		if (!quoted) continue;
		++*at;
		return unquote(line, at, err);
	}
	if (line[*at]) line[(*at)++] = '\0';
	return 0;
}

/* GNU parallel's form: cuts "8/" off a word, and reads its ":" as this machine. */
static int split_slots(char **word, uint32_t *ret_slots, struct cube_err *err) {
	size_t n = strspn(*word, "0123456789");

	*ret_slots = 0;
	if (n > 0 && (*word)[n] == '/') {
		(*word)[n] = '\0';
		if (cube_hosts_slots(*word, ret_slots, err) < 0) return CUBE_EUSAGE;
		*word += n + 1;
	}
	return 0;
}

static const char *member_text(const char *word) {
	return strcmp(word, ":") ? word : "localhost";
}

/* "[name]" alone in a line. An IPv6 address has colons, a range begins with a digit. */
static bool is_group_line(const char *word, size_t *ret_len) {
	size_t n = strlen(word);

	if (n < 2 || word[0] != '[' || word[n - 1] != ']') return false;
	if (word[1] >= '0' && word[1] <= '9') return false;
	if (memchr(word, ':', n)) return false;
	*ret_len = n - 2;
	return true;
}

/* Walks the lines of the text, each as a string of its own that fn may cut up. */
static int each_line(struct reader *r, const char *text, size_t n, const char *name,
		     int (*fn)(struct reader *r, char *line)) {
	const char *end = text + n;
	char line[LINE_MAX_BYTES + 1];

	if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3; /* byte order mark */
	r->group = CUBE_NAMES_NONE;
	for (size_t number = 1; text < end; number++) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((nl ? nl : end) - text);
		int rc;

		if (len > LINE_MAX_BYTES) {
			rc = cube_fail(r->err, CUBE_ETOOBIG, "a line longer than %d bytes",
				       LINE_MAX_BYTES);
		} else if (memchr(text, '\0', len)) {
			rc = cube_fail(r->err, CUBE_EUSAGE, "a NUL byte");
		} else {
			memcpy(line, text, len);
			line[len] = '\0';
			rc = fn(r, line);
		}
		if (rc < 0) return cube_wrap(r->err, "%s:%zu", name, number);
		text = nl ? nl + 1 : end;
	}
	return 0;
}

/* ---- first reading: groups ---------------------------------------------------------------- */

static int check_group_name(const char *name, size_t n, struct cube_err *err) {
	struct cube_quote q;
	bool good = n > 0 && n <= GROUP_NAME_MAX && name[0] != '-' && name[0] != '.';

	for (size_t i = 0; i < n; i++)
		good = good &&
		       ((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
			(name[i] >= '0' && name[i] <= '9') || strchr("._-", name[i]));
	if (good) return 0;
	return cube_fail(err, CUBE_EUSAGE, "%s is no group name: letters, digits and ._- only",
			 cube_quote_n(&q, name, n));
}

/* Makes the group known, or finds it again, and makes it the present one. */
static int enter_group(struct reader *r, char *word, size_t len) {
	struct cube_hosts *h = r->hosts;
	size_t n = h->ngroups;
	int rc = check_group_name(word + 1, len, r->err);

	if (rc < 0) return rc;
	word[1 + len] = '\0';
	r->group = cube_names_find(&h->group_index, groups_in(h), word + 1);
	if (r->group != CUBE_NAMES_NONE) return 0;
	if (n == 0 || (n >= 8 && !(n & (n - 1)))) {
		size_t cap = n ? n * 2 : 8;

		h->groups = cube_realloc_array(h->groups, cap, sizeof *h->groups);
		r->members = cube_realloc_array(r->members, cap, sizeof *r->members);
	}
	h->groups[n] = (struct cube_hosts_group){.name = cube_strdup(word + 1)};
	cube_buf_init(&r->members[n], 2 * TEXT_MAX + 16); /* ":" grows to "localhost" */
	h->ngroups++;
	cube_names_add(&h->group_index, groups_in(h), (uint32_t)n);
	r->group = (uint32_t)n;
	return 0;
}

static int add_member(struct reader *r, char *word) {
	struct cube_buf *members = &r->members[r->group];
	uint32_t slots;
	int rc = split_slots(&word, &slots, r->err);

	if (rc < 0) return rc;
	rc = cube_buf_addstr(members, member_text(word));
	if (rc == 0) rc = cube_buf_add(members, "\n", 1);
	return rc < 0 ? cube_fail(r->err, rc, "the group is too large") : 0;
}

static int read_groups(struct reader *r, char *line) {
	size_t at = 0, len;
	char *word, *more;
	int rc = next_word(line, &at, &word, r->err);

	if (rc == 0 && word && is_group_line(word, &len)) {
		if (next_word(line, &at, &more, r->err) < 0 || more)
			return cube_fail(r->err, CUBE_EUSAGE, "a [group] stands alone in its line");
		return enter_group(r, word, len);
	}
	while (rc == 0 && word && r->group != CUBE_NAMES_NONE) {
		if (!strchr(word, '=')) rc = add_member(r, word);
		if (rc == 0) rc = next_word(line, &at, &word, r->err);
	}
	return rc;
}

/* ---- second reading: hosts and options ---------------------------------------------------- */

static struct cube_hosts_entry *entry_of(struct cube_hosts *h, const struct cube_host *host) {
	uint32_t i = cube_names_find(&h->index, hosts_in(h), host->name);
	struct cube_hosts_entry *e;

	if (i != CUBE_NAMES_NONE) {
		e = &h->v[i];
		if (host->user) cube_hosts_set(&e->host.user, host->user);
		return e;
	}
	if (h->len == CUBE_NODESET_HOSTS) return NULL;
	if (h->len == 0 || (h->len >= 8 && !(h->len & (h->len - 1))))
		h->v = cube_realloc_array(h->v, h->len ? h->len * 2 : 8, sizeof *h->v);
	e = &h->v[h->len++];
	*e = (struct cube_hosts_entry){.host = {.name = cube_strdup(host->name),
						.host = cube_strdup(host->host),
						.user = cube_strdup(host->user),
						.port = host->port,
						.local = host->local}};
	cube_names_add(&h->index, hosts_in(h), (uint32_t)h->len - 1);
	return e;
}

/* The hosts of a line and what is said of them. */
struct mention {
	struct cube_nodeset set;
	struct cube_hosts_options options;
};

/* Adds a word's hosts to the line's; slots in front of a word are for its hosts at once. */
static int mention_hosts(struct reader *r, struct mention *m, const char *line, char *word) {
	struct cube_nodeset_source source = {.group = cube_hosts_group, .arg = r->hosts};
	size_t before = m->set.len;
	uint32_t slots;
	int rc = split_slots(&word, &slots, r->err);

	if (rc < 0) return rc;
	rc = cube_nodeset_eval(&m->set, member_text(word), (size_t)(word - line) + 1, &source,
			       &r->work, r->err);
	if (rc < 0) return rc;
	for (size_t i = before; i < m->set.len; i++) {
		struct cube_hosts_entry *e = entry_of(r->hosts, &m->set.v[i]);

		if (!e)
			return cube_fail(r->err, CUBE_ETOOBIG, "more than %d hosts",
					 CUBE_NODESET_HOSTS);
		if (slots) e->slots = slots;
	}
	return 0;
}

static int apply_options(struct reader *r, struct mention *m) {
	struct cube_hosts_options *o = &m->options;

	if (!o->any) return 0;
	if (m->set.len == 0) return cube_fail(r->err, CUBE_EUSAGE, "options without a host");
	if (o->has_host && o->host.len != m->set.len)
		return cube_fail(r->err, CUBE_EUSAGE, "host= names %zu for the line's %zu hosts",
				 o->host.len, m->set.len);
	for (size_t i = 0; i < m->set.len; i++) {
		struct cube_hosts_entry *e = entry_of(r->hosts, &m->set.v[i]);
		int rc = cube_hosts_apply(o, i, e, r->err);

		if (rc < 0) return rc;
	}
	return 0;
}

static int read_mentions(struct reader *r, struct mention *m, char *line) {
	size_t at = 0, len;
	char *word;
	int rc = next_word(line, &at, &word, r->err);

	if (rc == 0 && word && is_group_line(word, &len)) return 0;
	while (rc == 0 && word) {
		if (strchr(word, '='))
			rc = cube_hosts_option(&m->options, word, (size_t)(word - line) + 1,
					       &r->work, r->err);
		else rc = mention_hosts(r, m, line, word);
		if (rc == 0) rc = next_word(line, &at, &word, r->err);
	}
	return rc == 0 ? apply_options(r, m) : rc;
}

static int read_hosts(struct reader *r, char *line) {
	struct mention m = {0};
	int rc = read_mentions(r, &m, line);

	cube_nodeset_done(&m.set);
	cube_hosts_options_done(&m.options);
	return rc;
}

/* ---- the interface ------------------------------------------------------------------------ */

static int parse(struct reader *r, const char *text, size_t n, const char *name) {
	int rc;

	if (n > TEXT_MAX)
		return cube_fail(r->err, CUBE_ETOOBIG, "%s: larger than %d bytes", name, TEXT_MAX);
	if (n == 0) return 0;
	rc = each_line(r, text, n, name, read_groups);
	for (size_t i = 0; i < r->hosts->ngroups; i++) {
		struct cube_buf *b = &r->members[i];

		r->hosts->groups[i].text = cube_strdup(cube_buf_str(b));
		cube_buf_done(b);
	}
	free(r->members);
	r->members = NULL;
	return rc == 0 ? each_line(r, text, n, name, read_hosts) : rc;
}

int cube_hosts_parse(struct cube_hosts *hosts, const char *text, size_t n, const char *name,
		     struct cube_err *err) {
	struct cube_err why = {0};
	struct reader r = {.hosts = hosts, .work = WORK, .err = &why};
	int rc = parse(&r, text, n, name);

	if (rc < 0) {
		cube_hosts_done(hosts);
		if (err) *err = why;
	}
	return rc;
}

void cube_hosts_done(struct cube_hosts *hosts) {
	if (!hosts) return;
	for (size_t i = 0; i < hosts->len; i++) {
		cube_host_done(&hosts->v[i].host);
		free(hosts->v[i].key);
		free(hosts->v[i].jump);
		free(hosts->v[i].transport);
		free(hosts->v[i].labels);
	}
	for (size_t i = 0; i < hosts->ngroups; i++) {
		free(hosts->groups[i].name);
		free(hosts->groups[i].text);
	}
	free(hosts->v);
	free(hosts->groups);
	cube_names_done(&hosts->index);
	cube_names_done(&hosts->group_index);
	*hosts = (struct cube_hosts){0};
}

const struct cube_hosts_entry *cube_hosts_find(const struct cube_hosts *hosts, const char *name) {
	uint32_t i = cube_names_find(&hosts->index, hosts_in(hosts), name);

	return i == CUBE_NAMES_NONE ? NULL : &hosts->v[i];
}

static int unknown_group(const struct cube_hosts *hosts, const char *name, struct cube_err *err) {
	const char **candidates = cube_realloc_array(NULL, hosts->ngroups + 1, sizeof *candidates);
	struct cube_quote q, near_q;
	const char *near;

	for (size_t i = 0; i < hosts->ngroups; i++) candidates[i] = hosts->groups[i].name;
	candidates[hosts->ngroups] = NULL;
	near = cube_parse_nearest(name, candidates);
	free(candidates);
	if (near)
		return cube_fail(err, CUBE_EUSAGE, "there is no group %s; did you mean %s?",
				 cube_quote(&q, name), cube_quote(&near_q, near));
	return cube_fail(err, CUBE_EUSAGE, "there is no group %s%s", cube_quote(&q, name),
			 hosts->ngroups ? "" : ": no groups are defined");
}

/* "@a\n@b\n": everything that is in some group. */
static char *all_groups(const struct cube_hosts *hosts) {
	struct cube_buf b;
	int rc = 0;

	cube_buf_init(&b, 2 * TEXT_MAX);
	for (size_t i = 0; i < hosts->ngroups && rc == 0; i++)
		rc = cube_buf_printf(&b, "@%s\n", hosts->groups[i].name);
	return rc == 0 ? cube_buf_take(&b, NULL) : (cube_buf_done(&b), NULL);
}

int cube_hosts_group(void *arg, const char *name, char **ret_text, struct cube_err *err) {
	const struct cube_hosts *hosts = arg;
	uint32_t i;

	if (!strcmp(name, "*")) {
		char *text = all_groups(hosts);

		if (!text) return cube_fail(err, CUBE_ETOOBIG, "too many groups");
		*ret_text = text;
		return 0;
	}
	i = cube_names_find(&hosts->group_index, groups_in(hosts), name);
	if (i == CUBE_NAMES_NONE) return unknown_group(hosts, name, err);
	*ret_text = cube_strdup(hosts->groups[i].text);
	return 0;
}
