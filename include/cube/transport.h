/* Transports: how the manager reaches a host and runs one command line there at a time.
 *
 * Three of them behind one vtable: ssh (libssh2), command (any program that gives a remote
 * command's stdin and stdout: OpenSSH's ssh, docker exec, ...) and local (the same with this
 * machine's /bin/sh). Life of one:
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
#include "cube/mem.h"
#include "cube/target.h"

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

/* What only a person can tell. Secrets are never logged, never stored, and wiped after use. */
enum cube_ask_kind {
	CUBE_ASK_PASSWORD,   /* the account's; key: "user" */
	CUBE_ASK_PASSPHRASE, /* of a key file; key: its path */
	CUBE_ASK_KEYBOARD,   /* the server's own questions (RFC 4256); not to be given to others */
	CUBE_ASK_BECOME,     /* sudo's (deploy.c asks it, no transport does); key: "user" */
};
enum { CUBE_ASK_PROMPTS = 8, CUBE_ASK_ANSWER = 1024 }; /* prompts at once; bytes of an answer */
struct cube_ask {                                      /* borrowed during on_ask */
	enum cube_ask_kind kind;
	const char *key;   /* hosts that ask with the same kind and key want the same answer */
	const char *title; /* what the server says first, or "" */
	unsigned n;        /* prompts, 1.. unless KEYBOARD, where 0 is answered by nothing */
	struct {
		const char *text; /* "Password for ubuntu: " */
		bool echo;
	} prompts[CUBE_ASK_PROMPTS];
	bool again; /* the answer before was refused by this host */
};

/* Facts learnt on the way, for `cube doctor`: each at most once, in this order, those that apply.
 */
enum cube_transport_fact {
	CUBE_FACT_CONFIG,   /* "User=ubuntu HostName=10.0.0.1 Port=22 ProxyJump=bastion" */
	CUBE_FACT_JUMP,     /* "password": a person logged in to the jump host on the way */
	CUBE_FACT_ADDRESS,  /* "10.0.0.1 port 22" */
	CUBE_FACT_SERVER,   /* "SSH-2.0-OpenSSH_9.2p1" */
	CUBE_FACT_KEX,      /* "curve25519-sha256, aes128-ctr, hmac-sha2-256" */
	CUBE_FACT_HOST_KEY, /* "ssh-ed25519 SHA256:... known|new|changed|revoked" */
	CUBE_FACT_METHODS,  /* "publickey,password": what the server accepts */
	CUBE_FACT_LOGIN,    /* "publickey ~/.ssh/id_ed25519", "agent key 2", "password",
			       "keyboard-interactive", "none" */
};

struct cube_transport_events {
	/* Also after on_open where each line logs in anew: CONNECT while it waits for its turn,
	 * which is not to count as time the host takes, and OPEN when it runs. */
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
	/* Link gone, or never came. CUBE_EAUTH: refused, and CUBE_ELOGIN: only a person could go on
	 * (no answer was to be had, or the one given was refused); neither may be tried again
	 * unasked. CUBE_ELIBRARY: this libssh2 cannot, but the ssh program could; the message says
	 * why. */
	void (*on_fail)(void *arg, const struct cube_err *err);
	/* May be NULL, then nothing can be asked. To be answered, now or later, by
	 * cube_transport_answer. */
	void (*on_ask)(void *arg, const struct cube_ask *ask);
	void (*on_fact)(void *arg, enum cube_transport_fact fact,
			const char *text); /* may be NULL */
	/* A line for a person, where nothing is asked: "Confirm user presence for key ...". The
	 * time that takes is the receiver's to limit; on_step tells that it is over. May be NULL:
	 * then it counts as the host's. */
	void (*on_note)(void *arg, const char *text);
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
	/* The answers to the question that is open, as many as it has prompts (copied, and wiped
	 * after use); NULL: there will be none. NULL where the transport never asks. */
	void (*answer)(struct cube_transport *t, const char *const *answers);
	/* The last line for now runs: answers kept for another login are wiped. NULL where none
	 * are. */
	void (*settled)(struct cube_transport *t);
	void (*free)(struct cube_transport *t); /* hangs up */
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
static inline void cube_transport_answer(struct cube_transport *t, const char *const *answers) {
	if (t->ops->answer) t->ops->answer(t, answers);
}
static inline void cube_transport_settled(struct cube_transport *t) {
	if (t && t->ops->settled) t->ops->settled(t);
}
static inline void cube_transport_free(struct cube_transport *t) {
	if (t) t->ops->free(t);
}

/* The openers. Errors that are known at once return; all later ones come by on_fail. */

/* Runs lines with /bin/sh on this machine. */
int cube_transport_local(struct cube_loop *loop, const struct cube_target *target,
			 const struct cube_transport_events *events, void *arg,
			 struct cube_transport **ret, struct cube_err *err);

/* What all ssh connections of a process share: the resolver thread, the ssh -G cache, known_hosts,
 * the limiter of unauthenticated connections, the connections to jump hosts. Freed after the last
 * transport made with it. */
struct cube_ssh;
/* cache_dir: where answers of ssh -G outlive the process (made when needed, 0700); NULL: nowhere.
 */
int cube_ssh_new(struct cube_loop *loop, const char *cache_dir, struct cube_ssh **ret,
		 struct cube_err *err);
/* Before the first transport: where the control sockets of OpenSSH's ssh are to lie, a folder that
 * is nobody else's and made when needed (sockets.h); what a killed process left there is removed.
 * Not called: a new folder in /tmp. */
void cube_ssh_sockets(struct cube_ssh *ssh, const char *dir);
void cube_ssh_free(struct cube_ssh *ssh);
int cube_transport_ssh(struct cube_ssh *ssh, const struct cube_target *target,
		       const struct cube_transport_events *events, void *arg,
		       struct cube_transport **ret, struct cube_err *err);

/* Runs a program for each line, whose stdin, stdout and stderr are the line's. Templates:
 *   "openssh"                  the ssh program with the target's settings
 *   "docker exec -i {host}"    words, parted by blanks ('..', ".." and \ quote); {host} {user}
 *                              {port} {name} are replaced in each word; "/bin/sh -c LINE" is
 *                              appended, or LINE put for a word {line}, as ssh wants it
 * on_open comes at once: whether the host can be reached is known by the first line. The first line
 * of "openssh" logs in, once for all of them: it waits for its turn at the limiter, and is tried
 * again where sshd dropped it. A live ControlMaster of the user's own is gone by instead. Where a
 * server hangs up after a line, the next one logs in anew. A program of a template that ends before
 * its command printed anything, with status 255 or not found, is on_fail with the last line of its
 * stderr; "Permission denied" there is CUBE_EAUTH, a host key CUBE_EHOSTKEY. */
int cube_transport_command(struct cube_ssh *ssh, const struct cube_target *target,
			   const struct cube_transport_events *events, void *arg,
			   struct cube_transport **ret, struct cube_err *err);
/* Checks a template: CUBE_EUSAGE. */
int cube_transport_command_check(const char *command, struct cube_err *err);

#endif
