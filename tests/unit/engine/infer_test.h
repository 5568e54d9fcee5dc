/* tests/unit/engine/infer_test.h: what the tests of type inference share: a schema with every kind of column, rows that
 * hold what their columns declare, and helpers. */
#ifndef TESTS_UNIT_ENGINE_INFER_TEST_H
#define TESTS_UNIT_ENGINE_INFER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/infer.h"

enum { INFER_TEST_COLUMNS_MAX = 64 };

static const char infer_test_schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, name TEXT, r REAL, flag BOOLEAN, d DATE, price NUMERIC(10,2), b "
    "BLOB,"
    "               j JSON, x);"
    "CREATE INDEX t_name ON t(name);"
    "CREATE INDEX t_part ON t(n) WHERE n > 5;"
    "CREATE INDEX t_expr ON t(lower(name), r);"
    "CREATE TABLE w(k VARCHAR(20), v BIGINT, z DOUBLE, note TEXT, PRIMARY KEY(v, k)) WITHOUT ROWID;"
    "CREATE INDEX w_z ON w(z);"
    "CREATE TABLE u(uid UUID PRIMARY KEY, tid INTEGER REFERENCES t(id), at TIMESTAMP, tod TIME);"
    "CREATE VIEW vv AS SELECT name, n + 1 AS n1, flag, max(d, '2000-01-01') AS md FROM t;"
    "CREATE TABLE g(a INT, v INT AS (a * 2) VIRTUAL, s TEXT AS (a || 'x') STORED, e REAL);"
    "CREATE INDEX g_v ON g(v);"
    "CREATE TABLE s(i INTEGER, t TEXT, r REAL, a ANY, b BLOB) STRICT;"
    "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);"
    "CREATE TABLE quiet(a INT, b TEXT);"
    "CREATE TRIGGER quiet_log AFTER INSERT ON quiet BEGIN INSERT INTO log(what) VALUES(new.b || new.a); END;";

static const char infer_test_rows[] =
    "INSERT INTO t VALUES(1, 10, 'ada', 1.5, 1, '2024-01-02', 9.99, x'00ff', '{\"a\":1}', 'any'),"
    "                    (2, 20, 'bob', 2, 0, '2024-02-03', 10, x'', '[1,2]', 7),"
    "                    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),"
    "                    (4, 3, '12', -0.25, 1, '2023-12-31', 0.5, x'616263', '\"s\"', 2.5),"
    "                    (5, 20, '', 100, 0, '2024-02-03', 3, x'31', 'null', x'02'),"
    "                    (6, 7, '3.5', 0, 1, 2460311.5, 1, x'3132', '3', NULL);"
    "INSERT INTO w VALUES('ada', 1, 1.0, 'x'), ('bob', 2, 2.5, NULL), ('bob', 3, NULL, '7'), ('', 20, 4, 'y');"
    "INSERT INTO u VALUES('6f1d2c3a-0000-4000-8000-000000000001', 1, '2024-01-02 03:04:05', '03:04:05'),"
    "                    (x'00112233445566778899aabbccddeeff', 2, 1704164645, NULL), (NULL, NULL, NULL, '12:00');"
    "INSERT INTO g(a, e) VALUES(1, 0.5), (2, 3), (NULL, NULL);"
    "INSERT INTO s VALUES(1, 'x', 1, 'any', x'00'), (2, 'y', 2.5, 3, NULL);"
    "INSERT INTO quiet VALUES(1, 'q');";

static inline const char *infer_test_type_name(enum sq_type type)
{
    static const char *const names[] = {"any",  "int",  "bool", "real",      "num",  "text",
                                        "blob", "date", "time", "timestamp", "uuid", "json"};
    assert_true((size_t)type < sizeof(names) / sizeof(names[0]));
    return names[type];
}

static inline void infer_test_exec(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

static inline sqlite3 *infer_test_open(const char *schema, const char *rows)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    infer_test_exec(db, schema);
    infer_test_exec(db, rows);
    return db;
}

/* Whether a value of this storage class is one that `type` promises. */
static inline bool infer_test_is_kept(enum sq_type type, int storage_class)
{
    if (storage_class == SQLITE_NULL)
        return true;
    switch (type) {
    case SQ_TYPE_ANY:
    case SQ_TYPE_JSON: /* a column declared JSON has NUMERIC affinity, and 3 is JSON */
        return true;
    case SQ_TYPE_INTEGER:
    case SQ_TYPE_BOOLEAN:
        return storage_class == SQLITE_INTEGER;
    case SQ_TYPE_REAL:
        return storage_class == SQLITE_FLOAT;
    case SQ_TYPE_NUMERIC:
        return storage_class == SQLITE_INTEGER || storage_class == SQLITE_FLOAT;
    case SQ_TYPE_TEXT:
        return storage_class == SQLITE_TEXT;
    case SQ_TYPE_BLOB:
        return storage_class == SQLITE_BLOB;
    case SQ_TYPE_DATE:
    case SQ_TYPE_TIME:
    case SQ_TYPE_TIMESTAMP:
        return storage_class != SQLITE_BLOB;
    case SQ_TYPE_UUID:
        return storage_class == SQLITE_TEXT || storage_class == SQLITE_BLOB;
    }
    return false;
}

#endif
