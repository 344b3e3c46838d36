/* Both ends of the askpass socket: see askpass.h.
 *
 * A question is what comes until the end of file: "confirm", "none" or nothing, a newline, and the
 * prompt. "Y" and the answer, or "N", go back. Of "none" nothing goes back: ssh ends that process
 * when the key was touched.
 */
#include "askpass.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/id.h"
#include "cube/listen.h"
#include "cube/list.h"
#include "cube/mem.h"
#include "cube/program.h"

#define VARIABLE "CUBE_ASKPASS"
enum { PROMPT_MAX = 2048, WAITING_MAX = 16, KEPT_MAX = 4, KEY_MAX = 512 };

struct question {
	struct cube_list entry;
	struct cube_askpass *a;
	int fd;
	struct cube_io *io;
	char text[PROMPT_MAX + 1];
	size_t n;
	bool whole, told;
};

struct kept {
	enum cube_ask_kind kind;
	char key[KEY_MAX], answer[CUBE_ASK_ANSWER];
	bool used; /* by this ssh already: to be asked again is to be refused */
};

struct cube_askpass {
	struct cube_loop *loop;
	const struct cube_askpass_events *events;
	void *arg;
	struct cube_listen *listen;
	struct cube_strv env;
	char *host;                 /* the target, or NULL */
	struct cube_list questions; /* in order */
	unsigned waiting;
	struct question *open; /* whose answer is awaited */
	struct kept kept[KEPT_MAX];
	unsigned nkept;
	bool asked, gone;
};

/* ---- what is asked ----------------------------------------------------------------------- */

static void cut_key(char *key, size_t size, const char *from, size_t n) {
	if (n >= size) n = size - 1;
	memcpy(key, from, n);
	key[n] = '\0';
}

enum cube_ask_kind cube_askpass_kind(const char *prompt, const char *host, char *key, size_t size) {
	static const char PASSPHRASE[] = "Enter passphrase for ", PIN[] = "Enter PIN for ";
	static const char PASSWORD[] = "'s password:";
	const char *at, *end;
	if (!strncmp(prompt, PASSPHRASE, sizeof PASSPHRASE - 1)) {
		const char *from = strchr(prompt, '\'');
		end = from ? strchr(from + 1, '\'') : NULL;
		if (end) cut_key(key, size, from + 1, (size_t)(end - from - 1));
		else cut_key(key, size, prompt, strlen(prompt));
		return CUBE_ASK_PASSPHRASE;
	}
	at = strrchr(prompt, '@');
	end = at ? strstr(at, PASSWORD) : NULL;
	if (end && *prompt != '(') {
		size_t n = (size_t)(end - at - 1);
		bool ours = !host || (strlen(host) == n && !strncasecmp(at + 1, host, n));
		cut_key(key, size, prompt, (size_t)((ours ? at : end) - prompt));
		return CUBE_ASK_PASSWORD;
	}
	cut_key(key, size, prompt, strlen(prompt));
	return strncmp(prompt, PIN, sizeof PIN - 1) ? CUBE_ASK_KEYBOARD : CUBE_ASK_PASSWORD;
}

/* ---- questions --------------------------------------------------------------------------- */

static void drop(struct question *q) {
	if (q->a->open == q) q->a->open = NULL;
	q->a->waiting--;
	cube_list_remove(&q->entry);
	cube_io_del(q->io);
	close(q->fd);
	free(q);
}

/* A fresh socket has room for this; where not, ssh asks in vain. */
static void reply(struct question *q, const char *answer) {
	char text[CUBE_ASK_ANSWER + 2];
	int n = snprintf(text, sizeof text, "%s%s", answer ? "Y" : "N", answer ? answer : "");
	if (n >= (int)sizeof text) n = sizeof text - 1;
	if (send(q->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) errno = 0;
	explicit_bzero(text, sizeof text);
	drop(q);
}

static const char *prompt_of(const struct question *q) {
	const char *nl = strchr(q->text, '\n');
	return nl ? nl + 1 : q->text;
}

static struct kept *find_kept(struct cube_askpass *a, enum cube_ask_kind kind, const char *key) {
	for (unsigned i = 0; i < a->nkept; i++)
		if (a->kept[i].kind == kind && !strcmp(a->kept[i].key, key)) return &a->kept[i];
	return NULL;
}

static void put(struct question *q) {
	struct cube_askpass *a = q->a;
	const char *prompt = prompt_of(q);
	char key[KEY_MAX];
	enum cube_ask_kind kind = cube_askpass_kind(prompt, a->host, key, sizeof key);
	struct kept *kept = find_kept(a, kind, key);
	a->asked = true;
	if (kept && !kept->used) {
		kept->used = true;
		reply(q, kept->answer);
		return;
	}
	struct cube_ask ask = {.kind = kind, .key = key, .title = "", .n = 1, .again = kept};
	ask.prompts[0].text = prompt;
	ask.prompts[0].echo = strstr(prompt, "yes/no") != NULL;
	a->open = q;
	a->events->ask(a->arg, &ask);
}

static void next(void *arg) {
	struct cube_askpass *a = arg;
	while (!a->gone && !a->open) {
		struct question *found = NULL;
		cube_list_each (&a->questions, q, struct question, entry) {
			if (q->whole && !q->told && !found) found = q;
		}
		if (!found) return;
		put(found);
	}
}

void cube_askpass_answer(struct cube_askpass *a, const char *answer) {
	struct question *q = a->open;
	char key[KEY_MAX];
	if (!q) return;
	enum cube_ask_kind kind = cube_askpass_kind(prompt_of(q), a->host, key, sizeof key);
	struct kept *kept = find_kept(a, kind, key);
	if (!kept && a->nkept < KEPT_MAX && kind != CUBE_ASK_KEYBOARD) kept = &a->kept[a->nkept++];
	if (kept) {
		kept->kind = kind;
		kept->used = true;
		snprintf(kept->key, sizeof kept->key, "%s", key);
		explicit_bzero(kept->answer, sizeof kept->answer);
		snprintf(kept->answer, sizeof kept->answer, "%s", answer);
	}
	reply(q, answer);
	cube_loop_defer(a->loop, next, a);
}

/* ---- the socket -------------------------------------------------------------------------- */

static void on_whole(struct question *q) {
	struct cube_askpass *a = q->a;
	q->whole = true;
	q->text[q->n] = '\0';
	cube_io_set(q->io, 0);
	if (!strncmp(q->text, "none\n", 5)) {
		q->told = true;
		a->events->note(a->arg, prompt_of(q));
	} else {
		next(a);
	}
}

/* After the end of file only the other end's death is of interest. */
static void on_io(void *arg, uint32_t events) {
	struct question *q = arg;
	if (q->whole) {
		struct cube_askpass *a = q->a;
		bool told = q->told;
		drop(q);
		if (told) a->events->note_over(a->arg);
		else next(a);
		return;
	}
	ssize_t n = recv(q->fd, q->text + q->n, PROMPT_MAX - q->n, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	/* One that was ended before it said anything: the key was touched at once. */
	bool silent = n == 0 && !memchr(q->text, '\n', q->n);
	if (n < 0 || silent) drop(q);
	else if (n == 0 || (q->n += (size_t)n) == PROMPT_MAX) on_whole(q);
}

static void on_connection(void *arg, int fd) {
	struct cube_askpass *a = arg;
	if (a->waiting == WAITING_MAX) {
		close(fd);
		return;
	}
	struct question *q = cube_alloc(sizeof *q);
	q->a = a;
	q->fd = fd;
	if (cube_io_add(a->loop, fd, EPOLLIN, on_io, q, &q->io, NULL) < 0) {
		close(fd);
		free(q);
		return;
	}
	a->waiting++;
	cube_list_append(&a->questions, &q->entry);
}

/* ---- its life ---------------------------------------------------------------------------- */

static void add_variable(struct cube_strv *env, const char *name, const char *value) {
	cube_autofree char *word = cube_strf("%s=%s", name, value);
	cube_strv_add(env, word);
}

/* ssh runs its LocalCommand by it, as a proxy's: an account of a service has none that runs
 * anything, and without the variable it is /bin/sh. */
static bool is_no_shell(const char *variable) {
	static const char *const NONE[] = {"SHELL=/bin/false", "SHELL=/usr/bin/false",
					   "SHELL=/sbin/nologin", "SHELL=/usr/sbin/nologin"};
	for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++)
		if (!strcmp(variable, NONE[i])) return true;
	return false;
}

static void make_environment(struct cube_askpass *a, const char *path) {
	static const char *const OURS[] = {"SSH_ASKPASS=", "SSH_ASKPASS_REQUIRE=", VARIABLE "="};
	char self[4096] = "";
	for (char **e = environ; *e; e++) {
		bool ours = is_no_shell(*e);
		for (size_t i = 0; i < sizeof OURS / sizeof OURS[0]; i++)
			ours |= !strncmp(*e, OURS[i], strlen(OURS[i]));
		if (!ours) cube_strv_add(&a->env, *e);
	}
	add_variable(&a->env, "SSH_ASKPASS_REQUIRE", path ? "force" : "never");
	if (!path) return;
	static const char GONE[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	size_t len = n < 0 ? 0 : (size_t)n, tail = sizeof GONE - 1;
	/* Replaced by a newer one meanwhile, which does as well. */
	if (len > tail && !strcmp(self + len - tail, GONE)) self[len - tail] = '\0';
	add_variable(&a->env, "SSH_ASKPASS", self);
	add_variable(&a->env, VARIABLE, path);
}

int cube_askpass_new(struct cube_loop *loop, const struct cube_askpass_events *events, void *arg,
		     struct cube_askpass **ret, struct cube_err *err) {
	char hex[2][CUBE_ID_HEX];
	struct cube_askpass *a = cube_alloc(sizeof *a);
	*a = (struct cube_askpass){.loop = loop, .events = events, .arg = arg};
	cube_list_init(&a->questions);
	cube_id_hex(cube_id_u64(), hex[0]);
	cube_id_hex(cube_id_u64(), hex[1]);
	cube_autofree char *path = cube_strf("@cube-ask-%s%s", hex[0], hex[1]);
	int rc = events ? cube_listen_unix(loop, path, on_connection, a, &a->listen, err) : 0;
	if (rc < 0) {
		free(a);
		return rc;
	}
	make_environment(a, events ? path : NULL);
	*ret = a;
	return 0;
}

const char *const *cube_askpass_envp(const struct cube_askpass *a) {
	return (const char *const *)cube_strv_argv(&a->env);
}

void cube_askpass_target(struct cube_askpass *a, const char *host) {
	free(a->host);
	a->host = cube_strdup(host);
}

void cube_askpass_next(struct cube_askpass *a) {
	a->asked = false;
	for (unsigned i = 0; i < a->nkept; i++) a->kept[i].used = false;
}

void cube_askpass_forget(struct cube_askpass *a) {
	explicit_bzero(a->kept, sizeof a->kept);
	a->nkept = 0;
}

bool cube_askpass_asked(const struct cube_askpass *a) {
	return a->asked;
}

void cube_askpass_free(struct cube_askpass *a) {
	if (!a || a->gone) return;
	a->gone = true;
	cube_list_each (&a->questions, q, struct question, entry) drop(q);
	cube_listen_free(a->listen);
	cube_strv_done(&a->env);
	cube_askpass_forget(a);
	free(a->host);
	a->host = NULL;
	cube_loop_defer(a->loop, free, a); /* a question may be just being put */
}

/* ---- the other end ----------------------------------------------------------------------- */

static int send_question(int fd, const char *kind, const char *prompt) {
	cube_autofree char *text = cube_strf("%s\n%.*s", kind, PROMPT_MAX - 16, prompt);
	size_t n = strlen(text);
	return send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n ? shutdown(fd, SHUT_WR) : -1;
}

int cube_askpass_main(int argc, char **argv) {
	const char *path = getenv(VARIABLE), *kind = getenv("SSH_ASKPASS_PROMPT");
	char answer[CUBE_ASK_ANSWER + 3];
	size_t n = 0;
	int fd, code = 1;
	if (!path || cube_connect_unix(path, &fd, NULL) < 0) return 1;
	if (send_question(fd, kind ? kind : "", argc > 1 ? argv[1] : "") < 0) return 1;
	for (ssize_t got = 1; got > 0 && n<sizeof answer - 2; n += got> 0 ? (size_t)got : 0)
		got = recv(fd, answer + n, sizeof answer - 2 - n, 0);
	if (n && answer[0] == 'Y') {
		answer[n++] = '\n';
		bool said = write(STDOUT_FILENO, answer + 1, n - 1) == (ssize_t)n - 1;
		code = said && (!kind || strcmp(kind, "confirm") || !strncmp(answer, "Yyes", 4))
			       ? 0
			       : 1;
	}
	explicit_bzero(answer, sizeof answer);
	return code;
}
