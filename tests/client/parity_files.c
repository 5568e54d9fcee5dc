/* tests/client/parity_files.c: files behind databases, and what is done with the connection when it is opened. */
#include "parity.h"

#include <errno.h>
#include <unistd.h>

#define SQLITE_CORE 1
#include <sqlite3ext.h>

static sqlite3 *db;

/* The name without its directory, which is another for each library. */
static const char *base_of(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL ? slash + 1 : path;
}

static void list_databases(const char *sql)
{
    sqlite3_stmt *stmt;
    result(db, sql, sqlite3_prepare_v2(db, sql, -1, &stmt, NULL));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 1),
                   *file = (const char *)sqlite3_column_text(stmt, 2);
        const char *known = sqlite3_db_filename(db, name);
        say("%d %s %s %d", sqlite3_column_int(stmt, 0), name, base_of(file), strcmp(file, known != NULL ? known : ""));
    }
    result(db, "finalize", sqlite3_finalize(stmt));
}

void part_database_list(void)
{
    db = open_database(first_name);
    list_databases("PRAGMA database_list");
    char *sql = sqlite3_mprintf("ATTACH %Q AS \"other one\"", second_name);
    result(db, "attach", sqlite3_exec(db, sql, NULL, NULL, NULL));
    sqlite3_free(sql);
    run(db, "ATTACH '' AS temporary; ATTACH ':memory:' AS memory");
    list_databases("PRAGMA database_list");
    sqlite3_db_config(db, SQLITE_DBCONFIG_MAINDBNAME, "principal");
    list_databases("pragma main.database_list");
    close_database(db);
}

/* ATTACH of nothing: a temporary database. */
void part_attach_nothing(void)
{
    db = open_database(first_name);
    run(db, "ATTACH ? AS ?");
    say("%s", sqlite3_db_name(db, 2));
    run(db, "ATTACH NULL AS NULL; ATTACH '' AS ''; DETACH ?; DETACH NULL");
    run(db, "ATTACH NULL AS x; CREATE TABLE x.t(a); INSERT INTO x.t VALUES (1); SELECT * FROM x.t");
    run(db, "ATTACH ':mem' || 'ory:' AS y; CREATE TABLE y.t(a); SELECT * FROM y.t; DETACH x; DETACH y");
    close_database(db);
}

static void vacuum(const char *sql, const char *name)
{
    sqlite3_stmt *stmt;
    result(db, sql, sqlite3_prepare_v2(db, sql, -1, &stmt, NULL));
    say("%d %d %d", sqlite3_column_count(stmt), sqlite3_stmt_readonly(stmt), sqlite3_bind_parameter_count(stmt));
    if (name != NULL)
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    result(db, "step", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
}

void part_vacuum_into(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, zeroblob(100000)); DELETE FROM t WHERE a = 2;"
            "PRAGMA user_version=77");
    vacuum("VACUUM INTO ?", second_name);
    vacuum("VACUUM INTO ?", second_name);
    vacuum("VACUUM \"main\" INTO ? || ''", second_name);
    vacuum("VACUUM temp INTO ?", second_name);
    vacuum("VACUUM INTO ?", NULL);
    vacuum("VACUUM INTO 7", NULL);
    vacuum("VACUUM INTO abs('x', 1)", NULL);
    run(db, "EXPLAIN QUERY PLAN VACUUM INTO 'nowhere'; BEGIN");
    vacuum("VACUUM INTO ?", "never");
    run(db, "COMMIT; VACUUM nope INTO 'never'; VACUUM INTO '/nowhere/at/all'");
    sqlite3_stmt *reader;
    sqlite3_prepare_v2(db, "SELECT a FROM t UNION ALL SELECT 2", -1, &reader, NULL);
    say("%d", sqlite3_step(reader));
    vacuum("VACUUM INTO ?", "never");
    sqlite3_finalize(reader);
    close_database(db);
    say("%d", access("never", F_OK));
    db = open_database(second_name);
    run(db, "SELECT a, b FROM t; PRAGMA user_version; PRAGMA freelist_count; PRAGMA integrity_check");
    close_database(db);
}

static void control(const char *what, int operation, int number)
{
    int code = sqlite3_file_control(db, "main", operation, &number);
    say("%s: %d %d", what, code, number);
}

void part_file_control(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a)");
    char *name = NULL;
    int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name);
    say("vfs: %d %s", code, name);
    sqlite3_free(name);
    control("persist", SQLITE_FCNTL_PERSIST_WAL, -1);
    control("persist", SQLITE_FCNTL_PERSIST_WAL, 1);
    control("persist", SQLITE_FCNTL_PERSIST_WAL, -1);
    control("persist", SQLITE_FCNTL_PERSIST_WAL, 0);
    control("powersafe", SQLITE_FCNTL_POWERSAFE_OVERWRITE, -1);
    control("powersafe", SQLITE_FCNTL_POWERSAFE_OVERWRITE, 0);
    control("powersafe", SQLITE_FCNTL_POWERSAFE_OVERWRITE, -1);
    control("powersafe", SQLITE_FCNTL_POWERSAFE_OVERWRITE, 1);
    control("errno", SQLITE_FCNTL_LAST_ERRNO, 5);
    control("moved", SQLITE_FCNTL_HAS_MOVED, 5);
    control("chunk", SQLITE_FCNTL_CHUNK_SIZE, 65536);
    control("reserve", SQLITE_FCNTL_RESERVE_BYTES, -1);
    control("unknown", 9999, 5);
    say("no such: %d", sqlite3_file_control(db, "nope", SQLITE_FCNTL_LAST_ERRNO, &code));
    say("%d %d", sqlite3_errcode(db), sqlite3_system_errno(db));
    close_database(db);
    name = sqlite3_mprintf("%s.missing", first_name);
    say("%d", sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL));
    say("%d %d %s", sqlite3_errcode(db), sqlite3_system_errno(db) == ENOENT, sqlite3_errmsg(db));
    sqlite3_close(db);
    sqlite3_free(name);
}

/* What was given before stays good, as long as the schema does. */
void part_metadata(void)
{
    static const char *const columns[] = {"a", "b", "c", "d", "nope"};
    const char *types[5] = {NULL}, *collations[5] = {NULL};
    db = open_database(first_name);
    run(db,
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b VARCHAR(7) COLLATE NOCASE NOT NULL, c COLLATE rtrim, d ANY THING)");
    for (int i = 0; i < 5; i++) {
        int numbers[3];
        int code = sqlite3_table_column_metadata(db, "main", "t", columns[i], &types[i], &collations[i], &numbers[0],
                                                 &numbers[1], &numbers[2]);
        say("%d %d %d %d", code, numbers[0], numbers[1], numbers[2]);
    }
    for (int i = 0; i < 5; i++)
        say("%s %s", types[i] != NULL ? types[i] : "-", collations[i] != NULL ? collations[i] : "-");
    close_database(db);
}

static void execute(const char *sql)
{
    result(db, sql, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* SQLite's shell keeps parameters in a table with a name that is SQLite's own. */
void part_parameters_table(void)
{
    db = open_database(first_name);
    execute("CREATE TABLE temp.sqlite_other(a)");
    execute("CREATE TABLE sqlite_parameters(a)");
    int former[2] = {0, 0};
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &former[0]);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &former[1]);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
    run(db, "CREATE TABLE IF NOT EXISTS temp.sqlite_parameters(key TEXT PRIMARY KEY, value) WITHOUT ROWID");
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, former[1], NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, former[0], NULL);
    run(db, "REPLACE INTO temp.sqlite_parameters VALUES (':a', 1); SELECT * FROM temp.sqlite_parameters");
    execute("UPDATE sqlite_master SET sql = 'x'");
    execute("CREATE TABLE sqlite_foo(a)");
    run(db, "DROP TABLE temp.sqlite_parameters");
    run(db, "SELECT name FROM temp.sqlite_master");
    close_database(db);
}

/* --- sqlite3_auto_extension() --- */

static int runs;

static void answer(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}

static int good_entry(sqlite3 *opened, char **message, const struct sqlite3_api_routines *api)
{
    (void)message;
    say("entry %d", ++runs);
    char *sql = api->mprintf("CREATE TEMP TABLE made_by AS SELECT %Q AS who", "it's me");
    int code = api->exec(opened, sql, NULL, NULL, NULL);
    api->free(sql);
    if (code == SQLITE_OK)
        code = api->create_function_v2(opened, "twice", 1, SQLITE_UTF8, NULL, answer, NULL, NULL, NULL);
    say("%d %d %d", code, api->get_autocommit(opened), api->changes(opened));
    return code;
}

static int bad_entry(sqlite3 *opened, char **message, const struct sqlite3_api_routines *api)
{
    (void)opened;
    *message = api->mprintf("%s", "not today");
    return SQLITE_PERM;
}

typedef void (*entry)(void);

void part_auto_extension(void)
{
    say("%d %d", sqlite3_auto_extension((entry)good_entry), sqlite3_auto_extension((entry)good_entry));
    db = open_database(first_name);
    run(db, "SELECT twice(21), who FROM made_by; CREATE TABLE t(a); INSERT INTO t VALUES (twice(4)); SELECT * FROM t");
    close_database(db);
    db = open_database(memory_name);
    run(db, "SELECT twice(1)");
    close_database(db);
    say("runs %d", runs);
    say("%d", sqlite3_auto_extension((entry)bad_entry));
    say("%d", sqlite3_open(first_name, &db));
    say("%d %s", sqlite3_errcode(db), sqlite3_errmsg(db));
    say("%d", sqlite3_close(db));
    say("%d %d", sqlite3_cancel_auto_extension((entry)bad_entry), sqlite3_cancel_auto_extension((entry)bad_entry));
    db = open_database(first_name);
    close_database(db);
    sqlite3_reset_auto_extension();
    db = open_database(first_name);
    run(db, "SELECT twice(1)");
    close_database(db);
    say("runs %d, cancel %d", runs, sqlite3_cancel_auto_extension((entry)good_entry));
}
