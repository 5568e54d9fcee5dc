/* engine/infer.h: what types a statement's columns and parameters have, before it runs.
 *
 * SQLite types values, not expressions; clients that describe a statement before they run it (JDBC, pgx, asyncpg) want
 * types all the same. They are found by following values through the statement's bytecode, as EXPLAIN lists it
 * (sqlite.org/opcode.html): see infer.c.
 *
 * Columns: a type is claimed only if every value that can come is NULL or of that class, given that table columns hold
 * what they declare. Else SQ_TYPE_ANY. Two exceptions are SQLite's: integer arithmetic that overflows goes on with REAL,
 * and a whole number of a REAL column may come as INTEGER from RETURNING.
 * BOOLEAN, DATE, UUID and their like come only from columns; NUMERIC from columns and casts; arithmetic gives INTEGER
 * (both sides integers), REAL (one side REAL) or ANY.
 * Parameters: the type of what they are stored in or compared with; contradicting uses give SQ_TYPE_ANY. In arithmetic
 * a parameter becomes INTEGER or REAL if the other side is a column or expression of that type and the use of the result
 * does not contradict. A type says what is usual there, not what SQLite would accept.
 *
 * What it does to the connection: compiles `EXPLAIN <statement>` and reads its rows; nothing is executed and no
 * transaction begins. Five things can be noticed:
 *   - the authorizer sees, besides the statement itself, SQLITE_PRAGMA table_list, table_xinfo, index_list, index_xinfo,
 *     SQLITE_REINDEX, and SQLITE_SELECT and SQLITE_READ of any table: the schema is learnt from EXPLAINs of these. What
 *     it refuses is unknown, hence SQ_TYPE_ANY: an authorizer with roles should let everything pass during the call;
 *   - sqlite3_errmsg() and sqlite3_errcode() are overwritten;
 *   - after an INSERT, UPDATE or DELETE was looked at, sqlite3_changes() and SQL's changes() say 0 until the next one
 *     runs: SQLite does that for EXPLAIN too (engine_connection_keep_changes() makes up for it);
 *   - if SQLite runs out of memory, or is interrupted by sqlite3_interrupt(), while it lists an INSERT, UPDATE or DELETE,
 *     it rolls the open transaction back, as it does when the statement itself runs;
 *   - when tables have to be looked for that the statement does not name (behind views), virtual tables that the
 *     connection has not used yet are connected, and some modules (fts5, rtree) then read from the database.
 *
 * Threads: the connection's. */
#ifndef SQ_ENGINE_INFER_H
#define SQ_ENGINE_INFER_H

#include <sqlite3.h>
#include <stddef.h>

#include "base/status.h"
#include "base/value.h"

struct infer_cache;

enum {
    /* Beyond any of these, everything is SQ_TYPE_ANY. */
    INFER_SQL_BYTES_MAX = 128 * 1024,
    INFER_OPS_MAX = 16384,               /* instructions of a program */
    INFER_REGISTERS_MAX = 4096,          /* and its registers */
    INFER_CURSORS_MAX = 512,             /* and its cursors */
    INFER_CELLS_MAX = 1024 * 1024,       /* registers times blocks: two bytes each */
    INFER_RECORD_CELLS_MAX = 256 * 1024, /* columns of all records that a program makes */
    INFER_WORK_MAX = 64 * 1024 * 1024,   /* cells looked at until nothing changes: some hundredths of a second */
    /* Beyond these, columns of further tables are SQ_TYPE_ANY. */
    INFER_SCHEMAS_MAX = 16,    /* databases of a connection */
    INFER_TABLES_MAX = 2048,   /* tables of a database */
    INFER_COLUMNS_MAX = 2048,  /* columns of a table */
    INFER_INDEXES_MAX = 64,    /* indexes of a table */
    INFER_FUNCTIONS_MAX = 256, /* infer_cache_add_function() */
};

/* What is known of the schemas of one connection: which table or index has which root page and columns. It notices
 * schema changes by SQLite's schema cookie; only DETACH needs a word, infer_cache_clear(). NULL if there is no memory. */
struct infer_cache *infer_cache_new(void) SQ_MUST_USE;
/* NULL is allowed. */
void infer_cache_free(struct infer_cache *cache);
/* Forgets the schemas, keeps the functions. NULL is allowed. */
void infer_cache_clear(struct infer_cache *cache);

/* Tells the types of the result and of the arguments of an SQL function of the server's own, for any number of them;
 * SQ_TYPE_ANY: not known. It goes before SQLite's own function of that name. */
SQ_MUST_USE sq_status infer_cache_add_function(struct infer_cache *cache, const char *name, enum sq_type type,
                                               enum sq_type argument_type, struct sq_error *err);

/* Infers the types of `stmt`, a statement of `db` from sqlite3_prepare_v2() or later; it may be running.
 * *cache may be NULL: it is then made. ret_columns: sqlite3_column_count() types; ret_parameters:
 * sqlite3_bind_parameter_count() types, by SQLite's index - 1. Whatever goes wrong, the answer is SQ_TYPE_ANY everywhere
 * and SQ_OK, except SQ_NOMEM, which leaves the types undefined. */
SQ_MUST_USE sq_status infer_statement_types(sqlite3 *db, struct infer_cache **cache, sqlite3_stmt *stmt,
                                            enum sq_type *ret_columns, enum sq_type *ret_parameters,
                                            struct sq_error *err);

#endif
