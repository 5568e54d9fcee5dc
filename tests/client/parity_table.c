/* tests/client/parity_table.c: virtual tables of the application. */
#include "parity.h"

#include <stddef.h>

static sqlite3 *db;

/* --- A table of rows in memory, which says all that it is asked -------------------------------------------------------- */

enum { COLUMNS = 3, ROWS_MAX = 20 };

struct row {
    sqlite3_int64 rowid;
    sqlite3_value *values[COLUMNS];
};

/* What a table is told to do otherwise than well; all tables look here. */
static struct {
    const char *failing; /* method that fails; NULL: none */
    int code;            /* with this */
    const char *message; /* and zErrMsg; NULL: none */
    const char *nested;  /* SQL that the method `nesting` runs */
    const char *nesting;
    bool is_silent; /* xColumn and xRowid are not logged */
    bool is_in;     /* sqlite3_vtab_in() with 1 for what can be */
    bool omits;
    bool frees_index; /* idxStr is to be freed */
    int config;       /* of sqlite3_vtab_config(); 0: none */
    bool leaves_unchanged;
    bool consumes_order;
} behave;

struct store {
    struct row rows[ROWS_MAX];
    int count;
    sqlite3_int64 next_rowid;
} store;

struct table {
    sqlite3_vtab base;
    char name[40];
};

struct cursor {
    sqlite3_vtab_cursor base;
    int at;
    sqlite3_value *equal; /* of column a; NULL: all */
};

static const char *name_of(sqlite3_vtab *base)
{
    return ((struct table *)base)->name;
}

/* Says that a method is called, and what it is told to do. */
static int enter(const char *method, const char *table, char **message)
{
    if (behave.nesting != NULL && strcmp(behave.nesting, method) == 0) {
        behave.nesting = NULL;
        depth++;
        run(db, behave.nested);
        depth--;
    }
    if (behave.failing == NULL || strcmp(behave.failing, method) != 0)
        return SQLITE_OK;
    say("%s(%s) fails", method, table);
    if (behave.message != NULL) {
        sqlite3_free(*message);
        *message = sqlite3_mprintf("%s", behave.message);
    }
    return behave.code;
}

static int construct(const char *method, sqlite3 *own, void *data, int count, const char *const *texts,
                     sqlite3_vtab **ret_table, char **ret_message)
{
    say("%s: %s, %d arguments, %s", method, (const char *)data, count, own == db ? "its connection" : "another one");
    for (int i = 0; i < count; i++)
        say("    %s", texts[i]);
    int code = enter(method, texts[2], ret_message);
    if (code != SQLITE_OK)
        return code;
    struct table *table = sqlite3_malloc(sizeof(*table));
    memset(table, 0, sizeof(*table));
    snprintf(table->name, sizeof(table->name), "%s", texts[2]);
    code = sqlite3_declare_vtab(own, count > 3 ? texts[3] : "CREATE TABLE x(a, b TEXT COLLATE nocase, c HIDDEN)");
    say("declare_vtab: %d %s", code, code != SQLITE_OK ? sqlite3_errmsg(own) : "");
    if (code != SQLITE_OK) {
        *ret_message = sqlite3_mprintf("cannot declare: %s", sqlite3_errmsg(own));
        sqlite3_free(table);
        return code;
    }
    if (behave.config != 0)
        say("vtab_config: %d", sqlite3_vtab_config(own, behave.config, 1));
    *ret_table = &table->base;
    return SQLITE_OK;
}

static int on_create(sqlite3 *own, void *data, int count, const char *const *texts, sqlite3_vtab **ret_table,
                     char **ret_message)
{
    return construct("create", own, data, count, texts, ret_table, ret_message);
}

static int on_connect(sqlite3 *own, void *data, int count, const char *const *texts, sqlite3_vtab **ret_table,
                      char **ret_message)
{
    return construct("connect", own, data, count, texts, ret_table, ret_message);
}

static int on_disconnect(sqlite3_vtab *base)
{
    say("disconnect(%s), nRef %d", name_of(base), base->nRef);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int on_destroy(sqlite3_vtab *base)
{
    say("destroy(%s)", name_of(base));
    int code = enter("destroy", name_of(base), &base->zErrMsg);
    if (code == SQLITE_OK)
        sqlite3_free(base);
    return code;
}

static void say_plan(sqlite3_index_info *info)
{
    say("columns used %llx, distinct %d, cost %g, rows %lld, flags %d, index %d/%s", (unsigned long long)info->colUsed,
        sqlite3_vtab_distinct(info), info->estimatedCost, info->estimatedRows, info->idxFlags, info->idxNum,
        info->idxStr == NULL ? "none" : "set");
    for (int i = 0; i < info->nConstraint; i++) {
        sqlite3_value *value = NULL;
        int code = sqlite3_vtab_rhs_value(info, i, &value);
        say("constraint: column %d op %d usable %d, collation %s, in %d, rhs %d", info->aConstraint[i].iColumn,
            info->aConstraint[i].op, info->aConstraint[i].usable, sqlite3_vtab_collation(info, i),
            sqlite3_vtab_in(info, i, -1), code);
        if (value != NULL)
            say_value("rhs", value);
    }
    for (int i = 0; i < info->nOrderBy; i++)
        say("order by: column %d desc %d", info->aOrderBy[i].iColumn, info->aOrderBy[i].desc);
}

static int on_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    static char fixed[] = "by a";
    say("best_index(%s)", name_of(base));
    depth++;
    say_plan(info);
    depth--;
    int code = enter("best_index", name_of(base), &base->zErrMsg);
    if (code != SQLITE_OK)
        return code;
    int argument = 0;
    for (int i = 0; i < info->nConstraint; i++) {
        bool is_limit = info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_LIMIT ||
                        info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_OFFSET;
        if (is_limit || !info->aConstraint[i].usable || info->aConstraint[i].iColumn != 0 ||
            info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (behave.is_in && sqlite3_vtab_in(info, i, -1))
            say("in: %d", sqlite3_vtab_in(info, i, 1));
        info->aConstraintUsage[i].argvIndex = ++argument;
        info->aConstraintUsage[i].omit = behave.omits;
        info->idxStr = behave.frees_index ? sqlite3_mprintf("by %s", "a") : fixed;
        info->needToFreeIdxStr = behave.frees_index;
        info->idxNum = 7;
        info->estimatedCost = 10;
        info->estimatedRows = 2;
        break;
    }
    if (argument == 0) {
        info->estimatedCost = 1000;
        info->estimatedRows = 100;
    }
    if (behave.consumes_order)
        info->orderByConsumed = 1;
    return SQLITE_OK;
}

static int on_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret_cursor)
{
    say("open(%s), nRef %d", name_of(base), base->nRef);
    int code = enter("open", name_of(base), &base->zErrMsg);
    if (code != SQLITE_OK)
        return code;
    struct cursor *cursor = sqlite3_malloc(sizeof(*cursor));
    memset(cursor, 0, sizeof(*cursor));
    *ret_cursor = &cursor->base;
    return SQLITE_OK;
}

static int on_close(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    say("close(%s), nRef %d", name_of(base->pVtab), base->pVtab->nRef);
    sqlite3_value_free(cursor->equal);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static bool is_equal(sqlite3_value *a, sqlite3_value *b)
{
    return sqlite3_value_int64(a) == sqlite3_value_int64(b);
}

static void skip(struct cursor *cursor)
{
    while (cursor->at < store.count && cursor->equal != NULL &&
           !is_equal(store.rows[cursor->at].values[0], cursor->equal))
        cursor->at++;
}

static int on_filter(sqlite3_vtab_cursor *base, int number, const char *text, int count, sqlite3_value **values)
{
    struct cursor *cursor = (struct cursor *)base;
    say("filter(%s): index %d/%s, %d arguments", name_of(base->pVtab), number, text != NULL ? text : "none", count);
    depth++;
    for (int i = 0; i < count; i++) {
        sqlite3_value *value = NULL;
        say_value("argument", values[i]);
        say("from a binding: %d, nochange %d", sqlite3_value_frombind(values[i]), sqlite3_value_nochange(values[i]));
        if (!behave.is_in)
            continue;
        for (int twice = 0; twice < 2; twice++) {
            int code = sqlite3_vtab_in_first(values[i], &value);
            for (; code == SQLITE_OK && value != NULL; code = sqlite3_vtab_in_next(values[i], &value))
                say_value("in", value);
            say("in: %d", code);
        }
    }
    depth--;
    int code = enter("filter", name_of(base->pVtab), &base->pVtab->zErrMsg);
    if (code != SQLITE_OK)
        return code;
    sqlite3_value_free(cursor->equal);
    cursor->equal = count > 0 && !behave.is_in ? sqlite3_value_dup(values[0]) : NULL;
    cursor->at = 0;
    skip(cursor);
    return SQLITE_OK;
}

static int on_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    say("next(%s)", name_of(base->pVtab));
    int code = enter("next", name_of(base->pVtab), &base->pVtab->zErrMsg);
    cursor->at++;
    skip(cursor);
    return code;
}

static int on_eof(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    say("eof(%s): %d", name_of(base->pVtab), cursor->at >= store.count);
    return cursor->at >= store.count;
}

static int on_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    struct cursor *cursor = (struct cursor *)base;
    if (!behave.is_silent)
        say("column(%s): %d of row %lld, nochange %d, %s", name_of(base->pVtab), column, store.rows[cursor->at].rowid,
            sqlite3_vtab_nochange(context),
            sqlite3_context_db_handle(context) == db ? "its connection" : "another one");
    int code = enter("column", name_of(base->pVtab), &base->pVtab->zErrMsg);
    if (code != SQLITE_OK)
        return code;
    if (behave.failing != NULL && strcmp(behave.failing, "result") == 0) {
        sqlite3_result_error(context, behave.message, -1);
        sqlite3_result_error_code(context, behave.code);
        return SQLITE_OK;
    }
    if (sqlite3_vtab_nochange(context) && behave.leaves_unchanged)
        return SQLITE_OK;
    sqlite3_result_value(context, store.rows[cursor->at].values[column]);
    if (sqlite3_vtab_nochange(context))
        say("still unchanged");
    return SQLITE_OK;
}

static int on_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid)
{
    struct cursor *cursor = (struct cursor *)base;
    if (!behave.is_silent)
        say("rowid(%s): %lld", name_of(base->pVtab), store.rows[cursor->at].rowid);
    *ret_rowid = store.rows[cursor->at].rowid;
    return enter("rowid", name_of(base->pVtab), &base->pVtab->zErrMsg);
}

static int find_row(sqlite3_int64 rowid)
{
    for (int i = 0; i < store.count; i++) {
        if (store.rows[i].rowid == rowid)
            return i;
    }
    return -1;
}

static void delete_row(sqlite3_int64 rowid)
{
    int at = find_row(rowid);
    if (at < 0)
        return;
    for (int i = 0; i < COLUMNS; i++)
        sqlite3_value_free(store.rows[at].values[i]);
    memmove(&store.rows[at], &store.rows[at + 1], (size_t)(store.count - at - 1) * sizeof(store.rows[0]));
    store.count--;
}

static int on_update(sqlite3_vtab *base, int count, sqlite3_value **values, sqlite3_int64 *ret_rowid)
{
    say("update(%s): %d arguments, on conflict %d, rowid %lld", name_of(base), count, sqlite3_vtab_on_conflict(db),
        *ret_rowid);
    depth++;
    for (int i = 0; i < count; i++) {
        say_value("value", values[i]);
        say("nochange %d, from a binding %d", sqlite3_value_nochange(values[i]), sqlite3_value_frombind(values[i]));
    }
    depth--;
    int code = enter("update", name_of(base), &base->zErrMsg);
    if (code != SQLITE_OK)
        return code;
    if (count == 1) {
        delete_row(sqlite3_value_int64(values[0]));
        return SQLITE_OK;
    }
    bool is_new = sqlite3_value_type(values[0]) == SQLITE_NULL;
    sqlite3_int64 rowid =
        sqlite3_value_type(values[1]) == SQLITE_NULL ? ++store.next_rowid : sqlite3_value_int64(values[1]);
    if (is_new && find_row(rowid) >= 0) {
        if (sqlite3_vtab_on_conflict(db) != SQLITE_REPLACE)
            return SQLITE_CONSTRAINT;
        delete_row(rowid);
    }
    int at = is_new ? store.count++ : find_row(sqlite3_value_int64(values[0]));
    store.rows[at].rowid = rowid;
    for (int i = 0; i < COLUMNS; i++) {
        if (!is_new && sqlite3_value_nochange(values[i + 2]))
            continue;
        if (!is_new)
            sqlite3_value_free(store.rows[at].values[i]);
        store.rows[at].values[i] = sqlite3_value_dup(values[i + 2]);
    }
    *ret_rowid = rowid;
    if (rowid > store.next_rowid)
        store.next_rowid = rowid;
    return SQLITE_OK;
}

#define PLAIN(name)                                                                                                    \
    static int on_##name(sqlite3_vtab *base)                                                                           \
    {                                                                                                                  \
        say(#name "(%s), autocommit %d", name_of(base), sqlite3_get_autocommit(db));                                   \
        return enter(#name, name_of(base), &base->zErrMsg);                                                            \
    }
PLAIN(begin)
PLAIN(sync)
PLAIN(commit)
PLAIN(rollback)

#define SAVEPOINT(name)                                                                                                \
    static int on_##name(sqlite3_vtab *base, int number)                                                               \
    {                                                                                                                  \
        say(#name "(%s) %d", name_of(base), number);                                                                   \
        return enter(#name, name_of(base), &base->zErrMsg);                                                            \
    }
SAVEPOINT(savepoint)
SAVEPOINT(release)
SAVEPOINT(rollback_to)

static void overloaded(sqlite3_context *context, int count, sqlite3_value **values)
{
    say("overloaded: %s, %d arguments", (const char *)sqlite3_user_data(context), count);
    sqlite3_result_int(context, count > 1 && is_equal(values[0], values[1]));
}

static int on_find_function(sqlite3_vtab *base, int count, const char *name,
                            void (**ret_function)(sqlite3_context *, int, sqlite3_value **), void **ret_data)
{
    static char data[] = "a table's own";
    say("find_function(%s): %s(%d)", name_of(base), name, count);
    if (strcmp(name, "same") != 0 && strcmp(name, "like") != 0)
        return 0;
    *ret_function = overloaded;
    *ret_data = data;
    return strcmp(name, "same") == 0 ? SQLITE_INDEX_CONSTRAINT_FUNCTION : 1;
}

static int on_rename(sqlite3_vtab *base, const char *name)
{
    say("rename(%s): %s", name_of(base), name);
    int code = enter("rename", name_of(base), &base->zErrMsg);
    if (code == SQLITE_OK)
        snprintf(((struct table *)base)->name, sizeof(((struct table *)base)->name), "%s", name);
    return code;
}

static int on_shadow_name(const char *name)
{
    say("shadow_name: %s", name);
    return strcmp(name, "shadow") == 0;
}

static const sqlite3_module full = {
    .iVersion = 3,
    .xCreate = on_create,
    .xConnect = on_connect,
    .xBestIndex = on_best_index,
    .xDisconnect = on_disconnect,
    .xDestroy = on_destroy,
    .xOpen = on_open,
    .xClose = on_close,
    .xFilter = on_filter,
    .xNext = on_next,
    .xEof = on_eof,
    .xColumn = on_column,
    .xRowid = on_rowid,
    .xUpdate = on_update,
    .xBegin = on_begin,
    .xSync = on_sync,
    .xCommit = on_commit,
    .xRollback = on_rollback,
    .xFindFunction = on_find_function,
    .xRename = on_rename,
    .xSavepoint = on_savepoint,
    .xRelease = on_release,
    .xRollbackTo = on_rollback_to,
    .xShadowName = on_shadow_name,
};

/* What a table for reading needs. */
#define READING                                                                                                        \
    .xConnect = on_connect, .xBestIndex = on_best_index, .xDisconnect = on_disconnect, .xOpen = on_open,               \
    .xClose = on_close, .xFilter = on_filter, .xNext = on_next, .xEof = on_eof, .xColumn = on_column,                  \
    .xRowid = on_rowid

static const sqlite3_module reading = {.xCreate = on_create, .xDestroy = on_destroy, READING};
static const sqlite3_module eponymous = {.xCreate = on_connect, .xDestroy = on_disconnect, READING};
static const sqlite3_module eponymous_only = {READING};

static void clear_store(void)
{
    while (store.count > 0)
        delete_row(store.rows[0].rowid);
    store.next_rowid = 0;
    memset(&behave, 0, sizeof(behave));
}

static void open_with(const sqlite3_module *module)
{
    db = open_database(first_name);
    clear_store();
    result(db, "module", sqlite3_create_module_v2(db, "m", module, "user data", destroyed));
}

static void fill(void)
{
    bool was_silent = behave.is_silent;
    behave.is_silent = true;
    run(db, "INSERT INTO t(a, b) VALUES (1, 'one'), (2, 'two'), (3, x'0033'), (2, NULL)");
    behave.is_silent = was_silent;
}

/* Runs what does not need the same columns of each row: a server may ask for some that are then not needed. */
static void run_silently(const char *sql)
{
    behave.is_silent = true;
    run(db, sql);
    behave.is_silent = false;
}

/* --- Parts ------------------------------------------------------------------------------------------------------------ */

void part_table_reading(void)
{
    open_with(&full);
    run(db, "SELECT * FROM t");
    run(db, "CREATE VIRTUAL TABLE t USING m");
    run(db, "PRAGMA table_xinfo(t)");
    fill();
    run(db, "SELECT * FROM t");
    run(db, "SELECT rowid, b, a, c FROM t ORDER BY a DESC LIMIT 3");
    run(db, "SELECT count(*) FROM t");
    run_silently("SELECT b FROM t WHERE a = 2");
    behave.frees_index = behave.omits = true;
    run_silently("SELECT b FROM t WHERE a = 2 AND b IS NULL");
    run_silently("SELECT x.a, y.b FROM t AS x JOIN t AS y ON x.a = y.a WHERE x.rowid < 3");
    run_silently("SELECT DISTINCT a FROM t WHERE b = 'TWO' OR a > 2.5 GROUP BY a");
    run_silently("SELECT a FROM t WHERE b LIKE 'o%' AND b GLOB 'o*' AND a BETWEEN 0 AND 7 AND b COLLATE rtrim <> 'x'"
                 " LIMIT 5 OFFSET 0");
    run(db, "EXPLAIN QUERY PLAN SELECT b FROM t WHERE a = 2");
    behave.frees_index = false;
    run(db, "EXPLAIN QUERY PLAN SELECT b FROM t WHERE a = 2");
    run_silently("SELECT (SELECT max(a) FROM t), EXISTS (SELECT 1 FROM t WHERE a = 3)");
    behave.omits = false;
    run(db, "SELECT a FROM t WHERE a IN (3, 1, 2)");
    behave.is_in = true;
    run(db, "SELECT a FROM t WHERE a IN (3, 1, 2, 'x', x'00', 1.5)");
    run(db, "SELECT a FROM t WHERE a IN (SELECT 3 WHERE 0)");
    behave.is_in = false;
    behave.consumes_order = true;
    run(db, "SELECT a FROM t ORDER BY a");
    behave.consumes_order = false;
    run(db, "DROP TABLE t");
    run(db, "SELECT * FROM t");
    close_database(db);
    clear_store();
}

void part_table_statements(void)
{
    open_with(&full);
    run(db, "CREATE VIRTUAL TABLE t USING m");
    fill();
    sqlite3_stmt *stmt;
    behave.is_silent = true;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT a, b FROM t WHERE a = ?1 OR a > ?2", -1, &stmt, NULL));
    for (int i = 1; i <= 2; i++) {
        sqlite3_bind_int(stmt, 1, i);
        sqlite3_bind_int(stmt, 2, 2);
        int code;
        while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
            say_value("a", sqlite3_column_value(stmt, 0));
        result(db, "step", code);
        result(db, "reset", sqlite3_reset(stmt));
    }
    say("readonly %d", sqlite3_stmt_readonly(stmt));
    say("half read");
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "step", sqlite3_step(stmt));
    behave.is_silent = false;
    result(db, "drop", sqlite3_exec(db, "DROP TABLE t", NULL, NULL, NULL));
    result(db, "finalize", sqlite3_finalize(stmt));
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT a FROM t WHERE a = ?1", -1, &stmt, NULL));
    sqlite3_bind_int(stmt, 1, 2);
    result(db, "step", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &stmt, NULL));
    run(db, "CREATE TABLE another(x)");
    result(db, "step", sqlite3_step(stmt));
    result(db, "close", sqlite3_close(db));
    result(db, "finalize", sqlite3_finalize(stmt));
    close_database(db);

    say("again");
    db = open_database(first_name);
    run(db, "SELECT a FROM t");
    result(db, "module", sqlite3_create_module_v2(db, "m", &full, "user data", destroyed));
    run(db, "SELECT a FROM t LIMIT 1");
    run(db, "SELECT name, sql FROM sqlite_schema");
    say("deleted");
    result(db, "module", sqlite3_create_module_v2(db, "m", NULL, NULL, NULL));
    run(db, "SELECT a FROM t LIMIT 1");
    close_database(db);

    db = open_database(first_name);
    run(db, "SELECT 1 FROM t");
    run(db, "DROP TABLE t");
    run(db, "CREATE VIRTUAL TABLE u USING m");
    close_database(db);
    clear_store();
}

void part_table_writing(void)
{
    open_with(&full);
    run(db, "CREATE VIRTUAL TABLE t USING m");
    run(db, "INSERT INTO t VALUES (1, 'one')");
    run(db, "INSERT INTO t(rowid, a, b, c) VALUES (10, 1.5, x'00', 'hidden'), (11, NULL, 'x', 2)");
    run(db, "SELECT last_insert_rowid(), changes(), total_changes()");
    behave.leaves_unchanged = true;
    run_silently("UPDATE t SET a = 5 WHERE a = 1");
    run_silently("UPDATE t SET b = b || '!', rowid = 20 WHERE rowid = 10");
    behave.leaves_unchanged = false;
    run(db, "UPDATE t SET a = 6 WHERE rowid = 20");
    run(db, "SELECT rowid, a, b, c FROM t");
    run(db, "DELETE FROM t WHERE a = 6");
    behave.config = SQLITE_VTAB_CONSTRAINT_SUPPORT;
    run(db, "CREATE VIRTUAL TABLE k USING m");
    behave.config = 0;
    run(db, "INSERT INTO k(rowid, a) VALUES (1, 'twice')");
    run(db, "INSERT OR IGNORE INTO k(rowid, a) VALUES (1, 'ignored'), (30, 'kept')");
    run(db, "INSERT OR REPLACE INTO k(rowid, a) VALUES (1, 'replaced')");
    run(db, "INSERT OR FAIL INTO k(rowid, a) VALUES (1, 'failed')");
    run(db, "BEGIN; INSERT OR ROLLBACK INTO k(rowid, a) VALUES (1, 'rolled back'); COMMIT");
    run(db, "INSERT INTO t(rowid, a) VALUES (1, 'no support')");
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "INSERT INTO t(a, b) VALUES (?1, 'fixed')", -1, &stmt, NULL));
    sqlite3_bind_text(stmt, 1, "bound", -1, SQLITE_STATIC);
    result(db, "step", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "INSERT INTO t(a) VALUES (1) RETURNING a");
    run(db, "CREATE TABLE s(x); INSERT INTO s SELECT a FROM t; SELECT x FROM s");
    run(db, "CREATE TRIGGER g AFTER INSERT ON s BEGIN INSERT INTO t(a) VALUES (new.x); END");
    run(db, "INSERT INTO s VALUES ('by trigger')");
    run(db, "DELETE FROM t");
    run(db, "DROP TABLE k; DROP TABLE t");
    close_database(db);

    open_with(&reading);
    run(db, "CREATE VIRTUAL TABLE r USING m");
    run(db, "INSERT INTO r(a) VALUES (1)");
    run(db, "UPDATE r SET a = 1");
    run(db, "DELETE FROM r");
    run(db, "ALTER TABLE r RENAME TO q");
    run(db, "DROP TABLE q; DROP TABLE r");
    close_database(db);
    clear_store();
}

void part_table_transactions(void)
{
    open_with(&full);
    run(db, "CREATE VIRTUAL TABLE t USING m; CREATE VIRTUAL TABLE u USING m; CREATE TABLE plain(a UNIQUE)");
    behave.is_silent = true;
    run(db, "BEGIN; INSERT INTO t(a) VALUES (1); INSERT INTO u(a) VALUES (2); INSERT INTO plain VALUES (1); COMMIT");
    run(db, "BEGIN; INSERT INTO t(a) VALUES (3); ROLLBACK");
    run(db, "SAVEPOINT one; INSERT INTO t(a) VALUES (4); SAVEPOINT two; INSERT INTO u(a) VALUES (5)");
    run(db, "ROLLBACK TO two; INSERT INTO t(a) VALUES (6); RELEASE two; ROLLBACK TO one; RELEASE one");
    run(db,
        "BEGIN; INSERT INTO t(a) VALUES (7); INSERT INTO plain VALUES (1); INSERT INTO plain VALUES (2), (1); COMMIT");
    run(db, "INSERT INTO plain SELECT a FROM t");
    static const char *const failing[] = {"begin", "sync", "savepoint", "update"};
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        behave.failing = failing[i];
        behave.code = SQLITE_ERROR;
        for (int with = 0; with < 2; with++) {
            behave.message = with ? "with a message" : NULL;
            run(db, "INSERT INTO t(a) VALUES (8)");
            run(db,
                "BEGIN; SAVEPOINT s; INSERT INTO t(a) VALUES (9); INSERT INTO plain VALUES (99); RELEASE s; COMMIT");
            run(db, "ROLLBACK");
        }
    }
    behave.failing = "commit";
    run(db, "INSERT INTO t(a) VALUES (10)");
    behave.failing = "rollback";
    run(db, "BEGIN; INSERT INTO t(a) VALUES (10); ROLLBACK");
    behave.failing = NULL;
    run(db, "SELECT count(*) FROM plain");
    run(db, "BEGIN; INSERT INTO t(a) VALUES (11); DROP TABLE u; ROLLBACK; SELECT count(*) FROM u");
    run(db, "BEGIN; CREATE VIRTUAL TABLE v USING m; INSERT INTO v(a) VALUES (1); ROLLBACK; SELECT * FROM v");
    say("closed in a transaction");
    run(db, "BEGIN; INSERT INTO t(a) VALUES (12)");
    close_database(db);
    clear_store();
}

void part_table_errors(void)
{
    static const char *const methods[] = {"create", "connect", "best_index", "open",   "filter", "next",
                                          "column", "rowid",   "result",     "update", "rename", "destroy"};
    static const int codes[] = {SQLITE_ERROR, SQLITE_BUSY, SQLITE_CONSTRAINT, SQLITE_NOMEM, SQLITE_IOERR_READ, 999};
    open_with(&full);
    run(db, "CREATE VIRTUAL TABLE t USING m");
    fill();
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        for (size_t code = 0; code < sizeof(codes) / sizeof(codes[0]); code++) {
            behave.failing = methods[i];
            behave.code = codes[code];
            behave.message = code % 2 == 0 ? "of the table" : NULL;
            if (behave.message == NULL && strcmp(methods[i], "result") == 0)
                behave.message = "of the context";
            run(db, "CREATE VIRTUAL TABLE broken USING m");
            run(db, "SELECT rowid, a, b FROM t");
            run(db, "INSERT INTO t(a) VALUES (100)");
            run(db, "ALTER TABLE t RENAME TO t2");
            run(db, "ALTER TABLE t2 RENAME TO t");
            run(db, "DROP TABLE broken");
            behave.failing = NULL;
            run(db, "DROP TABLE IF EXISTS broken; DELETE FROM t WHERE a = 100");
        }
    }
    run(db, "CREATE VIRTUAL TABLE bad USING m(nonsense)");
    run(db, "CREATE VIRTUAL TABLE bad USING m(CREATE TABLE x)");
    run(db, "CREATE VIRTUAL TABLE bad USING m(CREATE TABLE x(a, a))");
    run(db, "CREATE VIRTUAL TABLE good USING m(CREATE TABLE x(a PRIMARY KEY, b, c) WITHOUT ROWID)");
    run(db, "PRAGMA table_info(good); DROP TABLE good");
    run(db, "CREATE VIRTUAL TABLE t USING m; CREATE VIRTUAL TABLE main.x USING M('quoted', [b c], 1+2, k = v)");
    say("declare outside %d", sqlite3_declare_vtab(db, "CREATE TABLE x(a)"));
    result(db, "config outside", sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS));
    close_database(db);
    clear_store();
}

void part_table_kinds(void)
{
    static const struct {
        const char *name;
        const sqlite3_module *module;
    } kinds[] = {{"m", &full}, {"r", &reading}, {"e", &eponymous}, {"only", &eponymous_only}};
    db = open_database(first_name);
    clear_store();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        result(db, kinds[i].name, sqlite3_create_module_v2(db, kinds[i].name, kinds[i].module, "kind", destroyed));
    run(db, "CREATE VIRTUAL TABLE t USING m");
    fill();
    run(db, "SELECT a FROM r; SELECT a FROM e WHERE a = 3; SELECT a FROM only(7)");
    run(db, "SELECT a FROM main.only; SELECT a FROM temp.e");
    run(db, "CREATE VIRTUAL TABLE f USING e; SELECT b FROM f; DROP TABLE f");
    run(db, "CREATE VIRTUAL TABLE f USING only");
    run(db, "CREATE VIRTUAL TABLE temp.f USING r(CREATE TABLE x(b, a HIDDEN)); SELECT * FROM f; DROP TABLE f");
    run(db, "SELECT x.a FROM t AS x, e WHERE e.a = x.a AND x.a > 2");
    say("replaced");
    result(db, "e", sqlite3_create_module_v2(db, "e", &eponymous, "second", destroyed));
    run(db, "SELECT count(*) FROM e");
    result(db, "m", sqlite3_create_module_v2(db, "M", &full, "second", destroyed));
    run(db, "SELECT count(*) FROM t");
    result(db, "deleted", sqlite3_create_module_v2(db, "e", NULL, "none", destroyed));
    run(db, "SELECT count(*) FROM e");
    result(db, "plain", sqlite3_create_module(db, "plain", &reading, "no destructor"));
    const char *keep[] = {"only", "m", "nothing", NULL};
    result(db, "drop", sqlite3_drop_modules(db, keep));
    run(db, "SELECT count(*) FROM only; SELECT count(*) FROM t");
    run(db, "CREATE VIRTUAL TABLE g USING plain; CREATE VIRTUAL TABLE g USING fts5(a)");
    result(db, "drop", sqlite3_drop_modules(db, NULL));
    run(db, "SELECT count(*) FROM only; SELECT count(*) FROM t; SELECT 1");

    say("views, functions, shadows");
    result(db, "m", sqlite3_create_module_v2(db, "m", &full, "third", destroyed));
    result(db, "overload", sqlite3_overload_function(db, "same", 2));
    run(db, "SELECT a FROM t WHERE same(a, 2)");
    run(db, "SELECT same(1, 1)");
    run(db, "SELECT a FROM t WHERE a LIKE '2' AND abs(a) > 1");
    run(db, "CREATE VIEW v AS SELECT a FROM t WHERE a = 3; SELECT * FROM v");
    static const int configs[] = {SQLITE_VTAB_INNOCUOUS, SQLITE_VTAB_DIRECTONLY, SQLITE_VTAB_CONSTRAINT_SUPPORT, 99};
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        behave.config = configs[i];
        run(db, "CREATE VIRTUAL TABLE c USING m; CREATE VIEW w AS SELECT count(*) FROM c; SELECT * FROM w");
        behave.config = 0;
        run(db, "DROP VIEW w; DROP TABLE c");
    }
    run(db, "SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name");
    run(db, "ALTER TABLE t RENAME TO renamed; SELECT a FROM renamed; DROP TABLE renamed");
    close_database(db);
    clear_store();
}

void part_table_nesting(void)
{
    static const char *const methods[] = {"create", "connect", "best_index", "open", "filter", "next",     "column",
                                          "rowid",  "update",  "begin",      "sync", "commit", "rollback", "destroy"};
    open_with(&full);
    run(db, "CREATE TABLE notes(x); CREATE VIRTUAL TABLE t USING m");
    fill();
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        static const char *const nested[] = {
            "SELECT count(*) FROM notes",
            "INSERT INTO notes VALUES ('noted')",
            "SELECT a FROM t WHERE a = 3",
            "SELECT * FROM nowhere",
            "CREATE TABLE IF NOT EXISTS made(x); DROP TABLE made",
        };
        for (size_t k = 0; k < sizeof(nested) / sizeof(nested[0]); k++) {
            say("%s runs %s", methods[i], nested[k]);
            behave.nesting = methods[i];
            behave.nested = nested[k];
            run(db, "CREATE VIRTUAL TABLE n USING m");
            run(db, "SELECT rowid, a FROM t WHERE a = 1");
            run(db, "BEGIN; INSERT INTO t(a) VALUES (50); ROLLBACK");
            run(db, "DELETE FROM t WHERE a = 50");
            run(db, "DROP TABLE n");
            behave.nesting = NULL;
        }
    }
    run(db, "SELECT count(*) FROM notes");
    close_database(db);
    clear_store();
}
