/* Errors: a code, the errno behind it and one sentence for a person.
 *
 * Contract, for every function in cube that takes `struct cube_err *err`:
 *   0 done; CUBE_AGAIN (1) would block, not an error; < 0 failed, and *err is set.
 * *err is written only on failure. It is a plain value on the caller's stack: it owns
 * nothing and cannot leak. err may be NULL where the caller wants no text.
 * Outputs (ret_...) are not touched on failure.
 * Library code never logs and never exits; the top that gives up on the operation
 * reports the error, once.
 */
#ifndef CUBE_ERR_H
#define CUBE_ERR_H

#include <stdbool.h>

enum {
	CUBE_AGAIN = 1,      /* would block; wait for readiness */
	CUBE_EUSAGE = -1,    /* the user's words are wrong: option, host expression, body field */
	CUBE_ENOTFOUND = -2, /* no such task, node, file, command */
	CUBE_ECONFLICT = -3, /* exists already, or not possible in this state */
	CUBE_EPROTO = -4,    /* the peer broke the protocol */
	CUBE_ETOOBIG = -5,   /* over a limit that is stated in the message */
	CUBE_ESYS = -6,      /* a system call failed; .sys is its errno */
	CUBE_ETIMEOUT = -7,
	CUBE_ECONNECT = -8,  /* cannot reach the peer, or the link broke */
	CUBE_EAUTH = -9,     /* the peer refused every way to log in */
	CUBE_EHOSTKEY = -10, /* host key changed or not trusted */
	CUBE_EVERSION = -11, /* the peer is another build */
	CUBE_EEXEC = -12,    /* the program cannot be executed; .sys says why */
	CUBE_ECANCELED = -13,
	CUBE_EINTERNAL = -14, /* a bug in cube */
	CUBE_ELOGIN = -15,    /* a person has to log in: password, passphrase, second factor */
	CUBE_ELIBRARY = -16,  /* libssh2 cannot do what this host needs; the ssh program could */
};

struct cube_err {
	int code;
	int sys; /* errno, or 0 */
	char msg[240];
};

/* Sets *err (code, sys 0, text; cut with "..." when too long) and returns code. */
int cube_fail(struct cube_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a failed system call: text is "<fmt>: <cube_err_text(sys)>"; returns CUBE_ESYS. */
int cube_fail_sys(struct cube_err *err, int sys, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds context going up: text becomes "<fmt>: <old text>"; code and sys stay. Returns err->code.
 * Never success: CUBE_EINTERNAL where err was not set, or is NULL (the code is lost with it). */
int cube_wrap(struct cube_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* strerror, the same with every libc where people may mistake it. */
const char *cube_err_text(int sys);

/* A stable lower-case word for a code ("not-found"), "ok" for 0; used in JSON. */
const char *cube_err_name(int code);

/* HTTP status for a code. One table, in err.c. */
int cube_err_http(int code);

/* Process exit code for a code. The rule, for all of cube:
 *   a command that carries one of the user's (`cube run`, `exec`, `wait`, `spawn` with COMMAND)
 * exits as that one did. 125 is a failure of cube's own, so that 124 (timeout), 126 (not
 * executable), 127 (not found on the host) and 128+n are always the user's command's; every other
 * command: 0, or 1 where something failed or is not there; both: 2 where the command line is wrong,
 * 128+n when signal n ended cube itself. */
int cube_err_exit(int code, bool carries);

#endif
