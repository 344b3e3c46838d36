#include "cube/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube/clock.h"
#include "cube/mem.h"

#define ALONE_NS   (10 * CUBE_NS_PER_S)  /* nobody there who could be asked */
#define PATIENT_NS (100 * CUBE_NS_PER_S) /* for a person */
#define TEXT_LEN   1024u                 /* of what a server asks */
#define KEPT       64u                   /* secrets; the oldest goes first */

struct secret { /* an answer that was accepted */
	struct cube_list entry;
	enum cube_ask_kind kind;
	char *key, *answer;
	char *wrong_for[CUBE_PROMPT_TRIES]; /* who had refused it before it was accepted */
	uint64_t number;
};

struct cube_prompts {
	struct cube_loop *loop;
	struct cube_list prompts, secrets, watchers; /* secrets: the newest first */
	unsigned kept, active;
	uint64_t last_id, last_number, version;
	uint64_t alone_since;
	bool changed;
};

static const char *const kinds[] = {"password", "passphrase", "keyboard", "become"};

const char *cube_ask_kind_name(enum cube_ask_kind kind) {
	return (unsigned)kind < CUBE_ASK_KINDS ? kinds[kind] : "?";
}

static void wipe(char **text) {
	if (*text) explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* --- secrets --- */

static void secret_free(struct cube_prompts *p, struct secret *s) {
	cube_list_remove(&s->entry);
	wipe(&s->answer);
	for (unsigned i = 0; i < CUBE_PROMPT_TRIES; i++) free(s->wrong_for[i]);
	free(s->key);
	free(s);
	p->kept--;
}

/* A person may tell the same as before, which another one takes. */
static void take_refusals(struct secret *s, struct cube_prompt *q) {
	for (unsigned i = 0; i < q->tries; i++) {
		if (!q->wrong[i] || strcmp(q->wrong[i], s->answer)) continue;
		s->wrong_for[i] = q->wrong_by[i];
		q->wrong_by[i] = NULL;
	}
}

static bool is_wrong_for(const struct secret *s, const char *name) {
	for (unsigned i = 0; i < CUBE_PROMPT_TRIES; i++)
		if (s->wrong_for[i] && !strcmp(s->wrong_for[i], name)) return true;
	return false;
}

static struct secret *secret_keep(struct cube_prompts *p, struct cube_prompt *q) {
	struct secret *s = cube_alloc(sizeof *s);
	s->kind = q->kind;
	s->key = cube_strdup(q->key);
	s->answer = q->answers[0];
	q->answers[0] = NULL;
	take_refusals(s, q);
	s->number = ++p->last_number;
	cube_list_push(&p->secrets, &s->entry);
	if (++p->kept > KEPT) secret_free(p, cube_container(p->secrets.prev, struct secret, entry));
	return s;
}

static struct secret *secret_by(struct cube_prompts *p, uint64_t number) {
	cube_list_each (&p->secrets, s, struct secret, entry) {
		if (s->number == number) return s;
	}
	return NULL;
}

/* Whether others may want the same answer. */
static bool is_shared(enum cube_ask_kind kind, unsigned n) {
	return kind != CUBE_ASK_KEYBOARD && n == 1;
}

/* The one that helped it before, else the newest, unless it refused that or a newer one: then a
 * person has to look. */
static struct secret *secret_for(struct cube_prompts *p, const struct cube_asker *a,
				 const struct cube_ask *ask) {
	struct secret *found = NULL, *refused = secret_by(p, a->refused[ask->kind]);
	if (!is_shared(ask->kind, ask->n) || ask->again) return NULL;
	if (refused && strcmp(refused->key, ask->key)) refused = NULL;
	cube_list_each (&p->secrets, s, struct secret, entry) {
		if (s->kind != ask->kind || strcmp(s->key, ask->key)) continue;
		if (s->number == a->worked[ask->kind]) return s;
		if (found || is_wrong_for(s, a->name)) continue;
		if (!refused || s->number > refused->number) found = s;
	}
	return found;
}

static void forget_passwords(struct cube_prompts *p) {
	cube_list_each (&p->secrets, s, struct secret, entry) {
		if (s->kind == CUBE_ASK_PASSWORD) secret_free(p, s);
	}
}

/* --- giving --- */

static void forget_last(struct cube_asker *a) {
	free(a->last_key);
	a->last_key = NULL;
	a->last_secret = 0;
}

static void note_last(struct cube_asker *a, enum cube_ask_kind kind, const char *key,
		      uint64_t number) {
	char *copy = cube_strdup(key);
	forget_last(a);
	a->last_kind = kind;
	a->last_key = copy;
	a->last_secret = number;
}

static void leave(struct cube_asker *a) {
	cube_list_remove(&a->entry);
	a->prompt = NULL;
}

static void give_none(struct cube_asker *a, const char *why) {
	leave(a);
	forget_last(a); /* that it fails now is no fault of what it was given */
	a->answer(a->arg, NULL, why);
}

/* The asker may end within, and take the secret along. */
static void give_secret(struct cube_asker *a, const struct secret *s) {
	char answer[CUBE_ASK_ANSWER + 1];
	const char *const answers[] = {answer, NULL};
	snprintf(answer, sizeof answer, "%s", s->answer);
	leave(a);
	note_last(a, s->kind, s->key, s->number);
	a->answer(a->arg, answers, NULL);
	explicit_bzero(answer, sizeof answer);
}

/* --- prompts --- */

static void on_timer(void *arg);

static void touch(struct cube_prompt *q) {
	q->version = ++q->all->version;
	q->all->changed = true;
}

static void wipe_answers(struct cube_prompt *q) {
	for (unsigned i = 0; i < CUBE_ASK_PROMPTS; i++) wipe(&q->answers[i]);
}

static struct cube_prompt *prompt_new(struct cube_prompts *p, const struct cube_ask *ask) {
	struct cube_prompt *q = cube_alloc(sizeof *q);
	q->all = p;
	q->kind = ask->kind;
	q->key = cube_strdup(ask->key);
	q->title = cube_strndup(ask->title ? ask->title : "", TEXT_LEN);
	q->n = ask->n < CUBE_ASK_PROMPTS ? ask->n : CUBE_ASK_PROMPTS;
	for (unsigned i = 0; i < q->n; i++) {
		q->texts[i] =
			cube_strndup(ask->prompts[i].text ? ask->prompts[i].text : "", TEXT_LEN);
		q->echo[i] = ask->prompts[i].echo;
	}
	cube_list_init(&q->askers);
	cube_list_append(&p->prompts, &q->entry);
	q->timer = cube_timer_add(p->loop, on_timer, q);
	q->id = ++p->last_id;
	touch(q);
	return q;
}

/* Of a prompt without askers. */
static void prompt_free(struct cube_prompt *q) {
	touch(q);
	wipe_answers(q);
	for (unsigned i = 0; i < CUBE_PROMPT_TRIES; i++) {
		wipe(&q->wrong[i]);
		free(q->wrong_by[i]);
	}
	cube_list_remove(&q->entry);
	cube_timer_del(q->timer);
	for (unsigned i = 0; i < q->n; i++) free(q->texts[i]);
	free(q->refused_by);
	free(q->title);
	free(q->key);
	free(q);
}

static struct cube_asker *first_of(struct cube_prompt *q) {
	return cube_list_empty(&q->askers)
		       ? NULL
		       : cube_container(q->askers.next, struct cube_asker, entry);
}

/* The askers, in order, in a list of their own: the prompt may go. */
static void take_askers(struct cube_prompt *q, struct cube_list *list) {
	cube_list_init(list);
	cube_list_each (&q->askers, a, struct cube_asker, entry) {
		leave(a);
		cube_list_append(list, &a->entry);
	}
}

static void give_up(struct cube_prompt *q, const char *why) {
	struct cube_list list;
	take_askers(q, &list);
	prompt_free(q);
	while (!cube_list_empty(&list))
		give_none(cube_container(list.next, struct cube_asker, entry), why);
}

/* The time until the first of its askers gives up. */
static void arm(struct cube_prompt *q) {
	const struct cube_asker *a = first_of(q);
	if (!q->id || !a) {
		cube_timer_disarm(q->timer);
		return;
	}
	uint64_t at = a->asked_at + PATIENT_NS;
	if (cube_list_empty(&q->all->watchers)) {
		uint64_t since =
			a->asked_at > q->all->alone_since ? a->asked_at : q->all->alone_since;
		if (since + ALONE_NS < at) at = since + ALONE_NS;
	}
	cube_timer_arm(q->timer, at);
}

static void on_timer(void *arg) {
	struct cube_prompt *q = arg;
	struct cube_asker *a = first_of(q);
	if (cube_list_empty(&q->all->watchers)) {
		give_up(q, "nobody is there to answer");
		return;
	}
	bool last = a->entry.next == &q->askers;
	leave(a);
	if (last) prompt_free(q);
	else {
		touch(q);
		arm(q);
	}
	give_none(a, "no answer within 100 s");
}

/* What is nobody else's is gone when it was given. */
static void give_private(struct cube_prompt *q, struct cube_asker *a) {
	char *answers[CUBE_ASK_PROMPTS + 1] = {NULL};
	memcpy(answers, q->answers, sizeof answers);
	memset(q->answers, 0, sizeof q->answers);
	note_last(a, q->kind, q->key, 0);
	prompt_free(q);
	a->answer(a->arg, (const char *const *)answers, NULL);
	for (unsigned i = 0; i < CUBE_ASK_PROMPTS; i++) wipe(&answers[i]);
}

/* The first one tries the answers. Nothing may follow this: the prompt may be gone then. */
static void try_answers(struct cube_prompt *q) {
	struct cube_asker *a = first_of(q);
	if (!a) {
		prompt_free(q);
		return;
	}
	leave(a);
	if (!is_shared(q->kind, q->n)) {
		give_private(q, a);
		return;
	}
	q->trial = a;
	q->id = 0;
	touch(q);
	arm(q);
	note_last(a, q->kind, q->key, 0);
	a->answer(a->arg, (const char *const *)q->answers, NULL);
}

static void on_passed(struct cube_prompt *q) {
	struct cube_prompts *p = q->all;
	struct cube_list list;
	struct cube_asker *trial = q->trial;
	q->trial = NULL;
	take_askers(q, &list);
	struct secret *s = secret_keep(p, q);
	uint64_t number = s->number;
	trial->worked[s->kind] = trial->last_secret = number;
	prompt_free(q);
	while (!cube_list_empty(&list)) {
		struct cube_asker *a = cube_container(list.next, struct cube_asker, entry);
		s = secret_by(p, number);
		if (s) give_secret(a, s);
		else give_none(a, "the answer is gone");
	}
}

static void on_refused(struct cube_prompt *q) {
	q->wrong[q->tries] = q->answers[0];
	q->wrong_by[q->tries] = cube_strdup(q->trial->name);
	q->answers[0] = NULL;
	wipe_answers(q);
	free(q->refused_by);
	q->refused_by = cube_strdup(q->trial->name);
	q->trial = NULL;
	q->tries++;
	if (cube_list_empty(&q->askers)) {
		prompt_free(q);
	} else if (q->tries >= CUBE_PROMPT_TRIES) {
		give_up(q, "three answers were refused");
	} else {
		q->id = ++q->all->last_id;
		touch(q);
		arm(q);
	}
}

static void on_unknown(struct cube_prompt *q) {
	q->trial = NULL;
	try_answers(q);
}

static bool is_last(const struct cube_asker *a, enum cube_ask_kind kind, const char *key) {
	return a->last_key && a->last_kind == kind && strcmp(a->last_key, key) == 0;
}

/* The prompt whose answer it tries; with last: whose answer it was given last. */
static struct cube_prompt *tried_by(struct cube_prompts *p, const struct cube_asker *a, bool last) {
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) {
		if (q->trial == a && (!last || is_last(a, q->kind, q->key))) return q;
	}
	return NULL;
}

/* --- rounds --- */

void cube_prompts_begin(struct cube_prompts *p, struct cube_asker *a, bool may_ask) {
	cube_prompts_end(p, a, CUBE_ECANCELED);
	a->active = true;
	a->may_ask = may_ask;
	p->active++;
}

void cube_prompts_passed(struct cube_prompts *p, struct cube_asker *a) {
	struct cube_prompt *q;
	if (!a->active) return;
	if (a->last_secret) a->worked[a->last_kind] = a->last_secret;
	while ((q = tried_by(p, a, false))) on_passed(q);
	forget_last(a);
}

static void stop_waiting(struct cube_asker *a) {
	struct cube_prompt *q = a->prompt;
	leave(a);
	if (!q) return;
	if (cube_list_empty(&q->askers) && !q->trial) {
		prompt_free(q);
	} else {
		touch(q);
		arm(q);
	}
}

static void note_refused(struct cube_asker *a) {
	uint64_t *worked = &a->worked[a->last_kind];
	if (a->last_secret > a->refused[a->last_kind]) a->refused[a->last_kind] = a->last_secret;
	if (*worked == a->last_secret) *worked = 0;
}

void cube_prompts_end(struct cube_prompts *p, struct cube_asker *a, int code) {
	struct cube_prompt *q;
	if (!a->active) return;
	a->active = false;
	stop_waiting(a);
	if (code == 0) {
		if (a->last_secret) a->worked[a->last_kind] = a->last_secret;
		while ((q = tried_by(p, a, false))) on_passed(q);
	}
	if (code == CUBE_ELOGIN && a->last_key) {
		note_refused(a);
		q = tried_by(p, a, true);
		if (q) on_refused(q);
	}
	while ((q = tried_by(p, a, false))) on_unknown(q);
	forget_last(a);
	if (--p->active == 0) forget_passwords(p);
}

void cube_prompts_forget(struct cube_prompts *p) {
	cube_list_each (&p->secrets, s, struct secret, entry) secret_free(p, s);
}

static struct cube_prompt *prompt_for(struct cube_prompts *p, const struct cube_ask *ask) {
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) {
		if (is_shared(ask->kind, ask->n) && q->kind == ask->kind && q->n == 1 &&
		    strcmp(q->key, ask->key) == 0)
			return q;
	}
	return prompt_new(p, ask);
}

static void wait_in(struct cube_prompt *q, struct cube_asker *a, bool first) {
	a->prompt = q;
	a->asked_at = cube_loop_now(q->all->loop);
	if (first) cube_list_push(&q->askers, &a->entry);
	else cube_list_append(&q->askers, &a->entry);
	touch(q);
	arm(q);
}

/* What it was given did not help. Only a passphrase is asked for once more, as ssh does: it is
 * tried here, and no host counts the attempts. */
static void ask_again(struct cube_prompts *p, struct cube_asker *a, const struct cube_ask *ask) {
	struct cube_prompt *q = tried_by(p, a, true);
	bool more = ask->kind == CUBE_ASK_PASSPHRASE && a->may_ask;
	note_refused(a);
	if (q && more) wait_in(q, a, true);
	if (q) on_refused(q);
	else if (more) wait_in(prompt_for(p, ask), a, false);
	if (!more) give_none(a, "the answer was refused");
}

void cube_prompts_ask(struct cube_prompts *p, struct cube_asker *a, const struct cube_ask *ask) {
	stop_waiting(a);
	if (a->active && ask->n == 0) {
		static const char *const nothing[] = {NULL};
		a->answer(a->arg, nothing, NULL);
		return;
	}
	bool same = ask->kind == CUBE_ASK_KEYBOARD
			    ? ask->again && a->last_key && a->last_kind == ask->kind
			    : is_last(a, ask->kind, ask->key);
	if (same) {
		ask_again(p, a, ask);
		return;
	}
	/* A transport that goes on to something else could read the key. */
	struct cube_prompt *q = tried_by(p, a, true);
	if (q && q->kind == CUBE_ASK_PASSPHRASE) on_passed(q);
	const struct secret *s = secret_for(p, a, ask);
	if (s) give_secret(a, s);
	else if (!a->active || !a->may_ask) give_none(a, "nobody was there to be asked");
	else wait_in(prompt_for(p, ask), a, false);
}

/* --- people --- */

void cube_prompts_watch(struct cube_prompts *p, struct cube_prompts_watcher *w) {
	cube_list_append(&p->watchers, &w->entry);
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) arm(q);
	p->changed = true;
}

void cube_prompts_unwatch(struct cube_prompts *p, struct cube_prompts_watcher *w) {
	if (!cube_list_linked(&w->entry)) return;
	cube_list_remove(&w->entry);
	if (!cube_list_empty(&p->watchers)) return;
	p->alone_since = cube_loop_now(p->loop);
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) arm(q);
}

const struct cube_prompt *cube_prompts_next(const struct cube_prompts *p,
					    const struct cube_prompt *prompt) {
	const struct cube_prompt *found = NULL;
	uint64_t after = prompt ? prompt->id : 0;
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) {
		if (q->id > after && (!found || q->id < found->id)) found = q;
	}
	return found;
}

const struct cube_prompt *cube_prompts_find(const struct cube_prompts *p, uint64_t id) {
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) {
		if (id && q->id == id) return q;
	}
	return NULL;
}

int cube_prompts_answer(struct cube_prompts *p, uint64_t id, const char *const *answers, size_t n,
			struct cube_err *err) {
	struct cube_prompt *q = (struct cube_prompt *)cube_prompts_find(p, id);
	if (!q)
		return cube_fail(err, CUBE_ENOTFOUND, "there is no question %llu (any more)",
				 (unsigned long long)id);
	if (!answers) {
		give_up(q, "it was cancelled");
		return 0;
	}
	if (n != q->n) return cube_fail(err, CUBE_EUSAGE, "answers: there must be %u", q->n);
	for (size_t i = 0; i < n; i++) {
		if (strlen(answers[i]) > CUBE_ASK_ANSWER)
			return cube_fail(err, CUBE_EUSAGE, "answers: %d bytes at most",
					 CUBE_ASK_ANSWER);
	}
	for (size_t i = 0; i < n; i++) q->answers[i] = cube_strdup(answers[i]);
	try_answers(q);
	return 0;
}

void cube_prompts_flush(struct cube_prompts *p) {
	struct cube_list todo; /* a watcher may go, or take others along */
	if (!p->changed) return;
	p->changed = false;
	cube_list_move(&todo, &p->watchers);
	while (!cube_list_empty(&todo)) {
		struct cube_list *l = todo.next;
		cube_list_remove(l);
		cube_list_append(&p->watchers, l);
		struct cube_prompts_watcher *w =
			cube_container(l, struct cube_prompts_watcher, entry);
		w->changed(w->arg);
	}
}

int cube_prompts_new(struct cube_loop *loop, struct cube_prompts **ret, struct cube_err *err) {
	struct cube_prompts *p = cube_alloc(sizeof *p);
	p->loop = loop;
	cube_list_init(&p->prompts);
	cube_list_init(&p->secrets);
	cube_list_init(&p->watchers);
	*ret = p;
	return 0;
}

void cube_prompts_free(struct cube_prompts *p) {
	if (!p) return;
	cube_list_each (&p->prompts, q, struct cube_prompt, entry) {
		cube_list_each (&q->askers, a, struct cube_asker, entry) leave(a);
		prompt_free(q);
	}
	cube_prompts_forget(p);
	free(p);
}
