/* tests/fuzz/fuzz_infer.c: any text as SQL for type inference, over a schema with every kind of table. Nothing is run, so
 * that the schema stays the same; PRAGMA and ATTACH are refused, because those take effect when they are compiled.
 *   1. no byte out of bounds is touched, no assertion fails, nothing leaks, every statement ends soon;
 *   2. the answer is always SQ_OK, with types that exist;
 *   3. a fresh cache and a used one give the same answer;
 *   4. no transaction begins.
 * Seeds: tests/fuzz/corpus/infer/. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/infer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_TEXT_BYTES_MAX = 4096, FUZZ_TYPES_MAX = 4096 };

static const char fuzz_schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, name TEXT, r REAL, flag BOOLEAN, d DATE, price NUMERIC, b BLOB, x);"
    "CREATE INDEX t_name ON t(name); CREATE INDEX t_part ON t(n) WHERE n > 5; CREATE INDEX t_expr ON t(lower(name), r);"
    "CREATE TABLE w(k TEXT, v INT, z REAL, PRIMARY KEY(v, k)) WITHOUT ROWID;"
    "CREATE TABLE g(a INT, v INT AS (a * 2) VIRTUAL, s TEXT AS (a || 'x') STORED);"
    "CREATE TABLE s(i INTEGER, t TEXT, r REAL, a ANY) STRICT;"
    "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);"
    "CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO log(what) VALUES(new.name); END;"
    "CREATE VIEW vv AS SELECT name, n + 1 AS n1 FROM t; CREATE TEMP TABLE tt(a INT, b TEXT);"
    "CREATE VIRTUAL TABLE ft USING fts5(body);";

static int refuse_effects(void *context, int action, const char *first, const char *second, const char *schema,
                          const char *trigger)
{
    (void)first;
    (void)second;
    (void)schema;
    (void)trigger;
    const int *is_inferring = context;
    if (action == SQLITE_ATTACH || (action == SQLITE_PRAGMA && !*is_inferring))
        return SQLITE_DENY;
    return SQLITE_OK;
}

static void fuzz_types(sqlite3 *db, struct infer_cache **cache, sqlite3_stmt *stmt, enum sq_type *types)
{
    struct sq_error err;
    int count = sqlite3_column_count(stmt);
    sq_assert(infer_statement_types(db, cache, stmt, types, types + count, &err) == SQ_OK);
    for (int i = 0; i < count + sqlite3_bind_parameter_count(stmt); i++)
        sq_assert(types[i] >= SQ_TYPE_ANY && types[i] <= SQ_TYPE_JSON);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sqlite3 *db;
    static struct infer_cache *cache;
    static int is_inferring;
    static enum sq_type used[FUZZ_TYPES_MAX];
    static enum sq_type fresh[FUZZ_TYPES_MAX];
    if (db == NULL) {
        sq_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
        sq_assert(sqlite3_exec(db, fuzz_schema, NULL, NULL, NULL) == SQLITE_OK);
        sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, FUZZ_TYPES_MAX / 2);
        sqlite3_set_authorizer(db, refuse_effects, &is_inferring);
    }
    if (size > FUZZ_TEXT_BYTES_MAX)
        return 0;
    char *text = malloc(size + 1);
    sq_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';

    const char *at = text;
    while (*at != '\0') {
        sqlite3_stmt *stmt = NULL;
        is_inferring = 0;
        if (sqlite3_prepare_v2(db, at, -1, &stmt, &at) != SQLITE_OK)
            break;
        if (stmt == NULL)
            continue;
        is_inferring = 1;
        size_t count = (size_t)(sqlite3_column_count(stmt) + sqlite3_bind_parameter_count(stmt));
        if (count <= FUZZ_TYPES_MAX) {
            struct infer_cache *new_cache = NULL;
            fuzz_types(db, &cache, stmt, used);
            fuzz_types(db, &new_cache, stmt, fresh);
            sq_assert(memcmp(used, fresh, count * sizeof(used[0])) == 0);
            infer_cache_free(new_cache);
        }
        sqlite3_finalize(stmt);
        sq_assert(sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE);
    }
    free(text);
    return 0;
}
