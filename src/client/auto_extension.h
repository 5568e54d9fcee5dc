/* client/auto_extension.h: sqlite3_auto_extension() (https://sqlite.org/c3ref/auto_extension.html).
 *
 * The list is kept here, not in the real library, which has one entry: ours. It runs the application's on each local
 * connection that the application opens, but not on those that the drop-in opens for itself. Remote connections run the
 * list when they are opened. An entry point gets a table of this library's functions (struct sqlite3_api_routines), not of
 * the real one's: they are good for local and remote connections alike. Threads: any. */
#ifndef SQ_CLIENT_AUTO_EXTENSION_H
#define SQ_CLIENT_AUTO_EXTENSION_H

#include "client/api.h"

/* sqlite3_open_v2() of the real library, for the drop-in itself: no extension sees it. */
int client_inner_open(const char *filename, sqlite3 **ret_db, int flags);

/* Runs the list on a remote connection. An error: *ret_message (NULL: none) is the caller's to sqlite3_free(). */
int client_auto_extension_run(sqlite3 *db, char **ret_message);

#endif
