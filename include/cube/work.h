/* The work: what runs on the fleet's nodes and what it says. Tasks are added, placed, followed and
 * ended; their files, input and output go along, and clients' streams.
 *
 *   where a task is placed          cube_work_tick, place.c
 *   what a worker says of one       attempts.c
 *   what becomes of a node's tasks  seat.c
 *
 * In memory are only the tasks that are not final; everything about the others is read from the
 * store, which holds each change of all tasks. One setter changes a state: it checks the
 * transition, persists, and adds the event.
 */
#ifndef CUBE_WORK_H
#define CUBE_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "cube/buf.h"
#include "cube/list.h"
#include "cube/map.h"
#include "cube/msg.h"
#include "cube/spec.h"
#include "cube/events.h"
#include "cube/files.h"
#include "cube/fleet.h"
#include "cube/logs.h"
#include "cube/store.h"

struct cube_work;

struct cube_job {
	struct cube_map_entry entry;
	struct cube_list pending; /* struct cube_task.queue: its tasks without a node, in order */
	struct cube_list waiting; /* among the jobs that have some and may place them */
	struct cube_list ending;  /* among those whose pending tasks are being stopped */
	uint64_t stop;            /* as in its row */
	uint64_t id;
	uint64_t first; /* of its tasks, which are numbered in a row */
	uint32_t count;
	struct cube_spec spec;
	uint32_t *nodes; /* where its tasks may run, or NULL: anywhere */
	size_t nnodes;
	unsigned tasks; /* in memory; the job goes with the last of them */
};

#define CUBE_TASK_SIGNALS 4

struct cube_task {
	struct cube_list queue; /* pending: its job's, or its node's `bound`; else `attempts` */
	struct cube_map_entry entry;
	struct cube_list changes; /* linked while this turn has something to persist or to tell */
	struct cube_job *job;
	struct cube_task_row row; /* what the store holds; row.reason is not used, see below */
	char *reason;
	char *refused; /* why a file it needs was not taken by the host; NULL: none was refused */
	bool resent;   /* its files were sent again, since the host had lost one; once is enough */
	bool stopping; /* stop was asked for; the row keeps it, see cube_work_stop */
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

struct cube_work_parts { /* borrowed, and there as long as the work */
	struct cube_turn *turn;
	struct cube_events *events;
	struct cube_fleet *fleet;
	struct cube_files *files;
	struct cube_logs *logs;
	const char *folder; /* where the file of numbers is (ids.h); NULL: nothing is kept */
	uint64_t cluster, epoch;
	/* The spec, and the names of the nodes that it may run on, of a job's row. */
	int (*spec_read)(const char *text, struct cube_spec *ret, struct cube_strv *ret_nodes,
			 struct cube_err *err);
};
/* Begins to listen to the fleet, which is to have no nodes yet. */
int cube_work_new(const struct cube_work_parts *parts, struct cube_work **ret,
		  struct cube_err *err);
void cube_work_free(struct cube_work *t); /* after the fleet; NULL is fine */
/* Brings back what had not ended before the last manager stopped. After nodes were loaded. */
int cube_work_load(struct cube_work *t, struct cube_err *err);

struct cube_work_request {
	struct cube_spec spec; /* moved out: zeroed when taken */
	const char *spec_json; /* canonical text, kept in the job row */
	const char *request;   /* the client's name for it, of no job yet, or "" */
	uint32_t count;        /* not with all */
	bool all;
	const uint32_t *nodes; /* ids: where they may run; with all: one task for each */
	size_t nnodes;         /* 0: any node */
};
/* CUBE_ESYS where the disk takes no new numbers (ids.h). */
int cube_work_add(struct cube_work *t, struct cube_work_request *request, uint64_t *ret_job,
		  uint64_t *ret_first, uint32_t *ret_count, struct cube_err *err);

struct cube_task *cube_work_find(struct cube_work *t, uint64_t id); /* NULL: ended or unknown */
/* A task's row as it is in this turn, where it may be newer than in the store; NULL elsewhere. Its
 * reason comes apart. */
const struct cube_task_row *cube_work_row(struct cube_work *t, uint64_t id,
					  const char **ret_reason);
/* NULL: all its tasks have ended and are told of, or it is unknown. */
const struct cube_job *cube_work_job(const struct cube_work *t, uint64_t id);
unsigned cube_work_active(const struct cube_work *t);
void cube_work_each(struct cube_work *t, void (*fn)(void *arg, struct cube_task *task), void *arg);

/* Ask for an end: a pending task ends at once, others get STOP, if need be when their node is
 * back: until then row.how is STOPPED and row.value the grace in ms. One whose START turns out not
 * to have come there ends then, and never runs. grace_ms UINT32_MAX: the spec's. */
void cube_work_stop(struct cube_work *t, struct cube_task *task, uint32_t grace_ms);
/* The same of all tasks of a job, kept with it: those that were given to a node get STOP now, those
 * that wait end a few at a time in the turns to come, so that nobody else has to wait for that.
 * Returns how many had not ended. */
uint64_t cube_work_stop_job(struct cube_work *t, uint64_t job, uint32_t grace_ms);
/* To a task that was given to a node. *ret_waits: it is delivered when the node is back, or has
 * started the task; until then row.how is SIGNALED and row.value has the signals (at most
 * CUBE_TASK_SIGNALS, one of each kind, as a process's pending ones; a stop takes their place
 * there), 7 bits each, the first lowest. One that was under way when its link broke may come twice.
 * CUBE_ECONFLICT when no more can wait. */
int cube_work_signal(struct cube_work *t, struct cube_task *task, int signo, bool *ret_waits,
		     struct cube_err *err);
/* Standard input: takes up to n bytes now and returns how many (0: a subscriber hears when there is
 * room). end: no more will come. CUBE_ECONFLICT when the task has no input or ended. */
ssize_t cube_work_input(struct cube_work *t, struct cube_task *task, const void *bytes, size_t n,
			struct cube_err *err);
void cube_work_input_end(struct cube_work *t, struct cube_task *task);

/* The subscriber is called from flush, after the commit, for each of its tasks that changed state
 * (final included) or took input. cube_subscriber_remove ends it. */
void cube_work_subscribe(struct cube_work *t, struct cube_subscriber *s);

/* A node's tasks: those that run, and those that were given to it, or are bound to it, and do not.
 */
void cube_work_counts(const struct cube_node *node, unsigned *ret_running, unsigned *ret_queued);

void cube_work_tick(struct cube_work *t);  /* places what waits */
void cube_work_flush(struct cube_work *t); /* after the commit: ACK, FORGET; subscribers */

#endif
