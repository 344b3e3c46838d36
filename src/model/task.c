#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cube/task.h"

static const bool allowed[CUBE_TASK_STATES][CUBE_TASK_STATES] = {
	[CUBE_TASK_PENDING] = {[CUBE_TASK_SCHEDULED] = true, [CUBE_TASK_FAILED] = true},
	[CUBE_TASK_SCHEDULED] = {[CUBE_TASK_SCHEDULED] = true,
				 [CUBE_TASK_RUNNING] = true,
				 [CUBE_TASK_FAILED] = true},
	[CUBE_TASK_RUNNING] = {[CUBE_TASK_RUNNING] = true,
			       [CUBE_TASK_COMPLETED] = true,
			       [CUBE_TASK_FAILED] = true,
			       [CUBE_TASK_SCHEDULED] = true},
	[CUBE_TASK_FAILED] = {[CUBE_TASK_SCHEDULED] = true},
};

static const char *const state_names[] = {
	[CUBE_TASK_PENDING] = "pending", [CUBE_TASK_SCHEDULED] = "scheduled",
	[CUBE_TASK_RUNNING] = "running", [CUBE_TASK_COMPLETED] = "completed",
	[CUBE_TASK_FAILED] = "failed",
};
_Static_assert(sizeof state_names / sizeof state_names[0] == CUBE_TASK_STATES, "a name per state");

static const char *const how_names[] = {
	[CUBE_EXIT_EXITED] = "exited",           [CUBE_EXIT_SIGNALED] = "signaled",
	[CUBE_EXIT_NOT_STARTED] = "not-started", [CUBE_EXIT_TIMEOUT] = "timeout",
	[CUBE_EXIT_STOPPED] = "stopped",         [CUBE_EXIT_LOST] = "lost",
};
enum { HOWS = sizeof how_names / sizeof how_names[0] };
_Static_assert(HOWS == CUBE_EXIT_LOST + 1, "a name per way to end");

bool cube_task_allows(enum cube_task_state from, enum cube_task_state to) {
	if ((unsigned)from >= CUBE_TASK_STATES || (unsigned)to >= CUBE_TASK_STATES) return false;
	return allowed[from][to];
}

bool cube_task_final(enum cube_task_state state) {
	return state == CUBE_TASK_COMPLETED || state == CUBE_TASK_FAILED;
}

const char *cube_task_state_name(enum cube_task_state state) {
	return (unsigned)state < CUBE_TASK_STATES ? state_names[state] : "?";
}

int cube_task_state_parse(const char *name, enum cube_task_state *ret) {
	for (unsigned i = 0; i < CUBE_TASK_STATES; i++)
		if (!strcmp(name, state_names[i])) {
			*ret = (enum cube_task_state)i;
			return 0;
		}
	return CUBE_EUSAGE;
}

enum cube_task_state cube_task_outcome(uint8_t how, int32_t value, bool was_running) {
	if (how == CUBE_EXIT_EXITED && value == 0) return CUBE_TASK_COMPLETED;
	if (how == CUBE_EXIT_STOPPED && was_running) return CUBE_TASK_COMPLETED;
	return CUBE_TASK_FAILED;
}

static int signal_code(int32_t signo) {
	return signo >= 1 && signo <= 64 ? 128 + signo : 125;
}

/* As a shell says it; want of memory, processes or room is not the program's fault. */
static int not_started_code(int32_t sys) {
	switch (sys) {
	case ENOENT: return 127;
	case 0:
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EIO: return 125;
	default: return 126;
	}
}

int cube_task_exit_code(uint8_t how, int32_t value) {
	switch (how) {
	case CUBE_EXIT_EXITED: return value >= 0 && value <= 255 ? value : 125;
	case CUBE_EXIT_SIGNALED: return signal_code(value);
	case CUBE_EXIT_NOT_STARTED: return not_started_code(value);
	case CUBE_EXIT_TIMEOUT: return 124;
	/* No signal ended it: it left by itself when asked, or was still queued. */
	case CUBE_EXIT_STOPPED: return signal_code(value ? value : SIGTERM);
	default: return 125;
	}
}

const char *cube_task_how_name(uint8_t how) {
	return how < HOWS ? how_names[how] : "?";
}
