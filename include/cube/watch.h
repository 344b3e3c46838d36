/* Who wants to hear of what is numbered (tasks): a range of numbers each. Those of one number are
 * found without a look at the others, as long as the ranges do not lie across each other much: an
 * ordered list of ranges, each with how far the ones before it reach. */
#ifndef CUBE_WATCH_H
#define CUBE_WATCH_H

#include <stddef.h>
#include <stdint.h>

struct cube_watch {
	uint64_t first, last;
	void (*news)(void *arg, uint64_t id);
	void *arg;
	/* private; zero-initialise */
	struct cube_watches *of;
	uint64_t told;
};

struct cube_watches { /* private; zero-initialise */
	struct cube_watch **watches;
	uint64_t *reach; /* the greatest `last` up to and with this one */
	size_t n, cap;
	uint64_t tells, changes;
};

/* The watch is the caller's, and stays where it is until it is removed. */
void cube_watch_add(struct cube_watches *of, struct cube_watch *w);
/* Does nothing where it is not added. */
void cube_watch_remove(struct cube_watch *w);
/* Calls all whose range holds the number, once, in no certain order. Each may remove itself and
 * others, and add some, which are called as well. */
void cube_watches_tell(struct cube_watches *of, uint64_t id);
/* Those still there are removed. */
void cube_watches_free(struct cube_watches *of);

#endif
