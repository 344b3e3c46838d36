/* Starting the manager, as tmux starts its server: whoever holds the start lock does it, others
 * wait for the lock and find it running. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/lockholder.h"
#include "cube/mem.h"
#include "cube/text.h"

#define STARTS        3
#define READY_FD      3
#define LOG_ERROR     "Z error " /* behind the time */
#define LOG_WHO       "manager: "
#define READY_TIMEOUT (60 * CUBE_NS_PER_S)
#define SILENT        (2 * CUBE_NS_PER_S) /* then it is said what is waited for */

static bool answers(const struct cube_paths *paths) {
	struct cube_client *c = NULL;
	if (cube_client_new(paths, &c, NULL)) return false;
	int rc = cube_client_json(c, "GET", "/healthz", NULL, NULL, NULL);
	cube_client_free(c);
	return rc == 0;
}

static int take_lock(const struct cube_paths *paths, int *ret_fd, struct cube_err *err) {
	int rc = cube_paths_own(paths->state, err);
	if (rc) return rc;
	cube_autofree char *name = cube_strf("%s/start.lock", paths->state);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) return cube_fail_sys(err, errno, "cannot open %.160s", name);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR) continue;
		rc = cube_fail_sys(err, errno, "cannot lock %.160s", name);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Executes this program as the manager: own session, fd 3 for readiness, stderr to errors. */
static int execute(const struct cube_paths *paths, int ready, int errors, pid_t *ret_pid,
		   struct cube_err *err) {
	const char *const argv[] = {"cube",     "manager", "--cluster", paths->cluster,
				    "--daemon", "3",       NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&fa, 0, 1);
	posix_spawn_file_actions_adddup2(&fa, errors, 2);
	posix_spawn_file_actions_adddup2(&fa, ready, READY_FD);
	posix_spawn_file_actions_addclosefrom_np(&fa, READY_FD + 1);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	int sys = posix_spawn(ret_pid, "/proc/self/exe", &fa, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return sys ? cube_fail_sys(err, sys, "cannot start the manager") : 0;
}

static void tell_waiting(const struct cube_paths *paths) {
	pid_t pid = cube_client_manager_pid(paths);
	if (pid > 0)
		cube_cli_say("waiting for the manager with pid %d, which holds %s/lock, to end or "
			     "to answer",
			     (int)pid, paths->state);
	else cube_cli_say("waiting for the manager to start");
}

/* 0 when the manager wrote its byte; CUBE_ECONNECT at end of file without one. */
static int wait_ready(const struct cube_paths *paths, int fd, struct cube_err *err) {
	uint64_t begin = cube_clock_mono(), deadline = begin + READY_TIMEOUT,
		 words = begin + SILENT;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = cube_clock_mono();
		char byte;
		if (now >= deadline)
			return cube_fail(err, CUBE_ETIMEOUT, "the manager does not get ready");
		uint64_t until = now < words ? words : deadline;
		int n = poll(&p, 1, (int)((until - now) / CUBE_NS_PER_MS) + 1);
		if (n <= 0) {
			if (now < words && cube_clock_mono() >= words) tell_waiting(paths);
			continue;
		}
		ssize_t got = read(fd, &byte, 1);
		if (got == 1) return 0;
		if (got < 0 && errno == EINTR) continue;
		return cube_fail(err, CUBE_ECONNECT, "the manager could not start");
	}
}

/* Of a log's lines what the last error says; all of what is no log. */
static const char *last_error(char *said) {
	char *says = NULL;
	for (char *p = strstr(said, LOG_ERROR); p; p = strstr(says, LOG_ERROR))
		says = p + strlen(LOG_ERROR);
	if (!says) return said;
	says[strcspn(says, "\n")] = '\0';
	if (strncmp(says, LOG_WHO, strlen(LOG_WHO)) == 0) says += strlen(LOG_WHO);
	return says;
}

/* Adds what a manager that could not start said last on its stderr. */
static void add_reason(int errors, struct cube_err *err) {
	char said[1000];
	off_t end = lseek(errors, 0, SEEK_END), from = (off_t)sizeof said - 1;
	ssize_t n = pread(errors, said, sizeof said - 1, end > from ? end - from : 0);
	while (n > 0 && (said[n - 1] == '\n' || said[n - 1] == ' ')) n--;
	if (n <= 0) return;
	struct cube_buf text;
	cube_buf_init(&text, sizeof said * 5);
	said[n] = '\0';
	const char *says = last_error(said);
	cube_text_escape(&text, says, strlen(says));
	cube_fail(err, CUBE_ECONNECT, "the manager could not start: %s", cube_buf_str(&text));
	cube_buf_done(&text);
}

/* Somebody asked it to end, which another does who takes its place. */
static bool was_stopped(pid_t pid) {
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	return status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* *ret_stopped: it ended before it was ready, and not for a fault of its own. */
static int start_locked(const struct cube_paths *paths, bool *ret_stopped, struct cube_err *err) {
	int ready[2], errors = memfd_create("cube-manager-stderr", MFD_CLOEXEC);
	pid_t pid;
	if (errors < 0) return cube_fail_sys(err, errno, "memfd_create");
	if (pipe2(ready, O_CLOEXEC) < 0) {
		close(errors);
		return cube_fail_sys(err, errno, "pipe");
	}
	/* dup2 onto itself would keep CLOEXEC, so the write end must not be READY_FD */
	int out = fcntl(ready[1], F_DUPFD_CLOEXEC, READY_FD + 1);
	int rc =
		out < 0 ? cube_fail_sys(err, errno, "dup") : execute(paths, out, errors, &pid, err);
	close(ready[1]);
	if (out >= 0) close(out);
	if (!rc) rc = wait_ready(paths, ready[0], err);
	if (rc == CUBE_ECONNECT) {
		add_reason(errors, err);
		*ret_stopped = was_stopped(pid);
		/* e.g. a `cube manager` by hand was a moment faster */
		if (answers(paths)) rc = 0;
	}
	close(ready[0]);
	close(errors);
	return rc;
}

pid_t cube_client_manager_pid(const struct cube_paths *paths) {
	cube_autofree char *lock = cube_strf("%s/lock", paths->state);
	return cube_lock_holder(lock);
}

int cube_client_start_manager(const struct cube_paths *paths, struct cube_err *err) {
	int lock = -1;
	int rc = take_lock(paths, &lock, err);
	if (rc) return rc;
	/* One that died without having been ready gave way to another, which gets ready now. */
	for (int tries = 0; tries < STARTS && !answers(paths); tries++) {
		bool stopped = false;
		rc = start_locked(paths, &stopped, err);
		if (rc != CUBE_ECONNECT || !(stopped || cube_client_manager_pid(paths))) break;
	}
	close(lock);
	return rc;
}
