/* client/remote_api.h: client_remote_sqlite3_…() for each function of api.inc whose object may be one of ours: what the
 * exported function does when it is. The types are the exported function's.
 *
 * A function is found where its object is at home: connections in remote.c, their facts and errors in status.c, names of databases in
 * databases.c, statements in prepare.c, bind.c, step.c, column.c; what the server calls, contexts, blobs, backups and
 * images in the other half (calls.h). */
#ifndef SQ_CLIENT_REMOTE_API_H
#define SQ_CLIENT_REMOTE_API_H

#include "client/api.h"

#pragma GCC visibility push(hidden)
#define CLIENT_REMOTE_CONNECTION(name) __typeof__(name) client_remote_##name;
#define CLIENT_REMOTE_STATEMENT(name) __typeof__(name) client_remote_##name;
#define CLIENT_REMOTE_CONTEXT(name) __typeof__(name) client_remote_##name;
#define CLIENT_REMOTE_BLOB(name) __typeof__(name) client_remote_##name;
#define CLIENT_REMOTE_BACKUP(name) __typeof__(name) client_remote_##name;
#define CLIENT_REMOTE_VALUE(name)
#define CLIENT_REMOTE_NONE(name)
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_CONNECTION(name, class_, unopened, result, ...) CLIENT_REMOTE_CONNECTION(name)
#define CLIENT_PASS(name, object, class_, result, ...) CLIENT_REMOTE_##object(name)
#define CLIENT_PASS0(name, object, class_, result)
#define CLIENT_VARIADIC(name, object, class_, result, ...)
#define CLIENT_OWN(name, object, class_, result, ...)
#include "client/api.inc"
#undef CLIENT_DATA
#undef CLIENT_CONNECTION
#undef CLIENT_PASS
#undef CLIENT_PASS0
#undef CLIENT_VARIADIC
#undef CLIENT_OWN

/* sqlite3_db_config() is variadic: one for each form of its arguments. A switch's `value` < 0 asks only. */
int client_remote_db_config_switch(sqlite3 *db, int operation, int value, int *ret_value);
int client_remote_db_config_main_name(sqlite3 *db, const char *name);
int client_remote_db_config_lookaside(sqlite3 *db);
/* So is sqlite3_vtab_config(): `value` is that of its operation, if it has one. */
int client_remote_vtab_config(sqlite3 *db, int operation, int value);
#pragma GCC visibility pop

#endif
