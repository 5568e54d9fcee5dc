/* engine/native.h: what the functions and hooks of a client in native mode need of their connection, besides SQLite's own
 * interface to them. The rest of a native connection is in connection.h. Threads: the connection's. */
#ifndef SQ_ENGINE_NATIVE_H
#define SQ_ENGINE_NATIVE_H

#include <stdbool.h>

#include "base/status.h"

struct engine_connection;
struct sqlite3_stmt;

/* Sets the client's authorizer, NULL: none; statements that are compiled already are compiled again when they are next
 * run (sqlite.org/c3ref/set_authorizer.html). */
void engine_native_set_authorizer(struct engine_connection *connection,
                                  int (*authorize_cb)(void *context, int action, const char *first, const char *second,
                                                      const char *schema, const char *trigger_or_view),
                                  void *context);

/* Whose name a CREATE VIRTUAL TABLE may use besides the modules that are allowed to all: those for which the callback says
 * true. NULL: none. */
void engine_native_set_modules(struct engine_connection *connection,
                               bool (*has_module_cb)(void *context, const char *name), void *context);

/* Calls `call_cb` while SQLite keeps in memory what it knows of the schema, whatever is run meanwhile (a ROLLBACK of it, say).
 * For the constructor of a virtual table, which SQLite (3.40) does not protect: it would go on with a table that is gone.
 * False: there was no memory, and nobody was called. */
SQ_MUST_USE bool engine_native_hold_schema(struct engine_connection *connection, void (*call_cb)(void *context),
                                           void *context);

/* A function of the client's has failed with this code, not SQLite: if the running statement fails with it, it says nothing
 * of locks or disks. */
void engine_native_note_error(struct engine_connection *connection, int code);

/* Reads from one snapshot of `schema` until it is released; *ret_snapshot is a statement in its middle. SQLite's result.
 * Without the client's authorizer: it is the server that reads. */
SQ_MUST_USE int engine_native_hold_snapshot(struct engine_connection *connection, const char *schema,
                                            struct sqlite3_stmt **ret_snapshot);
/* NULL is allowed. */
void engine_native_release_snapshot(struct engine_connection *connection, struct sqlite3_stmt *snapshot);

/* Whether a statement's program has an operand for which `is_it_cb` says true: P4 as EXPLAIN shows it
 * (sqlite.org/opcode.html), those of triggers too. Functions are `name(3)`, collations `name-8` or within `k(2,name,-name)`.
 * The client's authorizer is not asked. True also if that could not be found out. Only for SELECT and VALUES: a PRAGMA may
 * work while it is compiled, and EXPLAIN of an INSERT makes sqlite3_changes() 0. */
bool engine_native_has_operand(struct engine_connection *connection, struct sqlite3_stmt *stmt,
                               bool (*is_it_cb)(void *context, const char *operand), void *context);

/* All of a database has been written anew, without a statement: what was known of its schema is out of date. */
void engine_native_note_replaced(struct engine_connection *connection);

#endif
