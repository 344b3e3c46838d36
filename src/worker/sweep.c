#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/clock.h"
#include "cube/parse.h"
#include "sweep.h"

enum { CHUNK = 16384, COOKIES_MAX = 4, KILLS_MAX = 2500 };

/* Between two passes: while killing, and while only counting (doubled each time). */
#define KILL_PAUSE  (4 * CUBE_NS_PER_MS)
#define COUNT_PAUSE (5 * CUBE_NS_PER_MS)
#define COUNT_MAX   (160 * CUBE_NS_PER_MS)

enum { ATTEMPT, NODE, KINDS };

struct proc { /* in a pass; they come in rising order of their pids */
	pid_t pid, parent;
	struct sweep *of[KINDS]; /* whose it is; NULL: nobody's */
};

struct pass {
	struct sweeper *w;
	struct proc *v;
	size_t n, cap;
	pid_t self;
	char buf[CHUNK + 1];
};

/* ---- one process ---------------------------------------------------------------------------- */

static bool is_cookie(const char *entry) {
	return strncmp(entry, "CUBE_", 5) == 0 && (strncmp(entry + 5, "COOKIE=", 7) == 0 ||
						   strncmp(entry + 5, "NODE_COOKIE=", 12) == 0);
}

static void claim(struct proc *p, struct sweep *s) {
	p->of[s->node ? NODE : ATTEMPT] = s;
}

static void meet(struct pass *x, const char *entry, struct proc *p) {
	cube_list_each (&x->w->sweeps, s, struct sweep, link)
		if (strcmp(s->entry, entry) == 0) claim(p, s);
}

/* Entries that end with a NUL each. */
static void look_at(struct pass *x, const char *at, const char *end, struct proc *p) {
	while (at < end) {
		if (is_cookie(at)) meet(x, at, p);
		at += strlen(at) + 1;
	}
}

/* Environments can be megabytes: read in chunks that are cut behind an entry's NUL. What is longer
 * than a chunk is no cookie and is skipped. */
static void look_into(struct pass *x, int fd, struct proc *p) {
	char *buf = x->buf;
	size_t kept = 0;
	bool inside = false; /* of an entry that is being skipped */

	for (;;) {
		ssize_t n = read(fd, buf + kept, CHUNK - kept);
		char *from = buf, *end;

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		kept += (size_t)n;
		end = memrchr(buf, '\0', kept);
		if (!end) {
			if (kept < CHUNK) continue;
			inside = true;
			kept = 0;
			continue;
		}
		end++;
		if (inside) from = (char *)memchr(buf, '\0', kept) + 1;
		inside = false;
		look_at(x, from, end, p);
		kept -= (size_t)(end - buf);
		memmove(buf, end, kept);
	}
	buf[kept] = '\0';
	if (!inside) look_at(x, buf, buf + kept, p);
}

/* "PID (NAME) STATE PARENT GROUP SESSION ...", where a name may hold anything. False for what is
 * dead already. */
static bool read_stat(struct pass *x, int fd, struct proc *p) {
	ssize_t n = read(fd, x->buf, 512);
	char *at, *end;
	long session;

	x->buf[n > 0 ? n : 0] = '\0';
	at = strrchr(x->buf, ')');
	if (!at || strlen(at) < 4 || at[2] == 'Z' || at[2] == 'X') return false;
	p->parent = (pid_t)strtol(at + 3, &end, 10);
	strtol(end, &end, 10);
	session = strtol(end, &end, 10);
	cube_list_each (&x->w->sweeps, s, struct sweep, link)
		if ((s->session && s->session == session) || (s->node && p->parent == x->self))
			claim(p, s);
	return true;
}

static int open_of(int proc, const char *pid, const char *file) {
	char path[32];

	snprintf(path, sizeof path, "%s/%s", pid, file);
	return openat(proc, path, O_RDONLY | O_CLOEXEC);
}

static void look_at_one(struct pass *x, int proc, const char *name, struct proc *p) {
	int fd = open_of(proc, name, "stat");
	bool alive;

	if (fd < 0) return;
	alive = read_stat(x, fd, p);
	close(fd);
	fd = alive ? open_of(proc, name, "environ") : -1;
	if (fd >= 0) { /* else it is another user's, hides it, or is gone */
		look_into(x, fd, p);
		close(fd);
	}
	if (alive) x->n++;
}

static bool make_room(struct pass *x) {
	struct proc *v;

	if (x->n < x->cap) return true;
	v = reallocarray(x->v, x->cap + 256, sizeof *v);
	if (!v) return false;
	x->v = v;
	x->cap += 256;
	return true;
}

static void look_at_all(struct pass *x) {
	DIR *proc = opendir("/proc");
	struct dirent *e;

	while (proc && (e = readdir(proc)) && make_room(x)) {
		uint64_t pid;

		if (cube_parse_u64(e->d_name, 1, INT32_MAX, &pid, NULL) < 0) continue;
		if ((pid_t)pid == x->self) continue;
		x->v[x->n] = (struct proc){.pid = (pid_t)pid};
		look_at_one(x, dirfd(proc), e->d_name, &x->v[x->n]);
	}
	if (proc) closedir(proc);
}

static int by_pid(const void *a, const void *b) {
	const struct proc *p = a, *q = b;

	return (p->pid > q->pid) - (p->pid < q->pid);
}

/* A child of one that counts does too. Parents mostly have lower numbers: few rounds. */
static void claim_children(struct pass *x) {
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < x->n; i++) {
			struct proc key = {.pid = x->v[i].parent}, *p = &x->v[i], *parent;

			parent = bsearch(&key, x->v, x->n, sizeof key, by_pid);
			for (int k = 0; parent && k < KINDS; k++) {
				if (p->of[k] || !parent->of[k]) continue;
				p->of[k] = parent->of[k];
				more = true;
			}
		}
	}
}

/* What may not be signalled does not count: waiting for it would not help. */
static void count_and_kill(struct pass *x) {
	for (size_t i = 0; i < x->n * KINDS; i++) {
		struct proc *p = &x->v[i / KINDS];
		struct sweep *s = p->of[i % KINDS];

		if (s && kill(p->pid, s->killing ? SIGKILL : 0) == 0) s->found++;
	}
}

static void run_pass(struct sweeper *w) {
	struct pass *x = malloc(sizeof *x);

	if (!x) return;
	*x = (struct pass){.w = w, .self = getpid()};
	look_at_all(x);
	claim_children(x);
	count_and_kill(x);
	free(x->v);
	free(x);
}

/* ---- passes --------------------------------------------------------------------------------- */

static void prepare(struct sweep *s, uint64_t now) {
	s->killing = now >= s->kill_at;
	s->found = 0;
	s->kills += s->killing;
}

static void plan(struct sweep *s, uint64_t now) {
	s->next = now + (s->killing ? KILL_PAUSE : s->pause);
	if (s->pause < COUNT_MAX) s->pause *= 2;
	if (!s->killing && s->next > s->kill_at) s->next = s->kill_at;
}

static void arm(struct sweeper *w) {
	uint64_t next = UINT64_MAX;

	cube_list_each (&w->sweeps, s, struct sweep, link)
		if (s->next < next) next = s->next;
	if (next != UINT64_MAX) cube_timer_arm(w->timer, next);
}

static void on_timer(void *arg) {
	struct sweeper *w = arg;
	uint64_t now = cube_loop_now(w->loop);
	struct cube_link over;

	cube_list_each (&w->sweeps, s, struct sweep, link) prepare(s, now);
	run_pass(w);
	cube_list_init(&over);
	cube_list_each (&w->sweeps, s, struct sweep, link) {
		plan(s, now);
		if (s->found && s->kills <= KILLS_MAX) continue;
		cube_list_remove(&s->link);
		cube_list_append(&over, &s->link);
	}
	while (!cube_list_empty(
		&over)) { /* a callback may cancel others of them, or start new ones */
		struct sweep *s = cube_container(over.next, struct sweep, link);

		cube_list_remove(&s->link);
		s->done(s->arg);
	}
	arm(w);
}

void sweeper_init(struct sweeper *w, struct cube_loop *loop) {
	w->loop = loop;
	w->timer = cube_timer_add(loop, on_timer, w);
	cube_list_init(&w->sweeps);
}

void sweeper_done(struct sweeper *w) {
	cube_list_each (&w->sweeps, s, struct sweep, link) cube_list_remove(&s->link);
	cube_timer_del(w->timer);
	w->timer = NULL;
}

void sweep_start(struct sweeper *w, struct sweep *s, const char *entry, pid_t session,
		 uint64_t kill_at, sweep_done_fn *done, void *arg) {
	sweep_cancel(s);
	*s = (struct sweep){.entry = entry,
			    .session = session,
			    .node = entry[5] == 'N',
			    .kill_at = kill_at,
			    .next = cube_loop_now(w->loop),
			    .pause = COUNT_PAUSE,
			    .done = done,
			    .arg = arg};
	cube_list_append(&w->sweeps, &s->link);
	arm(w);
}

bool sweep_running(const struct sweep *s) {
	return cube_link_linked(&s->link);
}

void sweep_kill_at(struct sweeper *w, struct sweep *s, uint64_t kill_at) {
	if (kill_at >= s->kill_at) return;
	s->kill_at = kill_at;
	if (s->next > kill_at) s->next = kill_at;
	arm(w);
}

void sweep_cancel(struct sweep *s) {
	cube_list_remove(&s->link);
}
