/* Logging in: what the server offers, and how it is said that it let nobody in. See ssh_auth.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ssh_auth.h"

/* ---- what may be tried ------------------------------------------------------------------- */

bool cube_auth_in_list(const char *list, const char *word) {
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
	if (config->preferred && !cube_auth_in_list(config->preferred, method)) return false;
	if (config->no_publickey && !strcmp(method, "publickey")) return false;
	if (config->no_keyboard && !strcmp(method, "keyboard-interactive")) return false;
	if (config->no_password && !strcmp(method, "password")) return false;
	return cube_auth_in_list(offer, method);
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
