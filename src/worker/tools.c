#include "tools.h"

#include <limits.h>
#include <stddef.h>

#include "transfer.h"

const struct tool worker_tools[] = {
	{"connect", 2, 2, "HOST PORT", connect_main},
	{"environ", 0, 1, "[MARK]", environ_main},
	{"place", 1, INT_MAX, "FOLDER [SHA256 MODE NAME]...", place_main},
	{"put", 1, 3, "[-d] [-m] DEST", put_main},
	{"get", 1, INT_MAX, "[-a] PATH...", get_main},
	{NULL},
};
