/* Runs a program N times, SLOTS at a time, with posix_spawn: what `cube run -n` is compared with.
 * usage: spawn_loop N SLOTS PROGRAM [ARG...] */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int reap(long *running) {
	int status;
	pid_t pid = wait(&status);
	if (pid < 0) return errno == EINTR ? 0 : -1;
	(*running)--;
	return 0;
}

int main(int argc, char **argv) {
	if (argc < 4) {
		fprintf(stderr, "usage: %s N SLOTS PROGRAM [ARG...]\n", argv[0]);
		return 2;
	}
	long left = strtol(argv[1], NULL, 10), slots = strtol(argv[2], NULL, 10), running = 0;
	while (left > 0 || running > 0) {
		pid_t pid;
		if (left > 0 && running < slots) {
			int rc = posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, environ);
			if (rc) {
				fprintf(stderr, "%s: error %d\n", argv[3], rc);
				return 1;
			}
			left--;
			running++;
		} else if (reap(&running) < 0) {
			return 1;
		}
	}
	return 0;
}
