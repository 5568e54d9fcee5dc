/* client/unopened.h: the connection that sqlite3_open*() gives back when it could not open a remote database.
 *
 * "Unless SQLite is unable to allocate memory to hold the sqlite3 object", a failed open gives back a connection all the
 * same, from which the caller reads the error and which it must close (https://sqlite.org/c3ref/open.html). This is that
 * object for databases that are not the real library's: it knows its error and can be closed, nothing else. What the
 * other functions do with it stands in api.inc.
 *
 * Threads: the error does not change; any thread may read it until the connection is closed. */
#ifndef SQ_CLIENT_UNOPENED_H
#define SQ_CLIENT_UNOPENED_H

#include "base/status.h"
#include "client/api.h"

/* Makes such a connection for the (extended) result code `code` and the `errno` of the system call that failed (0: none). OK: *ret_db is set; sqlite3_close() frees it.
 * SQ_NOMEM: no memory or no handle is left. */
SQ_MUST_USE sq_status client_unopened_new(int code, int system_errno, const char *message, sqlite3 **ret_db);

/* What sqlite3_close(), sqlite3_errcode(), … do for a handle of ours. SQLITE_MISUSE and its text after the close. */
int client_unopened_close(sqlite3 *db);
int client_unopened_errcode(sqlite3 *db);
int client_unopened_system_errno(sqlite3 *db);
const char *client_unopened_errmsg(sqlite3 *db);
const void *client_unopened_errmsg16(sqlite3 *db);

#endif
