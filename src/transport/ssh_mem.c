/* libssh2's memory, kept in a list a connection: a session that is freed in the middle of a key
 * exchange or a login forgets some of it (1.10 and newer), and we end sessions at any moment. */
#include <stdlib.h>

#include "cube/list.h"
#include "ssh_priv.h"

struct block {
	struct cube_link link;
	_Alignas(max_align_t) uint8_t bytes[];
};

static struct block *block_of(void *ptr) {
	return cube_container((uint8_t *)ptr, struct block, bytes);
}

/* *abstract is the connection. May fail: peers size some of these. */
static LIBSSH2_ALLOC_FUNC(give) {
	struct ssh_conn *c = *abstract;
	if (count > SIZE_MAX - sizeof(struct block)) return NULL;
	struct block *b = malloc(sizeof *b + count);
	if (!b) return NULL;
	cube_list_append(&c->memory, &b->link);
	return b->bytes;
}

static LIBSSH2_FREE_FUNC(take_back) {
	if (!ptr) return;
	struct block *b = block_of(ptr);
	cube_list_remove(&b->link);
	free(b);
}

static LIBSSH2_REALLOC_FUNC(resize) {
	struct ssh_conn *c = *abstract;
	if (!ptr) return give(count, abstract);
	if (count > SIZE_MAX - sizeof(struct block)) return NULL;
	struct block *b = block_of(ptr), *moved;
	cube_list_remove(&b->link);
	moved = realloc(b, sizeof *b + count);
	cube_list_append(&c->memory, moved ? &moved->link : &b->link);
	return moved ? moved->bytes : NULL;
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
	cube_list_each (&c->memory, b, struct block, link) free(b);
	cube_list_init(&c->memory);
}
