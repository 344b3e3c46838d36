/* Algorithms, the key exchange and the host key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/sha256.h"
#include "cube/text.h"
#include "known_hosts.h"
#include "ssh_keyfile.h"
#include "ssh_priv.h"

enum { PREFS_MAX = 4096 };

/* Measured with OpenSSL 3 on x86-64 against OpenSSH 9.2: libssh2 encrypts 16 bytes a call, so
 * the shortest key schedule and one hash pass win; AES-GCM (libssh2 1.11) saves the MAC. */
static const char *const CIPHERS[] = {"aes128-gcm@openssh.com",
				      "aes256-gcm@openssh.com",
				      "aes128-ctr",
				      "aes192-ctr",
				      "aes256-ctr",
				      NULL};
static const char *const MACS[] = {"hmac-sha2-256-etm@openssh.com", "hmac-sha2-256",
				   "hmac-sha2-512-etm@openssh.com", "hmac-sha2-512", NULL};
static const char *const HOST_KEYS[] = {"ssh-ed25519",
					"ecdsa-sha2-nistp256",
					"ecdsa-sha2-nistp384",
					"ecdsa-sha2-nistp521",
					"rsa-sha2-512",
					"rsa-sha2-256",
					"ssh-rsa",
					NULL};

static bool listed(const char *const *list, const char *word) {
	for (; *list; list++)
		if (!strcmp(*list, word)) return true;
	return false;
}

static void add_pref(struct cube_buf *out, const char *name) {
	if (cube_buf_len(out)) cube_buf_add(out, ",", 1);
	cube_buf_addstr(out, name);
}

static bool have_it(const char *const *have, int n, const char *word) {
	for (int i = 0; i < n; i++)
		if (!strcmp(have[i], word)) return true;
	return false;
}

/* What the configuration lists says what may be used; the order is ours. The two of the key
 * exchange are no methods but say what we know: strict exchanges, extensions. */
static bool may_use(const char *allowed, const char *name) {
	return cube_ssh_config_allows(allowed, name) || !strncmp(name, "kex-strict-", 11) ||
	       !strncmp(name, "ext-info-", 9);
}

/* The preferred ones of what this libssh2 has, then its other ones as fall-back. False: it has none
 * that may be used. It would drop
 * names it lacks, but 1.10 does so with an overlapping memcpy. */
static bool prefer(struct ssh_conn *c, int method, const char *const *first, const char *allowed) {
	struct cube_buf prefs;
	const char **have = NULL;
	int n = libssh2_session_supported_algs(c->session, method, &have);
	if (n <= 0) return false;
	cube_buf_init(&prefs, PREFS_MAX);
	for (size_t i = 0; first[i]; i++)
		if (have_it(have, n, first[i]) && may_use(allowed, first[i]))
			add_pref(&prefs, first[i]);
	for (int i = 0; i < n; i++)
		if (!listed(first, have[i]) && strcmp(have[i], "none") != 0 &&
		    may_use(allowed, have[i]))
			add_pref(&prefs, have[i]);
	libssh2_free(c->session, have);
	bool some = cube_buf_len(&prefs) > 0;
	if (some) libssh2_session_method_pref(c->session, method, cube_buf_str(&prefs));
	cube_buf_done(&prefs);
	return some;
}

/* ---- host keys --------------------------------------------------------------------------- */

static const char *type_of(const char *algorithm) {
	return strncmp(algorithm, "rsa-sha2-", 9) ? algorithm : "ssh-rsa";
}

/* libssh2 before 1.11 only verifies RSA with SHA-1, which servers have given up: an RSA key in
 * known_hosts does not show then that another key type is a fraud. */
static bool can_verify(const char *type) {
	if (!strcmp(type, "ssh-rsa")) return libssh2_version(0x010b00) != NULL;
	return listed(HOST_KEYS, type);
}

static void load_known(struct ssh_conn *c, const char *name, struct cube_known *known) {
	cube_known_load(name, &c->config.user_hosts, known);
	cube_known_load(name, &c->config.global_hosts, known);
}

static char *known_name(const struct ssh_conn *c) {
	return cube_known_name(c->config.hostname, c->config.port, c->config.hostkeyalias);
}

static bool knows_type(const struct cube_known *known, const char *type) {
	for (size_t i = 0; i < known->len; i++)
		if (!known->v[i].revoked && !strcmp(known->v[i].type, type)) return true;
	return false;
}

/* The key types the host is known by come first, or it might show us another, unknown key. */
static bool prefer_host_keys(struct ssh_conn *c) {
	enum { N = sizeof HOST_KEYS / sizeof HOST_KEYS[0] };
	const char *order[N] = {0};
	struct cube_known known = {0};
	size_t n = 0;
	cube_autofree char *name = known_name(c);
	load_known(c, name, &known);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; HOST_KEYS[i]; i++)
			if (knows_type(&known, type_of(HOST_KEYS[i])) == (pass == 0))
				order[n++] = HOST_KEYS[i];
	bool some = prefer(c, LIBSSH2_METHOD_HOSTKEY, order, c->config.host_keys);
	cube_known_done(&known);
	return some;
}

/* The line to be pasted must not be cut, and be one command whatever the file's name is. */
static void host_key_changed(struct ssh_conn *c, const char *name,
			     const struct cube_known_entry *e) {
	struct cube_err err;
	struct cube_buf line;
	cube_buf_init(&line, 1024);
	cube_buf_addstr(&line, "ssh-keygen -R ");
	cube_text_shell_quote(&line, name);
	cube_buf_addstr(&line, " -f ");
	cube_text_shell_quote(&line, e->file);
	const char *command = cube_buf_str(&line);
	size_t n = strlen(command);
	if (n + strlen(e->file) < 140)
		cube_fail(&err, CUBE_EHOSTKEY,
			  "HOST KEY CHANGED: not the %s key in %s:%u; if that is right: %s",
			  e->type, e->file, e->line, command);
	else if (n < 180)
		cube_fail(&err, CUBE_EHOSTKEY, "HOST KEY CHANGED; if that is right: %s", command);
	else
		cube_fail(&err, CUBE_EHOSTKEY,
			  "HOST KEY CHANGED: not the %s key in line %u of its known_hosts file",
			  e->type, e->line);
	cube_buf_done(&line);
	cube_ssh_fail(c, &err);
}

static void host_key_revoked(struct ssh_conn *c, const char *name,
			     const struct cube_known_entry *e) {
	struct cube_err err;
	cube_fail(&err, CUBE_EHOSTKEY, "the host key of %s is revoked by %s:%u", name, e->file,
		  e->line);
	cube_ssh_fail(c, &err);
}

/* Only ssh can check the certificate that an authority in known_hosts gave the host. */
static int host_key_certified(struct ssh_conn *c) {
	struct cube_err err;
	cube_fail(&err, CUBE_ELIBRARY, "host certificates need the ssh program");
	cube_ssh_fail(c, &err);
	return CUBE_ELIBRARY;
}

static int host_key_new(struct ssh_conn *c, const char *name, const char *type, const char *key) {
	struct cube_err err;
	if (c->strict || c->config.strict) {
		cube_fail(&err, CUBE_EHOSTKEY,
			  "host key of %s is not known and strict checking is on; to accept it: "
			  "ssh -p %u %s",
			  name, c->config.port, c->config.hostname);
		cube_ssh_fail(c, &err);
		return CUBE_EHOSTKEY;
	}
	/* As ssh does, go on where it cannot be remembered: a read-only home is no attack. */
	if (c->config.user_hosts.len)
		cube_known_append(c->config.user_hosts.v[0], name, c->config.hash_hosts, type, key,
				  NULL);
	return 0;
}

/* A key known under the plain name is good on any port, as in OpenSSH. */
static bool known_without_port(struct ssh_conn *c, const char *type, const char *key) {
	const struct cube_known_entry *e;
	struct cube_known known = {0};
	if (c->config.hostkeyalias || c->config.port == 22) return false;
	cube_autofree char *plain = cube_known_name(c->config.hostname, 22, NULL);
	load_known(c, plain, &known);
	bool same = cube_known_check(&known, type, key, can_verify, &e) == CUBE_KNOWN_SAME;
	cube_known_done(&known);
	return same;
}

/* "ssh-ed25519 SHA256:... new", as ssh shows it. */
static bool tell_host_key(struct ssh_conn *c, const char *type, const char *key, const char *word) {
	uint8_t digest[CUBE_SHA256_LEN];
	struct cube_buf blob, text;
	cube_buf_init(&blob, 64 * 1024);
	cube_buf_init(&text, 512);
	cube_text_unbase64(&blob, key, strlen(key), NULL);
	cube_sha256_of(cube_buf_data(&blob), cube_buf_len(&blob), digest);
	cube_buf_printf(&text, "%s SHA256:", type);
	cube_text_base64(&text, digest, sizeof digest);
	cube_buf_truncate(&text, cube_buf_len(&text) - 1); /* 32 bytes: one '=' */
	cube_buf_printf(&text, " %s", word);
	bool over = cube_ssh_fact(c, CUBE_FACT_HOST_KEY, cube_buf_str(&text));
	cube_buf_done(&blob);
	cube_buf_done(&text);
	return over;
}

static enum cube_known_verdict verdict_of(struct ssh_conn *c, const struct cube_known *known,
					  const char *type, const char *key,
					  const struct cube_known_entry **ret) {
	enum cube_known_verdict verdict = cube_known_check(known, type, key, can_verify, ret);
	if (verdict == CUBE_KNOWN_NEW && known_without_port(c, type, key)) return CUBE_KNOWN_SAME;
	return verdict;
}

static int judge(struct ssh_conn *c, const char *type, const char *key) {
	static const char *const WORDS[] = {[CUBE_KNOWN_SAME] = "known",
					    [CUBE_KNOWN_NEW] = "new",
					    [CUBE_KNOWN_CHANGED] = "changed",
					    [CUBE_KNOWN_REVOKED] = "revoked"};
	const struct cube_known_entry *e;
	struct cube_known known = {0};
	int rc = 0;
	cube_autofree char *name = known_name(c);
	load_known(c, name, &known);
	enum cube_known_verdict verdict = verdict_of(c, &known, type, key, &e);
	if (tell_host_key(c, type, key, WORDS[verdict])) rc = CUBE_ECANCELED;
	else if (verdict == CUBE_KNOWN_CHANGED) host_key_changed(c, name, e);
	else if (verdict == CUBE_KNOWN_REVOKED) host_key_revoked(c, name, e);
	else if (verdict == CUBE_KNOWN_NEW && known.ca && cube_ssh_program_there())
		rc = host_key_certified(c);
	else if (verdict == CUBE_KNOWN_NEW) rc = host_key_new(c, name, type, key);
	if (verdict == CUBE_KNOWN_CHANGED || verdict == CUBE_KNOWN_REVOKED) rc = CUBE_EHOSTKEY;
	cube_known_done(&known);
	return rc;
}

static bool too_short(struct ssh_conn *c, const char *blob, size_t len) {
	struct cube_err err;
	unsigned bits = cube_ssh_rsa_bits(blob, len);
	if (!bits || bits >= c->config.rsa_bits) return false;
	cube_fail(&err, CUBE_EHOSTKEY,
		  "the host key of %s is RSA with %u bits, and RequiredRSASize is %u",
		  cube_ssh_where(c), bits, c->config.rsa_bits);
	cube_ssh_fail(c, &err);
	return true;
}

static int check_host_key(struct ssh_conn *c) {
	size_t len = 0;
	int kind, rc = CUBE_EPROTO;
	char type[64];
	struct cube_buf key;
	const char *blob = libssh2_session_hostkey(c->session, &len, &kind);
	cube_buf_init(&key, 64 * 1024);
	if (blob && too_short(c, blob, len)) rc = CUBE_EHOSTKEY;
	else if (blob && cube_ssh_blob_type(blob, len, type, sizeof type) &&
		 cube_text_base64(&key, blob, len) == 0)
		rc = judge(c, type, cube_buf_str(&key));
	else cube_ssh_link_fail(c, "reading the host key of");
	cube_buf_done(&key);
	return rc;
}

/* ---- the exchange ------------------------------------------------------------------------ */

static int none_left(struct ssh_conn *c, const char *setting) {
	struct cube_err err;
	int code = cube_ssh_program_there() ? CUBE_ELIBRARY : CUBE_ECONNECT;
	cube_fail(&err, code, "%s of the configuration has nothing that libssh2 %s knows", setting,
		  libssh2_version(0));
	cube_ssh_fail(c, &err);
	return code;
}

int cube_ssh_kex_start(struct ssh_conn *c) {
	static const char *const NO_ORDER[] = {NULL};
	const struct cube_ssh_config *config = &c->config;
	if (!prefer(c, LIBSSH2_METHOD_KEX, NO_ORDER, config->kex))
		return none_left(c, "KexAlgorithms");
	if (!prefer(c, LIBSSH2_METHOD_CRYPT_CS, CIPHERS, config->ciphers) ||
	    !prefer(c, LIBSSH2_METHOD_CRYPT_SC, CIPHERS, config->ciphers))
		return none_left(c, "Ciphers");
	if (!prefer(c, LIBSSH2_METHOD_MAC_CS, MACS, config->macs) ||
	    !prefer(c, LIBSSH2_METHOD_MAC_SC, MACS, config->macs))
		return none_left(c, "MACs");
	if (!prefer_host_keys(c)) return none_left(c, "HostKeyAlgorithms");
#ifdef LIBSSH2_METHOD_SIGN_ALGO
	static const char *const RSA[] = {"rsa-sha2-512", "rsa-sha2-256", "ssh-rsa", NULL};
	prefer(c, LIBSSH2_METHOD_SIGN_ALGO, RSA, config->public_keys);
#endif
	return 0;
}

static void no_common(struct ssh_conn *c) {
	struct cube_err err;
	bool old = libssh2_version(0x010b00) == NULL;
	int code = cube_ssh_program_there() ? CUBE_ELIBRARY : CUBE_ECONNECT;
	cube_fail(&err, code, "%s and libssh2 %s have no algorithm in common%s", cube_ssh_where(c),
		  libssh2_version(0),
		  old ? "; a host with RSA keys only needs libssh2 1.11 or newer" : "");
	cube_ssh_fail(c, &err);
}

static bool tell_server(struct ssh_conn *c) {
	const char *banner = libssh2_session_banner_get(c->session);
	return banner && cube_ssh_fact(c, CUBE_FACT_SERVER, banner);
}

static bool tell_kex(struct ssh_conn *c) {
	char text[200];
	const char *kex = libssh2_session_methods(c->session, LIBSSH2_METHOD_KEX);
	const char *cipher = libssh2_session_methods(c->session, LIBSSH2_METHOD_CRYPT_CS);
	const char *mac = libssh2_session_methods(c->session, LIBSSH2_METHOD_MAC_CS);
	bool in_cipher = !mac || (cipher && strstr(cipher, "-gcm@"));
	snprintf(text, sizeof text, "%s, %s%s%s", kex ? kex : "?", cipher ? cipher : "?",
		 in_cipher ? "" : ", ", in_cipher ? "" : mac);
	return cube_ssh_fact(c, CUBE_FACT_KEX, text);
}

int cube_ssh_kex_pump(struct ssh_conn *c) {
	int rc = libssh2_session_handshake(c->session, c->fd);
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	if (tell_server(c)) return CUBE_ECANCELED;
	if (rc == 0) return tell_kex(c) ? CUBE_ECANCELED : check_host_key(c);
	if (rc == LIBSSH2_ERROR_KEX_FAILURE && !c->link_eof && !c->bye[0]) no_common(c);
	else cube_ssh_link_fail(c, NULL);
	return CUBE_ECONNECT;
}
