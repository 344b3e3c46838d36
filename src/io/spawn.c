/* Starting a program: clone(CLONE_VM | CLONE_VFORK) onto a stack of its own.
 *
 * The child runs in the parent's memory until it execs, so it may write to its own stack and
 * nowhere else. A failure comes back through a CLOEXEC pipe rather than a shared variable: the
 * pipe also works where the kernel gives a plain fork instead (qemu-user, sanitizers).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/spawn.h"
#include "guard.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PLAIN_FORK 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLAIN_FORK 1
#endif

/* Room for one PATH_MAX buffer and the dynamic linker's lazy binding, which saves all vector
 * registers. Only the touched pages cost memory. */
enum { CHILD_STACK = 32 * 1024, SIGNALS = 65, NOFILE_MAX = 65536 };

static const char DEFAULT_PATH[] = "/usr/local/bin:/usr/bin:/bin";

enum step { STEP_STDIO, STEP_NICE, STEP_DIR, STEP_EXEC };

struct failure {
	int step, sys;
};

static struct rlimit given; /* to this process, where it raised its own; zeroed: it did not */

struct job {
	const struct cube_spawn *spawn;
	const char *const *envp;
	const char *file; /* what to run */
	const char *path; /* PATH of envp */
	int report;       /* where a struct failure is written */
	pid_t parent;
};

/* ---- in the child: async-signal-safe calls only ------------------------------------------ */

/* Pending signals of the parent are not inherited, so unblocking is harmless. The system call
 * itself: libcs keep 32 to 34 to themselves, and what GNU make starts has them ignored. */
static void reset_signals(void) {
	static const uint64_t dfl[8]; /* the kernel's struct sigaction, all zero: SIG_DFL */
	sigset_t none;
	for (int signo = 1; signo < SIGNALS; signo++)
		syscall(SYS_rt_sigaction, signo, dfl, NULL, (SIGNALS - 1) / 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int lift(int fd) {
	return fd < 0 || fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Any of the three may be 0, 1 or 2 itself, in any order: those are lifted out of the way
 * before one of them is overwritten. */
static int place_stdio(const struct cube_spawn *spawn) {
	int from[3] = {spawn->in, spawn->out, spawn->err};
	for (int i = 0; i < 3; i++) {
		if (from[i] < 0) from[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		from[i] = lift(from[i]);
		if (from[i] < 0) return -1;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], i) < 0) return -1;
	return 0;
}

/* As execvp, but in the given PATH: a file that may not be executed does not end the search,
 * and is the answer only if nothing better comes. */
static int exec_in_path(const struct job *job) {
	char file[PATH_MAX];
	const char *name = job->file, *dir = job->path;
	size_t name_len = strlen(name);
	bool denied = false;
	if (!name_len) return ENOENT;
	for (const char *end; dir; dir = *end ? end + 1 : NULL) {
		end = dir;
		while (*end && *end != ':') end++;
		size_t n = (size_t)(end - dir);
		if (n + name_len + 2 > sizeof file) continue;
		memcpy(file, dir, n);
		if (n) file[n++] = '/'; /* an empty entry is the working directory */
		memcpy(file + n, name, name_len + 1);
		execve(file, (char *const *)job->spawn->argv, (char *const *)job->envp);
		if (errno == EACCES) denied = true;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) return errno;
	}
	return denied ? EACCES : ENOENT;
}

static struct failure prepare_and_exec(const struct job *job) {
	const struct cube_spawn *spawn = job->spawn;
	reset_signals();
	if (spawn->mortal) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != job->parent) _exit(127); /* it was not quick enough */
	}
	if (spawn->session) setsid(); /* cannot fail: a fresh child leads no group */
	else if (spawn->group) setpgid(0, 0);
	if (place_stdio(spawn) < 0) return (struct failure){STEP_STDIO, errno};
	if (spawn->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		return (struct failure){STEP_STDIO, errno};
	if (spawn->niceness) {
		errno = 0; /* -1 is a valid niceness */
		if (nice(spawn->niceness) == -1 && errno) return (struct failure){STEP_NICE, errno};
	}
	if (given.rlim_max && !spawn->nofile) prlimit(0, RLIMIT_NOFILE, &given, NULL);
	if (spawn->nofile) prlimit(0, RLIMIT_NOFILE, spawn->nofile, NULL); /* lower: cannot fail */
	if (spawn->data) prlimit(0, RLIMIT_DATA, spawn->data, NULL);
	if (spawn->dir && chdir(spawn->dir) < 0) return (struct failure){STEP_DIR, errno};
	if (!strchr(job->file, '/')) return (struct failure){STEP_EXEC, exec_in_path(job)};
	execve(job->file, (char *const *)spawn->argv, (char *const *)job->envp);
	return (struct failure){STEP_EXEC, errno};
}

static int child_main(void *arg) {
	const struct job *job = arg;
	struct failure f = prepare_and_exec(job);
	while (write(job->report, &f, sizeof f) < 0 && errno == EINTR) {}
	_exit(127);
}

/* ---- in the parent ----------------------------------------------------------------------- */

static pid_t start_child(struct job *job) {
#ifdef PLAIN_FORK
	pid_t pid = fork();
	if (pid == 0) child_main(job);
	return pid;
#else
	alignas(16) char stack[CHILD_STACK];
	return clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, job);
#endif
}

static const char *path_of(const char *const *envp) {
	for (; envp && *envp; envp++)
		if (!strncmp(*envp, "PATH=", 5)) return *envp + 5;
	return DEFAULT_PATH;
}

static const char *file_of(const struct cube_spawn *spawn) {
	return spawn->file ? spawn->file : spawn->argv[0];
}

static int explain(const struct cube_spawn *spawn, struct failure f, struct cube_err *err) {
	switch (f.step) {
	case STEP_STDIO: return cube_fail_sys(err, f.sys, "cannot set up standard files");
	case STEP_NICE:
		return cube_fail_sys(err, f.sys, "cannot add %d to the niceness", spawn->niceness);
	case STEP_DIR: cube_fail_sys(err, f.sys, "cannot enter folder %s", spawn->dir); break;
	default: cube_fail_sys(err, f.sys, "cannot run %s", file_of(spawn)); break;
	}
	if (err) err->code = CUBE_EEXEC;
	return CUBE_EEXEC;
}

/* The end of file that a successful exec makes, or what went wrong. */
static bool read_failure(int fd, struct failure *f) {
	ssize_t n;
	do n = read(fd, f, sizeof *f);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof *f;
}

int cube_spawn(const struct cube_spawn *spawn, pid_t *ret_pid, struct cube_err *err) {
	const char *const *envp = spawn->envp ? spawn->envp : (const char *const *)environ;
	sigset_t all, old;
	int report[2];
	if (!spawn->argv || !spawn->argv[0]) return cube_fail(err, CUBE_EUSAGE, "no program given");
	int rc = cube_pipe(report, err);
	if (rc < 0) return rc;
	int writer = lift(report[1]); /* a daemon with closed standard files: keep 0-2 for them */
	int sys = errno;
	if (writer != report[1]) close(report[1]);
	if (writer < 0) {
		close(report[0]);
		return cube_fail_sys(err, sys, "cannot start %s", file_of(spawn));
	}
	struct job job = {.spawn = spawn,
			  .envp = envp,
			  .file = file_of(spawn),
			  .path = path_of(envp),
			  .report = writer,
			  .parent = getpid()};
	/* No handler of ours may run in the child while it uses our memory. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid_t pid = start_child(&job);
	sys = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(writer);
	struct failure f;
	bool failed = pid > 0 && read_failure(report[0], &f);
	close(report[0]);
	if (pid < 0) return cube_fail_sys(err, sys, "cannot start %s", file_of(spawn));
	if (failed) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
		return explain(spawn, f, err);
	}
	*ret_pid = pid;
	if (spawn->mortal && (spawn->session || spawn->group)) cube_guard_add(pid);
	return 0;
}

/* Blocked signals stay so: a handler of the parent's must not run in its copy. */
static void look(void (*fn)(void *arg, int fd), void *arg, int fd) {
	static const struct rlimit NO_CORE = {0, 0}, A_SECOND = {1, 1};
	setrlimit(RLIMIT_CORE, &NO_CORE);
	setrlimit(RLIMIT_CPU, &A_SECOND);
	fn(arg, fd);
	_exit(0);
}

int cube_spawn_look(void (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_fd,
		    struct cube_err *err) {
	int fds[2];
	int rc = cube_pipe(fds, err);
	if (rc < 0) return rc;
	pid_t pid = fork();
	if (pid == 0) look(fn, arg, fds[1]);
	int sys = errno;
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return cube_fail_sys(err, sys, "cannot make a process");
	}
	*ret_pid = pid;
	*ret_fd = fds[0];
	return 0;
}

int cube_pipe(int ret[2], struct cube_err *err) {
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) return cube_fail_sys(err, errno, "cannot make a pipe");
	memcpy(ret, fds, sizeof fds);
	return 0;
}

int cube_spawn_raise_nofile(struct cube_err *err) {
	struct rlimit all;
	if (given.rlim_max) return 0;
	if (prlimit(0, RLIMIT_NOFILE, NULL, &all) < 0)
		return cube_fail_sys(err, errno, "RLIMIT_NOFILE");
	struct rlimit was = all;
	all.rlim_cur = all.rlim_max < NOFILE_MAX ? all.rlim_max : NOFILE_MAX;
	if (all.rlim_cur <= was.rlim_cur) return 0;
	if (prlimit(0, RLIMIT_NOFILE, &all, NULL) < 0)
		return cube_fail_sys(err, errno, "RLIMIT_NOFILE");
	given = was;
	return 0;
}

int cube_set_nonblock(int fd, bool on) {
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0) return CUBE_ESYS;
	int want = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return want == flags || fcntl(fd, F_SETFL, want) == 0 ? 0 : CUBE_ESYS;
}
