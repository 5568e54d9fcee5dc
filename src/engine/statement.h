/* engine/statement.h: one compiled SQLite statement.
 *
 * Placeholders: `$1`, `$2`, … are positions (PostgreSQL's way; SQLite alone would number them by first appearance).
 * `?`, `?N`, `:name`, `@name`, `$name` are SQLite's and have the position that SQLite gives them. One statement must not
 * mix the two kinds.
 *
 * Lifetime: freed before its connection. Threads: the connection's. */
#ifndef SQ_ENGINE_STATEMENT_H
#define SQ_ENGINE_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/value.h"

struct engine_connection;
struct engine_statement;

/* Compiles the first statement of `sql`. `sql[length]` must be NUL. *ret_consumed: bytes up to and including its `;`.
 * *ret_statement is NULL if there was nothing but white space and comments. Errors carry a position in `sql`. */
SQ_MUST_USE sq_status engine_statement_prepare(struct engine_connection *connection, const char *sql, size_t length,
                                               struct sq_error *err, struct engine_statement **ret_statement,
                                               size_t *ret_consumed);
/* The same on a native connection: the statement is SQLite's own, with its parameters under SQLite's indexes and the flags
 * of sqlite3_prepare_v3(), and `sql` need not end in a NUL. It is stepped like any other, but
 *   - parameters are bound by who has its handle, and stay bound;
 *   - after its end or a failure it is not reset: SQLite does that when it is stepped again (an EXPLAIN is reset at its end);
 *   - its columns may change: engine_statement_has_changed(). */
SQ_MUST_USE sq_status engine_statement_prepare_native(struct engine_connection *connection, const char *sql,
                                                      size_t length, unsigned flags, struct sq_error *err,
                                                      struct engine_statement **ret_statement, size_t *ret_consumed);
struct sqlite3_stmt *engine_statement_handle(const struct engine_statement *statement);
/* What a native statement is, besides what SQLite tells. */
struct engine_native_traits {
    bool needs_slot;  /* it may write what others see */
    bool is_attach;   /* ATTACH of a name: must not be stepped */
    bool may_detach;  /* the connection may have one attached database less after it */
    bool is_volatile; /* asks for changes() or the like: what it gives depends on when it is stepped */
};
struct engine_native_traits engine_statement_traits(const struct engine_statement *statement);

/* NULL is allowed. What the statement was doing is undone or finished as engine_statement_reset() says. */
void engine_statement_free(struct engine_statement *statement);

/* "cached plan must not change result type": 0A000. */
SQ_MUST_USE sq_status engine_statement_fail_changed(struct sq_error *err);

/* sqlite.org/c3ref/stmt_readonly.html: false also for BEGIN IMMEDIATE. */
bool engine_statement_is_readonly(const struct engine_statement *statement);
/* EXPLAIN or EXPLAIN QUERY PLAN. */
bool engine_statement_is_explain(const struct engine_statement *statement);

size_t engine_statement_column_count(const struct engine_statement *statement);
/* Valid until the statement is freed or compiled anew by SQLite because the schema changed. */
const char *engine_statement_column_name(const struct engine_statement *statement, size_t column_index);
/* From the declared type of the table column that is shown; SQ_TYPE_ANY for an expression. */
enum sq_type engine_statement_column_type(const struct engine_statement *statement, size_t column_index);
/* 1-based number of the position with the highest number. */
size_t engine_statement_parameter_count(const struct engine_statement *statement);

/* What can be known of columns and parameters without running the statement; SQ_TYPE_ANY where nothing can. */
SQ_MUST_USE sq_status engine_statement_infer_types(struct engine_statement *statement, struct sq_error *err,
                                                   enum sq_type *ret_columns, enum sq_type *ret_parameters);

/* Bytes of memory that the compiled statement takes, roughly. */
size_t engine_statement_bytes(const struct engine_statement *statement);

/* Whether rows of another width than column_count are welcome, because nobody has been told of the columns yet. Else they
 * are an error; it is no by default. */
void engine_statement_allow_change(struct engine_statement *statement, bool is_allowed);
/* After a run's first step: whether SQLite has compiled the statement anew for it, because the schema has changed. Its
 * columns, their names and types may then be others. */
bool engine_statement_has_changed(const struct engine_statement *statement);

/* Gives the parameters, by position; `count` must be the parameter count. Bytes are borrowed until reset. */
SQ_MUST_USE sq_status engine_statement_bind(struct engine_statement *statement, const struct sq_value *values,
                                            size_t count, struct sq_error *err);

enum engine_step {
    ENGINE_STEP_ROW,  /* engine_statement_row() has it */
    ENGINE_STEP_DONE, /* complete */
    ENGINE_STEP_BUSY, /* somebody outside this server holds a lock: reset, wait, and begin again. *err is filled. */
    ENGINE_STEP_CONFLICT, /* what it wants to write was read from a snapshot that is no longer the newest. *err is filled. */
    ENGINE_STEP_FAILED, /* *err is filled; reset it */
};
enum engine_step engine_statement_step(struct engine_statement *statement, struct sq_error *err);

/* The current row; `values` has room for column_count. Bytes are valid until the next step or reset. */
SQ_MUST_USE sq_status engine_statement_row(struct engine_statement *statement, struct sq_value *values,
                                           struct sq_error *err);

/* Makes the statement ready to run again. One that was left before its end is completed as if its rows had been read
 * (INSERT … RETURNING commits): that can fail, hence the status. After a failed step, SQ_OK. */
SQ_MUST_USE sq_status engine_statement_reset(struct engine_statement *statement, struct sq_error *err);

#endif
