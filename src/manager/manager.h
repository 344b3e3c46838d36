/* The manager as a whole: what its parts share, and the order of a loop turn.
 *
 * A turn: io and timers change things (workers' messages, requests) -> before sleep, in this order:
 *   5  tasks_tick   places pending tasks; START frames go into the nodes' outboxes
 *  10  commit       one transaction for all that the turn wrote
 *  20  flush        outboxes (START, ACK, FORGET ...) go to the transports; followers are woken
 * so that nothing is told to anybody before it is durable. A request that changes something commits
 * in its handler, before its reply (cube_manager_commit).
 *
 * A failing database or disk ends the manager with an error: workers hold what was not
 * acknowledged, and the next start goes on from the last commit.
 *
 * main.c builds everything and passes it down; the parts know each other through this struct.
 */
#ifndef CUBE_MANAGER_H
#define CUBE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/list.h"
#include "cube/loop.h"
#include "cube/paths.h"
#include "cube/store.h"
#include "cube/transport.h"

struct cube_builds;
struct cube_events;
struct cube_files;
struct cube_logs;
struct cube_nodes;
struct cube_prompts;
struct cube_session;
struct cube_tasks;
struct cube_httpd;
struct cube_wake;
struct cube_api;

struct cube_manager {
	struct cube_loop *loop;
	struct cube_store *store; /* read freely; write through cube_manager_tx */
	bool in_tx;
	struct cube_paths paths;
	bool kept;                    /* the store is a file in the state folder */
	uint64_t cluster;             /* random id, made once a state folder */
	uint64_t epoch;               /* random, made at each opening of the store: PROTOCOL.md 3 */
	int64_t started;              /* wall */
	struct cube_session *session; /* the environment follows the user's */
	struct cube_ssh *ssh;
	struct cube_builds *builds;
	struct cube_events *events;
	struct cube_files *files;
	struct cube_logs *logs;
	struct cube_prompts *prompts;
	struct cube_nodes *nodes;
	struct cube_tasks *tasks;
	struct cube_wake *wake;
	struct cube_api *api;
	struct cube_httpd *httpd;
	struct cube_link streams_over; /* of streams.c: their clients still read; zeroed at first */
	bool stopping;
};

/* The store with a transaction open (begun at need). Ends the manager when that fails, as any
 * failed write does: check writes with cube_manager_must. */
struct cube_store *cube_manager_tx(struct cube_manager *m);
/* rc of a store or log write: a failure logs err and ends the process at once (exit code 125), so
 * that nothing is told which is not kept. */
void cube_manager_must(struct cube_manager *m, int rc, const struct cube_err *err);
/* The changed tasks' rows go along. */
void cube_manager_commit(struct cube_manager *m);
/* Ends the loop after this turn; workers and tasks go on. */
void cube_manager_stop(struct cube_manager *m);

#endif
