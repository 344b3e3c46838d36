#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "row_check.h"
#include "cube/mem.h"
#include "schema.h"
#include "sqlite.h"

enum { FILE_SHOWN = 100 }; /* bytes of the path in messages: the sentence must have room too */

/* ---- statements ---------------------------------------------------------------------------- */

int cube_sqlite_fail(struct cube_sqlite_query *q, struct cube_err *err) {
	struct cube_sqlite *s = q->s;
	struct cube_err why = {0};

	cube_schema_fail(s->db, s->file, q->step, &why);
	if (s->open && !s->failed) {
		s->failed = true;
		s->why = why;
	}
	if (err) *err = why;
	return CUBE_ESYS;
}

int cube_sqlite_damaged(struct cube_sqlite_query *q, const char *what, int64_t id,
			struct cube_err *err) {
	struct cube_sqlite *s = q->s;
	struct cube_err why = {0};

	cube_fail(&why, CUBE_ESYS, "%s: %s: %s %lld has values that cube never writes", s->file,
		  q->step, what, (long long)id);
	if (s->open && !s->failed) {
		s->failed = true;
		s->why = why;
	}
	if (err) *err = why;
	return CUBE_ESYS;
}

int cube_sqlite_take(struct cube_sqlite *s, sqlite3_stmt **slot, const char *sql, const char *step,
		     struct cube_sqlite_query *ret, struct cube_err *err) {
	*ret = (struct cube_sqlite_query){.s = s, .st = *slot, .slot = slot, .step = step};
	*slot = NULL;
	if (ret->st) return 0;
	if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &ret->st, NULL) ==
	    SQLITE_OK)
		return 0;
	return cube_sqlite_fail(ret, err);
}

int cube_sqlite_read(struct cube_sqlite *s, enum cube_sqlite_stmt which, const char *sql,
		     const char *step, struct cube_sqlite_query *ret, struct cube_err *err) {
	return cube_sqlite_take(s, &s->cached[which], sql, step, ret, err);
}

void cube_sqlite_release(struct cube_sqlite_query *q) {
	if (!q->st) return;
	sqlite3_reset(q->st);
	sqlite3_clear_bindings(q->st);
	if (*q->slot) sqlite3_finalize(q->st);
	else *q->slot = q->st;
	q->st = NULL;
}

int cube_sqlite_step(struct cube_sqlite_query *q, struct cube_err *err) {
	int r = sqlite3_step(q->st);

	if (r == SQLITE_ROW) return 1;
	return r == SQLITE_DONE ? 0 : cube_sqlite_fail(q, err);
}

int cube_sqlite_finish(struct cube_sqlite_query *q, struct cube_err *err) {
	int r = cube_sqlite_step(q, err);

	cube_sqlite_release(q);
	return r < 0 ? r : 0;
}

/* ---- transactions -------------------------------------------------------------------------- */

/* sqlite's transaction starts with the first write: a loop turn that writes nothing costs
 * nothing. IMMEDIATE, so that a lock held by another is met here and not half way. */
static int start(struct cube_sqlite *s, struct cube_err *err) {
	struct cube_sqlite_query q;
	int r;

	if (!s->open || s->begun) return 0;
	r = cube_sqlite_read(s, STMT_BEGIN, "BEGIN IMMEDIATE", "beginning a transaction", &q, err);
	if (r == 0) r = cube_sqlite_finish(&q, err);
	if (r == 0) s->begun = true;
	return r;
}

int cube_sqlite_write(struct cube_sqlite *s, enum cube_sqlite_stmt which, const char *sql,
		      const char *step, struct cube_sqlite_query *ret, struct cube_err *err) {
	int r;

	if (s->failed) {
		/* sqlite may have rolled back by itself: a write now would be kept on its own. */
		if (err) *err = s->why;
		return CUBE_ESYS;
	}
	r = start(s, err);
	return r < 0 ? r : cube_sqlite_read(s, which, sql, step, ret, err);
}

static int sqlite_begin(struct cube_store *store, struct cube_err *err) {
	struct cube_sqlite *s = cube_sqlite_of(store);

	if (s->open)
		return cube_fail(err, CUBE_EINTERNAL, "%s: begin inside a transaction", s->file);
	s->open = true;
	s->begun = s->failed = false;
	return 0;
}

static void roll_back(struct cube_sqlite *s) {
	if (!sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	s->thinned = -1; /* what was dropped may be back */
}

static int sqlite_commit(struct cube_store *store, struct cube_err *err) {
	struct cube_sqlite *s = cube_sqlite_of(store);
	struct cube_sqlite_query q;
	int r = 0;

	if (!s->open) return cube_fail(err, CUBE_EINTERNAL, "%s: commit without begin", s->file);
	if (!s->failed && s->begun) {
		r = cube_sqlite_read(s, STMT_COMMIT, "COMMIT", "committing", &q, err);
		if (r == 0) r = cube_sqlite_finish(&q, err);
	}
	if (s->failed) {
		roll_back(s);
		if (err) *err = s->why;
		r = CUBE_ESYS;
	}
	s->open = s->begun = s->failed = false;
	return r;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void sqlite_free(struct cube_store *store) {
	struct cube_sqlite *s = cube_sqlite_of(store);

	for (size_t i = 0; i < STMT_COUNT; i++) sqlite3_finalize(s->cached[i]);
	for (size_t i = 0; i < CUBE_SQLITE_SHAPES; i++) sqlite3_finalize(s->lists[i]);
	sqlite3_close(s->db); /* an open transaction is rolled back */
	free(s->file);
	free(s);
}

static const struct cube_store_ops sqlite_ops = {
	.name = "sqlite",
	.free = sqlite_free,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.meta_put = cube_sqlite_meta_put,
	.meta_get = cube_sqlite_meta_get,
	.job_put = cube_sqlite_job_put,
	.job_get = cube_sqlite_job_get,
	.job_find = cube_sqlite_job_find,
	.task_put = cube_sqlite_task_put,
	.task_get = cube_sqlite_task_get,
	.task_list = cube_sqlite_task_list,
	.node_put = cube_sqlite_node_put,
	.node_list = cube_sqlite_node_list,
	.last_ids = cube_sqlite_last_ids,
	.event_add = cube_sqlite_event_add,
	.event_list = cube_sqlite_event_list,
	.chunk_add = cube_sqlite_chunk_add,
	.chunk_list = cube_sqlite_chunk_list,
	.metric_add = cube_sqlite_metric_add,
	.metric_thin = cube_sqlite_metric_thin,
	.metric_list = cube_sqlite_metric_list,
};

/* Makes the file, so that its mode is 0600 (sqlite gives its companions the same). One that
 * exists is not touched: closing an fd of it would drop the locks this process has there. */
static int make_file(const char *path, const char *file, struct cube_err *err) {
	int fd;

	do fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) return errno == EEXIST ? 0 : cube_fail_sys(err, errno, "%s: making it", file);
	close(fd);
	return 0;
}

static int open_file(struct cube_sqlite *s, const char *path, struct cube_err *err) {
	/* With a slash in front neither ":memory:" nor "file:..." is special. */
	cube_autofree char *plain = cube_strf("%s%s", path[0] == '/' ? "" : "./", path);
	int r = make_file(plain, s->file, err);

	if (r < 0) return r;
	r = sqlite3_open_v2(plain, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    NULL);
	if (r != SQLITE_OK) return cube_schema_fail(s->db, s->file, "opening it", err);
	return cube_schema_prepare(s->db, s->file, err);
}

int cube_store_sqlite(const char *path, struct cube_store **ret, struct cube_err *err) {
	size_t len = strlen(path);
	struct cube_sqlite *s;
	int r;

	if (len == 0) return cube_fail(err, CUBE_EUSAGE, "store: the file name is empty");
	s = cube_alloc(sizeof *s);
	s->base.ops = &sqlite_ops;
	s->thinned = -1;
	s->file =
		len <= FILE_SHOWN ? cube_strdup(path) : cube_strf("...%s", path + len - FILE_SHOWN);
	r = open_file(s, path, err);
	if (r < 0) {
		sqlite_free(&s->base);
		return r;
	}
	*ret = &s->base;
	return 0;
}
