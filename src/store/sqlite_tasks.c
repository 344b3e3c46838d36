#include <inttypes.h>

#include "row_check.h"
#include "cube/buf.h"
#include "cube/task.h"
#include "sqlite.h"

#define COLUMNS                                                                                      \
	"id, job, job_index, node, attempt, state, how, value, pinned, created, started, finished, " \
	"user_us, sys_us, max_rss, out_end, err_end, reason, epoch"

/* ON CONFLICT rather than REPLACE: an index entry that stays the same is not moved. */
int cube_sqlite_task_put(struct cube_store *store, const struct cube_task_row *row,
			 struct cube_err *err) {
	static const char sql[] =
		"INSERT INTO tasks (" COLUMNS ") VALUES "
		"(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19) "
		"ON CONFLICT (id) DO UPDATE SET job=?2, job_index=?3, node=?4, attempt=?5, "
		"state=?6, how=?7, value=?8, pinned=?9, created=?10, started=?11, finished=?12, "
		"user_us=?13, sys_us=?14, max_rss=?15, out_end=?16, err_end=?17, reason=?18, "
		"epoch=?19";
	struct cube_sqlite_query q;
	int r = cube_store_check_task(row, err);

	if (r == 0)
		r = cube_sqlite_write(cube_sqlite_of(store), STMT_TASK_PUT, sql, "writing a task",
				      &q, err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, row->id);
	cube_sqlite_int(&q, 2, row->job);
	cube_sqlite_int(&q, 3, row->index);
	cube_sqlite_int(&q, 4, row->node);
	cube_sqlite_int(&q, 5, row->attempt);
	cube_sqlite_int(&q, 6, row->state);
	cube_sqlite_int(&q, 7, row->how);
	sqlite3_bind_int(q.st, 8, row->value);
	cube_sqlite_int(&q, 9, row->pinned);
	sqlite3_bind_int64(q.st, 10, row->created);
	sqlite3_bind_int64(q.st, 11, row->started);
	sqlite3_bind_int64(q.st, 12, row->finished);
	cube_sqlite_int(&q, 13, row->user_us);
	cube_sqlite_int(&q, 14, row->sys_us);
	cube_sqlite_int(&q, 15, row->max_rss);
	cube_sqlite_int(&q, 16, row->out_end);
	cube_sqlite_int(&q, 17, row->err_end);
	cube_sqlite_text(&q, 18, row->reason);
	cube_sqlite_int(&q, 19, row->epoch);
	return cube_sqlite_finish(&q, err);
}

/* Someone may have edited the file: a state leads to table look-ups, so it is checked. */
static int decode(struct cube_sqlite_query *q, struct cube_task_row *row, struct cube_err *err) {
	sqlite3_stmt *st = q->st;
	int64_t state = sqlite3_column_int64(st, 5), how = sqlite3_column_int64(st, 6);

	*row = (struct cube_task_row){
		.id = (uint64_t)sqlite3_column_int64(st, 0),
		.job = (uint64_t)sqlite3_column_int64(st, 1),
		.index = (uint32_t)sqlite3_column_int64(st, 2),
		.node = (uint32_t)sqlite3_column_int64(st, 3),
		.attempt = (uint32_t)sqlite3_column_int64(st, 4),
		.state = (uint8_t)state,
		.how = (uint8_t)how,
		.value = sqlite3_column_int(st, 7),
		.pinned = sqlite3_column_int(st, 8) != 0,
		.created = sqlite3_column_int64(st, 9),
		.started = sqlite3_column_int64(st, 10),
		.finished = sqlite3_column_int64(st, 11),
		.user_us = (uint64_t)sqlite3_column_int64(st, 12),
		.sys_us = (uint64_t)sqlite3_column_int64(st, 13),
		.max_rss = (uint64_t)sqlite3_column_int64(st, 14),
		.out_end = (uint64_t)sqlite3_column_int64(st, 15),
		.err_end = (uint64_t)sqlite3_column_int64(st, 16),
		.reason = cube_sqlite_str(q, 17),
		.epoch = (uint64_t)sqlite3_column_int64(st, 18),
	};
	if (state < 0 || state >= CUBE_TASK_STATES || how < 0 || how > UINT8_MAX)
		return cube_sqlite_damaged(q, "task", (int64_t)row->id, err);
	return 0;
}

int cube_sqlite_task_get(struct cube_store *store, uint64_t id,
			 int (*fn)(void *, const struct cube_task_row *), void *arg,
			 struct cube_err *err) {
	struct cube_sqlite_query q;
	struct cube_task_row row;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_TASK_GET,
				 "SELECT " COLUMNS " FROM tasks WHERE id = ?1", "reading a task",
				 &q, err);

	if (r < 0) return r;
	cube_sqlite_int(&q, 1, id);
	r = cube_sqlite_step(&q, err);
	if (r == 0) r = cube_fail(err, CUBE_ENOTFOUND, "no task %" PRIu64, id);
	else if (r > 0) r = decode(&q, &row, err);
	if (r == 0) r = fn(arg, &row);
	cube_sqlite_release(&q);
	return r;
}

/* ---- task_list ----------------------------------------------------------------------------- */

enum {
	ALL_STATES = (1 << CUBE_TASK_STATES) - 1,
	BY_JOB = 32,
	BY_NODE = 64,
	BY_NAME = 128,
	NEWEST_FIRST = 256
};
_Static_assert((int)ALL_STATES < BY_JOB, "the states' bits come first in a shape");
_Static_assert(NEWEST_FIRST * 2 == CUBE_SQLITE_SHAPES, "a slot for each shape");
enum { ANY_STATE = 0 };

/* What a filter asks for, without the values; -1 when nothing can match. */
static int shape_of(const struct cube_task_filter *f) {
	int shape = (int)(f->states & ALL_STATES);

	if (f->after > INT64_MAX || (f->states && !shape)) return -1;
	if (shape == ALL_STATES) shape = ANY_STATE;
	if (f->job) shape |= BY_JOB;
	if (f->node) shape |= BY_NODE;
	if (f->name && f->name[0]) shape |= BY_NAME;
	if (f->newest_first) shape |= NEWEST_FIRST;
	return shape;
}

/* One SELECT; state < 0: any. The conditions of the partial indices are spelled out as in the
 * schema, or sqlite would not use them. */
static void add_arm(struct cube_buf *sql, int shape, int state) {
	cube_buf_addstr(sql, "SELECT " COLUMNS " FROM tasks WHERE id > ?1");
	if (shape & BY_JOB) cube_buf_addstr(sql, " AND job = ?2");
	if (shape & BY_NODE) cube_buf_addstr(sql, " AND node = ?3 AND node <> 0");
	if (shape & BY_NAME)
		cube_buf_addstr(sql, " AND job IN (SELECT id FROM jobs WHERE name = ?4)");
	if (state >= 0) cube_buf_printf(sql, " AND state = %d", state);
	if (state >= 0 && state != CUBE_TASK_COMPLETED) cube_buf_addstr(sql, " AND state <> 3");
}

/* An arm for each state: every one comes out of its index in order of id, and sqlite merges them
 * instead of sorting. */
static void build(struct cube_buf *sql, int shape) {
	bool first = true;

	if ((shape & ALL_STATES) == ANY_STATE) add_arm(sql, shape, -1);
	for (int state = 0; state < CUBE_TASK_STATES; state++) {
		if (!(shape & 1 << state)) continue;
		if (!first) cube_buf_addstr(sql, " UNION ALL ");
		add_arm(sql, shape, state);
		first = false;
	}
	cube_buf_printf(sql, " ORDER BY id%s LIMIT ?5", shape & NEWEST_FIRST ? " DESC" : "");
}

static int open_list(struct cube_sqlite *s, int shape, struct cube_sqlite_query *ret,
		     struct cube_err *err) {
	struct cube_buf sql;
	int r;

	cube_buf_init(&sql, 4096);
	if (!s->lists[shape]) build(&sql, shape);
	r = cube_sqlite_take(s, &s->lists[shape], cube_buf_str(&sql), "listing tasks", ret, err);
	cube_buf_done(&sql);
	return r;
}

int cube_sqlite_task_list(struct cube_store *store, const struct cube_task_filter *f,
			  int (*fn)(void *, const struct cube_task_row *), void *arg,
			  struct cube_err *err) {
	struct cube_sqlite_query q;
	struct cube_task_row row;
	int r, shape = shape_of(f);

	if (shape < 0) return 0;
	r = open_list(cube_sqlite_of(store), shape, &q, err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, f->after);
	if (shape & BY_JOB) cube_sqlite_int(&q, 2, f->job);
	if (shape & BY_NODE) cube_sqlite_int(&q, 3, f->node);
	if (shape & BY_NAME) cube_sqlite_text(&q, 4, f->name);
	sqlite3_bind_int64(q.st, 5, f->limit ? (int64_t)f->limit : -1);
	while ((r = cube_sqlite_step(&q, err)) > 0) {
		r = decode(&q, &row, err);
		if (r == 0) r = fn(arg, &row);
		if (r != 0) break;
	}
	cube_sqlite_release(&q);
	return r;
}
