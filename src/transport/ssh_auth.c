/* Logging in: the order of the ways. See ssh_auth.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssh_auth.h"

/* ---- the ways ---------------------------------------------------------------------------- */

/* A banner is one packet, of which libssh2 takes 40000 bytes and sshd sends up to 256 KiB. */
static int banner_too_large(struct ssh_auth *a) {
	struct cube_err err;
	cube_fail(&err, CUBE_ELIBRARY, "%s: its banner is larger than libssh2 takes (40000 bytes)",
		  cube_ssh_where(a->c));
	cube_ssh_fail(a->c, &err);
	return CUBE_ELIBRARY;
}

/* Asks by the method "none" what the server accepts; it may let us in at once. */
static int list_methods(struct ssh_auth *a, char **ret) {
	struct ssh_conn *c = a->c;
	const char *user = c->config.user;
	const char *list = libssh2_userauth_list(c->session, user, (unsigned)strlen(user));
	if (list) {
		*ret = cube_strf("%.120s", list);
		return AUTH_NEXT;
	}
	if (libssh2_userauth_authenticated(c->session)) return 0;
	if (libssh2_session_last_errno(c->session) == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	*ret = NULL;
	return AUTH_NEXT;
}

static int ask_methods(struct ssh_auth *a) {
	snprintf(a->login, sizeof a->login, "none");
	int rc = list_methods(a, &a->methods);
	if (rc == AUTH_NEXT && !a->methods) {
		if (libssh2_session_last_errno(a->c->session) == LIBSSH2_ERROR_OUT_OF_BOUNDARY)
			return banner_too_large(a);
		cube_ssh_link_fail(a->c, NULL);
		return CUBE_ECONNECT;
	}
	if (rc == AUTH_NEXT && cube_ssh_fact(a->c, CUBE_FACT_METHODS, a->methods))
		return CUBE_ECANCELED;
	if (rc == AUTH_NEXT && cube_auth_in_list(a->methods, "gssapi-with-mic") &&
	    a->c->config.gssapi)
		cube_auth_reason(a, "GSSAPI needs the ssh program");
	return rc;
}

/* Servers with AuthenticationMethods publickey,keyboard-interactive refuse the key that was right,
 * and only their next list shows what they want besides; libssh2 does not tell. */
static int ask_partial(struct ssh_auth *a) {
	bool more = cube_auth_in_list(a->methods, "keyboard-interactive") ||
		    cube_auth_in_list(a->methods, "password");
	if (a->partial || more || !a->keys_refused) return AUTH_NEXT;
	int rc = list_methods(a, &a->partial);
	if (rc == AUTH_NEXT && !a->partial) return cube_auth_denied(a);
	return rc;
}

/* Keys that only the ssh program can use come before questions, as they do in ssh itself. */
static int fall_back(struct ssh_auth *a) {
	struct cube_err err;
	bool key_taken = a->partial && !cube_auth_in_list(a->partial, "publickey");
	if (!a->reason[0] || key_taken || !cube_ssh_program_there()) return AUTH_NEXT;
	cube_fail(&err, CUBE_ELIBRARY, "%s", a->reason);
	cube_ssh_fail(a->c, &err);
	return CUBE_ELIBRARY;
}

static bool password_first(const struct ssh_auth *a) {
	const char *list = a->c->config.preferred;
	const char *password = list ? strstr(list, "password") : NULL;
	const char *keyboard = list ? strstr(list, "keyboard-interactive") : NULL;
	return password && keyboard && password < keyboard;
}

static int first_question(struct ssh_auth *a) {
	return password_first(a) ? cube_auth_password(a) : cube_auth_keyboard(a);
}

static int second_question(struct ssh_auth *a) {
	return password_first(a) ? cube_auth_keyboard(a) : cube_auth_password(a);
}

static int give_up(struct ssh_auth *a) {
	return a->need[0] ? cube_auth_needs_login(a, a->need) : cube_auth_denied(a);
}

static int (*const WAYS[])(struct ssh_auth *a) = {
	ask_methods, cube_auth_agent, cube_auth_files, cube_auth_agent_rest, cube_auth_locked,
	ask_partial, fall_back,       first_question,  second_question,      give_up,
};

/* ---- the whole --------------------------------------------------------------------------- */

static struct ssh_auth *auth_new(struct ssh_conn *c) {
	struct ssh_auth *a = cube_alloc(sizeof *a);
	a->c = c;
	cube_buf_init(&a->notes, 4096);
	cube_buf_init(&a->to_sign, 64 * 1024);
	cube_auth_keys_init(a);
	return a;
}

void cube_ssh_auth_free(struct ssh_auth *a) {
	if (!a) return;
	cube_auth_forget(a);
	cube_auth_keyboard_done(a);
	cube_auth_agent_done(a);
	cube_auth_keys_done(a);
	free(a->methods);
	free(a->partial);
	cube_buf_done(&a->notes);
	free(a);
}

int cube_ssh_auth_pump(struct ssh_conn *c) {
	int rc;
	if (!c->auth) c->auth = auth_new(c);
	struct ssh_auth *a = c->auth;
	while ((rc = WAYS[a->way](a)) == AUTH_NEXT) a->way++;
	if (rc != 0) return rc; /* after a failure the link, and `a` with it, is gone */
	cube_autofree char *login = cube_strdup(a->login);
	cube_ssh_auth_free(a);
	c->auth = NULL;
	return cube_ssh_fact(c, CUBE_FACT_LOGIN, login) ? CUBE_ECANCELED : 0;
}
