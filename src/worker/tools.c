#include "tools.h"

#include <stddef.h>

const struct tool worker_tools[] = {
	{"connect", 2, 2, "HOST PORT", connect_main},
	{"environ", 0, 1, "[MARK]", environ_main},
	{NULL},
};
