/* Private to the sqlite implementation: the store object, statements, transactions. */
#ifndef CUBE_STORE_SQLITE_H
#define CUBE_STORE_SQLITE_H

#include <sqlite3.h>

#include "cube/store.h"

/* One slot for each statement text; task_list's come from a filter's shape. */
enum cube_sqlite_stmt {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_META_PUT,
	STMT_META_GET,
	STMT_JOB_PUT,
	STMT_JOB_GET,
	STMT_JOB_FIND,
	STMT_TASK_PUT,
	STMT_TASK_GET,
	STMT_NODE_PUT,
	STMT_NODE_LIST,
	STMT_LAST_IDS,
	STMT_EVENT_ADD,
	STMT_EVENT_LIST,
	STMT_CHUNK_NEWEST,
	STMT_CHUNK_ADD,
	STMT_CHUNK_GROW,
	STMT_CHUNK_LIST,
	STMT_METRIC_ADD,
	STMT_METRIC_LIST,
	STMT_METRIC_NODE,
	STMT_METRIC_THIN,
	STMT_COUNT,
};
enum { CUBE_SQLITE_SHAPES = 512 };

struct cube_sqlite {
	struct cube_store base;
	sqlite3 *db;
	char *file;  /* for messages: the path, its front cut when long */
	bool open;   /* between begin and commit */
	bool begun;  /* and something was written: sqlite's own transaction runs */
	bool failed; /* and something failed: nothing of it will be kept */
	struct cube_err why;
	int64_t thinned; /* metrics before this follow the rule already; -1: not read yet */
	sqlite3_stmt *cached[STMT_COUNT];
	sqlite3_stmt *lists[CUBE_SQLITE_SHAPES];
};

/* A statement in use. It is out of its slot meanwhile, so a callback that makes the same call
 * again gets one of its own. */
struct cube_sqlite_query {
	struct cube_sqlite *s;
	sqlite3_stmt *st, **slot;
	const char *step; /* what this is, for messages */
};

static inline struct cube_sqlite *cube_sqlite_of(struct cube_store *s) {
	return (struct cube_sqlite *)s;
}

/* Prepares (or takes from the slot) a statement. For a write, opens sqlite's transaction first if
 * none runs inside begin/commit, and refuses when the transaction has failed. */
int cube_sqlite_read(struct cube_sqlite *s, enum cube_sqlite_stmt which, const char *sql,
		     const char *step, struct cube_sqlite_query *ret, struct cube_err *err);
int cube_sqlite_write(struct cube_sqlite *s, enum cube_sqlite_stmt which, const char *sql,
		      const char *step, struct cube_sqlite_query *ret, struct cube_err *err);
int cube_sqlite_take(struct cube_sqlite *s, sqlite3_stmt **slot, const char *sql, const char *step,
		     struct cube_sqlite_query *ret, struct cube_err *err);

/* 1: a row is there; 0: the end; CUBE_ESYS (the transaction, if any, has failed). */
int cube_sqlite_step(struct cube_sqlite_query *q, struct cube_err *err);
/* For the database's failures and for rows that make no sense: poisons, returns CUBE_ESYS. */
int cube_sqlite_fail(struct cube_sqlite_query *q, struct cube_err *err);
int cube_sqlite_damaged(struct cube_sqlite_query *q, const char *what, int64_t id,
			struct cube_err *err);
void cube_sqlite_release(struct cube_sqlite_query *q);
/* A write without rows: step, then release. */
int cube_sqlite_finish(struct cube_sqlite_query *q, struct cube_err *err);

/* Binding: text is borrowed until the release; NULL is "". */
static inline void cube_sqlite_int(struct cube_sqlite_query *q, int at, uint64_t v) {
	sqlite3_bind_int64(q->st, at, (int64_t)v);
}
static inline void cube_sqlite_text(struct cube_sqlite_query *q, int at, const char *s) {
	sqlite3_bind_text(q->st, at, s ? s : "", -1, SQLITE_STATIC);
}
static inline const char *cube_sqlite_str(struct cube_sqlite_query *q, int col) {
	const char *s = (const char *)sqlite3_column_text(q->st, col);

	return s ? s : "";
}

/* sqlite_tasks.c */
int cube_sqlite_task_put(struct cube_store *s, const struct cube_task_row *row,
			 struct cube_err *err);
int cube_sqlite_task_get(struct cube_store *s, uint64_t id,
			 int (*fn)(void *, const struct cube_task_row *), void *arg,
			 struct cube_err *err);
int cube_sqlite_task_list(struct cube_store *s, const struct cube_task_filter *filter,
			  int (*fn)(void *, const struct cube_task_row *), void *arg,
			  struct cube_err *err);

/* sqlite_rows.c */
int cube_sqlite_meta_put(struct cube_store *s, const char *key, const char *value,
			 struct cube_err *err);
int cube_sqlite_meta_get(struct cube_store *s, const char *key, char **ret, struct cube_err *err);
int cube_sqlite_job_put(struct cube_store *s, const struct cube_job_row *row, struct cube_err *err);
int cube_sqlite_job_get(struct cube_store *s, uint64_t id,
			int (*fn)(void *, const struct cube_job_row *), void *arg,
			struct cube_err *err);
int cube_sqlite_job_find(struct cube_store *s, const char *request,
			 int (*fn)(void *, const struct cube_job_row *), void *arg,
			 struct cube_err *err);
int cube_sqlite_node_put(struct cube_store *s, const struct cube_node_row *row,
			 struct cube_err *err);
int cube_sqlite_node_list(struct cube_store *s, int (*fn)(void *, const struct cube_node_row *),
			  void *arg, struct cube_err *err);
int cube_sqlite_last_ids(struct cube_store *s, uint64_t *ret_job, uint64_t *ret_task,
			 uint32_t *ret_node, struct cube_err *err);
int cube_sqlite_event_add(struct cube_store *s, const struct cube_event_row *row, uint64_t *ret_seq,
			  struct cube_err *err);
int cube_sqlite_event_list(struct cube_store *s, uint64_t after, uint32_t limit,
			   int (*fn)(void *, const struct cube_event_row *), void *arg,
			   struct cube_err *err);

/* sqlite_series.c */
int cube_sqlite_chunk_add(struct cube_store *s, const struct cube_chunk_row *row,
			  struct cube_err *err);
int cube_sqlite_chunk_list(struct cube_store *s, uint64_t task, uint32_t attempt, uint8_t stream,
			   uint64_t offset, int (*fn)(void *, const struct cube_chunk_row *),
			   void *arg, struct cube_err *err);
int cube_sqlite_metric_add(struct cube_store *s, uint32_t node, const struct cube_metric *m,
			   struct cube_err *err);
int cube_sqlite_metric_thin(struct cube_store *s, int64_t now, struct cube_err *err);
int cube_sqlite_metric_list(struct cube_store *s, uint32_t node, int64_t since,
			    int (*fn)(void *, const struct cube_metric *), void *arg,
			    struct cube_err *err);

#endif
