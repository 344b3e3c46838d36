/* The manager's durable state: an interface with two implementations, memory and sqlite.
 *
 * All writes between begin and commit become durable together; the manager commits once a loop
 * turn, before the replies of that turn go out. Reads see writes of the open transaction. Log
 * bytes themselves lie in segment files (work/logs.c); here is only their index.
 *
 * Strings in rows handed to put are borrowed for the call; in rows handed to a list callback they
 * live until it returns. A callback returning non-zero ends the listing, which returns that. It may
 * call the store again, also to write; how much of that the listing under way shows is open.
 *
 * Failures: CUBE_ESYS with the database's text (full disk, corrupt file); after one in a
 * transaction, commit fails too and nothing of it is kept. A refused argument (CUBE_EUSAGE: no id,
 * an unknown state; CUBE_ETOOBIG: an id or a position over 2^63; CUBE_ECONFLICT: log bytes that are
 * there already) changes nothing and does the transaction no harm. begin inside a transaction and
 * commit without one are CUBE_EINTERNAL; a write outside of one is durable on its own.
 */
#ifndef CUBE_STORE_H
#define CUBE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cube/err.h"
#include "cube/metric.h"

struct cube_store;

struct cube_job_row { /* what was asked for with one request: one spec, one or more tasks */
	uint64_t id;
	int64_t created;  /* wall ns, as all times here */
	const char *name; /* "" when none */
	const char *spec; /* JSON, as in API.md */
	uint32_t tasks;
	uint64_t stop;       /* asked to end: 1 + the grace in ms; 0: not */
	const char *request; /* the client's name for the request, of one job only; "" for none */
};

struct cube_task_row {
	uint64_t id, job;
	uint32_t index;                     /* in its job, from 0 */
	uint32_t node;                      /* where it was placed, or must go; 0: anywhere */
	uint32_t attempt;                   /* 0: none yet */
	uint64_t epoch;                     /* of its START, as in PROTOCOL.md; 0: none */
	uint8_t state;                      /* enum cube_task_state */
	uint8_t how;                        /* enum cube_exit_how; meaningful when final */
	int32_t value;                      /* exit code, signal or errno, by how */
	bool pinned;                        /* must run on .node */
	int64_t created, started, finished; /* 0: not yet */
	uint64_t user_us, sys_us, max_rss;
	uint64_t out_end, err_end; /* bytes of output committed */
	const char *reason;        /* "" or why it failed, for a person */
};

struct cube_node_row {
	uint32_t id;
	uint8_t state;                                      /* enum cube_node_state */
	const char *name, *host, *user, *identity, *labels; /* "" for none */
	uint16_t port;
	bool local, auto_slots;
	uint32_t slots;
	const char *reason;  /* why failed or lost */
	const char *facts;   /* JSON: hostname, kernel, arch, cpus, memory; "" while unknown */
	int64_t added, seen; /* seen: last contact */
};

struct cube_event_row {
	uint64_t seq; /* put: 0, the store numbers it */
	int64_t wall;
	uint64_t task;    /* 0: none */
	uint32_t node;    /* 0: none */
	const char *kind; /* "task" or "node" */
	const char *old_state, *new_state, *reason;
};

struct cube_chunk_row { /* a run of one stream's bytes inside a segment file */
	uint64_t task;
	uint32_t attempt;
	uint8_t stream;
	uint64_t offset; /* of the stream */
	uint64_t len;
	uint32_t segment;
	uint64_t pos; /* in the segment */
	int64_t wall; /* when its first byte arrived */
};

#define CUBE_CHUNK_SPAN_NS 100000000ll

struct cube_task_filter { /* zero: everything */
	uint64_t job;
	uint64_t after; /* ids greater than this */
	uint32_t limit; /* 0: no limit */
	uint32_t node;
	uint32_t states;  /* bit mask of 1 << state; 0: any */
	const char *name; /* job's name; NULL or "": any */
	bool newest_first;
};

struct cube_store_ops {
	const char *name;
	void (*free)(struct cube_store *s);
	int (*begin)(struct cube_store *s, struct cube_err *err);
	int (*commit)(struct cube_store *s, struct cube_err *err);

	/* Small named values: cluster id, schema facts. get: CUBE_ENOTFOUND; value malloc'd. The
	 * key "metrics_thinned" is the store's own. */
	int (*meta_put)(struct cube_store *s, const char *key, const char *value,
			struct cube_err *err);
	int (*meta_get)(struct cube_store *s, const char *key, char **ret, struct cube_err *err);

	/* put inserts or replaces the row of that id. last gives the highest id in use, 0 if none.
	 * Two jobs of one request: CUBE_ECONFLICT; find gives the one that a request has. */
	int (*job_put)(struct cube_store *s, const struct cube_job_row *row, struct cube_err *err);
	int (*job_get)(struct cube_store *s, uint64_t id,
		       int (*fn)(void *, const struct cube_job_row *), void *arg,
		       struct cube_err *err); /* CUBE_ENOTFOUND */
	int (*job_find)(struct cube_store *s, const char *request,
			int (*fn)(void *, const struct cube_job_row *), void *arg,
			struct cube_err *err); /* CUBE_ENOTFOUND */
	int (*task_put)(struct cube_store *s, const struct cube_task_row *row,
			struct cube_err *err);
	int (*task_get)(struct cube_store *s, uint64_t id,
			int (*fn)(void *, const struct cube_task_row *), void *arg,
			struct cube_err *err); /* CUBE_ENOTFOUND */
	int (*task_list)(struct cube_store *s, const struct cube_task_filter *filter,
			 int (*fn)(void *, const struct cube_task_row *), void *arg,
			 struct cube_err *err);
	int (*node_put)(struct cube_store *s, const struct cube_node_row *row,
			struct cube_err *err);
	int (*node_list)(struct cube_store *s, int (*fn)(void *, const struct cube_node_row *),
			 void *arg, struct cube_err *err); /* by id */
	int (*last_ids)(struct cube_store *s, uint64_t *ret_job, uint64_t *ret_task,
			uint32_t *ret_node, struct cube_err *err);

	int (*event_add)(struct cube_store *s, const struct cube_event_row *row, uint64_t *ret_seq,
			 struct cube_err *err);
	int (*event_list)(struct cube_store *s, uint64_t after, uint32_t limit,
			  int (*fn)(void *, const struct cube_event_row *), void *arg,
			  struct cube_err *err);

	/* A chunk that continues the stream's newest one (same segment, pos and offset adjoining)
	 * is merged into it; an empty one is dropped. list: of one stream, from the chunk that
	 * holds `offset` on. */
	int (*chunk_add)(struct cube_store *s, const struct cube_chunk_row *row,
			 struct cube_err *err);
	int (*chunk_list)(struct cube_store *s, uint64_t task, uint32_t attempt, uint8_t stream,
			  uint64_t offset, int (*fn)(void *, const struct cube_chunk_row *),
			  void *arg, struct cube_err *err);

	/* Samples each second for an hour, then one a minute (the minute's last). thin drops what
	 * the rule no longer keeps; call it each minute. list: wall > since, rising. */
	int (*metric_add)(struct cube_store *s, uint32_t node, const struct cube_metric *m,
			  struct cube_err *err);
	int (*metric_thin)(struct cube_store *s, int64_t now, struct cube_err *err);
	int (*metric_list)(struct cube_store *s, uint32_t node, int64_t since,
			   int (*fn)(void *, const struct cube_metric *), void *arg,
			   struct cube_err *err);
};

struct cube_store {
	const struct cube_store_ops *ops;
};

int cube_store_memory(struct cube_store **ret, struct cube_err *err);
/* Opens or makes the database file (mode 0600): WAL, synchronous=NORMAL, schema version checked:
 * a newer schema is refused with CUBE_EVERSION, an older one is brought up to date; another
 * program's database with CUBE_ECONFLICT. The process must ignore SIGXFSZ. */
int cube_store_sqlite(const char *path, struct cube_store **ret, struct cube_err *err);
static inline void cube_store_free(struct cube_store *s) {
	if (s) s->ops->free(s);
}

#endif
