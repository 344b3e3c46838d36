#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/copy.h"
#include "cube/format.h"
#include "cube/id.h"
#include "cube/mem.h"
#include "part.h"
#include "place.h"
#include "record.h"
#include "walk.h"

enum {
	OUT_HIGH = 64 << 10, /* nothing is taken while more than that waits to be sent */
	PIECE = 256 << 10,
	TELLS_NO_SIZE = 1 << 20,
};

struct level { /* a folder that entries go into */
	int fd;
	bool keep; /* it is not ours to change: the destination */
	bool seen; /* parts are listed */
	uint32_t mode;
	int64_t mtime;
	size_t path_len;
	struct cube_strv parts;
};

struct cube_receiver {
	struct cube_receiver_config config;
	struct cube_copy_counts counts;
	struct record_reader reader;
	struct record rec;
	struct cube_buf out;
	bool begun, again, over;
	unsigned depth, lost; /* lost: folders in folders below one that could not be made */
	struct level level[CUBE_COPY_DEPTH + 2];
	uint64_t entry, salt;
	char rename[256];           /* what the one top entry is to be called, or "" */
	char path[PLACE_PATH + 64]; /* of the entry, for people; cut if need be */
	/* the file that is under way */
	bool in_file, bad; /* bad: its bytes are thrown away */
	bool from;         /* its FROM is to come */
	struct part part;
	uint32_t mode, data_left;
	int64_t mtime;
	uint64_t size, at;
	/* the hash of the part */
	bool hashing;
	uint64_t hashed, have;
	struct cube_sha256 hash;
};

struct cube_receiver *cube_receiver_new(const struct cube_receiver_config *config) {
	struct cube_receiver *r = cube_alloc(sizeof *r);

	r->config = *config;
	r->config.dest = cube_strdup(*config->dest ? config->dest : ".");
	r->part.fd = -1;
	r->salt = cube_id_u64();
	cube_buf_init(&r->out, OUT_HIGH + 4 * (RECORD_HEAD + RECORD_MAX));
	if (cube_buf_add(&r->out, PREAMBLE, PREAMBLE_LEN) < 0) abort();
	return r;
}

static void put(struct cube_receiver *r, uint8_t type) {
	r->rec.type = type;
	r->rec.entry = r->entry;
	/* there is room: nothing is taken while more than OUT_HIGH waits */
	if (record_put(&r->out, &r->rec) < 0) abort();
}

static void leave_level(struct cube_receiver *r) {
	struct level *l = &r->level[--r->depth];

	close(l->fd);
	cube_strv_done(&l->parts);
}

/* Of the entry at r->path. sys: the errno behind it; some of them end it all. */
static void problem(struct cube_receiver *r, int sys, const char *message, bool fatal) {
	fatal = fatal || sys == ENOSPC || sys == EDQUOT || sys == EROFS;
	if (sys == EDQUOT) message = cube_err_text(sys);
	r->counts.problems++;
	r->bad = true;
	cube_format(r->rec.name, sizeof r->rec.name, "%s", message);
	cube_format(r->rec.text, sizeof r->rec.text, "%s", r->path);
	r->rec.flag = fatal;
	put(r, REC_REPLY_PROBLEM);
	if (r->config.problem) r->config.problem(r->config.arg, r->path, message);
	part_remove(&r->part);
	if (!fatal || r->over) return;
	put(r, REC_REPLY_DONE);
	r->over = true;
}

/* ---- folders ------------------------------------------------------------------------------ */

static void set_path(struct cube_receiver *r, const char *name) {
	size_t at = r->depth ? r->level[r->depth - 1].path_len : 0;

	if (!*name) {
		r->path[at] = '\0';
		return;
	}
	cube_format(r->path + at, sizeof r->path - at, "%s%s",
		    at > 0 && r->path[at - 1] != '/' ? "/" : "", name);
}

static void enter(struct cube_receiver *r, int fd, bool keep) {
	r->level[r->depth++] = (struct level){
		.fd = fd,
		.keep = keep,
		.mode = r->rec.mode,
		.mtime = r->rec.mtime,
		.path_len = strlen(r->path),
	};
}

/* The first entry decides what the destination is. */
static bool find_place(struct cube_receiver *r, bool is_dir) {
	struct place *p = cube_alloc(sizeof *p);
	const char *message =
		place_find(p, r->config.dest, r->config.folder, r->config.make, is_dir);

	cube_format(r->path, sizeof r->path, "%s", message ? r->config.dest : p->path);
	if (message) {
		problem(r, errno, message, true);
	} else {
		if (strcmp(r->path, ".") == 0) r->path[0] = '\0';
		enter(r, p->dir, true);
		memcpy(r->rename, p->name, sizeof r->rename);
	}
	free(p);
	return !message;
}

static bool plain(const char *name) {
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* A host that is asked for notes.txt must not put a .bashrc beside it. What was named comes never
 * as a link, since that is followed there. */
static bool is_asked(const struct cube_receiver *r) {
	char name[256];

	if (!r->config.asked) return true;
	if (r->rec.type == REC_LINK) return false;
	if (r->rename[0]) return true; /* it gets our name for it */
	for (size_t i = 0; i < r->config.nasked; i++)
		if (walk_name(r->config.asked[i], name) && strcmp(name, r->rec.name) == 0)
			return true;
	return false;
}

/* Counts the entry and sees that its name is one. Not 0 ends the copy; r->lost or r->over may say
 * that the entry has no place. */
static int begin_entry(struct cube_receiver *r, struct cube_err *err) {
	bool is_dir = r->rec.type == REC_DIR, top = r->depth <= 1 && !r->lost;

	if (!r->begun || r->in_file)
		return cube_fail(err, CUBE_EPROTO, "copy: an entry out of place");
	if (!plain(r->rec.name) && !(top && is_dir && !*r->rec.name))
		return cube_fail(err, CUBE_EPROTO, "copy: an entry with a path for its name");
	r->entry++;
	r->bad = r->lost > 0;
	if (r->depth == 0 && !find_place(r, is_dir)) return 0;
	if (top && !is_asked(r))
		return cube_fail(err, CUBE_EPROTO, "copy: %.120s came, which nobody asked for",
				 *r->rec.name ? r->rec.name : "a folder without a name");
	if (r->rename[0] && top) {
		if (!r->rename[1] && r->rename[0] == '/')
			return cube_fail(err, CUBE_EPROTO, "copy: more than one entry");
		memcpy(r->rec.name, r->rename, sizeof r->rec.name);
		memcpy(r->rename, "/", 2); /* it is used up */
	}
	if (!r->lost) set_path(r, r->rec.name);
	return 0;
}

/* A folder of ours that its mode does not let us fill gets its mode at its end anyway. */
static void make_fillable(int fd) {
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700 && st.st_uid == geteuid())
		(void)fchmod(fd, (st.st_mode & 0777) | 0700);
}

static void on_dir(struct cube_receiver *r) {
	int dir, fd;

	if (r->over) return;
	if (r->lost) {
		r->lost++;
		return;
	}
	dir = r->level[r->depth - 1].fd;
	if (r->depth > CUBE_COPY_DEPTH) {
		problem(r, 0, "too many folders in folders", false);
		r->lost = 1;
		return;
	}
	if (!*r->rec.name) {
		fd = fcntl(dir, F_DUPFD_CLOEXEC, 3);
		if (fd >= 0) {
			enter(r, fd, true);
			return;
		}
	} else if (mkdirat(dir, r->rec.name, 0700) == 0 || errno == EEXIST) {
		fd = openat(dir, r->rec.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0) {
			make_fillable(fd);
			enter(r, fd, false);
			return;
		}
		if (errno == ENOTDIR || errno == ELOOP) {
			problem(r, 0, "something that is no folder is in the way", false);
			r->lost = 1;
			return;
		}
	}
	problem(r, errno, strerror(errno), false);
	r->lost = 1;
}

static int on_up(struct cube_receiver *r, struct cube_err *err) {
	struct level *l;

	if (r->over) return 0;
	if (r->in_file || (!r->lost && r->depth < 2))
		return cube_fail(err, CUBE_EPROTO, "copy: the end of a folder out of place");
	if (r->lost) {
		r->lost--;
		return 0;
	}
	l = &r->level[r->depth - 1];
	r->path[l->path_len] = '\0';
	if (!l->keep && part_set(l->fd, l->mode, l->mtime) < 0)
		problem(r, errno, strerror(errno), false);
	leave_level(r);
	return 0;
}

/* ---- files -------------------------------------------------------------------------------- */

/* Is a large file there already, whole? */
static bool is_there(struct cube_receiver *r, int dir) {
	struct stat st;

	return fstatat(dir, r->rec.name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == r->size && (st.st_mode & 0777) == (r->mode & 0777) &&
	       part_mtime(&st) == r->mtime;
}

/* Opens the file's part; false where its bytes are not wanted. */
static bool open_file(struct cube_receiver *r, bool large) {
	struct level *l;
	const char *message;
	uint64_t id = large ? r->rec.more : r->salt++;

	if (r->lost || r->over) return false;
	l = &r->level[r->depth - 1];
	if (large && r->again && is_there(r, l->fd)) {
		r->counts.files++;
		r->counts.bytes += r->size;
		return false;
	}
	if (!l->seen) part_list(l->fd, &l->parts);
	l->seen = true;
	part_remove_others(l->fd, &l->parts, r->rec.name, id);
	message = part_open(&r->part, l->fd, r->rec.name, id, large, r->config.wait);
	if (message) problem(r, errno, message, false);
	else if (large && r->config.part) r->config.part(r->config.arg, l->fd, r->part.name);
	return !message;
}

static void on_file(struct cube_receiver *r) {
	bool large = r->rec.number > CUBE_COPY_RESUMES;
	struct stat st;

	r->in_file = true;
	r->mode = r->rec.mode;
	r->mtime = r->rec.mtime;
	r->size = r->rec.number;
	r->at = 0;
	r->bad = !open_file(r, large);
	if (!large || r->over) return;
	r->have = 0;
	if (r->bad) {
		r->rec.number = RECORD_NONE;
		r->in_file = false;
	} else {
		if (fstat(r->part.fd, &st) == 0) r->have = (uint64_t)st.st_size;
		if (r->have > r->size) r->have = r->size;
		r->rec.number = r->have;
		r->hashing = r->have > 0;
		r->hashed = 0;
		cube_sha256_init(&r->hash);
		r->from = true;
	}
	put(r, REC_HAVE);
}

static void step_hash(struct cube_receiver *r) {
	uint64_t left = r->have - r->hashed;
	uint8_t *space = malloc(PIECE);
	ssize_t n =
		!space ? -1
		       : pread(r->part.fd, space, left < PIECE ? left : PIECE, (off_t)r->hashed);

	if (n > 0) {
		cube_sha256_update(&r->hash, space, (size_t)n);
		r->hashed += (uint64_t)n;
	}
	free(space);
	if (n > 0 && r->hashed < r->have) return;
	/* what cannot be read gives a hash that does not match, and is sent anew */
	cube_sha256_final(&r->hash, r->rec.hash);
	put(r, REC_HASH);
	r->hashing = false;
}

static int on_from(struct cube_receiver *r, struct cube_err *err) {
	if (r->over) return 0;
	if (!r->from || (r->rec.number != 0 && r->rec.number != r->have))
		return cube_fail(err, CUBE_EPROTO, "copy: contents that begin at the wrong place");
	r->from = false;
	r->at = r->rec.number;
	r->counts.bytes += r->at;
	if (!r->bad && ftruncate(r->part.fd, (off_t)r->at) < 0)
		problem(r, errno, strerror(errno), false);
	return 0;
}

/* n bytes of contents come next. */
static int on_contents(struct cube_receiver *r, uint64_t n, struct cube_err *err) {
	uint64_t limit = r->size ? r->size : TELLS_NO_SIZE;

	if (r->over) return 0;
	if (!r->in_file || r->from || n > limit - r->at)
		return cube_fail(err, CUBE_EPROTO, "copy: contents out of place");
	return 0;
}

static size_t on_data(struct cube_receiver *r, const uint8_t *p, size_t n) {
	size_t at = 0;

	if (n > r->data_left) n = r->data_left;
	r->data_left -= (uint32_t)n;
	if (r->over) return n;
	while (!r->bad && at < n) {
		ssize_t w = pwrite(r->part.fd, p + at, n - at, (off_t)(r->at + at));
		if (w > 0) at += (size_t)w;
		else if (errno != EINTR) problem(r, errno, strerror(errno), false);
	}
	r->at += n;
	r->counts.bytes += n;
	r->counts.moved += n;
	return n;
}

static void on_hole(struct cube_receiver *r) {
	if (r->over) return;
	r->at += r->rec.number;
	r->counts.bytes += r->rec.number;
	if (!r->bad && ftruncate(r->part.fd, (off_t)r->at) < 0)
		problem(r, errno, strerror(errno), false);
}

static int on_end(struct cube_receiver *r, struct cube_err *err) {
	const char *message;

	if (r->over) return 0;
	if (!r->in_file || r->from)
		return cube_fail(err, CUBE_EPROTO, "copy: the end of a file out of place");
	r->in_file = false;
	if (r->bad || !r->rec.flag) {
		part_remove(&r->part);
		return 0;
	}
	message = part_finish(&r->part, r->mode, r->mtime);
	if (message) problem(r, errno, message, false);
	else r->counts.files++;
	return 0;
}

static void on_link(struct cube_receiver *r) {
	const char *message;

	if (r->lost || r->over) return;
	message = part_link(r->level[r->depth - 1].fd, r->rec.name, r->salt++, r->rec.text,
			    r->rec.mtime);
	if (message) problem(r, errno, message, false);
	else r->counts.files++;
}

/* ---- the stream --------------------------------------------------------------------------- */

static int on_begin(struct cube_receiver *r, struct cube_err *err) {
	if (r->begun) return cube_fail(err, CUBE_EPROTO, "copy: a second beginning");
	r->begun = true;
	r->again = r->rec.flag & 1;
	r->counts.total_files = r->rec.more;
	r->counts.total_bytes = r->rec.number;
	return 0;
}

static int on_done(struct cube_receiver *r, struct cube_err *err) {
	if (r->over) return 0;
	if (!r->begun || r->in_file || r->depth > 1 || r->lost)
		return cube_fail(err, CUBE_EPROTO, "copy: an end out of place");
	put(r, REC_REPLY_DONE);
	r->over = true;
	return 0;
}

static int on_record(struct cube_receiver *r, struct cube_err *err) {
	int rc = 0;

	switch (r->rec.type) {
	case REC_BEGIN: return on_begin(r, err);
	case REC_DIR:
	case REC_FILE:
	case REC_LINK:
		if (!r->over) rc = begin_entry(r, err);
		if (rc < 0) return rc;
		if (r->rec.type == REC_DIR) on_dir(r);
		else if (r->rec.type == REC_FILE) on_file(r);
		else on_link(r);
		return 0;
	case REC_UP: return on_up(r, err);
	case REC_FROM: return on_from(r, err);
	case REC_HOLE:
		rc = on_contents(r, r->rec.number, err);
		if (rc == 0) on_hole(r);
		return rc;
	case REC_DATA:
		rc = on_contents(r, r->rec.length, err);
		r->data_left = r->rec.length;
		return rc;
	case REC_END: return on_end(r, err);
	case REC_PROBLEM:
		r->counts.problems++;
		if (r->config.problem) r->config.problem(r->config.arg, r->rec.text, r->rec.name);
		return 0;
	case REC_DONE: return on_done(r, err);
	default:
		return cube_fail(err, CUBE_EPROTO, "copy: a record of type %d from the sender",
				 r->rec.type);
	}
}

int cube_receiver_feed(struct cube_receiver *r, const void *bytes, size_t n, size_t *ret_used,
		       struct cube_err *err) {
	const uint8_t *p = bytes;
	size_t at = 0, used;
	int rc = 0;

	if (r->hashing) step_hash(r);
	while (rc == 0 && at < n && !r->hashing && cube_buf_len(&r->out) <= OUT_HIGH) {
		if (r->data_left > 0) {
			at += on_data(r, p + at, n - at);
			continue;
		}
		rc = record_read(&r->reader, p + at, n - at, &r->rec, &used, err);
		if (rc >= 0) at += used;
		if (rc == 0) rc = on_record(r, err);
		else if (rc == CUBE_AGAIN) break;
	}
	if (rc < 0) return rc;
	*ret_used = at;
	return 0;
}

bool cube_receiver_busy(const struct cube_receiver *r) {
	return r->hashing;
}

struct cube_buf *cube_receiver_out(struct cube_receiver *r) {
	return &r->out;
}

bool cube_receiver_done(const struct cube_receiver *r) {
	return r->over;
}

const struct cube_copy_counts *cube_receiver_counts(const struct cube_receiver *r) {
	return &r->counts;
}

void cube_receiver_free(struct cube_receiver *r) {
	if (!r) return;
	part_close(&r->part);
	while (r->depth > 0) leave_level(r);
	cube_buf_done(&r->out);
	free((void *)(uintptr_t)r->config.dest);
	free(r);
}
