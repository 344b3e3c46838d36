#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "row_check.h"
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
	int r = cube_sqlite_read(
		s, STMT_CHUNK_NEWEST,
		"SELECT offset, len, segment, pos, wall FROM log_chunks WHERE task = ?1 "
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
			.wall = sqlite3_column_int64(q.st, 4),
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

/* The columns behind (node, wall), in the table's order: X for plain figures, O for those that are
 * NULL where the kernel has none (CUBE_METRIC_NONE). */
/* clang-format off */
#define FIGURES(X, O) \
	X(cpu_user) X(cpu_system) X(cpu_iowait) X(cpu_steal) X(cpu_idle) X(load1) X(load5) \
	X(load15) X(mem_total) X(mem_available) X(swap_total) X(swap_free) X(disk_total) \
	X(disk_free) X(disk_read) X(disk_written) X(net_received) X(net_sent) X(running) \
	O(psi_cpu) O(psi_mem) O(psi_io) X(uptime_s)
/* clang-format on */
#define NAME(f)     ", " #f
#define MARK(f)     ", ?"
#define PLAIN(f)    {offsetof(struct cube_metric, f), sizeof(((struct cube_metric *)0)->f), false},
#define OPTIONAL(f) {offsetof(struct cube_metric, f), sizeof(((struct cube_metric *)0)->f), true},

static const struct figure {
	uint16_t offset, size;
	bool optional;
} figures[] = {FIGURES(PLAIN, OPTIONAL)};
enum { FIGURE_COUNT = sizeof figures / sizeof figures[0] };

static uint64_t figure_get(const struct figure *f, const struct cube_metric *m) {
	uint64_t wide;
	uint32_t narrow;

	if (f->size == sizeof wide) {
		memcpy(&wide, (const char *)m + f->offset, sizeof wide);
		return wide;
	}
	memcpy(&narrow, (const char *)m + f->offset, sizeof narrow);
	return narrow;
}

static void figure_set(const struct figure *f, struct cube_metric *m, uint64_t v) {
	uint32_t narrow = (uint32_t)v;

	if (f->size == sizeof v) memcpy((char *)m + f->offset, &v, sizeof v);
	else memcpy((char *)m + f->offset, &narrow, sizeof narrow);
}

/* How far thinning has come is kept in meta, written in the transaction that did it, so that a
 * new manager need not look at months of metrics again. */
static const char thinned_key[] = "metrics_thinned";

static int thinned_load(struct cube_sqlite *s, struct cube_err *err) {
	struct cube_err why = {0};
	char *text = NULL;
	int r;

	if (s->thinned >= 0) return 0;
	r = cube_sqlite_meta_get(&s->base, thinned_key, &text, &why);
	if (r < 0 && r != CUBE_ENOTFOUND) {
		if (err) *err = why;
		return r;
	}
	s->thinned = text ? strtoll(text, NULL, 10) : 0;
	if (s->thinned < 0) s->thinned = 0;
	free(text);
	return 0;
}

static int thinned_save(struct cube_sqlite *s, int64_t wall, struct cube_err *err) {
	char text[32];
	int r;

	wall -= wall % CUBE_STORE_MINUTE;
	if (wall == s->thinned) return 0;
	snprintf(text, sizeof text, "%" PRId64, wall);
	r = cube_sqlite_meta_put(&s->base, thinned_key, text, err);
	if (r == 0) s->thinned = wall;
	return r;
}

int cube_sqlite_metric_add(struct cube_store *store, uint32_t node, const struct cube_metric *m,
			   struct cube_err *err) {
	static const char sql[] = "INSERT OR REPLACE INTO metrics (node, wall" FIGURES(
		NAME, NAME) ") VALUES (?1, ?2" FIGURES(MARK, MARK) ")";
	struct cube_sqlite *s = cube_sqlite_of(store);
	struct cube_sqlite_query q;
	int r = cube_store_check_metric(m, err);

	if (r == 0) r = thinned_load(s, err);
	/* A sample that comes late makes its minute one to look at again. */
	if (r == 0 && m->wall < s->thinned) r = thinned_save(s, m->wall, err);
	if (r == 0) r = cube_sqlite_write(s, STMT_METRIC_ADD, sql, "writing metrics", &q, err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, node);
	sqlite3_bind_int64(q.st, 2, m->wall);
	for (int i = 0; i < FIGURE_COUNT; i++) {
		uint64_t v = figure_get(&figures[i], m);
		if (figures[i].optional && v == CUBE_METRIC_NONE) sqlite3_bind_null(q.st, i + 3);
		else cube_sqlite_int(&q, i + 3, v);
	}
	return cube_sqlite_finish(&q, err);
}

/* 1 and the first node with an id of at least `from`, or 0. */
static int metric_node(struct cube_sqlite *s, int64_t from, int64_t *ret, struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_read(s, STMT_METRIC_NODE,
				 "SELECT node FROM metrics WHERE node >= ?1 ORDER BY node LIMIT 1",
				 "finding nodes with metrics", &q, err);

	if (r < 0) return r;
	sqlite3_bind_int64(q.st, 1, from);
	r = cube_sqlite_step(&q, err);
	if (r > 0) *ret = sqlite3_column_int64(q.st, 0);
	cube_sqlite_release(&q);
	return r;
}

static int thin_node(struct cube_sqlite *s, int64_t node, int64_t before, struct cube_err *err) {
	static const char sql[] =
		"DELETE FROM metrics WHERE node = ?1 AND wall >= ?2 AND wall < ?3 "
		"AND EXISTS (SELECT 1 FROM metrics AS later WHERE later.node = ?1 "
		"AND later.wall > metrics.wall AND later.wall < metrics.wall + 60000000000 "
		"AND later.wall / 60000000000 = metrics.wall / 60000000000)";
	struct cube_sqlite_query q;
	int r = cube_sqlite_write(s, STMT_METRIC_THIN, sql, "thinning metrics", &q, err);

	if (r < 0) return r;
	sqlite3_bind_int64(q.st, 1, node);
	sqlite3_bind_int64(q.st, 2, s->thinned);
	sqlite3_bind_int64(q.st, 3, before);
	return cube_sqlite_finish(&q, err);
}

/* Node by node, since (node, wall) is the key; and only what got old since the last time. */
int cube_sqlite_metric_thin(struct cube_store *store, int64_t now, struct cube_err *err) {
	struct cube_sqlite *s = cube_sqlite_of(store);
	int64_t before, node = 0;
	int r = thinned_load(s, err);

	if (r < 0) return r;
	if (now < CUBE_STORE_HOUR) return 0;
	before = now - CUBE_STORE_HOUR;
	if (before <= s->thinned) return 0;
	while ((r = metric_node(s, node, &node, err)) > 0) {
		r = thin_node(s, node, before, err);
		if (r < 0) return r;
		node++;
	}
	return r < 0 ? r : thinned_save(s, before, err);
}

int cube_sqlite_metric_list(struct cube_store *store, uint32_t node, int64_t since,
			    int (*fn)(void *, const struct cube_metric *), void *arg,
			    struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_METRIC_LIST,
				 "SELECT wall" FIGURES(NAME, NAME) " FROM metrics WHERE node = ?1 "
								   "AND wall > ?2 ORDER BY wall",
				 "listing metrics", &q, err);

	if (r < 0) return r;
	cube_sqlite_int(&q, 1, node);
	sqlite3_bind_int64(q.st, 2, since);
	while ((r = cube_sqlite_step(&q, err)) > 0) {
		struct cube_metric m = {.wall = sqlite3_column_int64(q.st, 0)};
		for (int i = 0; i < FIGURE_COUNT; i++) {
			bool none = sqlite3_column_type(q.st, i + 1) == SQLITE_NULL;
			figure_set(&figures[i], &m,
				   none ? CUBE_METRIC_NONE
					: (uint64_t)sqlite3_column_int64(q.st, i + 1));
		}
		r = fn(arg, &m);
		if (r != 0) break;
	}
	cube_sqlite_release(&q);
	return r;
}
