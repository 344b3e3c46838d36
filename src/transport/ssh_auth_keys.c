/* Key files, encrypted ones last. See ssh_auth.h. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/text.h"
#include "ssh_auth.h"
#include "ssh_keyfile.h"

enum { PASSPHRASES = 3 };

/* ---- which keys there are ---------------------------------------------------------------- */

static char *shown_path(const char *path) {
	cube_autofree char *home = cube_ssh_home();
	size_t n = strlen(home);
	bool ours = n > 1 && !strncmp(path, home, n) && path[n] == '/';
	return ours ? cube_strf("~%s", path + n) : cube_strdup(path);
}

static void note_file(struct ssh_auth *a, const char *path, const char *trouble) {
	cube_autofree char *shown = shown_path(path);
	if (cube_buf_len(&a->notes)) cube_buf_addstr(&a->notes, ", ");
	if (trouble) cube_buf_printf(&a->notes, "%s (%s)", shown, trouble);
	else cube_buf_addstr(&a->notes, shown);
}

static void reason_rsa(struct ssh_auth *a) {
	if (!libssh2_version(0x010b00))
		cube_auth_reason(a, "RSA keys need libssh2 1.11, this is %s", libssh2_version(0));
}

/* RSA's may be meant by the names of its signatures. */
static bool type_allowed(const struct ssh_auth *a, const char *type) {
	const char *list = a->c->config.public_keys;
	if (cube_ssh_config_allows(list, type)) return true;
	return !strcmp(type, "ssh-rsa") && (cube_ssh_config_allows(list, "rsa-sha2-512") ||
					    cube_ssh_config_allows(list, "rsa-sha2-256"));
}

bool cube_auth_forbidden(const struct ssh_auth *a, const char *type, const void *blob, size_t n) {
	unsigned bits = blob ? cube_ssh_rsa_bits(blob, n) : 0;
	return (*type && !type_allowed(a, type)) || (bits && bits < a->c->config.rsa_bits);
}

static bool file_forbidden(const struct ssh_auth *a, const struct key_file *f) {
	struct cube_buf blob;
	cube_buf_init(&blob, CUBE_KEYFILE_MAX);
	bool known = f->pub && cube_text_unbase64(&blob, f->pub, strlen(f->pub), NULL) == 0;
	bool no = cube_auth_forbidden(a, f->type, known ? cube_buf_data(&blob) : NULL,
				      cube_buf_len(&blob));
	cube_buf_done(&blob);
	return no;
}

/* Whether a key of this type is worth showing to the server; says what the ssh program could do
 * with it. Before 1.11 libssh2 signs by RSA with SHA-1 only, which sshd has refused since 8.8. */
bool cube_auth_usable_type(struct ssh_auth *a, const char *type) {
	if (!strncmp(type, "sk-", 3)) {
		cube_auth_reason(a, "FIDO keys need the ssh program");
		return false;
	}
	if (strstr(type, "-cert-v0")) {
		cube_auth_reason(a, "certificates need the ssh program");
		return false;
	}
	if (strcmp(type, "ssh-rsa") != 0 || libssh2_version(0x010b00)) return true;
	reason_rsa(a);
	return !cube_ssh_refuses_sha1(libssh2_session_banner_get(a->c->session));
}

static void add_file(struct ssh_auth *a, const char *path) {
	struct cube_keyfile k;
	cube_keyfile_read(path, &k);
	a->files = cube_realloc_array(a->files, a->nfiles + 1, sizeof *a->files);
	a->files[a->nfiles++] = (struct key_file){
		.path = cube_strdup(path),
		.pub = k.pub,
		.exists = k.exists && !k.public_only,
		.offered = k.exists && k.public_only,
		.locked = k.locked,
	};
	memcpy(a->files[a->nfiles - 1].type, k.type, sizeof k.type);
}

void cube_auth_keys_init(struct ssh_auth *a) {
	const struct cube_ssh_config *config = &a->c->config;
	if (a->c->identity) add_file(a, a->c->identity);
	else
		for (size_t i = 0; i < config->identities.len; i++)
			add_file(a, config->identities.v[i]);
}

static void reason_certificate(struct ssh_auth *a, const char *file) {
	if (access(file, R_OK) == 0) cube_auth_reason(a, "certificates need the ssh program");
}

/* What a server that takes keys may get from the ssh program only. */
void cube_auth_note_others(struct ssh_auth *a) {
	const struct cube_ssh_config *config = &a->c->config;
	for (size_t i = 0; i < a->nfiles; i++) {
		cube_autofree char *cert = cube_strf("%s-cert.pub", a->files[i].path);
		reason_certificate(a, cert);
	}
	for (size_t i = 0; i < config->certificates.len; i++)
		reason_certificate(a, config->certificates.v[i]);
	if (config->pkcs11) cube_auth_reason(a, "PKCS11Provider needs the ssh program");
}

void cube_auth_keys_done(struct ssh_auth *a) {
	for (size_t i = 0; i < a->nfiles; i++) {
		free(a->files[i].path);
		free(a->files[i].pub);
	}
	free(a->files);
}

bool cube_auth_only_files(const struct ssh_auth *a) {
	return a->c->identity || a->c->config.identities_only;
}

bool cube_auth_has_files(const struct ssh_auth *a) {
	for (size_t i = 0; i < a->nfiles; i++)
		if (a->files[i].exists && !a->files[i].offered) return true;
	return false;
}

int cube_auth_key_refused(struct ssh_auth *a, int rc) {
	a->keys_refused++;
	return cube_auth_refused(a, rc);
}

/* The key file this agent key belongs to, or NULL. */
struct key_file *cube_auth_file_of(struct ssh_auth *a, const uint8_t *blob, size_t n) {
	struct key_file *found = NULL;
	struct cube_buf text;
	cube_buf_init(&text, CUBE_KEYFILE_MAX);
	cube_text_base64(&text, blob, n);
	for (size_t i = 0; i < a->nfiles && !found; i++)
		if (a->files[i].pub && !strcmp(a->files[i].pub, cube_buf_str(&text)))
			found = &a->files[i];
	cube_buf_done(&text);
	return found;
}

/* ---- open files -------------------------------------------------------------------------- */

static bool key_opened(const struct ssh_auth *a) {
	return a->c->collected != a->mark; /* something was sent, so the file was understood */
}

static int offer_file(struct ssh_auth *a, const struct key_file *f, const char *passphrase) {
	const char *user = a->c->config.user;
	if (!a->trying) a->mark = a->c->collected;
	a->trying = a->c->from_file = true;
	int rc = libssh2_userauth_publickey_fromfile_ex(a->c->session, user, (unsigned)strlen(user),
							NULL, f->path, passphrase);
	a->c->from_file = false;
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	a->trying = false;
	if (rc == 0) {
		cube_autofree char *shown = shown_path(f->path);
		snprintf(a->login, sizeof a->login, "publickey %s", shown);
	}
	return rc;
}

/* False where the file is not worth a try; says why when somebody asked for it by name. */
static bool worth_trying(struct ssh_auth *a, const struct key_file *f) {
	if (f->offered || f->locked) return false;
	if (!f->exists || access(f->path, R_OK) < 0) {
		if (a->c->identity)
			note_file(a, f->path, f->exists ? "cannot be read" : "no such file");
		return false;
	}
	if (file_forbidden(a, f)) {
		note_file(a, f->path, "not allowed by the configuration");
		return false;
	}
	return cube_auth_usable_type(a, f->type);
}

static int try_file(struct ssh_auth *a, struct key_file *f) {
	int rc = offer_file(a, f, "");
	if (rc == CUBE_AGAIN || rc == 0) return rc;
	f->offered = true;
	if (key_opened(a)) {
		note_file(a, f->path, NULL);
		return cube_auth_key_refused(a, rc);
	}
	cube_autofree char *shown = shown_path(f->path);
	note_file(a, f->path, "not a key libssh2 can read");
	cube_auth_reason(a, "libssh2 cannot read %.60s", shown);
	return cube_auth_refused(a, rc);
}

int cube_auth_files(struct ssh_auth *a) {
	if (!cube_auth_offered(a, "publickey")) return AUTH_NEXT;
	for (; a->file < a->nfiles; a->file++) {
		struct key_file *f = &a->files[a->file];
		if (!a->trying && !worth_trying(a, f)) continue;
		int rc = try_file(a, f);
		if (rc != AUTH_NEXT) return rc;
	}
	a->file = 0;
	return AUTH_NEXT;
}

/* ---- encrypted files --------------------------------------------------------------------- */

/* A file is offered by its public half first, where that is known: nobody types a passphrase for a
 * key the server does not want. */

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(sign_nothing) {
	**(bool **)abstract = true; /* we were asked to sign: the server wants this key */
	return -1;
}

static int probe(struct ssh_auth *a, const struct key_file *f, bool *ret_wanted) {
	struct cube_buf blob;
	const char *user = a->c->config.user;
	void *wanted = ret_wanted;
	*ret_wanted = false;
	cube_buf_init(&blob, CUBE_KEYFILE_MAX);
	if (cube_text_unbase64(&blob, f->pub, strlen(f->pub), NULL) < 0) {
		cube_buf_done(&blob);
		return AUTH_NEXT;
	}
	int rc = libssh2_userauth_publickey(a->c->session, user, cube_buf_data(&blob),
					    cube_buf_len(&blob), sign_nothing, &wanted);
	cube_buf_done(&blob);
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	return *ret_wanted ? AUTH_NEXT : cube_auth_key_refused(a, rc);
}

static int lock_probe(struct ssh_auth *a, struct key_file *f) {
	bool wanted;
	a->lock = LOCK_ASK;
	if (!f->pub) return CUBE_AGAIN;
	int rc = probe(a, f, &wanted);
	if (rc == CUBE_AGAIN) a->lock = LOCK_PROBE;
	if (rc != AUTH_NEXT || wanted) return rc == AUTH_NEXT ? CUBE_AGAIN : rc;
	note_file(a, f->path, NULL);
	return AUTH_NEXT;
}

static int lock_ask(struct ssh_auth *a, const struct key_file *f) {
	char text[200];
	cube_autofree char *shown = shown_path(f->path);
	if (!cube_auth_may_ask(a)) {
		if (!a->need[0])
			snprintf(a->need, sizeof a->need, "needs the passphrase of %.120s", shown);
		note_file(a, f->path, "needs its passphrase");
		return AUTH_NEXT;
	}
	snprintf(text, sizeof text, "Passphrase for %.150s: ", shown);
	struct cube_ask ask = {.kind = CUBE_ASK_PASSPHRASE,
			       .key = f->path,
			       .title = "",
			       .n = 1,
			       .prompts = {{.text = text}},
			       .again = a->wrong > 0};
	a->lock = LOCK_OPEN;
	return cube_auth_ask(a, &ask);
}

static int lock_missing(struct ssh_auth *a, const struct key_file *f, const char *why) {
	char text[200];
	cube_autofree char *shown = shown_path(f->path);
	snprintf(text, sizeof text, "needs the passphrase of %.120s, and %s", shown, why);
	return cube_auth_needs_login(a, text);
}

static int lock_open(struct ssh_auth *a, struct key_file *f) {
	if (a->asked == ASKING) return CUBE_AGAIN;
	if (a->asked == NO_ANSWER) return lock_missing(a, f, "none was given");
	int rc = offer_file(a, f, a->answers[0]);
	if (rc == CUBE_AGAIN) return rc;
	cube_auth_forget(a);
	a->asked = NOT_ASKED;
	if (rc == 0) return 0;
	if (key_opened(a)) {
		note_file(a, f->path, NULL);
		return cube_auth_key_refused(a, rc);
	}
	if (++a->wrong == PASSPHRASES) return lock_missing(a, f, "the ones given do not open it");
	a->lock = LOCK_ASK;
	return CUBE_AGAIN;
}

/* CUBE_AGAIN with another a->lock than before: go on at once. */
static int lock_step(struct ssh_auth *a, struct key_file *f) {
	switch (a->lock) {
	case LOCK_PROBE: return lock_probe(a, f);
	case LOCK_ASK: return lock_ask(a, f);
	default: return lock_open(a, f);
	}
}

static int try_locked(struct ssh_auth *a, struct key_file *f) {
	for (;;) {
		int before = (int)a->lock;
		int rc = lock_step(a, f);
		/* after a failure `a` is gone */
		if (rc != CUBE_AGAIN || (int)a->lock == before || a->asked == ASKING) return rc;
	}
}

int cube_auth_locked(struct ssh_auth *a) {
	if (!cube_auth_offered(a, "publickey")) return AUTH_NEXT;
	for (; a->file < a->nfiles; a->file++) {
		struct key_file *f = &a->files[a->file];
		if (!f->locked || !f->exists || f->offered || file_forbidden(a, f) ||
		    !cube_auth_usable_type(a, f->type))
			continue;
		int rc = try_locked(a, f);
		if (rc != AUTH_NEXT) return rc;
		a->lock = LOCK_PROBE;
		a->wrong = 0;
	}
	return AUTH_NEXT;
}
