/* What only a person can answer: passwords, passphrases, second factors.
 *
 * An asker is whoever may come to need an answer: a node that joins. Askers that want the same
 * answer (kind and key of struct cube_ask) share one prompt, so that a person is asked once for all
 * of them; the server's own questions (KEYBOARD) are each asker's own. An answer goes to one of
 * them first: when it got past it, the others get it too; when it was refused, that one is out, and
 * the rest ask anew. So a wrong password costs one attempt on one host.
 *
 * Accepted passphrases and become-passwords stay in memory, as in ssh-agent, so that links are made
 * again without a person, until the last node is gone; passwords only while some asker is at work;
 * answers to KEYBOARD never. Everything is wiped when it goes.
 *
 * Whoever shows prompts to people is a watcher. A question without one is given up after 10 s, and
 * one without an answer after 100 s (sshd waits 120 s for a login).
 */
#ifndef CUBE_PROMPTS_H
#define CUBE_PROMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/list.h"
#include "cube/loop.h"
#include "cube/transport.h"

enum { CUBE_ASK_KINDS = CUBE_ASK_BECOME + 1 };

struct cube_prompts;

struct cube_asker {       /* zero-initialise, then set the first three */
	const char *name; /* for people */
	/* The answers to its question, NULL after the last, valid during the call; or NULL: there
	 * are none, and why. It
	 * may end the asker. Called from any function below, too. */
	void (*answer)(void *arg, const char *const *answers, const char *why);
	void *arg;
	/* private */
	struct cube_list entry;     /* in prompt->askers */
	struct cube_prompt *prompt; /* the one it waits in */
	uint64_t asked_at;          /* mono */
	bool active, may_ask;
	enum cube_ask_kind last_kind; /* of what it was given last in this round */
	char *last_key;               /* NULL: nothing yet */
	uint64_t last_secret;         /* its number, 0: none of those that are kept */
	uint64_t worked[CUBE_ASK_KINDS], refused[CUBE_ASK_KINDS]; /* secrets' numbers */
};

/* One round of an asker. may_ask: somebody stands behind it who asked for it; else it gets only
 * what is held already. */
void cube_prompts_begin(struct cube_prompts *p, struct cube_asker *a, bool may_ask);
/* Its question; a->answer comes once, now or later. The same question once more, or one that says
 * `again`, tells that the answer before was wrong. */
void cube_prompts_ask(struct cube_prompts *p, struct cube_asker *a, const struct cube_ask *ask);
/* It got past everything it was given. */
void cube_prompts_passed(struct cube_prompts *p, struct cube_asker *a);
/* The round is over, well or not. code: 0; CUBE_ELOGIN: what it was given last was refused; any
 * other says nothing about that. May be called twice. */
void cube_prompts_end(struct cube_prompts *p, struct cube_asker *a, int code);
/* All that is kept, when there is no node left to need it. */
void cube_prompts_forget(struct cube_prompts *p);

/* --- for people --- */

#define CUBE_PROMPT_TRIES 3 /* wrong answers to one prompt */

struct cube_prompt { /* to be read only */
	struct cube_list entry;
	struct cube_prompts *all;
	uint64_t id;      /* another one each time it is asked anew; 0: not open for answers now */
	uint64_t version; /* rises with each change that can be seen */
	enum cube_ask_kind kind;
	char *key, *title; /* title "": none */
	char *refused_by;  /* the asker that the answer before did not help, or NULL */
	unsigned n, tries;
	char *texts[CUBE_ASK_PROMPTS];
	bool echo[CUBE_ASK_PROMPTS];
	struct cube_list askers;  /* struct cube_asker.link, in the order they came */
	struct cube_asker *trial; /* who tries the answer */
	char *answers[CUBE_ASK_PROMPTS + 1];
	/* While others wait: the answers that were refused, and by whom. */
	char *wrong[CUBE_PROMPT_TRIES], *wrong_by[CUBE_PROMPT_TRIES];
	struct cube_timer *timer;
};
const char *cube_ask_kind_name(enum cube_ask_kind kind); /* "password" */

struct cube_prompts_watcher {
	struct cube_list entry;     /* zero-initialise */
	void (*changed)(void *arg); /* from flush: look at them again */
	void *arg;
};
void cube_prompts_watch(struct cube_prompts *p, struct cube_prompts_watcher *w);
void cube_prompts_unwatch(struct cube_prompts *p, struct cube_prompts_watcher *w);
/* The open ones, in the order of their ids: after NULL the first, after the last NULL. */
const struct cube_prompt *cube_prompts_next(const struct cube_prompts *p,
					    const struct cube_prompt *prompt);
const struct cube_prompt *cube_prompts_find(const struct cube_prompts *p, uint64_t id);
/* answers: as many as the prompt has texts (n), copied; NULL: refused, its askers get none.
 * CUBE_ENOTFOUND where it is not open (any more), CUBE_EUSAGE for another number of answers. */
int cube_prompts_answer(struct cube_prompts *p, uint64_t id, const char *const *answers, size_t n,
			struct cube_err *err);
void cube_prompts_flush(struct cube_prompts *p); /* order 20 */

int cube_prompts_new(struct cube_loop *loop, struct cube_prompts **ret, struct cube_err *err);
void cube_prompts_free(struct cube_prompts *p); /* after the last asker */

#endif
