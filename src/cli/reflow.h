/* Text of lines laid out here, on a terminal that is narrower than they are. */
#ifndef CUBE_CLI_REFLOW_H
#define CUBE_CLI_REFLOW_H

#include <stddef.h>

#include "cube/buf.h"

/* Appends text. A line wider than width goes on below, at its last column (what stands behind two
 * blanks or more), with whole words; where that leaves too little room, at the fifth character.
 * Text is well-formed, as escaped text is, without control sequences. */
int cube_reflow(const char *text, size_t width, struct cube_buf *out);
/* What stdout's terminal has; SIZE_MAX where it is none: lines stay as they are. */
size_t cube_reflow_width(void);
/* Prints text on stdout, fitted to it; the exit code. */
int cube_reflow_print(const char *text);

#endif
