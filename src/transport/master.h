/* One login for all lines of a node that goes by OpenSSH: a master (ssh -N) whose control socket
 * the ssh programs of the lines use. Private to this folder.
 *
 * It waits for its turn at the limiter, is tried again where sshd dropped it, asks by the askpass,
 * and is there when its LocalCommand prints: ssh runs that when the login is done and the socket
 * open. A server with one session a connection (MaxSessions 1) serves the lines, as ssh -N takes
 * none. It ends with us, however we end: by TERM when it is freed, by the kernel's when we are
 * killed. */
#ifndef CUBE_TRANSPORT_MASTER_H
#define CUBE_TRANSPORT_MASTER_H

#include "askpass.h"
#include "cube/openssh.h"
#include "limit.h"
#include "ssh_shared.h"

struct cube_master;
/* err NULL: it is ready. Else it could not log in, or is gone, and why: once, and the last event.
 */
typedef void cube_master_fn(void *arg, const struct cube_err *err);

struct cube_master_spec { /* all of it is the owner's and stays valid */
	const struct cube_openssh *openssh;
	const char *path;               /* of its socket; nothing is there */
	const char *point, *jump_point; /* at the limiter: the target's; the jump host's or NULL */
	bool proxied;                   /* what hangs up may be a proxy */
	struct cube_askpass *askpass;
	uint64_t timeout_ns; /* 0: none. A question's time, and that of its turn, do not count */
	cube_master_fn *fn;
	void *arg;
};

/* Never calls fn from within. */
struct cube_master *cube_master_new(struct cube_ssh *ssh, const struct cube_master_spec *spec);
bool cube_master_ready(const struct cube_master *m);     /* NULL is not */
void cube_master_hold(struct cube_master *m, bool hold); /* a question is open: the limit waits */
void cube_master_end(struct cube_master *m);             /* fn tells when it is gone */
void cube_master_free(struct cube_master *m);            /* no event any more; NULL is fine */

#endif
