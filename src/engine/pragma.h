/* engine/pragma.h: what PRAGMA may do here (sqlite.org/pragma.html).
 *
 * Sessions of the PostgreSQL protocol have few of them: what a session may set for itself, and what only asks. Native
 * connections serve applications that were written for a file of their own: there every pragma is understood, and what is
 * the server's business is answered with the value that is in force. */
#ifndef SQ_ENGINE_PRAGMA_H
#define SQ_ENGINE_PRAGMA_H

#include <stdbool.h>

#include "base/status.h"

struct engine_connection;

/* For the authorizer: SQLITE_OK, SQLITE_DENY or SQLITE_IGNORE. `value` and `schema` may be NULL. */
int engine_pragma_authorize(struct engine_connection *connection, const char *name, const char *value,
                            const char *schema);
/* Whether a session of the PostgreSQL protocol that sets it leaves something in its connection. */
bool engine_pragma_is_set(const char *name);

/* Some pragmas of a native connection give rows that SQLite would not give here: then *ret_sql is the statement that gives
 * them, to be compiled instead of the first one in `sql`, and freed with sqlite3_free(); *ret_consumed: bytes of `sql` that
 * it stands for. Else NULL. Their effect on the connection comes with this call, as SQLite's own pragmas have it when they
 * are compiled. */
SQ_MUST_USE sq_status engine_pragma_replace(struct engine_connection *connection, const char *sql, size_t length,
                                            struct sq_error *err, char **ret_sql, size_t *ret_consumed);

#endif
