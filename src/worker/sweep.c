#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

/* ---- one process ---------------------------------------------------------------------------- */

static bool is_cookie(const char *entry) {
	return strncmp(entry, "CUBE_", 5) == 0 && (strncmp(entry + 5, "COOKIE=", 7) == 0 ||
						   strncmp(entry + 5, "NODE_COOKIE=", 12) == 0);
}

/* What may not be signalled does not count: waiting for it would not help. */
static void found(struct sweep *s, pid_t pid) {
	if (kill(pid, s->killing ? SIGKILL : 0) == 0) s->found++;
}

/* All sweeps that look for this entry have found pid. */
static void meet(struct sweeper *w, const char *entry, pid_t pid) {
	cube_list_each (&w->sweeps, s, struct sweep, entry)
		if (strcmp(s->cookie, entry) == 0) found(s, pid);
}

/* Entries that end with a NUL each. */
static void look_at(struct sweeper *w, const char *p, const char *end, pid_t pid) {
	while (p < end) {
		if (is_cookie(p)) meet(w, p, pid);
		p += strlen(p) + 1;
	}
}

/* Environments can be megabytes: read in chunks that are cut behind an entry's NUL. What is longer
 * than a chunk is no cookie and is skipped. buf has CHUNK + 1 bytes. */
static void look_into(struct sweeper *w, int fd, char *buf, pid_t pid) {
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
		look_at(w, from, end, pid);
		kept -= (size_t)(end - buf);
		memmove(buf, end, kept);
	}
	buf[kept] = '\0';
	if (!inside) look_at(w, buf, buf + kept, pid);
}

static uint64_t next_number(char **at) {
	uint64_t n = 0;

	while (**at == ' ') ++*at;
	for (; **at >= '0' && **at <= '9'; ++*at) n = n * 10 + (uint64_t)(**at - '0');
	return n;
}

/* "PID (NAME) STATE PARENT GROUP SESSION ...", where NAME may hold anything. False for a process
 * that is dead already, which nobody may have reaped. */
static bool read_stat(struct sweeper *w, int fd, char *buf, pid_t pid) {
	ssize_t n = read(fd, buf, CHUNK);
	pid_t parent, session;
	char *at;

	buf[n > 0 ? n : 0] = '\0';
	at = strrchr(buf, ')');
	if (!at || strlen(at) < 4 || at[2] == 'Z' || at[2] == 'X') return false;
	at += 3;
	parent = (pid_t)next_number(&at);
	next_number(&at);
	session = (pid_t)next_number(&at);
	cube_list_each (&w->sweeps, s, struct sweep, entry)
		if ((s->session && s->session == session) || (s->node && parent == getpid()))
			found(s, pid);
	return true;
}

static int open_file(int proc, const char *pid, const char *file) {
	char path[32];
	size_t len = strlen(pid);

	if (len > 10) return -1;
	memcpy(path, pid, len);
	memcpy(path + len, file, strlen(file) + 1);
	return openat(proc, path, O_RDONLY | O_CLOEXEC);
}

static void look_at_one(struct sweeper *w, int proc, const char *name, pid_t pid, char *buf) {
	int fd = open_file(proc, name, "/stat");
	bool alive = fd >= 0 && read_stat(w, fd, buf, pid);

	if (fd >= 0) close(fd);
	fd = alive ? open_file(proc, name, "/environ") : -1;
	if (fd < 0) return; /* another user's, hidden, or gone */
	look_into(w, fd, buf, pid);
	close(fd);
}

/* False without the memory or descriptors to look. */
static bool look_at_all(struct sweeper *w) {
	char *buf = malloc(CHUNK + 1);
	DIR *proc = opendir("/proc");
	bool ok = buf && (proc || errno == ENOENT); /* a chroot without /proc: nothing to see */
	struct dirent *e;

	while (ok && proc && (e = readdir(proc))) {
		uint64_t pid;

		if (cube_parse_u64(e->d_name, 1, INT32_MAX, &pid, NULL) < 0) continue;
		if ((pid_t)pid != getpid()) look_at_one(w, dirfd(proc), e->d_name, (pid_t)pid, buf);
	}
	free(buf);
	if (proc) closedir(proc);
	return ok;
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

	cube_list_each (&w->sweeps, s, struct sweep, entry)
		if (s->next < next) next = s->next;
	if (next != UINT64_MAX) cube_timer_arm(w->timer, next);
}

static void on_timer(void *arg) {
	struct sweeper *w = arg;
	uint64_t now = cube_loop_now(w->loop);
	struct cube_list over;
	bool blind;

	cube_list_each (&w->sweeps, s, struct sweep, entry) prepare(s, now);
	blind = !look_at_all(w);
	cube_list_init(&over);
	cube_list_each (&w->sweeps, s, struct sweep, entry) {
		plan(s, now);
		if ((s->found || blind) && s->kills <= KILLS_MAX) continue;
		cube_list_remove(&s->entry);
		cube_list_append(&over, &s->entry);
	}
	while (!cube_list_empty(
		&over)) { /* a callback may cancel others of them, or start new ones */
		struct sweep *s = cube_container(over.next, struct sweep, entry);

		cube_list_remove(&s->entry);
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
	cube_list_each (&w->sweeps, s, struct sweep, entry) cube_list_remove(&s->entry);
	cube_timer_del(w->timer);
	w->timer = NULL;
}

void sweep_start(struct sweeper *w, struct sweep *s, const char *entry, pid_t session,
		 uint64_t kill_at, sweep_done_fn *done, void *arg) {
	sweep_cancel(s);
	*s = (struct sweep){.cookie = entry,
			    .session = session,
			    .node = strncmp(entry, "CUBE_NODE", 9) == 0,
			    .kill_at = kill_at,
			    .next = cube_loop_now(w->loop),
			    .pause = COUNT_PAUSE,
			    .done = done,
			    .arg = arg};
	cube_list_append(&w->sweeps, &s->entry);
	arm(w);
}

bool sweep_running(const struct sweep *s) {
	return cube_list_linked(&s->entry);
}

void sweep_kill_at(struct sweeper *w, struct sweep *s, uint64_t kill_at) {
	if (kill_at >= s->kill_at) return;
	s->kill_at = kill_at;
	if (s->next > kill_at) s->next = kill_at;
	arm(w);
}

void sweep_cancel(struct sweep *s) {
	cube_list_remove(&s->entry);
}
