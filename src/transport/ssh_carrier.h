/* Carriers over libssh2: each host's connection is a direct-tcpip channel, bridged to a socket
 * whose other end is given away. Private to this folder.
 *
 * A lane is one of them; it ends when either of its sides does. Both directions hold at most one
 * read's worth of bytes here, then the channel's window or the socket makes the sender wait.
 * libssh2 opens one channel at a time: a host that the jump host cannot reach, and is not told
 * so, keeps the next one waiting. Then `stuck` is called, and it is asked whether the jump host
 * is alive. */
#ifndef CUBE_TRANSPORT_SSH_CARRIER_H
#define CUBE_TRANSPORT_SSH_CARRIER_H

#include "carrier.h"

cube_carrier_opener cube_ssh_carrier_new;

#endif
