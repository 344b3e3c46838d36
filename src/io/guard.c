/* The guard's side is the script, ours a socket: see guard.h. */
#include "guard.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cube/format.h"
#include "cube/spawn.h"

/* L is the list, with a blank around each; in a shell of the least kind. */
static const char SCRIPT[] = "trap '' HUP INT QUIT TERM;L=' ';"
			     "while read -r o p;do case $o in"
			     " +)L=\"$L$p \";;"
			     " -)case $L in *\" $p \"*)L=\"${L%% $p *} ${L#* $p }\";;esac;;"
			     "esac;done;"
			     "[ \"$L\" = ' ' ]&&exit;"
			     "for p in $L;do kill -s TERM -- \"-$p\";done;"
			     "sleep 1;"
			     "for p in $L;do kill -s KILL -- \"-$p\";done";

static int sock = -1;
static pid_t owner; /* whose it is: a fork of this process has none */

static bool start(void) {
	static const char *const ARGV[] = {"cube-guard", "-c", SCRIPT, NULL}, *const ENVP[] = {
										      NULL};
	int fds[2];
	pid_t pid;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) return false;
	struct cube_spawn spawn = {.argv = ARGV,
				   .file = "/bin/sh",
				   .envp = ENVP,
				   .dir = "/",
				   .in = fds[1],
				   .out = -1,
				   .err = -1,
				   .session = true};
	int rc = cube_spawn(&spawn, &pid, NULL);
	close(fds[1]);
	if (rc < 0) {
		close(fds[0]);
		return false;
	}
	sock = fds[0];
	owner = getpid();
	return true;
}

static bool mine(void) {
	return sock >= 0 && owner == getpid();
}

/* It has 200 KiB of room: one that takes no more is stopped, and one that is gone was killed. */
static void tell(char what, pid_t pid) {
	char line[24];
	int n = cube_format(line, sizeof line, "%c %ld\n", what, (long)pid);
	if (send(sock, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n) return;
	close(sock);
	sock = -1;
}

void cube_guard_add(pid_t pid) {
	if (!mine() && !start()) return;
	tell('+', pid);
}

void cube_guard_remove(pid_t pid) {
	if (mine()) tell('-', pid);
}
