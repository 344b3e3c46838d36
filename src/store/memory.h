/* Private to the memory implementation: sorted vectors of rows. */
#ifndef CUBE_STORE_MEMORY_H
#define CUBE_STORE_MEMORY_H

#include "cube/store.h"

/* Items of one size, side by side, in the order of their key. Zero but for .size. */
struct cube_vec {
	void *v;
	size_t len, cap, size;
};

void *cube_vec_at(const struct cube_vec *v, size_t at);
void *cube_vec_last(const struct cube_vec *v); /* NULL when empty */
/* Opens a zeroed gap at index `at`; the pointer lives until the next change. */
void *cube_vec_insert(struct cube_vec *v, size_t at);
/* The first index whose item is not below the key: cmp(item, key) >= 0. */
size_t cube_vec_find(const struct cube_vec *v, const void *key,
		     int (*cmp)(const void *item, const void *key));

struct cube_memory {
	struct cube_store base;
	bool open; /* between begin and commit */
	struct cube_vec meta, jobs, tasks, nodes, events;
	struct cube_vec streams; /* each with its chunks */
	struct cube_vec series;  /* each node's metrics */
	unsigned listing;        /* callbacks under way: strings they were given must stay */
	struct cube_vec dropped; /* replaced meanwhile; freed after */
};

static inline struct cube_memory *cube_memory_of(struct cube_store *s) {
	return (struct cube_memory *)s;
}

/* memory_series.c */
void cube_memory_series_done(struct cube_memory *m);
int cube_memory_chunk_add(struct cube_store *s, const struct cube_chunk_row *row,
			  struct cube_err *err);
int cube_memory_chunk_list(struct cube_store *s, uint64_t task, uint32_t attempt, uint8_t stream,
			   uint64_t offset, int (*fn)(void *, const struct cube_chunk_row *),
			   void *arg, struct cube_err *err);
int cube_memory_metric_add(struct cube_store *s, uint32_t node, const struct cube_metric *sample,
			   struct cube_err *err);
int cube_memory_metric_thin(struct cube_store *s, int64_t now, struct cube_err *err);
int cube_memory_metric_list(struct cube_store *s, uint32_t node, int64_t since,
			    int (*fn)(void *, const struct cube_metric *), void *arg,
			    struct cube_err *err);

#endif
