/* What the manager's parts share. main.c builds everything and passes it down. */
#ifndef CUBE_MANAGER_H
#define CUBE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/list.h"
#include "cube/loop.h"
#include "cube/paths.h"
#include "cube/store.h"
#include "cube/turn.h"

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
	struct cube_store *store; /* read freely; written through the turn */
	struct cube_turn turn;
	bool kept; /* the store is a file in the state folder */
	struct cube_paths paths;
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
	struct cube_link uses;         /* of node_uses.c; zeroed at first */
	struct cube_link streams_over; /* of streams.c: their clients still read; zeroed at first */
	bool stopping;
};

/* Ends the loop after this turn; workers and tasks go on. */
void cube_manager_stop(struct cube_manager *m);

#endif
