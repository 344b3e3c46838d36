/* The resolver threads: see resolve.h.
 *
 * Questions go to the threads in one list and come back in another; an eventfd wakes the loop. A
 * name server that does not answer costs a question 10 s, so there are a few threads: one is
 * started whenever none is idle. getaddrinfo cannot be interrupted, so nobody waits for them:
 * what they share with the loop is counted and goes with the last.
 */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cube/list.h"
#include "cube/mem.h"
#include "resolve.h"

enum { THREADS_MAX = 8 };

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	struct cube_list todo, done; /* of struct cube_resolve */
	int wake;                    /* eventfd */
	int refs;
	unsigned questions, idle; /* in todo; threads that wait for one */
	bool quit;
};

struct cube_resolve {
	struct cube_list entry;
	char *host;
	uint16_t port;
	cube_resolve_fn *fn; /* NULL: canceled; the loop's alone, the thread does not look */
	void *arg;
	struct cube_addrs addrs;
	int gai, sys; /* results of getaddrinfo */
};

struct cube_resolver {
	struct shared *shared;
	struct cube_loop *loop;
	struct cube_io *io;
	unsigned threads;
};

/* ---- addresses --------------------------------------------------------------------------- */

const char *cube_addr_text(const struct cube_addr *addr, char *buf, size_t size) {
	if (getnameinfo((const struct sockaddr *)&addr->sa, addr->len, buf, (socklen_t)size, NULL,
			0, NI_NUMERICHOST))
		snprintf(buf, size, "unknown address");
	return buf;
}

static int lookup(const char *host, uint16_t port, int flags, struct cube_addrs *ret) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
	struct addrinfo *list = NULL;
	char service[8];
	snprintf(service, sizeof service, "%u", port);
	int rc = getaddrinfo(host, service, &hints, &list);
	if (rc) return rc;
	ret->len = 0;
	for (struct addrinfo *a = list; a && ret->len < CUBE_RESOLVE_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof ret->v[0].sa) continue;
		memcpy(&ret->v[ret->len].sa, a->ai_addr, a->ai_addrlen);
		ret->v[ret->len++].len = a->ai_addrlen;
	}
	freeaddrinfo(list);
	return ret->len ? 0 : EAI_NONAME;
}

bool cube_resolve_numeric(const char *host, uint16_t port, struct cube_addrs *ret) {
	return lookup(host, port, AI_NUMERICHOST, ret) == 0;
}

/* ---- the thread -------------------------------------------------------------------------- */

static void question_free(struct cube_resolve *q) {
	free(q->host);
	free(q);
}

static void unref(struct shared *s) {
	pthread_mutex_lock(&s->lock);
	int refs = --s->refs;
	pthread_mutex_unlock(&s->lock);
	if (refs) return;
	cube_list_each (&s->todo, q, struct cube_resolve, entry) question_free(q);
	cube_list_each (&s->done, q, struct cube_resolve, entry) question_free(q);
	close(s->wake);
	pthread_cond_destroy(&s->asked);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct cube_resolve *next_question(struct shared *s) {
	struct cube_resolve *q = NULL;
	pthread_mutex_lock(&s->lock);
	s->idle++;
	while (!s->quit && cube_list_empty(&s->todo)) pthread_cond_wait(&s->asked, &s->lock);
	s->idle--;
	if (!s->quit) {
		q = cube_container(s->todo.next, struct cube_resolve, entry);
		cube_list_remove(&q->entry);
		s->questions--;
	}
	pthread_mutex_unlock(&s->lock);
	return q;
}

static void *resolver_main(void *arg) {
	struct shared *s = arg;
	struct cube_resolve *q;
	while ((q = next_question(s))) {
		uint64_t one = 1;
		q->gai = lookup(q->host, q->port, AI_ADDRCONFIG, &q->addrs);
		q->sys = errno;
		pthread_mutex_lock(&s->lock);
		cube_list_append(&s->done, &q->entry);
		pthread_mutex_unlock(&s->lock);
		while (write(s->wake, &one, sizeof one) < 0 && errno == EINTR) {}
	}
	unref(s);
	return NULL;
}

static void count_thread(struct cube_resolver *r, int n) {
	pthread_mutex_lock(&r->shared->lock);
	r->shared->refs += n;
	pthread_mutex_unlock(&r->shared->lock);
	r->threads += (unsigned)n;
}

static bool need_thread(struct cube_resolver *r) {
	pthread_mutex_lock(&r->shared->lock);
	bool busy = r->shared->questions >= r->shared->idle;
	pthread_mutex_unlock(&r->shared->lock);
	return r->threads < THREADS_MAX && (busy || !r->threads);
}

/* Signals belong to the loop's thread. */
static int start_thread(struct cube_resolver *r, struct cube_err *err) {
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	count_thread(r, 1);
	int rc = pthread_create(&thread, &attr, resolver_main, r->shared);
	if (rc) count_thread(r, -1);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc ? cube_fail_sys(err, rc, "cannot start a resolver thread") : 0;
}

/* ---- the loop's side --------------------------------------------------------------------- */

static void answer(struct cube_resolve *q) {
	struct cube_err err;
	if (!q->fn) return;
	if (!q->gai) {
		q->fn(q->arg, &q->addrs, NULL);
		return;
	}
	const char *why = q->gai == EAI_SYSTEM ? strerror(q->sys) : gai_strerror(q->gai);
	cube_fail(&err, CUBE_ECONNECT, "cannot resolve %s: %s", q->host, why);
	if (q->gai == EAI_AGAIN) err.sys = EAGAIN;
	q->fn(q->arg, NULL, &err);
}

static void on_wake(void *arg, uint32_t events) {
	struct cube_resolver *r = arg;
	struct shared *s = r->shared;
	uint64_t count;
	if (read(s->wake, &count, sizeof count) < 0) return;
	pthread_mutex_lock(&s->lock);
	s->refs++; /* an answer may free the resolver */
	for (;;) {
		if (s->quit || cube_list_empty(&s->done)) break;
		struct cube_resolve *q = cube_container(s->done.next, struct cube_resolve, entry);
		cube_list_remove(&q->entry);
		pthread_mutex_unlock(&s->lock);
		answer(q);
		question_free(q);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	unref(s);
}

int cube_resolver_new(struct cube_loop *loop, struct cube_resolver **ret, struct cube_err *err) {
	int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0) return cube_fail_sys(err, errno, "eventfd");
	struct cube_resolver *r = cube_alloc(sizeof *r);
	struct shared *s = r->shared = cube_alloc(sizeof *s);
	r->loop = loop;
	s->wake = wake;
	s->refs = 1;
	cube_list_init(&s->todo);
	cube_list_init(&s->done);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->asked, NULL);
	int rc = cube_io_add(loop, wake, EPOLLIN, on_wake, r, &r->io, err);
	if (rc < 0) {
		unref(s);
		free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

void cube_resolver_free(struct cube_resolver *r) {
	if (!r) return;
	cube_io_del(r->io);
	pthread_mutex_lock(&r->shared->lock);
	r->shared->quit = true;
	pthread_cond_broadcast(&r->shared->asked);
	pthread_mutex_unlock(&r->shared->lock);
	unref(r->shared);
	free(r);
}

int cube_resolve_start(struct cube_resolver *r, const char *host, uint16_t port,
		       cube_resolve_fn *fn, void *arg, struct cube_resolve **ret,
		       struct cube_err *err) {
	int rc = need_thread(r) ? start_thread(r, err) : 0;
	if (rc < 0 && !r->threads) return rc;
	struct cube_resolve *q = cube_alloc(sizeof *q);
	q->host = cube_strdup(host);
	q->port = port;
	q->fn = fn;
	q->arg = arg;
	*ret = q;
	pthread_mutex_lock(&r->shared->lock);
	cube_list_append(&r->shared->todo, &q->entry);
	r->shared->questions++;
	pthread_cond_signal(&r->shared->asked);
	pthread_mutex_unlock(&r->shared->lock);
	return 0;
}

void cube_resolve_cancel(struct cube_resolve *q) {
	if (q) q->fn = NULL;
}
