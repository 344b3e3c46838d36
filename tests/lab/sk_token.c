/* A FIDO token in software, for tests: a provider of OpenSSH's security keys (SecurityKeyProvider),
 * which ssh-sk-helper loads. The real ssh-keygen, ssh and sshd do all the rest.
 *
 * The token lies in the folder of this very library:
 *
 *   pin      its PIN; not there: it has none
 *   finger   a named pipe: a signature that needs a touch waits until something is written to it;
 *            not there: the token is touched at once
 *   log      a line for each thing it did: "enroll", "sign", "touch", "pin", "wrong pin"
 *
 * A key handle is the private key itself: nothing is kept. The structures below are those of
 * OpenSSH's sk-api.h, API version 10 (OpenSSH 8.9 and later).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { API = 0x000a0000, ECDSA = 0, ED25519 = 1, TOUCH = 1, VERIFY = 4 };
enum { FAILED = -1, UNSUPPORTED = -2, PIN_REQUIRED = -3 };
enum { SECRET = 32, POINT = 65 };

struct sk_enroll_response {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct sk_sign_response {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

struct sk_option;
struct sk_resident_key;

uint32_t sk_api_version(void);
int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
	      uint8_t flags, const char *pin, struct sk_option **options,
	      struct sk_enroll_response **ret);
int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
	    const uint8_t *key_handle, size_t key_handle_len, uint8_t flags, const char *pin,
	    struct sk_option **options, struct sk_sign_response **ret);
int sk_load_resident_keys(const char *pin, struct sk_option **options,
			  struct sk_resident_key ***ret, size_t *ret_n);

/* ---- the folder --------------------------------------------------------------------------- */

static int open_beside(const char *name, int flags) {
	Dl_info self;
	char path[1024];
	if (!dladdr((void *)sk_api_version, &self)) return -1;
	const char *slash = strrchr(self.dli_fname, '/');
	int n = slash ? (int)(slash - self.dli_fname) : 0;
	snprintf(path, sizeof path, "%.*s/%s", n, self.dli_fname, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static void note(const char *what) {
	int fd = open_beside("log", O_WRONLY | O_CREAT | O_APPEND);
	if (fd < 0) return;
	dprintf(fd, "%s\n", what);
	close(fd);
}

static void wait_for_touch(void) {
	char byte;
	int fd = open_beside("finger", O_RDONLY); /* returns when somebody writes */
	if (fd >= 0) {
		ssize_t n = read(fd, &byte, 1);
		(void)n;
		close(fd);
	}
	note("touch");
}

static int check_pin(const char *pin) {
	char right[64] = "";
	int fd = open_beside("pin", O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, right, sizeof right - 1);
	if (fd >= 0) close(fd);
	if (!pin) return PIN_REQUIRED;
	right[n > 0 ? n : 0] = 0;
	right[strcspn(right, "\n")] = 0;
	if (!*right || strcmp(pin, right) != 0) {
		note("wrong pin");
		return PIN_REQUIRED;
	}
	note("pin");
	return 0;
}

/* ---- keys --------------------------------------------------------------------------------- */

static EVP_PKEY *ed25519_key(const uint8_t secret[SECRET]) {
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, SECRET);
}

/* The public point is the secret times the generator. */
static int ec_point(const BIGNUM *secret, uint8_t point[POINT]) {
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *p = group ? EC_POINT_new(group) : NULL;
	int ok = p && EC_POINT_mul(group, p, secret, NULL, NULL, NULL) &&
		 EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, point, POINT, NULL) ==
			 POINT;
	EC_POINT_free(p);
	EC_GROUP_free(group);
	return ok;
}

static EVP_PKEY *ec_key(const BIGNUM *secret, const uint8_t point[POINT]) {
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	if (ctx && build &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret) &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, POINT))
		params = OSSL_PARAM_BLD_to_param(build);
	if (params && EVP_PKEY_fromdata_init(ctx) > 0 &&
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) <= 0)
		key = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *ecdsa_key(const uint8_t secret[SECRET]) {
	uint8_t point[POINT];
	BIGNUM *number = BN_bin2bn(secret, SECRET, NULL);
	EVP_PKEY *key = number && ec_point(number, point) ? ec_key(number, point) : NULL;
	BN_clear_free(number);
	return key;
}

static int new_ecdsa(uint8_t secret[SECRET]) {
	BIGNUM *number = NULL;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	int ok = key && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number) &&
		 BN_bn2binpad(number, secret, SECRET) == SECRET;
	BN_clear_free(number);
	EVP_PKEY_free(key);
	return ok;
}

static int new_ed25519(uint8_t secret[SECRET]) {
	size_t n = SECRET;
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	int ok = key && EVP_PKEY_get_raw_private_key(key, secret, &n) && n == SECRET;
	EVP_PKEY_free(key);
	return ok;
}

/* A fresh public key; the number of its bytes, 0 on failure. */
static size_t public_of(uint32_t alg, const uint8_t secret[SECRET], uint8_t point[POINT]) {
	size_t n = POINT;
	if (alg == ECDSA) {
		BIGNUM *number = BN_bin2bn(secret, SECRET, NULL);
		int ok = number && ec_point(number, point);
		BN_clear_free(number);
		return ok ? n : 0;
	}
	EVP_PKEY *key = ed25519_key(secret);
	if (!key || !EVP_PKEY_get_raw_public_key(key, point, &n)) n = 0;
	EVP_PKEY_free(key);
	return n;
}

/* ---- signatures --------------------------------------------------------------------------- */

static void *copy(const void *bytes, size_t n) {
	void *p = malloc(n);
	if (p) memcpy(p, bytes, n);
	return p;
}

/* Of DER's two numbers, the bytes of each. */
static int split(const uint8_t *der, size_t n, struct sk_sign_response *r) {
	const ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	if (!sig) return FAILED;
	const BIGNUM *v[2] = {ECDSA_SIG_get0_r(sig), ECDSA_SIG_get0_s(sig)};
	r->sig_r_len = (size_t)BN_num_bytes(v[0]);
	r->sig_s_len = (size_t)BN_num_bytes(v[1]);
	r->sig_r = malloc(r->sig_r_len);
	r->sig_s = malloc(r->sig_s_len);
	if (r->sig_r && r->sig_s) {
		BN_bn2bin(v[0], r->sig_r);
		BN_bn2bin(v[1], r->sig_s);
	}
	ECDSA_SIG_free((ECDSA_SIG *)sig);
	return r->sig_r && r->sig_s ? 0 : FAILED;
}

static int sign_with(EVP_PKEY *key, uint32_t alg, const uint8_t *bytes, size_t n,
		     struct sk_sign_response *r) {
	uint8_t sig[128];
	size_t len = sizeof sig;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *md = alg == ECDSA ? EVP_sha256() : NULL;
	int ok = key && ctx && EVP_DigestSignInit(ctx, NULL, md, NULL, key) > 0 &&
		 EVP_DigestSign(ctx, sig, &len, bytes, n) > 0;
	EVP_MD_CTX_free(ctx);
	if (!ok) return FAILED;
	if (alg == ECDSA) return split(sig, len, r);
	r->sig_r = copy(sig, len);
	r->sig_r_len = len;
	return r->sig_r ? 0 : FAILED;
}

/* What a token signs: the application's hash, flags, counter, the message's hash. */
static void signed_bytes(const char *application, const struct sk_sign_response *r,
			 const uint8_t *data, size_t n, uint8_t out[2 * SHA256_DIGEST_LENGTH + 5]) {
	SHA256((const uint8_t *)application, strlen(application), out);
	out += SHA256_DIGEST_LENGTH;
	*out++ = r->flags;
	for (int shift = 24; shift >= 0; shift -= 8) *out++ = (uint8_t)(r->counter >> shift);
	SHA256(data, n, out);
}

/* ---- the interface ------------------------------------------------------------------------ */

uint32_t sk_api_version(void) {
	return API;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
	      uint8_t flags, const char *pin, struct sk_option **options,
	      struct sk_enroll_response **ret) {
	uint8_t secret[SECRET], point[POINT];
	if (alg != ECDSA && alg != ED25519) return UNSUPPORTED;
	if ((flags & VERIFY) && check_pin(pin) < 0) return PIN_REQUIRED;
	if (!(alg == ECDSA ? new_ecdsa(secret) : new_ed25519(secret))) return FAILED;
	size_t n = public_of(alg, secret, point);
	struct sk_enroll_response *r = n ? calloc(1, sizeof *r) : NULL;
	if (!r) return FAILED;
	r->flags = flags;
	r->public_key = copy(point, n);
	r->public_key_len = n;
	r->key_handle = copy(secret, SECRET);
	r->key_handle_len = SECRET;
	r->signature = copy("", 1); /* nobody asks who made this token */
	r->attestation_cert = copy("", 1);
	r->authdata = copy("", 1);
	note("enroll");
	*ret = r;
	return 0;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
	    const uint8_t *key_handle, size_t key_handle_len, uint8_t flags, const char *pin,
	    struct sk_option **options, struct sk_sign_response **ret) {
	uint8_t bytes[2 * SHA256_DIGEST_LENGTH + 5];
	if ((alg != ECDSA && alg != ED25519) || key_handle_len != SECRET) return UNSUPPORTED;
	if ((flags & VERIFY) && check_pin(pin) < 0) return PIN_REQUIRED;
	if (flags & TOUCH) wait_for_touch();
	struct sk_sign_response *r = calloc(1, sizeof *r);
	if (!r) return FAILED;
	r->flags = flags & (TOUCH | VERIFY);
	r->counter = 7;
	signed_bytes(application, r, data, data_len, bytes);
	EVP_PKEY *key = alg == ECDSA ? ecdsa_key(key_handle) : ed25519_key(key_handle);
	int rc = sign_with(key, alg, bytes, sizeof bytes, r);
	EVP_PKEY_free(key);
	if (rc < 0) {
		free(r->sig_r);
		free(r->sig_s);
		free(r);
		return rc;
	}
	note("sign");
	*ret = r;
	return 0;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options,
			  struct sk_resident_key ***ret, size_t *ret_n) {
	return UNSUPPORTED;
}
