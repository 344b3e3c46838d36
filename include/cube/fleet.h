/* The fleet: hosts that are to be nodes: reached, given a worker, kept, come back to, left.
 *
 * It knows no task, no stream and no client. What a worker says that is not for the fleet goes up
 * to the receiver of that range of frames; what becomes of nodes, to the one listener. It never
 * calls upward but by these.
 *
 * A node has at most one transport. While it is joining, a deploy (cube/deploy.h) drives that; from
 * the attach line on it is the link to its worker (link.c; PROTOCOL.md).
 *
 *   where a node is lost, failed or parked    cube_node_fail, fleet.c
 *   where one is tried again                  wake.c
 *   where one is taken down                   node_leave.c
 */
#ifndef CUBE_FLEET_H
#define CUBE_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/builds.h"
#include "cube/events.h"
#include "cube/list.h"
#include "cube/metric.h"
#include "cube/msg.h"
#include "cube/node.h"
#include "cube/prompts.h"
#include "cube/settings.h"
#include "cube/turn.h"

struct cube_fleet;
struct cube_node_link;

struct cube_node_facts {
	char hostname[CUBE_NAME_LEN], kernel[132], machine[65];
	uint32_t cpus;
	uint64_t memory;
};

struct cube_node {             /* to be read; what is written is said */
	struct cube_list hook; /* in the fleet */
	struct cube_fleet *fleet;
	uint32_t id;
	char *name;
	struct cube_node_settings set;
	char *fallback;  /* why OpenSSH is used instead of libssh2 from now on, or NULL */
	char login[64];  /* the user there, as far as known */
	bool once;       /* came with a command that takes it down at its end (cube/uses.h); nobody
			    has asked for it to stay since. The uses' to write */
	bool purge_once; /* .. and one of those wants nothing to be left there; theirs too */

	enum cube_node_state state;
	char *reason;
	bool auto_slots;
	uint32_t slots; /* 0 until known */
	int64_t added, seen;
	uint64_t join_took; /* ns */
	const char *step;   /* while joining */
	double progress;    /* 0..1, < 0: none */
	bool has_facts;
	bool joined; /* was ready since it was asked for: a failure is a loss, not an end */
	struct cube_node_facts facts;
	char notice[240]; /* of the worker: what its user should know about the host, or "" */
	struct cube_metric metric, metric_before; /* .wall 0: none yet */

	struct cube_node_link *link; /* the fleet's own */
	void *seat;                  /* the listener's: it sets this when the node is added */
};

/* --- what it tells --- */

/* Frames of the types first..last that a worker sent. */
struct cube_fleet_receiver {
	uint8_t first, last;
	/* CUBE_EPROTO ends the link. */
	int (*message)(void *arg, struct cube_node *n, const struct cube_msg *msg,
		       struct cube_err *err);
	/* The link has room: one piece of bulk is sent, or there is none: false. May be NULL. */
	bool (*pump)(void *arg, struct cube_node *n);
	/* The link is gone, and what was queued for it. In the order of the receivers. */
	void (*down)(void *arg, struct cube_node *n, const char *why);
	void *arg;
};

struct cube_fleet_listener {
	void (*added)(void *arg, struct cube_node *n);   /* before anything else about it */
	void (*removed)(void *arg, struct cube_node *n); /* last; the seat is to be freed */
	/* The worker listed all it knows; the node is not ready yet. */
	void (*listed)(void *arg, struct cube_node *n);
	/* Now it is. new_boot: of another daemon than the one before. */
	void (*ready)(void *arg, struct cube_node *n, bool new_boot);
	/* It will not come (back) by itself: failed for good, gone, or parked before it ever was
	 * ready. */
	void (*ended)(void *arg, struct cube_node *n, const char *why);
	/* Whether nothing of ours may still run there. */
	bool (*idle)(void *arg, const struct cube_node *n);
	/* The worker answered: whatever was sent to it before `asked` (loop time) has arrived. */
	void (*answered)(void *arg, struct cube_node *n, uint64_t asked);
	void *arg;
};

/* --- life --- */

struct cube_fleet_parts { /* borrowed, and there as long as the fleet */
	struct cube_turn *turn;
	struct cube_events *events;
	struct cube_prompts *prompts;
	struct cube_builds *builds;
	struct cube_reach *reach;
	uint64_t cluster, epoch; /* PROTOCOL.md section 3 */
};
void cube_fleet_new(const struct cube_fleet_parts *parts, struct cube_fleet **ret);
/* receivers: n of them; all is borrowed. Before cube_fleet_load. */
void cube_fleet_tell(struct cube_fleet *fleet, const struct cube_fleet_listener *listener,
		     const struct cube_fleet_receiver *receivers, size_t n);
/* From the store; reconnects. */
int cube_fleet_load(struct cube_fleet *fleet, struct cube_err *err);
void cube_fleet_free(struct cube_fleet *fleet);  /* workers go on; NULL is fine */
void cube_fleet_flush(struct cube_fleet *fleet); /* after the commit: sends what is queued */

/* --- requests --- */

struct cube_node_request {
	const char *name;
	struct cube_node_settings set; /* borrowed: copied when taken */
	uint32_t slots;                /* 0: as many as CPUs */
	bool ask;                      /* questions may be put to whoever asks for this */
};
/* Whether it can be added: CUBE_EUSAGE for its fields, CUBE_ECONFLICT while it is leaving, or where
 * it is there and another one than is asked for. */
int cube_fleet_check(struct cube_fleet *fleet, const struct cube_node_request *request,
		     struct cube_err *err);
/* Adds and begins joining; *ret_added false where it was there already (failed, lost and gone
 * ones are begun again with the request's settings, but that the account of one that was ready
 * stays where the request names none). Fails only as cube_fleet_check does. */
int cube_fleet_add(struct cube_fleet *fleet, const struct cube_node_request *request,
		   struct cube_node **ret, bool *ret_added, struct cube_err *err);
/* The request asks for other slots than the node has: it is told, and the node stays as it is. */
bool cube_node_kept(const struct cube_node *node, const struct cube_node_request *request);
/* Joins again one that waits for a login, failed or is lost; others stay as they are: *ret_added
 * false. ask: as in the request. */
void cube_node_login(struct cube_node *node, bool ask, bool *ret_added);
/* Its tasks are stopped and the worker removed; ends as gone or failed. ask: as in the request,
 * where it has to be reached for that. */
void cube_node_leave(struct cube_node *node, bool purge, bool ask);

/* Nodes that are gone and left their cached worker on their host (taken down without purge):
 * whether name is one; and bringing that one (NULL: all) back, to be taken down with purge at once.
 */
bool cube_fleet_left_worker(struct cube_fleet *fleet, const char *name);
int cube_fleet_bring_back(struct cube_fleet *fleet, const char *name, struct cube_err *err);

/* --- the set --- */

struct cube_node *cube_fleet_find(struct cube_fleet *fleet, const char *name);
struct cube_node *cube_fleet_by_id(struct cube_fleet *fleet, uint32_t id);
struct cube_list *cube_fleet_list(struct cube_fleet *fleet); /* head; members by .hook, by id; gone
								nodes are not in it */
unsigned cube_fleet_count(const struct cube_fleet *fleet);
/* How many nodes are in each state. */
void cube_fleet_states(struct cube_fleet *fleet, unsigned ret_counts[CUBE_NODE_STATES]);
uint32_t cube_fleet_last_id(const struct cube_fleet *fleet); /* the highest, also of gone ones */
/* The name of a node of any time ("" for 0 or unknown). */
const char *cube_fleet_name(struct cube_fleet *fleet, uint32_t id);

/* --- a node --- */

/* It will not come back by itself, and nothing waits for it: failed (with nothing that it may still
 * run), gone, or parked without ever having been ready. */
bool cube_node_is_out(const struct cube_node *node);
/* "local", "ssh" (libssh2), "openssh", or the template: how the node is reached now. */
const char *cube_node_transport(const struct cube_node *node);

/* The worker's HELLO came on the present link, and it takes what it is sent. */
bool cube_node_linked(const struct cube_node *node);
uint64_t cube_node_features(const struct cube_node *node); /* PROTOCOL.md section 8; of both ends */
/* Linked, and not far behind with what it was sent. */
bool cube_node_has_room(const struct cube_node *node);
/* Queues a frame for the next flush. Nothing while the node is not linked. Never fails the node at
 * once: what does not fit chokes it. */
void cube_node_send(struct cube_node *node, const struct cube_msg *msg);
/* .. into another buffer, whose bytes go out later by the next call. */
void cube_node_send_into(struct cube_node *node, struct cube_buf *out, const struct cube_msg *msg);
void cube_node_send_bytes(struct cube_node *node, const void *bytes, size_t n); /* whole frames */
struct cube_buf *cube_node_outbox(struct cube_node *node); /* for encoders of long frames */
/* Hands to the transport, now: bulk (for pump), behind all that is queued. */
void cube_node_send_now(struct cube_node *node, const void *bytes, size_t n);
void cube_node_outbox_out(struct cube_node *node); /* the same with what the outbox holds */
/* There is something for pump: it is called in this turn's flush. */
void cube_node_flush_soon(struct cube_node *node);
/* Something could not be queued: a timer ends the link, what is lost is sent over the next. */
void cube_node_choke(struct cube_node *node);

#endif
