#include "options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/parse.h"

#define NAMES_MAX 128 /* options of one command, aliases counted */

struct row { /* an option found, and where its value goes */
	const struct cube_option *opt;
	void *value;
};

static void *value_at(const struct cube_option_group *group, const struct cube_option *opt,
		      void *values) {
	return (char *)values + group->at + opt->at;
}

/* The option of this long name (n bytes) or letter; opt is NULL where there is none. */
static struct row find(const struct cube_option_group *groups, void *values, const char *name,
		       size_t n, char letter) {
	for (const struct cube_option_group *g = groups; g->v; g++) {
		for (const struct cube_option *o = g->v; o->name; o++) {
			bool same = letter && o->letter == letter;
			if (name && strlen(o->name) == n && memcmp(o->name, name, n) == 0)
				same = true;
			if (name && o->alias && strlen(o->alias) == n &&
			    memcmp(o->alias, name, n) == 0)
				same = true;
			if (same) return (struct row){o, value_at(g, o, values)};
		}
	}
	return (struct row){0};
}

static int fail_unknown(const struct cube_option_group *groups, const char *name, size_t n,
			struct cube_err *err) {
	const char *names[NAMES_MAX + 1];
	size_t count = 0;
	for (const struct cube_option_group *g = groups; g->v; g++) {
		for (const struct cube_option *o = g->v; o->name && count < NAMES_MAX - 1; o++) {
			names[count++] = o->name;
			if (o->alias) names[count++] = o->alias;
		}
	}
	names[count] = NULL;
	cube_autofree char *word = cube_strndup(name, n);
	const char *near = cube_parse_nearest(word, names);
	if (near)
		return cube_fail(err, CUBE_EUSAGE, "unknown option --%.80s; did you mean --%s?",
				 word, near);
	return cube_fail(err, CUBE_EUSAGE, "unknown option --%.80s", word);
}

static bool is_choice(const char *choices, const char *word) {
	size_t n = strlen(word);
	for (const char *p = choices; n > 0;) {
		size_t len = strcspn(p, "|");
		if (len == n && memcmp(p, word, n) == 0) return true;
		if (!p[len]) break;
		p += len + 1;
	}
	return false;
}

static int set_flag(bool *value, const char *text, struct cube_err *err) {
	static const char *const yes[] = {"1", "true", "yes", "on"};
	static const char *const no[] = {"", "0", "false", "no", "off"};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		if (strcmp(text, yes[i]) == 0) return *value = true, 0;
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		if (strcmp(text, no[i]) == 0) return *value = false, 0;
	return cube_fail(err, CUBE_EUSAGE, "'%.80s' is neither true nor false", text);
}

/* Gives the option its value from text; messages do not name the option yet. */
static int set(struct row row, const char *text, struct cube_err *err) {
	const struct cube_option *o = row.opt;
	switch (o->type) {
	case CUBE_OPT_FLAG: return set_flag(row.value, text, err);
	case CUBE_OPT_STRING:
		if (o->choices && !is_choice(o->choices, text))
			return cube_fail(err, CUBE_EUSAGE, "'%.80s' is not one of %s", text,
					 o->choices);
		*(const char **)row.value = text;
		return 0;
	case CUBE_OPT_LIST: cube_strv_add(row.value, text); return 0;
	case CUBE_OPT_UINT: return cube_parse_u64(text, o->min, o->max, row.value, err);
	case CUBE_OPT_DURATION: return cube_parse_duration(text, row.value, err);
	}
	return cube_fail(err, CUBE_EINTERNAL, "option type %d", (int)o->type);
}

static void env_name(const struct cube_option *o, char *name, size_t size) {
	snprintf(name, size, "CUBE_%s", o->name);
	for (char *p = name; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

/* The default, or what the environment says instead. A list is filled only where the command
 * line has left it empty, which is known at the end. */
static int set_otherwise(struct row row, bool at_end, struct cube_err *err) {
	const struct cube_option *o = row.opt;
	char name[64];
	if ((o->type == CUBE_OPT_LIST) != at_end) return 0;
	if (at_end && ((struct cube_strv *)row.value)->len > 0) return 0;
	if (o->type == CUBE_OPT_UINT || o->type == CUBE_OPT_DURATION)
		*(uint64_t *)row.value = CUBE_OPT_UNSET;
	env_name(o, name, sizeof name);
	const char *env = strcmp(o->name, "help") == 0 ? NULL : getenv(name);
	if (env && *env) {
		if (set(row, env, err) == 0) return 0;
		return cube_wrap(err, "%s", name);
	}
	return o->def ? set(row, o->def, err) : 0;
}

struct reading {
	const struct cube_option_group *groups;
	void *values;
	int argc, i;
	char **argv;
};

/* --name, --name=value or --name value. */
static int read_long(struct reading *r, const char *word, struct cube_err *err) {
	const char *name = word + 2, *eq = strchr(name, '=');
	size_t n = eq ? (size_t)(eq - name) : strlen(name);
	struct row row = find(r->groups, r->values, name, n, 0);
	if (!row.opt) return fail_unknown(r->groups, name, n, err);
	const char *text = eq ? eq + 1 : NULL;
	if (!text && row.opt->type == CUBE_OPT_FLAG) text = "true";
	if (!text && r->i + 1 < r->argc) text = r->argv[++r->i];
	if (!text)
		return cube_fail(err, CUBE_EUSAGE, "option --%s needs a value (%s)", row.opt->name,
				 row.opt->arg);
	return set(row, text, err) ? cube_wrap(err, "--%s", row.opt->name) : 0;
}

/* -abc, -n5, -n=5 or -n 5. */
static int read_letters(struct reading *r, const char *word, struct cube_err *err) {
	for (const char *p = word + 1; *p; p++) {
		struct row row = find(r->groups, r->values, NULL, 0, *p);
		if (!row.opt && (unsigned char)*p < 0x80 && isprint((unsigned char)*p))
			return cube_fail(err, CUBE_EUSAGE,
					 word[2] ? "unknown option -%c in '%.80s'"
						 : "unknown option -%c",
					 *p, word);
		if (!row.opt) return cube_fail(err, CUBE_EUSAGE, "unknown option '%.80s'", word);
		if (row.opt->type == CUBE_OPT_FLAG) {
			*(bool *)row.value = true;
			continue;
		}
		const char *text = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;
		if (!text && r->i + 1 < r->argc) text = r->argv[++r->i];
		if (!text)
			return cube_fail(err, CUBE_EUSAGE, "option -%c needs a value (%s)", *p,
					 row.opt->arg);
		return set(row, text, err) ? cube_wrap(err, "-%c", *p) : 0;
	}
	return 0;
}

static int set_all_otherwise(struct reading *r, bool at_end, struct cube_err *err) {
	for (const struct cube_option_group *g = r->groups; g->v; g++) {
		for (const struct cube_option *o = g->v; o->name; o++) {
			struct row row = {o, value_at(g, o, r->values)};
			int rc = set_otherwise(row, at_end, err);
			if (rc) return rc;
		}
	}
	return 0;
}

int cube_options_parse(const struct cube_option_group *groups, bool stop_at_word, int argc,
		       char **argv, void *values, char ***ret_words, size_t *ret_n,
		       struct cube_err *err) {
	struct reading r = {.groups = groups, .values = values, .argc = argc, .argv = argv};
	int rc = set_all_otherwise(&r, false, err);
	if (rc) return rc;
	cube_autofree char **words = cube_realloc_array(NULL, (size_t)argc + 1, sizeof *words);
	size_t n = 0;
	bool only_words = false;
	for (; r.i < argc; r.i++) {
		char *word = argv[r.i];
		if (only_words || word[0] != '-' || !word[1]) {
			words[n++] = word;
			only_words |= stop_at_word;
		} else if (strcmp(word, "--") == 0) {
			only_words = true;
		} else {
			rc = word[1] == '-' ? read_long(&r, word, err)
					    : read_letters(&r, word, err);
		}
		if (rc) return rc;
	}
	words[n] = NULL;
	rc = set_all_otherwise(&r, true, err);
	if (rc) return rc;
	*ret_words = words;
	*ret_n = n;
	words = NULL;
	return 0;
}

void cube_options_done(const struct cube_option_group *groups, void *values) {
	for (const struct cube_option_group *g = groups; g->v; g++)
		for (const struct cube_option *o = g->v; o->name; o++)
			if (o->type == CUBE_OPT_LIST) cube_strv_done(value_at(g, o, values));
}

#define HELP_COLUMN 30
#define HELP_WIDTH  96

/* Adds text as words in lines that begin at HELP_COLUMN; the present line is `at` bytes long. */
static int add_wrapped(struct cube_buf *out, size_t at, const char *text) {
	int rc = 0;
	if (at + 1 > HELP_COLUMN) {
		rc = cube_buf_addstr(out, "\n");
		at = 0;
	}
	if (!rc) rc = cube_buf_printf(out, "%*s", (int)(HELP_COLUMN - at), "");
	at = HELP_COLUMN;
	while (!rc && *text) {
		size_t len = strcspn(text, " ");
		if (at > HELP_COLUMN && at + 1 + len > HELP_WIDTH) {
			rc = cube_buf_printf(out, "\n%*s", HELP_COLUMN, "");
			at = HELP_COLUMN;
		} else if (at > HELP_COLUMN) {
			rc = cube_buf_addstr(out, " ");
			at++;
		}
		if (!rc) rc = cube_buf_add(out, text, len);
		at += len;
		text += len + strspn(text + len, " ");
	}
	return rc ? rc : cube_buf_addstr(out, "\n");
}

static int help_row(const struct cube_option *o, struct cube_buf *out) {
	char left[96], letter[8] = "    ";
	if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
	int n = snprintf(left, sizeof left, "  %s--%s%s%s%s%s", letter, o->name,
			 o->alias ? ", --" : "", o->alias ? o->alias : "", o->arg ? " " : "",
			 o->arg ? o->arg : "");
	cube_autofree char *right = NULL;
	if (o->def && *o->def) right = cube_strf("%s (default: %s)", o->help, o->def);
	else right = cube_strdup(o->help);
	int rc = cube_buf_addstr(out, left);
	return rc ? rc : add_wrapped(out, (size_t)n, right);
}

int cube_options_help(const struct cube_option_group *groups, struct cube_buf *out) {
	int rc = 0;
	for (const struct cube_option_group *g = groups; !rc && g->v; g++) {
		rc = cube_buf_printf(out, "\n%s:\n", g->title);
		for (const struct cube_option *o = g->v; !rc && o->name; o++) rc = help_row(o, out);
	}
	return rc;
}
