/* Names to addresses on this host, by /etc/hosts and the name servers of /etc/resolv.conf. */
#ifndef WORKER_RESOLVE_H
#define WORKER_RESOLVE_H

#include <sys/socket.h>

#include "cube/dns.h"

/* Blocks, for resolv.conf's time-out at most for each name tried. NULL, or why there is none. */
const char *resolve(const char *name, struct cube_dns_addresses *ret);

/* The length of the address, with the port, for connect(). */
socklen_t resolve_sockaddr(const struct cube_dns_address *a, uint16_t port,
			   struct sockaddr_storage *ret);

#endif
