/* bench/dropin.c: what an application of SQLite's interface gets done, whichever libsqlite3.so.0 it is run with: the
 * drop-in against a server, the drop-in with a local file, the system's library with a local file.
 *
 *     dropin statement [--seconds T] [--sql SQL] [--keys N] [--batch N] DATABASE      time
 *     dropin count [--sql SQL] [--keys N] [--runs N] DATABASE                         for a program that counts instructions
 *
 * SQL is prepared once and has one parameter, a random key of 1..KEYS, or always KEYS if it is negative: -KEYS. It is run
 * again and again: bound, stepped to its end, each value read in its own type, reset. With --batch, so many runs are one
 * transaction. The counterpart over libpq is the mode of the same name of load.c, and so are the steps with the driver: `ready`
 * is printed, a line awaited, the result is one line of JSON, and the connection stays open until the end of standard input.
 *
 * `count` runs WARM_UP_RUNS times, and then RUNS times within counted(): callgrind's --toggle-collect=counted counts what
 * happens there. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_UP_RUNS = 100, BUSY_TIMEOUT_MS = 10000 };
#define NS_PER_S INT64_C(1000000000)

struct options {
    const char *database, *sql;
    int64_t keys, batch, runs;
    double seconds;
};

struct load {
    sqlite3 *db;
    sqlite3_stmt *stmt, *begin, *commit;
    int64_t keys;
    uint64_t random;
    int64_t rows, bytes;
};

static void die(sqlite3 *db, const char *what)
{
    (void)fprintf(stderr, "dropin: %s: %s\n", what, db != NULL ? sqlite3_errmsg(db) : "");
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static int64_t cpu_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* xorshift64*, as in load.c. */
static int64_t key_next(uint64_t *state, int64_t keys)
{
    if (keys < 0)
        return -keys;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (int64_t)((*state * UINT64_C(2685821657736338717) >> 11) % (uint64_t)keys) + 1;
}

static void row_read(struct load *load)
{
    sqlite3_stmt *stmt = load->stmt;
    int count = sqlite3_column_count(stmt);
    for (int i = 0; i < count; i++) {
        switch (sqlite3_column_type(stmt, i)) {
        case SQLITE_INTEGER:
            load->bytes += sqlite3_column_int64(stmt, i) != 0;
            break;
        case SQLITE_FLOAT:
            load->bytes += sqlite3_column_double(stmt, i) != 0;
            break;
        case SQLITE_TEXT:
            load->bytes += sqlite3_column_text(stmt, i)[0] != '\0';
            load->bytes += sqlite3_column_bytes(stmt, i);
            break;
        case SQLITE_BLOB:
            load->bytes += sqlite3_column_blob(stmt, i) != NULL;
            load->bytes += sqlite3_column_bytes(stmt, i);
            break;
        default:
            break;
        }
    }
    load->rows++;
}

static void run_once(struct load *load)
{
    int rc;
    if (sqlite3_bind_int64(load->stmt, 1, key_next(&load->random, load->keys)) != SQLITE_OK)
        die(load->db, "bind");
    while ((rc = sqlite3_step(load->stmt)) == SQLITE_ROW)
        row_read(load);
    if (rc != SQLITE_DONE || sqlite3_reset(load->stmt) != SQLITE_OK)
        die(load->db, "step");
}

static void run_plain(sqlite3 *db, sqlite3_stmt *stmt)
{
    if (sqlite3_step(stmt) != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK)
        die(db, sqlite3_sql(stmt));
}

static void prepare(struct load *load, const char *sql, sqlite3_stmt **ret_stmt)
{
    if (sqlite3_prepare_v2(load->db, sql, -1, ret_stmt, NULL) != SQLITE_OK)
        die(load->db, sql);
}

static void load_open(struct load *load, const struct options *options)
{
    *load = (struct load){.keys = options->keys, .random = (uint64_t)now_ns() | 1};
    if (sqlite3_open(options->database, &load->db) != SQLITE_OK)
        die(load->db, options->database);
    (void)sqlite3_busy_timeout(load->db, BUSY_TIMEOUT_MS);
    prepare(load, options->sql, &load->stmt);
    prepare(load, "BEGIN", &load->begin);
    prepare(load, "COMMIT", &load->commit);
}

static void load_close(struct load *load)
{
    (void)sqlite3_finalize(load->stmt);
    (void)sqlite3_finalize(load->begin);
    (void)sqlite3_finalize(load->commit);
    if (sqlite3_close(load->db) != SQLITE_OK)
        die(load->db, "close");
}

static void await_line(void)
{
    int c;
    while ((c = getchar()) != '\n' && c != EOF)
        ;
}

static void mode_statement(const struct options *options)
{
    struct load load;
    load_open(&load, options);
    for (int i = 0; i < WARM_UP_RUNS && options->keys > 0; i++)
        run_once(&load);
    (void)puts("ready");
    (void)fflush(stdout);
    await_line();
    load.rows = 0;
    int64_t done = 0, begin_ns = now_ns(), begin_cpu_ns = cpu_ns(), time_ns = begin_ns;
    int64_t end_ns = begin_ns + (int64_t)(options->seconds * 1e9);
    for (; time_ns < end_ns; time_ns = now_ns()) {
        if (options->batch > 1)
            run_plain(load.db, load.begin);
        for (int64_t i = 0; i < options->batch; i++)
            run_once(&load);
        if (options->batch > 1)
            run_plain(load.db, load.commit);
        done += options->batch;
    }
    (void)printf("{\"done\": %" PRId64 ", \"rows\": %" PRId64 ", \"seconds\": %.6f, \"client_cpu_us\": %.3f, "
                 "\"unanswered\": 0, \"errors\": {}, \"latencies_us\": []}\n",
                 done, load.rows, (double)(time_ns - begin_ns) / 1e9, (double)(cpu_ns() - begin_cpu_ns) / 1e3);
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
    load_close(&load);
}

/* What is counted. It must stay a function of its own. */
__attribute__((noinline)) void counted(struct load *load, int64_t runs);
void counted(struct load *load, int64_t runs)
{
    for (int64_t i = 0; i < runs; i++)
        run_once(load);
}

static void mode_count(const struct options *options)
{
    struct load load;
    load_open(&load, options);
    load.random = 1; /* the same keys each time */
    for (int i = 0; i < WARM_UP_RUNS; i++)
        run_once(&load);
    counted(&load, options->runs);
    load_close(&load);
}

static int64_t number(const char *name, const char *text)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value == 0)
        die(NULL, name);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"seconds", required_argument, NULL, 'T'}, {"sql", required_argument, NULL, 's'},
        {"keys", required_argument, NULL, 'k'},    {"batch", required_argument, NULL, 'b'},
        {"runs", required_argument, NULL, 'n'},    {NULL, 0, NULL, 0},
    };
    struct options options = {.seconds = 1, .sql = "SELECT ?1", .keys = 1, .batch = 1, .runs = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'T':
            options.seconds = strtod(optarg, NULL);
            break;
        case 's':
            options.sql = optarg;
            break;
        case 'k':
            options.keys = number("--keys", optarg);
            break;
        case 'b':
            options.batch = number("--batch", optarg);
            break;
        case 'n':
            options.runs = number("--runs", optarg);
            break;
        default:
            return 2;
        }
    }
    if (optind != argc - 2)
        die(NULL, "usage: dropin statement|count [OPTION]... DATABASE; the head of bench/dropin.c has the options");
    options.database = argv[optind + 1];
    if (strcmp(argv[optind], "statement") == 0)
        mode_statement(&options);
    else if (strcmp(argv[optind], "count") == 0)
        mode_count(&options);
    else
        die(NULL, argv[optind]);
    return 0;
}
