/* Tasks that have not ended: placing them, following their attempts, ending them.
 *
 * In memory are only the tasks that are not final; everything about the others is read from the
 * store, which holds each change of all tasks. One setter changes a state: it checks the
 * transition, persists, and adds the event.
 */
#ifndef CUBE_TASKS_H
#define CUBE_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/list.h"
#include "cube/msg.h"
#include "cube/spec.h"
#include "cube/manager.h"

struct cube_mnode;

struct cube_job {
	struct cube_link link;    /* among the jobs in memory, rising ids */
	struct cube_link pending; /* struct cube_task.queue: its tasks without a node, in order */
	uint64_t id;
	struct cube_spec spec;
	uint32_t *nodes; /* where its tasks may run, or NULL: anywhere */
	size_t nnodes;
	unsigned tasks; /* in memory; the job goes with the last of them */
};

#define CUBE_TASK_SIGNALS 4

struct cube_task {
	struct cube_link queue;   /* pending: its job's, or its node's `bound`; else `attempts` */
	struct cube_link bucket;  /* by id */
	struct cube_link changes; /* linked while this turn has something to persist or to tell */
	struct cube_job *job;
	struct cube_task_row row; /* what the store holds; row.reason is not used, see below */
	char *reason;
	char *refused; /* why a file it needs was not taken by the host; NULL: none was refused */
	bool resent;   /* its files were sent again, since the host had lost one; once is enough */
	bool stopping; /* stop was asked for; the row keeps it, see cube_tasks_stop */
	uint32_t stop_grace_ms;
	uint8_t signals[CUBE_TASK_SIGNALS]; /* not known to have arrived, in order */
	unsigned nsignals;
	uint64_t signalled; /* mono: when the last of them was sent over this link; 0: none was */
	bool known;         /* the worker listed it since the link came up, or got its START */
	bool sent;          /* this manager made its START: that may be sent again as it was */
	uint32_t above;     /* the highest attempt of it that a worker listed and nobody knows */
	bool row_changed, tell, ack_out, ack_err;
	uint64_t input_acked;  /* stdin: the task's pipe has taken what is before this */
	struct cube_buf input; /* stdin not yet acknowledged, from input_acked on */
	bool input_end;
};

int cube_tasks_new(struct cube_manager *m, struct cube_tasks **ret, struct cube_err *err);
void cube_tasks_free(struct cube_tasks *t);
/* Brings back what had not ended before the last manager stopped. After nodes were loaded. */
int cube_tasks_load(struct cube_tasks *t, struct cube_err *err);

struct cube_tasks_request {
	struct cube_spec spec; /* moved out: zeroed when taken */
	const char *spec_json; /* canonical text, kept in the job row */
	const char *request;   /* the client's name for it, of no job yet, or "" */
	uint32_t count;        /* not with all */
	bool all;
	const uint32_t *nodes; /* ids: where they may run; with all: one task for each */
	size_t nnodes;         /* 0: any node */
};
/* CUBE_ESYS where the disk takes no new numbers (ids.h). */
int cube_tasks_add(struct cube_tasks *t, struct cube_tasks_request *request, uint64_t *ret_job,
		   uint64_t *ret_first, uint32_t *ret_count, struct cube_err *err);

struct cube_task *cube_tasks_find(struct cube_tasks *t, uint64_t id); /* NULL: ended or unknown */
unsigned cube_tasks_active(const struct cube_tasks *t);
void cube_tasks_each(struct cube_tasks *t, void (*fn)(void *arg, struct cube_task *task),
		     void *arg);

/* Ask for an end: a pending task ends at once, others get STOP, if need be when their node is
 * back: until then row.how is STOPPED and row.value the grace in ms. grace_ms UINT32_MAX: the
 * spec's. */
void cube_tasks_stop(struct cube_tasks *t, struct cube_task *task, uint32_t grace_ms);
/* To a task that was given to a node. *ret_waits: it is delivered when the node is back, or has
 * started the task; until then row.how is SIGNALED and row.value has the signals (at most
 * CUBE_TASK_SIGNALS, one of each kind, as a process's pending ones; a stop takes their place
 * there), 7 bits each, the first lowest. One that was under way when its link broke may come twice.
 * CUBE_ECONFLICT when no more can wait. */
int cube_tasks_signal(struct cube_tasks *t, struct cube_task *task, int signo, bool *ret_waits,
		      struct cube_err *err);
/* The worker has answered what was asked at that time, so it has got what was sent before. */
void cube_tasks_on_answer(struct cube_tasks *t, struct cube_mnode *node, uint64_t asked);

/* Standard input: takes up to n bytes now and returns how many (0: wait for `input` watchers).
 * end: no more will come. CUBE_ECONFLICT when the task has no input or ended. */
ssize_t cube_tasks_input(struct cube_tasks *t, struct cube_task *task, const void *bytes, size_t n,
			 struct cube_err *err);
void cube_tasks_input_end(struct cube_tasks *t, struct cube_task *task);

/* Called from flush for each task that changed state (final included) or took input. */
struct cube_tasks_watcher {
	struct cube_link link; /* zero-initialise */
	uint64_t first, last;
	void (*changed)(void *arg, uint64_t task);
	void *arg;
};
void cube_tasks_watch(struct cube_tasks *t, struct cube_tasks_watcher *w);
void cube_tasks_unwatch(struct cube_tasks_watcher *w);

/* For nodes: what a worker said about an attempt; messages about unknown attempts are answered
 * as PROTOCOL section 5 says. CUBE_EPROTO ends the link. */
int cube_tasks_on_msg(struct cube_tasks *t, struct cube_mnode *node, const struct cube_msg *msg,
		      struct cube_err *err);
/* Before it: tells by an event of attempts that were listed and that this database cannot have
 * started. */
void cube_tasks_tell_strangers(struct cube_tasks *t, struct cube_mnode *node);
/* After the READY message; new_boot: of another daemon than the one these tasks were given to. */
void cube_tasks_on_ready(struct cube_tasks *t, struct cube_mnode *node, bool new_boot);
/* A content was refused by the host (full disk) or is not to be had here: the tasks waiting for it
 * there will not start. */
void cube_tasks_on_refused(struct cube_tasks *t, struct cube_mnode *node, const uint8_t *sha256,
			   const char *why);
void cube_tasks_on_link_down(struct cube_tasks *t, struct cube_mnode *node);
/* The node will not come (back): its tasks fail with the reason; bound ones too. */
void cube_tasks_on_node_end(struct cube_tasks *t, struct cube_mnode *node, const char *reason);

void cube_tasks_tick(struct cube_tasks *t);  /* order 5 */
void cube_tasks_flush(struct cube_tasks *t); /* order 20 */

#endif
