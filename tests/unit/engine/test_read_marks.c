/* Read marks that are raised now and then: readers see the newest commits all the same, and checkpoints leave alone what
 * they read. How often the kernel is asked is counted in a VFS below. */
#include <pthread.h>
#include <stdatomic.h>

#include "engine/durability.h"
#include "engine/vfs.h"
#include "engine_test.h"

enum { FIRST_MARKED_LOCK = 4, LAST_MARKED_LOCK = 7, COMMITS = 50 };

static const int64_t for_ever_us = INT64_MAX;

/* --- A VFS that counts how often one slot is wanted exclusively ------------------------------------------------------ */

static sqlite3_vfs counting;
static sqlite3_vfs *below;
static sqlite3_io_methods methods;
static int (*below_lock)(sqlite3_file *file, int offset, int count, int flags);
static atomic_int raise_count;

static int counting_lock(sqlite3_file *file, int offset, int count, int flags)
{
    if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) && count == 1 && offset >= FIRST_MARKED_LOCK &&
        offset <= LAST_MARKED_LOCK)
        atomic_fetch_add(&raise_count, 1);
    return below_lock(file, offset, count, flags);
}

static int counting_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    int result = below->xOpen(below, name, file, flags, ret_flags);
    if (result != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0)
        return result;
    /* Once, while there is one thread: all database files have the same methods. */
    if (below_lock == NULL) {
        methods = *file->pMethods;
        below_lock = methods.xShmLock;
        methods.xShmLock = counting_lock;
    }
    assert_ptr_equal(file->pMethods->xShmLock, below_lock);
    file->pMethods = &methods;
    return result;
}

static void count_below(void)
{
    below = sqlite3_vfs_find(NULL);
    counting = *below;
    counting.zName = "unix-counting";
    counting.xOpen = counting_open;
    assert_int_equal(sqlite3_vfs_register(&counting, 1), SQLITE_OK);
}

static int set_up(void **state)
{
    engine_vfs_set_mark_pause(0);
    return engine_test_set_up(state);
}

/* --- One thread ------------------------------------------------------------------------------------------------------ */

static struct engine_durability *durability(void)
{
    return engine_database_durability(test.database);
}

/* Commits and reads in turn, on two connections; how often a mark was to be raised meanwhile. */
static int raises_of_commits(void)
{
    struct engine_connection *writer = test.connection;
    engine_test_connect(NULL);
    struct engine_connection *reader = test.connection;
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
    int before = atomic_load(&raise_count);
    for (int i = 1; i <= COMMITS; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%d", i);
        test.connection = writer;
        engine_test_exec("INSERT INTO t VALUES (1)");
        test.connection = reader;
        assert_string_equal(engine_test_text("SELECT count(*) FROM t"), expected);
    }
    int after = atomic_load(&raise_count);
    engine_connection_free(reader);
    test.connection = writer;
    return after - before;
}

static void readers_see_every_commit_while_marks_are_late(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
    engine_vfs_set_mark_pause(for_ever_us);
    assert_int_equal(raises_of_commits(), 0);
}

static void marks_are_raised_when_it_is_time(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    assert_true(raises_of_commits() >= COMMITS);
}

static void a_checkpoint_stops_at_the_late_mark_of_a_reader(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    assert_string_equal(engine_test_text("SELECT max(a) FROM t"), "1");
    engine_vfs_set_mark_pause(for_ever_us);
    engine_test_exec("UPDATE t SET a = 2");

    struct engine_connection *writer = test.connection;
    engine_test_connect(NULL);
    struct engine_connection *connection = test.connection;
    struct engine_statement *reader = engine_test_prepare("SELECT a FROM t UNION ALL SELECT a + 10 FROM t");
    assert_int_equal(engine_statement_step(reader, &test.err), ENGINE_STEP_ROW);
    test.connection = writer;
    engine_test_exec("UPDATE t SET a = 3");

    /* The mark is before the reader's snapshot: neither what it reads nor what came later is copied. */
    uint32_t snapshot_frames = engine_durability_fill(durability()).frame_count - 1;
    assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_OK);
    assert_true(fill.backfilled_count < snapshot_frames);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "3");
    struct sq_value value;
    assert_int_equal(engine_statement_step(reader, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_row(reader, &value, &test.err), SQ_OK);
    assert_int_equal(value.integer, 12);
    engine_statement_free(reader);
    engine_connection_free(connection);

    /* Without readers a checkpoint copies everything and the log begins anew, late marks or not. */
    test.connection = writer;
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
    assert_int_equal(fill.backfilled_count, fill.frame_count);
    engine_test_exec("UPDATE t SET a = 4");
    assert_int_equal(engine_durability_fill(durability()).frame_count, 1);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "4");
}

/* Between two readers who hold their slots for ever, marks come and go with the log. */
static void logs_begin_anew_under_late_marks(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (0)");
    engine_vfs_set_mark_pause(for_ever_us);
    for (int i = 1; i <= COMMITS; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%d", i);
        engine_test_exec("UPDATE t SET a = a + 1");
        assert_string_equal(engine_test_text("SELECT a FROM t"), expected);
        if (i % 3 == 0)
            assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        if (i % 5 == 0)
            engine_vfs_release_idle();
    }
    assert_string_equal(engine_test_text("PRAGMA integrity_check"), "ok");
}

/* --- Several threads -------------------------------------------------------------------------------------------------- */

enum { READERS = 3, ROUNDS = 400 };

struct reader {
    pthread_t thread;
    struct engine_connection *connection;
    struct engine_stop stop;
    int64_t read_count;
    bool is_wrong;
};

static atomic_bool is_over;

/* Both rows always hold the same number, which never grows smaller. */
static void *read_on(void *context)
{
    struct reader *reader = context;
    struct sq_error err;
    struct engine_statement *statement = NULL;
    size_t consumed = 0;
    static const char sql[] = "SELECT min(a), max(a) FROM t";
    int64_t last = 0;
    if (engine_statement_prepare(reader->connection, sql, strlen(sql), &err, &statement, &consumed) != SQ_OK) {
        reader->is_wrong = true;
        return NULL;
    }
    do {
        struct sq_value values[2];
        if (engine_statement_step(statement, &err) != ENGINE_STEP_ROW ||
            engine_statement_row(statement, values, &err) != SQ_OK || values[0].integer != values[1].integer ||
            values[0].integer < last) {
            reader->is_wrong = true;
            break;
        }
        last = values[0].integer;
        reader->read_count++;
        if (engine_statement_reset(statement, &err) != SQ_OK)
            reader->is_wrong = true;
    } while (!reader->is_wrong && !atomic_load(&is_over));
    engine_statement_free(statement);
    return NULL;
}

static void snapshots_are_whole_under_commits_and_checkpoints(void **state)
{
    (void)state;
    static struct reader readers[READERS];
    struct engine_wal_fill fill;
    memset(readers, 0, sizeof(readers));
    atomic_store(&is_over, false);
    engine_test_exec("CREATE TABLE t(a, b); INSERT INTO t VALUES (0, zeroblob(6000)), (0, zeroblob(6000))");
    engine_vfs_set_mark_pause(100);
    for (int i = 0; i < READERS; i++) {
        struct engine_connection_options options = {.stop = &readers[i].stop};
        assert_int_equal(engine_connection_open(test.database, &options, &test.err, &readers[i].connection), SQ_OK);
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        engine_test_exec("UPDATE t SET a = a + 1");
        sq_status status = engine_durability_checkpoint(durability(), i % 4 == 0, 2000, &test.err, &fill);
        assert_true(status == SQ_OK || status == SQ_BUSY);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_false(readers[i].is_wrong);
        assert_true(readers[i].read_count > 0);
        engine_connection_free(readers[i].connection);
    }
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
    assert_string_equal(engine_test_text("SELECT group_concat(a) FROM t"), "400,400");
    assert_string_equal(engine_test_text("PRAGMA integrity_check"), "ok");
}

#define MARK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, engine_test_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MARK_TEST(readers_see_every_commit_while_marks_are_late),     MARK_TEST(marks_are_raised_when_it_is_time),
        MARK_TEST(a_checkpoint_stops_at_the_late_mark_of_a_reader),   MARK_TEST(logs_begin_anew_under_late_marks),
        MARK_TEST(snapshots_are_whole_under_commits_and_checkpoints),
    };
    if (engine_init(NULL, &test.err) != SQ_OK)
        return 1;
    count_below();
    return cmocka_run_group_tests_name("engine/read_marks", tests, NULL, NULL);
}
