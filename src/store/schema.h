/* The database's tables and how a file gets them. */
#ifndef CUBE_STORE_SCHEMA_H
#define CUBE_STORE_SCHEMA_H

#include <sqlite3.h>

#include "cube/err.h"

/* Sets the connection up (WAL, synchronous=NORMAL, busy timeout), makes the tables of an empty
 * file, brings an older schema up to date in one transaction. `file` is for messages.
 * CUBE_EVERSION: newer schema; CUBE_ECONFLICT: another program's database; CUBE_ESYS. */
int cube_schema_prepare(sqlite3 *db, const char *file, struct cube_err *err);

/* "<file>: <step>: <sqlite's text> (<errno's text>)" for the connection's last failure. */
int cube_schema_fail(sqlite3 *db, const char *file, const char *step, struct cube_err *err);

#endif
