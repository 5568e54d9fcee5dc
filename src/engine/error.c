/* engine/error.c: maps SQLite's extended result codes (sqlite.org/rescode.html) to SQLSTATEs (PostgreSQL documentation,
 * appendix "PostgreSQL Error Codes").
 *
 * SQLITE_ERROR covers everything from a typo to an unknown table; there only the message tells which, so a second table
 * looks at how messages begin or end. A message that no row knows is an XX000, never a wrong guess. */
#include "engine/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "engine/sql_lexer.h"

struct code_row {
    int code;
    const char *name;
    const char *sqlstate;
    sq_status status;
};

#define ROW(code, sqlstate, status)                                                                                    \
    {                                                                                                                  \
        code, #code, sqlstate, status                                                                                  \
    }

/* Extended codes first; a code that is not here is looked up again by its primary code (its low byte). */
static const struct code_row code_rows[] = {
    ROW(SQLITE_CONSTRAINT_UNIQUE, "23505", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_PRIMARYKEY, "23505", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_ROWID, "23505", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_FOREIGNKEY, "23503", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_NOTNULL, "23502", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_CHECK, "23514", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_DATATYPE, "22P02", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_TRIGGER, "P0001", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_VTAB, "23000", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_FUNCTION, "23000", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_COMMITHOOK, "23000", SQ_SQL),
    ROW(SQLITE_CONSTRAINT_PINNED, "23000", SQ_SQL),
    ROW(SQLITE_BUSY_SNAPSHOT, "40001", SQ_SQL),
    ROW(SQLITE_BUSY_RECOVERY, "55P03", SQ_BUSY),
    ROW(SQLITE_BUSY_TIMEOUT, "55P03", SQ_BUSY),
    ROW(SQLITE_LOCKED_SHAREDCACHE, "55P03", SQ_BUSY),
    ROW(SQLITE_READONLY_DBMOVED, "58030", SQ_IO),
    ROW(SQLITE_READONLY_DIRECTORY, "58030", SQ_IO),
    ROW(SQLITE_ERROR_SNAPSHOT, "40001", SQ_SQL),
    ROW(SQLITE_ERROR_MISSING_COLLSEQ, "42704", SQ_SQL),
    ROW(SQLITE_IOERR_NOMEM, "53200", SQ_NOMEM),
    ROW(SQLITE_IOERR_READ, "58030", SQ_IO),
    ROW(SQLITE_IOERR_SHORT_READ, "58030", SQ_IO),
    ROW(SQLITE_IOERR_WRITE, "58030", SQ_IO),
    ROW(SQLITE_IOERR_FSYNC, "58030", SQ_IO),
    ROW(SQLITE_IOERR_DIR_FSYNC, "58030", SQ_IO),
    ROW(SQLITE_IOERR_TRUNCATE, "58030", SQ_IO),
    ROW(SQLITE_IOERR_CORRUPTFS, "58030", SQ_IO), /* what SQLite calls a read that ends with EIO */
    ROW(SQLITE_IOERR_DATA, "XX001", SQ_CORRUPT),
    ROW(SQLITE_CORRUPT_INDEX, "XX002", SQ_CORRUPT),
    ROW(SQLITE_CORRUPT_VTAB, "XX001", SQ_CORRUPT),
    ROW(SQLITE_CORRUPT_SEQUENCE, "XX001", SQ_CORRUPT),
    ROW(SQLITE_ABORT_ROLLBACK, "25P02", SQ_SQL),
    ROW(SQLITE_AUTH_USER, "42501", SQ_SQL),

    ROW(SQLITE_ERROR, "XX000", SQ_SQL),
    ROW(SQLITE_INTERNAL, "XX000", SQ_SQL),
    ROW(SQLITE_PERM, "42501", SQ_SQL),
    ROW(SQLITE_ABORT, "57014", SQ_CANCELED),
    ROW(SQLITE_BUSY, "55P03", SQ_BUSY),
    ROW(SQLITE_LOCKED, "55P03", SQ_BUSY),
    ROW(SQLITE_NOMEM, "53200", SQ_NOMEM),
    ROW(SQLITE_READONLY, "25006", SQ_SQL),
    ROW(SQLITE_INTERRUPT, "57014", SQ_CANCELED),
    ROW(SQLITE_IOERR, "58030", SQ_IO),
    ROW(SQLITE_CORRUPT, "XX001", SQ_CORRUPT),
    ROW(SQLITE_FULL, "53100", SQ_SQL),
    ROW(SQLITE_CANTOPEN, "58030", SQ_IO),
    ROW(SQLITE_PROTOCOL, "55P03", SQ_BUSY),
    ROW(SQLITE_SCHEMA, "40001", SQ_SQL),
    ROW(SQLITE_TOOBIG, "54000", SQ_SQL),
    ROW(SQLITE_CONSTRAINT, "23000", SQ_SQL),
    ROW(SQLITE_MISMATCH, "42804", SQ_SQL),
    ROW(SQLITE_MISUSE, "XX000", SQ_SQL),
    ROW(SQLITE_NOLFS, "54000", SQ_SQL),
    ROW(SQLITE_AUTH, "42501", SQ_SQL),
    ROW(SQLITE_RANGE, "08P01", SQ_SQL),
    ROW(SQLITE_NOTADB, "XX001", SQ_CORRUPT),
};

enum match { MATCH_PREFIX, MATCH_SUFFIX, MATCH_INSIDE };

struct message_row {
    enum match match;
    const char *text;
    const char *sqlstate;
};

/* Only for SQLITE_ERROR. First match counts. */
static const struct message_row message_rows[] = {
    {MATCH_SUFFIX, ": syntax error", "42601"},
    {MATCH_PREFIX, "unrecognized token", "42601"},
    {MATCH_PREFIX, "incomplete input", "42601"},
    {MATCH_PREFIX, "no such table", "42P01"},
    {MATCH_PREFIX, "no such view", "42P01"},
    {MATCH_PREFIX, "no such column", "42703"},
    {MATCH_INSIDE, " has no column named ", "42703"},
    {MATCH_PREFIX, "unknown column ", "42703"},
    {MATCH_PREFIX, "ambiguous column name", "42702"},
    {MATCH_PREFIX, "duplicate column name", "42701"},
    {MATCH_SUFFIX, " already exists", "42P07"},
    {MATCH_INSIDE, "there is already an", "42P07"},
    {MATCH_PREFIX, "no such function", "42883"},
    {MATCH_PREFIX, "wrong number of arguments to function", "42883"},
    {MATCH_INSIDE, "misuse of aggregate", "42803"},
    {MATCH_INSIDE, "misuse of window function", "42P20"},
    {MATCH_INSIDE, "may not be used as a window function", "42809"},
    {MATCH_PREFIX, "no such index", "42704"},
    {MATCH_PREFIX, "no such trigger", "42704"},
    {MATCH_PREFIX, "no such collation sequence", "42704"},
    {MATCH_PREFIX, "no such module", "42704"},
    {MATCH_PREFIX, "no such savepoint", "3B001"},
    {MATCH_PREFIX, "unknown database", "3F000"},
    {MATCH_PREFIX, "no such database", "3D000"},
    {MATCH_PREFIX, "cannot start a transaction within a transaction", "25001"},
    {MATCH_PREFIX, "cannot commit - no transaction", "25P01"},
    {MATCH_PREFIX, "cannot rollback - no transaction", "25P01"},
    {MATCH_INSIDE, "within a transaction", "25001"},
    {MATCH_INSIDE, "from within a transaction", "25001"},
    {MATCH_INSIDE, "SQL statements in progress", "55006"},
    {MATCH_PREFIX, "not authorized", "42501"},
    {MATCH_INSIDE, "is prohibited", "42501"},
    {MATCH_PREFIX, "unsafe use of ", "42501"},
    {MATCH_INSIDE, "may not be modified", "42809"},
    {MATCH_INSIDE, "may not be dropped", "42809"},
    {MATCH_INSIDE, "may not be altered", "42809"},
    {MATCH_INSIDE, "may not be indexed", "42809"},
    {MATCH_INSIDE, "because it is a view", "42809"},
    {MATCH_PREFIX, "use DROP ", "42809"},
    {MATCH_INSIDE, "cannot INSERT into generated column", "428C9"},
    {MATCH_INSIDE, "cannot UPDATE generated column", "428C9"},
    {MATCH_INSIDE, "reserved for internal use", "42939"},
    {MATCH_PREFIX, "foreign key mismatch", "42830"},
    {MATCH_PREFIX, "integer overflow", "22003"},
    {MATCH_PREFIX, "malformed JSON", "22032"},
    {MATCH_INSIDE, "JSON path error", "2203B"},
    {MATCH_PREFIX, "malformed MATCH expression", "42601"},
    {MATCH_PREFIX, "fts5: syntax error", "42601"},
    {MATCH_PREFIX, "string or blob too big", "54000"},
    {MATCH_PREFIX, "too many ", "54000"},
    {MATCH_PREFIX, "parser stack overflow", "54001"},
    {MATCH_PREFIX, "Expression tree is too large", "54001"},
    {MATCH_PREFIX, "variable number must be", "54000"},
    {MATCH_INSIDE, "too complex", "54001"},
    {MATCH_INSIDE, " values for ", "42601"},
    {MATCH_INSIDE, " columns but ", "42601"},
    {MATCH_INSIDE, "values were supplied", "42601"},
    {MATCH_INSIDE, "do not have the same number of result columns", "42601"},
    {MATCH_INSIDE, "all VALUES must have the same number of terms", "42601"},
    {MATCH_INSIDE, "sub-select returns", "42601"},
    {MATCH_PREFIX, "row value misused", "42601"},
    {MATCH_INSIDE, "clause should come", "42601"},
    {MATCH_INSIDE, "ORDER BY term", "42P10"},
    {MATCH_INSIDE, "GROUP BY term", "42P10"},
    {MATCH_PREFIX, "ON CONFLICT clause does not match", "42P10"},
    {MATCH_PREFIX, "a GROUP BY clause is required", "42803"},
    {MATCH_INSIDE, "is not a function", "42883"},
    {MATCH_INSIDE, "more than one primary key", "42P16"},
    {MATCH_INSIDE, "PRIMARY KEY missing on", "42P16"},
    {MATCH_INSIDE, "Cannot add a ", "42P16"},
    {MATCH_INSIDE, "cannot drop ", "42P16"},
    {MATCH_INSIDE, "in drop column", "2BP01"},
    {MATCH_PREFIX, "unknown datatype for", "42704"},
    {MATCH_PREFIX, "missing datatype for", "42601"},
    {MATCH_INSIDE, "datatype mismatch", "42804"},
    {MATCH_PREFIX, "LIKE or GLOB pattern too complex", "54000"},
    {MATCH_PREFIX, "ESCAPE expression must be a single character", "22019"},
    {MATCH_INSIDE, "is locked", "55P03"},
};

static const struct code_row *find_code(int code)
{
    for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++) {
        if (code_rows[i].code == code)
            return &code_rows[i];
    }
    return NULL;
}

const char *engine_code_name(int extended_code)
{
    const struct code_row *row = find_code(extended_code);
    return row != NULL ? row->name : NULL;
}

static bool message_matches(const struct message_row *row, const char *message)
{
    size_t text_length = strlen(row->text);
    size_t message_length = strlen(message);
    if (message_length < text_length)
        return false;
    switch (row->match) {
    case MATCH_PREFIX:
        return strncmp(message, row->text, text_length) == 0;
    case MATCH_SUFFIX:
        return strcmp(message + message_length - text_length, row->text) == 0;
    case MATCH_INSIDE:
        return strstr(message, row->text) != NULL;
    }
    return false;
}

static const char *sqlstate_of_message(const char *message, const char *otherwise)
{
    for (size_t i = 0; i < sizeof(message_rows) / sizeof(message_rows[0]); i++) {
        if (message_matches(&message_rows[i], message))
            return message_rows[i].sqlstate;
    }
    return otherwise;
}

/* SQLite's constraint messages are "UNIQUE constraint failed: t.a, t.b", "NOT NULL constraint failed: t.a",
 * "CHECK constraint failed: name", "UNIQUE constraint failed: index 'i'". */
static void fill_constraint_names(struct sq_error *err, int code, const char *message)
{
    const char *what = strstr(message, "constraint failed: ");
    if (what == NULL)
        return;
    what += strlen("constraint failed: ");
    if (code == SQLITE_CONSTRAINT_CHECK) {
        snprintf(err->constraint, sizeof(err->constraint), "%.*s",
                 (int)sq_utf8_cut(what, strnlen(what, sizeof(err->constraint) - 1)), what);
        return;
    }
    const char *dot = strchr(what, '.');
    if (dot == NULL || strncmp(what, "index ", strlen("index ")) == 0)
        return;
    size_t table_length = (size_t)(dot - what);
    size_t column_length = strcspn(dot + 1, ",");
    if (table_length >= sizeof(err->table) || column_length >= sizeof(err->column))
        return;
    snprintf(err->table, sizeof(err->table), "%.*s", (int)table_length, what);
    if (code == SQLITE_CONSTRAINT_NOTNULL || dot[1 + column_length] == '\0')
        snprintf(err->column, sizeof(err->column), "%.*s", (int)column_length, dot + 1);
}

/* Whether the token is the name `name`, quoted or not. */
static bool token_names(const struct sql_token *token, const char *name, size_t name_length)
{
    size_t quote_bytes = token->kind == SQL_TOKEN_QUOTED ? 1 : 0;
    if ((token->kind != SQL_TOKEN_WORD && token->kind != SQL_TOKEN_QUOTED) ||
        token->length != name_length + 2 * quote_bytes)
        return false;
    return sqlite3_strnicmp(token->text + quote_bytes, name, (int)name_length) == 0;
}

/* SQLite tells no place for an unknown table or function: where its name first stands. */
static int offset_of_unknown_name(const char *message, const char *sql)
{
    static const char *const beginnings[] = {
        "no such table: ", "no such function: ", "no such view: ", "no such index: ", "no such trigger: "};
    const char *name = NULL;
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (strncmp(message, beginnings[i], strlen(beginnings[i])) == 0)
            name = message + strlen(beginnings[i]);
    }
    if (name == NULL)
        return -1;
    const char *dot = strrchr(name, '.'); /* schema.table */
    name = dot != NULL ? dot + 1 : name;
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, sql, strlen(sql), SQL_LEXER_SQLITE);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END; sql_lexer_next(&lexer, &token)) {
        if (token_names(&token, name, strlen(name)))
            return (int)token.start;
    }
    return -1;
}

/* SQLite says "disk full" only of writes; a file that cannot be made or grown is SQLITE_CANTOPEN or one of
 * SQLITE_IOERR_…, and the system's error tells. */
static bool is_disk_full(sqlite3 *db, int code)
{
    if (db == NULL || code != sqlite3_extended_errcode(db) ||
        ((code & 0xff) != SQLITE_IOERR && (code & 0xff) != SQLITE_CANTOPEN))
        return false;
    int error = sqlite3_system_errno(db);
    return error == ENOSPC || error == EDQUOT;
}

sq_status engine_fail(struct sq_error *err, sqlite3 *db, int result_code, const char *sql)
{
    sq_assert(result_code != SQLITE_OK && result_code != SQLITE_ROW && result_code != SQLITE_DONE);
    int code = db != NULL ? sqlite3_extended_errcode(db) : result_code;
    /* The connection's own code is the finer one, if it speaks of the same failure. */
    if ((code & 0xff) != (result_code & 0xff))
        code = result_code;
    const char *message =
        db != NULL && code == sqlite3_extended_errcode(db) ? sqlite3_errmsg(db) : sqlite3_errstr(result_code);

    const struct code_row *row = find_code(is_disk_full(db, code) ? SQLITE_FULL : code);
    if (row == NULL)
        row = find_code(code & 0xff);
    if (row == NULL)
        row = find_code(SQLITE_ERROR);
    const char *sqlstate = row->sqlstate;
    if ((code & 0xff) == SQLITE_ERROR)
        sqlstate = sqlstate_of_message(message, sqlstate);

    sq_status status = sq_fail_sql(err, row->status, sqlstate, "%s", message);
    if (err == NULL)
        return status;
    err->engine_code = code;
    if (row->status == SQ_NOMEM)
        sq_memory_set_hint(err);
    const char *name = engine_code_name(code);
    if (name == NULL)
        sq_error_set_detail(err, "SQLite result code %d.", code);
    else if (code != SQLITE_ERROR) /* which says nothing that the message does not say better */
        sq_error_set_detail(err, "SQLite result code %s (%d).", name, code);
    if ((code & 0xff) == SQLITE_CONSTRAINT)
        fill_constraint_names(err, code, message);
    int offset = db != NULL && sql != NULL ? sqlite3_error_offset(db) : -1;
    if (offset < 0 && sql != NULL && code == SQLITE_ERROR)
        offset = offset_of_unknown_name(message, sql);
    if (offset >= 0 && (size_t)offset <= strlen(sql))
        err->position = (int)sq_utf8_count(sql, (size_t)offset) + 1;
    return status;
}
