/* The CLI's side of the manager's HTTP API; the only user of libcurl.
 *
 * Requests with JSON block; streams run while cube_client_turn is called. One thread.
 */
#ifndef CUBE_CLI_CLIENT_H
#define CUBE_CLI_CLIENT_H

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/paths.h"

struct cube_client;
struct cube_transfer;

/* Connects lazily: no request is made. */
int cube_client_new(const struct cube_paths *paths, struct cube_client **ret, struct cube_err *err);
void cube_client_free(struct cube_client *c); /* NULL is fine; ends its transfers */

/* One request. body (borrowed) may be NULL. *ret_reply (may be NULL) is the caller's, or NULL where
 * the reply had no JSON. An error reply becomes *err with its code and message; CUBE_ECONNECT
 * with .sys where nobody listens. Replies are bounded to 256 MiB. */
int cube_client_json(struct cube_client *c, const char *method, const char *path,
		     const json_t *body, json_t **ret_reply, struct cube_err *err);

/* A POST that is to be carried out once: where the manager went away before it answered, it is
 * started again, and asked again with the same key (API.md, Idempotency-Key). */
int cube_client_post_once(struct cube_client *c, const char *path, const json_t *body,
			  const struct cube_paths *paths, json_t **ret_reply, struct cube_err *err);

/* As cube_client_json, with a body that holds a secret, which is taken, for an answer that nobody
 * reads: all copies of it are wiped. It must have been made between begin and end. */
int cube_client_json_secret(struct cube_client *c, const char *method, const char *path,
			    json_t *taken, struct cube_err *err);
void cube_client_secret_begin(void);
void cube_client_secret_end(void);

/* From now on a manager that is found to have ended is started again for the next request with
 * JSON; paths must outlive the client. */
void cube_client_restarts(struct cube_client *c, const struct cube_paths *paths);
/* The process that holds this cluster's lock, whether it answers or not; 0: there is none. */
pid_t cube_client_manager_pid(const struct cube_paths *paths);

/* Uploads size bytes from file fd. */
int cube_client_put(struct cube_client *c, const char *path, int fd, uint64_t size,
		    struct cube_err *err);

/* Takes a piece of an answer; not 0 ends the transfer with that result. It is called by libcurl
 * from inside cube_client_turn: it frees no transfer and calls no turn. Who wants to end returns
 * not 0, and the owner frees after the turn. cube_client_json is fine. */
typedef int cube_client_fn(void *arg, const void *bytes, size_t n);

/* A GET whose answer goes to fn as it comes. */
struct cube_transfer *cube_client_get(struct cube_client *c, const char *path, cube_client_fn *fn,
				      void *arg);
/* A POST of JSON (borrowed) whose answer goes to fn as it comes. */
struct cube_transfer *cube_client_ask(struct cube_client *c, const char *path, const json_t *body,
				      cube_client_fn *fn, void *arg);
/* A POST whose body is what can be read from fd, as it comes; fd stays the caller's. */
struct cube_transfer *cube_client_post(struct cube_client *c, const char *path, int fd);
bool cube_transfer_ended(const struct cube_transfer *t);
/* Of an ended transfer: 0, fn's result, or a failure. */
int cube_transfer_result(const struct cube_transfer *t, struct cube_err *err);
void cube_transfer_free(struct cube_transfer *t); /* NULL is fine; ends it */

/* A POST that turns its connection into `protocol` (101). *ret_fd: the socket, non-blocking, the
 * caller's; nothing was read behind the head. An error reply becomes *err. */
int cube_client_upgrade(struct cube_client *c, const char *path, const char *protocol, int *ret_fd,
			struct cube_err *err);

/* Waits until something happens, or timeout_ms (-1: none), and lets transfers go on. revents of fds
 * are filled. */
void cube_client_turn(struct cube_client *c, struct pollfd *fds, size_t n, int timeout_ms);

/* Something else that goes on while commands wait. A hook may add and remove hooks, itself
 * included, and free those that are removed; it calls no cube_client_turn. */
enum cube_client_turn {
	CUBE_TURN_IDLE,        /* a turn was done */
	CUBE_TURN_READABLE,    /* and fd can be read */
	CUBE_TURN_INTERRUPTED, /* Ctrl-C, as the command tells by cube_client_interrupted */
};
struct cube_client_hook {
	int fd; /* -1: none now; it may change */
	void (*fn)(void *arg, enum cube_client_turn what);
	void *arg;
	struct cube_client_hook *next; /* the client's, as is the last one */
	bool readable;
};
void cube_client_hook_add(struct cube_client *c, struct cube_client_hook *hook);
void cube_client_hook_remove(struct cube_client *c, struct cube_client_hook *hook);
void cube_client_interrupted(struct cube_client *c);

/* Starts a manager for paths and waits until its socket accepts. Two callers at once start one. */
int cube_client_start_manager(const struct cube_paths *paths, struct cube_err *err);

#endif
