/* Host names to addresses without blocking the loop: getaddrinfo in a few helper threads.
 * Private to this folder. */
#ifndef CUBE_TRANSPORT_RESOLVE_H
#define CUBE_TRANSPORT_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cube/err.h"
#include "cube/loop.h"

enum { CUBE_RESOLVE_MAX = 16 }; /* addresses of one name that are kept */

struct cube_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

struct cube_addrs {
	struct cube_addr v[CUBE_RESOLVE_MAX]; /* in the order to be tried */
	unsigned len;
};

/* "10.0.0.9:22", "[::1]:22" without the brackets and port: only the number. */
const char *cube_addr_text(const struct cube_addr *addr, char *buf, size_t size);
/* True when host is an address already; then *ret is set. */
bool cube_resolve_numeric(const char *host, uint16_t port, struct cube_addrs *ret);

struct cube_resolver;
struct cube_resolve; /* one question */
/* addrs is NULL when err is not (err->sys EAGAIN: no name server answered, it may soon); the
 * question is over then and its handle invalid. */
typedef void cube_resolve_fn(void *arg, const struct cube_addrs *addrs, const struct cube_err *err);

/* The first thread starts with the first question. */
int cube_resolver_new(struct cube_loop *loop, struct cube_resolver **ret, struct cube_err *err);
void cube_resolver_free(struct cube_resolver *r); /* does not wait for threads */

int cube_resolve_start(struct cube_resolver *r, const char *host, uint16_t port,
		       cube_resolve_fn *fn, void *arg, struct cube_resolve **ret,
		       struct cube_err *err);
void cube_resolve_cancel(struct cube_resolve *q); /* fn will not run; NULL is fine */

#endif
