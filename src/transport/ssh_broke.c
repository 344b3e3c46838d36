/* What went wrong with a link, in words; see cube_ssh_link_fail. */
#include <string.h>

#include "cube/text.h"
#include "ssh_auth.h"

static void say_hello_trouble(struct ssh_conn *c, struct cube_err *err) {
	struct cube_buf safe;
	size_t n = strcspn(c->hello, "\r\n");
	cube_buf_init(&safe, 1024);
	cube_text_escape(&safe, c->hello, n);
	cube_fail(err, CUBE_ECONNECT, "%s is no ssh server: it says \"%.80s\"", cube_ssh_where(c),
		  cube_buf_str(&safe));
	cube_buf_done(&safe);
}

static const char *cause(struct ssh_conn *c, char **text) {
	if (c->bye[0]) return c->bye;
	if (c->link_sys) return strerror(c->link_sys);
	if (c->link_eof) return "closed by the server";
	*text = NULL;
	if (c->session) libssh2_session_last_error(c->session, text, NULL, 0);
	return *text && **text ? *text : "protocol error";
}

/* A person was being asked, or had answered: that is not to be done again unasked. */
static void fail_login(struct ssh_conn *c) {
	struct cube_err err;
	char *text;
	cube_fail(&err, CUBE_ELOGIN,
		  "%s ended the login while a question was open or answered: %s (the server gives "
		  "LoginGraceTime for all of it)",
		  cube_ssh_where(c), cause(c, &text));
	err.sys = c->link_sys;
	cube_ssh_fail(c, &err);
}

void cube_ssh_link_fail(struct ssh_conn *c, const char *doing) {
	static const char *const DOING[] = {
		[SSH_KEX] = "exchanging keys with", [SSH_AUTH] = "authenticating with"};
	struct cube_err err;
	char *text;
	const char *proxy = c->dial ? cube_dial_proxy_says(c->dial) : NULL;
	bool greeted = strstr(c->hello, "SSH-") != NULL;
	if (cube_ssh_auth_asked(c->auth)) {
		fail_login(c);
		return;
	}
	if (!doing && cube_ssh_again(c)) return;
	if (!doing && c->state < SSH_IDLE) doing = DOING[c->state];
	if (c->state == SSH_KEX && !greeted && proxy)
		cube_fail(&err, CUBE_ECONNECT, "connecting to %s: %s", cube_ssh_where(c), proxy);
	else if (c->state == SSH_KEX && !greeted && (c->received || !c->link_sys))
		say_hello_trouble(c, &err); /* a reset may follow: it did not read our greeting */
	else if (doing)
		cube_fail(&err, CUBE_ECONNECT, "%s %s: %s%s%s", doing, cube_ssh_where(c),
			  cause(c, &text), proxy ? "; " : "", proxy ? proxy : "");
	else
		cube_fail(&err, CUBE_ECONNECT, "the connection to %s broke: %s%s%s",
			  cube_ssh_where(c), cause(c, &text), proxy ? "; " : "",
			  proxy ? proxy : "");
	err.sys = c->link_sys;
	cube_ssh_fail(c, &err);
}
