#include <stdlib.h>
#include <unistd.h>

#include "cube/assert.h"
#include "cube/format.h"

void cube_assert_failed(const char *truth, const char *file, int line) {
	(void)cube_print(STDERR_FILENO, "%s:%d: assertion failed: %s\n", file, line, truth);
	abort();
}
