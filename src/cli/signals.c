#include "signals.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

void cube_signals_open(struct cube_signals *s, const int *list) {
	sigset_t set;
	sigemptyset(&set);
	for (; *list; list++) {
		/* what we were started to ignore (nohup, a job in the background) stays ignored:
		 * signalfd would tell it once it is blocked */
		struct sigaction now;
		bool ignored = sigaction(*list, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
		if (!ignored || *list == SIGCHLD) sigaddset(&set, *list);
	}
	sigprocmask(SIG_BLOCK, &set, &s->before);
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd >= 0) return;
	perror("cube: signalfd");
	abort();
}

int cube_signals_next(const struct cube_signals *s) {
	struct signalfd_siginfo info;
	return read(s->fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void cube_signals_close(struct cube_signals *s) {
	if (s->fd < 0) return;
	close(s->fd);
	s->fd = -1;
	sigprocmask(SIG_SETMASK, &s->before, NULL);
}
