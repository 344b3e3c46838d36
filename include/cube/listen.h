/* Unix sockets: listening, accepting, connecting, passing fds, and locks held by a live fd. */
#ifndef CUBE_LISTEN_H
#define CUBE_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "cube/err.h"
#include "cube/loop.h"

struct cube_listen;

/* Takes every connection that the same user (SO_PEERCRED) or root makes; others are closed.
 * fn owns fd (CLOEXEC, non-blocking). */
typedef void cube_listen_fn(void *arg, int fd);

/* Binds a socket file of mode 0600 at path, replacing a stale one (the caller holds the lock that
 * makes it stale). Paths longer than sockaddr_un go through /proc/self/fd of their folder. "@name"
 * is an abstract socket, of which no file is made; any user may find it. */
int cube_listen_unix(struct cube_loop *loop, const char *path, cube_listen_fn *fn, void *arg,
		     struct cube_listen **ret, struct cube_err *err);
/* Whether its file is there still: somebody may have removed or replaced it. */
bool cube_listen_is_there(const struct cube_listen *l);
void cube_listen_free(struct cube_listen *l); /* closes and unlinks; NULL is fine */

/* Only the bound, listening fd, for a library that accepts by itself. */
int cube_listen_unix_fd(const char *path, int *ret_fd, struct cube_err *err);

/* Without waiting, and a non-blocking fd: 0, or errno. EAGAIN: somebody listens there, whose queue
 * is full. ENAMETOOLONG for what does not fit sun_path. */
int cube_connect_unix_now(const char *path, int *ret_fd);
/* Blocking connect, and a blocking fd (a stream makes it non-blocking); CUBE_ECONNECT with .sys =
 * ENOENT or ECONNREFUSED when nobody listens. */
int cube_connect_unix(const char *path, int *ret_fd, struct cube_err *err);

/* One message of n bytes with up to 4 fds (SCM_RIGHTS), blocking. recv fills at most *nfds fds,
 * CLOEXEC, and sets *nfds; returns bytes read, 0 at end of file, or a negative code. */
int cube_send_fds(int sock, const void *bytes, size_t n, const int *fds, int nfds,
		  struct cube_err *err);
ssize_t cube_recv_fds(int sock, void *bytes, size_t n, int *fds, int *nfds, struct cube_err *err);

/* Takes the lock file at path (made with mode 0600, never deleted by this call): 0 and an fd that
 * holds the lock while it is open, also across fork; CUBE_ECONFLICT when another process has it. */
int cube_lock_file(const char *path, int *ret_fd, struct cube_err *err);

#endif
