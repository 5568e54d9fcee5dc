/* tests/client/callee.c: an application that can be called in every way, for test_bad_server.py.
 *
 *     callee URL COUNT     opens COUNT connections, one after the other; on each registers everything, runs a statement
 *                          and prints what became of it */
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static void scalar(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (count == 1 && sqlite3_value_int(values[0]) == 77) {
        sqlite3 *db = sqlite3_context_db_handle(context);
        sqlite3_exec(db, "SELECT 'within a call'", NULL, NULL, NULL);
        sqlite3_result_error(context, sqlite3_errmsg(db), -1);
        return;
    }
    sqlite3_result_int(context, count);
}
static void step(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)values;
    *(int *)sqlite3_aggregate_context(context, sizeof(int)) += count;
}
static void total(sqlite3_context *context)
{
    const int *sum = sqlite3_aggregate_context(context, sizeof(int));
    sqlite3_result_int(context, *sum);
}
static int compare(void *data, int a_bytes, const void *a, int b_bytes, const void *b)
{
    (void)data;
    (void)a;
    (void)b;
    return a_bytes - b_bytes;
}
static int authorize(void *data, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)data;
    (void)action;
    return a != NULL && b != NULL && c != NULL && d != NULL ? a[0] + b[0] + c[0] + d[0] : 0;
}
static int number(void *data)
{
    (void)data;
    return 7;
}
static int number_of(void *data, int before)
{
    (void)data;
    return before;
}
static void nothing(void *data)
{
    (void)data;
}
static void update(void *data, int operation, const char *database, const char *table, sqlite3_int64 rowid)
{
    (void)data;
    (void)operation;
    (void)database;
    (void)table;
    (void)rowid;
}
static void preupdate(void *data, sqlite3 *db, int operation, const char *database, const char *table,
                      sqlite3_int64 old_rowid, sqlite3_int64 new_rowid)
{
    sqlite3_value *value;
    (void)data;
    (void)operation;
    (void)database;
    (void)table;
    (void)old_rowid;
    (void)new_rowid;
    for (int i = 0; i < sqlite3_preupdate_count(db); i++) {
        if (sqlite3_preupdate_old(db, i, &value) == SQLITE_OK)
            (void)sqlite3_value_text(value);
        if (sqlite3_preupdate_new(db, i, &value) == SQLITE_OK)
            (void)sqlite3_value_text(value);
    }
}
static int wal(void *data, sqlite3 *db, const char *database, int pages)
{
    (void)data;
    (void)db;
    (void)database;
    return pages;
}
static void needed(void *data, sqlite3 *db, int representation, const char *name)
{
    (void)data;
    (void)db;
    (void)representation;
    (void)name;
}
static int trace(unsigned event, void *data, void *p, void *x)
{
    (void)event;
    (void)data;
    (void)p;
    (void)x;
    return 0;
}

static int register_all(sqlite3 *db)
{
    int code = sqlite3_create_function(db, "scalar", -1, SQLITE_UTF8, NULL, scalar, NULL, NULL);
    code |= sqlite3_create_window_function(db, "aggregate", -1, SQLITE_UTF8, NULL, step, total, total, step, NULL);
    code |= sqlite3_create_collation(db, "utf8", SQLITE_UTF8, NULL, compare);
    code |= sqlite3_create_collation(db, "utf16", SQLITE_UTF16BE, NULL, compare);
    code |= sqlite3_set_authorizer(db, authorize, NULL);
    code |= sqlite3_busy_handler(db, number_of, NULL);
    code |= sqlite3_collation_needed(db, NULL, needed);
    code |= sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, trace, NULL);
    sqlite3_progress_handler(db, 100, number, NULL);
    sqlite3_commit_hook(db, number, NULL);
    sqlite3_rollback_hook(db, nothing, NULL);
    sqlite3_update_hook(db, update, NULL);
    sqlite3_preupdate_hook(db, preupdate, NULL);
    sqlite3_wal_hook(db, wal, NULL);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (int i = 0; i < (int)strtol(argv[2], NULL, 10); i++) {
        sqlite3 *db;
        int code = sqlite3_open(argv[1], &db);
        if (code == SQLITE_OK)
            code = register_all(db);
        if (code == SQLITE_OK)
            code = sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL);
        printf("%d %s\n", code, sqlite3_errmsg(db));
        if (sqlite3_close(db) != SQLITE_OK)
            return 1;
    }
    return 0;
}
