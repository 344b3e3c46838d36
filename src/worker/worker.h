/* The daemon's whole state, made by daemon.c and handed to the sessions. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/list.h"
#include "cube/listen.h"
#include "cube/loop.h"
#include "files.h"
#include "purge.h"
#include "runner.h"
#include "sampler.h"
#include "self.h"
#include "stream.h"
#include "sweep.h"

struct daemon_options;
struct session;

struct worker {
	struct cube_loop *loop;
	struct cube_listen *listen, *named; /* see reach.h; NULL when it ends */
	cube_listen_fn *arrived;            /* what they call */
	int lock;
	struct files files;
	struct runner runner;
	struct streams streams;
	struct login *login;
	struct sampler sampler;
	struct sweeper sweeper;
	struct sweep sweep;        /* of the node's cookie: at the start and at the end */
	struct cube_list arrivals; /* connections that have not handed over their fds yet */
	struct cube_list sessions; /* all of them; at most one is live */
	unsigned nsessions;
	struct session *live;      /* the one whose HELLO was accepted, or NULL */
	struct cube_timer *again;  /* there is more to pump than fits in one turn */
	struct cube_timer *lonely; /* looks whether the folder is there still */
	struct cube_buf frames;    /* where control frames are encoded; empty between calls */
	uint64_t cluster, boot;
	uint32_t node;
	char name[256];         /* the node's name, of the last HELLO */
	char folder[SELF_PATH]; /* absolute; the working directory */
	const struct daemon_options *options;
	const struct self *self;
	bool managed; /* started by attach: the folder is all ours */
	bool closing, failed;
	bool done; /* the node is taken down for good: parts of copies go as well */
	enum purge_what purge;
	int ready_fd; /* told when it listens; -1 afterwards */
};

/* Kills every task, removes the folder (with purge also what the bootstrap left), then ends the
 * loop; sessions are closed last. From SHUTDOWN and from SIGTERM. */
void worker_shutdown(struct worker *w, enum purge_what purge);

#endif
