/* Command templates: see template.h. */
#include <stdio.h>
#include <string.h>

#include "cube/buf.h"
#include "template.h"

enum { TEMPLATE_MAX = 4095, WORDS_MAX = 128, FILLED_MAX = 64 * 1024 };

static const char BLANKS[] = " \t\r\n";
static const char *const NAMES[] = {"host", "user", "port", "name", "line"};

/* ---- words ------------------------------------------------------------------------------- */

/* Within ".." a backslash quotes only what would mean something there, as in a shell. */
static const char *take_double(const char *p, struct cube_buf *word) {
	for (; *p && *p != '"'; p++) {
		if (*p == '\\' && (p[1] == '"' || p[1] == '\\')) p++;
		cube_buf_add(word, p, 1);
	}
	return *p ? p + 1 : NULL;
}

static const char *take_single(const char *p, struct cube_buf *word) {
	const char *end = strchr(p, '\'');
	if (end) cube_buf_add(word, p, (size_t)(end - p));
	return end ? end + 1 : NULL;
}

/* One word, to the blank behind it; NULL: a quote is open. */
static const char *take_word(const char *p, struct cube_buf *word) {
	while (p && *p && !strchr(BLANKS, *p)) {
		if (*p == '\'') p = take_single(p + 1, word);
		else if (*p == '"') p = take_double(p + 1, word);
		else {
			if (*p == '\\' && p[1]) p++;
			cube_buf_add(word, p++, 1);
		}
	}
	return p;
}

/* ---- placeholders ------------------------------------------------------------------------ */

/* The next "{letters}" in a word: its name's place and length; other braces are text. */
static const char *next_name(const char *p, size_t *ret_len) {
	for (; (p = strchr(p, '{')); p++) {
		size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz");
		if (n && p[1 + n] == '}') {
			*ret_len = n;
			return p + 1;
		}
	}
	return NULL;
}

static int which(const char *name, size_t n) {
	for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
		if (strlen(NAMES[i]) == n && !memcmp(NAMES[i], name, n)) return (int)i;
	return -1;
}

static int check_word(struct cube_template *t, const char *word, struct cube_err *err) {
	size_t n;
	if (!strcmp(word, "{line}")) {
		if (t->has_line)
			return cube_fail(err, CUBE_EUSAGE, "transport: {line} is there twice");
		t->has_line = true;
		return 0;
	}
	for (const char *p = word; (p = next_name(p, &n)); p += n) {
		int i = which(p, n);
		if (i < 0)
			return cube_fail(err, CUBE_EUSAGE,
					 "transport: {%.*s} is unknown: there are {host} {user} "
					 "{port} {name} {line}",
					 n > 40 ? 40 : (int)n, p);
		if (!strcmp(NAMES[i], "line"))
			return cube_fail(err, CUBE_EUSAGE,
					 "transport: {line} must be a word of its own");
	}
	return 0;
}

/* ssh puts its words together with blanks, which tears "/bin/sh -c LINE" apart. */
static int check_ssh(const struct cube_template *t, struct cube_err *err) {
	const char *program = t->words.v[0], *slash = strrchr(program, '/');
	if (t->has_line || strcmp(slash ? slash + 1 : program, "ssh") != 0) return 0;
	return cube_fail(err, CUBE_EUSAGE,
			 "transport: ssh wants the command as one word: end with {line}, as in "
			 "'ssh {host} {line}', or say 'openssh'");
}

int cube_template_parse(const char *text, struct cube_template *ret, struct cube_err *err) {
	struct cube_template t = {0};
	struct cube_buf word;
	int rc = 0;
	if (strlen(text) > TEMPLATE_MAX)
		return cube_fail(err, CUBE_EUSAGE, "transport: more than %d bytes", TEMPLATE_MAX);
	cube_buf_init(&word, TEMPLATE_MAX + 1);
	for (const char *p = text; rc == 0 && *(p += strspn(p, BLANKS));) {
		cube_buf_clear(&word);
		p = take_word(p, &word);
		if (!p) {
			rc = cube_fail(err, CUBE_EUSAGE, "transport: a quote is not closed");
			break;
		}
		rc = check_word(&t, cube_buf_str(&word), err);
		if (rc == 0 && t.words.len == WORDS_MAX)
			rc = cube_fail(err, CUBE_EUSAGE, "transport: more than %d words",
				       WORDS_MAX);
		if (rc == 0) cube_strv_add(&t.words, cube_buf_str(&word));
	}
	cube_buf_done(&word);
	if (rc == 0 && (!t.words.len || !*t.words.v[0]))
		rc = cube_fail(err, CUBE_EUSAGE, "transport: no program is named");
	if (rc == 0) rc = check_ssh(&t, err);
	if (rc < 0) cube_template_done(&t);
	else *ret = t;
	return rc;
}

void cube_template_done(struct cube_template *t) {
	cube_strv_done(&t->words);
	*t = (struct cube_template){0};
}

/* ---- filling ----------------------------------------------------------------------------- */

static int fill_word(const char *word, const char *const *texts, struct cube_buf *out,
		     struct cube_err *err) {
	const char *from = word, *p;
	size_t n;
	int rc = 0;
	for (; (p = next_name(from, &n)) && rc == 0; from = p + n + 1) {
		const char *text = texts[which(p, n)];
		if (!text)
			return cube_fail(err, CUBE_EUSAGE,
					 "the transport wants {%.*s}, and there is none", (int)n,
					 p);
		rc = cube_buf_add(out, from, (size_t)(p - 1 - from));
		if (rc == 0) rc = cube_buf_addstr(out, text);
	}
	if (rc == 0) rc = cube_buf_addstr(out, from);
	return rc < 0 ? cube_fail(err, CUBE_ETOOBIG, "the transport's command is too long") : 0;
}

static int fill(const struct cube_template *t, const char *const *texts, const char *line,
		struct cube_strv *argv, struct cube_err *err) {
	struct cube_buf word;
	int rc = 0;
	cube_buf_init(&word, FILLED_MAX);
	for (size_t i = 0; i < t->words.len && rc == 0; i++) {
		if (!strcmp(t->words.v[i], "{line}")) {
			cube_strv_add(argv, line);
			continue;
		}
		cube_buf_clear(&word);
		rc = fill_word(t->words.v[i], texts, &word, err);
		if (rc == 0) cube_strv_add(argv, cube_buf_str(&word));
	}
	cube_buf_done(&word);
	return rc;
}

int cube_template_fill(const struct cube_template *t, const struct cube_template_values *values,
		       const char *line, struct cube_strv *argv, struct cube_err *err) {
	char port[8];
	snprintf(port, sizeof port, "%u", values->port);
	const char *const texts[] = {values->host, values->user, values->port ? port : NULL,
				     values->name, NULL};
	struct cube_strv all = {0};
	int rc = fill(t, texts, line, &all, err);
	for (size_t i = 0; i < all.len && rc == 0; i++) cube_strv_add(argv, all.v[i]);
	cube_strv_done(&all);
	if (rc < 0 || t->has_line) return rc;
	cube_strv_add(argv, "/bin/sh");
	cube_strv_add(argv, "-c");
	cube_strv_add(argv, line);
	return 0;
}
