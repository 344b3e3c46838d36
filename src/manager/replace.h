/* Taking the place of a manager that runs. */
#ifndef CUBE_MANAGER_REPLACE_H
#define CUBE_MANAGER_REPLACE_H

#include "cube/err.h"

/* Asks the manager behind the socket to stop, as a signal does (workers and their tasks go on), and
 * waits until its process has ended. CUBE_ECONNECT where nobody listens, CUBE_ETIMEOUT where it
 * does not end. */
int cube_manager_replace(const char *socket, struct cube_err *err);

#endif
