#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/log.h"
#include "cube/mem.h"
#include "cube/sha256.h"
#include "cube/files.h"
#include "push.h"
#include "work_impl.h"

struct cube_push {
	struct cube_list entry; /* in cube_node.files, in the order of sending */
	uint8_t sha256[CUBE_SHA256_LEN];
	int fd; /* -1: all of it was sent */
	uint64_t size, sent;
	bool announced, stored; /* stored: the worker said so */
	bool hashing;           /* of the content: it may have been changed here */
	struct cube_sha256 hash;
	struct cube_file_mark mark;
	struct cube_buf after; /* frames that need it and those before it */
};

static void push_free(struct cube_push *p) {
	cube_list_remove(&p->entry);
	if (p->fd >= 0) close(p->fd);
	cube_buf_done(&p->after);
	free(p);
}

/* What was sent may have been lost with the link; only what the worker confirmed is there. */
void cube_push_reset(struct cube_node *node, bool forget_all) {
	cube_list_each (&cube_seat_of(node)->files, p, struct cube_push, entry) {
		if (forget_all || !p->stored) push_free(p);
	}
}

void cube_push_forget(struct cube_node *node, const struct cube_msg_file *files, uint32_t nfiles) {
	cube_list_each (&cube_seat_of(node)->files, p, struct cube_push, entry) {
		if (p->stored && cube_push_among(p->sha256, files, nfiles)) push_free(p);
	}
}

static struct cube_push *find(struct cube_node *node, const uint8_t *sha256) {
	cube_list_each (&cube_seat_of(node)->files, p, struct cube_push, entry) {
		if (memcmp(p->sha256, sha256, CUBE_SHA256_LEN) == 0) return p;
	}
	return NULL;
}

static int begin(struct cube_node *node, const uint8_t *sha256, struct cube_push **ret,
		 struct cube_err *err) {
	char hex[CUBE_SHA256_HEX];
	struct cube_file_open o;
	cube_sha256_hex(sha256, hex);
	int rc = cube_files_open(cube_seat_of(node)->work->is.files, hex, &o, err);
	if (rc) return rc;
	struct cube_push *p = cube_alloc(sizeof *p);
	memcpy(p->sha256, sha256, CUBE_SHA256_LEN);
	p->fd = o.fd;
	p->size = o.mark.size;
	p->mark = o.mark;
	p->hashing = !o.trusted;
	cube_sha256_init(&p->hash);
	cube_buf_init(&p->after, 64u << 20);
	cube_list_append(&cube_seat_of(node)->files, &p->entry);
	cube_node_flush_soon(node);
	*ret = p;
	return 0;
}

struct cube_buf *cube_push_need(struct cube_node *node, const struct cube_msg_file *files,
				uint32_t nfiles, struct cube_err *err) {
	for (uint32_t i = 0; i < nfiles; i++) {
		struct cube_push *p = find(node, files[i].sha256);
		if (!p && begin(node, files[i].sha256, &p, err) < 0) return NULL;
	}
	return cube_push_behind(node, files, nfiles);
}

bool cube_push_among(const uint8_t *sha256, const struct cube_msg_file *files, uint32_t nfiles) {
	for (uint32_t i = 0; i < nfiles; i++) {
		if (memcmp(sha256, files[i].sha256, CUBE_SHA256_LEN) == 0) return true;
	}
	return false;
}

/* They are sent one after the other, so the last one in that order decides. */
struct cube_buf *cube_push_behind(struct cube_node *node, const struct cube_msg_file *files,
				  uint32_t nfiles) {
	if (!nfiles) return cube_node_outbox(node);
	for (struct cube_list *l = cube_seat_of(node)->files.prev; l != &cube_seat_of(node)->files;
	     l = l->prev) {
		struct cube_push *p = cube_container(l, struct cube_push, entry);
		if (p->fd >= 0 && cube_push_among(p->sha256, files, nfiles)) return &p->after;
	}
	return cube_node_outbox(node);
}

size_t cube_push_waiting(const struct cube_node *node) {
	size_t n = 0;
	for (struct cube_list *l = cube_seat_of(node)->files.prev; l != &cube_seat_of(node)->files;
	     l = l->prev) {
		struct cube_push *p = cube_container(l, struct cube_push, entry);
		if (p->fd < 0) break; /* it and those before it are sent */
		n += cube_buf_len(&p->after);
	}
	return n;
}

/* A content was refused by the host (full disk) or is not to be had here: the tasks waiting for it
 * there will not start. */
static void refused(struct cube_node *node, const uint8_t *sha256, const char *why) {
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		const struct cube_spec *spec = &task->job->spec;
		if (task->row.state != CUBE_TASK_SCHEDULED) continue;
		if (!cube_push_among(sha256, spec->files, spec->nfiles)) continue;
		free(task->refused);
		task->refused = cube_strf("a file for it was refused: %s", why);
	}
}

/* No more of it is sent; what waits for it goes. */
static void finish(struct cube_node *node, struct cube_push *p) {
	close(p->fd);
	p->fd = -1;
	if (cube_buf_add(cube_node_outbox(node), cube_buf_data(&p->after), cube_buf_len(&p->after)))
		cube_node_choke(node);
	cube_buf_done(&p->after);
}

static struct cube_push *current(struct cube_node *node) {
	cube_list_each (&cube_seat_of(node)->files, p, struct cube_push, entry) {
		if (p->fd >= 0) return p;
	}
	return NULL;
}

/* At the last byte: whether it is what its name says. What is wrong the worker refuses as well. */
static int check(struct cube_node *node, struct cube_push *p, struct cube_err *err) {
	char hex[CUBE_SHA256_HEX];
	uint8_t digest[CUBE_SHA256_LEN];
	cube_sha256_hex(p->sha256, hex);
	cube_sha256_final(&p->hash, digest);
	if (memcmp(digest, p->sha256, sizeof digest) != 0)
		return cube_files_damaged(cube_seat_of(node)->work->is.files, hex, &p->mark, err);
	cube_files_checked(cube_seat_of(node)->work->is.files, hex, &p->mark);
	return 0;
}

/* The next piece into the outbox. */
static int piece(struct cube_node *node, struct cube_push *p, struct cube_err *err) {
	struct cube_msg msg = {.type = CUBE_MSG_PUSH, .push.size = p->size};
	if (!p->announced) {
		memcpy(msg.push.sha256, p->sha256, CUBE_SHA256_LEN);
		p->announced = true;
		cube_msg_encode(cube_node_outbox(node), &msg);
	}
	cube_autofree uint8_t *bytes = cube_alloc(CUBE_DATA_MAX);
	size_t want =
		p->size - p->sent < CUBE_DATA_MAX ? (size_t)(p->size - p->sent) : CUBE_DATA_MAX;
	ssize_t got = want ? pread(p->fd, bytes, want, (off_t)p->sent) : 0;
	if (got < 0) return cube_fail_sys(err, errno, "it cannot be read here");
	if (got == 0 && want) return check(node, p, err); /* it was cut short */
	if (p->hashing) cube_sha256_update(&p->hash, bytes, (size_t)got);
	msg = (struct cube_msg){.type = CUBE_MSG_PUSH_DATA};
	memcpy(msg.data.sha256, p->sha256, CUBE_SHA256_LEN);
	msg.data.offset = p->sent;
	msg.data.bytes = (struct cube_slice){bytes, (size_t)got};
	if (got && cube_msg_encode(cube_node_outbox(node), &msg))
		return cube_fail_sys(err, ENOMEM, "no room to send it");
	p->sent += (uint64_t)got;
	return p->hashing && p->sent == p->size ? check(node, p, err) : 0;
}

bool cube_push_pump(void *arg, struct cube_node *node) {
	struct cube_push *p = current(node);
	if (!p) return false;
	struct cube_err err;
	int rc = piece(node, p, &err);
	if (rc) {
		cube_warn("%s: a file is not pushed: %s", node->name, err.msg);
		refused(node, p->sha256, err.msg);
	}
	if (rc || p->sent == p->size) finish(node, p);
	if (rc) push_free(p);
	cube_node_outbox_out(node);
	return true;
}

/* A refused content (full disk) is sent again for the next task that needs it. */
int cube_push_message(void *arg, struct cube_node *node, const struct cube_msg *msg,
		      struct cube_err *err) {
	struct cube_push *p = find(node, msg->push.sha256);
	if (!p || !p->announced) return 0;
	if (msg->push.ok) {
		p->stored = true;
		if (p->fd >= 0) finish(node, p); /* it was there already */
		return 0;
	}
	cube_warn("%s: a pushed file was refused: %s", node->name, msg->push.message);
	refused(node, p->sha256, msg->push.message);
	if (p->fd >= 0) finish(node, p);
	push_free(p);
	return 0;
}
