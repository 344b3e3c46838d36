#include <stdlib.h>

#include "row_check.h"
#include "memory.h"

struct stream {
	uint64_t task;
	uint32_t attempt;
	uint8_t stream;
	struct cube_vec chunks; /* struct cube_chunk_row, by offset */
};

struct series {
	uint32_t node;
	struct cube_vec samples; /* struct cube_metric, by wall */
};

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

/* ---- log chunks ---------------------------------------------------------------------------- */

static int compare_stream(const void *item, const void *key) {
	const struct stream *a = item, *b = key;

	if (a->task != b->task) return COMPARE(a->task, b->task);
	if (a->attempt != b->attempt) return COMPARE(a->attempt, b->attempt);
	return COMPARE(a->stream, b->stream);
}

static struct stream *find_stream(struct cube_memory *m, const struct stream *key, bool make) {
	size_t at = cube_vec_find(&m->streams, key, compare_stream);
	struct stream *s;

	if (at < m->streams.len && compare_stream(cube_vec_at(&m->streams, at), key) == 0)
		return cube_vec_at(&m->streams, at);
	if (!make) return NULL;
	s = cube_vec_insert(&m->streams, at);
	*s = *key;
	s->chunks.size = sizeof(struct cube_chunk_row);
	return s;
}

int cube_memory_chunk_add(struct cube_store *store, const struct cube_chunk_row *row,
			  struct cube_err *err) {
	struct stream key = {.task = row->task, .attempt = row->attempt, .stream = row->stream};
	struct cube_chunk_row *newest;
	struct stream *s;
	bool merge = false;
	int r = cube_store_check_chunk(row, err);

	if (r < 0 || row->len == 0) return r;
	s = find_stream(cube_memory_of(store), &key, true);
	if (s->chunks.len > 0) {
		newest = cube_vec_at(&s->chunks, s->chunks.len - 1);
		r = cube_store_chunk_follows(newest, row, &merge, err);
		if (r < 0) return r;
		if (merge) newest->len += row->len;
	}
	if (!merge) *(struct cube_chunk_row *)cube_vec_insert(&s->chunks, s->chunks.len) = *row;
	return 0;
}

/* At or before the offset counts as below: the chunk that holds it is the one before. */
static int compare_end(const void *item, const void *key) {
	const struct cube_chunk_row *c = item;

	return c->offset + c->len > *(const uint64_t *)key ? 1 : -1;
}

int cube_memory_chunk_list(struct cube_store *store, uint64_t task, uint32_t attempt,
			   uint8_t stream, uint64_t offset,
			   int (*fn)(void *, const struct cube_chunk_row *), void *arg,
			   struct cube_err *err) {
	struct stream key = {.task = task, .attempt = attempt, .stream = stream}, *s;
	int r;

	for (;;) { /* looked up anew each time: the callback may add to the store */
		struct cube_chunk_row row;
		size_t at;

		s = find_stream(cube_memory_of(store), &key, false);
		if (!s) return 0;
		at = cube_vec_find(&s->chunks, &offset, compare_end);
		if (at == s->chunks.len) return 0;
		row = *(struct cube_chunk_row *)cube_vec_at(&s->chunks, at);
		r = fn(arg, &row);
		if (r != 0) return r;
		offset = row.offset + row.len;
	}
}

/* ---- metrics ------------------------------------------------------------------------------- */

static int compare_node(const void *item, const void *key) {
	return COMPARE(((const struct series *)item)->node, *(const uint32_t *)key);
}

static struct series *find_series(struct cube_memory *m, uint32_t node, bool make) {
	size_t at = cube_vec_find(&m->series, &node, compare_node);
	struct series *s;

	if (at < m->series.len && compare_node(cube_vec_at(&m->series, at), &node) == 0)
		return cube_vec_at(&m->series, at);
	if (!make) return NULL;
	s = cube_vec_insert(&m->series, at);
	*s = (struct series){.node = node, .samples.size = sizeof(struct cube_metric)};
	return s;
}

static int compare_wall(const void *item, const void *key) {
	return COMPARE(((const struct cube_metric *)item)->wall, *(const int64_t *)key);
}

int cube_memory_metric_add(struct cube_store *store, uint32_t node, const struct cube_metric *m,
			   struct cube_err *err) {
	struct series *s;
	struct cube_metric *place;
	size_t at;
	int r = cube_store_check_metric(m, err);

	if (r < 0) return r;
	s = find_series(cube_memory_of(store), node, true);
	at = cube_vec_find(&s->samples, &m->wall, compare_wall);
	place = at < s->samples.len ? cube_vec_at(&s->samples, at) : NULL;
	if (!place || place->wall != m->wall) place = cube_vec_insert(&s->samples, at);
	*place = *m;
	return 0;
}

int cube_memory_metric_thin(struct cube_store *store, int64_t now, struct cube_err *err) {
	struct cube_memory *m = cube_memory_of(store);

	if (now < CUBE_STORE_HOUR) return 0;
	for (size_t i = 0; i < m->series.len; i++) {
		struct cube_vec *v = &((struct series *)cube_vec_at(&m->series, i))->samples;
		struct cube_metric *all = v->v;
		size_t kept = 0;

		for (size_t at = 0; at < v->len; at++) {
			bool last =
				at + 1 == v->len || all[at].wall / CUBE_STORE_MINUTE !=
							    all[at + 1].wall / CUBE_STORE_MINUTE;
			if (last || all[at].wall >= now - CUBE_STORE_HOUR) all[kept++] = all[at];
		}
		v->len = kept;
	}
	return 0;
}

int cube_memory_metric_list(struct cube_store *store, uint32_t node, int64_t since,
			    int (*fn)(void *, const struct cube_metric *), void *arg,
			    struct cube_err *err) {
	int r;

	while (since < INT64_MAX) {
		struct series *s = find_series(cube_memory_of(store), node, false);
		struct cube_metric sample;
		int64_t next = since + 1;
		size_t at;

		if (!s) return 0;
		at = cube_vec_find(&s->samples, &next, compare_wall);
		if (at == s->samples.len) return 0;
		sample = *(struct cube_metric *)cube_vec_at(&s->samples, at);
		r = fn(arg, &sample);
		if (r != 0) return r;
		since = sample.wall;
	}
	return 0;
}

void cube_memory_series_done(struct cube_memory *m) {
	for (size_t i = 0; i < m->streams.len; i++)
		free(((struct stream *)cube_vec_at(&m->streams, i))->chunks.v);
	for (size_t i = 0; i < m->series.len; i++)
		free(((struct series *)cube_vec_at(&m->series, i))->samples.v);
	free(m->streams.v);
	free(m->series.v);
	m->streams = (struct cube_vec){.size = sizeof(struct stream)};
	m->series = (struct cube_vec){.size = sizeof(struct series)};
}
