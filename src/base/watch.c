#include "cube/watch.h"

#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"

/* How many begin at or before a number. */
static size_t begun(const struct cube_watches *of, uint64_t id) {
	size_t low = 0, high = of->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (of->watches[mid]->first <= id) low = mid + 1;
		else high = mid;
	}
	return low;
}

static void changed(struct cube_watches *of, size_t from) {
	of->changes++;
	for (size_t i = from; i < of->n; i++) {
		of->reach[i] = of->watches[i]->last;
		if (i && of->reach[i - 1] > of->reach[i]) of->reach[i] = of->reach[i - 1];
	}
}

void cube_watch_add(struct cube_watches *of, struct cube_watch *w) {
	if (w->of) return;
	if (of->n == of->cap) {
		of->cap = of->cap ? of->cap * 2 : 16;
		of->watches = cube_realloc_array(of->watches, of->cap, sizeof *of->watches);
		of->reach = cube_realloc_array(of->reach, of->cap, sizeof *of->reach);
	}
	size_t at = begun(of, w->first);
	memmove(of->watches + at + 1, of->watches + at, (of->n - at) * sizeof *of->watches);
	of->watches[at] = w;
	of->n++;
	w->of = of;
	changed(of, at);
}

void cube_watch_remove(struct cube_watch *w) {
	struct cube_watches *of = w->of;
	if (!of) return;
	size_t at = begun(of, w->first);
	while (of->watches[at - 1] != w) at--;
	memmove(of->watches + at - 1, of->watches + at, (of->n - at) * sizeof *of->watches);
	of->n--;
	w->of = NULL;
	changed(of, at - 1);
}

void cube_watches_tell(struct cube_watches *of, uint64_t id) {
	uint64_t tell = ++of->tells, changes;
	do {
		changes = of->changes;
		for (size_t i = begun(of, id); i-- && of->reach[i] >= id;) {
			struct cube_watch *w = of->watches[i];
			if (w->last < id || w->told == tell) continue;
			w->told = tell;
			w->news(w->arg, id);
			if (of->changes != changes) break; /* they lie elsewhere now */
		}
	} while (of->changes != changes);
}

void cube_watches_free(struct cube_watches *of) {
	while (of->n) cube_watch_remove(of->watches[of->n - 1]);
	free(of->watches);
	free(of->reach);
	*of = (struct cube_watches){0};
}
