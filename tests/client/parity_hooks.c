/* tests/client/parity_hooks.c: collations and hooks. */
#include "parity.h"

static sqlite3 *db;
static int answer; /* what the next callback gives */

/* --- Collations --- */

static int call_count;

static int by_length(void *name, int a_bytes, const void *a, int b_bytes, const void *b)
{
    (void)name;
    call_count++;
    if (a_bytes != b_bytes)
        return a_bytes < b_bytes ? -1 : 1;
    return memcmp(a, b, (size_t)a_bytes);
}

static int shown;

static int showing(void *name, int a_bytes, const void *a, int b_bytes, const void *b)
{
    if (shown++ < 3)
        say("%s: %d bytes, first %d; %d bytes, first %d", (const char *)name, a_bytes,
            a_bytes > 0 ? *(const unsigned char *)a : -1, b_bytes, b_bytes > 0 ? *(const unsigned char *)b : -1);
    return by_length(name, a_bytes, a, b_bytes, b);
}

void part_collation(void)
{
    db = open_database(first_name);
    run(db,
        "CREATE TABLE t(a); INSERT INTO t VALUES ('ccc'), ('a'), ('bb'), (''), ('ü'), ('aa'), (NULL), (5), (x'00')");
    run(db, "SELECT a FROM t ORDER BY a COLLATE length");
    result(db, "create", sqlite3_create_collation_v2(db, "length", SQLITE_UTF8, "utf8", by_length, destroyed));
    run(db, "SELECT a FROM t ORDER BY a COLLATE length");
    run(db, "SELECT a FROM t WHERE a > 'b' COLLATE LENGTH");
    run(db, "SELECT max(a COLLATE length), count(DISTINCT a COLLATE length) FROM t");
    say("called: %s", call_count > 0 ? "yes" : "no");
    result(db, "replace", sqlite3_create_collation_v2(db, "Length", SQLITE_UTF8, "second", showing, destroyed));
    run(db, "SELECT a FROM t ORDER BY a COLLATE length LIMIT 1");
    result(db, "16le", sqlite3_create_collation_v2(db, "le", SQLITE_UTF16LE, "16le", showing, destroyed));
    result(db, "16be", sqlite3_create_collation_v2(db, "be", SQLITE_UTF16BE, "16be", showing, destroyed));
    result(db, "16", sqlite3_create_collation_v2(db, "native", SQLITE_UTF16, "16", showing, destroyed));
    run(db, "DELETE FROM t WHERE typeof(a) <> 'text' OR length(a) < 2");
    shown = 0;
    run(db, "SELECT a FROM t ORDER BY a COLLATE le");
    shown = 0;
    run(db, "SELECT a FROM t ORDER BY a COLLATE be");
    shown = 0;
    run(db, "SELECT a FROM t ORDER BY a COLLATE native");
    result(db, "encoding", sqlite3_create_collation_v2(db, "x", 99, "bad", by_length, destroyed));
    uint16_t name16[] = {'s', 'i', 'x', 0};
    result(db, "create16", sqlite3_create_collation16(db, name16, SQLITE_UTF8, "name in UTF-16", by_length));
    run(db, "SELECT a FROM t ORDER BY a COLLATE six LIMIT 1");
    run(db, "CREATE INDEX i ON t(a COLLATE length); SELECT a FROM t ORDER BY a COLLATE length");
    run(db, "CREATE TABLE u(k TEXT COLLATE length PRIMARY KEY); INSERT INTO u VALUES ('x'), ('x')");
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT a FROM t ORDER BY a COLLATE le", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt));
    result(db, "replace", sqlite3_create_collation_v2(db, "le", SQLITE_UTF16LE, "busy", by_length, destroyed));
    result(db, "finalize", sqlite3_finalize(stmt));
    result(db, "delete", sqlite3_create_collation_v2(db, "le", SQLITE_UTF16LE, NULL, NULL, NULL));
    run(db, "SELECT a FROM t ORDER BY a COLLATE le");
    say("close");
    close_database(db);
}

static void needed(void *name, sqlite3 *own, int representation, const char *collation)
{
    say("needed(%s): %s, representation %d, %s", (const char *)name, collation, representation,
        own == db ? "its connection" : "another");
    if (strcmp(collation, "wanted") == 0)
        result(own, "create", sqlite3_create_collation(own, collation, SQLITE_UTF8, NULL, by_length));
}
static void needed16(void *name, sqlite3 *own, int representation, const void *collation)
{
    const uint16_t *letters = collation;
    say("needed16(%s): %c%c%c, representation %d", (const char *)name, letters[0], letters[1], letters[2],
        representation);
    result(own, "create", sqlite3_create_collation16(own, collation, SQLITE_UTF8, NULL, by_length));
}

void part_collation_needed(void)
{
    db = open_database(first_name);
    run(db, "SELECT 'a' < 'b' COLLATE wanted");
    result(db, "needed", sqlite3_collation_needed(db, "data", needed));
    run(db, "SELECT 'a' < 'b' COLLATE wanted");
    run(db, "SELECT 'a' < 'b' COLLATE wanted");
    run(db, "SELECT 'a' < 'b' COLLATE unwanted");
    result(db, "needed16", sqlite3_collation_needed16(db, "data16", needed16));
    run(db, "SELECT 'a' < 'b' COLLATE third");
    result(db, "none", sqlite3_collation_needed(db, NULL, NULL));
    run(db, "SELECT 'a' < 'b' COLLATE fourth");
    close_database(db);
}

/* --- Updates and transactions --- */

static void on_update(void *name, int operation, const char *database, const char *table, sqlite3_int64 rowid)
{
    say("%s: %d %s.%s %lld", (const char *)name, operation, database, table, rowid);
}
static int on_commit(void *name)
{
    say("commit: %s, answers %d", (const char *)name, answer);
    return answer;
}
static void on_rollback(void *name)
{
    say("rollback: %s", (const char *)name);
}

static const char *or_none(const void *name)
{
    return name != NULL ? name : "none";
}

void part_update_hooks(void)
{
    db = open_database(first_name);
    say("before: %s", or_none(sqlite3_update_hook(db, on_update, "update")));
    say("before: %s", or_none(sqlite3_commit_hook(db, on_commit, "commit")));
    say("before: %s", or_none(sqlite3_rollback_hook(db, on_rollback, "rollback")));
    run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID");
    run(db, "INSERT INTO t(b) VALUES ('x'), ('y'), ('z'); UPDATE t SET b = 'u' WHERE a > 1; DELETE FROM t WHERE a = 2");
    run(db, "INSERT INTO w VALUES (1); REPLACE INTO t VALUES (1, 'r'); UPDATE t SET a = 50 WHERE a = 1");
    run(db, "BEGIN; INSERT INTO t VALUES (100, 'b'); ROLLBACK");
    run(db, "BEGIN; INSERT INTO t VALUES (100, 'b'); SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT");
    run(db, "INSERT INTO t VALUES (7, 'returned') RETURNING a, b");
    answer = 1;
    run(db, "INSERT INTO t VALUES (200, 'refused'); SELECT count(*) FROM t WHERE a = 200");
    run(db, "BEGIN; INSERT INTO t VALUES (201, 'refused'); COMMIT; SELECT count(*) FROM t WHERE a = 201");
    answer = 0;
    run(db, "SELECT 1; BEGIN; COMMIT");
    run(db, "INSERT INTO t VALUES (50, 'conflict')");
    run(db, "CREATE TEMP TABLE x(a); INSERT INTO x VALUES (1)");
    run(db, "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET b = 'by trigger' WHERE a = new.a; END");
    run(db, "INSERT INTO t VALUES (300, 'trigger'); DELETE FROM t");
    say("before: %s", or_none(sqlite3_update_hook(db, NULL, NULL)));
    say("before: %s", or_none(sqlite3_update_hook(db, on_update, NULL)));
    say("before: %s", or_none(sqlite3_commit_hook(db, NULL, "unset")));
    say("before: %s", or_none(sqlite3_rollback_hook(db, on_rollback, "second")));
    run(db, "DROP TRIGGER r; BEGIN; INSERT INTO w VALUES (9)");
    say("close in a transaction");
    close_database(db);
}

static void on_preupdate(void *name, sqlite3 *own, int operation, const char *database, const char *table,
                         sqlite3_int64 old_rowid, sqlite3_int64 new_rowid)
{
    say("%s: %d %s.%s %lld %lld, count %d depth %d blob %d, %s", (const char *)name, operation, database, table,
        old_rowid, new_rowid, sqlite3_preupdate_count(own), sqlite3_preupdate_depth(own),
        sqlite3_preupdate_blobwrite(own), own == db ? "its connection" : "another");
    depth++;
    for (int i = -1; i < sqlite3_preupdate_count(own); i++) {
        sqlite3_value *value;
        int code = sqlite3_preupdate_old(own, i, &value);
        if (code == SQLITE_OK)
            say_value("old", value);
        else
            say("old %d: %d", i, code);
        code = sqlite3_preupdate_new(own, i, &value);
        if (code == SQLITE_OK)
            say_value("new", value);
        else
            say("new %d: %d", i, code);
    }
    depth--;
}

void part_preupdate(void)
{
    sqlite3_value *value;
    db = open_database(first_name);
    say("outside: %d %d %d %d %d", sqlite3_preupdate_old(db, 0, &value), sqlite3_preupdate_new(db, 0, &value),
        sqlite3_preupdate_count(db), sqlite3_preupdate_depth(db), sqlite3_preupdate_blobwrite(db));
    say("before: %s", or_none(sqlite3_preupdate_hook(db, on_preupdate, "preupdate")));
    run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID");
    run(db, "INSERT INTO t VALUES (1, 'text', x'0011'), (2, NULL, 1.5); UPDATE t SET b = 5 WHERE a = 1");
    run(db, "UPDATE t SET a = 10 WHERE a = 2; DELETE FROM t WHERE a = 10");
    run(db, "INSERT INTO w VALUES ('k', 1); UPDATE w SET v = 2; DELETE FROM w");
    run(db,
        "CREATE TRIGGER r AFTER UPDATE ON t BEGIN INSERT INTO w VALUES (new.a, old.b); END; UPDATE t SET c = 'trig'");
    run(db, "INSERT INTO t VALUES (20, zeroblob(8), NULL)");
    sqlite3_blob *blob;
    result(db, "blob", sqlite3_blob_open(db, "main", "t", "b", 20, 1, &blob));
    result(db, "write", sqlite3_blob_write(blob, "xy", 2, 1));
    result(db, "close", sqlite3_blob_close(blob));
    say("before: %s", or_none(sqlite3_preupdate_hook(db, NULL, NULL)));
    run(db, "DELETE FROM t");
    close_database(db);
}

/* --- Authorizer --- */

static const char *denied, *ignored;

static int authorize(void *name, int action, const char *a, const char *b, const char *c, const char *d)
{
    int code = a != NULL && denied != NULL && strcmp(a, denied) == 0     ? SQLITE_DENY
               : b != NULL && ignored != NULL && strcmp(b, ignored) == 0 ? SQLITE_IGNORE
                                                                         : SQLITE_OK;
    say("%s: %d %s %s %s %s -> %d", (const char *)name, action, a != NULL ? a : "-", b != NULL ? b : "-",
        c != NULL ? c : "-", d != NULL ? d : "-", code);
    return answer != 0 ? answer : code;
}

void part_authorizer(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 2); CREATE VIEW v AS SELECT a FROM t");
    result(db, "set", sqlite3_set_authorizer(db, authorize, "auth"));
    run(db, "SELECT a, b FROM t WHERE a > 0");
    run(db, "SELECT upper(a) FROM v; UPDATE t SET b = 3; DELETE FROM t WHERE a = 9; INSERT INTO t VALUES (3, 4)");
    run(db, "CREATE TABLE n(x); CREATE INDEX i ON n(x); DROP TABLE n; PRAGMA user_version; BEGIN; COMMIT; SAVEPOINT s; "
            "RELEASE s");
    denied = "t";
    run(db, "SELECT a FROM t; INSERT INTO t VALUES (1, 1)");
    denied = NULL;
    ignored = "b";
    run(db, "SELECT a, b FROM t");
    ignored = NULL;
    answer = 77;
    run(db, "SELECT a FROM t");
    answer = 0;
    result(db, "unset", sqlite3_set_authorizer(db, NULL, NULL));
    run(db, "SELECT a, b FROM t");
    close_database(db);
}

/* --- Progress and locks --- */

static int progress_calls;

static int on_progress(void *name)
{
    if (progress_calls++ == 0)
        say("progress: %s", (const char *)name);
    return answer;
}

void part_progress(void)
{
    static const char count[] = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) "
                                "SELECT count(*) FROM c";
    db = open_database(first_name);
    sqlite3_progress_handler(db, 1000, on_progress, "progress");
    run(db, count);
    say("called %s", progress_calls > 5 ? "often" : "hardly");
    answer = 1;
    run(db, count);
    run(db, "SELECT 1");
    answer = 0;
    progress_calls = 0;
    sqlite3_progress_handler(db, 0, on_progress, "unset");
    run(db, count);
    sqlite3_progress_handler(db, 10, NULL, NULL);
    run(db, count);
    say("called %d", progress_calls);
    close_database(db);
}

static int on_busy(void *name, int before)
{
    say("busy: %s, %d", (const char *)name, before);
    return before < answer;
}

void part_busy(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a)");
    sqlite3 *other = open_database(first_name);
    run(db, "BEGIN IMMEDIATE");
    run(other, "BEGIN IMMEDIATE");
    answer = 3;
    result(other, "handler", sqlite3_busy_handler(other, on_busy, "handler"));
    run(other, "BEGIN IMMEDIATE");
    run(other, "INSERT INTO t VALUES (1)");
    result(other, "timeout", sqlite3_busy_timeout(other, 1));
    run(other, "BEGIN IMMEDIATE");
    result(other, "handler", sqlite3_busy_handler(other, NULL, NULL));
    run(other, "BEGIN IMMEDIATE");
    run(db, "COMMIT");
    run(other, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1); COMMIT");
    close_database(other);
    close_database(db);
}

static int on_wal(void *name, sqlite3 *own, const char *database, int pages)
{
    say("wal: %s, %s, %s, %s", (const char *)name, own == db ? "its connection" : "another", database,
        pages > 0 ? "some pages" : "none");
    return answer;
}

void part_wal(void)
{
    db = open_database(first_name);
    say("before: %d", (int)(uintptr_t)sqlite3_wal_hook(db, on_wal, "hook"));
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2); INSERT INTO t VALUES (3); "
            "COMMIT");
    run(db, "BEGIN; INSERT INTO t VALUES (4); ROLLBACK; SELECT count(*) FROM t");
    answer = SQLITE_MISMATCH;
    /* What it answers is the statement's error, though what was committed stays. */
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "INSERT INTO t VALUES (5)", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt));
    answer = 0;
    say("finalize %s", sqlite3_finalize(stmt) != SQLITE_OK ? "fails" : "is well");
    run(db, "SELECT count(*) FROM t");
    result(db, "autocheckpoint", sqlite3_wal_autocheckpoint(db, 500));
    run(db, "INSERT INTO t VALUES (6)");
    say("before: %d", (int)(uintptr_t)sqlite3_wal_hook(db, NULL, NULL));
    result(db, "autocheckpoint", sqlite3_wal_autocheckpoint(db, 0));
    say("before: %d", (int)(uintptr_t)sqlite3_wal_hook(db, NULL, NULL));
    close_database(db);
}

/* --- Trace --- */

static int on_trace(unsigned event, void *name, void *p, void *x)
{
    if (event == SQLITE_TRACE_STMT)
        say("%s: statement %s, %s", (const char *)name, (const char *)x, sqlite3_sql(p));
    else if (event == SQLITE_TRACE_PROFILE)
        say("%s: profile %s, %s", (const char *)name, sqlite3_sql(p), *(sqlite3_int64 *)x >= 0 ? "time" : "nonsense");
    else if (event == SQLITE_TRACE_ROW && sqlite3_sql(p) == NULL)
        return 0; /* SQLite's own, which reads the schema */
    else if (event == SQLITE_TRACE_ROW)
        say("%s: row of %s", (const char *)name, sqlite3_sql(p));
    else
        say("%s: close, %s", (const char *)name, p == db ? "its connection" : "another");
    return 0;
}
static void on_trace_v1(void *name, const char *sql)
{
    say("%s: %s", (const char *)name, sql);
}
static void on_profile(void *name, const char *sql, sqlite3_uint64 nanoseconds)
{
    (void)nanoseconds;
    say("%s: %s", (const char *)name, sql);
}

/* Runs SQL within a statement. */
static void run_inner(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3 *own = sqlite3_context_db_handle(context);
    sqlite3_result_int(context, sqlite3_exec(own, (const char *)sqlite3_value_text(values[0]), NULL, NULL, NULL));
}

void part_trace(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)");
    result(db, "v2", sqlite3_trace_v2(db, 15, on_trace, "v2"));
    run(db, "SELECT a FROM t; INSERT INTO t VALUES (3); SELECT 1; BEGIN; COMMIT");
    run(db,
        "CREATE TRIGGER r AFTER DELETE ON t BEGIN INSERT INTO t VALUES (old.a + 10); END; DELETE FROM t WHERE a = 1");
    result(db, "v2", sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_trace, "statements only"));
    run(db, "SELECT a FROM t");
    say("before: %s", or_none(sqlite3_trace(db, on_trace_v1, "v1")));
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT a, ?2 FROM t WHERE a > ?1", -1, &stmt, NULL));
    sqlite3_bind_int(stmt, 1, 2);
    sqlite3_bind_text(stmt, 2, "it's", -1, SQLITE_STATIC);
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "DELETE FROM t WHERE a = 2");
    say("before: %s", or_none(sqlite3_profile(db, on_profile, "profile")));
    run(db, "SELECT a FROM t WHERE a > 11");
    say("before: %s", or_none(sqlite3_profile(db, NULL, NULL)));
    result(db, "create", sqlite3_create_function(db, "within", 1, SQLITE_UTF8, NULL, run_inner, NULL, NULL));
    run(db, "SELECT within('SELECT 1,\n  2,\n  3')");
    run(db, "CREATE VIRTUAL TABLE words USING fts4(w); INSERT INTO words VALUES ('one two')");
    say("before: %s", or_none(sqlite3_trace(db, NULL, "nothing")));
    run(db, "SELECT 3");
    result(db, "v2", sqlite3_trace_v2(db, SQLITE_TRACE_CLOSE, on_trace, "the end"));
    close_database(db);
}
