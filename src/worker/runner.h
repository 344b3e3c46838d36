/* The attempts of this host: a table, a queue for the slots, and what each still has to tell.
 *
 * The runner knows nothing of links. It keeps two lists for whoever sends (outbox.c): `dirty`,
 * attempts with a control frame to send (their `needs` says which), and `unsent`, output streams
 * with bytes past `sent`. Both stay correct while no manager is there.
 *
 *   START -> QUEUED -> RUNNING -> FINISHED -> (FORGET) gone
 *               `---------------------^  stopped in the queue, or could not start
 *
 * A RUNNING attempt is finished when its process is reaped and both pipes are at their end (or
 * 2 s later, when something it left behind keeps them open) and, after a STOP or a timeout, when
 * no process with its cookie is left.
 */
#ifndef WORKER_RUNNER_H
#define WORKER_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cube/buf.h"
#include "cube/list.h"
#include "cube/loop.h"
#include "cube/msg.h"
#include "files.h"
#include "login.h"
#include "place.h"
#include "spool.h"
#include "sweep.h"

#define RUNNER_BUCKETS      1024u
#define RUNNER_ATTEMPTS_MAX 65536u
#define RUNNER_QUEUED_MAX   (64u << 20) /* bytes of queued STARTs */
#define RUNNER_STDIN_MAX    (256u << 10)
#define RUNNER_COOKIE_LEN   40

enum { NEED_STARTED = 1, NEED_STDIN_ACK = 2, NEED_EXIT = 4 };

struct output { /* one of an attempt's output streams */
	struct attempt *owner;
	struct spool spool;
	struct cube_list unsent; /* in runner.unsent */
	struct cube_io *io;      /* NULL while the spool is full, and at the end */
	uint64_t sent;           /* the next byte to send in this session */
	int fd;                  /* -1 at end of file */
	uint8_t stream;
	bool held; /* a new session: nothing is sent before the manager's ACK */
	bool wide; /* the pipe was made larger */
};

struct input { /* bytes on their way into an attempt's stdin */
	struct cube_buf buf;
	struct cube_io *io;
	uint64_t taken; /* offset: everything before went into the pipe or was dropped */
	int fd;         /* -1: none, or closed; bytes are then dropped silently */
	bool eof;       /* no more will be sent */
};

struct attempt {
	struct runner *r;
	struct attempt *chain;
	struct cube_list all, queue, dirty;
	uint64_t task, epoch; /* with the attempt's number: which one it is */
	uint32_t attempt;
	uint8_t state;    /* enum cube_attempt_state */
	uint8_t how;      /* enum cube_exit_how, once reaped */
	uint8_t stopping; /* CUBE_EXIT_STOPPED or _TIMEOUT, 0 while nobody ended it */
	uint8_t needs;    /* NEED_ bits */
	bool reaped, swept, has_stdin;
	int32_t value;
	pid_t pid;
	uint32_t grace_ms;
	uint64_t timeout_ms, kill_at;
	int64_t started, finished;
	uint64_t user_us, sys_us, max_rss;
	struct cube_timer *timer; /* timeout, then grace, then the wait for the pipes' end */
	struct sweep sweep;
	struct input in;
	struct output out, err;
	char cookie[RUNNER_COOKIE_LEN]; /* "CUBE_COOKIE=..." */
	char *message;                  /* why it could not start; NULL: nothing to say */
	struct start_spec *spec;        /* until it starts */
	bool scratch;                   /* has a scratch folder, or half of one */
	bool placed;                    /* with all its files in it */
	struct place place;             /* QUEUED still, though it has a slot */
	struct login_wait wait;         /* for the login environment, before it is queued */
};

struct runner {
	struct cube_loop *loop;
	struct files *files;
	struct sweeper *sweeper;
	struct login *login;     /* the owner's */
	const char *home;        /* where tasks run by default */
	const char *folder;      /* absolute path of the worker's folder */
	const char *node_name;   /* of the last HELLO; the owner keeps it */
	uint64_t epoch;          /* of the last HELLO: what is begun now is of it */
	const char *node_cookie; /* "CUBE_NODE_COOKIE=<cluster>.<node>@<folder>" */
	struct attempt **buckets;
	struct cube_list all, queue, dirty, unsent;
	uint32_t count, running, slots;
	size_t queued_bytes;
	unsigned wide_pipes;
	struct rlimit nofile; /* what tasks get; the worker's own is higher */
	bool closing;         /* nothing starts any more */
	bool kicking;
};

void runner_init(struct runner *r, struct cube_loop *loop, struct files *files,
		 struct sweeper *sweeper);
void runner_done(struct runner *r); /* frees all; processes are not looked after any more */

/* The attempt that a message is about, or NULL. */
struct attempt *runner_find(struct runner *r, const struct cube_msg *msg);

/* One for each message about attempts. 0, or CUBE_EPROTO when the peer broke the rules. */
int runner_start(struct runner *r, const struct cube_msg *msg, struct cube_err *err);
int runner_signal(struct runner *r, const struct cube_msg *msg, struct cube_err *err);
int runner_stop(struct runner *r, const struct cube_msg *msg, struct cube_err *err);
int runner_stdin(struct runner *r, const struct cube_msg *msg, struct cube_err *err);
int runner_ack(struct runner *r, const struct cube_msg *msg, struct cube_err *err);
int runner_forget(struct runner *r, const struct cube_msg *msg, struct cube_err *err);

/* Sets the number of slots and starts what fits. */
void runner_set_slots(struct runner *r, uint32_t slots);
/* A new session begins: everything unacknowledged will be sent again. */
void runner_rewind(struct runner *r);
/* SIGKILL to every running attempt's group; nothing starts after it. */
void runner_kill_all(struct runner *r);

/* Used between the runner's own files. */
void runner_need(struct attempt *a, uint8_t needs);        /* a control frame is due */
void runner_mark_unsent(struct output *o);                 /* there are bytes to send, perhaps */
void runner_finished(struct attempt *a, bool was_running); /* a has its how, value and times */
void runner_placed(struct attempt *a);                     /* its files are there: it may run */
void runner_kick(struct runner *r);                        /* starts queued ones in free slots */

#endif
