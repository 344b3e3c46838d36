#include "ssh_answers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/mem.h"
#include "cube/parse.h"
#include "cube/paths.h"
#include "cube/sha256.h"

enum { TABLES = 8, FILES = 8, ID = 16, HEX = 2 * ID, SUM = 16, FLUSH_AT = 32 * 1024 };
static const uint64_t FLEETING_NS = 300 * CUBE_NS_PER_S;
static const char HEAD[] = "cube ssh answers 1 ";
#define PREFIX "ssh-"

struct answer {
	struct answer *next;
	uint8_t id[ID];
	bool checked;  /* its sum, which one of the file has */
	bool fleeting; /* forgotten some time after `at` */
	uint64_t at;
	const char *sum, *text; /* sum: in the file's content, or NULL */
	char *own;              /* the text, where it is no part of the file's */
	uint32_t n;
};

struct table {
	uint8_t stamp[ID];
	uint64_t used;
	struct answer **buckets;
	size_t n, size, bytes; /* size: of buckets, a power of two */
	char *content;         /* of the file */
	struct cube_buf pending;
	bool closed; /* the file takes no more */
};

struct cube_ssh_answers {
	char *dir;
	uint64_t turn;
	struct table tables[TABLES];
};

static void to_hex(const uint8_t *bytes, size_t n, char *hex) {
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * n] = 0;
}

static int digit(char c) {
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(const char *hex, uint8_t *bytes, size_t n) {
	for (size_t i = 0; i < n; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
		if (high < 0 || low < 0) return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void sum_of(const uint8_t id[ID], const char *text, size_t n, char hex[SUM + 1]) {
	struct cube_sha256 sha;
	uint8_t digest[CUBE_SHA256_LEN];
	cube_sha256_init(&sha);
	cube_sha256_update(&sha, id, ID);
	cube_sha256_update(&sha, text, n);
	cube_sha256_final(&sha, digest);
	to_hex(digest, SUM / 2, hex);
}

/* ---- a table ----------------------------------------------------------------------------- */

static struct answer **place(struct table *t, const uint8_t id[ID]) {
	size_t hash;
	memcpy(&hash, id, sizeof hash);
	struct answer **at = &t->buckets[hash & (t->size - 1)];
	while (*at && memcmp((*at)->id, id, ID) != 0) at = &(*at)->next;
	return at;
}

static void forget(struct table *t, struct answer **at) {
	struct answer *e = *at;
	*at = e->next;
	t->n--;
	if (e->own) t->bytes -= e->n;
	free(e->own);
	free(e);
}

static void grow(struct table *t) {
	struct answer **old = t->buckets;
	size_t size = t->size;
	t->size = size ? size * 4 : 64;
	t->buckets = cube_alloc(t->size * sizeof *t->buckets);
	for (size_t i = 0; i < size; i++)
		while (old[i]) {
			struct answer *e = old[i];
			old[i] = e->next;
			e->next = NULL;
			*place(t, e->id) = e;
		}
	free(old);
}

static struct answer *insert(struct table *t, const uint8_t id[ID]) {
	if (t->n >= CUBE_SSH_ANSWERS_MAX) return NULL;
	if (t->n >= t->size) grow(t);
	struct answer **at = place(t, id);
	if (*at) forget(t, at);
	at = place(t, id);
	struct answer *e = *at = cube_alloc(sizeof *e);
	memcpy(e->id, id, ID);
	t->n++;
	return e;
}

static void empty(struct table *t) {
	for (size_t i = 0; i < t->size; i++)
		while (t->buckets[i]) forget(t, &t->buckets[i]);
	free(t->content);
	t->content = NULL;
}

static void table_done(struct table *t) {
	empty(t);
	free(t->buckets);
	cube_buf_done(&t->pending);
	*t = (struct table){0};
}

/* ---- the file ---------------------------------------------------------------------------- */

static char *path_of(const struct cube_ssh_answers *a, const struct table *t) {
	char hex[HEX + 1];
	to_hex(t->stamp, ID, hex);
	return cube_strf("%s/" PREFIX "%s", a->dir, hex);
}

/* Whoever could write it could tell us whom to log in to. */
static bool is_ours(int fd, struct stat *st) {
	return fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
	       !(st->st_mode & 077) && st->st_nlink == 1;
}

static bool dir_is_ours(const char *dir) {
	struct stat st;
	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       !(st.st_mode & 022);
}

static bool read_head(const struct table *t, const char **at, const char *end) {
	uint8_t stamp[ID];
	size_t n = sizeof HEAD - 1;
	if ((size_t)(end - *at) < n + HEX + 1 || memcmp(*at, HEAD, n) != 0) return false;
	if (!from_hex(*at + n, stamp, ID) || memcmp(stamp, t->stamp, ID) != 0) return false;
	*at += n + HEX + 1;
	return (*at)[-1] == '\n';
}

static bool read_record(struct table *t, const char **at, const char *end) {
	const char *nl = memchr(*at, '\n', (size_t)(end - *at));
	uint8_t id[ID];
	uint64_t n;
	/* id, blank, digits, blank, sum */
	if (!nl || nl - *at < HEX + 1 + 1 + 1 + SUM || nl - *at > HEX + SUM + 16) return false;
	if (!from_hex(*at, id, ID) || (*at)[HEX] != ' ' || nl[-SUM - 1] != ' ') return false;
	cube_autofree char *number =
		cube_strndup(*at + HEX + 1, (size_t)(nl - SUM - 1 - *at - HEX - 1));
	if (cube_parse_u64(number, 1, CUBE_SSH_ANSWER_MAX, &n, NULL) < 0) return false;
	if ((uint64_t)(end - nl) < n + 2 || nl[n + 1] != '\n') return false;
	struct answer *e = insert(t, id);
	if (e) {
		e->sum = nl - SUM;
		e->text = nl + 1;
		e->n = (uint32_t)n;
	}
	*at = nl + n + 2;
	return true;
}

static bool read_content(struct table *t, size_t n) {
	const char *at = t->content, *end = t->content + n;
	if (!read_head(t, &at, end)) return false;
	while (at < end)
		if (!read_record(t, &at, end)) return false;
	return true;
}

static char *slurp(int fd, size_t size, size_t *ret_n) {
	char *text = malloc(size + 1);
	size_t n = 0;
	while (text && n < size) {
		ssize_t got = read(fd, text + n, size - n);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) break;
		n += (size_t)got;
	}
	*ret_n = n;
	return text;
}

/* What was read wrong is thrown away: the next flush begins another file. */
static void throw_away(struct cube_ssh_answers *a, struct table *t) {
	cube_autofree char *path = path_of(a, t);
	empty(t);
	unlink(path);
}

static void load(struct cube_ssh_answers *a, struct table *t) {
	cube_autofree char *path = path_of(a, t);
	struct stat st;
	size_t n;
	t->closed = true;
	if (access(a->dir, F_OK) == 0 && !dir_is_ours(a->dir)) return;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		t->closed = errno != ENOENT;
		return;
	}
	/* Without the lock a record might be half written; then it is done without the file. */
	bool locked = flock(fd, LOCK_SH | LOCK_NB) == 0;
	if (is_ours(fd, &st)) t->closed = false;
	if (!t->closed && locked && st.st_size <= CUBE_SSH_ANSWERS_BYTES) {
		futimens(fd, NULL); /* used last */
		t->content = slurp(fd, (size_t)st.st_size, &n);
		if (t->content && !read_content(t, n)) throw_away(a, t);
	}
	close(fd);
}

/* Unlinks all but the files used last. */
static void prune(const char *dir) {
	struct kept {
		char name[64];
		int64_t at;
	} kept[FILES];
	size_t n = 0;
	DIR *d = opendir(dir);
	struct dirent *entry;
	while (d && (entry = readdir(d))) {
		struct stat st;
		if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0 ||
		    strlen(entry->d_name) != sizeof PREFIX - 1 + HEX ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		struct kept one = {.at = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec};
		snprintf(one.name, sizeof one.name, "%s", entry->d_name);
		size_t old = n;
		for (size_t i = 0; n == FILES && i < FILES; i++)
			if (kept[i].at < (old == n ? one.at : kept[old].at)) old = i;
		if (n < FILES) kept[n++] = one;
		else if (old == n) unlinkat(dirfd(d), one.name, 0);
		else unlinkat(dirfd(d), kept[old].name, 0), kept[old] = one;
	}
	if (d) closedir(d);
}

/* All of it, or as it was. */
static bool append(int fd, off_t size, const void *bytes, size_t n) {
	ssize_t wrote = write(fd, bytes, n);
	if (wrote == (ssize_t)n) return true;
	return ftruncate(fd, size) == 0;
}

static void write_pending(struct cube_ssh_answers *a, struct table *t, int fd) {
	struct stat st;
	char head[sizeof HEAD + HEX + 1], hex[HEX + 1];
	if (!is_ours(fd, &st) ||
	    (size_t)st.st_size + cube_buf_len(&t->pending) > CUBE_SSH_ANSWERS_BYTES) {
		t->closed = true;
		return;
	}
	if (st.st_size == 0) {
		to_hex(t->stamp, ID, hex);
		int n = snprintf(head, sizeof head, "%s%s\n", HEAD, hex);
		if (write(fd, head, (size_t)n) != n) {
			t->closed = ftruncate(fd, 0) != 0;
			return;
		}
		st.st_size = n;
		prune(a->dir);
	}
	t->closed = !append(fd, st.st_size, cube_buf_data(&t->pending), cube_buf_len(&t->pending));
	cube_buf_clear(&t->pending);
}

static void flush_table(struct cube_ssh_answers *a, struct table *t) {
	cube_autofree char *path = path_of(a, t);
	if (!cube_buf_len(&t->pending) || t->closed) return;
	if (cube_paths_make(a->dir, NULL) < 0 || !dir_is_ours(a->dir)) {
		t->closed = true;
		return;
	}
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		      0600);
	if (fd < 0) {
		t->closed = true;
		return;
	}
	/* Another process is at it for a moment: then with the next flush. */
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) write_pending(a, t, fd);
	close(fd);
}

void cube_ssh_answers_flush(struct cube_ssh_answers *a) {
	for (size_t i = 0; a->dir && i < TABLES; i++)
		if (a->tables[i].used) flush_table(a, &a->tables[i]);
}

static void keep(struct cube_ssh_answers *a, struct table *t, const uint8_t id[ID],
		 const char *text, size_t n) {
	char hex[HEX + 1], sum[SUM + 1];
	if (!a->dir || t->closed) return;
	size_t before = cube_buf_len(&t->pending);
	to_hex(id, ID, hex);
	sum_of(id, text, n, sum);
	int rc = cube_buf_printf(&t->pending, "%s %zu %s\n", hex, n, sum);
	if (!rc) rc = cube_buf_add(&t->pending, text, n);
	if (!rc) rc = cube_buf_add(&t->pending, "\n", 1);
	if (rc) cube_buf_truncate(&t->pending, before);
	if (cube_buf_len(&t->pending) > FLUSH_AT) flush_table(a, t);
}

/* ---- the interface ----------------------------------------------------------------------- */

/* The stamp's table; the one not used for longest makes room. */
static struct table *table_of(struct cube_ssh_answers *a, const struct cube_ssh_stamp *stamp) {
	struct table *t = NULL, *oldest = &a->tables[0];
	for (size_t i = 0; i < TABLES && !t; i++) {
		struct table *one = &a->tables[i];
		if (one->used && !memcmp(one->stamp, stamp->id, ID)) t = one;
		if (one->used < oldest->used) oldest = one;
	}
	if (!t) {
		t = oldest;
		if (t->used && a->dir) flush_table(a, t);
		table_done(t);
		memcpy(t->stamp, stamp->id, ID);
		cube_buf_init(&t->pending, 1 << 20);
		if (a->dir && stamp->lasting) load(a, t);
	}
	t->used = ++a->turn;
	return t;
}

static void id_of(const char *key, uint8_t id[ID]) {
	uint8_t digest[CUBE_SHA256_LEN];
	cube_sha256_of(key, strlen(key), digest);
	memcpy(id, digest, ID);
}

const char *cube_ssh_answers_get(struct cube_ssh_answers *a, const struct cube_ssh_stamp *stamp,
				 const char *key, uint64_t now, size_t *ret_n) {
	struct table *t = table_of(a, stamp);
	char sum[SUM + 1];
	uint8_t id[ID];
	id_of(key, id);
	struct answer **at = t->size ? place(t, id) : NULL;
	if (!at || !*at) return NULL;
	struct answer *e = *at;
	if (e->fleeting && now - e->at >= FLEETING_NS) {
		forget(t, at);
		return NULL;
	}
	if (e->sum && !e->checked) {
		sum_of(id, e->text, e->n, sum);
		e->checked = memcmp(sum, e->sum, SUM) == 0;
		if (!e->checked) {
			throw_away(a, t);
			return NULL;
		}
	}
	*ret_n = e->n;
	return e->text;
}

void cube_ssh_answers_put(struct cube_ssh_answers *a, const struct cube_ssh_stamp *stamp,
			  const char *key, uint64_t now, const char *text, size_t n) {
	struct table *t = table_of(a, stamp);
	uint8_t id[ID];
	if (!n || n > CUBE_SSH_ANSWER_MAX || t->bytes + n > CUBE_SSH_ANSWERS_BYTES) return;
	id_of(key, id);
	struct answer *e = insert(t, id);
	if (!e) return;
	e->own = cube_strndup(text, n);
	e->text = e->own;
	e->n = (uint32_t)n;
	e->at = now;
	e->fleeting = !stamp->lasting;
	t->bytes += n;
	if (stamp->lasting) keep(a, t, id, text, n);
}

struct cube_ssh_answers *cube_ssh_answers_new(const char *dir) {
	struct cube_ssh_answers *a = cube_alloc(sizeof *a);
	a->dir = cube_strdup(dir);
	return a;
}

void cube_ssh_answers_free(struct cube_ssh_answers *a) {
	if (!a) return;
	cube_ssh_answers_flush(a);
	for (size_t i = 0; i < TABLES; i++) table_done(&a->tables[i]);
	free(a->dir);
	free(a);
}
