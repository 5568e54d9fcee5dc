/* client/calls.h: calls of the server: functions, collations and hooks of the application run here, in the thread that
 * waits for the answer of a request. What request.c, remote.c and statements need of it. */
#ifndef SQ_CLIENT_CALLS_H
#define SQ_CLIENT_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/remote.h"

/* Makes remote->calls. The shadow is there. False: no memory. */
bool client_calls_new(struct client_remote *remote);
/* Frees it. The server is gone by then; a transaction that was open has been rolled back, and the hook for that is
 * called. The shadow is closed next: it calls the destructors of functions and collations, in SQLite's order. NULL
 * `calls` is allowed. */
void client_calls_free(struct client_remote *remote);
/* sqlite3_close() begins: virtual tables of the application's are disconnected, as far as no statement uses them. */
void client_tables_disconnect(struct client_remote *remote);
/* Whether there are modules of the application's at all. */
bool client_calls_have_modules(const struct client_remote *remote);
/* Whether tables of them are connected. */
bool client_calls_have_tables(const struct client_remote *remote);
/* sqlite3_close() begins: tells a trace callback that wants to know. */
void client_calls_trace_close(struct client_remote *remote);

/* Works off one message 'r' of the server: calls the application and answers (client_call_answer_begin/end). `body` is
 * valid only until the next request of this connection. A message that makes no sense ends the connection
 * (client_remote_lose()). */
void client_calls_serve(struct client_remote *remote, const uint8_t *body, size_t length);

/* After a reconnection: registers everything again. SQLITE_OK or an error, which is recorded. */
int client_calls_replay(struct client_remote *remote);

/* A statement has ended. When none runs any more, so do the pointers that were results of functions: SQLite may have
 * kept them anywhere in one. */
void client_calls_rest(struct client_remote *remote);

/* Whether statements must run row by row: some hook sees when a row is computed. */
bool client_calls_want_single_rows(const struct client_remote *remote, bool is_readonly);
/* Whether there are functions or collations at all; which statement calls them is in its facts. */
bool client_calls_have_functions(const struct client_remote *remote);
/* Whether statements must be compiled anew each time: the authorizer sees it. */
bool client_calls_want_prepare(const struct client_remote *remote);
/* Whether the end of a statement that only reads is the end of something of the application's (auxiliary data, groups, pointers, cursors), so
 * that the server must have ended it before sqlite3_reset() or sqlite3_finalize() returns. */
bool client_calls_want_end(const struct client_remote *remote);

#endif
