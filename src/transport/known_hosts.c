/* known_hosts: see known_hosts.h. libssh2's own reader stops at the first line it does not
 * understand and knows neither patterns nor markers. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/known_hash.h"
#include "known_hosts.h"

enum { PIECE = 64 * 1024, ENTRIES_MAX = 256, LINE_LEN_MAX = 32 * 1024 };

/* ---- one line ---------------------------------------------------------------------------- */

static bool blank(char c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool next_word(const char **p, const char *end, const char **ret, size_t *ret_len) {
	while (*p < end && blank(**p)) ++*p;
	*ret = *p;
	while (*p < end && !blank(**p)) ++*p;
	*ret_len = (size_t)(*p - *ret);
	return *ret_len > 0;
}

static bool base64_word(const char *s, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("+/=", s[i])) return false;
	return true;
}

bool cube_known_line_parse(const char *line, size_t n, struct cube_known_line *ret) {
	struct cube_known_line l = {0};
	const char *end = line + n;
	if (memchr(line, '\0', n) || !next_word(&line, end, &l.names, &l.names_len)) return false;
	if (*l.names == '#') return false;
	if (*l.names == '@') {
		l.revoked = l.names_len == 8 && !memcmp(l.names, "@revoked", 8);
		l.ca = l.names_len == 15 && !memcmp(l.names, "@cert-authority", 15);
		if (!l.revoked && !l.ca) return false;
		if (!next_word(&line, end, &l.names, &l.names_len)) return false;
	}
	if (!next_word(&line, end, &l.type, &l.type_len)) return false;
	if (!next_word(&line, end, &l.key, &l.key_len)) return false;
	if (!base64_word(l.key, l.key_len) || isdigit((unsigned char)*l.type)) return false;
	*ret = l;
	return true;
}

/* Linear in practice: on a mismatch only the last * is tried again. */
static bool glob(const char *p, size_t np, const char *s) {
	const char *end = p + np, *star = NULL, *retry = NULL;
	while (*s) {
		if (p < end && *p == '*') {
			star = ++p;
			retry = s;
		} else if (p < end && (*p == '?' || tolower((unsigned char)*p) == *s)) {
			p++;
			s++;
		} else if (star) {
			p = star;
			s = ++retry;
		} else {
			return false;
		}
	}
	while (p < end && *p == '*') p++;
	return p == end;
}

bool cube_known_names_match(const char *names, size_t n, const char *host) {
	bool match = false;
	while (n) {
		const char *comma = memchr(names, ',', n);
		size_t len = comma ? (size_t)(comma - names) : n;
		bool negated = len && *names == '!';
		if (len > negated && glob(names + negated, len - negated, host)) {
			if (negated) return false;
			match = true;
		}
		names += comma ? len + 1 : len;
		n -= comma ? len + 1 : len;
	}
	return match;
}

char *cube_known_name(const char *host, uint16_t port, const char *alias) {
	char *name = alias                ? cube_strdup(alias)
		     : port && port != 22 ? cube_strf("[%s]:%u", host, port)
					  : cube_strdup(host);
	for (char *p = name; *p; p++) *p = (char)tolower((unsigned char)*p);
	return name;
}

/* ---- files ------------------------------------------------------------------------------- */

static bool names_host(const struct cube_known_line *l, const char *name) {
	if (*l->names == '|') return cube_known_hash_match(l->names, l->names_len, name);
	return cube_known_names_match(l->names, l->names_len, name);
}

static void add_entry(struct cube_known *known, const struct cube_known_line *l, const char *file,
		      unsigned number) {
	if (known->len >= ENTRIES_MAX) return;
	known->v = cube_realloc_array(known->v, known->len + 1, sizeof *known->v);
	known->v[known->len++] = (struct cube_known_entry){
		.type = cube_strndup(l->type, l->type_len),
		.key = cube_strndup(l->key, l->key_len),
		.file = file,
		.line = number,
		.revoked = l->revoked,
	};
}

/* A file that is read piece by piece, and the line under way. */
struct reader {
	const char *name, *file;
	struct cube_known *known;
	struct cube_buf line; /* its beginning, where a piece ended within it */
	bool too_long;        /* the rest of it is skipped */
	unsigned number;
};

static void take_line(struct reader *r, const char *text, size_t n) {
	struct cube_known_line l;
	r->number++;
	if (n > LINE_LEN_MAX || !cube_known_line_parse(text, n, &l) || !names_host(&l, r->name))
		return;
	if (l.ca) r->known->ca = true;
	else add_entry(r->known, &l, r->file, r->number);
}

static void end_line(struct reader *r) {
	if (r->too_long) r->number++;
	else take_line(r, (const char *)cube_buf_data(&r->line), cube_buf_len(&r->line));
	cube_buf_clear(&r->line);
	r->too_long = false;
}

static void take_piece(struct reader *r, const char *p, size_t n) {
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl ? (size_t)(nl - p) : n;
		bool whole = nl && !cube_buf_len(&r->line) && !r->too_long;
		if (whole) take_line(r, p, len);
		else if (!r->too_long && cube_buf_add(&r->line, p, len) < 0) r->too_long = true;
		if (nl && !whole) end_line(r);
		p += nl ? len + 1 : len;
		n -= nl ? len + 1 : len;
	}
}

static void read_all(struct reader *r, int fd) {
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) return;
	cube_autofree char *piece = cube_alloc(PIECE);
	for (;;) {
		ssize_t n = read(fd, piece, PIECE);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		take_piece(r, piece, (size_t)n);
	}
	if (cube_buf_len(&r->line)) end_line(r);
}

static void load_file(const char *name, const char *file, struct cube_known *known) {
	struct reader r = {.name = name, .file = file, .known = known};
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return;
	cube_buf_init(&r.line, LINE_LEN_MAX + 1);
	read_all(&r, fd);
	cube_buf_done(&r.line);
	close(fd);
}

void cube_known_load(const char *name, const struct cube_strv *files, struct cube_known *known) {
	for (size_t i = 0; i < files->len; i++) load_file(name, files->v[i], known);
}

void cube_known_done(struct cube_known *known) {
	for (size_t i = 0; i < known->len; i++) {
		free(known->v[i].type);
		free(known->v[i].key);
	}
	free(known->v);
	*known = (struct cube_known){0};
}

/* ---- the verdict ------------------------------------------------------------------------- */

enum cube_known_verdict cube_known_check(const struct cube_known *known, const char *type,
					 const char *key, bool (*can_verify)(const char *type),
					 const struct cube_known_entry **ret_entry) {
	const struct cube_known_entry *other = NULL;
	bool same = false;
	*ret_entry = NULL;
	for (size_t i = 0; i < known->len; i++) {
		const struct cube_known_entry *e = &known->v[i];
		bool equal = !strcmp(e->key, key);
		if (equal && e->revoked) {
			*ret_entry = e;
			return CUBE_KNOWN_REVOKED;
		}
		if (e->revoked) continue;
		if (equal) same = true;
		else if (!other || (strcmp(other->type, type) && !strcmp(e->type, type)))
			if (!strcmp(e->type, type) || can_verify(e->type)) other = e;
	}
	if (same) return CUBE_KNOWN_SAME;
	*ret_entry = other;
	return other ? CUBE_KNOWN_CHANGED : CUBE_KNOWN_NEW;
}

/* ---- remembering ------------------------------------------------------------------------- */

static void make_folder(const char *file) {
	const char *slash = strrchr(file, '/');
	if (!slash || slash == file) return;
	cube_autofree char *folder = cube_strndup(file, (size_t)(slash - file));
	(void)!mkdir(folder, 0700); /* a failure shows when the file is opened */
}

static bool ends_in_newline(int fd) {
	struct stat st;
	char last = '\n';
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) return true;
	return pread(fd, &last, 1, st.st_size - 1) != 1 || last == '\n';
}

/* One write at the end of the file, rather than a new file renamed over it: ssh appends too,
 * without a lock, and a line it adds between our reading and our renaming would be lost; so would a
 * link that the file is. The lock is for the size only, and not waited for: who holds it may be
 * stopped.
 */
static int append_whole(int fd, const char *line, struct cube_err *err, const char *file) {
	struct stat before, after;
	size_t n = strlen(line);
	(void)flock(fd, LOCK_EX | LOCK_NB);
	if (fstat(fd, &before) < 0) return cube_fail_sys(err, errno, "cannot read %s", file);
	ssize_t done = write(fd, line, n);
	if (done == (ssize_t)n) return 0;
	int sys = done < 0 ? errno : ENOSPC;
	/* Half a line would spoil the next one; but nobody else's may go with it. */
	if (done > 0 && fstat(fd, &after) == 0 && after.st_size == before.st_size + done)
		(void)!ftruncate(fd, before.st_size);
	return cube_fail_sys(err, sys, "cannot write %s", file);
}

int cube_known_append(const char *file, const char *name, bool hashed, const char *type,
		      const char *key, struct cube_err *err) {
	make_folder(file);
	int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0) return cube_fail_sys(err, errno, "cannot open %s", file);
	cube_autofree char *hash = hashed ? cube_known_hash(name) : NULL;
	cube_autofree char *line = cube_strf("%s%s %s %s\n", ends_in_newline(fd) ? "" : "\n",
					     hash ? hash : name, type, key);
	int rc = append_whole(fd, line, err, file);
	close(fd);
	return rc;
}
