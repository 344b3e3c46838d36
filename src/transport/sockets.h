/* The folder of the control sockets by which ssh programs of ours share a login. Private to this
 * folder.
 *
 * Made when it is needed (0700), and cleared of what a manager that was killed left there. The
 * name of a socket, and of the one ssh makes before it gets that name, must fit into 108 bytes:
 * where `dir` is too long for it, or holds what ssh would not read as it stands, the folder is
 * /tmp/cube-login-XXXXXX and `dir` a link to it, by which the next manager finds it. */
#ifndef CUBE_TRANSPORT_SOCKETS_H
#define CUBE_TRANSPORT_SOCKETS_H

#include <stdbool.h>

#include "cube/err.h"

struct cube_sockets;
/* dir: nobody else's; its parent is there. NULL: a folder in /tmp, not found again after a KILL. */
struct cube_sockets *cube_sockets_new(const char *dir);
void cube_sockets_free(struct cube_sockets *s); /* with the folder; NULL is fine */

/* A name that is not in use; fresh. CUBE_ESYS. */
int cube_sockets_next(struct cube_sockets *s, char **ret, struct cube_err *err);
/* Somebody listens there. */
bool cube_sockets_lives(const char *path);

#endif
