#include <stddef.h>

#include "check.h"
#include "sqlite.h"

/* ---- log chunks ---------------------------------------------------------------------------- */

static void bind_stream(struct cube_sqlite_query *q, uint64_t task, uint32_t attempt,
			uint8_t stream) {
	cube_sqlite_int(q, 1, task);
	cube_sqlite_int(q, 2, attempt);
	cube_sqlite_int(q, 3, stream);
}

/* 1 and the stream's chunk with the highest offset, or 0. One descent of the primary key. */
static int chunk_newest(struct cube_sqlite *s, const struct cube_chunk_row *of,
			struct cube_chunk_row *ret, struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_read(s, STMT_CHUNK_NEWEST,
				 "SELECT offset, len, segment, pos FROM log_chunks WHERE task = ?1 "
				 "AND attempt = ?2 AND stream = ?3 ORDER BY offset DESC LIMIT 1",
				 "finding the newest log chunk", &q, err);

	if (r < 0) return r;
	bind_stream(&q, of->task, of->attempt, of->stream);
	r = cube_sqlite_step(&q, err);
	if (r > 0) {
		*ret = (struct cube_chunk_row){
			.offset = (uint64_t)sqlite3_column_int64(q.st, 0),
			.len = (uint64_t)sqlite3_column_int64(q.st, 1),
			.segment = (uint32_t)sqlite3_column_int64(q.st, 2),
			.pos = (uint64_t)sqlite3_column_int64(q.st, 3),
		};
	}
	cube_sqlite_release(&q);
	return r;
}

static int chunk_grow(struct cube_sqlite *s, const struct cube_chunk_row *row, uint64_t offset,
		      struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_write(s, STMT_CHUNK_GROW,
				  "UPDATE log_chunks SET len = len + ?5 WHERE task = ?1 "
				  "AND attempt = ?2 AND stream = ?3 AND offset = ?4",
				  "growing a log chunk", &q, err);

	if (r < 0) return r;
	bind_stream(&q, row->task, row->attempt, row->stream);
	cube_sqlite_int(&q, 4, offset);
	cube_sqlite_int(&q, 5, row->len);
	return cube_sqlite_finish(&q, err);
}

int cube_sqlite_chunk_add(struct cube_store *store, const struct cube_chunk_row *row,
			  struct cube_err *err) {
	struct cube_sqlite *s = cube_sqlite_of(store);
	struct cube_sqlite_query q;
	struct cube_chunk_row newest;
	bool merge = false;
	int r = cube_store_check_chunk(row, err);

	if (r < 0 || row->len == 0) return r;
	r = chunk_newest(s, row, &newest, err);
	if (r > 0) r = cube_store_chunk_follows(&newest, row, &merge, err);
	if (r < 0) return r;
	if (merge) return chunk_grow(s, row, newest.offset, err);
	r = cube_sqlite_write(s, STMT_CHUNK_ADD,
			      "INSERT INTO log_chunks (task, attempt, stream, offset, len, "
			      "segment, pos, wall) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			      "writing a log chunk", &q, err);
	if (r < 0) return r;
	bind_stream(&q, row->task, row->attempt, row->stream);
	cube_sqlite_int(&q, 4, row->offset);
	cube_sqlite_int(&q, 5, row->len);
	cube_sqlite_int(&q, 6, row->segment);
	cube_sqlite_int(&q, 7, row->pos);
	sqlite3_bind_int64(q.st, 8, row->wall);
	return cube_sqlite_finish(&q, err);
}

int cube_sqlite_chunk_list(struct cube_store *store, uint64_t task, uint32_t attempt,
			   uint8_t stream, uint64_t offset,
			   int (*fn)(void *, const struct cube_chunk_row *), void *arg,
			   struct cube_err *err) {
	/* Start at the last chunk that begins at or before the offset; it may end before it. */
	static const char sql[] =
		"SELECT offset, len, segment, pos, wall FROM log_chunks "
		"WHERE task = ?1 AND attempt = ?2 AND stream = ?3 AND offset + len > ?4 "
		"AND offset >= ifnull((SELECT max(offset) FROM log_chunks WHERE task = ?1 "
		"AND attempt = ?2 AND stream = ?3 AND offset <= ?4), 0) ORDER BY offset";
	struct cube_sqlite_query q;
	int r;

	if (offset > INT64_MAX || task > INT64_MAX) return 0;
	r = cube_sqlite_read(cube_sqlite_of(store), STMT_CHUNK_LIST, sql, "listing log chunks", &q,
			     err);
	if (r < 0) return r;
	bind_stream(&q, task, attempt, stream);
	cube_sqlite_int(&q, 4, offset);
	while ((r = cube_sqlite_step(&q, err)) > 0) {
		struct cube_chunk_row row = {
			.task = task,
			.attempt = attempt,
			.stream = stream,
			.offset = (uint64_t)sqlite3_column_int64(q.st, 0),
			.len = (uint64_t)sqlite3_column_int64(q.st, 1),
			.segment = (uint32_t)sqlite3_column_int64(q.st, 2),
			.pos = (uint64_t)sqlite3_column_int64(q.st, 3),
			.wall = sqlite3_column_int64(q.st, 4),
		};
		r = fn(arg, &row);
		if (r != 0) break;
	}
	cube_sqlite_release(&q);
	return r;
}

/* ---- metrics ------------------------------------------------------------------------------- */

/* The columns behind (node, wall), in the table's order. */
#define FIGURES(X)                                                                                 \
	X(cpu_user) X(cpu_system) X(cpu_iowait) X(cpu_steal) X(cpu_idle) X(load1) X(load5)         \
	X(load15) X(mem_total) X(mem_available) X(swap_total) X(swap_free) X(disk_total)           \
	X(disk_free) X(disk_read) X(disk_written) X(net_received) X(net_sent) X(running)           \
	X(psi_cpu) X(psi_mem) X(psi_io) X(uptime_s)

static const struct figure {
	uint8_t offset, size;
	bool optional;
} figures[] = {
#define X(f) {offsetof(struct cube_metric, f), sizeof((struct cube_metric *)0)->f,                 \
	      sizeof #f > 4 && #f[0] == 'p' && #f[1] == 's' && #f[2] == 'i'},
	FIGURES(X)
#undef X
};
enum { FIGURE_COUNT = sizeof figures / sizeof figures[0] };
