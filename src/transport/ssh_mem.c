/* libssh2's memory, kept in a list a connection: a session that is freed in the middle of a key
 * exchange or a login forgets some of it (1.10 and newer), and we end sessions at any moment.
 *
 * Until the login is over all of it is wiped as it is given back: passwords are in there. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "cube/list.h"
#include "ssh_priv.h"

struct block {
	struct cube_list entry;
	size_t size;
	_Alignas(max_align_t) uint8_t bytes[];
};

static struct block *block_of(void *ptr) {
	return cube_container((uint8_t *)ptr, struct block, bytes);
}

/* libssh2 1.11 with OpenSSL 3 takes two blocks for an ECDSA key in a file from here and gives them
 * back to libc: the point that it derives (gen_publickey_from_ec_evp), and the signature
 * (_libssh2_ecdsa_sign). They have to be libc's own; their sizes tell them. */
static bool is_ecdsa(size_t count) {
	enum { POINT_MAX = 133, SIG_256 = 72, SIG_384 = 104, SIG_521 = 139 };
	return count == POINT_MAX || count == SIG_256 || count == SIG_384 || count == SIG_521;
}

static void *give_loose(struct ssh_conn *c, size_t count) {
	c->loose = true;
	return malloc(count);
}

/* One of libc's own; others of that size may come back to us. */
static bool is_loose(const struct ssh_conn *c, const void *ptr) {
	if (!c->loose) return false;
	cube_list_each (&c->memory, b, struct block, entry)
		if (b->bytes == ptr) return false;
	return true;
}

/* *abstract is the connection. May fail: peers size some of these. */
static LIBSSH2_ALLOC_FUNC(give) {
	struct ssh_conn *c = *abstract;
	if (c->from_file && is_ecdsa(count)) return give_loose(c, count);
	if (count > SIZE_MAX - sizeof(struct block)) return NULL;
	struct block *b = malloc(sizeof *b + count);
	if (!b) return NULL;
	b->size = count;
	cube_list_append(&c->memory, &b->entry);
	return b->bytes;
}

static bool secret(const struct ssh_conn *c) {
	return c->state <= SSH_AUTH || c->state == SSH_FAILED;
}

static LIBSSH2_FREE_FUNC(take_back) {
	if (!ptr) return;
	if (is_loose(*abstract, ptr)) {
		explicit_bzero(ptr, malloc_usable_size(ptr));
		free(ptr);
		return;
	}
	struct block *b = block_of(ptr);
	cube_list_remove(&b->entry);
	if (secret(*abstract)) explicit_bzero(b->bytes, b->size);
	free(b);
}

static LIBSSH2_REALLOC_FUNC(resize) {
	struct ssh_conn *c = *abstract;
	if (!ptr) return give(count, abstract);
	if (count > SIZE_MAX - sizeof(struct block)) return NULL;
	struct block *b = block_of(ptr), *moved;
	bool loose = is_loose(c, ptr);
	if (loose || secret(c)) {
		size_t had = loose ? malloc_usable_size(ptr) : b->size;
		void *fresh = give(count, abstract);
		if (!fresh) return NULL;
		memcpy(fresh, ptr, had < count ? had : count);
		take_back(ptr, abstract);
		return fresh;
	}
	cube_list_remove(&b->entry);
	moved = realloc(b, sizeof *b + count);
	if (moved) moved->size = count;
	cube_list_append(&c->memory, moved ? &moved->entry : &b->entry);
	return moved ? moved->bytes : NULL;
}

void *cube_ssh_give_bytes(struct ssh_conn *c, const void *bytes, size_t n) {
	void *abstract = c;
	void *copy = give(n, &abstract);
	if (copy) memcpy(copy, bytes, n);
	return copy;
}

char *cube_ssh_give(struct ssh_conn *c, const char *text) {
	return cube_ssh_give_bytes(c, text, strlen(text) + 1);
}

LIBSSH2_SESSION *cube_ssh_session_new(struct ssh_conn *c) {
	cube_list_init(&c->memory);
	return libssh2_session_init_ex(give, take_back, resize, c);
}

void cube_ssh_session_free(struct ssh_conn *c) {
	if (!c->session) return;
	libssh2_session_free(c->session); /* its channel with it */
	c->session = NULL;
	c->channel = NULL;
	cube_list_each (&c->memory, b, struct block, entry) {
		if (secret(c)) explicit_bzero(b->bytes, b->size);
		free(b);
	}
	cube_list_init(&c->memory);
}
