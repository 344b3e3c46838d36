/* One attempt's processes and pipes: how it begins, is ended and ends. Part of the runner. */
#ifndef WORKER_ATTEMPT_H
#define WORKER_ATTEMPT_H

#include "runner.h"

/* What a queued START holds: a copy of the message's lists in one block. OPEN of a stream is the
 * same without files. */
struct start_spec {
	struct cube_msg_list argv, env, files;
	const char *dir; /* "" for the default */
	size_t bytes;
	uint8_t flags;
	uint8_t block[];
};

/* Copies what a START says. NULL without memory. A word with a NUL inside, no program or an env
 * entry without '=' is CUBE_EPROTO. */
int start_spec_check(const struct cube_msg *msg, struct cube_err *err);
struct start_spec *start_spec_copy(const struct cube_msg *msg);
/* argv as exec wants it, in one block, behind `before` words that the caller sets. NULL without
 * memory. */
char **start_spec_argv(const struct start_spec *spec, size_t before);

/* The environment of an attempt, later entries winning: the daemon's own, or with START's flag the
 * login environment (known by now), CUBE_TASK_ID, CUBE_ATTEMPT, CUBE_HOST and CUBE_SCRATCH (only
 * with a scratch folder), START's, and last the two cookies. NULL without memory; environ_free
 * releases it. */
char **environ_make(const struct attempt *a, const char *scratch);
/* The same for a stream: OPEN's spec, its own cookie. */
char **environ_for_stream(const struct runner *r, const struct start_spec *spec,
			  const char *cookie);
void environ_free(char **env);

/* Puts a's files into its scratch folder: runner_placed is called later. Or finishes it as how 2.
 * False: the host has no descriptors, processes or memory left for it now, but others run and will
 * give some back; nothing was done. */
bool attempt_place(struct attempt *a);
/* Starts a's process, or finishes it as how 2: its state is RUNNING or FINISHED then. False: as
 * above. */
bool attempt_begin(struct attempt *a);
/* STOP while its files are placed: it ends as how 4 when the placing has ended. */
void attempt_stop_placing(struct attempt *a);
/* Ends it: TERM now, KILL of everything after grace_ms. how: CUBE_EXIT_STOPPED or _TIMEOUT. */
void attempt_end(struct attempt *a, uint8_t how, uint32_t grace_ms);
/* Lets go of timers, pipes and watches. */
void attempt_release(struct attempt *a);

/* Pipes (pipes.c). */
int output_open(struct output *o, int fd, struct cube_err *err); /* owns fd, closed on failure */
void output_close(struct output *o);                             /* what is in the pipe is lost */
void output_drain(struct output *o);  /* reads what is there now and room allows */
void output_resume(struct output *o); /* after an ACK made room */
int input_open(struct input *in, struct attempt *a, int fd, struct cube_err *err);
void input_close(struct input *in);            /* drops what is buffered and counts it as taken */
void input_flush(struct attempt *a);           /* writes what the pipe takes */
void attempt_pipes_changed(struct attempt *a); /* an output reached its end */

#endif
