/* One ssh connection, shared by the ssh*.c files of this folder and by nobody else.
 *
 * libssh2 never touches the socket. Received bytes are fed to it from memory and what it sends
 * goes to a buffer that takes whole packets, so:
 *  - a packet is never sent in part, and the rule "repeat the same send before any other" (with
 *    its 1.10 bug: a short send does not set BLOCK_OUTBOUND) cannot be broken by us;
 *  - after a pump libssh2 has seen every byte that was received: no data sleeps in it unseen;
 *  - a turn's work is bounded by what was fed, and level-triggered epoll brings us back;
 *  - freeing needs no network: sends vanish, and no call can answer "again".
 *
 * Each file calls only those below it:
 *
 *   ssh_shared.c   what the connections of a process share; says who makes carriers
 *   ssh_carrier.c  other hosts' connections over one to a jump host: it opens one, and rides it
 *   ssh.c          owns the connection: its opening, the operations on it, its end
 *   ssh_pump.c     one state's work after the other
 *   ssh_kex.c, ssh_auth*.c (ssh_auth.h), ssh_channel.c: the states
 *   ssh_broke.c    what a link's end means: an error, or
 *   ssh_again.c    .. another try
 *   ssh_link.c     bytes: the socket, and libssh2's memory (ssh_mem.c)
 *   ssh_tell.c     records what became of it and tells the receiver of the transport's events
 *   dial.c, jump.c .. see only ssh_shared.h
 *
 * Two calls go up, by `owner`: bytes came, and it failed. One goes to whoever rides it, by `rider`.
 */
#ifndef CUBE_TRANSPORT_SSH_PRIV_H
#define CUBE_TRANSPORT_SSH_PRIV_H

#include <libssh2.h>

#include "cube/buf.h"
#include "cube/clock.h"
#include "cube/list.h"
#include "cube/mem.h"
#include "cube/ssh_config.h"
#include "dial.h"
#include "outlet.h"
#include "ssh_shared.h"

enum {
	SSH_OUT_DATA = 256 * 1024,  /* no more command input is encrypted over this much unsent */
	SSH_OUT_STOP = 1024 * 1024, /* over this not even answers: we stop listening */
	SSH_OUT_MAX = 2 * 1024 * 1024,
	/* Twice OpenSSH's own. With 16 MiB sshd lets the command run ahead and spends its time on
	 * growing buffers: the first 256 MB of a session then came at 60 MB/s instead of 200. */
	SSH_WINDOW = 4 * 1024 * 1024,
};

enum ssh_state {
	SSH_DIAL, /* no session yet */
	SSH_KEX,
	SSH_AUTH,
	SSH_IDLE, /* a command may be given */
	SSH_CHANNEL,
	SSH_EXEC,
	SSH_RUN,
	SSH_CLOSE,
	SSH_FLUSH, /* the command has ended, its output waits to be taken */
	SSH_CARRY, /* no commands: its rider's work */
	SSH_FAILED,
};

struct ssh_auth;
struct ssh_conn;

/* What the owner does when those below find that it is to be done; each may end the connection. */
struct ssh_owner {
	void (*pump)(struct ssh_conn *c);    /* bytes came, or somebody kicked */
	void (*release)(struct ssh_conn *c); /* it failed: the link, the lookup and the dial go */
};

/* Who uses an open connection for other things than commands; in SSH_CARRY. */
struct ssh_rider {
	void (*pump)(void *arg);    /* its work; may end the connection */
	void (*flushed)(void *arg); /* what was queued has been sent on */
};

struct ssh_conn {
	struct cube_transport base;
	struct cube_ssh *ssh;
	const struct ssh_owner *owner;
	const struct ssh_rider *rider; /* or NULL */
	void *rider_arg;
	const struct cube_transport_events *events;
	void *arg;
	/* the target */
	char *host, *user, *identity, *file, *jump;
	struct cube_strv options; /* -o */
	uint16_t port;
	bool strict;
	bool may_ask, old_jumps;
	uint64_t timeout_ns;
	bool timeout_given; /* not the configuration's */
	/* opening */
	enum ssh_state state;
	enum cube_transport_step step;
	unsigned facts;           /* told, a bit each */
	struct cube_timer *timer; /* opening, a retry, the grace for untaken output */
	uint64_t deadline;        /* of opening; moves while the clock stands */
	uint64_t time_left;       /* while it stands */
	bool clock_stands;
	struct cube_timer *again; /* the pause after the server dropped us */
	unsigned drops;
	struct cube_err dropped; /* what the newest of them looked like */
	struct cube_ssh_lookup *lookup;
	struct cube_ssh_config config;
	struct cube_dial *dial;
	struct ssh_auth *auth;
	struct cube_jump_group *jumps_from; /* it is a jump host's, and these are behind it */
	/* the link */
	int fd;
	struct cube_io *io;
	LIBSSH2_SESSION *session;
	struct cube_list memory; /* libssh2's, of this session */
	bool from_file, loose;   /* a key is read; some of memory is libc's: ssh_mem.c */
	const uint8_t *fed;      /* received and not yet read by libssh2; valid during a pump */
	size_t fed_len;
	struct cube_buf in, out;      /* the same between pumps; to be sent */
	uint64_t received, collected; /* bytes from the peer; from libssh2 for it */
	char hello[120];              /* what came first, for "that is no ssh server" */
	char bye[120];                /* the peer's reason for disconnecting */
	int link_sys;                 /* errno of the socket */
	bool link_eof;
	bool hold; /* libssh2 is to send, and to see nothing of what came */
	bool tcp;
	/* the command */
	LIBSSH2_CHANNEL *channel;
	char *line;
	struct cube_buf input;
	struct cube_outlet outlet;
	unsigned retries;
	int status;
	bool input_ended, eof_sent, above_low;
	bool kicked, resume_due;
	bool had_channel;
	bool gone;
};

/* Nothing is to be done with it any more. */
static inline bool cube_ssh_over(const struct ssh_conn *c) {
	return c->gone || c->state == SSH_FAILED;
}

/* ssh_tell.c */
void cube_ssh_fail(struct ssh_conn *c, const struct cube_err *err); /* on_fail; nothing after */
void cube_ssh_step(struct ssh_conn *c, enum cube_transport_step step);
/* on_fact, once a fact; true when the connection is over, since its receiver may free it. */
bool cube_ssh_fact(struct ssh_conn *c, enum cube_transport_fact fact, const char *text);
const char *cube_ssh_where(const struct ssh_conn *c); /* "10.0.0.1 port 22" */
void cube_ssh_kick(struct ssh_conn *c);               /* pump at the end of this turn */
/* The time for opening. Waiting for one's turn, or for a person, is not to use it up. */
void cube_ssh_clock_set(struct ssh_conn *c, uint64_t ns); /* so much, from now on */
void cube_ssh_clock_stop(struct ssh_conn *c);
void cube_ssh_clock_go(struct ssh_conn *c);
void cube_ssh_clock_least(struct ssh_conn *c, uint64_t ns); /* so much is left, at least */

/* ssh_link.c: bytes */
int cube_ssh_link_start(struct ssh_conn *c, int fd, struct cube_err *err);
void cube_ssh_link_stop(struct ssh_conn *c);
void cube_ssh_link_flush(struct ssh_conn *c);
void cube_ssh_link_refresh(struct ssh_conn *c); /* what the loop should watch now */

/* ssh_mem.c */
LIBSSH2_SESSION *cube_ssh_session_new(struct ssh_conn *c);
void cube_ssh_session_free(struct ssh_conn *c);
char *cube_ssh_give(struct ssh_conn *c, const char *text); /* a copy that libssh2 will free */
void *cube_ssh_give_bytes(struct ssh_conn *c, const void *bytes, size_t n);

/* ssh_again.c: a server that has too many logins at hand hangs up on us. */
/* True where that is what happened and it is going to be tried again: c->again is armed. */
bool cube_ssh_again(struct ssh_conn *c);
/* How the time limit ran out on a connection that was dropped. */
void cube_ssh_again_failed(struct ssh_conn *c);

/* ssh_broke.c: turns libssh2's last error, or what the link says, into on_fail, or into another
 * try. doing: "opening a session on", or NULL: what the state says. */
void cube_ssh_link_fail(struct ssh_conn *c, const char *doing);

/* ssh_server.c: what is known of the other programs */
bool cube_ssh_program_there(void);              /* OpenSSH's ssh is in PATH */
bool cube_ssh_refuses_sha1(const char *banner); /* RSA signatures with SHA-1 */

/* ssh_kex.c: 0 done, CUBE_AGAIN, or failed with cube_ssh_fail called */
int cube_ssh_kex_start(struct ssh_conn *c);
int cube_ssh_kex_pump(struct ssh_conn *c);

/* ssh_auth.c: as above; and the answers to the question that is open (ssh_auth_ask.c) */
int cube_ssh_auth_pump(struct ssh_conn *c);
void cube_ssh_auth_free(struct ssh_auth *a); /* NULL is fine */
void cube_ssh_auth_answer(struct ssh_auth *a, const char *const *answers);

/* ssh_channel.c: true when there may be more to do */
bool cube_ssh_channel_pump(struct ssh_conn *c);
size_t cube_ssh_channel_write(struct ssh_conn *c, const void *bytes,
			      size_t n); /* how many of n input bytes need no queue */
void cube_ssh_channel_timer(struct ssh_conn *c);
void cube_ssh_channel_check_end(struct ssh_conn *c);

/* ssh_pump.c: the work of the state it is in, and of those that follow at once */
void cube_ssh_pump(struct ssh_conn *c);

#endif
