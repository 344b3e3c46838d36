#include <inttypes.h>

#include "row_check.h"
#include "cube/mem.h"
#include "cube/node.h"
#include "sqlite.h"

int cube_sqlite_meta_put(struct cube_store *store, const char *key, const char *value,
			 struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_write(cube_sqlite_of(store), STMT_META_PUT,
				  "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
				  "writing meta", &q, err);

	if (r < 0) return r;
	cube_sqlite_text(&q, 1, key);
	cube_sqlite_text(&q, 2, value);
	return cube_sqlite_finish(&q, err);
}

int cube_sqlite_meta_get(struct cube_store *store, const char *key, char **ret,
			 struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_META_GET,
				 "SELECT value FROM meta WHERE key = ?1", "reading meta", &q, err);

	if (r < 0) return r;
	cube_sqlite_text(&q, 1, key);
	r = cube_sqlite_step(&q, err);
	if (r > 0) {
		*ret = cube_strdup(cube_sqlite_str(&q, 0));
		r = 0;
	} else if (r == 0) {
		r = cube_fail(err, CUBE_ENOTFOUND, "store: nothing is named %s", key);
	}
	cube_sqlite_release(&q);
	return r;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

#define JOB_COLUMNS "id, created, name, spec, tasks, request, stop"

int cube_sqlite_job_put(struct cube_store *store, const struct cube_job_row *row,
			struct cube_err *err) {
	static const char sql[] =
		"INSERT INTO jobs (" JOB_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
		"ON CONFLICT (id) DO UPDATE SET created=?2, name=?3, spec=?4, tasks=?5, request=?6, stop=?7";
	struct cube_sqlite_query q;
	int r = cube_store_check_job(store, row, err);

	if (r == 0)
		r = cube_sqlite_write(cube_sqlite_of(store), STMT_JOB_PUT, sql, "writing a job", &q,
				      err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, row->id);
	sqlite3_bind_int64(q.st, 2, row->created);
	cube_sqlite_text(&q, 3, row->name);
	cube_sqlite_text(&q, 4, row->spec);
	cube_sqlite_int(&q, 5, row->tasks);
	cube_sqlite_text(&q, 6, row->request);
	cube_sqlite_int(&q, 7, row->stop);
	return cube_sqlite_finish(&q, err);
}

/* 1: fn was called, and *ret is what it returned; 0: there is no such row. Releases q. */
static int give_job(struct cube_sqlite_query *q, int (*fn)(void *, const struct cube_job_row *),
		    void *arg, int *ret, struct cube_err *err) {
	int r = cube_sqlite_step(q, err);

	if (r > 0) {
		struct cube_job_row row = {
			.id = (uint64_t)sqlite3_column_int64(q->st, 0),
			.created = sqlite3_column_int64(q->st, 1),
			.name = cube_sqlite_str(q, 2),
			.spec = cube_sqlite_str(q, 3),
			.tasks = (uint32_t)sqlite3_column_int64(q->st, 4),
			.request = cube_sqlite_str(q, 5),
			.stop = (uint64_t)sqlite3_column_int64(q->st, 6),
		};
		*ret = fn(arg, &row);
	}
	cube_sqlite_release(q);
	return r;
}

int cube_sqlite_job_get(struct cube_store *store, uint64_t id,
			int (*fn)(void *, const struct cube_job_row *), void *arg,
			struct cube_err *err) {
	struct cube_sqlite_query q;
	int said = 0;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_JOB_GET,
				 "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1", "reading a job",
				 &q, err);

	if (r < 0) return r;
	cube_sqlite_int(&q, 1, id);
	r = give_job(&q, fn, arg, &said, err);
	return r ? (r < 0 ? r : said) : cube_fail(err, CUBE_ENOTFOUND, "no job %" PRIu64, id);
}

int cube_sqlite_job_find(struct cube_store *store, const char *request,
			 int (*fn)(void *, const struct cube_job_row *), void *arg,
			 struct cube_err *err) {
	struct cube_sqlite_query q;
	int said = 0;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_JOB_FIND,
				 "SELECT " JOB_COLUMNS
				 " FROM jobs WHERE request = ?1 AND request <> ''",
				 "looking for a request", &q, err);

	if (r < 0) return r;
	cube_sqlite_text(&q, 1, request);
	r = give_job(&q, fn, arg, &said, err);
	return r ? (r < 0 ? r : said)
		 : cube_fail(err, CUBE_ENOTFOUND, "no job of request %.80s", request);
}

/* ---- nodes --------------------------------------------------------------------------------- */

int cube_sqlite_node_put(struct cube_store *store, const struct cube_node_row *row,
			 struct cube_err *err) {
	static const char sql[] =
		"INSERT OR REPLACE INTO nodes (id, state, name, host, user, identity, labels, "
		"port, local, auto_slots, slots, reason, facts, added, seen) "
		"VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)";
	struct cube_sqlite_query q;
	int r = cube_store_check_node(row, err);

	if (r == 0)
		r = cube_sqlite_write(cube_sqlite_of(store), STMT_NODE_PUT, sql, "writing a node",
				      &q, err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, row->id);
	cube_sqlite_int(&q, 2, row->state);
	cube_sqlite_text(&q, 3, row->name);
	cube_sqlite_text(&q, 4, row->host);
	cube_sqlite_text(&q, 5, row->user);
	cube_sqlite_text(&q, 6, row->identity);
	cube_sqlite_text(&q, 7, row->labels);
	cube_sqlite_int(&q, 8, row->port);
	cube_sqlite_int(&q, 9, row->local);
	cube_sqlite_int(&q, 10, row->auto_slots);
	cube_sqlite_int(&q, 11, row->slots);
	cube_sqlite_text(&q, 12, row->reason);
	cube_sqlite_text(&q, 13, row->facts);
	sqlite3_bind_int64(q.st, 14, row->added);
	sqlite3_bind_int64(q.st, 15, row->seen);
	return cube_sqlite_finish(&q, err);
}

static int decode_node(struct cube_sqlite_query *q, struct cube_node_row *row,
		       struct cube_err *err) {
	sqlite3_stmt *st = q->st;
	int64_t id = sqlite3_column_int64(st, 0), state = sqlite3_column_int64(st, 1);

	if (id <= 0 || id > UINT32_MAX || state < 0 || state >= CUBE_NODE_STATES)
		return cube_sqlite_damaged(q, "node", id, err);
	*row = (struct cube_node_row){
		.id = (uint32_t)id,
		.state = (uint8_t)state,
		.name = cube_sqlite_str(q, 2),
		.host = cube_sqlite_str(q, 3),
		.user = cube_sqlite_str(q, 4),
		.identity = cube_sqlite_str(q, 5),
		.labels = cube_sqlite_str(q, 6),
		.port = (uint16_t)sqlite3_column_int(st, 7),
		.local = sqlite3_column_int(st, 8) != 0,
		.auto_slots = sqlite3_column_int(st, 9) != 0,
		.slots = (uint32_t)sqlite3_column_int64(st, 10),
		.reason = cube_sqlite_str(q, 11),
		.facts = cube_sqlite_str(q, 12),
		.added = sqlite3_column_int64(st, 13),
		.seen = sqlite3_column_int64(st, 14),
	};
	return 0;
}

int cube_sqlite_node_list(struct cube_store *store, int (*fn)(void *, const struct cube_node_row *),
			  void *arg, struct cube_err *err) {
	struct cube_sqlite_query q;
	struct cube_node_row row;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_NODE_LIST,
				 "SELECT id, state, name, host, user, identity, labels, port, "
				 "local, auto_slots, slots, reason, facts, added, seen "
				 "FROM nodes ORDER BY id",
				 "listing nodes", &q, err);

	if (r < 0) return r;
	while ((r = cube_sqlite_step(&q, err)) > 0) {
		r = decode_node(&q, &row, err);
		if (r == 0) r = fn(arg, &row);
		if (r != 0) break;
	}
	cube_sqlite_release(&q);
	return r;
}

int cube_sqlite_last_ids(struct cube_store *store, uint64_t *ret_job, uint64_t *ret_task,
			 uint32_t *ret_node, struct cube_err *err) {
	struct cube_sqlite_query q;
	int r = cube_sqlite_read(cube_sqlite_of(store), STMT_LAST_IDS,
				 "SELECT (SELECT max(id) FROM jobs), (SELECT max(id) FROM tasks), "
				 "(SELECT max(id) FROM nodes)",
				 "reading the last ids", &q, err);

	if (r < 0) return r;
	r = cube_sqlite_step(&q, err);
	if (r > 0) {
		*ret_job = (uint64_t)sqlite3_column_int64(q.st, 0);
		*ret_task = (uint64_t)sqlite3_column_int64(q.st, 1);
		*ret_node = (uint32_t)sqlite3_column_int64(q.st, 2);
		r = 0;
	}
	cube_sqlite_release(&q);
	return r;
}

/* ---- events -------------------------------------------------------------------------------- */

int cube_sqlite_event_add(struct cube_store *store, const struct cube_event_row *row,
			  uint64_t *ret_seq, struct cube_err *err) {
	static const char sql[] =
		"INSERT INTO events (wall, task, node, kind, old_state, new_state, reason) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	struct cube_sqlite *s = cube_sqlite_of(store);
	struct cube_sqlite_query q;
	int r = cube_sqlite_write(s, STMT_EVENT_ADD, sql, "writing an event", &q, err);

	if (r < 0) return r;
	sqlite3_bind_int64(q.st, 1, row->wall);
	cube_sqlite_int(&q, 2, row->task);
	cube_sqlite_int(&q, 3, row->node);
	cube_sqlite_text(&q, 4, row->kind);
	cube_sqlite_text(&q, 5, row->old_state);
	cube_sqlite_text(&q, 6, row->new_state);
	cube_sqlite_text(&q, 7, row->reason);
	r = cube_sqlite_finish(&q, err);
	if (r == 0 && ret_seq) *ret_seq = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

int cube_sqlite_event_list(struct cube_store *store, uint64_t after, uint32_t limit,
			   int (*fn)(void *, const struct cube_event_row *), void *arg,
			   struct cube_err *err) {
	struct cube_sqlite_query q;
	int r;

	if (after > INT64_MAX) return 0;
	r = cube_sqlite_read(cube_sqlite_of(store), STMT_EVENT_LIST,
			     "SELECT seq, wall, task, node, kind, old_state, new_state, reason "
			     "FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
			     "listing events", &q, err);
	if (r < 0) return r;
	cube_sqlite_int(&q, 1, after);
	sqlite3_bind_int64(q.st, 2, limit ? (int64_t)limit : -1);
	while ((r = cube_sqlite_step(&q, err)) > 0) {
		struct cube_event_row row = {
			.seq = (uint64_t)sqlite3_column_int64(q.st, 0),
			.wall = sqlite3_column_int64(q.st, 1),
			.task = (uint64_t)sqlite3_column_int64(q.st, 2),
			.node = (uint32_t)sqlite3_column_int64(q.st, 3),
			.kind = cube_sqlite_str(&q, 4),
			.old_state = cube_sqlite_str(&q, 5),
			.new_state = cube_sqlite_str(&q, 6),
			.reason = cube_sqlite_str(&q, 7),
		};
		r = fn(arg, &row);
		if (r != 0) break;
	}
	cube_sqlite_release(&q);
	return r;
}
