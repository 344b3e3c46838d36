/* What both implementations of the store refuse, in the same words. Ids and byte positions go
 * up to 2^63 - 1, the range of sqlite's integers; an id is never 0. */
#ifndef CUBE_STORE_CHECK_H
#define CUBE_STORE_CHECK_H

#include "cube/store.h"

#define CUBE_STORE_HOUR   INT64_C(3600000000000) /* how long each second's sample is kept */
#define CUBE_STORE_MINUTE INT64_C(60000000000)

/* 0, or CUBE_EUSAGE / CUBE_ETOOBIG; a refusal changes nothing and leaves the transaction whole. */
/* A job's request may not be another's: looks into the store. */
int cube_store_check_job(struct cube_store *s, const struct cube_job_row *row,
			 struct cube_err *err);
int cube_store_check_task(const struct cube_task_row *row, struct cube_err *err);
int cube_store_check_node(const struct cube_node_row *row, struct cube_err *err);
int cube_store_check_chunk(const struct cube_chunk_row *row, struct cube_err *err);
int cube_store_check_metric(const struct cube_metric *m, struct cube_err *err);

/* May `row` follow `newest`, the stream's chunk with the highest offset? CUBE_ECONFLICT when it
 * repeats bytes; else 0 and whether it is to be merged. */
int cube_store_chunk_follows(const struct cube_chunk_row *newest, const struct cube_chunk_row *row,
			     bool *ret_merge, struct cube_err *err);

static inline const char *cube_store_text(const char *s) {
	return s ? s : "";
}

#endif
