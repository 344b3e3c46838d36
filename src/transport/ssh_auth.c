/* Logging in: the order of the ways, and what is said when none is left. See ssh_auth.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssh_auth.h"

/* ---- what may be tried ------------------------------------------------------------------- */

static bool in_list(const char *list, const char *word) {
	size_t n = strlen(word);
	for (const char *p = list; p && *p;) {
		size_t len = strcspn(p, ", ");
		if (len == n && !strncmp(p, word, n)) return true;
		p += len + strspn(p + len, ", ");
	}
	return false;
}

bool cube_auth_offered(const struct ssh_auth *a, const char *method) {
	const struct cube_ssh_config *config = &a->c->config;
	const char *offer = a->partial ? a->partial : a->methods;
	if (config->preferred && !in_list(config->preferred, method)) return false;
	if (config->no_publickey && !strcmp(method, "publickey")) return false;
	if (config->no_keyboard && !strcmp(method, "keyboard-interactive")) return false;
	if (config->no_password && !strcmp(method, "password")) return false;
	return in_list(offer, method);
}

/* ---- results ----------------------------------------------------------------------------- */

void cube_auth_reason(struct ssh_auth *a, const char *fmt, ...) {
	va_list ap;
	if (a->reason[0]) return;
	va_start(ap, fmt);
	vsnprintf(a->reason, sizeof a->reason, fmt, ap);
	va_end(ap);
}

int cube_auth_needs_login(struct ssh_auth *a, const char *text) {
	struct cube_err err;
	cube_fail(&err, CUBE_ELOGIN, "%s as %s: %s", cube_ssh_where(a->c), a->c->config.user, text);
	cube_ssh_fail(a->c, &err);
	return CUBE_ELOGIN;
}

static const char *too_many(const struct ssh_auth *a) {
	bool known = strstr(a->c->bye, "Too many authentication failures") != NULL;
	return known && !a->c->identity ? "; name the right key: --identity KEY" : "";
}

/* "permission denied (server accepts publickey; tried agent (2 keys), ~/.ssh/id)" */
int cube_auth_denied(struct ssh_auth *a) {
	struct ssh_conn *c = a->c;
	struct cube_err err;
	char agent[48] = "", hint[150] = "";
	const char *notes = cube_buf_str(&a->notes), *many = too_many(a);
	if (a->agent_tried)
		snprintf(agent, sizeof agent, "agent (%u key%s)%s", a->agent_tried,
			 a->agent_tried == 1 ? "" : "s", *notes ? ", " : "");
	if (*many) snprintf(hint, sizeof hint, "%s", many);
	else if (a->reason[0])
		snprintf(hint, sizeof hint, "; %s%s", a->reason,
			 cube_ssh_program_there() ? "" : ", and no ssh program is installed");
	cube_fail(&err, CUBE_EAUTH, "%s as %s: permission denied (%s%s; %s%s%.*s)%s",
		  cube_ssh_where(c), c->config.user, c->bye[0] ? c->bye : "server accepts ",
		  c->bye[0] ? "" : a->methods, *agent || *notes ? "tried " : "no keys to try",
		  agent, *hint ? 50 : 120, notes, hint);
	cube_ssh_fail(c, &err);
	return CUBE_EAUTH;
}

int cube_auth_refused(struct ssh_auth *a, int rc) {
	switch (rc) {
	case LIBSSH2_ERROR_SOCKET_DISCONNECT:
	case LIBSSH2_ERROR_SOCKET_SEND:
	case LIBSSH2_ERROR_SOCKET_RECV:
		if (a->c->bye[0] && a->asked == NOT_ASKED) return cube_auth_denied(a);
		cube_ssh_link_fail(a->c, NULL);
		return CUBE_ECONNECT;
	default: return AUTH_NEXT;
	}
}

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
	if (rc == AUTH_NEXT && in_list(a->methods, "gssapi-with-mic") && a->c->config.gssapi)
		cube_auth_reason(a, "GSSAPI needs the ssh program");
	return rc;
}

/* Servers with AuthenticationMethods publickey,keyboard-interactive refuse the key that was right,
 * and only their next list shows what they want besides; libssh2 does not tell. */
static int ask_partial(struct ssh_auth *a) {
	bool more = in_list(a->methods, "keyboard-interactive") || in_list(a->methods, "password");
	if (a->partial || more || !a->keys_refused) return AUTH_NEXT;
	int rc = list_methods(a, &a->partial);
	if (rc == AUTH_NEXT && !a->partial) return cube_auth_denied(a);
	return rc;
}

/* Keys that only the ssh program can use come before questions, as they do in ssh itself. */
static int fall_back(struct ssh_auth *a) {
	struct cube_err err;
	bool key_taken = a->partial && !in_list(a->partial, "publickey");
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

bool cube_ssh_auth_asked(const struct ssh_auth *a) {
	return a && (a->asked != NOT_ASKED || a->kbd);
}
