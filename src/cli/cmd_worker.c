#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "cube/id.h"
#include "cube/images.h"
#include "signals.h"

struct args {
	struct cube_common common;
	const char *name;
};

static const struct cube_option options[] = {
	{"name", NULL, 0, CUBE_OPT_STRING, offsetof(struct args, name), "NAME",
	 "how the node is called (worker-<random>)"},
	{0},
};

static int write_image(const char *path, struct cube_err *err) {
	struct utsname u;
	unsigned long size = 0;
	if (uname(&u) < 0) return cube_fail_sys(err, errno, "uname");
	const char *image = cube_worker_image(u.machine, &size, NULL);
	if (!image)
		return cube_fail(err, CUBE_ENOTFOUND, "no worker for %s in this cube", u.machine);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	if (fd < 0) return cube_fail_sys(err, errno, "%.160s", path);
	int rc = 0;
	while (!rc && size > 0) {
		ssize_t n = write(fd, image, size);
		if (n < 0 && errno != EINTR) rc = cube_fail_sys(err, errno, "writing %.160s", path);
		if (n > 0) image += n, size -= (unsigned long)n;
	}
	if (close(fd) < 0 && !rc) rc = cube_fail_sys(err, errno, "writing %.160s", path);
	return rc;
}

static int execute(const char *program, const char *dir, const char *name, pid_t *ret_pid,
		   struct cube_err *err) {
	char cluster[CUBE_ID_HEX];
	const char *const argv[] = {
		"cube-worker", "serve", dir, cube_id_hex(cube_id_u64(), cluster), "1", name, NULL};
	posix_spawnattr_t attr;
	sigset_t none, pipes;
	sigemptyset(&none);
	sigemptyset(&pipes);
	sigaddset(&pipes, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &pipes);
	int sys = posix_spawn(ret_pid, program, NULL, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	return sys ? cube_fail_sys(err, sys, "cannot execute %.160s", program) : 0;
}

/* Waits for the worker; TERM and INT sent to us are its as well. */
static int wait_worker(pid_t pid, const struct cube_signals *signals) {
	for (;;) {
		struct pollfd p = {.fd = signals->fd, .events = POLLIN};
		poll(&p, 1, -1);
		for (int signo; (signo = cube_signals_next(signals));) {
			int status;
			if (signo != SIGCHLD) kill(pid, signo);
			if (waitpid(pid, &status, WNOHANG) != pid) continue;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	return remove(path);
}

static int serve(const char *dir, const char *name, struct cube_err *err) {
	static const int list[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, 0};
	struct cube_signals signals;
	cube_autofree char *program = cube_strf("%s/cube-worker", dir);
	pid_t pid;
	int code = 0, rc = write_image(program, err);
	cube_signals_open(&signals, list);
	if (!rc) rc = execute(program, dir, name, &pid, err);
	if (!rc) {
		cube_cli_say("worker %s runs in %s (pid %ld); Ctrl-C ends it", name, dir,
			     (long)pid);
		code = wait_worker(pid, &signals);
	}
	cube_signals_close(&signals);
	return rc ? rc : code;
}

static int run(struct cube_cli *cli, void *values, char **words, size_t n) {
	const struct args *a = values;
	char hex[CUBE_ID_HEX];
	struct cube_err err;
	cube_id_hex(cube_id_u64(), hex);
	cube_autofree char *name = a->name ? cube_strdup(a->name) : cube_strf("worker-%.8s", hex);
	cube_autofree char *dir = cube_strf("%s/worker-%s", cli->paths.state, hex);
	int rc = cube_paths_make(dir, &err);
	if (!rc) rc = serve(dir, name, &err);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc < 0 ? cube_cli_fail(&err) : rc;
}

static const struct cube_option_group groups[] = {
	{"Options", options, 0},
	CUBE_COMMON_GROUP(struct args),
	{0},
};

const struct cube_command cube_cmd_worker = {
	.name = "worker",
	.usage = "[OPTIONS]",
	.help = "run a node on this machine by itself, without a manager",
	.groups = groups,
	.size = sizeof(struct args),
	.common = offsetof(struct args, common),
	.no_words = true,
	.run = run,
};
