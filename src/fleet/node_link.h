/* What the fleet keeps of a node for itself: its transport, the link to its worker, and what
 * decides whether a link can be made again. Shared by the files of this folder. */
#ifndef CUBE_NODE_LINK_H
#define CUBE_NODE_LINK_H

#include "cube/clock.h"
#include "cube/deploy.h"
#include "cube/fleet.h"

#define CUBE_NODE_LEAVE_NS (30 * CUBE_NS_PER_S)

struct cube_wake;

struct cube_fleet {
	struct cube_fleet_parts is;
	const struct cube_fleet_listener *listener;
	const struct cube_fleet_receiver *receivers;
	size_t nreceivers;
	struct cube_wake *wake;
	struct cube_list list;
	struct cube_list unsent;  /* struct cube_node_link.unsent: may have something to send */
	struct cube_list sampled; /* .sampled: with a sample that is not stored yet */
	struct cube_timer *samples;
	unsigned count;
	struct entry { /* by id; the name stays when the node is gone */
		char *name;
		struct cube_node *node;
		uint32_t next; /* id of the next of the same hash, 0: none */
		bool cached;   /* .. and its worker was left on its host */
	} * ids;
	uint32_t last_id;
	size_t room;     /* of ids */
	uint32_t *names; /* hash: the first's id */
	size_t nnames;   /* a power of two */
};

struct cube_node_link {
	struct cube_node *node;
	struct cube_list unsent, sampled; /* in the fleet's lists */
	struct cube_transport *transport;
	struct cube_deploy *deploy; /* which drives the transport while it is there */
	struct cube_buf outbox;     /* control frames, sent at flush */
	struct cube_timer
		*timer;   /* by state: joining limit, ping, reconnect pause, leaving limit */
	bool linked;      /* the worker's HELLO came on the present transport */
	bool told;        /* .. and it was told to shut down */
	bool choked;      /* .. and did not take what it was sent: the link ends, nothing is sent */
	bool other_build; /* .. and it is another worker than this cube's */
	uint64_t heard;   /* mono: last frame */
	uint64_t linked_at, metric_at; /* mono */
	uint64_t doubted;   /* mono: the link may be dead since, see wake.h; 0: it is not */
	uint64_t features;  /* of PROTOCOL.md section 8 that both ends have */
	uint64_t boot;      /* of the daemon that was ready last; another one's attempts are gone */
	uint64_t link_boot; /* as the HELLO of the present link told; boot from READY on */
	unsigned retries;

	uint64_t join_began; /* mono */
	bool ask;   /* questions may be put to whoever asked for this join: cleared when it ends */
	bool purge; /* leaving: the cached worker goes too */
	bool touched;    /* something of ours may be on the host */
	bool only_clean; /* it is back only to be cleaned: no worker is needed for that */
	bool cached;     /* its worker was left cached there before this node was: nothing else */
	bool by_person;  /* a password or a second factor was part of the login: a link that breaks
			    cannot be made again without one */
	bool by_jump;    /* .. of a jump host's login: it can, while that one's lasts */
	bool touch;      /* a key waits for a finger */
	struct cube_asker asker;
	enum cube_ask_kind asked; /* what it asked last */
	char no_answer[64];       /* why that got none, or "" */
};

/* --- node_life.c --- */
/* Of an id that has a name; it begins to be in the set, and ends to be. why: what those who use its
 * link are told. */
struct cube_node *cube_node_new(struct cube_fleet *fleet, uint32_t id, const char *name);
void cube_node_free(struct cube_node *node, const char *why);
/* The one setter of a state. */
void cube_node_set(struct cube_node *node, enum cube_node_state state, const char *reason);
void cube_node_persist(struct cube_node *node);
void cube_node_step(struct cube_node *node, const char *step, double progress);
/* Joining ended in an error, or the link broke: state failed, lost or parked, the listener told,
 * retry armed for a lost one. */
void cube_node_fail(struct cube_node *node, const struct cube_err *err);
/* For good: gone, or failed; where it is gone the node itself goes. */
void cube_node_end(struct cube_node *node, enum cube_node_state state, const char *reason);
void cube_node_hang_up(struct cube_node *node, const char *why);
void cube_node_join(struct cube_node *node); /* (re)connect now */
bool cube_node_idle(const struct cube_node *node);

/* --- node_leave.c: it took too long; the worker has ended; nothing of it is there (stays: but what
 * another cluster's keeps, or "") --- */
void cube_node_leave_limit(struct cube_node *node);
void cube_node_left(struct cube_node *node);
void cube_node_left_clean(struct cube_node *node, const char *stays);
/* Whether its host has something that it is to be rid of when the node leaves. */
static inline bool cube_node_left_something(const struct cube_node *node) {
	const struct cube_node_link *l = node->link;
	return node->has_facts || l->touched || (l->purge && l->cached);
}
/* Tells a linked worker to kill everything and go; the end of its channel makes the node gone. */
void cube_node_shut_down(struct cube_node *node);

/* --- node_deploy.c: a deploy over the open transport --- */
int cube_node_deploy(struct cube_node *node, struct cube_err *err);
int cube_node_clean(struct cube_node *node, struct cube_err *err);
/* A transport failed. True where that was libssh2, which cannot do what this host wants, and the
 * settings leave the choice: OpenSSH's from now on, which is noted. The caller joins again. */
bool cube_node_fall_back(struct cube_node *node, const struct cube_err *err);

/* --- node_ask.c: what a person has to answer, for the transport and for sudo --- */
void cube_node_ask(struct cube_node *node, const struct cube_ask *ask);
void cube_node_note(struct cube_node *node, const char *text); /* "Confirm user presence ..." */
void cube_node_on_fact(struct cube_node *node, enum cube_transport_fact fact, const char *text);
/* The error of a failed join, with why there was no answer. */
void cube_node_add_reason(const struct cube_node *node, struct cube_err *err);
/* Whether it is parked for this error instead of being tried again, or given up. */
bool cube_node_must_park(const struct cube_node *node, const struct cube_err *err);
void cube_node_ask_init(struct cube_node *node);
void cube_node_ask_begin(struct cube_node *node); /* a join */

/* --- link.c: the protocol. `in` takes whole frames and returns how many bytes it used. --- */
void cube_link_begin(struct cube_node *node);
size_t cube_link_in(struct cube_node *node, const uint8_t *bytes, size_t n);
void cube_link_flush(struct cube_node *node);
/* The next PING: in some 5 s. */
void cube_link_ping_later(struct cube_node *node);
/* Stores the samples that came since it did last. */
void cube_fleet_store_samples(void *fleet);
/* The transport is gone: what was queued is forgotten. */
void cube_link_drop(struct cube_node *node, const char *why);

#endif
