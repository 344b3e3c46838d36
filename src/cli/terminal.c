#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM, SIGABRT};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* A signal's handler can reach nothing else. */
static struct {
	volatile sig_atomic_t on, stopped;
	int fd;
	struct termios before, during;
	struct sigaction old[SIGNALS];
} terminal;

/* Back to how it was, then the signal does what it would have done; only a stop returns. */
static void on_signal(int signo) {
	int saved = errno;
	struct sigaction usual = {.sa_handler = SIG_DFL}, ours;
	sigset_t one;
	tcsetattr(terminal.fd, TCSANOW, &terminal.before);
	sigaction(signo, &usual, &ours);
	sigemptyset(&one);
	sigaddset(&one, signo);
	raise(signo);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigaction(signo, &ours, NULL);
	tcsetattr(terminal.fd, TCSANOW, &terminal.during);
	terminal.stopped = 1;
	errno = saved;
}

int cube_terminal_open(void) {
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	/* From the background even switching the echo off would stop us. */
	if (fd < 0 || tcgetpgrp(fd) == getpgrp()) return fd;
	close(fd);
	return -1;
}

/* What is ignored (nohup) stays so. */
static void take_signals(void) {
	struct sigaction ours = {.sa_handler = on_signal};
	sigemptyset(&ours.sa_mask);
	for (int i = 0; i < SIGNALS; i++) {
		sigaction(signals[i], NULL, &terminal.old[i]);
		if (terminal.old[i].sa_handler != SIG_IGN) sigaction(signals[i], &ours, NULL);
	}
}

int cube_terminal_begin(int fd, bool echo) {
	if (terminal.on || tcgetattr(fd, &terminal.before) < 0) return -1;
	terminal.fd = fd;
	terminal.during = terminal.before;
	terminal.during.c_lflag |= ICANON | ISIG;
	terminal.during.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	if (echo) terminal.during.c_lflag |= ECHO;
	terminal.during.c_iflag |= ICRNL;
	take_signals();
	terminal.on = 1;
	if (tcsetattr(fd, TCSAFLUSH, &terminal.during) == 0) return 0;
	cube_terminal_end();
	return -1;
}

void cube_terminal_end(void) {
	if (!terminal.on) return;
	tcsetattr(terminal.fd, TCSAFLUSH, &terminal.before);
	for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &terminal.old[i], NULL);
	terminal.on = 0;
}

bool cube_terminal_was_stopped(void) {
	bool stopped = terminal.stopped;
	terminal.stopped = 0;
	return stopped;
}

static volatile sig_atomic_t continued;

static void on_continue(int signo) {
	continued++;
}

unsigned cube_terminal_continued(void) {
	static bool counts;
	struct sigaction ours = {.sa_handler = on_continue, .sa_flags = SA_RESTART};
	sigemptyset(&ours.sa_mask);
	if (!counts) sigaction(SIGCONT, &ours, NULL);
	counts = true;
	return (unsigned)continued;
}
