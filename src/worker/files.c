#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/mem.h"
#include "files.h"
#include "folder.h"
#include "self.h"

enum { NAME_LEN = FILES_NAME_LEN, REMOVE_STEPS = 400 };

static void on_remove(void *arg);

static char *whole_name(const uint8_t *sha256, char name[NAME_LEN]) {
	memcpy(name, "files/", 6);
	cube_sha256_hex(sha256, name + 6);
	return name;
}

static char *half_name(const uint8_t *sha256, char name[NAME_LEN]) {
	memcpy(name, "files/.tmp.", 11);
	cube_sha256_hex(sha256, name + 11);
	return name;
}

void files_init(struct files *f, struct cube_loop *loop, const char *self,
		const char *node_cookie) {
	*f = (struct files){.loop = loop, .self = self, .node_cookie = node_cookie};
	f->remover = cube_timer_add(loop, on_remove, f);
	folder_remove(AT_FDCWD, "scratch", 0, NULL);
}

void files_done(struct files *f) {
	files_drop_pushes(f);
	cube_timer_del(f->remover);
	f->remover = NULL;
	free(f->known);
	f->known = NULL;
}

/* ---- whether a stored file is still what was stored ----------------------------------------- */

static struct files_seen *find_seen(struct files *f, const uint8_t *sha256) {
	for (size_t i = 0; i < f->nknown; i++)
		if (memcmp(f->known[i].sha256, sha256, CUBE_SHA256_LEN) == 0) return &f->known[i];
	return NULL;
}

static void see(const struct stat *st, const uint8_t *sha256, struct files_seen *ret) {
	memset(ret, 0, sizeof *ret);
	memcpy(ret->sha256, sha256, sizeof ret->sha256);
	ret->dev = st->st_dev;
	ret->ino = st->st_ino;
	ret->size = (uint64_t)st->st_size;
	ret->changed = st->st_ctim.tv_sec;
	ret->changed_ns = st->st_ctim.tv_nsec;
	ret->mode = st->st_mode;
}

bool files_known(struct files *f, const uint8_t *sha256, struct files_seen *ret) {
	const struct files_seen *known = find_seen(f, sha256);
	struct stat st = {0};
	char name[NAME_LEN];

	(void)!lstat(whole_name(sha256, name), &st); /* what is not there is not known */
	see(&st, sha256, ret);
	return known && memcmp(known, ret, sizeof *ret) == 0;
}

void files_note(struct files *f, const struct files_seen *seen) {
	struct files_seen *known = find_seen(f, seen->sha256);

	if (!known && f->nknown == f->known_max) {
		f->known_max = f->known_max ? 2 * f->known_max : 16;
		f->known = cube_realloc_array(f->known, f->known_max, sizeof *f->known);
	}
	if (!known) known = &f->known[f->nknown++];
	*known = *seen;
}

/* ---- PUSH --------------------------------------------------------------------------------- */

static struct files_push *find_push(struct files *f, const uint8_t *sha256) {
	for (int i = 0; i < FILES_PUSHES_MAX; i++) {
		struct files_push *p = &f->pushes[i];

		if (p->used && memcmp(p->sha256, sha256, CUBE_SHA256_LEN) == 0) return p;
	}
	return NULL;
}

static struct files_push *free_push(struct files *f) {
	for (int i = 0; i < FILES_PUSHES_MAX; i++)
		if (!f->pushes[i].used) return &f->pushes[i];
	return NULL;
}

static void end_push(struct files_push *p) {
	char name[NAME_LEN];

	if (p->fd >= 0) {
		close(p->fd);
		unlink(half_name(p->sha256, name));
	}
	p->fd = -1;
	p->used = false;
}

void files_drop_pushes(struct files *f) {
	for (int i = 0; i < FILES_PUSHES_MAX; i++)
		if (f->pushes[i].used) end_push(&f->pushes[i]);
}

/* sys: the errno behind the trouble, which is then with the folder that we are in. */
static int answer(struct cube_msg *reply, const uint8_t *sha256, const char *trouble, int sys) {
	char text[SELF_PATH];

	memset(reply, 0, sizeof *reply);
	reply->type = CUBE_MSG_PUSH_DONE;
	memcpy(reply->push.sha256, sha256, CUBE_SHA256_LEN);
	reply->push.ok = !trouble;
	if (trouble && sys)
		cube_format(reply->push.message, sizeof reply->push.message, "%s %.160s: %s",
			    trouble, folder_name(text, sizeof text) ? text : "the worker's folder",
			    cube_err_text(sys));
	else if (trouble)
		cube_format(reply->push.message, sizeof reply->push.message, "%s", trouble);
	return 1;
}

/* The push ends badly: the data still to come is dropped. */
static int refuse(struct files_push *p, struct cube_msg *reply, const char *trouble, int sys) {
	end_push(p);
	return answer(reply, p->sha256, trouble, sys);
}

static int complete(struct files *f, struct files_push *p, struct cube_msg *reply) {
	uint8_t digest[CUBE_SHA256_LEN];
	char half[NAME_LEN], whole[NAME_LEN];
	struct files_seen seen;
	struct stat st;

	cube_sha256_final(&p->hash, digest);
	if (memcmp(digest, p->sha256, sizeof digest) != 0)
		return refuse(p, reply, "the content has another hash", 0);
	if (fchmod(p->fd, 0400) < 0 ||
	    rename(half_name(p->sha256, half), whole_name(p->sha256, whole)) < 0 ||
	    fstat(p->fd, &st) < 0)
		return refuse(p, reply, "cannot store it in", errno);
	see(&st, p->sha256, &seen);
	files_note(f, &seen);
	close(p->fd);
	p->fd = -1;
	p->used = false;
	return answer(reply, p->sha256, NULL, 0);
}

/* The same content may be announced again while it comes: the later one starts anew. */
static struct files_push *new_push(struct files *f, const struct cube_msg *msg) {
	struct files_push *p = find_push(f, msg->push.sha256);

	if (p) end_push(p);
	else p = free_push(f);
	if (!p) return NULL;
	memset(p, 0, sizeof *p);
	p->used = true;
	p->fd = -1;
	p->size = msg->push.size;
	memcpy(p->sha256, msg->push.sha256, sizeof p->sha256);
	cube_sha256_init(&p->hash);
	return p;
}

int files_push(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
	       struct cube_err *err) {
	char name[NAME_LEN];
	struct stat st;
	struct files_push *p;

	if (lstat(whole_name(msg->push.sha256, name), &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == msg->push.size)
		return answer(reply, msg->push.sha256, NULL, 0);
	p = new_push(f, msg);
	if (!p) return answer(reply, msg->push.sha256, "too many files at a time", 0);
	if (mkdir("files", 0700) < 0 && errno != EEXIST)
		return refuse(p, reply, "cannot make a folder in", errno);
	p->fd = open(half_name(p->sha256, name),
		     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->fd < 0) return refuse(p, reply, "cannot make a file in", errno);
	return p->size ? 0 : complete(f, p, reply);
}

int files_push_data(struct files *f, const struct cube_msg *msg, struct cube_msg *reply,
		    struct cube_err *err) {
	struct files_push *p = find_push(f, msg->data.sha256);
	size_t n = msg->data.bytes.n;

	if (!p) return 0; /* answered already: it was here, or it failed */
	if (msg->data.offset != p->received)
		return cube_fail(err, CUBE_EPROTO, "PUSH_DATA at %" PRIu64 ", expected %" PRIu64,
				 msg->data.offset, p->received);
	if (n > p->size - p->received)
		return cube_fail(err, CUBE_EPROTO, "PUSH_DATA past the file's size");
	if (cube_write_all(p->fd, msg->data.bytes.p, n) < 0)
		return refuse(p, reply, "cannot write to", errno);
	cube_sha256_update(&p->hash, msg->data.bytes.p, n);
	p->received += n;
	return p->received == p->size ? complete(f, p, reply) : 0;
}

/* ---- scratch folders ----------------------------------------------------------------------- */

char *files_scratch_name(uint64_t task, uint32_t attempt, char name[FILES_SCRATCH_LEN]) {
	cube_format(name, FILES_SCRATCH_LEN, "scratch/%" PRIu64 ".%" PRIu32, task, attempt);
	return name;
}

/* Dead folders have numbers, so that the remover needs no list of them. */
static char *dead_name(unsigned n, char name[FILES_SCRATCH_LEN]) {
	cube_format(name, FILES_SCRATCH_LEN, "scratch/dead.%u", n);
	return name;
}

static void on_remove(void *arg) {
	struct files *f = arg;
	char name[FILES_SCRATCH_LEN];

	if (folder_remove(AT_FDCWD, dead_name(f->dead - 1, name), REMOVE_STEPS, NULL) != CUBE_AGAIN)
		f->dead--; /* gone, or stuck: then the daemon's end tries again */
	if (f->dead) cube_timer_after(f->remover, 0);
}

void files_scratch_remove(struct files *f, uint64_t task, uint32_t attempt) {
	char name[FILES_SCRATCH_LEN], dead[FILES_SCRATCH_LEN];

	files_scratch_name(task, attempt, name);
	if (folder_remove(AT_FDCWD, name, REMOVE_STEPS, NULL) == 0) return;
	if (rename(name, dead_name(f->dead, dead)) < 0) return;
	f->dead++;
	cube_timer_after(f->remover, 0);
}
