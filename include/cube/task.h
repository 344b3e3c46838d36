/* Task states and their transitions: pure decisions.
 *
 *   pending 0 -> scheduled 1 -> running 2 -> completed 3
 *       |            |             |  `-> scheduled (again)
 *       `------------`-> failed 4 <-'        failed -> scheduled (restart)
 *
 * A task whose node is lost keeps its state and is shown as "unknown": the manager does not
 * know, and never pretends that it failed. */
#ifndef CUBE_TASK_H
#define CUBE_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/msg.h"

enum cube_task_state {
	CUBE_TASK_PENDING,
	CUBE_TASK_SCHEDULED,
	CUBE_TASK_RUNNING,
	CUBE_TASK_COMPLETED,
	CUBE_TASK_FAILED,
	CUBE_TASK_STATES,
};

/* The 25 transitions: pending->{scheduled,failed}; scheduled->{scheduled,running,failed};
 * running->{running,completed,failed,scheduled}; failed->scheduled; nothing else. */
bool cube_task_allows(enum cube_task_state from, enum cube_task_state to);
bool cube_task_final(enum cube_task_state state); /* completed or failed */
const char *cube_task_state_name(enum cube_task_state state);
int cube_task_state_parse(const char *name, enum cube_task_state *ret); /* 0 or CUBE_EUSAGE */

/* How an attempt's end reads: completed for exit 0 and for a stop on request of a running task
 * (`was_running`), else failed. */
enum cube_task_state cube_task_outcome(uint8_t how, int32_t value, bool was_running);

/* The process exit code that stands for an attempt's end: its own code, 128 + signal,
 * 124 timeout, 126/127 not executable / not found, 125 for cube's own failure. */
int cube_task_exit_code(uint8_t how, int32_t value);

/* "exited", "signaled", "not-started", "timeout", "stopped", "lost". */
const char *cube_task_how_name(uint8_t how);

#endif
