#include "rawtty.h"

#include <sys/ioctl.h>
#include <unistd.h>

void cube_rawtty_raw(struct cube_rawtty *t) {
	struct termios raw;
	if (!t->raw && tcgetattr(STDIN_FILENO, &t->before) < 0) return;
	t->raw = true;
	raw = t->before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

void cube_rawtty_restore(struct cube_rawtty *t) {
	if (t->raw) tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
	t->raw = false;
}

void cube_rawtty_size(uint16_t *ret_rows, uint16_t *ret_cols) {
	struct winsize size;
	*ret_rows = 24;
	*ret_cols = 80;
	for (int fd = 0; fd <= 2; fd++) {
		if (ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col) continue;
		*ret_rows = size.ws_row;
		*ret_cols = size.ws_col;
		return;
	}
}
