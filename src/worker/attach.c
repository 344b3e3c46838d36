#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/id.h"
#include "cube/listen.h"
#include "cube/parse.h"
#include "daemon.h"
#include "folder.h"
#include "install.h"
#include "purge.h"
#include "reach.h"
#include "scope.h"

/* The whole joining may take this long (an ending daemon kills for 10 s), then the process says so
 * and ends, before the manager loses its patience; and this often may a
 * folder go away because its daemon is being shut down. */
enum { JOIN_S = 15, JOIN_TRIES = 8, LOG_MAX = 64 << 10 };

struct target {
	char run[SELF_PATH + 8], folder[SELF_PATH + 64];
	uint64_t cluster, node;
	struct self self;
};

static int base_len(const struct target *t) {
	return (int)(strlen(t->run) - strlen("/run"));
}

/* ---- the daemon's process ------------------------------------------------------------------- */

/* Whatever the login shell left open must not live as long as the daemon. */
static void close_others(int keep) {
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		uint64_t fd;

		if (cube_parse_u64(e->d_name, 3, INT32_MAX, &fd, NULL) < 0) continue;
		if ((int)fd != keep && (int)fd != dirfd(d)) close((int)fd);
	}
	if (d) closedir(d);
}

static void detach_stdio(void) {
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open("worker.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (log >= 0 && fstat(log, &st) == 0 && st.st_size > LOG_MAX && ftruncate(log, 0) < 0) {
		close(log);
		log = -1;
	}
	dup2(null, 0);
	dup2(null, 1);
	dup2(log >= 0 ? log : null, 2);
}

static void reset_signals(void) {
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	alarm(0);
	for (int signo = 1; signo < 32; signo++) sigaction(signo, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void daemon_process(const struct target *t, int ready) {
	struct daemon_options o = {.folder = t->folder,
				   .name = "",
				   .cluster = t->cluster,
				   .node = (uint32_t)t->node,
				   .self = &t->self,
				   .managed = true,
				   .ready_fd = ready};

	reset_signals();
	detach_stdio();
	close_others(ready);
	scope_leave(o.notice, sizeof o.notice);
	exit(daemon_run(&o));
}

/* Forks twice, so that the daemon is nobody's child and leads no session (it can never get a
 * terminal). */
static int fork_daemon(const struct target *t, int ready[2], struct cube_err *err) {
	pid_t pid = fork();

	if (pid < 0) return cube_fail_sys(err, errno, "fork");
	if (pid == 0) {
		setsid();
		pid = fork();
		if (pid != 0) _exit(pid < 0);
		close(ready[0]);
		daemon_process(t, ready[1]);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
	return 0;
}

/* What the daemon says: 'R', 'C', or 'E' with errno and text; it died without a word: 'E'. */
static char read_answer(int fd, char *text, size_t size) {
	size_t n = 0;
	ssize_t got;

	while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) != 0) {
		if (got > 0) n += (size_t)got;
		else if (errno != EINTR) break;
	}
	text[n] = '\0';
	return n ? text[0] : 'E';
}

/* An earlier daemon is on its way out and holds the lock until it is gone. */
static void wait_for_lock(void) {
	int fd = open("lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) return;
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR) {}
	close(fd);
}

/* 0: it is ready, or another try is worth while. */
static int start_daemon(const struct target *t, struct cube_err *err) {
	char text[256], answer, *why;
	uint64_t sys = 0;
	int ready[2], rc;

	if (pipe2(ready, O_CLOEXEC) < 0) return cube_fail_sys(err, errno, "pipe");
	rc = fork_daemon(t, ready, err);
	close(ready[1]);
	answer = rc < 0 ? 'E' : read_answer(ready[0], text, sizeof text);
	close(ready[0]);
	if (rc < 0) return rc;
	if (answer == 'C') wait_for_lock();
	if (answer != 'E') return 0;
	why = strchr(text, ' ');
	cube_fail(err, CUBE_ESYS, "the worker did not start: %s", why ? why + 1 : "it died");
	if (why) *why = '\0';
	cube_parse_u64(text[0] ? text + 1 : "", 0, INT32_MAX, &sys, NULL);
	err->sys = (int)sys;
	return CUBE_ESYS;
}

/* ---- attaching ------------------------------------------------------------------------------ */

/* The folder cannot hold anything more; another one may. */
static bool is_full(int sys) {
	return sys == EDQUOT || sys == ENOSPC || sys == EROFS;
}

static bool nobody_listens(int rc) {
	return rc == CUBE_ECONNECT;
}

static int connect_daemon(const struct target *t, int *ret_sock, struct cube_err *err) {
	return reach_connect(t->cluster, (uint32_t)t->node, t->folder, ret_sock, err);
}

/* Starters stand in line at a lock on the folder itself, which needs no file of its own. */
static int start_in_turn(const struct target *t, int *ret_sock, struct cube_err *err) {
	int turn = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (turn < 0) return cube_fail_sys(err, errno, "%s", t->folder);
	while (flock(turn, LOCK_EX) < 0 && errno == EINTR) {}
	rc = connect_daemon(t, ret_sock, err); /* started while this one stood in line? */
	if (nobody_listens(rc) && folder_is_here(t->folder)) {
		rc = start_daemon(t, err);
		if (rc == 0) rc = connect_daemon(t, ret_sock, err);
		else if (is_full(err->sys)) {
			purge_folder(t->folder, true);
			close(turn);
			return rc;
		}
	}
	close(turn);
	/* An ending daemon takes its folder along: the next try makes a new one. */
	if (nobody_listens(rc) || (rc < 0 && !folder_is_here(t->folder))) return CUBE_AGAIN;
	return rc;
}

static int join_daemon(const struct target *t, int *ret_sock, struct cube_err *err) {
	int rc = CUBE_AGAIN;

	for (int i = 0; rc == CUBE_AGAIN && i < JOIN_TRIES; i++) {
		rc = folder_enter(t->run, err);
		if (rc == 0) rc = folder_enter(t->folder, err);
		/* An ending daemon takes both along where they are empty. */
		if (rc < 0 && err->sys == ENOENT) rc = CUBE_AGAIN;
		if (rc == 0) rc = connect_daemon(t, ret_sock, err);
		if (nobody_listens(rc)) rc = start_in_turn(t, ret_sock, err);
	}
	if (rc == CUBE_AGAIN) rc = cube_fail(err, CUBE_ECONFLICT, "the worker is being shut down");
	return rc;
}

static int find_target(struct target *t, const char *argv0, const char *cluster, const char *node,
		       struct cube_err *err) {
	char base[SELF_PATH];
	int rc = self_find(&t->self, argv0, err);

	if (rc < 0) return rc;
	if (cube_id_unhex(cluster, &t->cluster) < 0)
		return cube_fail(err, CUBE_EUSAGE, "bad cluster %.40s", cluster);
	rc = cube_parse_u64(node, 0, UINT32_MAX, &t->node, err);
	if (rc < 0) return rc;
	memcpy(base, t->self.path, sizeof base);
	self_parent(base);
	self_parent(base);
	if (base[0] != '/') return cube_fail(err, CUBE_EUSAGE, "no absolute path: %.100s", base);
	cube_format(t->run, sizeof t->run, "%s/run", base);
	cube_format(t->folder, sizeof t->folder, "%s/%s.%u", t->run, cluster, (unsigned)t->node);
	return 0;
}

static int check_build(const struct self *self, const char *hex, struct cube_err *err) {
	if (strcmp(self->hex, hex) == 0) return 0;
	unlink(self->path);
	return cube_fail(err, CUBE_EVERSION, "the worker's file is damaged: sha256 %s", self->hex);
}

/* place: the folder's number among those that the line tries, or NULL where nobody asks. */
static int say_attached(const struct target *t, const char *nonce, const char *place,
			struct cube_err *err) {
	int n = place ? base_len(t) : 0;

	if (cube_print(STDOUT_FILENO, "CUBE %.64s attach%s%.*s\n", nonce, place ? " " : "", n,
		       t->run) < 0)
		return cube_fail_sys(err, errno, "stdout");
	return 0;
}

static int say_failed(const struct target *t, const char *nonce, const char *place,
		      const struct cube_err *err) {
	if (!place || !is_full(err->sys)) {
		(void)cube_print(STDOUT_FILENO, "CUBE %s error %s\n", nonce, err->msg);
		return 1;
	}
	rmdir(t->folder);
	if (rmdir(t->run) == 0 || errno == ENOENT) purge_base(t->self.path, PURGE_OWN);
	(void)cube_print(STDOUT_FILENO, "CUBE %s skip %s ; %s: %.*s\n", nonce, place,
			 cube_err_text(err->sys), base_len(t), t->run);
	return 1;
}

/* The link's ends go to the daemon; this process only stands for them until it lets go. */
static int hand_over(int sock, struct cube_err *err) {
	int fds[2] = {0, 1}, null, rc;
	char byte;

	rc = cube_send_fds(sock, "A", 1, fds, 2, err);
	if (rc < 0) return rc;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 0);
	dup2(null, 1);
	while (read(sock, &byte, 1) < 0 && errno == EINTR) {}
	return 0;
}

static const char *alarm_nonce;

/* The lock names who has it. */
static void on_alarm(int signo) {
	char pid[16] = "";
	int fd = open("lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? 0 : read(fd, pid, sizeof pid - 1);

	pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
	(void)cube_print(STDOUT_FILENO,
			 "CUBE %.64s error the worker there%s%s neither answers nor ends; end it "
			 "by hand (kill -9)\n",
			 alarm_nonce, *pid ? ", pid " : "", *pid ? pid : "");
	_exit(1);
}

int attach_main(const char *argv0, const char *hex, const char *nonce, const char *cluster,
		const char *node, const char *place) {
	struct target t = {.cluster = 0};
	struct cube_err err;
	int sock, rc;

	alarm_nonce = nonce;
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
	alarm(JOIN_S);
	rc = find_target(&t, argv0, cluster, node, &err);
	if (rc == 0) rc = check_build(&t.self, hex, &err);
	if (rc == 0) rc = join_daemon(&t, &sock, &err);
	if (rc < 0) return say_failed(&t, nonce, place, &err);
	alarm(0);
	rc = say_attached(&t, nonce, place, &err);
	if (rc == 0) rc = hand_over(sock, &err);
	return rc < 0;
}
