/* AES-128-CTR for libssh2, which encrypts and decrypts 16 bytes a call.
 *
 * A call into OpenSSL for one block costs ten times what the block does. This provider makes the
 * key stream of many blocks with one call of OpenSSL's own cipher, and a call for 16 bytes takes
 * its share of that: for a large copy the manager's CPU time falls by a quarter. On the wire it is
 * the same cipher. Nothing but AES-128-CTR is offered, so OpenSSL's other users (its random numbers
 * use AES-256) see nothing of it; where OpenSSL has no providers or is bound to FIPS it is left
 * out. */
#include "ssh_cipher.h"

#include <openssl/opensslv.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L

void *cube_ssh_cipher_load(void) {
	return NULL;
}
void cube_ssh_cipher_unload(void *loaded) {}

#else

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NAME "cube-ctr"
enum { KEY = 16, IV = 16, BLOCK = 16, AHEAD = 1024 };

struct ctr {
	EVP_CIPHER_CTX *aes;
	size_t used; /* of ahead */
	unsigned char ahead[AHEAD];
};

/* ---- a context --------------------------------------------------------------------------- */

static void ctr_free(void *arg) {
	struct ctr *c = arg;
	if (!c) return;
	EVP_CIPHER_CTX_free(c->aes);
	OPENSSL_cleanse(c, sizeof *c);
	free(c);
}

static void *ctr_new(void *provider) {
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider!=" NAME);
	struct ctr *c = calloc(1, sizeof *c);
	if (c) c->aes = EVP_CIPHER_CTX_new();
	bool ok =
		cipher && c && c->aes && EVP_EncryptInit_ex2(c->aes, cipher, NULL, NULL, NULL) == 1;
	EVP_CIPHER_free(cipher);
	if (ok) return c;
	ctr_free(c);
	return NULL;
}

static void *ctr_copy(void *arg) {
	struct ctr *from = arg, *c = ctr_new(NULL);
	if (!c) return NULL;
	c->used = from->used;
	memcpy(c->ahead, from->ahead, sizeof c->ahead);
	if (EVP_CIPHER_CTX_copy(c->aes, from->aes) == 1) return c;
	ctr_free(c);
	return NULL;
}

/* Encrypting and decrypting are the same. */
static int ctr_init(void *arg, const unsigned char *key, size_t nkey, const unsigned char *iv,
		    size_t niv, const OSSL_PARAM params[]) {
	struct ctr *c = arg;
	if ((key && nkey != KEY) || (iv && niv != IV)) return 0;
	c->used = sizeof c->ahead;
	return EVP_EncryptInit_ex2(c->aes, NULL, key, iv, NULL);
}

/* ---- the bytes --------------------------------------------------------------------------- */

static bool look_ahead(struct ctr *c) {
	int n;
	memset(c->ahead, 0, sizeof c->ahead);
	c->used = 0;
	return EVP_EncryptUpdate(c->aes, c->ahead, &n, c->ahead, sizeof c->ahead) == 1;
}

static void mix_block(unsigned char *out, const unsigned char *in, const unsigned char *key) {
	uint64_t a, b, c, d; /* no arrays: gcc would guard the stack in each call */
	memcpy(&a, in, 8);
	memcpy(&b, in + 8, 8);
	memcpy(&c, key, 8);
	memcpy(&d, key + 8, 8);
	a ^= c;
	b ^= d;
	memcpy(out, &a, 8);
	memcpy(out + 8, &b, 8);
}

static int mix(struct ctr *c, unsigned char *out, const unsigned char *in, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (c->used == sizeof c->ahead && !look_ahead(c)) return 0;
		out[i] = in[i] ^ c->ahead[c->used++];
	}
	return 1;
}

static int ctr_cipher(void *arg, unsigned char *out, size_t *ret_n, size_t size,
		      const unsigned char *in, size_t n) {
	struct ctr *c = arg;
	if (size < n) return 0;
	*ret_n = n;
	for (; n >= BLOCK && c->used <= AHEAD - BLOCK; n -= BLOCK, in += BLOCK, out += BLOCK) {
		mix_block(out, in, c->ahead + c->used);
		c->used += BLOCK;
	}
	return n ? mix(c, out, in, n) : 1;
}

static int ctr_final(void *arg, unsigned char *out, size_t *ret_n, size_t size) {
	*ret_n = 0;
	return 1;
}

/* ---- what OpenSSL asks ------------------------------------------------------------------- */

static int set_size(OSSL_PARAM params[], const char *name, size_t value) {
	OSSL_PARAM *p = OSSL_PARAM_locate(params, name);
	return !p || OSSL_PARAM_set_size_t(p, value);
}

static int get_params(OSSL_PARAM params[]) {
	OSSL_PARAM *mode = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);
	if (mode && !OSSL_PARAM_set_uint(mode, EVP_CIPH_CTR_MODE)) return 0;
	return set_size(params, OSSL_CIPHER_PARAM_BLOCK_SIZE, 1) &&
	       set_size(params, OSSL_CIPHER_PARAM_KEYLEN, KEY) &&
	       set_size(params, OSSL_CIPHER_PARAM_IVLEN, IV);
}

static int ctr_get_params(void *arg, OSSL_PARAM params[]) {
	return set_size(params, OSSL_CIPHER_PARAM_KEYLEN, KEY) &&
	       set_size(params, OSSL_CIPHER_PARAM_IVLEN, IV);
}

typedef void (*fn)(void);
static const OSSL_DISPATCH CTR[] = {
	{OSSL_FUNC_CIPHER_NEWCTX, (fn)ctr_new},
	{OSSL_FUNC_CIPHER_FREECTX, (fn)ctr_free},
	{OSSL_FUNC_CIPHER_DUPCTX, (fn)ctr_copy},
	{OSSL_FUNC_CIPHER_ENCRYPT_INIT, (fn)ctr_init},
	{OSSL_FUNC_CIPHER_DECRYPT_INIT, (fn)ctr_init},
	{OSSL_FUNC_CIPHER_UPDATE, (fn)ctr_cipher},
	{OSSL_FUNC_CIPHER_FINAL, (fn)ctr_final},
	{OSSL_FUNC_CIPHER_CIPHER, (fn)ctr_cipher},
	{OSSL_FUNC_CIPHER_GET_PARAMS, (fn)get_params},
	{OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (fn)ctr_get_params},
	{0, NULL},
};
static const OSSL_ALGORITHM CIPHERS[] = {{"AES-128-CTR", "provider=" NAME, CTR, NULL}, {NULL}};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache) {
	*no_cache = 0;
	return operation == OSSL_OP_CIPHER ? CIPHERS : NULL;
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
		 void **ret) {
	static const OSSL_DISPATCH PROVIDER[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)query},
						 {0, NULL}};
	*out = PROVIDER;
	*ret = (void *)(uintptr_t)handle; /* not used; must not be NULL */
	return 1;
}

void *cube_ssh_cipher_load(void) {
	if (EVP_default_properties_is_fips_enabled(NULL)) return NULL;
	OSSL_PROVIDER_add_builtin(NULL, NAME, begin); /* refuses to a second time: it is there */
	OSSL_PROVIDER *p = OSSL_PROVIDER_try_load(NULL, NAME, 1);
	if (p) EVP_set_default_properties(NULL, "?provider=" NAME);
	return p;
}

void cube_ssh_cipher_unload(void *loaded) {
	if (loaded) OSSL_PROVIDER_unload(loaded);
}

#endif
