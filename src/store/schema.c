/* The schema is for reading with the sqlite3 command too: comments inside CREATE survive and are
 * shown by `.schema`; task_view and node_view spell out states and times. Times are wall clock
 * nanoseconds since 1970, 0 where not yet. States are the numbers of task.h and node.h.
 *
 * metrics has one row per node and sample, with a column per figure rather than a packed blob:
 * it costs some 40 bytes more a row, and `select wall, load1 / 100.0 from metrics where node = 3`
 * works. A psi_ figure the kernel does not give is NULL.
 *
 * No STRICT tables: sqlite3 commands before 3.37 could not open the file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "schema.h"

/* How long a write waits for someone's sqlite3 session that holds the write lock. */
enum { BUSY_MS = 2000 };

enum { APPLICATION_ID = 0x63756265 /* "cube", as file(1) shows it */ };

/* steps[n] leads from version n to n + 1; released steps never change. */
static const char *const steps[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

	"CREATE TABLE jobs (\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  created INTEGER NOT NULL,\n"
	"  name TEXT NOT NULL,       -- '' when none\n"
	"  spec TEXT NOT NULL,       -- JSON\n"
	"  tasks INTEGER NOT NULL    -- how many\n"
	");"
	"CREATE INDEX jobs_name ON jobs (name);"

	"CREATE TABLE tasks (\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  job INTEGER NOT NULL,\n"
	"  job_index INTEGER NOT NULL,  -- in its job, from 0\n"
	"  node INTEGER NOT NULL,       -- 0: anywhere\n"
	"  attempt INTEGER NOT NULL,    -- 0: none yet\n"
	"  state INTEGER NOT NULL,      -- 0 pending 1 scheduled 2 running 3 completed 4 failed\n"
	"  how INTEGER NOT NULL,        -- of the end: 0 exited 1 signaled 2 not started 3 timeout\n"
	"                               -- 4 stopped 5 lost\n"
	"  value INTEGER NOT NULL,      -- exit code, signal or errno, by how\n"
	"  pinned INTEGER NOT NULL,     -- 1: on its node or nowhere\n"
	"  created INTEGER NOT NULL,\n"
	"  started INTEGER NOT NULL,\n"
	"  finished INTEGER NOT NULL,\n"
	"  user_us INTEGER NOT NULL,    -- CPU time used, microseconds\n"
	"  sys_us INTEGER NOT NULL,\n"
	"  max_rss INTEGER NOT NULL,    -- bytes\n"
	"  out_end INTEGER NOT NULL,    -- bytes of output kept\n"
	"  err_end INTEGER NOT NULL,\n"
	"  reason TEXT NOT NULL\n"
	");"
	/* Completed tasks are the bulk of a grown table: left out, the index of the others stays
	 * small. A rowid table's index ends in the rowid, so each of these gives rows by id. */
	"CREATE INDEX tasks_job ON tasks (job);"
	"CREATE INDEX tasks_node ON tasks (node) WHERE node <> 0;"
	"CREATE INDEX tasks_state ON tasks (state) WHERE state <> 3;"

	"CREATE TABLE nodes (\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  state INTEGER NOT NULL,  -- 0 connecting 1 probing 2 pushing 3 starting 4 ready\n"
	"                           -- 5 lost 6 failed 7 leaving 8 gone 9 needs-login\n"
	"  name TEXT NOT NULL,\n"
	"  host TEXT NOT NULL,\n"
	"  user TEXT NOT NULL,\n"
	"  identity TEXT NOT NULL,\n"
	"  labels TEXT NOT NULL,\n"
	"  port INTEGER NOT NULL,\n"
	"  local INTEGER NOT NULL,\n"
	"  auto_slots INTEGER NOT NULL,\n"
	"  slots INTEGER NOT NULL,\n"
	"  reason TEXT NOT NULL,\n"
	"  facts TEXT NOT NULL,     -- JSON\n"
	"  added INTEGER NOT NULL,\n"
	"  seen INTEGER NOT NULL\n"
	");"

	"CREATE TABLE events (\n"
	"  seq INTEGER PRIMARY KEY,\n"
	"  wall INTEGER NOT NULL,\n"
	"  task INTEGER NOT NULL,  -- 0: none\n"
	"  node INTEGER NOT NULL,  -- 0: none\n"
	"  kind TEXT NOT NULL,     -- 'task' or 'node'\n"
	"  old_state TEXT NOT NULL,\n"
	"  new_state TEXT NOT NULL,\n"
	"  reason TEXT NOT NULL\n"
	");"

	/* Keyed by the stream: its newest chunk is one descent, a listing one range. */
	"CREATE TABLE log_chunks (\n"
	"  task INTEGER NOT NULL,\n"
	"  attempt INTEGER NOT NULL,\n"
	"  stream INTEGER NOT NULL,\n"
	"  offset INTEGER NOT NULL,   -- of the stream\n"
	"  len INTEGER NOT NULL,\n"
	"  segment INTEGER NOT NULL,  -- file number\n"
	"  pos INTEGER NOT NULL,      -- in that file\n"
	"  wall INTEGER NOT NULL,\n"
	"  PRIMARY KEY (task, attempt, stream, offset)\n"
	") WITHOUT ROWID;"

	"CREATE TABLE metrics (\n"
	"  node INTEGER NOT NULL,\n"
	"  wall INTEGER NOT NULL,\n"
	"  cpu_user INTEGER NOT NULL,  -- 10 ms ticks since boot\n"
	"  cpu_system INTEGER NOT NULL, cpu_iowait INTEGER NOT NULL,\n"
	"  cpu_steal INTEGER NOT NULL, cpu_idle INTEGER NOT NULL,\n"
	"  load1 INTEGER NOT NULL,     -- x 100\n"
	"  load5 INTEGER NOT NULL, load15 INTEGER NOT NULL,\n"
	"  mem_total INTEGER NOT NULL, mem_available INTEGER NOT NULL,  -- bytes\n"
	"  swap_total INTEGER NOT NULL, swap_free INTEGER NOT NULL,\n"
	"  disk_total INTEGER NOT NULL, disk_free INTEGER NOT NULL,\n"
	"  disk_read INTEGER NOT NULL, disk_written INTEGER NOT NULL,\n"
	"  net_received INTEGER NOT NULL, net_sent INTEGER NOT NULL,\n"
	"  running INTEGER NOT NULL,   -- attempts\n"
	"  psi_cpu INTEGER, psi_mem INTEGER, psi_io INTEGER,  -- percent x 100\n"
	"  uptime_s INTEGER NOT NULL,\n"
	"  PRIMARY KEY (node, wall)\n"
	") WITHOUT ROWID;"

#define WHEN(col, as)                        \
	"CASE " col " WHEN 0 THEN '' ELSE\n" \
	"    datetime(" col " / 1000000000, 'unixepoch', 'localtime') END AS " as
	"CREATE VIEW task_view AS SELECT tasks.id, job, jobs.name AS job_name, job_index,\n"
	"  (SELECT name FROM nodes WHERE nodes.id = node) AS node, attempt,\n"
	"  CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'running'\n"
	"    WHEN 3 THEN 'completed' WHEN 4 THEN 'failed' END AS state,\n"
	"  value, " WHEN("tasks.created", "created") ",\n  " WHEN(
		"started",
		"started") ",\n"
			   "  " WHEN(
				   "finished",
				   "finished") ", reason\n"
					       "  FROM tasks LEFT JOIN jobs ON jobs.id = job;"
					       "CREATE VIEW node_view AS SELECT id, name, host,\n"
					       "  CASE state WHEN 0 THEN 'connecting' WHEN 1 THEN 'probing' WHEN 2 THEN 'pushing'\n"
					       "    WHEN 3 THEN 'starting' WHEN 4 THEN 'ready' WHEN 5 THEN 'lost' WHEN 6 THEN 'failed'\n"
					       "    WHEN 7 THEN 'leaving' WHEN 8 THEN 'gone'\n"
					       "    WHEN 9 THEN 'needs-login' END AS state,\n"
					       "  slots, reason, " WHEN(
						       "added",
						       "added") ",\n  " WHEN("seen",
									     "seen") " FROM nodes;",
#undef WHEN

	/* Rows of before were started without an epoch, and nobody asks for their requests. */
	"ALTER TABLE tasks ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE jobs ADD COLUMN request TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE jobs ADD COLUMN stop INTEGER NOT NULL DEFAULT 0;"
	"CREATE UNIQUE INDEX jobs_request ON jobs (request) WHERE request <> '';",
};

enum { VERSION = sizeof steps / sizeof steps[0] };

/* The errno behind an I/O error. A rollback after a failed commit covers sqlite's own note of it;
 * the write-ahead log's file still has it. */
static int io_errno(sqlite3 *db) {
	sqlite3_file *wal = NULL;
	int sys = sqlite3_system_errno(db);

	if (sys || !db) return sys;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) != SQLITE_OK ||
	    !wal || !wal->pMethods ||
	    wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &sys) != SQLITE_OK)
		return 0;
	return sys;
}

int cube_schema_fail(sqlite3 *db, const char *file, const char *step, struct cube_err *err) {
	const char *text = sqlite3_errmsg(db), *hint = NULL;
	int code = sqlite3_errcode(db) & 0xff, sys = 0;

	if (code == SQLITE_CANTOPEN || code == SQLITE_IOERR) sys = io_errno(db);
	else if (code == SQLITE_FULL) sys = ENOSPC;
	else if (code == SQLITE_READONLY) hint = "it needs a writable folder too";
	else if (code == SQLITE_BUSY) hint = "another program holds its write lock";
	else if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
		hint = "damaged, or not cube's: move it away to begin anew";
	if (sys) hint = strerror(sys);
	cube_fail(err, CUBE_ESYS, "%s: %s: %s%s%s%s", file, step, text, hint ? " (" : "",
		  hint ? hint : "", hint ? ")" : "");
	if (err) err->sys = sys;
	return CUBE_ESYS;
}

static int run(sqlite3 *db, const char *file, const char *step, const char *sql,
	       struct cube_err *err) {
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) return 0;
	return cube_schema_fail(db, file, step, err);
}

/* The first value of a one-row query; the pragmas here are numbers and short words. */
static int ask(sqlite3 *db, const char *file, const char *step, const char *sql, int *ret,
	       char word[16], struct cube_err *err) {
	sqlite3_stmt *st = NULL;
	int r = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (r == SQLITE_OK) r = sqlite3_step(st);
	if (r != SQLITE_ROW) {
		r = cube_schema_fail(db, file, step, err);
		sqlite3_finalize(st);
		return r;
	}
	if (ret) *ret = sqlite3_column_int(st, 0);
	if (word) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		snprintf(word, 16, "%s", text ? text : "");
	}
	sqlite3_finalize(st);
	return 0;
}

/* Whose file is it, and how old? An empty database is as good as ours at version 0. */
static int check_version(sqlite3 *db, const char *file, int *ret_version, struct cube_err *err) {
	int version, application, objects, r;

	r = ask(db, file, "reading the schema version", "PRAGMA user_version", &version, NULL, err);
	if (r == 0)
		r = ask(db, file, "reading the application id", "PRAGMA application_id",
			&application, NULL, err);
	if (r == 0)
		r = ask(db, file, "reading the schema", "SELECT count(*) FROM sqlite_master",
			&objects, NULL, err);
	if (r < 0) return r;
	if (application != APPLICATION_ID && (application || version || objects))
		return cube_fail(err, CUBE_ECONFLICT, "%s: another program's database, not cube's",
				 file);
	if (version > VERSION)
		return cube_fail(err, CUBE_EVERSION,
				 "%s: written by a newer cube (schema %d, this one knows %d)", file,
				 version, VERSION);
	if (version < 0 || (application && version == 0))
		return cube_fail(err, CUBE_ESYS, "%s: damaged: schema version %d", file, version);
	*ret_version = version;
	return 0;
}

static int upgrade(sqlite3 *db, const char *file, int version, struct cube_err *err) {
	char sql[96], step[48];
	int r = 0;

	for (; r == 0 && version < VERSION; version++) {
		snprintf(step, sizeof step, "making schema version %d", version + 1);
		r = run(db, file, step, steps[version], err);
	}
	if (r < 0) return r;
	snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
		 APPLICATION_ID, VERSION);
	return run(db, file, "writing the schema version", sql, err);
}

/* Another cube may open the same new file at this moment: look again inside the transaction. */
static int upgrade_locked(sqlite3 *db, const char *file, struct cube_err *err) {
	int version, r = run(db, file, "locking for a new schema", "BEGIN IMMEDIATE", err);

	if (r < 0) return r;
	r = check_version(db, file, &version, err);
	if (r == 0) r = upgrade(db, file, version, err);
	if (r == 0) r = run(db, file, "committing the new schema", "COMMIT", err);
	if (r < 0 && !sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int cube_schema_prepare(sqlite3 *db, const char *file, struct cube_err *err) {
	int version, r;
	char mode[16];

	sqlite3_busy_timeout(db, BUSY_MS);
	r = check_version(db, file, &version, err); /* before anything of the file is changed */
	if (r < 0) return r;
	if (sqlite3_db_readonly(db, "main") == 1) {
		cube_fail_sys(err, EACCES, "%s: opening for writing", file);
		return CUBE_ESYS;
	}
	r = ask(db, file, "switching to WAL", "PRAGMA journal_mode = WAL", NULL, mode, err);
	if (r < 0) return r;
	if (strcmp(mode, "wal") != 0)
		return cube_fail(err, CUBE_ESYS,
				 "%s: the file system cannot do write-ahead logging (mode is %s)",
				 file, mode);
	r = run(db, file, "setting up the connection",
		"PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8000;"
		"PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;"
		/* A checkpoint syncs the disk within a commit, which may take 100 ms and more:
		 * rarely. 8,192 pages are 32 MiB of WAL. */
		"PRAGMA wal_autocheckpoint = 8192",
		err);
	if (r == 0 && version < VERSION) r = upgrade_locked(db, file, err);
	return r;
}
