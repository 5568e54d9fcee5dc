/* tests/client/tables.c: what becomes of an application's virtual tables when their server does: test_calls.py.
 *
 *     tables URL     says where it is, and goes on when a line comes; each method that ends something says so, too */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

struct cursor {
    sqlite3_vtab_cursor base;
    int at;
};

static sqlite3 *db;
static int is_waiting; /* xNext is to wait for a line */

static void stop(const char *where)
{
    char line[16];
    printf("%s\n", where);
    if (fgets(line, sizeof(line), stdin) == NULL)
        exit(1);
}

static int on_connect(sqlite3 *own, void *data, int count, const char *const *texts, sqlite3_vtab **ret_table,
                      char **ret_message)
{
    (void)data;
    (void)count;
    (void)ret_message;
    printf("connect %s\n", texts[2]);
    *ret_table = calloc(1, sizeof(**ret_table));
    return sqlite3_declare_vtab(own, "CREATE TABLE x(a)");
}

static int on_disconnect(sqlite3_vtab *table)
{
    printf("disconnect\n");
    free(table);
    return SQLITE_OK;
}

static int on_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    (void)info;
    return SQLITE_OK;
}

static int on_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
    (void)table;
    *ret_cursor = calloc(1, sizeof(struct cursor));
    return SQLITE_OK;
}

static int on_close(sqlite3_vtab_cursor *cursor)
{
    printf("close\n");
    free(cursor);
    return SQLITE_OK;
}

static int on_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int count, sqlite3_value **values)
{
    (void)number;
    (void)text;
    (void)count;
    (void)values;
    ((struct cursor *)cursor)->at = 0;
    return SQLITE_OK;
}

static int on_next(sqlite3_vtab_cursor *cursor)
{
    if (is_waiting)
        stop("next");
    is_waiting = 0;
    ((struct cursor *)cursor)->at++;
    return SQLITE_OK;
}

static int on_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->at >= 3;
}

static int on_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)column;
    sqlite3_result_int(context, ((struct cursor *)cursor)->at);
    return SQLITE_OK;
}

static int on_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret_rowid)
{
    *ret_rowid = ((struct cursor *)cursor)->at;
    return SQLITE_OK;
}

static int on_update(sqlite3_vtab *table, int count, sqlite3_value **values, sqlite3_int64 *ret_rowid)
{
    (void)table;
    (void)count;
    (void)values;
    *ret_rowid = 1;
    return SQLITE_OK;
}

static int on_begin(sqlite3_vtab *table)
{
    (void)table;
    printf("begin\n");
    return SQLITE_OK;
}

static int on_commit(sqlite3_vtab *table)
{
    (void)table;
    printf("commit\n");
    return SQLITE_OK;
}

static int on_rollback(sqlite3_vtab *table)
{
    (void)table;
    printf("rollback\n");
    return SQLITE_OK;
}

static void run(const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
            printf("row %d\n", sqlite3_column_int(stmt, 0));
    }
    printf("%s: %d\n", sql, code);
    sqlite3_finalize(stmt);
}

int main(int argc, char **argv)
{
    static const sqlite3_module module = {
        .xCreate = on_connect,
        .xConnect = on_connect,
        .xBestIndex = on_best_index,
        .xDisconnect = on_disconnect,
        .xDestroy = on_disconnect,
        .xOpen = on_open,
        .xClose = on_close,
        .xFilter = on_filter,
        .xNext = on_next,
        .xEof = on_eof,
        .xColumn = on_column,
        .xRowid = on_rowid,
        .xUpdate = on_update,
        .xBegin = on_begin,
        .xCommit = on_commit,
        .xRollback = on_rollback,
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2 || sqlite3_open(argv[1], &db) != SQLITE_OK ||
        sqlite3_create_module(db, "m", &module, NULL) != SQLITE_OK)
        return 1;
    run("CREATE VIRTUAL TABLE t USING m");
    run("SELECT a FROM t");
    stop("between");
    run("SELECT sum(a) FROM t");
    run("BEGIN");
    run("INSERT INTO t VALUES (1)");
    stop("transaction");
    run("SELECT 1");
    run("SELECT sum(a) FROM t");
    is_waiting = 1;
    run("SELECT a FROM t");
    run("SELECT sum(a) FROM t");
    run("BEGIN");
    run("INSERT INTO t VALUES (1)");
    stop("closing");
    printf("close: %d\n", sqlite3_close(db));
    return 0;
}
