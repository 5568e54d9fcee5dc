/* bench/embedded.c: what SQLite costs without any server, the limit that sqld is held against.
 *
 *     embedded FILE make ROWS                              makes the table that sqld has in the bench
 *     embedded FILE select|update|scan ROWS SECONDS [SQL]...   measures
 *
 *     select        one row by its key, prepared, each its own read transaction
 *     update        one row by its key, prepared, each its own commit
 *     scan          all of the first ROWS rows by one statement; each row's values are read
 *
 * The SQL of the command line is run first: PRAGMAs, or BEGIN for a measurement within one transaction. The connection
 * is opened as SQLite opens it by itself, in WAL mode, synchronous=FULL. The result is one line of JSON: operations
 * (rows for `scan`), seconds, and the process's CPU time in microseconds (user and system). */
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void die(sqlite3 *db, const char *what)
{
    (void)fprintf(stderr, "embedded: %s: %s\n", what, db != NULL ? sqlite3_errmsg(db) : "");
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t key_next(uint64_t *state, int64_t key_max)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (int64_t)((*state * UINT64_C(2685821657736338717) >> 11) % (uint64_t)key_max) + 1;
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(db, sql);
}

static void make(sqlite3 *db, int64_t rows)
{
    char sql[400];
    (void)snprintf(sql, sizeof(sql),
                   "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler TEXT NOT NULL);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRId64 ") "
                   "INSERT INTO account SELECT i, 0, printf('%%080d', i) FROM n;"
                   "PRAGMA wal_checkpoint(TRUNCATE)",
                   rows);
    run(db, sql);
}

/* Runs a statement to its end and reads every value as sqld would. Returns the number of rows. */
static int64_t step_all(sqlite3 *db, sqlite3_stmt *stmt, int64_t *bytes)
{
    int64_t rows = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            *bytes += sqlite3_column_text(stmt, i) != NULL;
            *bytes += sqlite3_column_bytes(stmt, i);
        }
        rows++;
    }
    if (rc != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK)
        die(db, "step");
    return rows;
}

static void measure(sqlite3 *db, const char *mode, int64_t rows, double seconds)
{
    int is_scan = strcmp(mode, "scan") == 0;
    const char *sql = is_scan                       ? "SELECT id, balance, filler FROM account WHERE id <= ?1"
                      : strcmp(mode, "select") == 0 ? "SELECT balance, filler FROM account WHERE id = ?1"
                      : strcmp(mode, "update") == 0 ? "UPDATE account SET balance = balance + 1 WHERE id = ?1"
                                                    : NULL;
    sqlite3_stmt *stmt = NULL;
    if (sql == NULL || sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        die(db, mode);
    uint64_t random = (uint64_t)clock_ns(CLOCK_REALTIME) | 1;
    int64_t done = 0, bytes = 0, cpu_ns = 0, begin_ns = 0, end_ns = 0;
    /* The first second warms the caches; then the measurement begins anew. */
    for (int round = 0; round < 2; round++) {
        done = 0;
        begin_ns = clock_ns(CLOCK_MONOTONIC);
        cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        end_ns = begin_ns + (int64_t)((round == 0 ? 1.0 : seconds) * 1e9);
        while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
            int64_t key = is_scan ? rows : key_next(&random, rows);
            if (sqlite3_bind_int64(stmt, 1, key) != SQLITE_OK)
                die(db, "bind");
            int64_t found = step_all(db, stmt, &bytes);
            done += is_scan ? found : 1;
        }
        end_ns = clock_ns(CLOCK_MONOTONIC);
        cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    }
    (void)sqlite3_finalize(stmt);
    (void)printf("{\"done\": %" PRId64 ", \"seconds\": %.6f, \"cpu_us\": %.3f, \"bytes\": %" PRId64 "}\n", done,
                 (double)(end_ns - begin_ns) / 1e9, (double)cpu_ns / 1e3, bytes);
}

static int64_t number(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 1)
        die(NULL, text);
    return value;
}

int main(int argc, char **argv)
{
    sqlite3 *db = NULL;
    if (argc < 4 || (strcmp(argv[2], "make") != 0 && argc < 5))
        die(NULL, "usage: embedded FILE make ROWS | embedded FILE select|update|scan ROWS SECONDS [SQL]...");
    if (sqlite3_open(argv[1], &db) != SQLITE_OK)
        die(db, argv[1]);
    run(db, "PRAGMA journal_mode=WAL");
    run(db, "PRAGMA synchronous=FULL");
    for (int i = 5; i < argc; i++)
        run(db, argv[i]);
    if (strcmp(argv[2], "make") == 0)
        make(db, number(argv[3]));
    else
        measure(db, argv[2], number(argv[3]), strtod(argv[4], NULL));
    if (sqlite3_get_autocommit(db) == 0)
        run(db, "COMMIT");
    (void)sqlite3_close(db);
    return 0;
}
