/* What the ssh program said when it could not get through, as one error. Pure.
 * */
#ifndef CUBE_TRANSPORT_SSH_SAYS_H
#define CUBE_TRANSPORT_SSH_SAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"

/* text: the newest of its stderr. Sets *err to the line that tells why, made safe for terminals:
 * CUBE_EHOSTKEY, CUBE_EAUTH, CUBE_ELOGIN where a Kerberos ticket is all the server takes, else
 * CUBE_ECONNECT; returns that code. */
int cube_ssh_says(const char *text, size_t n, struct cube_err *err);
/* CUBE_ETIMEOUT: the host was not reached by that program in time. why: what is known of it, or "".
 */
int cube_ssh_says_late(const char *host, const char *program, uint64_t timeout_ns, const char *why,
		       struct cube_err *err);
/* True where all that went wrong is that the server hung up before a session was there. */
bool cube_ssh_says_dropped(const char *text, size_t n);
/* True where the connection is there and no session is to be had on it; *err says so. */
bool cube_ssh_says_refused(const char *text, size_t n, struct cube_err *err);
/* True where there was no master to go over. */
bool cube_ssh_says_no_master(const char *text, size_t n);
/* A line without the mark of its source, which ssh gives to those that LogVerbose asks for. */
void cube_ssh_says_untag(const char **text, size_t *n);

#endif
