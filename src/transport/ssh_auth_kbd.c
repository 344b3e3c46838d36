/* Keyboard-interactive (RFC 4256): the server's own questions. See ssh_auth.h.
 *
 * libssh2 wants the answers from a callback, inside the call that has read the questions; a person
 * takes minutes. Nothing may wait in there, the call cannot be left and entered again, and trying
 * twice would send another message to a telephone. So what the server sent is shown first to a
 * copy of this process, which comes as far as the callback, tells us the questions and ends; here
 * the bytes are held back until the answers are there. Each round costs one short-lived fork.
 * (It also keeps a server whose questions libssh2 1.10 reads past their end away from us.) */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/spawn.h"
#include "cube/bufio.h"
#include "cube/text.h"
#include "ssh_auth.h"

enum { LOOKS_MAX = 64, TITLE_MAX = 4096, PROMPT_MAX = 1024, SEEN_MAX = 64 * 1024 };

static const uint64_t PATIENT_NS = 100 * CUBE_NS_PER_S; /* sshd has 120 s for a login */

/* What the copy says: SEEN_MORE and SEEN_END alone, SEEN_QUESTION with the number of prompts, a
 * NUL-terminated title and for each prompt '0' or '1' (echo) and its text. */
enum { SEEN_MORE = 'm', SEEN_END = 'e', SEEN_QUESTION = 'q', SEEN_TOO_MANY = 'x' };

struct kbd {
	struct ssh_auth *a;
	/* the copy */
	pid_t pid;
	struct cube_bufio *out;
	struct cube_buf seen;
	unsigned looks;
	int copy_fd; /* in the copy only, else -1 */
	size_t had;  /* bytes that were there when it was made */
	enum { QUIET, LOOKING, ASKED, READY } stage;
	unsigned n;     /* prompts of the question that is READY to be read here */
	bool question;  /* there is one; else the login's end comes */
	bool asked;     /* one was put to the person, ever */
	bool surprised; /* libssh2 came to another one */
};

/* ---- in libssh2's callback --------------------------------------------------------------- */

/* Server's text, line by line, made safe for a terminal. */
static void add_text(struct cube_buf *out, const char *text, size_t n, size_t max) {
	if (n > max) n = max;
	while (n) {
		const char *nl = memchr(text, '\n', n);
		size_t len = nl ? (size_t)(nl - text) : n;
		size_t shown = len && text[len - 1] == '\r' ? len - 1 : len;
		cube_text_escape(out, text, shown);
		if (nl) cube_buf_add(out, "\n", 1);
		text += nl ? len + 1 : len;
		n -= nl ? len + 1 : len;
	}
}

/* The copy's last deed. */
static void tell(int fd, const char *title[2], const int title_len[2], int n,
		 const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts) {
	struct cube_buf out;
	bool fits = n >= 0 && n <= CUBE_ASK_PROMPTS;
	uint8_t head[2] = {fits ? SEEN_QUESTION : SEEN_TOO_MANY, fits ? (uint8_t)n : 0};
	cube_buf_init(&out, SEEN_MAX);
	cube_buf_add(&out, head, sizeof head);
	for (int i = 0; i < 2; i++) {
		if (i && title_len[0] > 0 && title_len[1] > 0) cube_buf_add(&out, "\n", 1);
		if (title_len[i] > 0) add_text(&out, title[i], (size_t)title_len[i], TITLE_MAX);
	}
	cube_buf_add(&out, "", 1);
	for (int i = 0; fits && i < n; i++) {
		cube_buf_add(&out, prompts[i].echo ? "1" : "0", 1);
		add_text(&out, (const char *)prompts[i].text, prompts[i].length, PROMPT_MAX);
		cube_buf_add(&out, "", 1);
	}
	(void)cube_write_all(fd, cube_buf_data(&out), cube_buf_len(&out));
	_exit(0);
}

static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(respond) {
	struct ssh_conn *c = *abstract;
	struct ssh_auth *a = c->auth;
	struct kbd *k = a->kbd;
	if (k->copy_fd >= 0)
		tell(k->copy_fd, (const char *[]){name, instruction},
		     (int[]){name_len, instruction_len}, num_prompts, prompts);
	if (!k->question || num_prompts != (int)k->n || (k->n && a->answers_len != k->n)) {
		k->surprised = true;
		return;
	}
	k->question = false;
	for (unsigned i = 0; i < k->n; i++) {
		responses[i].text = cube_ssh_give(c, a->answers[i]);
		responses[i].length = responses[i].text ? (unsigned)strlen(a->answers[i]) : 0;
	}
}

static int call(struct ssh_auth *a) {
	const char *user = a->c->config.user;
	return libssh2_userauth_keyboard_interactive_ex(a->c->session, user, (unsigned)strlen(user),
							respond);
}

/* ---- the look ahead ---------------------------------------------------------------------- */

static void copy_main(void *arg, int fd) {
	struct ssh_auth *a = arg;
	uint8_t word;
	a->kbd->copy_fd = fd;
	word = call(a) == LIBSSH2_ERROR_EAGAIN ? SEEN_MORE : SEEN_END;
	(void)cube_write_all(fd, &word, 1);
}

static void on_child(void *arg, int status, const struct rusage *usage) {
	struct kbd *k = arg;
	k->pid = 0;
	cube_ssh_kick(k->a->c);
}

static size_t on_data(void *arg, const uint8_t *bytes, size_t n) {
	struct kbd *k = arg;
	cube_buf_add(&k->seen, bytes, n);
	return n;
}

static void on_closed(void *arg, const struct cube_err *err) {
	struct kbd *k = arg;
	cube_bufio_free(k->out);
	k->out = NULL;
	cube_ssh_kick(k->a->c);
}

static size_t waiting(const struct ssh_conn *c) {
	return cube_buf_len(&c->in) + c->fed_len;
}

static int start_look(struct ssh_auth *a) {
	static const struct cube_bufio_ops OPS = {.data = on_data, .closed = on_closed};
	static const struct cube_bufio_limits LIMITS = {.max_in = SEEN_MAX};
	struct kbd *k = a->kbd;
	struct cube_err err;
	int fd, rc = 0;
	cube_buf_clear(&k->seen);
	k->had = waiting(a->c);
	k->stage = LOOKING;
	if (k->looks++ == LOOKS_MAX)
		rc = cube_fail(&err, CUBE_EPROTO, "%s asks without end", cube_ssh_where(a->c));
	if (rc == 0) rc = cube_spawn_look(copy_main, a, &k->pid, &fd, &err);
	if (rc == 0) rc = cube_loop_on_child(a->c->ssh->loop, k->pid, on_child, k, &err);
	if (rc == 0) rc = cube_bufio_new(a->c->ssh->loop, fd, -1, &OPS, k, &LIMITS, &k->out, &err);
	if (rc == 0) return CUBE_AGAIN;
	cube_ssh_fail(a->c, &err);
	return rc;
}

static int unreadable(struct ssh_auth *a) {
	struct cube_err err;
	int code = cube_ssh_program_there() ? CUBE_ELIBRARY : CUBE_EPROTO;
	cube_fail(&err, code, "libssh2 %s cannot read the questions of %s", libssh2_version(0),
		  cube_ssh_where(a->c));
	cube_ssh_fail(a->c, &err);
	return code;
}

/* ---- the question ------------------------------------------------------------------------ */

/* The next NUL-terminated text in what the copy said. */
static const char *next_text(const char **p, const char *end) {
	const char *s = *p, *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;
	if (nul) *p = nul + 1;
	return nul ? s : NULL;
}

static int put_question(struct ssh_auth *a) {
	struct kbd *k = a->kbd;
	const char *p = cube_buf_str(&k->seen), *end = p + cube_buf_len(&k->seen);
	p += 2;
	struct cube_ask ask = {.kind = CUBE_ASK_KEYBOARD,
			       .key = a->c->config.user,
			       .title = next_text(&p, end),
			       .n = k->n};
	bool whole = ask.title != NULL;
	for (unsigned i = 0; i < k->n && whole; i++) {
		const char *text = next_text(&p, end);
		whole = text && *text;
		if (!whole) break;
		ask.prompts[i].echo = *text == '1';
		ask.prompts[i].text = text + 1;
	}
	if (!whole) return unreadable(a);
	k->asked = true;
	return cube_auth_ask(a, &ask);
}

/* Words without a question: "Approve the login on your phone". */
static int show_words(struct ssh_auth *a) {
	struct ssh_conn *c = a->c;
	const char *p = cube_buf_str(&a->kbd->seen) + 2;
	const char *words =
		next_text(&p, cube_buf_str(&a->kbd->seen) + cube_buf_len(&a->kbd->seen));
	if (!words || !words[strspn(words, " \n")] || !c->events->on_note) return AUTH_NEXT;
	cube_autofree char *line = cube_strf("%.400s", words);
	for (char *s = line; *s; s++)
		if (*s == '\n') *s = s[1] ? ' ' : '\0';
	c->events->on_note(c->arg, line);
	return cube_ssh_over(c) ? CUBE_ECANCELED : AUTH_NEXT;
}

/* What the copy saw; without a word it died of it. */
static int judge(struct ssh_auth *a) {
	struct kbd *k = a->kbd;
	const uint8_t *seen = cube_buf_data(&k->seen);
	size_t n = cube_buf_len(&k->seen);
	int kind = n ? seen[0] : 0;
	k->question = kind == SEEN_QUESTION && n >= 2;
	k->n = k->question ? seen[1] : 0;
	k->stage = kind == SEEN_MORE ? QUIET : k->n ? ASKED : READY;
	if (!k->question && kind != SEEN_END && kind != SEEN_MORE) return unreadable(a);
	if (k->stage == ASKED) return put_question(a);
	return k->question ? show_words(a) : AUTH_NEXT;
}

/* ---- the login --------------------------------------------------------------------------- */

static int finished(struct ssh_auth *a, int rc) {
	struct kbd *k = a->kbd;
	struct cube_err err;
	if (k->surprised) {
		cube_buf_clear(&a->c->out); /* empty answers to what nobody has seen */
		cube_fail(&err, CUBE_EPROTO, "%s asks out of turn", cube_ssh_where(a->c));
		cube_ssh_fail(a->c, &err);
		return CUBE_EPROTO;
	}
	if (rc == LIBSSH2_ERROR_EAGAIN) return CUBE_AGAIN;
	if (rc == 0) {
		snprintf(a->login, sizeof a->login, "keyboard-interactive");
		return 0;
	}
	if (a->c->link_eof || a->c->bye[0]) rc = LIBSSH2_ERROR_SOCKET_DISCONNECT;
	if (cube_auth_refused(a, rc) < 0) return CUBE_ECONNECT;
	return k->asked ? cube_auth_needs_login(a, "the answers to its questions were refused")
			: AUTH_NEXT;
}

static int begin(struct ssh_auth *a) {
	struct kbd *k = a->kbd = cube_alloc(sizeof *k);
	k->a = a;
	k->copy_fd = -1;
	cube_buf_init(&k->seen, SEEN_MAX);
	a->c->hold = true;
	int rc = call(a);
	a->c->hold = false;
	return finished(a, rc);
}

/* Here, after the copy. */
static int read_on(struct ssh_auth *a) {
	struct kbd *k = a->kbd;
	k->stage = QUIET;
	k->had = 0;
	int rc = call(a);
	k->question = false;
	cube_auth_forget(a); /* they are sent */
	/* The server may be waiting for a telephone now. */
	if (rc == LIBSSH2_ERROR_EAGAIN) cube_ssh_clock_least(a->c, PATIENT_NS);
	return finished(a, rc);
}

static int step(struct ssh_auth *a) {
	struct kbd *k = a->kbd;
	switch (k->stage) {
	case QUIET: return waiting(a->c) > k->had ? start_look(a) : CUBE_AGAIN;
	case LOOKING: return k->out || k->pid ? CUBE_AGAIN : judge(a);
	case ASKED:
		if (a->asked == ASKING) return CUBE_AGAIN;
		if (a->asked == NO_ANSWER)
			return cube_auth_needs_login(a, "its questions were not answered");
		k->stage = READY;
		return AUTH_NEXT;
	default: return read_on(a);
	}
}

int cube_auth_keyboard(struct ssh_auth *a) {
	if (!cube_auth_offered(a, "keyboard-interactive")) return AUTH_NEXT;
	if (!cube_auth_may_ask(a)) {
		if (!a->need[0])
			snprintf(a->need, sizeof a->need,
				 "needs keyboard-interactive: answers to questions of the server");
		return AUTH_NEXT;
	}
	if (!a->kbd) return begin(a);
	for (;;) {
		int before = (int)a->kbd->stage;
		int rc = step(a);
		/* after a failure `a` is gone; QUIET again is the end of this way */
		if (rc != AUTH_NEXT || before == READY) return rc;
	}
}

void cube_auth_keyboard_done(struct ssh_auth *a) {
	struct kbd *k = a->kbd;
	if (!k) return;
	if (k->pid) {
		cube_loop_forget_child(a->c->ssh->loop, k->pid);
		kill(k->pid, SIGKILL);
	}
	cube_bufio_free(k->out);
	cube_buf_done(&k->seen);
	free(k);
	a->kbd = NULL;
}
