/* The limiter: see limit.h. A place that comes free belongs to the next in line at once; its fn is
 * called at the end of the turn, so that no callback runs inside a leave. */
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "limit.h"

struct cube_limit_point {
	struct cube_list entry; /* in limit->points */
	struct cube_limit *limit;
	char *name;
	struct cube_list waiting; /* tickets, the eldest first */
	unsigned inside, width;
};

struct cube_limit {
	struct cube_loop *loop;
	struct cube_list points;
	struct cube_list called; /* tickets with a place whose fn is due */
	bool calling, gone;
};

void cube_limit_new(struct cube_loop *loop, struct cube_limit **ret) {
	struct cube_limit *l = cube_alloc(sizeof *l);
	l->loop = loop;
	cube_list_init(&l->points);
	cube_list_init(&l->called);
	*ret = l;
}

static void destroy(void *arg) {
	free(arg);
}

void cube_limit_free(struct cube_limit *l) {
	if (!l) return;
	if (l->calling) {
		l->gone = true; /* the deferred call frees it */
		return;
	}
	destroy(l);
}

static void call_them(void *arg) {
	struct cube_limit *l = arg;
	l->calling = false;
	if (l->gone) {
		destroy(l);
		return;
	}
	/* Who is called may leave, enter and free others. */
	struct cube_list now;
	cube_list_init(&now);
	cube_list_each (&l->called, t, struct cube_ticket, entry) {
		cube_list_remove(&t->entry);
		cube_list_append(&now, &t->entry);
	}
	while (!cube_list_empty(&now)) {
		struct cube_ticket *t = cube_container(now.next, struct cube_ticket, entry);
		cube_list_remove(&t->entry);
		t->fn(t->arg);
	}
}

static struct cube_limit_point *point_of(struct cube_limit *l, const char *name) {
	cube_list_each (&l->points, p, struct cube_limit_point, entry)
		if (!strcmp(p->name, name)) return p;
	struct cube_limit_point *p = cube_alloc(sizeof *p);
	p->limit = l;
	p->name = cube_strdup(name);
	p->width = CUBE_LIMIT_MAX;
	cube_list_init(&p->waiting);
	cube_list_push(&l->points, &p->entry);
	return p;
}

static void point_free(struct cube_limit_point *p) {
	cube_list_remove(&p->entry);
	free(p->name);
	free(p);
}

bool cube_limit_enter(struct cube_limit *l, struct cube_ticket *t, const char *endpoint,
		      cube_limit_fn *fn, void *arg) {
	cube_limit_leave(t, CUBE_LIMIT_DONE);
	struct cube_limit_point *p = point_of(l, endpoint);
	*t = (struct cube_ticket){.at = p, .fn = fn, .arg = arg};
	if (p->inside < p->width && cube_list_empty(&p->waiting)) {
		p->inside++;
		return t->inside = true;
	}
	cube_list_append(&p->waiting, &t->entry);
	return false;
}

static void let_in(struct cube_limit_point *p) {
	struct cube_limit *l = p->limit;
	while (p->inside < p->width && !cube_list_empty(&p->waiting)) {
		struct cube_ticket *t = cube_container(p->waiting.next, struct cube_ticket, entry);
		cube_list_remove(&t->entry);
		cube_list_append(&l->called, &t->entry);
		t->inside = true;
		p->inside++;
	}
	if (l->calling || cube_list_empty(&l->called)) return;
	l->calling = true;
	cube_loop_defer(l->loop, call_them, l);
}

static void adapt(struct cube_limit_point *p, enum cube_limit_end how) {
	if (how == CUBE_LIMIT_LOGIN && p->width < CUBE_LIMIT_MAX) p->width++;
	/* All that are inside were let in under the width of then: only the first drop of a
	 * burst counts. */
	if (how == CUBE_LIMIT_DROPPED && p->inside <= p->width && p->width > 1) p->width /= 2;
}

void cube_limit_leave(struct cube_ticket *t, enum cube_limit_end how) {
	struct cube_limit_point *p = t->at;
	if (!p) return;
	cube_list_remove(&t->entry);
	t->at = NULL;
	if (t->inside) {
		adapt(p, how);
		p->inside--;
		t->inside = false;
	}
	if (cube_list_empty(&p->waiting) && !p->inside) point_free(p);
	else let_in(p);
}
