#include <signal.h>
#include <string.h>
#include <strings.h>

#include "cube/spec.h"

static const char *const names[] = {
	[SIGHUP] = "HUP",   [SIGINT] = "INT",       [SIGQUIT] = "QUIT", [SIGILL] = "ILL",
	[SIGTRAP] = "TRAP", [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",
	[SIGKILL] = "KILL", [SIGUSR1] = "USR1",     [SIGSEGV] = "SEGV", [SIGUSR2] = "USR2",
	[SIGPIPE] = "PIPE", [SIGALRM] = "ALRM",     [SIGTERM] = "TERM", [SIGSTKFLT] = "STKFLT",
	[SIGCHLD] = "CHLD", [SIGCONT] = "CONT",     [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP",
	[SIGTTIN] = "TTIN", [SIGTTOU] = "TTOU",     [SIGURG] = "URG",   [SIGXCPU] = "XCPU",
	[SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH",
	[SIGIO] = "IO",     [SIGPWR] = "PWR",       [SIGSYS] = "SYS",
};
enum { NAMES = sizeof names / sizeof names[0], HIGHEST = 64 };

static const struct {
	const char *name;
	int signo;
} aliases[] = {{"IOT", SIGABRT}, {"CLD", SIGCHLD}, {"POLL", SIGIO}};

static int from_digits(const char *s) {
	int v = 0;

	for (; *s >= '0' && *s <= '9'; s++) {
		v = v * 10 + (*s - '0');
		if (v > HIGHEST) return 0;
	}
	return *s == '\0' ? v : 0;
}

int cube_spec_signal(const char *name) {
	if (*name >= '0' && *name <= '9') return from_digits(name);
	if (!strncasecmp(name, "SIG", 3)) name += 3;
	for (int i = 1; i < NAMES; i++)
		if (names[i] && !strcasecmp(name, names[i])) return i;
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (!strcasecmp(name, aliases[i].name)) return aliases[i].signo;
	return 0;
}

const char *cube_spec_signal_name(int signo) {
	return signo > 0 && signo < NAMES && names[signo] ? names[signo] : "?";
}
