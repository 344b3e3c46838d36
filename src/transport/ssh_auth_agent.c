/* The agent's keys. See ssh_auth.h.
 *
 * libssh2 wants a signature from a callback, inside the call that has read the server's "this key
 * would do"; the agent may take a person's time for it, and nobody else may wait meanwhile. So the
 * key is offered twice: the first time the callback keeps what is to be signed and gives up, the
 * agent signs that at its leisure, and the second time, when the very same is to be signed, the
 * signature is there. An offer without a signature is no attempt: no server counts it. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "ssh_auth.h"
#include "ssh_keyfile.h"

/* sshd's MaxAuthTries is 6 by default and counts every key: one is kept for a key file. */
enum { AGENT_TRIES = 5 };

static void on_changed(void *arg) {
	struct ssh_auth *a = arg;
	cube_ssh_kick(a->c);
}

static void on_slow(void *arg) {
	struct ssh_auth *a = arg;
	if (a->c->events->on_note)
		a->c->events->on_note(a->c->arg,
				      "waiting for the ssh agent, which may want a confirmation");
}

static const struct cube_agent_events EVENTS = {.changed = on_changed, .slow = on_slow};

static void open_agent(struct ssh_auth *a) {
	const struct ssh_conn *c = a->c;
	const char *path =
		c->config.identityagent ? c->config.identityagent : getenv("SSH_AUTH_SOCK");
	if (!path || !*path || !strcmp(path, "none")) return;
	a->agent = cube_agent_open(c->ssh->loop, path, &c->ssh->agent_load, &EVENTS, a);
}

void cube_auth_agent_done(struct ssh_auth *a) {
	cube_agent_free(a->agent);
	cube_buf_done(&a->to_sign);
}

/* ---- which key ---------------------------------------------------------------------------- */

static bool worth_offering(struct ssh_auth *a, const struct cube_agent_key *key) {
	char type[64];
	struct key_file *file = cube_auth_file_of(a, key->blob, key->n);
	if ((file != NULL) == a->agent_others) return false;
	if (file) file->offered = true;
	return !cube_ssh_blob_type(key->blob, key->n, type, sizeof type) ||
	       (!cube_auth_forbidden(a, type, key->blob, key->n) && cube_auth_usable_type(a, type));
}

/* The configured keys first, as ssh does; the agent's other ones then, unless forbidden. */
static bool next_key(struct ssh_auth *a, unsigned max) {
	while (a->agent && cube_agent_state(a->agent) != CUBE_AGENT_GONE && a->agent_tried < max) {
		a->agent_key = cube_agent_key(a->agent, a->agent_next);
		if (a->agent_key) {
			a->agent_next++;
			if (!worth_offering(a, a->agent_key)) continue;
			a->agent_tried++;
			return true;
		}
		if (a->agent_others || cube_auth_only_files(a)) return false;
		a->agent_next = 0;
		a->agent_others = true;
	}
	return false;
}

/* ---- one key ------------------------------------------------------------------------------ */

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(keep_data) {
	struct ssh_auth *a = *abstract;
	cube_buf_add(&a->to_sign, data, data_len);
	return -1;
}

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(give_signature) {
	struct ssh_auth *a = *abstract;
	size_t n;
	const uint8_t *signature = cube_agent_signature(a->agent, &n);
	bool same = data_len == cube_buf_len(&a->to_sign) &&
		    !memcmp(data, cube_buf_data(&a->to_sign), data_len);
	if (!same || !signature) return -1;
	*sig = cube_ssh_give_bytes(a->c, signature, n);
	*sig_len = n;
	return *sig ? 0 : -1;
}

static int offer(struct ssh_auth *a, LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC((*sign))) {
	void *arg = a;
	int rc = libssh2_userauth_publickey(a->c->session, a->c->config.user, a->agent_key->blob,
					    a->agent_key->n, sign, &arg);
	return rc == LIBSSH2_ERROR_EAGAIN ? CUBE_AGAIN : rc;
}

static bool signs_with(const struct cube_buf *data, const char *algorithm) {
	return memmem(cube_buf_data(data), cube_buf_len(data), algorithm, strlen(algorithm)) !=
	       NULL;
}

static int begin_signing(struct ssh_auth *a) {
	uint32_t flags = signs_with(&a->to_sign, "rsa-sha2-512")   ? 4
			 : signs_with(&a->to_sign, "rsa-sha2-256") ? 2
								   : 0;
	cube_agent_sign(a->agent, a->agent_key, cube_buf_data(&a->to_sign),
			cube_buf_len(&a->to_sign), flags);
	a->agent_step = AGENT_SIGN;
	cube_ssh_clock_stop(a->c);
	return CUBE_AGAIN;
}

/* After a failure `a` may be gone. */
static int refused(struct ssh_auth *a, int rc) {
	a->trying = false;
	return cube_auth_key_refused(a, rc);
}

static int log_in(struct ssh_auth *a) {
	int rc = offer(a, give_signature);
	if (rc == CUBE_AGAIN) return rc;
	if (rc != 0) return refused(a, rc);
	a->trying = false;
	snprintf(a->login, sizeof a->login, "agent key %u", a->agent_tried);
	return 0;
}

/* 0: logged in; AUTH_NEXT: not with this key. */
static int try_key(struct ssh_auth *a) {
	int rc;
	switch (a->agent_step) {
	case AGENT_OFFER:
		rc = offer(a, keep_data);
		if (rc == CUBE_AGAIN) return rc;
		return cube_buf_len(&a->to_sign) ? begin_signing(a) : refused(a, rc);
	case AGENT_SIGN:
		if (cube_agent_state(a->agent) == CUBE_AGENT_SIGNING) return CUBE_AGAIN;
		cube_ssh_clock_go(a->c);
		if (cube_agent_state(a->agent) != CUBE_AGENT_SIGNED)
			return refused(a, LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED);
		a->agent_step = AGENT_LOGIN;
		return log_in(a);
	default: return log_in(a);
	}
}

static int try_keys(struct ssh_auth *a, unsigned max) {
	int rc;
	do {
		if (!a->trying) {
			if (!next_key(a, max)) return AUTH_NEXT;
			a->agent_step = AGENT_OFFER;
			cube_buf_clear(&a->to_sign);
			a->trying = true;
		}
		rc = try_key(a);
	} while (rc == AUTH_NEXT);
	return rc;
}

int cube_auth_agent(struct ssh_auth *a) {
	if (!cube_auth_offered(a, "publickey")) return AUTH_NEXT;
	if (!a->looked) {
		a->looked = true;
		cube_auth_note_others(a);
		open_agent(a);
	}
	if (a->agent && cube_agent_state(a->agent) == CUBE_AGENT_LISTING) {
		cube_ssh_clock_stop(a->c); /* that time is not the host's */
		return CUBE_AGAIN;
	}
	if (!a->trying) cube_ssh_clock_go(a->c);
	return try_keys(a, cube_auth_has_files(a) ? AGENT_TRIES : UINT_MAX);
}

/* Those that gave way to the files: a server with a higher MaxAuthTries listens to them. */
int cube_auth_agent_rest(struct ssh_auth *a) {
	return cube_auth_offered(a, "publickey") ? try_keys(a, UINT_MAX) : AUTH_NEXT;
}
