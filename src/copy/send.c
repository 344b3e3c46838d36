#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/copy.h"
#include "cube/format.h"
#include "cube/mem.h"
#include "cube/sha256.h"
#include "part.h"
#include "record.h"
#include "walk.h"

enum {
	FILL = 96 << 10,                 /* small records are gathered up to here */
	PIECE = (256 << 10) - DATA_HEAD, /* with its record's head 256 KiB */
	TELLS_NO_SIZE = 1 << 20,         /* files of /proc: so much of them at most */
};

enum sending {
	SEND_START,
	SEND_WALK,
	SEND_ASK,   /* the file is announced; HAVE is to come */
	SEND_CHECK, /* hashing what the receiver has */
	SEND_BEGIN, /* at have */
	SEND_FILE,
	SEND_OVER, /* DONE was sent, or a fatal problem came */
	SEND_DONE,
};

struct cube_sender {
	struct cube_sender_config config;
	struct cube_copy_counts counts;
	enum sending state;
	struct walk walk;
	struct record_reader reader;
	struct record rec; /* scratch, for either direction */
	struct cube_buf out;
	int fd; /* the file that is being sent, or -1 */
	uint64_t entry, size, offset, data_end;
	int64_t mtime;
	bool sparse;
	uint64_t have, hashed; /* what the receiver has of it */
	struct cube_sha256 hash;
	uint8_t theirs[CUBE_SHA256_LEN];
	bool told;    /* theirs has come */
	bool give_up; /* the receiver has a problem with the file */
};

static void put(struct cube_sender *s, uint8_t type) {
	s->rec.type = type;
	/* out has room for any record while it is below FILL; without memory nothing goes on */
	if (record_put(&s->out, &s->rec) < 0) abort();
}

/* DIR, FILE or LINK. */
static void announce(struct cube_sender *s, uint8_t type) {
	s->entry++;
	put(s, type);
}

static void problem(struct cube_sender *s, const char *message) {
	s->counts.problems++;
	s->rec.entry = s->entry;
	s->rec.flag = 0;
	cube_format(s->rec.name, sizeof s->rec.name, "%s", message);
	cube_format(s->rec.text, sizeof s->rec.text, "%s", s->walk.path);
	put(s, REC_PROBLEM);
	if (s->config.problem) s->config.problem(s->config.arg, s->walk.path, message);
}

struct cube_sender *cube_sender_new(const struct cube_sender_config *config) {
	struct cube_sender *s = cube_alloc(sizeof *s);

	s->config = *config;
	s->walk.paths = config->paths;
	s->walk.n = config->n;
	s->fd = -1;
	cube_buf_init(&s->out, FILL + (400 << 10));
	s->counts.total_files = config->total_files;
	s->counts.total_bytes = config->total_bytes;
	return s;
}

static void step_start(struct cube_sender *s) {
	s->rec.flag = s->config.again;
	s->rec.more = s->config.total_files;
	s->rec.number = s->config.total_bytes;
	if (cube_buf_add(&s->out, PREAMBLE, PREAMBLE_LEN) < 0) abort();
	put(s, REC_BEGIN);
	s->state = SEND_WALK;
}

static void close_file(struct cube_sender *s) {
	if (s->fd >= 0) close(s->fd);
	s->fd = -1;
	s->state = SEND_WALK;
}

static void end_file(struct cube_sender *s, bool whole) {
	s->rec.flag = whole;
	put(s, REC_END);
	if (whole) s->counts.files++;
	close_file(s);
}

/* Tells one version of a file from another, and one file from another of that name. */
static uint64_t identity(const struct stat *st) {
	uint64_t what[3] = {(uint64_t)st->st_ino, (uint64_t)st->st_size, (uint64_t)part_mtime(st)};
	uint8_t digest[CUBE_SHA256_LEN];
	uint64_t id;

	cube_sha256_of(what, sizeof what, digest);
	memcpy(&id, digest, sizeof id);
	return id;
}

static void send_file(struct cube_sender *s, const struct walk_entry *e) {
	struct stat st;
	int fd = openat(e->dir, e->file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | e->follow);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		problem(s, fd < 0 ? strerror(errno) : "is no longer a file");
		if (fd >= 0) close(fd);
		return;
	}
	s->fd = fd;
	s->size = (uint64_t)st.st_size;
	s->offset = s->data_end = 0;
	s->sparse = (uint64_t)st.st_blocks * 512 < s->size;
	s->rec.mode = st.st_mode & 0777;
	s->rec.mtime = s->mtime = part_mtime(&st);
	s->rec.number = s->size;
	s->rec.more = identity(&st);
	s->told = s->give_up = false;
	announce(s, REC_FILE);
	s->state = s->size > CUBE_COPY_RESUMES ? SEND_ASK : SEND_FILE;
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

static void send_link(struct cube_sender *s, const struct walk_entry *e) {
	ssize_t n = readlinkat(e->dir, e->file, s->rec.text, sizeof s->rec.text);

	if (n < 0 || (size_t)n == sizeof s->rec.text) {
		problem(s, strerror(n < 0 ? errno : ENAMETOOLONG));
		return;
	}
	s->rec.text[n] = '\0';
	announce(s, REC_LINK);
	s->counts.files++;
}

static void send_entry(struct cube_sender *s, const struct walk_entry *e) {
	const char *message;

	memcpy(s->rec.name, e->name, sizeof s->rec.name);
	s->rec.mode = e->st.st_mode & 0777;
	s->rec.mtime = part_mtime(&e->st);
	if (S_ISREG(e->st.st_mode)) {
		send_file(s, e);
	} else if (S_ISLNK(e->st.st_mode)) {
		send_link(s, e);
	} else if (!S_ISDIR(e->st.st_mode)) {
		problem(s, "is no file, folder or link");
	} else if ((message = walk_enter(&s->walk, e))) {
		problem(s, message);
	} else {
		announce(s, REC_DIR);
	}
}

static void step_walk(struct cube_sender *s) {
	struct walk_entry e;

	switch (walk_next(&s->walk, &e)) {
	case WALK_ENTRY: send_entry(s, &e); break;
	case WALK_UP: put(s, REC_UP); break;
	case WALK_PROBLEM: problem(s, e.message); break;
	case WALK_END:
		put(s, REC_DONE);
		s->state = SEND_OVER;
		break;
	}
}

static void step_begin(struct cube_sender *s) {
	s->rec.number = s->offset = s->data_end = s->have;
	s->counts.bytes += s->have;
	put(s, REC_FROM);
	s->state = SEND_FILE;
}

/* A bounded piece of the hash of what the receiver has. */
static void step_check(struct cube_sender *s) {
	uint8_t *space, digest[CUBE_SHA256_LEN];
	uint64_t left = s->have - s->hashed;
	ssize_t n = 0;

	if (left > 0) {
		if (cube_buf_reserve(&s->out, PIECE, &space) < 0) abort();
		n = pread(s->fd, space, left < PIECE ? left : PIECE, (off_t)s->hashed);
		if (n > 0) {
			cube_sha256_update(&s->hash, space, (size_t)n);
			s->hashed += (uint64_t)n;
			return;
		}
		/* what cannot be read matches nothing: it begins anew, and is told then */
		cube_sha256_update(&s->hash, "", 1);
		s->hashed = s->have;
	}
	if (!s->told) return; /* waits for theirs */
	cube_sha256_final(&s->hash, digest);
	if (memcmp(digest, s->theirs, sizeof digest) != 0) s->have = 0;
	s->state = SEND_BEGIN;
}

static void send_hole(struct cube_sender *s, uint64_t end) {
	s->rec.number = end - s->offset;
	s->counts.bytes += end - s->offset;
	s->offset = end;
	put(s, REC_HOLE);
}

/* Finds the next run of data; true where a hole was sent. */
static bool skip_hole(struct cube_sender *s) {
	off_t data = lseek(s->fd, (off_t)s->offset, SEEK_DATA), hole;
	struct stat st;

	/* nothing but a hole, unless the file has lost its end: reading finds that out */
	if (data < 0 && errno == ENXIO && fstat(s->fd, &st) == 0 && st.st_size == (off_t)s->size)
		data = st.st_size;
	hole = data < 0 || (uint64_t)data >= s->size ? -1 : lseek(s->fd, data, SEEK_HOLE);
	s->data_end = hole < 0 || (uint64_t)hole > s->size ? s->size : (uint64_t)hole;
	/* punched there since the first look: it is read as any other bytes */
	if (s->data_end <= s->offset) s->data_end = s->size;
	if (data <= 0 || (uint64_t)data <= s->offset) return false;
	send_hole(s, (uint64_t)data < s->size ? (uint64_t)data : s->size);
	return true;
}

/* Nothing can be read at an offset before the size. Files of /sys say more than they have; others
 * lost their end while they were read, if only for a moment. */
static bool is_end(const struct cube_sender *s) {
	struct stat st;

	return fstat(s->fd, &st) == 0 && (uint64_t)st.st_size == s->size &&
	       part_mtime(&st) == s->mtime;
}

static void step_file(struct cube_sender *s) {
	uint64_t end = s->size ? s->size : TELLS_NO_SIZE;
	uint8_t *space;
	ssize_t n;

	if (s->offset >= end || s->give_up) {
		end_file(s, !s->give_up);
		return;
	}
	if (s->sparse && s->offset >= s->data_end && skip_hole(s)) return;
	if (s->sparse) end = s->data_end;
	if (cube_buf_reserve(&s->out, DATA_HEAD + PIECE, &space) < 0) abort();
	end -= s->offset;
	n = pread(s->fd, space + DATA_HEAD, end < PIECE ? end : PIECE, (off_t)s->offset);
	if (n > 0) {
		record_data_head(space, (uint32_t)n);
		cube_buf_commit(&s->out, DATA_HEAD + (size_t)n);
		s->offset += (uint64_t)n;
		s->counts.bytes += (uint64_t)n;
		s->counts.moved += (uint64_t)n;
		return;
	}
	if (n < 0) problem(s, strerror(errno));
	else if (!is_end(s)) problem(s, "became shorter while it was copied"), n = -1;
	end_file(s, n == 0);
}

/* A step that adds to out, or gets on otherwise; false where the receiver has to be heard. */
static bool step(struct cube_sender *s) {
	switch (s->state) {
	case SEND_START: step_start(s); return true;
	case SEND_WALK: step_walk(s); return true;
	case SEND_CHECK:
		step_check(s);
		return s->state != SEND_CHECK || s->told || s->hashed < s->have;
	case SEND_BEGIN: step_begin(s); return true;
	case SEND_FILE: step_file(s); return true;
	default: return false;
	}
}

int cube_sender_next(struct cube_sender *s, struct cube_slice *ret) {
	bool on = true;

	if (cube_buf_len(&s->out) == 0) {
		/* steps of a check give no bytes: one a call */
		bool check = s->state == SEND_CHECK;
		do on = step(s);
		while (on && !check && s->state != SEND_CHECK && cube_buf_len(&s->out) < FILL);
	}
	*ret = (struct cube_slice){cube_buf_data(&s->out), cube_buf_len(&s->out)};
	return ret->n || on ? 0 : CUBE_AGAIN;
}

void cube_sender_sent(struct cube_sender *s, size_t n) {
	cube_buf_consume(&s->out, n);
}

static int on_have(struct cube_sender *s, struct cube_err *err) {
	if (s->state != SEND_ASK || s->rec.entry != s->entry) return 0; /* given up meanwhile */
	if (s->rec.number == RECORD_NONE) {
		s->counts.bytes += s->size;
		close_file(s);
		return 0;
	}
	if (s->rec.number > s->size)
		return cube_fail(err, CUBE_EPROTO, "copy: the receiver has more than the file");
	s->have = s->rec.number;
	s->hashed = 0;
	cube_sha256_init(&s->hash);
	s->state = s->have ? SEND_CHECK : SEND_BEGIN;
	return 0;
}

static void on_problem(struct cube_sender *s) {
	bool fatal = s->rec.flag;
	uint64_t entry = s->rec.entry;

	s->counts.problems++;
	if (s->config.problem) s->config.problem(s->config.arg, s->rec.text, s->rec.name);
	if (fatal) {
		close_file(s);
		s->state = SEND_OVER;
	} else if (entry == s->entry && s->state == SEND_FILE) {
		s->give_up = true;
	}
}

static int on_record(struct cube_sender *s, struct cube_err *err) {
	switch (s->rec.type) {
	case REC_HAVE: return on_have(s, err);
	case REC_HASH:
		if (s->rec.entry != s->entry) return 0;
		memcpy(s->theirs, s->rec.hash, sizeof s->theirs);
		s->told = true;
		return 0;
	case REC_REPLY_PROBLEM: on_problem(s); return 0;
	case REC_REPLY_DONE:
		if (s->state != SEND_OVER)
			return cube_fail(err, CUBE_EPROTO,
					 "copy: the receiver is done before all was sent");
		close_file(s);
		s->state = SEND_DONE;
		return 0;
	default:
		return cube_fail(err, CUBE_EPROTO, "copy: a record of type %d from the receiver",
				 s->rec.type);
	}
}

int cube_sender_feed(struct cube_sender *s, const void *bytes, size_t n, struct cube_err *err) {
	const uint8_t *p = bytes;
	size_t used;
	int rc;

	while (n > 0 && s->state != SEND_DONE) {
		rc = record_read(&s->reader, p, n, &s->rec, &used, err);
		if (rc < 0) return rc;
		p += used;
		n -= used;
		if (rc == 0) rc = on_record(s, err);
		if (rc < 0) return rc;
	}
	return 0;
}

bool cube_sender_done(const struct cube_sender *s) {
	return s->state == SEND_DONE;
}

const struct cube_copy_counts *cube_sender_counts(const struct cube_sender *s) {
	return &s->counts;
}

void cube_sender_free(struct cube_sender *s) {
	if (!s) return;
	close_file(s);
	walk_done(&s->walk);
	cube_buf_done(&s->out);
	free(s);
}
