#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/logind.h"

enum { TEXT_MAX = 16384, FILES_MAX = 64, MOVE_S = 5 };

/* ---- the files ---------------------------------------------------------------------------- */

static bool read_text(const char *path, char *text) {
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);
	if (fd >= 0) close(fd);
	text[n > 0 ? n : 0] = 0;
	return n >= 0;
}

/* The first name in order that comes after `last`; false when there is none. */
static bool next_name(const char *folder, char last[256]) {
	char best[256] = "";
	DIR *d = opendir(folder);
	for (struct dirent *e; d && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".conf")) continue;
		if (strcmp(e->d_name, last) > 0 && (!*best || strcmp(e->d_name, best) < 0))
			cube_format(best, sizeof best, "%s", e->d_name);
	}
	if (d) closedir(d);
	cube_format(last, 256, "%s", best);
	return *best;
}

/* Drop-ins of one folder, in the order of their names. */
static void read_folder(struct cube_logind *l, const char *folder, char *text) {
	char name[256] = "", path[512];
	for (int i = 0; i < FILES_MAX && next_name(folder, name); i++) {
		cube_format(path, sizeof path, "%s/%s", folder, name);
		if (read_text(path, text)) cube_logind_read(l, text);
	}
}

/* The administrator's files have the last word. */
static void read_logind(struct cube_logind *l, char *text) {
	static const char *const MAIN[] = {"/etc/systemd/logind.conf", "/run/systemd/logind.conf",
					   "/usr/lib/systemd/logind.conf"};
	static const char *const FOLDERS[] = {"/usr/lib/systemd/logind.conf.d",
					      "/run/systemd/logind.conf.d",
					      "/etc/systemd/logind.conf.d"};
	for (size_t i = 0; i < 3; i++)
		if (read_text(MAIN[i], text)) {
			cube_logind_read(l, text);
			break;
		}
	for (size_t i = 0; i < 3; i++) read_folder(l, FOLDERS[i], text);
}

/* As sshd, login and sudo set it. Not getpwuid: 6 KB in a static program. */
static const char *user_name(void) {
	const char *name = getenv("LOGNAME");
	return name ? name : "";
}

enum scope_verdict scope_look(void) {
	char text[TEXT_MAX], path[512];
	struct cube_logind l = {0};
	const char *user = user_name();
	if (!read_text("/proc/self/cgroup", text) || !cube_logind_is_session(text))
		return SCOPE_SAFE;
	read_logind(&l, text);
	if (!cube_logind_kills(&l, user)) return SCOPE_SAFE;
	if (getuid() == 0) return SCOPE_LINGER; /* the system's manager always is there */
	cube_format(path, sizeof path, "/var/lib/systemd/linger/%.255s", user);
	return access(path, F_OK) == 0 ? SCOPE_LINGER : SCOPE_DOOMED;
}

/* ---- moving ------------------------------------------------------------------------------- */

/* The service manager makes a scope around this process; busctl comes with systemd. By env, which
 * all that have it have: setenv() and execvp() are 1.4 KB in a static program. */
static void ask_for_scope(const char *pid) {
	char unit[64], dir[64];
	const char *argv[] = {"/usr/bin/env",
			      getenv("XDG_RUNTIME_DIR") ? "--" : dir,
			      "busctl",
			      getuid() ? "--user" : "--system",
			      "--quiet",
			      "call",
			      "org.freedesktop.systemd1",
			      "/org/freedesktop/systemd1",
			      "org.freedesktop.systemd1.Manager",
			      "StartTransientUnit",
			      "ssa(sv)a(sa(sv))",
			      unit,
			      "fail",
			      "1",
			      "PIDs",
			      "au",
			      "1",
			      pid,
			      "0",
			      NULL};
	int null = open("/dev/null", O_RDWR);
	cube_format(unit, sizeof unit, "cube-worker-%s.scope", pid);
	cube_format(dir, sizeof dir, "XDG_RUNTIME_DIR=/run/user/%u", (unsigned)getuid());
	for (int fd = 0; fd < 3; fd++) dup2(null, fd);
	alarm(MOVE_S); /* stays set in the new program */
	execve(argv[0], (char *const *)argv, environ);
	_exit(127);
}

/* The manager moves us some time after its answer, and nothing tells when: our cgroup is looked at
 * until it changes. */
static bool moved(void) {
	static const struct timespec PAUSE = {.tv_nsec = 2000000};
	char text[TEXT_MAX];
	for (int i = 0; i < MOVE_S * 500; i++) {
		if (read_text("/proc/self/cgroup", text) && !cube_logind_is_session(text))
			return true;
		nanosleep(&PAUSE, NULL);
	}
	return false;
}

static bool move(void) {
	char pid[16];
	int status = -1;
	cube_format(pid, sizeof pid, "%d", (int)getpid());
	pid_t child = fork();
	if (child == 0) ask_for_scope(pid);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
	return status == 0 && moved();
}

void scope_leave(char *notice, size_t size) {
	enum scope_verdict verdict = scope_look();
	*notice = 0;
	if (verdict == SCOPE_SAFE || (verdict == SCOPE_LINGER && move())) return;
	cube_format(notice, size,
		    "logind ends the worker and its tasks at logout (KillUserProcesses=yes)%s",
		    verdict == SCOPE_DOOMED ? "; run there: loginctl enable-linger"
					    : ", and it could not leave the session");
}
