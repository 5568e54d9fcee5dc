/* tests/client/parity_statement.c: statements: prepare, bind, step, columns, exec. */
#include "parity.h"

static sqlite3 *db;

static const char filling[] =
    "CREATE TABLE t(i INTEGER PRIMARY KEY, r REAL, s TEXT, b BLOB);"
    "INSERT INTO t VALUES (1, 1.5, 'one', x'0001ff'), (2, -0.0, '', x''),"
    "  (3, 9e999, '12abc', 'text'), (-4, 3.0, 'ü€𝄞', NULL), (9223372036854775807, NULL, '0x10', '7.9e3')";

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (code != SQLITE_OK)
        result(db, sql, code);
    return stmt;
}

static void finish(sqlite3_stmt *stmt)
{
    result(db, "finalize", sqlite3_finalize(stmt));
}

static void say_text(const char *what, const void *bytes, int length)
{
    if (bytes == NULL) {
        say("%s: NULL, %d", what, length);
        return;
    }
    char hex[121] = "";
    for (int i = 0; i < length && i < 60; i++)
        snprintf(hex + i * 2, 3, "%02x", ((const unsigned char *)bytes)[i]);
    say("%s: %s", what, hex);
}

/* --- Preparing --- */

static void try_prepare(const char *sql, int length)
{
    sqlite3_stmt *stmt = (sqlite3_stmt *)1;
    const char *tail = NULL;
    int code = sqlite3_prepare_v2(db, sql, length, &stmt, &tail);
    result(db, "prepare_v2", code);
    say("%s, tail %d, offset %d", stmt != NULL ? "statement" : "none", code == SQLITE_OK ? (int)(tail - sql) : -1,
        sqlite3_error_offset(db));
    if (stmt != NULL)
        say("sql [%s]", sqlite3_sql(stmt));
    sqlite3_finalize(stmt);
}

void part_prepare(void)
{
    db = open_database(first_name);
    run(db, filling);
    static const char *const texts[] = {
        "SELECT 1",
        "SELECT 1;",
        " /* c */ SELECT 1 ; SELECT 2",
        "",
        "   ",
        "-- nothing",
        ";",
        ";;SELECT 3;;",
        "/* open",
        "SELECT ';' ; x",
        "SELECT \";\" AS \"a;b\"; SELECT",
        "SELECT [i] FROM t; SELECT",
        "SELECT 1 SELECT 2",
        "SELECT nope FROM t",
        "SELECT * FROM nope",
        "INSERT INTO t(x) VALUES (1)",
        "SELECT",
        "SELECT (1",
        "SELECT 'a",
        "EXPLAIN SELECT 1",
        "EXPLAIN QUERY PLAN SELECT * FROM t WHERE i = 1",
        "CREATE TABLE t(a)",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3",
        "SELECT `i` FROM t -- c\n; SELECT",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT",
        "SELECT 1 -- ; x\n + 1; y",
        "PRAGMA user_version; x",
        "WITH RECURSIVE n(i) AS (VALUES(1)) SELECT i FROM n; x",
        "BEGIN; x",
        "ROLLBACK TO nope",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        say("[%s]", texts[i]);
        depth++;
        try_prepare(texts[i], -1);
        depth--;
    }
    say("lengths");
    try_prepare("SELECT 12345", 8);
    try_prepare("SELECT 12345", 0);
    try_prepare("SELECT 1\0 garbage", 17);
    try_prepare("SELECT 1;garbage", 9);
    sqlite3_stmt *stmt = (sqlite3_stmt *)1;
    say("null %d %d", sqlite3_prepare_v2(db, NULL, -1, &stmt, NULL), stmt == NULL);
    stmt = prepare("SELECT i, s AS name, b + 1, t.r FROM t AS x JOIN (SELECT r FROM t) AS t WHERE x.i = ?2 OR s = :a "
                   "OR s = @b OR s = $c OR ? = 1");
    say("columns %d, data %d, parameters %d, readonly %d, explain %d, busy %d", sqlite3_column_count(stmt),
        sqlite3_data_count(stmt), sqlite3_bind_parameter_count(stmt), sqlite3_stmt_readonly(stmt),
        sqlite3_stmt_isexplain(stmt), sqlite3_stmt_busy(stmt));
    for (int i = -1; i <= sqlite3_column_count(stmt); i++) {
        const char *texts5[] = {sqlite3_column_name(stmt, i), sqlite3_column_decltype(stmt, i),
                                sqlite3_column_database_name(stmt, i), sqlite3_column_table_name(stmt, i),
                                sqlite3_column_origin_name(stmt, i)};
        for (size_t k = 0; k < 5; k++)
            say("column %d.%zu: %s", i, k, texts5[k] != NULL ? texts5[k] : "(none)");
        const void *name16 = sqlite3_column_name16(stmt, i);
        say_text("name16", name16, name16 != NULL ? 4 : 0);
    }
    for (int i = 0; i <= sqlite3_bind_parameter_count(stmt) + 1; i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i);
        say("parameter %d: %s", i, name != NULL ? name : "(none)");
    }
    say("index %d %d %d %d", sqlite3_bind_parameter_index(stmt, ":a"), sqlite3_bind_parameter_index(stmt, "a"),
        sqlite3_bind_parameter_index(stmt, "?2"), sqlite3_bind_parameter_index(stmt, NULL));
    say("handle %d", sqlite3_db_handle(stmt) == db);
    finish(stmt);
    static const char *const more[] = {"INSERT INTO t(r) VALUES (1)",
                                       "BEGIN",
                                       "COMMIT",
                                       "PRAGMA user_version",
                                       "PRAGMA user_version=3",
                                       "EXPLAIN INSERT INTO t(r) VALUES (1)",
                                       "EXPLAIN QUERY PLAN SELECT 1",
                                       "DELETE FROM t RETURNING i",
                                       "VACUUM"};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        stmt = prepare(more[i]);
        say("%s: columns %d, readonly %d, explain %d", more[i], sqlite3_column_count(stmt), sqlite3_stmt_readonly(stmt),
            sqlite3_stmt_isexplain(stmt));
        sqlite3_finalize(stmt);
    }
    close_database(db);
}

void part_prepare16(void)
{
    db = open_database(first_name);
    const uint16_t sql[] = u"SELECT 'ü€𝄞' AS \"ä\"; SELECT 2";
    const void *tail = NULL;
    sqlite3_stmt *stmt = NULL;
    result(db, "prepare16_v2", sqlite3_prepare16_v2(db, sql, -1, &stmt, &tail));
    say("tail %d", (int)((const char *)tail - (const char *)sql));
    result(db, "step", sqlite3_step(stmt));
    say_text("text16", sqlite3_column_text16(stmt, 0), sqlite3_column_bytes16(stmt, 0));
    say_text("text", sqlite3_column_text(stmt, 0), sqlite3_column_bytes(stmt, 0));
    say_text("name16", sqlite3_column_name16(stmt, 0), 4);
    finish(stmt);
    result(db, "odd length", sqlite3_prepare16_v3(db, sql, 17, 0, &stmt, &tail));
    say("%s", stmt != NULL ? sqlite3_sql(stmt) : "none");
    finish(stmt);
    result(db, "error", sqlite3_prepare16_v2(db, u"SELECT * FROM ünknown", -1, &stmt, &tail));
    say_text("errmsg16", sqlite3_errmsg16(db), 40);
    result(db, "prepare16", sqlite3_prepare16(db, u"SELECT 1", -1, &stmt, NULL));
    finish(stmt);
    close_database(db);
}

/* --- Values --- */

static void say_column(sqlite3_stmt *stmt, int i)
{
    char what[40];
    snprintf(what, sizeof(what), "column %d type %d", i, sqlite3_column_type(stmt, i));
    say("%s", what);
    depth++;
    say("int %d, int64 %lld, double %.17g", sqlite3_column_int(stmt, i), sqlite3_column_int64(stmt, i),
        sqlite3_column_double(stmt, i));
    const void *blob = sqlite3_column_blob(stmt, i);
    say_text("blob", blob, sqlite3_column_bytes(stmt, i));
    const void *text = sqlite3_column_text(stmt, i);
    say_text("text", text, sqlite3_column_bytes(stmt, i));
    const void *text16 = sqlite3_column_text16(stmt, i);
    say_text("text16", text16, sqlite3_column_bytes16(stmt, i));
    sqlite3_value *copy = sqlite3_value_dup(sqlite3_column_value(stmt, i));
    say("value type %d, numeric %d", sqlite3_value_type(copy), sqlite3_value_numeric_type(copy));
    sqlite3_value_free(copy);
    depth--;
}

void part_columns(void)
{
    db = open_database(first_name);
    run(db, filling);
    sqlite3_stmt *stmt =
        prepare("SELECT *, i + 0.5, CAST(i AS TEXT), -9223372036854775807 - 1, 1e300, x'41004200' FROM t");
    for (int i = -1; i < 2; i++)
        say_column(stmt, i); /* no row */
    result(db, "no row", sqlite3_errcode(db));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        say("row, data %d, busy %d", sqlite3_data_count(stmt), sqlite3_stmt_busy(stmt));
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            say_column(stmt, i);
        /* In another order: text first, then numbers. */
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            say("%s %d", sqlite3_column_text(stmt, i), sqlite3_column_type(stmt, i) == SQLITE_NULL);
    }
    say("%p %d %d", sqlite3_column_text(stmt, 0), sqlite3_data_count(stmt), sqlite3_stmt_busy(stmt));
    result(db, "range", sqlite3_errcode(db));
    finish(stmt);
    /* Texts of neighbouring columns and rows stay apart. */
    stmt = prepare(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT 'a', x'62', i, 'c' FROM n");
    while (sqlite3_step(stmt) == SQLITE_ROW)
        say("%s %s %s %s", sqlite3_column_text(stmt, 3), sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 2),
            sqlite3_column_text(stmt, 0));
    finish(stmt);
    close_database(db);
}

static void show_bound(sqlite3_stmt *stmt)
{
    char *sql = sqlite3_expanded_sql(stmt);
    say("expanded [%s]", sql);
    sqlite3_free(sql);
    result(db, "step", sqlite3_step(stmt));
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        say_value(sqlite3_column_name(stmt, i), sqlite3_column_value(stmt, i));
    }
    result(db, "reset", sqlite3_reset(stmt));
}

void part_bind(void)
{
    db = open_database(first_name);
    run(db, filling);
    sqlite3_stmt *stmt = prepare("SELECT ?1 AS a, ?2 AS b, ?3 AS c, typeof(?1)");
    show_bound(stmt);
    result(db, "int", sqlite3_bind_int(stmt, 1, -7));
    result(db, "int64", sqlite3_bind_int64(stmt, 2, INT64_MIN));
    result(db, "double", sqlite3_bind_double(stmt, 3, 0.1));
    show_bound(stmt);
    show_bound(stmt);
    char text[] = "changed later";
    result(db, "text", sqlite3_bind_text(stmt, 1, text, 7, SQLITE_TRANSIENT));
    result(db, "text", sqlite3_bind_text(stmt, 2, text, -1, SQLITE_STATIC));
    result(db, "blob", sqlite3_bind_blob(stmt, 3, "\0\1\2", 3, SQLITE_STATIC));
    memcpy(text, "CHANGED", 7);
    show_bound(stmt);
    memcpy(text, "Again  ", 7);
    show_bound(stmt);
    result(db, "embedded", sqlite3_bind_text(stmt, 1, "a\0b", 3, SQLITE_STATIC));
    result(db, "empty", sqlite3_bind_text(stmt, 2, "", 0, SQLITE_STATIC));
    result(db, "empty blob", sqlite3_bind_blob(stmt, 3, "", 0, SQLITE_STATIC));
    show_bound(stmt);
    result(db, "null text", sqlite3_bind_text(stmt, 1, NULL, 5, destroyed));
    result(db, "null blob", sqlite3_bind_blob(stmt, 2, NULL, 5, destroyed));
    result(db, "nan", sqlite3_bind_double(stmt, 3, __builtin_nan("")));
    show_bound(stmt);
    result(db, "zeroblob", sqlite3_bind_zeroblob(stmt, 1, 4));
    result(db, "zeroblob64", sqlite3_bind_zeroblob64(stmt, 2, 2));
    result(db, "zeroblob -1", sqlite3_bind_zeroblob(stmt, 3, -1));
    show_bound(stmt);
    result(db, "text16", sqlite3_bind_text16(stmt, 1, u"ü€𝄞", -1, SQLITE_STATIC));
    result(db, "text16 odd", sqlite3_bind_text16(stmt, 2, u"abc", 5, SQLITE_STATIC));
    result(db, "text64 be", sqlite3_bind_text64(stmt, 3, "\0a\0b", 4, SQLITE_STATIC, SQLITE_UTF16BE));
    show_bound(stmt);
    say("destructors");
    char first[] = "first", second[] = "second", third[] = "third";
    result(db, "text", sqlite3_bind_text(stmt, 1, first, -1, destroyed));
    result(db, "text", sqlite3_bind_text(stmt, 1, second, -1, destroyed));
    result(db, "blob64", sqlite3_bind_blob64(stmt, 2, third, 5, destroyed));
    show_bound(stmt);
    char fourth[] = "fourth";
    result(db, "range", sqlite3_bind_text(stmt, 9, fourth, -1, destroyed));
    result(db, "range 0", sqlite3_bind_int(stmt, 0, 1));
    result(db, "ok again", sqlite3_bind_int(stmt, 3, 1));
    result(db, "step", sqlite3_step(stmt));
    result(db, "busy", sqlite3_bind_int(stmt, 1, 1));
    result(db, "clear", sqlite3_clear_bindings(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    show_bound(stmt);
    static char wide[] = "w\0i\0d\0e\0\0";
    result(db, "text16 destructor", sqlite3_bind_text16(stmt, 1, wide, 8, destroyed));
    show_bound(stmt);
    char fifth[] = "fifth";
    result(db, "text", sqlite3_bind_text(stmt, 2, fifth, -1, destroyed));
    char sixth[] = "sixth";
    result(db, "pointer", sqlite3_bind_pointer(stmt, 3, sixth, "type", destroyed));
    show_bound(stmt);
    sqlite3_stmt *other = prepare("SELECT ?, ?, ?, 0");
    say("transfer %d", sqlite3_transfer_bindings(stmt, other));
    show_bound(other);
    show_bound(stmt);
    finish(stmt);
    result(db, "step", sqlite3_step(other));
    sqlite3_stmt *values = prepare("SELECT i, r, s, b, zeroblob(3) FROM t ORDER BY i");
    stmt = prepare("SELECT ?, ?, ?, ?, ?");
    while (sqlite3_step(values) == SQLITE_ROW) {
        for (int i = 0; i < 5; i++)
            result(db, "value", sqlite3_bind_value(stmt, i + 1, sqlite3_column_value(values, i)));
        show_bound(stmt);
    }
    finish(values);
    finish(stmt);
    finish(other);
    say("limit %d", sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 100));
    char large[200];
    memset(large, 'x', sizeof(large));
    stmt = prepare("SELECT ?");
    result(db, "too big", sqlite3_bind_text(stmt, 1, large, 200, SQLITE_TRANSIENT));
    result(db, "zeroblob", sqlite3_bind_zeroblob64(stmt, 1, 101));
    finish(stmt);
    close_database(db);
}

/* --- Running --- */

void part_step(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a UNIQUE CHECK(a < 10)); INSERT INTO t VALUES (1), (2), (3)");
    sqlite3_stmt *stmt = prepare("SELECT a FROM t ORDER BY a");
    for (int i = 0; i < 10; i++)
        say("step %d: %d", sqlite3_step(stmt), sqlite3_column_int(stmt, 0));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "step", sqlite3_step(stmt));
    finish(stmt);
    stmt = prepare("INSERT INTO t VALUES (?)");
    for (int i = 3; i < 6; i++) {
        sqlite3_bind_int(stmt, 1, i);
        result(db, "insert", sqlite3_step(stmt));
        say("code %d extended %d changes %d total %d rowid %lld", sqlite3_errcode(db), sqlite3_extended_errcode(db),
            sqlite3_changes(db), sqlite3_total_changes(db), sqlite3_last_insert_rowid(db));
        result(db, "reset", sqlite3_reset(stmt));
    }
    sqlite3_bind_int(stmt, 1, 3);
    result(db, "insert", sqlite3_step(stmt));
    result(db, "again without reset", sqlite3_step(stmt));
    run(db, "SELECT 1");
    finish(stmt);
    say("extended codes %d", sqlite3_extended_result_codes(db, 1));
    run(db, "INSERT INTO t VALUES (11); INSERT INTO t VALUES (1)");
    sqlite3_extended_result_codes(db, 0);
    stmt = NULL;
    result(db, "legacy", sqlite3_prepare(db, "INSERT INTO t VALUES (1)", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    say("step %d", sqlite3_step(stmt));
    finish(stmt);
    say("two at once");
    sqlite3_stmt *a = prepare("SELECT x.a FROM t AS x, t AS y ORDER BY 1"),
                 *b = prepare("SELECT a FROM t ORDER BY a DESC");
    for (int i = 0; i < 12; i++)
        say("%d %d, %d %d", sqlite3_step(a), sqlite3_column_int(a, 0), sqlite3_step(b), sqlite3_column_int(b, 0));
    run(db, "INSERT INTO t VALUES (7)");
    result(db, "step", sqlite3_step(a));
    say("next_stmt %d %d %d", sqlite3_next_stmt(db, NULL) == b, sqlite3_next_stmt(db, b) == a,
        sqlite3_next_stmt(db, a) == NULL);
    finish(a);
    finish(b);
    say("many rows, large ones, an endless query");
    stmt = prepare("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, 'row ' "
                   "|| i FROM n");
    long long sum = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW)
        sum += sqlite3_column_int(stmt, 0) + sqlite3_column_bytes(stmt, 1) +
               (int)strlen((const char *)sqlite3_column_text(stmt, 1));
    say("%lld", sum);
    finish(stmt);
    stmt = prepare("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, zeroblob(100000) FROM n");
    for (int i = 0; i < 50; i++)
        sqlite3_step(stmt);
    say("%d %d", sqlite3_column_int(stmt, 0), sqlite3_column_bytes(stmt, 1));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "step", sqlite3_step(stmt));
    say("%d", sqlite3_column_int(stmt, 0));
    finish(stmt);
    run(db, "INSERT INTO t VALUES (8) RETURNING a, rowid; UPDATE t SET a = a RETURNING a; DELETE FROM t WHERE a > 6 "
            "RETURNING a");
    stmt = prepare("INSERT INTO t SELECT a + 100 FROM t WHERE a < 0 RETURNING a");
    result(db, "none returned", sqlite3_step(stmt));
    finish(stmt);
    stmt = prepare("UPDATE t SET a = a RETURNING a");
    result(db, "half read writer", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    say("changes %d", sqlite3_changes(db));
    finish(stmt);
    say("an error behind rows");
    stmt = prepare("SELECT CASE a WHEN 3 THEN abs(-9223372036854775807 - 1) ELSE a END FROM t ORDER BY a");
    for (int i = 0; i < 4; i++)
        result(db, "step", sqlite3_step(stmt));
    finish(stmt);
    close_database(db);
}

void part_schema_change(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    sqlite3_stmt *stmt = prepare("SELECT * FROM t"), *gone = prepare("SELECT a FROM t");
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    run(db, "ALTER TABLE t ADD COLUMN b DEFAULT 'new'");
    say("columns %d", sqlite3_column_count(stmt));
    result(db, "step", sqlite3_step(stmt));
    say("columns %d %s", sqlite3_column_count(stmt), sqlite3_column_name(stmt, 1));
    say_value("b", sqlite3_column_value(stmt, 1));
    finish(stmt);
    run(db, "DROP TABLE t");
    result(db, "step", sqlite3_step(gone));
    finish(gone);
    run(db, "SELECT a FROM t; ");
    run(db, "CREATE TABLE t(z); INSERT INTO t VALUES (2); SELECT * FROM t");
    for (int i = 0; i < 3; i++)
        run(db, "SELECT * FROM t");
    close_database(db);
}

/* An EXPLAIN that has come to its end and been reset keeps nobody from changing the schema. */
void part_explain(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a, b)");
    sqlite3_stmt *stmt = prepare("EXPLAIN SELECT a FROM t WHERE b = 1");
    sqlite3_stmt *plan = prepare("EXPLAIN QUERY PLAN SELECT a FROM t WHERE b = 1");
    for (int i = 0; i < 2; i++) {
        int code;
        while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
            continue;
        result(db, "step", code);
        result(db, "reset", sqlite3_reset(stmt));
        while ((code = sqlite3_step(plan)) == SQLITE_ROW)
            say_value("detail", sqlite3_column_value(plan, 3));
        result(db, "step", code);
        result(db, "reset", sqlite3_reset(plan));
        run(db, "CREATE INDEX i ON t(b); DROP INDEX i; DROP TABLE t; CREATE TABLE t(a, b)");
    }
    finish(stmt);
    finish(plan);
    close_database(db);
}

/* A rollback that undoes changes of the schema ends reads; another one does not. */
void part_rollback(void)
{
    static const char *const rollbacks[] = {
        "SAVEPOINT s; INSERT INTO t VALUES (9); ROLLBACK TO s",
        "CREATE TABLE made(x); SAVEPOINT s; INSERT INTO t VALUES (9); ROLLBACK TO s",
        "INSERT INTO t VALUES (9); ROLLBACK",
        "BEGIN; SAVEPOINT s; CREATE TABLE made(x); ROLLBACK TO s",
        "INSERT INTO t VALUES (9); RELEASE s; SAVEPOINT s; ROLLBACK TO s",
        "CREATE INDEX i ON t(a); ROLLBACK",
        "BEGIN; CREATE TEMP TABLE v(a); ROLLBACK",
        "BEGIN; PRAGMA recursive_triggers=on; SAVEPOINT s; ROLLBACK TO s",
    };
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3); BEGIN");
    sqlite3_stmt *before = prepare("SELECT a FROM t ORDER BY rowid DESC");
    result(db, "before", sqlite3_step(before));
    for (size_t i = 0; i < sizeof(rollbacks) / sizeof(rollbacks[0]); i++) {
        sqlite3_stmt *stmt = prepare("SELECT a FROM t");
        result(db, "step", sqlite3_step(stmt));
        say_value("a", sqlite3_column_value(stmt, 0));
        run(db, rollbacks[i]);
        result(db, "step", sqlite3_step(stmt));
        say("%d, still %d", sqlite3_data_count(stmt), sqlite3_stmt_busy(stmt));
        result(db, "reset", sqlite3_reset(stmt));
        result(db, "again", sqlite3_step(stmt));
        finish(stmt);
    }
    result(db, "before", sqlite3_step(before));
    finish(before);
    close_database(db);
}

/* --- exec, get_table --- */

static int callback_count;

static int on_row(void *limit, int count, char **values, char **names)
{
    say("row of %d", count);
    for (int i = 0; i <= count; i++)
        if (i < count || values[i] != NULL)
            say("%s = %s", names[i], values[i] != NULL ? values[i] : "NULL");
    return ++callback_count == *(int *)limit;
}

static void try_exec(const char *sql, int limit)
{
    char *message = (char *)1;
    callback_count = 0;
    say("exec [%s]", sql != NULL ? sql : "NULL");
    depth++;
    int code = sqlite3_exec(db, sql, on_row, &limit, &message);
    result(db, "exec", code);
    say("message %s, autocommit %d", message != NULL ? message : "NULL", sqlite3_get_autocommit(db));
    sqlite3_free(message);
    depth--;
}

static void try_table(const char *sql)
{
    char **cells = NULL, *message = NULL;
    int rows = -1, columns = -1;
    int code = sqlite3_get_table(db, sql, &cells, &rows, &columns, &message);
    say("table [%s] %d %d %d %s", sql, code, rows, columns, message != NULL ? message : "NULL");
    for (int i = 0; cells != NULL && i < (rows + 1) * columns; i++)
        say("%d: %s", i, cells[i] != NULL ? cells[i] : "NULL");
    sqlite3_free(message);
    sqlite3_free_table(cells);
}

void part_exec(void)
{
    db = open_database(first_name);
    try_exec("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2.5, NULL), (x'4142', ''); SELECT * FROM t", 0);
    try_exec("SELECT a FROM t; SELECT b FROM t;  ", 2);
    try_exec("SELECT a FROM t WHERE 0", 0);
    try_exec("SELECT 1; SELECT nope; SELECT 2", 0);
    try_exec("BEGIN; INSERT INTO t VALUES (3, 3); SELECT a FROM t WHERE a = 3", 1);
    try_exec("ROLLBACK; -- the end", 0);
    try_exec("", 0);
    try_exec(NULL, 0);
    try_exec("  ;; \n", 0);
    try_exec("SELECT ?1 IS NULL", 0);
    try_exec("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = new.a; SELECT 1; END; INSERT INTO t "
             "VALUES (9, 9); SELECT count(*) FROM t",
             0);
    result(db, "no callback", sqlite3_exec(db, "SELECT 1; SELECT 2", NULL, NULL, NULL));
    result(db, "no message", sqlite3_exec(db, "nonsense", NULL, NULL, NULL));
    try_table("SELECT a, b FROM t");
    try_table("SELECT a FROM t WHERE 0");
    try_table("SELECT 1; SELECT 1, 2");
    try_table("nonsense");
    try_table("");
    close_database(db);
}
