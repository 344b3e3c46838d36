/* Who wants to hear of what is numbered (tasks): a range of numbers each. Those of one number are
 * found without a look at the others, as long as the ranges do not lie across each other much: an
 * ordered list of ranges, each with how far the ones before it reach. */
#ifndef CUBE_SUBSCRIBERS_H
#define CUBE_SUBSCRIBERS_H

#include <stddef.h>
#include <stdint.h>

struct cube_subscriber {
	uint64_t first, last;
	void (*news)(void *arg, uint64_t id);
	void *arg;
	/* private; zero-initialise */
	struct cube_subscribers *of;
	uint64_t told;
};

struct cube_subscribers { /* private; zero-initialise */
	struct cube_subscriber **list;
	uint64_t *reach; /* the greatest `last` up to and with this one */
	size_t n, cap;
	uint64_t tells, changes;
};

/* The subscriber is the caller's, and stays where it is until it is removed. */
void cube_subscriber_add(struct cube_subscribers *of, struct cube_subscriber *s);
/* Does nothing where it is not added. */
void cube_subscriber_remove(struct cube_subscriber *s);
/* Calls all whose range holds the number, once, in no certain order. Each may remove itself and
 * others, and add some, which are called as well. */
void cube_subscribers_tell(struct cube_subscribers *of, uint64_t id);
/* Those still there are removed. */
void cube_subscribers_free(struct cube_subscribers *of);

#endif
