/* The store without a file: for `--store memory`, and in tests the naive twin of the other.
 *
 * Nothing here can fail but by a refused argument (cube_mem aborts when memory is out), so a
 * transaction always commits. Listings look their place up again for each row: a callback may
 * call the store, also to change it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "row_check.h"
#include "cube/mem.h"
#include "memory.h"

/* ---- strings of rows ----------------------------------------------------------------------- */

static const char none[] = ""; /* most strings are empty: they cost nothing */

static const char *keep(const char *s) {
	return s && s[0] ? cube_strdup(s) : none;
}

static void drop(struct cube_memory *m, const char *s) {
	if (!s || s == none) return;
	if (m->listing) *(char **)cube_vec_insert(&m->dropped, m->dropped.len) = (char *)s;
	else free((char *)s);
}

static void listing_ends(struct cube_memory *m) {
	if (--m->listing > 0) return;
	for (size_t i = 0; i < m->dropped.len; i++) free(((char **)m->dropped.v)[i]);
	m->dropped.len = 0;
}

/* ---- transactions -------------------------------------------------------------------------- */

static int memory_begin(struct cube_store *store, struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);

	if (m->open)
		return cube_fail(err, CUBE_EINTERNAL, "memory store: begin inside a transaction");
	m->open = true;
	return 0;
}

static int memory_commit(struct cube_store *store, struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);

	if (!m->open) return cube_fail(err, CUBE_EINTERNAL, "memory store: commit without begin");
	m->open = false;
	return 0;
}

/* ---- meta ---------------------------------------------------------------------------------- */

struct pair {
	const char *key, *value;
};

static int compare_key(const void *item, const void *key) {
	return strcmp(((const struct pair *)item)->key, key);
}

static struct pair *find_pair(struct cube_memory *m, const char *key, size_t *ret_at) {
	*ret_at = cube_vec_find(&m->meta, key, compare_key);
	if (*ret_at == m->meta.len || compare_key(cube_vec_at(&m->meta, *ret_at), key) != 0)
		return NULL;
	return cube_vec_at(&m->meta, *ret_at);
}

static int memory_meta_put(struct cube_store *store, const char *key, const char *value,
			   struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	size_t at;
	struct pair *p = find_pair(m, key, &at);
	const char *fresh = keep(value);

	if (!p) {
		p = cube_vec_insert(&m->meta, at);
		p->key = keep(key);
	}
	drop(m, p->value);
	p->value = fresh;
	return 0;
}

static int memory_meta_get(struct cube_store *store, const char *key, char **ret,
			   struct cube_err *err) {
	size_t at;
	struct pair *p = find_pair(cube_memory_of(store), key, &at);

	if (!p) return cube_fail(err, CUBE_ENOTFOUND, "store: nothing is named %s", key);
	*ret = cube_strdup(p->value);
	return 0;
}

/* ---- rows with an id ----------------------------------------------------------------------- */

/* Where a row's strings are. Jobs and tasks begin with a 64-bit id, nodes with a 32-bit one. */
struct texts {
	size_t count, offset[8];
};
static const struct texts job_texts = {3,
				       {offsetof(struct cube_job_row, name),
					offsetof(struct cube_job_row, spec),
					offsetof(struct cube_job_row, request)}};
static const struct texts task_texts = {1, {offsetof(struct cube_task_row, reason)}};
static const struct texts node_texts = {
	7,
	{offsetof(struct cube_node_row, name), offsetof(struct cube_node_row, host),
	 offsetof(struct cube_node_row, user), offsetof(struct cube_node_row, identity),
	 offsetof(struct cube_node_row, labels), offsetof(struct cube_node_row, reason),
	 offsetof(struct cube_node_row, facts)}};
static const struct texts event_texts = {
	4,
	{offsetof(struct cube_event_row, kind), offsetof(struct cube_event_row, old_state),
	 offsetof(struct cube_event_row, new_state), offsetof(struct cube_event_row, reason)}};

static int compare_u64(const void *item, const void *key) {
	uint64_t a = *(const uint64_t *)item, b = *(const uint64_t *)key;

	return (a > b) - (a < b);
}

static int compare_u32(const void *item, const void *key) {
	uint32_t a = *(const uint32_t *)item, b = *(const uint32_t *)key;

	return (a > b) - (a < b);
}

static const char **text_at(const struct texts *t, size_t i, void *row) {
	return (const char **)((char *)row + t->offset[i]);
}

static void keep_texts(const struct texts *t, void *row) {
	for (size_t i = 0; i < t->count; i++) *text_at(t, i, row) = keep(*text_at(t, i, row));
}

static void drop_texts(struct cube_memory *m, const struct texts *t, void *row) {
	for (size_t i = 0; i < t->count; i++) drop(m, *text_at(t, i, row));
}

static void put(struct cube_memory *m, struct cube_vec *v, const struct texts *t, const void *row,
		int (*cmp)(const void *, const void *)) {
	size_t at = cube_vec_find(v, row, cmp);
	union {
		struct cube_job_row job;
		struct cube_task_row task;
		struct cube_node_row node;
	} fresh;

	memcpy(&fresh, row, v->size);
	keep_texts(t, &fresh); /* before the old ones go: they may be the same */
	if (at < v->len && cmp(cube_vec_at(v, at), row) == 0) drop_texts(m, t, cube_vec_at(v, at));
	else cube_vec_insert(v, at);
	memcpy(cube_vec_at(v, at), &fresh, v->size);
}

static int memory_job_put(struct cube_store *store, const struct cube_job_row *row,
			  struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	int r = cube_store_check_job(store, row, err);

	if (r == 0) put(m, &m->jobs, &job_texts, row, compare_u64);
	return r;
}

static int memory_task_put(struct cube_store *store, const struct cube_task_row *row,
			   struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	int r = cube_store_check_task(row, err);

	if (r == 0) put(m, &m->tasks, &task_texts, row, compare_u64);
	return r;
}

static int memory_node_put(struct cube_store *store, const struct cube_node_row *row,
			   struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	int r = cube_store_check_node(row, err);

	if (r == 0) put(m, &m->nodes, &node_texts, row, compare_u32);
	return r;
}

static void *find_row(const struct cube_vec *v, uint64_t id) {
	size_t at = cube_vec_find(v, &id, compare_u64);

	return at < v->len && compare_u64(cube_vec_at(v, at), &id) == 0 ? cube_vec_at(v, at) : NULL;
}

static int memory_job_get(struct cube_store *store, uint64_t id,
			  int (*fn)(void *, const struct cube_job_row *), void *arg,
			  struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	struct cube_job_row *found = find_row(&m->jobs, id), row;
	int r;

	if (!found) return cube_fail(err, CUBE_ENOTFOUND, "no job %" PRIu64, id);
	row = *found;
	m->listing++;
	r = fn(arg, &row);
	listing_ends(m);
	return r;
}

static int memory_job_find(struct cube_store *store, const char *request,
			   int (*fn)(void *, const struct cube_job_row *), void *arg,
			   struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);

	for (size_t at = m->jobs.len; at > 0 && request[0]; at--) {
		const struct cube_job_row *row = cube_vec_at(&m->jobs, at - 1);

		if (strcmp(row->request, request) == 0)
			return memory_job_get(store, row->id, fn, arg, err);
	}
	return cube_fail(err, CUBE_ENOTFOUND, "no job of request %.80s", request);
}

static int memory_task_get(struct cube_store *store, uint64_t id,
			   int (*fn)(void *, const struct cube_task_row *), void *arg,
			   struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	struct cube_task_row *found = find_row(&m->tasks, id), row;
	int r;

	if (!found) return cube_fail(err, CUBE_ENOTFOUND, "no task %" PRIu64, id);
	row = *found;
	m->listing++;
	r = fn(arg, &row);
	listing_ends(m);
	return r;
}

static int memory_last_ids(struct cube_store *store, uint64_t *ret_job, uint64_t *ret_task,
			   uint32_t *ret_node, struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	struct cube_job_row *job = cube_vec_last(&m->jobs);
	struct cube_task_row *task = cube_vec_last(&m->tasks);
	struct cube_node_row *node = cube_vec_last(&m->nodes);
	*ret_job = job ? job->id : 0;
	*ret_task = task ? task->id : 0;
	*ret_node = node ? node->id : 0;
	return 0;
}

/* ---- listings ------------------------------------------------------------------------------ */

static bool wanted(struct cube_memory *m, const struct cube_task_filter *f,
		   const struct cube_task_row *t) {
	const struct cube_job_row *job;

	if (f->job && t->job != f->job) return false;
	if (f->node && t->node != f->node) return false;
	if (f->states && !(f->states & UINT32_C(1) << t->state)) return false;
	if (!f->name || !f->name[0]) return true;
	job = find_row(&m->jobs, t->job);
	return job && strcmp(job->name, f->name) == 0;
}

/* The next task in the filter's direction beyond *id (0: from its start); NULL at the end. */
static const struct cube_task_row *next_task(struct cube_memory *m,
					     const struct cube_task_filter *f, uint64_t id) {
	const struct cube_task_row *t;
	uint64_t from = id ? id + 1 : f->after + 1;
	size_t at;

	if (!f->newest_first) {
		for (at = cube_vec_find(&m->tasks, &from, compare_u64); at < m->tasks.len; at++) {
			t = cube_vec_at(&m->tasks, at);
			if (wanted(m, f, t)) return t;
		}
		return NULL;
	}
	at = id ? cube_vec_find(&m->tasks, &id, compare_u64) : m->tasks.len;
	while (at > 0) {
		t = cube_vec_at(&m->tasks, --at);
		if (t->id <= f->after) return NULL;
		if (wanted(m, f, t)) return t;
	}
	return NULL;
}

static int memory_task_list(struct cube_store *store, const struct cube_task_filter *filter,
			    int (*fn)(void *, const struct cube_task_row *), void *arg,
			    struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	const struct cube_task_row *next;
	struct cube_task_row row = {0};
	uint32_t count = 0;
	int r = 0;

	if (filter->after > INT64_MAX) return 0;
	m->listing++;
	while (r == 0 && (!filter->limit || count++ < filter->limit)) {
		next = next_task(m, filter, row.id);
		if (!next) break;
		row = *next;
		r = fn(arg, &row);
	}
	listing_ends(m);
	return r;
}

static int memory_node_list(struct cube_store *store,
			    int (*fn)(void *, const struct cube_node_row *), void *arg,
			    struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	uint64_t from = 0;
	int r = 0;

	m->listing++;
	while (r == 0 && from <= UINT32_MAX) {
		uint32_t key = (uint32_t)from;
		size_t at = cube_vec_find(&m->nodes, &key, compare_u32);
		struct cube_node_row row;
		if (at == m->nodes.len) break;
		row = *(struct cube_node_row *)cube_vec_at(&m->nodes, at);
		r = fn(arg, &row);
		from = (uint64_t)row.id + 1;
	}
	listing_ends(m);
	return r;
}

static int memory_event_add(struct cube_store *store, const struct cube_event_row *row,
			    uint64_t *ret_seq, struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	struct cube_event_row fresh = *row;

	fresh.seq = m->events.len + 1;
	keep_texts(&event_texts, &fresh);
	memcpy(cube_vec_insert(&m->events, m->events.len), &fresh, sizeof fresh);
	if (ret_seq) *ret_seq = fresh.seq;
	return 0;
}

static int memory_event_list(struct cube_store *store, uint64_t after, uint32_t limit,
			     int (*fn)(void *, const struct cube_event_row *), void *arg,
			     struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);
	uint32_t count = 0;
	int r = 0;

	while (r == 0 && after < m->events.len && (!limit || count++ < limit)) {
		struct cube_event_row row =
			*(struct cube_event_row *)cube_vec_at(&m->events, after);
		r = fn(arg, &row);
		after++;
	}
	return r;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void rows_done(struct cube_memory *m, struct cube_vec *v, const struct texts *t) {
	for (size_t i = 0; i < v->len; i++) drop_texts(m, t, cube_vec_at(v, i));
	free(v->v);
}

static void memory_free(struct cube_store *store) {
	struct cube_memory *m = cube_memory_of(store);

	for (size_t i = 0; i < m->meta.len; i++) {
		struct pair *p = cube_vec_at(&m->meta, i);
		drop(m, p->key);
		drop(m, p->value);
	}
	free(m->meta.v);
	rows_done(m, &m->jobs, &job_texts);
	rows_done(m, &m->tasks, &task_texts);
	rows_done(m, &m->nodes, &node_texts);
	rows_done(m, &m->events, &event_texts);
	cube_memory_series_done(m);
	free(m->dropped.v);
	free(m);
}

static const struct cube_store_ops memory_ops = {
	.name = "memory",
	.free = memory_free,
	.begin = memory_begin,
	.commit = memory_commit,
	.meta_put = memory_meta_put,
	.meta_get = memory_meta_get,
	.job_put = memory_job_put,
	.job_get = memory_job_get,
	.job_find = memory_job_find,
	.task_put = memory_task_put,
	.task_get = memory_task_get,
	.task_list = memory_task_list,
	.node_put = memory_node_put,
	.node_list = memory_node_list,
	.last_ids = memory_last_ids,
	.event_add = memory_event_add,
	.event_list = memory_event_list,
	.chunk_add = cube_memory_chunk_add,
	.chunk_list = cube_memory_chunk_list,
	.metric_add = cube_memory_metric_add,
	.metric_thin = cube_memory_metric_thin,
	.metric_list = cube_memory_metric_list,
};

int cube_store_memory(struct cube_store **ret, struct cube_err *err) {
	struct cube_memory *m = cube_alloc(sizeof *m);

	m->base.ops = &memory_ops;
	m->meta.size = sizeof(struct pair);
	m->jobs.size = sizeof(struct cube_job_row);
	m->tasks.size = sizeof(struct cube_task_row);
	m->nodes.size = sizeof(struct cube_node_row);
	m->events.size = sizeof(struct cube_event_row);
	m->dropped.size = sizeof(char *);
	cube_memory_series_done(m); /* sets the series up empty */
	*ret = &m->base;
	return 0;
}
