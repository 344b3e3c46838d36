/* Transports: how the manager reaches a host and runs one command line there at a time.
 *
 * Three of them behind one vtable: ssh (libssh2), local (fork, no network) and, later,
 * command (any program that gives a remote command's stdin and stdout). Life of one:
 *
 *   open -> on_step... -> on_open -> exec -> on_out/on_err... -> on_end -> exec -> ... -> free
 *
 * Everything is asynchronous on the loop. No event fires inside a call into the transport; an
 * event handler may call anything, free included. After on_fail no event comes.
 */
#ifndef CUBE_TRANSPORT_H
#define CUBE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/loop.h"

/* Where the time goes while opening, for "host: authenticating ..." and for errors. */
enum cube_transport_step {
	CUBE_STEP_CONFIG,  /* reading the ssh configuration */
	CUBE_STEP_RESOLVE, /* host name */
	CUBE_STEP_CONNECT, /* TCP, or the proxy command */
	CUBE_STEP_KEX,     /* key exchange and host key */
	CUBE_STEP_AUTH,
	CUBE_STEP_OPEN,
};
const char *cube_transport_step_name(enum cube_transport_step step); /* "authenticating" */

struct cube_target { /* borrowed during open only; NULL/0 means: as the ssh configuration says */
	const char *name; /* the node's, for messages */
	const char *host;
	const char *user;
	uint16_t port;
	const char *identity;   /* key file; implies that only it is tried */
	const char *ssh_config; /* ssh -F */
	bool strict_host_keys; /* refuse hosts never seen; default is to accept and remember them */
	uint64_t timeout_ns; /* from open to on_open; then on_fail CUBE_ETIMEOUT naming the step */
};

struct cube_transport_events {
	void (*on_step)(void *arg, enum cube_transport_step step);
	void (*on_open)(void *arg);
	/* stdout of the command: returns how many bytes were taken; the rest is offered again after
	 * cube_transport_resume or with more data. The transport holds at most 1 MiB untaken and
	 * then lets the peer wait. */
	size_t (*on_out)(void *arg, const uint8_t *bytes, size_t n);
	void (*on_err)(void *arg, const uint8_t *bytes, size_t n); /* stderr, always taken */
	void (*on_drained)(void *arg); /* the write queue fell below its low mark (64 KiB) */
	/* The command ended and its output was delivered whole. status: its exit code, 128 +
	 * signal, or -1 where the transport was not told. It waits for a consumer that left bytes
	 * untaken, up to 5 s after the last resume: a torn last frame is never taken, and is
	 * dropped then. */
	void (*on_end)(void *arg, int status);
	void (*on_fail)(void *arg, const struct cube_err *err); /* link gone, or never came */
};

struct cube_transport {
	const struct cube_transport_ops *ops;
};

struct cube_transport_ops {
	const char *name;
	/* One line for any login shell (bash, dash, ash, zsh, fish, tcsh). Only between on_open or
	 * on_end and the next on_end. */
	int (*exec)(struct cube_transport *t, const char *line, struct cube_err *err);
	/* Queues all n bytes for the command's stdin, or nothing: CUBE_ETOOBIG over 1 MiB queued.
	 */
	int (*write)(struct cube_transport *t, const void *bytes, size_t n);
	size_t (*queued)(const struct cube_transport *t);
	void (*end_write)(struct cube_transport *t); /* EOF once the queue is out */
	void (*resume)(struct cube_transport *t);    /* offer untaken stdout again, soon */
	void (*free)(struct cube_transport *t);      /* hangs up */
};

static inline int cube_transport_exec(struct cube_transport *t, const char *line,
				      struct cube_err *err) {
	return t->ops->exec(t, line, err);
}
static inline int cube_transport_write(struct cube_transport *t, const void *bytes, size_t n) {
	return t->ops->write(t, bytes, n);
}
static inline size_t cube_transport_queued(const struct cube_transport *t) {
	return t->ops->queued(t);
}
static inline void cube_transport_end_write(struct cube_transport *t) {
	t->ops->end_write(t);
}
static inline void cube_transport_resume(struct cube_transport *t) {
	t->ops->resume(t);
}
static inline void cube_transport_free(struct cube_transport *t) {
	if (t) t->ops->free(t);
}

/* The openers. Errors that are known at once return; all later ones come by on_fail. */

/* Runs lines with /bin/sh on this machine. */
int cube_transport_local(struct cube_loop *loop, const struct cube_target *target,
			 const struct cube_transport_events *events, void *arg,
			 struct cube_transport **ret, struct cube_err *err);

/* What all ssh connections of a process share: the resolver thread, the ssh -G cache, known_hosts.
 * Freed after the last transport made with it. */
struct cube_ssh;
int cube_ssh_new(struct cube_loop *loop, struct cube_ssh **ret, struct cube_err *err);
void cube_ssh_free(struct cube_ssh *ssh);
int cube_transport_ssh(struct cube_ssh *ssh, const struct cube_target *target,
		       const struct cube_transport_events *events, void *arg,
		       struct cube_transport **ret, struct cube_err *err);

#endif
