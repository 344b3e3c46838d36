/* The user's terminal while something remote has it. */
#ifndef CUBE_CLI_RAWTTY_H
#define CUBE_CLI_RAWTTY_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct cube_rawtty { /* zero-initialised: not raw */
	struct termios before;
	bool raw;
};

/* Every key goes through as it is; nothing where stdin is no terminal. May be called again after
 * somebody else changed it. */
void cube_rawtty_raw(struct cube_rawtty *t);
void cube_rawtty_restore(struct cube_rawtty *t);
/* 24 x 80 where there is none. */
void cube_rawtty_size(uint16_t *ret_rows, uint16_t *ret_cols);

#endif
