#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cube/procfs.h"
#include "sweep.h"

enum { CHUNK = 16384, COUNT_MS = 20, KILL_MS = 4, KILLS_MAX = 2500 };

static int hold_open(int dir, const char *path) {
	int fd;

	do fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Environments can be megabytes: looked at in chunks that end with a whole entry. `buf` holds
 * CHUNK bytes; an entry longer than that cannot be the one looked for and is skipped. */
static bool environ_has(int fd, char *buf, const char *entry) {
	size_t kept = 0;
	bool skipping = false;

	for (;;) {
		ssize_t n = read(fd, buf + kept, CHUNK - kept);
		size_t whole;
		char *end;

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return !skipping && cube_procfs_environ_has(buf, kept, entry);
		kept += (size_t)n;
		end = memrchr(buf, '\0', kept);
		if (!end) {
			if (kept < CHUNK) continue;
			skipping = true;
			kept = 0;
			continue;
		}
		whole = (size_t)(end + 1 - buf);
		if (skipping) { /* the rest of the long entry, up to its NUL */
			size_t rest = (size_t)((char *)memchr(buf, '\0', kept) + 1 - buf);

			skipping = false;
			if (cube_procfs_environ_has(buf + rest, whole - rest, entry)) return true;
		} else if (cube_procfs_environ_has(buf, whole, entry)) return true;
		kept -= whole;
		memmove(buf, buf + whole, kept);
	}
}

static bool process_has(int proc, const char *pid, char *buf, const char *entry) {
	char path[32];
	size_t len = strlen(pid);
	int fd;
	bool has;

	memcpy(path, pid, len);
	memcpy(path + len, "/environ", sizeof "/environ");
	fd = hold_open(proc, path);
	if (fd < 0) return false;
	has = environ_has(fd, buf, entry);
	close(fd);
	return has;
}

unsigned sweep_pass(const char *entry, int signo) {
	DIR *proc = opendir("/proc");
	char *buf = malloc(CHUNK);
	unsigned found = 0;
	struct dirent *e;
	pid_t self = getpid();

	while (proc && buf && (e = readdir(proc))) {
		char *end;
		long pid;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' || strlen(e->d_name) > 10) continue;
		pid = strtol(e->d_name, &end, 10);
		if (*end || pid == self || !process_has(dirfd(proc), e->d_name, buf, entry)) continue;
		found++;
		if (signo) kill((pid_t)pid, signo);
	}
	free(buf);
	if (proc) closedir(proc);
	return found;
}

static void pass(void *arg) {
	struct sweep *s = arg;
	bool killing = cube_loop_now(s->loop) >= s->kill_at;
	unsigned left = 0;
	uint64_t next;

	if (s->group && kill(-s->group, killing ? SIGKILL : 0) == 0) left++;
	left += sweep_pass(s->entry, killing ? SIGKILL : 0);
	if (killing) s->kills++;
	if (!left || s->kills > KILLS_MAX) {
		sweep_done_fn *done = s->done;

		sweep_cancel(s);
		done(s->arg);
		return;
	}
	next = cube_loop_now(s->loop) + (killing ? KILL_MS : COUNT_MS) * 1000000ull;
	cube_timer_arm(s->timer, !killing && next > s->kill_at ? s->kill_at : next);
}

void sweep_start(struct sweep *s, struct cube_loop *loop, const char *entry, pid_t group,
		 uint64_t kill_at, sweep_done_fn *done, void *arg) {
	sweep_cancel(s);
	*s = (struct sweep){.loop = loop, .entry = entry, .group = group, .kill_at = kill_at};
	s->done = done;
	s->arg = arg;
	s->timer = cube_timer_add(loop, pass, s);
	cube_timer_after(s->timer, 0);
}

bool sweep_running(const struct sweep *s) {
	return s->timer;
}

void sweep_kill_at(struct sweep *s, uint64_t kill_at) {
	if (kill_at >= s->kill_at) return;
	s->kill_at = kill_at;
	cube_timer_after(s->timer, 0);
}

void sweep_cancel(struct sweep *s) {
	cube_timer_del(s->timer);
	s->timer = NULL;
}
