/* Runs a command on a terminal, as its session's leader, and says what became of that terminal.
 *
 *   terminal [-s ROWSxCOLUMNS] [-r REPORT] [STEP...] -- COMMAND [ARG...]
 *
 * Steps are done one after the other, as soon as they can be:
 *   -e REGEX          waits until the screen shows it, in what came since the last step that typed
 *   -t TEXT           types it; \n \r \t \\ and \xHH as in C
 *   -z ROWSxCOLUMNS   makes the terminal another size
 *   -x COMMAND        runs it by a shell (here, not there); $TTY_PID is the command's process
 *
 * What stands on the screen at the end, and above it, is printed, with lines as they were before
 * they were wrapped. The exit code is the command's, 128 + n for a signal. REPORT has a line each:
 *   signal N          0, or what it was killed by
 *   coloured N        sequences that set a colour, or bold
 *   moves N           sequences that do anything else
 *   wrapped N         lines that were wider than the terminal
 *   column N          where the cursor was left
 *   cpu N             milliseconds that the command used
 *   fault TEXT        what a person would have to repair: a terminal left raw, without a cursor,
 *                     held by a process that stays, or a sequence that not every terminal knows
 * Exit code 250: a step did not come in 60 s; the screen is on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "screen.h"

enum { SECONDS = 60, HELD_SECONDS = 10, TROUBLE = 250 };

struct run {
	struct screen screen;
	int master, pidfd;
	pid_t pid;
	bool ended, closed; /* the command; the last who has the terminal open */
	int status;
	size_t mark; /* the line from which on a step looks */
	char **steps;
	size_t nsteps, at;
	struct termios before;
	long cpu; /* ms */
};
static struct run run;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what) {
	fprintf(stderr, "terminal: %s: %s\n", what, strerror(errno));
	exit(TROUBLE);
}

static void set_size(const char *text) {
	struct winsize size = {0};
	if (sscanf(text, "%hux%hu", &size.ws_row, &size.ws_col) != 2 || !size.ws_row ||
	    !size.ws_col || size.ws_col > SCREEN_COLUMNS)
		die(text);
	screen_resize(&run.screen, size.ws_row, size.ws_col);
	if (ioctl(run.master, TIOCSWINSZ, &size) < 0) die("TIOCSWINSZ");
}

static void start(char **argv, const char *size) {
	run.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (run.master < 0 || grantpt(run.master) || unlockpt(run.master)) die("openpt");
	const char *name = ptsname(run.master);
	set_size(size);
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &run.before) < 0) die(name);
	run.pid = fork();
	if (run.pid < 0) die("fork");
	if (run.pid == 0) {
		setsid();
		if (ioctl(fd, TIOCSCTTY, 0) < 0) die("TIOCSCTTY");
		for (int i = 0; i < 3; i++) dup2(fd, i);
		execvp(argv[0], argv);
		die(argv[0]);
	}
	close(fd);
	run.pidfd = (int)syscall(SYS_pidfd_open, run.pid, 0);
	if (run.pidfd < 0) die("pidfd_open");
}

/* ---- steps ---- */

static bool shows(const char *pattern) {
	regex_t regex;
	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NEWLINE | REG_NOSUB)) die(pattern);
	char *text = screen_text(&run.screen, run.mark);
	bool found = regexec(&regex, text, 0, NULL, 0) == 0;
	free(text);
	regfree(&regex);
	return found;
}

static void type(const char *text) {
	bool line = false;
	for (const char *p = text; *p; p++) {
		char c = *p;
		if (c == '\\' && p[1]) {
			c = *++p;
			if (c == 'n') c = '\n';
			else if (c == 'r') c = '\r';
			else if (c == 't') c = '\t';
			else if (c == 'x' && p[1] && p[2]) {
				char hex[] = {p[1], p[2], 0};
				c = (char)strtol(hex, NULL, 16);
				p += 2;
			}
		}
		line |= c == '\n' || c == '\r';
		if (write(run.master, &c, 1) != 1) die("typing");
	}
	run.mark = run.screen.page->y + line;
}

static void execute(const char *command) {
	char pid[16];
	snprintf(pid, sizeof pid, "%d", (int)run.pid);
	setenv("TTY_PID", pid, 1);
	pid_t child = fork();
	if (child == 0) execl("/bin/sh", "sh", "-c", command, NULL), _exit(127);
	if (child < 0 || waitpid(child, NULL, 0) != child) die(command);
}

/* Whether a step was done. */
static bool step(void) {
	if (run.at == run.nsteps) return false;
	const char *how = run.steps[run.at], *what = run.steps[run.at + 1];
	if (how[1] == 'e' && !shows(what)) return false;
	if (how[1] == 't') type(what);
	if (how[1] == 'z') set_size(what);
	if (how[1] == 'x') execute(what);
	run.at += 2;
	return true;
}

/* ---- the loop ---- */

static void take(void) {
	char bytes[65536];
	const struct screen_page *page = run.screen.page;
	ssize_t n = read(run.master, bytes, sizeof bytes);
	if (n > 0) screen_feed(&run.screen, bytes, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN)) run.closed = true;
	if (run.screen.page != page) run.mark = 0;
}

static void reap(void) {
	struct rusage use;
	if (wait4(run.pid, &run.status, WNOHANG, &use) != run.pid) return;
	run.ended = true;
	run.cpu = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 +
		  (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1000;
}

static void turn(double until) {
	struct pollfd p[] = {{run.closed ? -1 : run.master, POLLIN, 0},
			     {run.ended ? -1 : run.pidfd, POLLIN, 0}};
	double left = until - now();
	poll(p, 2, left > 0 ? (int)(left * 1000) + 1 : 0);
	if (p[0].revents) take();
	if (p[1].revents) reap();
}

/* Until the command has ended and nobody has the terminal any more. */
static void attend(void) {
	double until = now() + SECONDS;
	bool last = false;
	while (!run.ended || (!run.closed && now() < until)) {
		while (step()) until = now() + SECONDS;
		turn(until);
		if (run.ended && !last) until = now() + HELD_SECONDS, last = true;
		if (run.ended || now() < until) continue;
		char *text = screen_text(&run.screen, 0);
		fprintf(stderr, "terminal: %s did not come; the screen:\n%s",
			run.at < run.nsteps ? run.steps[run.at + 1] : "the end", text);
		kill(run.pid, SIGKILL);
		exit(TROUBLE);
	}
}

/* ---- the report ---- */

static bool modes_differ(void) {
	struct termios after;
	if (tcgetattr(run.master, &after) < 0) return true;
	return after.c_iflag != run.before.c_iflag || after.c_oflag != run.before.c_oflag ||
	       after.c_lflag != run.before.c_lflag || after.c_cflag != run.before.c_cflag ||
	       memcmp(after.c_cc, run.before.c_cc, sizeof after.c_cc) != 0;
}

static void report(FILE *f) {
	const struct screen *s = &run.screen;
	fprintf(f, "signal %d\n", WIFSIGNALED(run.status) ? WTERMSIG(run.status) : 0);
	fprintf(f, "coloured %zu\nmoves %zu\n", s->coloured, s->moves);
	fprintf(f, "cpu %ld\n", run.cpu);
	fprintf(f, "wrapped %zu\ncolumn %zu\n", screen_wrapped(&run.screen), s->page->x);
	if (run.at < run.nsteps)
		fprintf(f, "fault it ended before this came: %s\n", run.steps[run.at + 1]);
	if (!run.closed) fputs("fault a process that stays has the terminal open\n", f);
	if (modes_differ()) fputs("fault the terminal's modes are not as before\n", f);
	if (!s->cursor) fputs("fault the cursor is hidden\n", f);
	if (!s->wraps) fputs("fault wide lines are not wrapped any more\n", f);
	if (s->page != &s->pages[0]) fputs("fault the alternate screen is left open\n", f);
	if (s->used) fputs("fault half a sequence\n", f);
	if (s->unknown)
		fprintf(f, "fault %zu unknown sequences, as ESC%s\n", s->unknown, s->odd + 1);
}

int main(int argc, char **argv) {
	const char *size = "24x80", *report_to = "/dev/null";
	int opt;
	setlocale(LC_ALL, "C.UTF-8");
	run.steps = calloc((size_t)argc + 1, sizeof *run.steps);
	while ((opt = getopt(argc, argv, "+s:r:e:t:z:x:")) != -1) {
		static char names[] = "-e\0-t\0-z\0-x";
		const char *name = opt == 'e'   ? names
				   : opt == 't' ? names + 3
				   : opt == 'z' ? names + 6
						: names + 9;
		if (opt == '?') return TROUBLE;
		if (opt == 's') size = optarg;
		else if (opt == 'r') report_to = optarg;
		else {
			run.steps[run.nsteps++] = (char *)name;
			run.steps[run.nsteps++] = optarg;
		}
	}
	if (optind == argc) return TROUBLE;
	screen_init(&run.screen, 24, 80);
	start(argv + optind, size);
	attend();
	char *text = screen_text(&run.screen, 0);
	fputs(text, stdout);
	free(text);
	FILE *f = fopen(report_to, "w");
	if (!f) die(report_to);
	report(f);
	fclose(f);
	return WIFSIGNALED(run.status) ? 128 + WTERMSIG(run.status) : WEXITSTATUS(run.status);
}
