/* Questions to a person: at most one is open. The clock of the opening stands still meanwhile;
 * sshd's own (LoginGraceTime) does not, and may end the link under the question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssh_auth.h"

bool cube_auth_may_ask(const struct ssh_auth *a) {
	return a->c->may_ask && !a->c->config.batch;
}

void cube_auth_forget(struct ssh_auth *a) {
	for (unsigned i = 0; i < a->answers_len; i++) {
		explicit_bzero(a->answers[i], strlen(a->answers[i]));
		free(a->answers[i]);
		a->answers[i] = NULL;
	}
	a->answers_len = 0;
}

int cube_auth_ask(struct ssh_auth *a, const struct cube_ask *ask) {
	struct ssh_conn *c = a->c;
	cube_auth_forget(a);
	a->asked = ASKING;
	a->answers_len = ask->n;
	for (unsigned i = 0; i < ask->n; i++) a->answers[i] = cube_strdup("");
	cube_ssh_clock_stop(c);
	c->events->on_ask(c->arg, ask); /* may answer at once, or free us */
	return cube_ssh_over(c) ? CUBE_ECANCELED : CUBE_AGAIN;
}

static bool good_answer(const char *s) {
	return s && strnlen(s, CUBE_ASK_ANSWER + 1) <= CUBE_ASK_ANSWER;
}

void cube_ssh_auth_answer(struct ssh_auth *a, const char *const *answers) {
	if (a->asked != ASKING) return;
	bool good = answers != NULL;
	for (unsigned i = 0; good && i < a->answers_len; i++) good = good_answer(answers[i]);
	unsigned n = a->answers_len;
	cube_auth_forget(a);
	for (unsigned i = 0; good && i < n; i++) a->answers[i] = cube_strdup(answers[i]);
	a->answers_len = good ? n : 0;
	a->asked = good ? ANSWERED : NO_ANSWER;
	cube_ssh_clock_go(a->c);
	cube_ssh_kick(a->c);
}

/* ---- the account's password -------------------------------------------------------------- */

/* Changing it here would need another question; ssh does that better. */
static LIBSSH2_PASSWD_CHANGEREQ_FUNC(note_expired) {
	struct ssh_conn *c = *abstract;
	if (c->auth) c->auth->expired = true;
	*newpw = NULL;
	*newpw_len = 0;
}

static int ask_password(struct ssh_auth *a) {
	char text[120];
	snprintf(text, sizeof text, "Password for %.80s: ", a->c->config.user);
	struct cube_ask ask = {.kind = CUBE_ASK_PASSWORD,
			       .key = a->c->config.user,
			       .title = "",
			       .n = 1,
			       .prompts = {{.text = text}}};
	return cube_auth_ask(a, &ask);
}

static int send_password(struct ssh_auth *a) {
	struct ssh_conn *c = a->c;
	const char *user = c->config.user, *password = a->answers[0];
	int rc = libssh2_userauth_password_ex(c->session, user, (unsigned)strlen(user), password,
					      (unsigned)strlen(password), note_expired);
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	cube_auth_forget(a);
	if (rc == 0) {
		snprintf(a->login, sizeof a->login, "password");
		return 0;
	}
	if (cube_auth_refused(a, rc) < 0) return CUBE_ECONNECT;
	return cube_auth_needs_login(
		a, a->expired ? "the password has expired: log in once with ssh to "
				"change it"
			      : "the password was refused");
}

int cube_auth_password(struct ssh_auth *a) {
	if (!cube_auth_offered(a, "password")) return AUTH_NEXT;
	if (!cube_auth_may_ask(a)) {
		if (!a->need[0]) snprintf(a->need, sizeof a->need, "needs a password");
		return AUTH_NEXT;
	}
	switch (a->asked) {
	case NOT_ASKED: return ask_password(a);
	case ASKING: return CUBE_AGAIN;
	case ANSWERED: return send_password(a);
	default: return cube_auth_needs_login(a, "needs a password, and none was given");
	}
}
