/* Signals as an fd, while a command waits. */
#ifndef CUBE_CLI_SIGNALS_H
#define CUBE_CLI_SIGNALS_H

#include <signal.h>

struct cube_signals {
	int fd; /* readable when one has come */
	sigset_t before;
};

/* list ends with 0; signals that are ignored already are left so. Aborts only where the kernel has
 * no fd left. */
void cube_signals_open(struct cube_signals *s, const int *list);
/* The next signal's number, 0 when there is none now. */
int cube_signals_next(const struct cube_signals *s);
void cube_signals_close(struct cube_signals *s); /* the default again */

#endif
