/* engine/error.h: SQLite's result codes and messages as sqld errors with SQLSTATEs. One table, in error.c. */
#ifndef SQ_ENGINE_ERROR_H
#define SQ_ENGINE_ERROR_H

#include <sqlite3.h>

#include "base/status.h"

/* Describes the failure `result_code` that `db` reported last; `sql` (may be NULL) is the statement's text, from which
 * the byte offset of a syntax error is made a character position. Never returns SQ_OK. */
SQ_MUST_USE sq_status engine_fail(struct sq_error *err, sqlite3 *db, int result_code, const char *sql);

/* "SQLITE_CONSTRAINT_UNIQUE" and the like; NULL for a code without a name. */
const char *engine_code_name(int extended_code);

#endif
