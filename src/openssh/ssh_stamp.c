/* The content is hashed, not only the files' times: two edits within a clock tick differ, and a
 * `touch` or a checkout of the same text costs no thousand questions. */
#include "ssh_stamp.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/mem.h"
#include "cube/paths.h"
#include "cube/sha256.h"
#include "cube/ssh_config.h"
#include "ssh_keywords.h"

enum { FILE_MAX = 1 << 20, TOTAL_MAX = 8 << 20, FILES_MAX = 512, DEPTH_MAX = 16, WORD_MAX = 4096 };

struct walk {
	struct cube_sha256 sha;
	const char *home; /* where ssh looks for ~: the password database's */
	const char *base; /* of relative names */
	unsigned files;
	size_t total;
	bool lasting;
	char *unknown; /* of the stamp */
	size_t room;
};

static void add_text(struct walk *w, const char *s) {
	cube_sha256_update(&w->sha, s ? s : "\1", s ? strlen(s) + 1 : 2);
}

static void add_numbers(struct walk *w, const uint64_t *v, size_t n) {
	cube_sha256_update(&w->sha, v, n * sizeof *v);
}

/* ---- lines ------------------------------------------------------------------------------- */

/* The next word as ssh parts them: blanks, quotes of both kinds, \ before a quote, a blank or
 * itself. False at the line's end or where the word is too long. */
static bool next_word(const char **at, const char *end, char word[WORD_MAX]) {
	const char *p = *at;
	size_t n = 0;
	char quote = 0;
	while (p < end && (*p == ' ' || *p == '\t')) p++;
	bool any = p < end;
	for (; p < end && n < WORD_MAX - 1; p++) {
		if (*p == '\\' && p + 1 < end && strchr("\"'\\ ", p[1])) word[n++] = *++p;
		else if (quote ? *p == quote : *p == '"' || *p == '\'') quote = quote ? 0 : *p;
		else if (!quote && (*p == ' ' || *p == '\t')) break;
		else word[n++] = *p;
	}
	word[n] = 0;
	*at = p;
	return any && n < WORD_MAX - 1;
}

static void walk_file(struct walk *w, const char *path, unsigned depth);

static void include_word(struct walk *w, const char *word, unsigned depth) {
	cube_autofree char *pattern = NULL;
	glob_t found = {0};
	if (strpbrk(word, "%$") || (*word == '~' && word[1] != '/')) {
		w->lasting = false; /* tokens of newer versions, others' homes */
		return;
	}
	if (*word == '/') pattern = cube_strdup(word);
	else if (*word == '~') pattern = cube_strf("%s%s", w->home, word + 1);
	else pattern = cube_strf("%s/%s", w->base, word);
	add_text(w, pattern);
	int rc = glob(pattern, 0, NULL, &found);
	if (rc && rc != GLOB_NOMATCH) w->lasting = false;
	for (size_t i = 0; !rc && i < found.gl_pathc; i++)
		walk_file(w, found.gl_pathv[i], depth + 1);
	globfree(&found);
}

/* ${NAME}: its value decides as well. */
static void add_environment(struct walk *w, const char *line, const char *end) {
	for (const char *p = line; p + 1 < end; p++) {
		if (p[0] != '$' || p[1] != '{') continue;
		const char *close = memchr(p, '}', (size_t)(end - p));
		if (!close) return;
		cube_autofree char *name = cube_strndup(p + 2, (size_t)(close - p - 2));
		add_text(w, getenv(name));
	}
}

static bool has_word(const char *line, const char *end, const char *word) {
	size_t n = strlen(word);
	for (; line + n <= end; line++)
		if (!strncasecmp(line, word, n)) return true;
	return false;
}

static void add_unknown(struct walk *w, const char *key, size_t n) {
	size_t used = strlen(w->unknown);
	if (!n || cube_ssh_keyword_find(key, n) || n + 3 > w->room - used) return;
	if (!used) w->unknown[used++] = ' ';
	for (size_t i = 0; i < n; i++) w->unknown[used++] = (char)tolower((unsigned char)key[i]);
	w->unknown[used++] = ' ';
	w->unknown[used] = 0;
}

static void walk_line(struct walk *w, const char *line, const char *end, unsigned depth) {
	char word[WORD_MAX];
	while (line < end && (*line == ' ' || *line == '\t')) line++;
	if (line == end || *line == '#') return;
	while (end > line && strchr("\r\f \t", end[-1])) end--;
	add_environment(w, line, end);
	const char *p = line;
	while (p < end && !strchr(" \t=", *p)) p++;
	cube_autofree char *quoted = cube_strndup(line, (size_t)(p - line));
	const char *key = *quoted == '"' ? quoted + 1 : quoted;
	size_t n = strcspn(key, "\"");
	while (p < end && strchr(" \t", *p)) p++;
	if (p < end && *p == '=') p++;
	if (n == 7 && !strncasecmp(key, "include", n)) {
		while (next_word(&p, end, word)) include_word(w, word, depth);
		if (p < end) w->lasting = false;
	} else if (n == 5 && !strncasecmp(key, "match", n)) {
		if (has_word(p, end, "exec") || has_word(p, end, "localnetwork"))
			w->lasting = false;
	} else if (n == 20 && !strncasecmp(key, "canonicalizehostname", n)) {
		if (!has_word(p, end, "no") && !has_word(p, end, "false")) w->lasting = false;
	} else {
		add_unknown(w, key, n);
	}
}

/* ---- files ------------------------------------------------------------------------------- */

static void walk_text(struct walk *w, const char *text, size_t n, unsigned depth) {
	const char *end = text + n;
	cube_sha256_update(&w->sha, text, n);
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		walk_line(w, text, nl ? nl : end, depth);
		text = nl ? nl + 1 : end;
	}
}

static void walk_open(struct walk *w, int fd, unsigned depth) {
	struct stat st;
	size_t n = 0;
	ssize_t got = 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX ||
	    (w->total += (size_t)st.st_size) > TOTAL_MAX) {
		w->lasting = false;
		return;
	}
	/* ssh refuses files that others may write. */
	add_numbers(w, (uint64_t[]){st.st_uid, st.st_mode, (uint64_t)st.st_size}, 3);
	cube_autofree char *text = cube_alloc((size_t)st.st_size + 1);
	while (n < (size_t)st.st_size) {
		got = read(fd, text + n, (size_t)st.st_size - n);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) break;
		n += (size_t)got;
	}
	walk_text(w, text, n, depth);
}

static void walk_file(struct walk *w, const char *path, unsigned depth) {
	add_text(w, path);
	if (depth > DEPTH_MAX || ++w->files > FILES_MAX) {
		w->lasting = false;
		return;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	add_numbers(w, (uint64_t[]){fd < 0 ? (uint64_t)errno : 0}, 1);
	if (fd < 0) return;
	walk_open(w, fd, depth);
	close(fd);
}

/* ---- the rest ---------------------------------------------------------------------------- */

static void add_program(struct walk *w) {
	struct stat st;
	cube_autofree char *name = cube_paths_program("ssh");
	if (!name || stat(name, &st) < 0) return;
	add_text(w, name);
	add_numbers(w,
		    (uint64_t[]){st.st_dev, st.st_ino, (uint64_t)st.st_size,
				 (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec},
		    5);
}

static void add_person(struct walk *w, const struct passwd *pw) {
	char host[HOST_NAME_MAX + 1] = "";
	gethostname(host, sizeof host - 1);
	add_text(w, host);
	add_text(w, pw ? pw->pw_name : NULL);
	add_text(w, w->home);
	add_text(w, getenv("HOME"));
	add_numbers(w, (uint64_t[]){getuid(), geteuid()}, 2);
}

void cube_ssh_stamp_take(const char *file, const char *format, struct cube_ssh_stamp *ret) {
	struct passwd *pw = getpwuid(getuid());
	cube_autofree char *home = cube_strdup(pw && pw->pw_dir ? pw->pw_dir : "/");
	cube_autofree char *own = cube_strf("%s/.ssh", home);
	cube_autofree char *config = cube_strf("%s/config", own);
	cube_autofree char *moved = file ? NULL : cube_ssh_moved_config();
	struct walk w = {.home = home, .base = own, .lasting = true};
	uint8_t digest[CUBE_SHA256_LEN];
	*ret->unknown = 0;
	w.unknown = ret->unknown;
	w.room = sizeof ret->unknown;
	cube_sha256_init(&w.sha);
	add_text(&w, format);
	add_person(&w, pw);
	add_program(&w);
	if (!file && moved) file = moved;
	if (file && strcasecmp(file, "none") != 0) walk_file(&w, file, 0);
	if (!file) {
		walk_file(&w, config, 0);
		w.base = "/etc/ssh";
		walk_file(&w, "/etc/ssh/ssh_config", 0);
	}
	cube_sha256_final(&w.sha, digest);
	memcpy(ret->id, digest, sizeof ret->id);
	ret->lasting = w.lasting;
}
