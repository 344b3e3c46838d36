/* The controlling terminal, for a line that must not be seen: echo is switched off only while one
 * is awaited, and back on whatever ends the wait: the answer, a signal, a stop (Ctrl-Z). One at a
 * time in a process. Not standard input: that may be a file, or the task's. */
#ifndef CUBE_CLI_TERMINAL_H
#define CUBE_CLI_TERMINAL_H

#include <stdbool.h>

/* An fd, or -1 where there is none, or we are not in its foreground. */
int cube_terminal_open(void);
/* From here on a line may be read; echo says whether it is shown. Throws away what was typed
 * before. */
int cube_terminal_begin(int fd, bool echo);
void cube_terminal_end(void);
/* Whether the process was stopped since the last call: the screen is another one then. */
bool cube_terminal_was_stopped(void);

/* How often the process went on after a stop (Ctrl-Z, fg), counted from the first call on: a shell
 * has written since, and what was drawn before is not where it was. */
unsigned cube_terminal_continued(void);

#endif
