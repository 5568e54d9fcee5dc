/* network.c: an application that says of everything it does whether it was told that it was done. Its database is a
 * server's; what lies between the two cuts connections. Driven by test_network.py:
 *
 *     network URL     reads lines: a script's name and the number of the run; plays the script, prints what it was told, one
 *                     line each, then "end"
 *
 * A line is "TOKEN VERDICT": a token stands in the table log(run, token, data) if what the application was told is true.
 * VERDICT: done; not (the connection was lost, and it was not done); unknown; committed (done, but rows were lost); or
 * "error CODE MESSAGE" for anything else. Lines that begin with '!' say what must never happen. */
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOST = SQLITE_IOERR | 200 << 8, UNKNOWN = SQLITE_IOERR | 201 << 8, COMMITTED = SQLITE_IOERR | 202 << 8 };

static const char *url;
static long run;
static sqlite3 *db;
static int call_count;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* --- What was told --- */

static bool is_good(int code)
{
    return code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE;
}

static void tell(const char *token, int code)
{
    if (is_good(code))
        say("%s done", token);
    else if (code == LOST)
        say("%s not", token);
    else if (code == UNKNOWN)
        say("%s unknown %s", token, sqlite3_errmsg(db));
    else if (code == COMMITTED)
        say("%s committed", token);
    else
        say("%s error %d %s", token, code, sqlite3_errmsg(db));
}

/* Nothing but a lost connection may be the matter. */
static void expect(const char *what, int code, int wanted)
{
    if (code != wanted && code != LOST)
        say("! %s: %d %s", what, code, sqlite3_errmsg(db));
}

static int execute(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code;
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *statement = NULL;
    expect(sql, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    return statement;
}

/* --- Parts --- */

/* Inserts with a prepared statement; SQLITE_OK or an error. */
static int insert(sqlite3_stmt *statement, const char *token)
{
    if (statement == NULL)
        return LOST;
    sqlite3_bind_int64(statement, 1, run);
    sqlite3_bind_text(statement, 2, token, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    int reset = sqlite3_reset(statement);
    if (is_good(code) && reset != SQLITE_OK)
        say("! reset after %d: %d", code, reset);
    if (!is_good(code) && code != reset)
        say("! step %d, reset %d", code, reset);
    return is_good(code) ? SQLITE_OK : code;
}

/* Inserts on its own; what the connection knows of it must be right. */
static void insert_alone(sqlite3_stmt *statement, const char *token)
{
    sqlite3_int64 total = sqlite3_total_changes64(db);
    int code = insert(statement, token);
    tell(token, code);
    if (code != SQLITE_OK)
        return;
    if (sqlite3_changes(db) != 1 || sqlite3_total_changes64(db) != total + 1)
        say("! %s: changes %d, total changes %lld after %lld", token, sqlite3_changes(db),
            (long long)sqlite3_total_changes64(db), (long long)total);
    sqlite3_stmt *look = prepare("SELECT token FROM log WHERE rowid = ?");
    if (look == NULL)
        return;
    sqlite3_bind_int64(look, 1, sqlite3_last_insert_rowid(db));
    code = sqlite3_step(look);
    expect("rowid", code, SQLITE_ROW);
    if (code == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(look, 0), token) != 0)
        say("! %s: last_insert_rowid() is that of %s", token, sqlite3_column_text(look, 0));
    sqlite3_finalize(look);
}

static void end_transaction(const char *how)
{
    if (!sqlite3_get_autocommit(db))
        (void)execute("%s", how);
    if (!sqlite3_get_autocommit(db))
        say("! a transaction is open after %s", how);
}

static void transaction(sqlite3_stmt *statement, const char *begin, const char *commit, const char *first,
                        const char *second)
{
    int code = execute("%s", begin);
    if (code == SQLITE_OK)
        code = insert(statement, first);
    if (code == SQLITE_OK)
        code = insert(statement, second);
    if (code == SQLITE_OK)
        code = execute("%s", commit);
    tell(first, code);
    tell(second, code);
    end_transaction("ROLLBACK");
}

/* An insert amid a long SELECT, which must give every row or say that it cannot. */
static void half_read(sqlite3_stmt *statement)
{
    enum { ROWS = 300, ROWS_FIRST = 70 };
    sqlite3_stmt *rows = prepare("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) "
                                 "SELECT i, zeroblob(200) FROM n");
    if (rows == NULL)
        return;
    int code = SQLITE_ROW, count = 0;
    while (count < ROWS_FIRST && (code = sqlite3_step(rows)) == SQLITE_ROW)
        count++;
    insert_alone(statement, "half");
    while (code == SQLITE_ROW && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        if (sqlite3_column_int(rows, 0) != ++count)
            say("! row %d is %d", count, sqlite3_column_int(rows, 0));
    }
    expect("half read", code, SQLITE_DONE);
    if (code == SQLITE_DONE && count != ROWS)
        say("! %d rows", count);
    sqlite3_finalize(rows);
}

/* What is stepped into, and given up: SQLite commits it then. */
static void returning(const char *token, const char *another)
{
    sqlite3_stmt *statement = prepare("INSERT INTO log(run, token) VALUES (?, ?) RETURNING token");
    if (statement == NULL)
        return;
    sqlite3_bind_int64(statement, 1, run);
    sqlite3_bind_text(statement, 2, token, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        if (strcmp((const char *)sqlite3_column_text(statement, 0), token) != 0)
            say("! RETURNING gives %s", sqlite3_column_text(statement, 0));
        code = sqlite3_step(statement);
    } else if (code == SQLITE_DONE) {
        say("! RETURNING gives nothing");
    }
    tell(token, code);
    sqlite3_finalize(statement);
    /* So many rows that they do not come at once. */
    statement =
        prepare("INSERT INTO log(run, token, data) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                "LIMIT 200) SELECT ?, ?, i FROM n RETURNING data");
    if (statement == NULL)
        return;
    sqlite3_bind_int64(statement, 1, run);
    sqlite3_bind_text(statement, 2, another, -1, SQLITE_STATIC);
    code = sqlite3_step(statement);
    int end = sqlite3_finalize(statement);
    tell(another, code == SQLITE_ROW ? end : code);
}

static void twice(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    call_count++;
    sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}

/* Functions of ours, which the server calls. */
static void call(void)
{
    int code = sqlite3_create_function_v2(db, "twice", 1, SQLITE_UTF8, NULL, twice, NULL, NULL, NULL);
    expect("create_function", code, SQLITE_OK);
    if (code != SQLITE_OK)
        return;
    int before = call_count;
    code = execute("INSERT INTO log(run, token, data) VALUES (%ld, 'call', twice(21))", run);
    tell("call", code);
    if (is_good(code) && call_count != before + 1)
        say("! called %d times", call_count - before);
}

static void write_blob(void)
{
    int code = execute("INSERT INTO log(run, token, data) VALUES (%ld, 'row', zeroblob(8))", run);
    tell("row", code);
    if (code != SQLITE_OK)
        return;
    sqlite3_blob *blob = NULL;
    code = sqlite3_blob_open(db, "main", "log", "data", sqlite3_last_insert_rowid(db), 1, &blob);
    if (code == SQLITE_OK)
        code = sqlite3_blob_write(blob, "written!", 8, 0);
    int end = sqlite3_blob_close(blob);
    tell("blob", code == SQLITE_OK ? end : code);
}

static void fail(sqlite3_stmt *statement)
{
    expect("a constraint", execute("INSERT INTO log(run, token, data) VALUES (%ld, NULL, 'must not be')", run),
           SQLITE_CONSTRAINT_NOTNULL);
    expect("no such table", execute("INSERT INTO nowhere VALUES (1)"), SQLITE_ERROR);
    if (execute("BEGIN") == SQLITE_OK)
        (void)insert(statement, "undone");
    (void)execute("ROLLBACK");
    say("undone not");
    end_transaction("ROLLBACK");
}

static void count_settings(void)
{
    sqlite3_stmt *statement = prepare("PRAGMA foreign_keys");
    int code = statement != NULL ? sqlite3_step(statement) : LOST;
    expect("foreign_keys", code, SQLITE_ROW);
    if (code == SQLITE_ROW && sqlite3_column_int(statement, 0) != 1)
        say("! foreign_keys is off");
    sqlite3_finalize(statement);
}

/* --- Scripts --- */

static void play_all(sqlite3_stmt *statement)
{
    int settings = execute("PRAGMA foreign_keys = ON");
    expect("PRAGMA", settings, SQLITE_OK);
    insert_alone(statement, "first");
    insert_alone(statement, "second");
    tell("exec", execute("INSERT INTO log(run, token) VALUES (%ld, 'exec')", run));
    transaction(statement, "BEGIN", "COMMIT", "t1", "t2");
    transaction(statement, "SAVEPOINT a", "RELEASE a", "s1", "s2");
    half_read(statement);
    returning("returned", "many");
    call();
    write_blob();
    fail(statement);
    tell("ddl", execute("CREATE TABLE ddl_%ld AS SELECT 1 AS a", run));
    tell("update", execute("UPDATE log SET data = 'updated' WHERE run = %ld AND token = 'exec'", run));
    if (settings == SQLITE_OK)
        count_settings();
    insert_alone(statement, "last");
}

static void play_few(sqlite3_stmt *statement)
{
    insert_alone(statement, "first");
    transaction(statement, "BEGIN IMMEDIATE", "COMMIT", "t1", "t2");
    call();
    tell("exec", execute("INSERT INTO log(run, token) VALUES (%ld, 'exec')", run));
    insert_alone(statement, "last");
}

/* What cannot come back is there, and one row is inserted. */
static void play_temporary(sqlite3_stmt *statement, const char *sql)
{
    expect(sql, execute("%s", sql), SQLITE_OK);
    tell("first", insert(statement, "first"));
    tell("last", insert(statement, "last"));
}

static void play(const char *script)
{
    int code = sqlite3_open_v2(url, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(db, 20000);
        sqlite3_stmt *statement = prepare("INSERT INTO log(run, token) VALUES (?, ?)");
        if (strcmp(script, "all") == 0)
            play_all(statement);
        else if (strcmp(script, "few") == 0)
            play_few(statement);
        else if (strcmp(script, "temporary") == 0)
            play_temporary(statement, "CREATE TEMP TABLE gone(a)");
        else if (strcmp(script, "schema") == 0)
            play_temporary(statement, "/* here */ CREATE TABLE IF NOT EXISTS temp.gone(a)");
        else
            play_temporary(statement, "ATTACH ':memory:' AS gone");
        sqlite3_finalize(statement);
    } else {
        say("open error %d %s", code, sqlite3_errmsg(db));
    }
    code = sqlite3_close(db);
    if (code != SQLITE_OK)
        say("! close: %d", code);
}

int main(int argc, char **argv)
{
    char line[100];
    if (argc != 2)
        return 2;
    url = argv[1];
    signal(SIGPIPE, SIG_DFL);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *space = strchr(line, ' ');
        if (space == NULL)
            return 2;
        *space = '\0';
        run = strtol(space + 1, NULL, 10);
        play(line);
        puts("end");
        fflush(stdout);
    }
    return 0;
}
