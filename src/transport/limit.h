/* How many connections that have not logged in yet an sshd gets from us at once. Private to this
 * folder.
 *
 * sshd drops such connections at random from the 10th on (MaxStartups 10:30:100), so an endpoint
 * has at most CUBE_LIMIT_MAX places, given in the order they were asked for. One that drops us all
 * the same (a lower MaxStartups, other people's logins) gets half of what it had, and one more
 * for each login that goes well. An endpoint is a text: "10.0.0.9 port 22", a proxy command, ...
 *
 * Who needs places at two endpoints asks for the target's first and the bastion's then, so that
 * nobody who holds a bastion's waits for a target's. */
#ifndef CUBE_TRANSPORT_LIMIT_H
#define CUBE_TRANSPORT_LIMIT_H

#include <stdbool.h>

#include "cube/list.h"
#include "cube/loop.h"

enum { CUBE_LIMIT_MAX = 8 };

enum cube_limit_end {
	CUBE_LIMIT_DONE,    /* whatever came of it */
	CUBE_LIMIT_LOGIN,   /* it went well: one more may come at once */
	CUBE_LIMIT_DROPPED, /* the endpoint wants fewer at once */
};

struct cube_limit;
struct cube_limit_point;
typedef void cube_limit_fn(void *arg);

struct cube_ticket { /* embedded by its owner; zero: outside */
	struct cube_list entry;
	struct cube_limit_point *at; /* NULL: neither waits nor holds a place */
	cube_limit_fn *fn;
	void *arg;
	bool inside;
};

void cube_limit_new(struct cube_loop *loop, struct cube_limit **ret);
void cube_limit_free(struct cube_limit *l); /* no ticket may be in use; NULL is fine */

/* True: the place is held from now on. False: fn comes later, when it is. Before it a ticket that
 * is in use is left. */
bool cube_limit_enter(struct cube_limit *l, struct cube_ticket *t, const char *endpoint,
		      cube_limit_fn *fn, void *arg);
/* Gives the place back, or stops waiting for it; as often as you like. */
void cube_limit_leave(struct cube_ticket *t, enum cube_limit_end how);
static inline bool cube_limit_waits(const struct cube_ticket *t) {
	return t->at && !t->inside;
}

#endif
