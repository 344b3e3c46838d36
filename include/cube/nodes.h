/* The nodes: joining, the link to each worker, leaving.
 *
 * A node has at most one transport. While it is joining, deploy.c drives that transport (probe,
 * push, attach); from the attach line on, link.c speaks the protocol over it.
 */
#ifndef CUBE_NODES_H
#define CUBE_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/metric.h"
#include "cube/msg.h"
#include "cube/node.h"
#include "cube/transport.h"
#include "cube/manager.h"
#include "cube/prompts.h"

#define CUBE_NODE_LEAVE_NS (30 * CUBE_NS_PER_S)

struct cube_deploy;
struct cube_push;

struct cube_node_facts {
	char hostname[CUBE_NAME_LEN], kernel[132], machine[65];
	uint32_t cpus;
	uint64_t memory;
};

struct cube_node_settings { /* how a node is reached; persisted, so that a new manager can */
	char *host, *user, *identity, *labels, *ssh_config, *jump; /* NULL: none */
	char *transport;          /* NULL, "auto": libssh2, and OpenSSH where that cannot; "ssh":
				     libssh2 only; else a template as for cube_transport_command */
	struct cube_strv options; /* ssh -o */
	uint16_t port;
	bool local, strict_host_keys;
	bool become; /* the worker runs as root, by sudo */
	uint64_t connect_timeout_ns;
};
void cube_node_settings_copy(struct cube_node_settings *to, const struct cube_node_settings *from);
void cube_node_settings_done(struct cube_node_settings *s);
/* Whether what carries the connection is ours to choose: libssh2, and OpenSSH where that cannot. */
bool cube_node_settings_choose(const struct cube_node_settings *s);

struct cube_mnode {
	struct cube_link link; /* in cube_nodes */
	struct cube_manager *m;
	uint32_t id;
	char *name;
	struct cube_node_settings set;
	char *fallback; /* why OpenSSH is used instead of libssh2 from now on, or NULL */
	bool auto_slots, purge;
	bool once; /* came with a command that takes it down at its end, see node_uses.h; nobody
		      has asked for it to stay since */
	bool purge_once; /* .. and one of those that used it wants nothing to be left there */
	bool ask; /* questions may be put to whoever asked for this join: cleared when it ends */

	enum cube_node_state state; /* set only by cube_node_set */
	char *reason;
	uint32_t slots; /* 0 until known */
	int64_t added, seen;
	uint64_t join_began, join_took; /* mono ns */
	const char *step;               /* while joining */
	double progress;                /* 0..1, < 0: none */
	bool has_facts;
	struct cube_node_facts facts;
	char notice[240]; /* of the worker: what its user should know about the host, or "" */
	struct cube_metric metric, metric_before; /* .wall 0: none yet */

	struct cube_transport *transport;
	struct cube_deploy *deploy;
	struct cube_buf outbox; /* control frames, sent at flush */
	struct cube_link streams,
		stream_bulk;    /* struct cube_mstream: all; those with data to send */
	uint64_t stream_last;   /* the last one's id on this link */
	struct cube_link files; /* struct cube_push: contents known to be, or on their way, there */
	struct cube_timer
		*timer;     /* by state: joining limit, ping, reconnect pause, leaving limit */
	uint64_t heard;     /* mono: last frame */
	uint64_t boot;      /* of the daemon that was ready last; another one's attempts are gone */
	uint64_t link_boot; /* as the HELLO of the present link told; boot from READY on */
	uint64_t features;  /* of PROTOCOL.md section 8 that both ends of the present link have */
	uint32_t strangers; /* attempts it listed that this database cannot have started .. */
	uint64_t stranger;  /* .. and the first one's task */
	uint64_t linked_at, metric_at; /* mono */
	uint64_t doubted; /* mono: the link may be dead since, see node_wake.h; 0: it is not */
	unsigned retries;
	bool linked;      /* the worker's HELLO came on the present transport */
	bool told;        /* .. and it was told to shut down */
	bool choked;      /* .. and did not take what it was sent: the link ends, nothing is sent */
	bool signalled;   /* .. and tasks there were sent signals that it has not answered for */
	bool other_build; /* .. and it is another worker than this cube's */
	bool joined;      /* was ready since it was asked for: a failure is a loss, not an end */
	bool touched;     /* something of ours may be on the host */
	bool by_jump; /* .. of a jump host's login: a link can be made again while that one's lasts
		       */
	bool by_person; /* a password or a second factor was part of the login: a link that breaks
			   cannot be made again without one */
	bool touch;     /* a key waits for a finger */

	struct cube_asker asker;
	enum cube_ask_kind asked; /* what it asked last */
	char login[64];           /* the user there, as far as known; sudo asks for its password */
	char no_answer[64];       /* why that got none, or "" */

	struct cube_link bound;    /* struct cube_task.queue: pending and may run only here */
	struct cube_link attempts; /* struct cube_task.queue: given to it and not ended */
	uint32_t load;             /* their number */
	uint64_t mean_ns;          /* moving mean of attempts' run time, for prefetch */
};

int cube_nodes_new(struct cube_manager *m, struct cube_nodes **ret, struct cube_err *err);
void cube_nodes_free(struct cube_nodes *nodes);
int cube_nodes_load(struct cube_nodes *nodes,
		    struct cube_err *err); /* from the store; reconnects */

struct cube_node_request {
	const char *name;
	struct cube_node_settings set; /* borrowed: copied when taken */
	uint32_t slots;                /* 0: as many as CPUs */
	bool ask;
};
/* Whether it can be added: CUBE_EUSAGE for its fields, CUBE_ECONFLICT while it is leaving, or where
 * it is there and another one than is asked for (cube_node_check_same). */
int cube_nodes_check(struct cube_nodes *nodes, const struct cube_node_request *request,
		     struct cube_err *err);
/* Adds and begins joining; *ret_added false where it was there already (failed, lost and gone
 * ones are begun again with the request's settings, but that the account of one that was ready
 * stays where the request names none). Fails only as cube_nodes_check does. */
int cube_nodes_add(struct cube_nodes *nodes, const struct cube_node_request *request,
		   struct cube_mnode **ret, bool *ret_added, struct cube_err *err);
/* Stops its tasks, removes the worker; ends as gone or failed. ask: as in the request, where it has
 * to be reached for that. */
void cube_nodes_leave(struct cube_nodes *nodes, struct cube_mnode *node, bool purge, bool ask);

/* Nodes that are gone and left their cached worker on their host (taken down without purge):
 * whether name is one; and bringing that one (NULL: all) back, to be taken down with purge at once.
 */
bool cube_nodes_left_worker(struct cube_nodes *nodes, const char *name);
int cube_nodes_bring_back(struct cube_manager *m, const char *name, struct cube_err *err);

/* Joins again one that waits for a login, failed or is lost; others stay as they are: *ret_added
 * false. ask: as in the request. */
void cube_nodes_login(struct cube_nodes *nodes, struct cube_mnode *node, bool ask, bool *ret_added);
/* It will not come back by itself, and nothing waits for it: failed (with nothing that it may still
 * run), gone, or parked without ever having been ready. */
bool cube_node_is_out(const struct cube_mnode *node);

struct cube_mnode *cube_nodes_find(struct cube_nodes *nodes, const char *name);
struct cube_mnode *cube_nodes_by_id(struct cube_nodes *nodes, uint32_t id);
struct cube_link *cube_nodes_list(struct cube_nodes *nodes); /* head; members by .link, by id; gone
								nodes are not in it */
unsigned cube_nodes_count(const struct cube_nodes *nodes);
/* The name of a node of any time ("" for 0 or unknown). */
const char *cube_nodes_name(struct cube_nodes *nodes, uint32_t id);
void cube_nodes_flush(struct cube_nodes *nodes); /* order 20 */

/* --- for deploy.c, link.c and tasks.c --- */
void cube_node_set(struct cube_mnode *node, enum cube_node_state state, const char *reason);
void cube_node_persist(struct cube_mnode *node);
void cube_node_step(struct cube_mnode *node, const char *step, double progress);
/* Joining ended in an error, or the link broke: state failed, lost or parked, tasks told, retry
 * armed for a lost one. */
void cube_node_fail(struct cube_mnode *node, const struct cube_err *err);
/* For good: gone, or failed; its tasks too, and where it is gone the node itself. */
void cube_node_end(struct cube_mnode *node, enum cube_node_state state, const char *reason);
void cube_node_hang_up(struct cube_mnode *node);
/* node_leave.c: it took too long; the worker has ended; and nothing of it is there (note: but what
 * another cluster's keeps, or ""). */
void cube_node_leave_limit(struct cube_mnode *node);
void cube_node_left(struct cube_mnode *node);
void cube_node_left_clean(struct cube_mnode *node, const char *note);
/* .. and for it: a gone one that left its worker; ids are 1..last; a node of its row again. */
bool cube_nodes_cached(struct cube_nodes *nodes, uint32_t id);
uint32_t cube_nodes_last(const struct cube_nodes *nodes);
struct cube_mnode *cube_nodes_revive(struct cube_nodes *nodes, const struct cube_node_row *row);
void cube_node_join(struct cube_mnode *node); /* (re)connect now */
/* Opens the transport that the settings ask for, or OpenSSH's. node_open.c */
int cube_node_open(struct cube_manager *m, const char *name, const struct cube_node_settings *set,
		   bool by_openssh, bool ask, bool old_jumps,
		   const struct cube_transport_events *events, void *arg,
		   struct cube_transport **ret, struct cube_err *err);
/* "local", "ssh" (libssh2), "openssh", or the template: how the node is reached now. */
const char *cube_node_transport(const struct cube_mnode *node);
/* A transport failed. True where that was libssh2, which cannot do what this host wants, and the
 * settings leave the choice: OpenSSH's from now on, which is noted. The caller joins again. */
bool cube_node_fall_back(struct cube_mnode *node, const struct cube_err *err);
/* Tells a linked worker to kill everything and go; the end of its channel makes the node gone. */
void cube_node_shut_down(struct cube_mnode *node);
/* Queues a frame for the next flush. Nothing while the node is not linked. Never fails the node at
 * once: what does not fit chokes it. */
void cube_node_send(struct cube_mnode *node, const struct cube_msg *msg);
void cube_node_send_into(struct cube_mnode *node, struct cube_buf *out, const struct cube_msg *msg);
void cube_node_choke(
	struct cube_mnode *node); /* something could not be queued: a timer ends the link */
bool cube_node_can_take(struct cube_mnode *node); /* another START: linked, and not far behind */

/* node_ask.c: what a person has to answer, for the transport and for sudo. */
void cube_node_ask(struct cube_mnode *node, const struct cube_ask *ask);
void cube_node_note(struct cube_mnode *node, const char *text); /* "Confirm user presence ..." */
void cube_node_on_fact(struct cube_mnode *node, enum cube_transport_fact fact, const char *text);
/* The error of a failed join, with why there was no answer. */
void cube_node_add_reason(const struct cube_mnode *node, struct cube_err *err);
/* Whether it is parked for this error instead of being tried again, or given up. */
bool cube_node_must_park(const struct cube_mnode *node, const struct cube_err *err);
void cube_node_ask_init(struct cube_mnode *node);
void cube_node_ask_begin(struct cube_mnode *node); /* a join */

/* deploy.c: brings a worker of this build to the node over an open transport, then hands over to
 * cube_link_begin. Every event of the transport goes through these while node->deploy is set. */
int cube_deploy_begin(struct cube_mnode *node, struct cube_err *err);
/* After a worker's end: removes cached workers from all folders that one may live in; ends by
 * cube_node_left_clean, or fails the node with what cannot be removed. */
int cube_deploy_clean(struct cube_mnode *node, struct cube_err *err);
size_t cube_deploy_out(struct cube_mnode *node, const uint8_t *bytes, size_t n);
void cube_deploy_err(struct cube_mnode *node, const uint8_t *bytes, size_t n);
void cube_deploy_drained(struct cube_mnode *node);
void cube_deploy_end(struct cube_mnode *node, int status);
/* The newest of what the login shell printed that is no answer of ours, "" for nothing. */
const char *cube_deploy_said(struct cube_mnode *node);
/* What sudo asked for, or NULL: there is no answer. */
void cube_deploy_answer(struct cube_mnode *node, const char *password);
void cube_deploy_free(struct cube_deploy *d); /* NULL is fine */

/* link.c: the protocol. `in` takes whole frames and returns how many bytes it used. */
void cube_link_begin(struct cube_mnode *node);
size_t cube_link_in(struct cube_mnode *node, const uint8_t *bytes, size_t n);
void cube_link_flush(struct cube_mnode *node);
void cube_link_drop(struct cube_mnode *node); /* the transport is gone: forget what was queued */

/* push.c: files. START frames that need a content not yet there wait behind it: gives the buffer
 * to append such a frame to (the outbox where nothing has to be waited for). */
struct cube_buf *cube_push_need(struct cube_mnode *node, const struct cube_msg_file *files,
				uint32_t nfiles, struct cube_err *err);
/* Where a frame goes that must not overtake such a START. */
struct cube_buf *cube_push_behind(struct cube_mnode *node, const struct cube_msg_file *files,
				  uint32_t nfiles);
size_t cube_push_waiting(struct cube_mnode *node); /* bytes of frames behind files */
/* Whether a content is one of the files. */
bool cube_push_among(const uint8_t *sha256, const struct cube_msg_file *files, uint32_t nfiles);
bool cube_push_pump(struct cube_mnode *node); /* sends one piece more; false: there is none */
/* The worker has lost these: they are sent again when they are needed next. */
void cube_push_forget(struct cube_mnode *node, const struct cube_msg_file *files, uint32_t nfiles);
void cube_push_done(struct cube_mnode *node, const struct cube_msg *msg);
void cube_push_reset(struct cube_mnode *node, bool forget_all); /* link gone; or another daemon */

#endif
