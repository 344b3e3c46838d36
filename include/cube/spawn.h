/* Starting a program: the only place that forks for it.
 *
 * vfork-class speed (clone with CLONE_VM|CLONE_VFORK), no allocation in the child, all signals
 * reset and unblocked there, every fd but 0-2 closed by CLOEXEC. A failure in the child
 * (chdir, exec) comes back as an errno, never as a fake exit status 127.
 */
#ifndef CUBE_SPAWN_H
#define CUBE_SPAWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cube/err.h"

struct cube_spawn {
	const char *const *argv;
	const char *file;        /* what is run; NULL: argv[0]. Searched in PATH of envp where
				    it has no '/' */
	const char *const *envp; /* NULL: this process's environment */
	const char *dir;         /* NULL: stay */
	int in, out, err;        /* fds for 0, 1, 2; -1 is /dev/null; stay the caller's */
	bool group;              /* lead a process group of its own */
	bool session;            /* lead a session of its own (implies a group) */
	bool terminal;           /* `in` becomes the session's controlling terminal */
	/* Gets a TERM when the thread that starts it ends, however it does. Where it leads a group,
	 * all of that do when the process ends, and a KILL a second later (src/io/guard.h). */
	bool mortal;
	int niceness;                /* added; 0 leaves it */
	const struct rlimit *nofile; /* its RLIMIT_NOFILE; NULL: what this process was given */
	const struct rlimit
		*data; /* its RLIMIT_DATA, the memory it may ask for; NULL: this process's */
};

/* 0 and *ret_pid; or CUBE_EEXEC with err->sys = errno of chdir/exec and a message that names the
 * program or folder; or CUBE_ESYS when no process could be made. */
int cube_spawn(const struct cube_spawn *spawn, pid_t *ret_pid, struct cube_err *err);

/* As many descriptors as this process may have (65,536 are enough); what it starts gets the limit
 * that it was given itself. */
int cube_spawn_raise_nofile(struct cube_err *err);

/* Runs fn in a copy of this process (a plain fork): a look at what a library would do next, which
 * leaves its state here as it is. What fn writes to fd is read from *ret_fd; its process ends with
 * fn, by _exit, and has a second of CPU time and no core file. fn must keep to memory and to fd:
 * every other file is this process's. CUBE_ESYS. */
int cube_spawn_look(void (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_fd,
		    struct cube_err *err);

/* A CLOEXEC pipe, both ends blocking (children expect that); the parent's end may then be made
 * non-blocking. ret[0] reads. */
int cube_pipe(int ret[2], struct cube_err *err);
int cube_set_nonblock(int fd, bool on);

#endif
