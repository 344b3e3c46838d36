/* A transport whose command lines are child processes with three pipes: what local.c and command.c
 * have in common. Private to this folder. */
#ifndef CUBE_TRANSPORT_PROCESS_H
#define CUBE_TRANSPORT_PROCESS_H

#include "cube/list.h"
#include "cube/mem.h"
#include "cube/transport.h"

struct cube_process_end {
	int status;       /* as on_end's */
	bool printed;     /* something came on its stdout */
	const char *said; /* the newest of its stderr */
	size_t said_len;
};

struct cube_process_kind {
	const char *name;
	bool mortal; /* a KILL of this process ends its programs too */
	/* Appends the program for a line; on_fail's error where there is none. */
	int (*argv)(void *of, const char *line, struct cube_strv *argv, struct cube_err *err);
	/* Its environment, borrowed; NULL: this process's. */
	const char *const *(*envp)(void *of);
	/* Whether a line may start now; false: cube_process_go says when. NULL: always. */
	bool (*enter)(void *of);
	void (*begun)(void *of); /* the line's first byte of stdout is there; may be NULL */
	/* How long after this end of a line that never ran it is to be tried anew, with all of its
	 * stdin; 0: not at all. NULL: never. */
	uint64_t (*again)(void *of, const struct cube_process_end *end);
	/* Whether an end can be judged by now; false: cube_process_known says when to ask again.
	 * NULL: always. */
	bool (*known)(void *of, const struct cube_process_end *end);
	/* 0: it is the command that ended. Else *err is why it never ran, or broke off. NULL: 0. */
	int (*judge)(void *of, const struct cube_process_end *end, struct cube_err *err);
	/* Words the error when nothing came in time. NULL where there is no limit. */
	void (*late)(void *of, const struct cube_process_end *end, struct cube_err *err);
	void (*answer)(void *of, const char *const *answers); /* NULL: never asks */
	void (*settled)(void *of);                            /* as the transport's; may be NULL */
	void (*stop)(void *of); /* at once when the transport is freed or failed; may be NULL */
	void (*free)(void *of); /* at the end of the turn; may be NULL */
};

struct cube_process;
struct cube_process_spec {
	const struct cube_process_kind *kind;
	void *of;
	uint64_t limit_ns;       /* from the first exec to its first byte of stdout; 0: none */
	struct cube_list *dying; /* for hangup.h; NULL: a SIGHUP is all, as from sshd */
	const struct cube_transport_events *events;
	void *arg;
};

struct cube_process *cube_process_new(struct cube_loop *loop, const struct cube_process_spec *spec);
struct cube_transport *cube_process_transport(struct cube_process *p);
/* Now, or never: from the loop, not from within a call into the transport. */
void cube_process_open(struct cube_process *p);
void cube_process_open_soon(struct cube_process *p); /* from the loop's next turn */
void cube_process_fail(struct cube_process *p, const struct cube_err *err);
/* The line that had to wait starts; it may fail within. */
void cube_process_go(struct cube_process *p);
bool cube_process_waits(const struct cube_process *p); /* a line, for cube_process_go */
/* What `known` had to wait for is there. */
void cube_process_known(struct cube_process *p);
/* Tells the program to end, if there is one; what comes of it is as if it did so by itself. */
void cube_process_end(struct cube_process *p);
/* A question is open: the limit waits. */
void cube_process_hold(struct cube_process *p, bool hold);

#endif
