/* Bootstrap: from an open transport to a bare login shell to a running worker, with sh and cat.
 *
 * A deploy drives one transport (cube/transport.h) from its on_open, or from a line's end, until it
 * is over; whoever owns the transport passes its events on. It knows no node: what it learns goes
 * up by its events. `attached`, `cleaned` and `failed` are the last one. Any event may free it. */
#ifndef CUBE_DEPLOY_H
#define CUBE_DEPLOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/builds.h"
#include "cube/err.h"
#include "cube/node.h"
#include "cube/transport.h"

struct cube_deploy_target { /* borrowed during the call */
	uint64_t cluster;
	uint32_t node;       /* with cluster it names the worker's folder on the host */
	const char *machine; /* as uname -m named it before, or NULL */
	const char *login;   /* whose password sudo asks for */
	const char
		*program; /* of a command transport, for errors; NULL: ssh, or this machine's sh */
	bool become;      /* by sudo, as root */
	bool touched;     /* something of ours may be on the host already */
};

struct cube_deploy_events {
	/* One of PROBING, PUSHING, STARTING begins. */
	void (*stage)(void *arg, enum cube_node_state stage);
	/* Something moved: "pushing", 0..1 or < 0. */
	void (*step)(void *arg, const char *step, double progress);
	void (*let_in)(void *arg); /* our line runs, also by sudo: what was answered was right */
	void (*touched)(void *arg,
			bool on); /* something of ours may be on the host now, or is not */
	void (*note)(void *arg, const char *text);          /* for people */
	void (*ask)(void *arg, const struct cube_ask *ask); /* sudo; see cube_deploy_answer */
	void (*attached)(void *arg); /* what comes from now on is the worker's */
	/* stays: why something stays cached there, or "". */
	void (*cleaned)(void *arg, const char *stays);
	void (*failed)(void *arg, const struct cube_err *err);
};

struct cube_deploy;
/* transport and builds are borrowed. */
struct cube_deploy *cube_deploy_new(struct cube_transport *transport, struct cube_builds *builds,
				    const struct cube_deploy_target *target,
				    const struct cube_deploy_events *events, void *arg);
void cube_deploy_free(struct cube_deploy *d); /* any time, also in an event; NULL is fine */

/* Brings a worker of this build there and attaches to it, or to the one that runs. Errors that are
 * known at once return; then no event comes. */
int cube_deploy_begin(struct cube_deploy *d, struct cube_err *err);
/* Removes the cached workers of all folders where no other cluster's worker is at home; ours has
 * ended. Returns as begin. */
int cube_deploy_clean(struct cube_deploy *d, struct cube_err *err);

/* --- the transport's events --- */
/* Returns how many bytes it took: after `attached` the rest is the worker's. */
size_t cube_deploy_out(struct cube_deploy *d, const uint8_t *bytes, size_t n);
void cube_deploy_err(struct cube_deploy *d, const uint8_t *bytes, size_t n);
void cube_deploy_drained(struct cube_deploy *d);
void cube_deploy_end(struct cube_deploy *d, int status);

/* What sudo asked for, or NULL: there is no answer. */
void cube_deploy_answer(struct cube_deploy *d, const char *password);
/* The newest of what the login shell printed that is no answer of ours, "" for nothing. Borrowed.
 */
const char *cube_deploy_said(struct cube_deploy *d);

#endif
