/* tests/client/parity_connection.c: what a connection is and knows: errors, transactions, names, limits, threads. */
#include "parity.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static sqlite3 *db;

static void say_errors(const char *what)
{
    say("%s: %d %d, offset %d", what, sqlite3_errcode(db), sqlite3_extended_errcode(db), sqlite3_error_offset(db));
    const uint16_t *message16 = sqlite3_errmsg16(db);
    say("%d %d", message16[0], message16[1]);
    say("%s", sqlite3_errmsg(db)); /* SQLite converts in place: the other is gone now */
}

void part_connection_errors(void)
{
    db = open_database(first_name);
    say_errors("at first");
    run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b NOT NULL, c UNIQUE, d CHECK(d > 0), e REFERENCES t(a))");
    static const char *const wrong[] = {
        "SELECT x FROM t",
        "SELECT 1 FROM t WHERE (",
        "INSERT INTO t(a) VALUES (1)",
        "INSERT INTO t(b, d) VALUES (1, -1)",
        "INSERT INTO t(a, b) VALUES ('x', 1)",
        "SELECT zeroblob(2000000000)",
        "SELECT abs(-9223372036854775807 - 1)",
        "COMMIT",
        "ROLLBACK",
        "RELEASE nothing",
        "DROP TABLE nope",
        "CREATE INDEX i ON nope(a)",
        "SELECT sum(a, b) FROM t",
        "PRAGMA foreign_keys=on",
        "INSERT INTO t(b, e) VALUES (1, 99)",
        "SELECT json('{')",

        "UPDATE sqlite_master SET sql = 'x'",
        "ATTACH 'x' AS main",
        "DETACH nope",
        "SELECT * FROM t ORDER BY 99",
        "SELECT CASE WHEN 1 THEN raise(ABORT, 'x') END",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT raise(ABORT, 'stop'); END",
        "INSERT INTO t(b) VALUES (1)",
        "INSERT INTO t(b) VALUES (1) RETURNING nope",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        run(db, wrong[i]);
        say_errors(wrong[i]);
    }
    run(db, "SELECT 1");
    say_errors("after success");
    say("errstr %s, system %d", sqlite3_errstr(SQLITE_BUSY_SNAPSHOT), sqlite3_system_errno(db));
    close_database(db);
}

void part_transactions(void)
{
    db = open_database(first_name);
    sqlite3 *other = open_database(first_name);
    say("%d %d %d %d", sqlite3_get_autocommit(db), sqlite3_txn_state(db, NULL), sqlite3_txn_state(db, "main"),
        sqlite3_txn_state(db, "nope"));
    run(db, "CREATE TABLE t(a); BEGIN");
    say("%d %d", sqlite3_get_autocommit(db), sqlite3_txn_state(db, NULL));
    run(db, "SELECT count(*) FROM t");
    say("%d %d", sqlite3_get_autocommit(db), sqlite3_txn_state(db, NULL));
    run(db, "INSERT INTO t VALUES (1)");
    say("%d %d %d", sqlite3_get_autocommit(db), sqlite3_txn_state(db, NULL), sqlite3_txn_state(db, "main"));
    run(other, "SELECT * FROM t; INSERT INTO t VALUES (2)");
    run(db, "SAVEPOINT s; INSERT INTO t VALUES (3); ROLLBACK TO s; RELEASE s; COMMIT");
    say("%d %d", sqlite3_get_autocommit(db), sqlite3_txn_state(db, NULL));
    run(other, "BEGIN; SELECT * FROM t");
    run(db, "INSERT INTO t VALUES (4)");
    run(other, "INSERT INTO t VALUES (5)");
    say("extended %d", sqlite3_extended_errcode(other));
    run(other, "ROLLBACK; INSERT INTO t VALUES (6); SELECT * FROM t");
    run(db, "BEGIN IMMEDIATE");
    say("busy_timeout %d", sqlite3_busy_timeout(other, 20));
    run(other, "BEGIN IMMEDIATE; BEGIN EXCLUSIVE");
    run(db, "ROLLBACK");
    run(other, "BEGIN IMMEDIATE; COMMIT");
    run(db, "BEGIN; INSERT INTO t VALUES (7); INSERT OR ROLLBACK INTO t SELECT abs(-9223372036854775807 - 1)");
    say("%d", sqlite3_get_autocommit(db));
    run(db, "INSERT INTO t(rowid, a) VALUES (100, 1), (101, 2)");
    say("rowid %lld changes %d %lld total %d %lld", sqlite3_last_insert_rowid(db), sqlite3_changes(db),
        sqlite3_changes64(db), sqlite3_total_changes(db), sqlite3_total_changes64(db));
    sqlite3_set_last_insert_rowid(db, 4711);
    say("rowid %lld", sqlite3_last_insert_rowid(db));
    run(db, "SELECT last_insert_rowid()");
    run(db, "UPDATE t SET a = a WHERE rowid > 99; DELETE FROM t WHERE 0");
    say("rowid %lld changes %d total %d", sqlite3_last_insert_rowid(db), sqlite3_changes(db),
        sqlite3_total_changes(db));
    unsigned before = 0, after = 0;
    result(db, "data version", sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &before));
    run(other, "INSERT INTO t VALUES (8)");
    run(db, "SELECT count(*) FROM t");
    result(db, "data version", sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &after));
    say("changed %d", before != after);
    close_database(other);
    close_database(db);
}

void part_names(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT NOT NULL COLLATE NOCASE, c); CREATE VIEW v AS "
            "SELECT 1 AS x");
    for (int i = -1; i < 3; i++)
        say("name %d: %s", i, sqlite3_db_name(db, i) != NULL ? sqlite3_db_name(db, i) : "NULL");
    const char *file = sqlite3_db_filename(db, "main");
    say("file %s", strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file);
    say("same %d, nope %d", strcmp(sqlite3_db_filename(db, NULL), file) == 0, sqlite3_db_filename(db, "nope") == NULL);
    say("readonly %d %d %d", sqlite3_db_readonly(db, "main"), sqlite3_db_readonly(db, "nope"),
        sqlite3_db_readonly(db, NULL));
    static const char *const asked[][3] = {{"main", "t", "a"},  {NULL, "t", "B"},     {NULL, "t", "c"},
                                           {NULL, "t", NULL},   {NULL, "t", "rowid"}, {NULL, "nope", NULL},
                                           {NULL, "t", "nope"}, {NULL, "v", "x"},     {"nope", "t", "a"}};
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        const char *type = NULL, *collation = NULL;
        int not_null = -1, key = -1, increment = -1;
        result(db, "metadata",
               sqlite3_table_column_metadata(db, asked[i][0], asked[i][1], asked[i][2], &type, &collation, &not_null,
                                             &key, &increment));
        say("%s %s %d %d %d", type != NULL ? type : "NULL", collation != NULL ? collation : "NULL", not_null, key,
            increment);
    }
    char sql[1000];
    snprintf(sql, sizeof(sql), "ATTACH '%s' AS two", second_name);
    result(db, "attach", sqlite3_exec(db, sql, NULL, NULL, NULL));
    run(db, "CREATE TABLE two.u(x); INSERT INTO two.u VALUES (42); SELECT u.x FROM u; INSERT INTO main.t(b) SELECT x "
            "FROM two.u");
    say("name 2: %s, readonly %d, txn %d", sqlite3_db_name(db, 2), sqlite3_db_readonly(db, "two"),
        sqlite3_txn_state(db, "two"));
    file = sqlite3_db_filename(db, "two");
    say("file %s", strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file);
    run(db, "BEGIN; INSERT INTO t(b) VALUES ('x'); INSERT INTO two.u VALUES (43); ROLLBACK; SELECT * FROM u; SELECT a, "
            "b FROM t");
    result(db, "again", sqlite3_exec(db, sql, NULL, NULL, NULL));
    run(db, "DETACH two; SELECT * FROM two.u");
    sqlite3_stmt *stmt;
    sqlite3_prepare_v2(db, "ATTACH DATABASE ? AS ?", -1, &stmt, NULL);
    sqlite3_bind_text(stmt, 1, second_name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, "bound name", -1, SQLITE_STATIC);
    result(db, "bound", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "SELECT x FROM \"bound name\".u; DETACH \"bound name\"");
    run(db, "ATTACH ':memory:' AS m; CREATE TABLE m.z(a); INSERT INTO m.z VALUES (1); SELECT * FROM z; DETACH m");
    run(db, "ATTACH '' AS temporary; CREATE TABLE temporary.z(a); SELECT * FROM z");
    result(db, "main name", sqlite3_db_config(db, SQLITE_DBCONFIG_MAINDBNAME, "primary"));
    say("name 0: %s", sqlite3_db_name(db, 0));
    close_database(db);
}

void part_settings(void)
{
    db = open_database(first_name);
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, -1));
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, 3));
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, -1));
    say("limits %d %d", sqlite3_limit(db, -1, -1), sqlite3_limit(db, 99, -1));
    run(db, "SELECT ?3; SELECT ?4");
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 2000000000));
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_COLUMN, -1));
    sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 30);
    result(db, "long", sqlite3_exec(db, "SELECT 'a statement that is too long to be run'", NULL, NULL, NULL));
    sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 1000000);
    int on = -1;
    result(db, "foreign keys", sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, &on));
    say("on %d", on);
    run(db, "PRAGMA foreign_keys");
    result(db, "ask", sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, -1, &on));
    say("on %d", on);
    result(db, "lookaside", sqlite3_db_config(db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0));
    result(db, "unknown", sqlite3_db_config(db, 99999, 0, NULL));
    int current = -1, highest = -1;
    result(db, "status", sqlite3_db_status(db, SQLITE_DBSTATUS_SCHEMA_USED, &current, &highest, 0));
    say("%d %d", current > 0, highest);
    result(db, "unknown", sqlite3_db_status(db, 99999, &current, &highest, 0));
    result(db, "release", sqlite3_db_release_memory(db));
    result(db, "flush", sqlite3_db_cacheflush(db));
    result(db, "file control", sqlite3_file_control(db, "main", 99999, NULL));
    result(db, "str", sqlite3_str_errcode(sqlite3_str_new(NULL)));
    sqlite3_str *str = sqlite3_str_new(db);
    sqlite3_str_appendf(str, "%s %d", "text", 7);
    char *text = sqlite3_str_finish(str);
    say("%s", text);
    sqlite3_free(text);
    run(db, "PRAGMA case_sensitive_like=on; SELECT 'a' LIKE 'A'; PRAGMA user_version=5; PRAGMA user_version");
    run(db,
        "PRAGMA recursive_triggers=1; PRAGMA recursive_triggers; PRAGMA encoding; PRAGMA table_info(sqlite_master)");
    int log = -2, copied = -2;
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    say("checkpoint %d", sqlite3_wal_checkpoint_v2(db, NULL, 99, &log, &copied));
    result(db, "checkpoint", sqlite3_wal_checkpoint(db, "main"));
    result(db, "checkpoint", sqlite3_wal_checkpoint_v2(db, "nope", SQLITE_CHECKPOINT_PASSIVE, &log, &copied));
    close_database(db);
}

/* --- Interrupts, threads, processes --- */

static void *interrupt_it(void *argument)
{
    /* As long as nobody says that it has worked. */
    while (!__atomic_load_n((bool *)argument, __ATOMIC_SEQ_CST)) {
        sqlite3_interrupt(db);
        sched_yield();
    }
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    sqlite3_interrupt(db);
}

static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

void part_interrupt(void)
{
    db = open_database(first_name);
    sqlite3_interrupt(db); /* nothing runs */
    run(db, "SELECT 1");
    bool is_done = false;
    pthread_t thread;
    sqlite3_stmt *stmt;
    sqlite3_prepare_v2(db, endless, -1, &stmt, NULL); /* which may be interrupted, too: before it */
    pthread_create(&thread, NULL, interrupt_it, &is_done);
    result(db, "step", sqlite3_step(stmt));
    __atomic_store_n(&is_done, true, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "SELECT 2");
    sqlite3_prepare_v2(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", -1, &stmt,
                       NULL);
    result(db, "step", sqlite3_step(stmt));
    sqlite3_interrupt(db);
    result(db, "step", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1)");
    signal(SIGALRM, on_signal);
    sqlite3_prepare_v2(db, endless, -1, &stmt, NULL);
    ualarm(50000, 50000);
    result(db, "step", sqlite3_step(stmt));
    ualarm(0, 0);
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "SELECT * FROM t; COMMIT; SELECT * FROM t");
    close_database(db);
}

static int failures;

static void *insert_many(void *argument)
{
    for (int i = 0; i < 200; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%d, %d)", *(int *)argument, i);
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
            __atomic_fetch_add(&failures, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

void part_threads(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a, b)");
    pthread_t threads[4];
    int numbers[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, insert_many, &numbers[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    say("failures %d", failures);
    run(db, "SELECT a, count(*), sum(b) FROM t GROUP BY a");
    sqlite3_mutex_enter(sqlite3_db_mutex(db));
    run(db, "SELECT 1");
    sqlite3_mutex_leave(sqlite3_db_mutex(db));
    close_database(db);
}

void part_fork(void)
{
    /* Opened, used and closed by the child alone; then the parent's is as it was. */
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *own;
        int code = sqlite3_open(second_name, &own);
        code = code == SQLITE_OK ? sqlite3_exec(own, "CREATE TABLE c(a); INSERT INTO c VALUES (2)", NULL, NULL, NULL)
                                 : code;
        sqlite3_close(own);
        _exit(code);
    }
    int status;
    waitpid(child, &status, 0);
    say("child %d", WEXITSTATUS(status));
    run(db, "SELECT * FROM t");
    close_database(db);
    db = open_database(second_name);
    run(db, "SELECT * FROM c");
    close_database(db);
}

void part_close(void)
{
    db = open_database(first_name);
    sqlite3_stmt *stmt;
    sqlite3_prepare_v2(db, "SELECT 1 UNION SELECT 2", -1, &stmt, NULL);
    result(db, "close", sqlite3_close(db));
    result(db, "step", sqlite3_step(stmt));
    say("close_v2 %d", sqlite3_close_v2(db));
    say("step %d: %d", sqlite3_step(stmt), sqlite3_column_int(stmt, 0));
    say("step %d", sqlite3_step(stmt));
    say("finalize %d", sqlite3_finalize(stmt));
    say("null %d %d %d", sqlite3_close(NULL), sqlite3_close_v2(NULL), sqlite3_finalize(NULL));
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1)");
    close_database(db);
    db = open_database(first_name);
    run(db, "SELECT count(*) FROM t");
    close_database(db);
    sqlite3 *read_only;
    say("open %d", sqlite3_open_v2(first_name, &read_only, SQLITE_OPEN_READONLY, NULL));
    say("readonly %d", sqlite3_db_readonly(read_only, "main"));
    run(read_only, "SELECT count(*) FROM t; INSERT INTO t VALUES (1)");
    sqlite3_close(read_only);
    sqlite3 *missing = NULL;
    char name[1000];
    snprintf(name, sizeof(name), "%s-missing", first_name);
    say("open %d", sqlite3_open_v2(name, &missing, SQLITE_OPEN_READWRITE, NULL));
    say("%s %d", sqlite3_errmsg(missing), sqlite3_errcode(missing));
    say("close %d, exists %d", sqlite3_close(missing), access(name, F_OK) == 0);
    say("flags %d", sqlite3_open_v2(name, &missing, 0, NULL));
    say("readwrite|readonly %d", sqlite3_open_v2(name, &missing, SQLITE_OPEN_READONLY | SQLITE_OPEN_READWRITE, NULL));
    db = open_database(memory_name);
    sqlite3 *second = open_database(memory_name);
    run(db, "CREATE TABLE only_here(a)");
    run(second, "SELECT * FROM only_here");
    say("file [%s]", sqlite3_db_filename(db, "main"));
    close_database(second);
    close_database(db);
}
