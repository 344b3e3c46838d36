#include "cube/subscribers.h"

#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"

/* How many begin at or before a number. */
static size_t begun(const struct cube_subscribers *of, uint64_t id) {
	size_t low = 0, high = of->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (of->list[mid]->first <= id) low = mid + 1;
		else high = mid;
	}
	return low;
}

static void changed(struct cube_subscribers *of, size_t from) {
	of->changes++;
	for (size_t i = from; i < of->n; i++) {
		of->reach[i] = of->list[i]->last;
		if (i && of->reach[i - 1] > of->reach[i]) of->reach[i] = of->reach[i - 1];
	}
}

void cube_subscriber_add(struct cube_subscribers *of, struct cube_subscriber *s) {
	if (s->of) return;
	if (of->n == of->cap) {
		of->cap = of->cap ? of->cap * 2 : 16;
		of->list = cube_realloc_array(of->list, of->cap, sizeof *of->list);
		of->reach = cube_realloc_array(of->reach, of->cap, sizeof *of->reach);
	}
	size_t at = begun(of, s->first);
	memmove(of->list + at + 1, of->list + at, (of->n - at) * sizeof *of->list);
	of->list[at] = s;
	of->n++;
	s->of = of;
	changed(of, at);
}

void cube_subscriber_remove(struct cube_subscriber *s) {
	struct cube_subscribers *of = s->of;
	if (!of) return;
	size_t at = begun(of, s->first);
	while (of->list[at - 1] != s) at--;
	memmove(of->list + at - 1, of->list + at, (of->n - at) * sizeof *of->list);
	of->n--;
	s->of = NULL;
	changed(of, at - 1);
}

void cube_subscribers_tell(struct cube_subscribers *of, uint64_t id) {
	uint64_t tell = ++of->tells, changes;
	do {
		changes = of->changes;
		for (size_t i = begun(of, id); i-- && of->reach[i] >= id;) {
			struct cube_subscriber *s = of->list[i];
			if (s->last < id || s->told == tell) continue;
			s->told = tell;
			s->news(s->arg, id);
			if (of->changes != changes) break; /* they lie elsewhere now */
		}
	} while (of->changes != changes);
}

void cube_subscribers_free(struct cube_subscribers *of) {
	while (of->n) cube_subscriber_remove(of->list[of->n - 1]);
	free(of->list);
	free(of->reach);
	*of = (struct cube_subscribers){0};
}
