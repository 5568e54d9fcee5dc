/* A log under a random load: several connections, small and large transactions, tables that come and go, VACUUM, blobs, checkpoints all the
 * time, another process that writes and begins the log anew. A copy made of the log alone is checked at every position that the log
 * has (its checksum), and page by page whenever all stand still. Prints its seed; as an argument it plays the same statements again. */
#include <stdatomic.h>

#include "../../lib/logger_fixture.h"

enum { WRITERS = 3, ROUNDS = 6, STATEMENTS = 60 };

static uint64_t first_seed;
static atomic_int busy_count; /* writers that have not done their round */
static atomic_bool is_over;
static pthread_mutex_t slot = PTHREAD_MUTEX_INITIALIZER; /* the write slot: others of this process do not write meanwhile */

struct writer {
    pthread_t thread;
    pthread_t checkpointer;
    uint64_t seed;
    bool is_outside;
};

/* SQLite's errors that another writer's schema brings about are part of the game. */
static void try_exec(sqlite3 *db, const char *sql)
{
    int result = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK || result == SQLITE_ERROR || result == SQLITE_LOCKED || result == SQLITE_BUSY ||
              result == SQLITE_BUSY_SNAPSHOT || result == SQLITE_SCHEMA);
    if (sqlite3_get_autocommit(db) == 0)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}

static void random_statement(sqlite3 *db, uint64_t *seed)
{
    char sql[512];
    unsigned table = wal_random_below(seed, 4);
    unsigned row = wal_random_below(seed, 2000);
    switch (wal_random_below(seed, 16)) {
    case 0:
        snprintf(sql, sizeof(sql), "CREATE TABLE IF NOT EXISTS t%u(a INTEGER PRIMARY KEY, b, c)", table);
        break;
    case 1:
        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS t%u", table);
        break;
    case 2:
        snprintf(sql, sizeof(sql), "CREATE INDEX IF NOT EXISTS i%u ON t%u(c)", table, table);
        break;
    case 3:
        snprintf(sql, sizeof(sql), "VACUUM");
        break;
    case 4:
        snprintf(sql, sizeof(sql), "INSERT INTO t%u(b, c) SELECT randomblob(200), value FROM " WAL_SERIES(3000), table);
        break;
    case 5:
        snprintf(sql, sizeof(sql), "INSERT INTO t%u(b) VALUES (randomblob(%u))", table, row * 200);
        break;
    case 6:
        snprintf(sql, sizeof(sql), "DELETE FROM t%u WHERE a > %u", table, row);
        break;
    case 7:
        snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; UPDATE t%u SET c = c + 1; DELETE FROM t%u; ROLLBACK", table, table);
        break;
    case 8:
        snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%u)", row / 100);
        break;
    case 9:
        snprintf(sql, sizeof(sql),
                 "BEGIN IMMEDIATE; UPDATE t%u SET b = zeroblob(300) WHERE a %% 5 = 0; SAVEPOINT s; DELETE FROM t%u;"
                 "ROLLBACK TO s; INSERT INTO t%u(b) VALUES (1); COMMIT",
                 table, table, table);
        break;
    default:
        snprintf(sql, sizeof(sql), "UPDATE t%u SET b = randomblob(%u), c = %u WHERE a BETWEEN %u AND %u", table,
                 row % 700, row, row, row + 3);
        break;
    }
    try_exec(db, sql);
}

static void outside_statement(sqlite3 *db, uint64_t *seed)
{
    static const char *const statements[] = {
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "INSERT INTO t1(b) VALUES (randomblob(5000))",
        "UPDATE t2 SET c = c - 1 WHERE a % 100 = 3",
        "CREATE TABLE IF NOT EXISTS t3(a INTEGER PRIMARY KEY, b, c)",
    };
    engine_vfs_release_idle();
    try_exec(db, statements[wal_random_below(seed, sizeof(statements) / sizeof(statements[0]))]);
}

static void *run_writer(void *context)
{
    struct writer *writer = context;
    uint64_t seed = writer->seed;
    sqlite3 *db = writer->is_outside ? logged_connect_outside() : logged_connect();
    if (writer->is_outside)
        sqlite3_busy_timeout(db, 20);
    wal_exec(db, "PRAGMA cache_size=40");
    for (int i = 0; i < STATEMENTS; i++) {
        if (writer->is_outside && i % 8 == 0) {
            outside_statement(db, &seed);
        } else if (!writer->is_outside) {
            pthread_mutex_lock(&slot);
            random_statement(db, &seed);
            pthread_mutex_unlock(&slot);
        }
        /* Somebody waits for the disk after most commits. */
        struct sq_error err;
        if (wal_random_below(&seed, 4) > 0) {
            sq_status status = engine_follower_sync(
                logged_durability(), engine_durability_published(logged_durability()), &err);
            sq_assert(status == SQ_OK);
        }
    }
    sqlite3_close(db);
    atomic_fetch_sub(&busy_count, 1);
    return NULL;
}

static void *run_checkpoints(void *context)
{
    uint64_t seed = *(const uint64_t *)context;
    while (!atomic_load(&is_over)) {
        struct engine_wal_fill fill = engine_durability_fill(logged_durability());
        bool is_restart = wal_random_below(&seed, 3) == 0;
        struct sq_error err;
        if (fill.frame_count - fill.backfilled_count > wal_random_below(&seed, 400)) {
            if (is_restart)
                pthread_mutex_lock(&slot);
            sq_status status = engine_durability_checkpoint(logged_durability(), is_restart, 500, &err, &fill);
            if (is_restart)
                pthread_mutex_unlock(&slot);
            sq_assert(status == SQ_OK || status == SQ_BUSY);
        }
        struct timespec pause = {.tv_nsec = 500 * 1000};
        nanosleep(&pause, NULL); /* banned-ok: lets others go on between two checkpoints */
    }
    return NULL;
}

static void run_round(uint64_t seed, bool has_outside, struct copy *follower, struct copy *healer)
{
    struct writer writers[WRITERS + 1];
    pthread_t checkpointer;
    int count = has_outside ? WRITERS + 1 : WRITERS;
    uint64_t checkpoint_seed = seed ^ 1;
    atomic_store(&busy_count, count);
    atomic_store(&is_over, false);
    for (int i = 0; i < count; i++) {
        writers[i] = (struct writer){.seed = wal_random(&seed), .is_outside = i == WRITERS};
        sq_assert(pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) == 0);
    }
    sq_assert(pthread_create(&checkpointer, NULL, run_checkpoints, &checkpoint_seed) == 0);
    bool is_healed = false;
    while (atomic_load(&busy_count) > 0) {
        if (!copy_follow(follower))
            fail_msg("the log has a gap before %llu", (unsigned long long)logged_facts().begin.txid);
        if (wal_random_below(&seed, 20) == 0)
            is_healed |= copy_try_heal(healer);
    }
    for (int i = 0; i < count; i++)
        pthread_join(writers[i].thread, NULL);
    atomic_store(&is_over, true);
    pthread_join(checkpointer, NULL);
    copy_check(follower);
    if (is_healed)
        copy_check(healer);
}

static void run_rounds(bool has_outside)
{
    struct copy follower;
    struct copy healer;
    uint64_t seed = first_seed + has_outside;
    logged_exec_once("PRAGMA auto_vacuum=INCREMENTAL; VACUUM; CREATE TABLE t0(a INTEGER PRIMARY KEY, b, c)");
    copy_open(&follower);
    copy_open(&healer);
    copy_heal(&follower);
    for (int round = 0; round < ROUNDS; round++) {
        run_round(wal_random(&seed), has_outside, &follower, &healer);
        if (!has_outside) /* once, to begin with; and never since it was opened again */
            assert_int_equal(logged_facts().scan_count, round < 3);
        if (round % 3 != 2)
            continue;
        copy_close(&follower);
        copy_close(&healer);
        logged_reopen();
        copy_open_again(&follower);
        copy_open_again(&healer);
        copy_check(&follower);
        assert_int_equal(logged_facts().scan_count, 0);
    }
    struct repl_logger_facts facts = logged_facts();
    print_message("txid %llu, %u files applied, %llu files kept, %llu bytes\n", (unsigned long long)facts.end.txid,
                  follower.file_count, (unsigned long long)facts.file_count, (unsigned long long)facts.bytes);
    assert_int_equal(facts.begin.txid, 2);
    copy_done(&healer);
    copy_done(&follower);
}

static void the_log_is_the_database(void **state)
{
    (void)state;
    run_rounds(false);
}

static void whatever_others_do_to_it(void **state)
{
    (void)state;
    run_rounds(true);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_log_is_the_database, logged_set_up, logged_tear_down),
        cmocka_unit_test_setup_teardown(whatever_others_do_to_it, logged_set_up, logged_tear_down),
    };
    first_seed = argument_count > 1 ? strtoull(arguments[1], NULL, 10) : (uint64_t)sq_clock_wall_us();
    print_message("seed %llu\n", (unsigned long long)first_seed);
    if (getenv("LOGGER_TEST_LOG") == NULL)
        sq_log_set_level(SQ_LOG_LEVEL_COUNT);
    return cmocka_run_group_tests_name("repl/logger_load", tests, NULL, NULL);
}
