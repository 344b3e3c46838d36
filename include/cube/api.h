/* The HTTP API of API.md: routes, JSON, streams of logs and events, over libmicrohttpd. */
#ifndef CUBE_API_H
#define CUBE_API_H

#include "cube/events.h"
#include "cube/files.h"
#include "cube/fleet.h"
#include "cube/logs.h"
#include "cube/paths.h"
#include "cube/prompts.h"
#include "cube/userenv.h"
#include "cube/turn.h"
#include "cube/work.h"

struct cube_api;
struct cube_api_parts { /* what it speaks of; borrowed, and there as long as the API */
	struct cube_turn *turn;
	struct cube_events *events;
	struct cube_prompts *prompts;
	struct cube_fleet *fleet;
	struct cube_work *work;
	struct cube_files *files;
	struct cube_logs *logs;
	struct cube_userenv *userenv;
	const struct cube_paths *paths;
	uint64_t cluster;
	int64_t started;         /* wall */
	void (*stop)(void *arg); /* the manager is asked to end */
	void *stop_arg;
};
void cube_api_new(const struct cube_api_parts *parts, struct cube_api **ret);
/* Ends its connections. NULL is fine. */
void cube_api_free(struct cube_api *api);

/* Serves that listening socket (owned from now on), and the one before no longer. */
int cube_api_serve(struct cube_api *api, int listen_fd, struct cube_err *err);
/* After each commit, as the last: answers go out now, and none before, so that nobody is told what
 * may still be lost. */
void cube_api_flush(struct cube_api *api);
/* Whether a client is really doing something: not one that is idle, follows in silence, or does not
 * read. */
bool cube_api_busy(struct cube_api *api);
/* Takes who waits to be accepted, and what has been sent by now. */
void cube_api_catch_up(struct cube_api *api);
/* Nothing is left to follow: endless answers come to a clean end, and no request is begun. */
void cube_api_finish(struct cube_api *api);

/* For struct cube_work_parts: specs are kept as the JSON that was posted. */
int cube_api_spec_read(const char *text, struct cube_spec *ret, struct cube_strv *ret_nodes,
		       struct cube_err *err);

#endif
