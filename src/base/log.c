#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/format.h"
#include "cube/log.h"
#include "cube/text.h"

enum { TEXT_MAX = 2048 };

static enum cube_log_level max_level = CUBE_LOG_WARN;

void cube_log_set_level(enum cube_log_level level) {
	max_level = level;
}

static size_t cut_text(char *text, int n) {
	size_t len = (size_t)n;

	if (n < 0) return 0;
	if (len < TEXT_MAX) return len;
	len = TEXT_MAX - 4;
	while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) len--;
	memcpy(text + len, "...", 3);
	return len + 3;
}

void cube_log(enum cube_log_level level, const char *fmt, ...) {
	static const char names[][8] = {
		[CUBE_LOG_ERROR] = " error ",
		[CUBE_LOG_WARN] = " warn  ",
		[CUBE_LOG_INFO] = " info  ",
		[CUBE_LOG_DEBUG] = " debug ",
	};
	int saved = errno;
	char text[TEXT_MAX], stamp[25];
	struct cube_buf line;
	va_list ap;
	size_t len;

	if (level > max_level) return;
	va_start(ap, fmt);
	len = cut_text(text, cube_vformat(text, sizeof text, fmt, ap));
	va_end(ap);

	cube_buf_init(&line, TEXT_MAX * 4 + 64);
	if (cube_buf_addstr(&line, cube_clock_rfc3339(cube_clock_wall(), stamp)) == 0 &&
	    cube_buf_addstr(&line, names[level]) == 0 && cube_text_escape(&line, text, len) == 0 &&
	    cube_buf_add(&line, "\n", 1) == 0)
		/* Stderr may be a pipe whose reader is slow or gone: what it does not take is
		 * dropped. */
		(void)cube_write_all(STDERR_FILENO, cube_buf_data(&line), cube_buf_len(&line));
	cube_buf_done(&line);
	errno = saved;
}
