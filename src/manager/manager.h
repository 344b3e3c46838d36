/* All that `cube manager` is made of; main.c builds it and takes it down. */
#ifndef CUBE_MANAGER_H
#define CUBE_MANAGER_H

#include "cube/api.h"
#include "cube/builds.h"
#include "cube/transport.h"

struct cube_manager {
	struct cube_loop *loop;
	struct cube_store *store;
	struct cube_turn turn;
	bool kept; /* the store is a file in the state folder */
	struct cube_paths paths;
	uint64_t cluster;             /* random id, made once a state folder */
	uint64_t epoch;               /* random, made at each opening of the store: PROTOCOL.md 3 */
	struct cube_userenv *userenv; /* the environment follows the user's */
	struct cube_ssh *ssh;
	struct cube_reach reach;
	struct cube_builds *builds;
	struct cube_events *events;
	struct cube_files *files;
	struct cube_logs *logs;
	struct cube_prompts *prompts;
	struct cube_fleet *fleet;
	struct cube_work *work;
	struct cube_api *api;
	bool stopping;
};

/* Ends the loop after this turn; workers and tasks go on. */
void cube_manager_stop(struct cube_manager *m);

#endif
