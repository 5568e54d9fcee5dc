/* When commits are on disk: positions, shared syncs, failed syncs, checkpoints, databases that stay open.
 *
 * This program's own fdatasync() and fsync() stand before the C library's: they count, can be held up, and can fail. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/durability.h"
#include "engine/vfs.h"
#include "engine_test.h"

int fsync(int fd);
int fdatasync(int fd);

static void pause_us(long us)
{
    struct timespec pause = {.tv_nsec = us * 1000};
    nanosleep(&pause, NULL); /* banned-ok: for giving what must not happen a chance to, and between two looks */
}

/* --- The disk ------------------------------------------------------------------------------------------------------- */

static atomic_int sync_count;
static atomic_int sync_depth; /* syncs that are under way */
static atomic_int last_descriptor;
static atomic_bool syncs_fail;
static atomic_int successes_left; /* so many of the next ones do not fail, then */
static atomic_int failures_left;  /* so many do */
static atomic_bool directory_syncs_fail;
static pthread_mutex_t disk_mutex = PTHREAD_MUTEX_INITIALIZER; /* held by a test: syncs wait */

static int sync_descriptor(int fd, long call)
{
    struct stat info;
    bool is_directory = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
    atomic_fetch_add(&sync_depth, 1);
    pthread_mutex_lock(&disk_mutex);
    pthread_mutex_unlock(&disk_mutex);
    atomic_fetch_sub(&sync_depth, 1);
    atomic_fetch_add(&sync_count, 1);
    atomic_store(&last_descriptor, fd);
    bool fails = atomic_load(&syncs_fail) || (is_directory && atomic_load(&directory_syncs_fail));
    if (!is_directory && atomic_load(&successes_left) > 0) {
        atomic_fetch_sub(&successes_left, 1);
    } else if (!is_directory && atomic_load(&failures_left) > 0) {
        atomic_fetch_sub(&failures_left, 1);
        fails = true;
    }
    if (fails) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_descriptor(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_descriptor(fd, SYS_fdatasync);
}

/* --- One who waits -------------------------------------------------------------------------------------------------- */

struct waiter {
    struct sq_waker waker;
    struct engine_durability_ticket ticket;
    atomic_int wake_count;
};

static void on_wake(struct sq_waker *waker)
{
    atomic_fetch_add(&SQ_CONTAINER_OF(waker, struct waiter, waker)->wake_count, 1);
}

static void waiter_init(struct waiter *waiter)
{
    memset(waiter, 0, sizeof(*waiter));
    waiter->waker.wake_cb = on_wake;
    engine_durability_ticket_init(&waiter->ticket, &waiter->waker);
}

static void wait_for_wake(struct waiter *waiter)
{
    int64_t until_us = sq_clock_now_us() + 30 * SQ_US_PER_S;
    while (atomic_load(&waiter->wake_count) == 0) {
        assert_true(sq_clock_now_us() < until_us);
        pause_us(100);
    }
}

static struct engine_durability *durability(void)
{
    return engine_database_durability(test.database);
}

static int set_up(void **state)
{
    atomic_store(&syncs_fail, false);
    atomic_store(&successes_left, 0);
    atomic_store(&failures_left, 0);
    atomic_store(&directory_syncs_fail, false);
    engine_vfs_set_mark_pause(0); /* a reader's mark is where its snapshot is */
    return engine_test_set_up(state);
}

#define DURABILITY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, engine_test_tear_down)

/* --- Positions ------------------------------------------------------------------------------------------------------ */

static void a_commit_moves_the_end_of_the_log_and_is_not_durable_by_itself(void **state)
{
    (void)state;
    engine_position before = engine_durability_published(durability());
    assert_true(engine_durability_covers(durability(), before));
    engine_test_exec("CREATE TABLE t(a)");
    int synced = atomic_load(&sync_count);
    engine_test_exec("INSERT INTO t VALUES (1)");
    engine_position after = engine_durability_published(durability());
    assert_true(after > before);
    assert_int_equal(atomic_load(&sync_count), synced);
    assert_false(engine_durability_covers(durability(), after));
}

static void a_read_and_a_rollback_move_nothing(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position before = engine_durability_published(durability());
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
    engine_test_exec("BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    assert_int_equal(engine_durability_published(durability()), before);
}

static void a_log_begun_anew_ends_later_than_the_old_one(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(100000))");
    for (int i = 0; i < 3; i++) {
        engine_position old = engine_durability_published(durability());
        assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        assert_int_equal(fill.frame_count, fill.backfilled_count);
        engine_test_exec("INSERT INTO t VALUES (1)");
        assert_int_equal(engine_durability_fill(durability()).frame_count, 1);
        engine_position new = engine_durability_published(durability());
        assert_true(new > old);
        assert_false(engine_durability_covers(durability(), new));
        assert_int_equal(engine_durability_sync(durability(), new, &test.err), SQ_OK);
        assert_true(engine_durability_covers(durability(), old));
        assert_true(engine_durability_covers(durability(), new));
    }
}

/* --- Waiting -------------------------------------------------------------------------------------------------------- */

static void one_who_waits_is_woken_when_it_is_on_disk(void **state)
{
    (void)state;
    struct waiter waiter;
    waiter_init(&waiter);
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    pthread_mutex_lock(&disk_mutex);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_LATER);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_LATER);
    pause_us(2000);
    assert_int_equal(atomic_load(&waiter.wake_count), 0);
    assert_false(engine_durability_covers(durability(), position));
    pthread_mutex_unlock(&disk_mutex);
    wait_for_wake(&waiter);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE);
    assert_int_equal(atomic_load(&waiter.wake_count), 1);
}

static void many_commits_share_a_sync(void **state)
{
    (void)state;
    enum { WAITERS = 50 };
    static struct waiter waiters[WAITERS];
    engine_test_exec("CREATE TABLE t(a)");
    int synced = atomic_load(&sync_count);
    pthread_mutex_lock(&disk_mutex);
    for (int i = 0; i < WAITERS; i++) {
        waiter_init(&waiters[i]);
        engine_test_exec("INSERT INTO t VALUES (1)");
        assert_int_equal(
            engine_durability_wait(durability(), engine_durability_published(durability()), &waiters[i].ticket),
            ENGINE_DURABLE_LATER);
    }
    pthread_mutex_unlock(&disk_mutex);
    for (int i = 0; i < WAITERS; i++)
        wait_for_wake(&waiters[i]);
    /* One that had begun with the first commits, one for the rest. */
    assert_true(atomic_load(&sync_count) - synced <= 2);
}

static void one_who_has_withdrawn_is_not_woken(void **state)
{
    (void)state;
    struct waiter gone;
    struct waiter stays;
    waiter_init(&gone);
    waiter_init(&stays);
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    pthread_mutex_lock(&disk_mutex);
    assert_int_equal(engine_durability_wait(durability(), position, &gone.ticket), ENGINE_DURABLE_LATER);
    assert_int_equal(engine_durability_wait(durability(), position, &stays.ticket), ENGINE_DURABLE_LATER);
    engine_durability_withdraw(durability(), &gone.ticket);
    engine_durability_withdraw(durability(), &gone.ticket);
    pthread_mutex_unlock(&disk_mutex);
    wait_for_wake(&stays);
    assert_int_equal(atomic_load(&gone.wake_count), 0);
}

static void what_nobody_waits_for_is_synced_all_the_same(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    engine_durability_request(durability());
    int64_t until_us = sq_clock_now_us() + 30 * SQ_US_PER_S;
    while (!engine_durability_covers(durability(), position)) {
        assert_true(sq_clock_now_us() < until_us);
        pause_us(1000);
    }
}

/* --- A sync that fails ---------------------------------------------------------------------------------------------- */

static void a_failed_sync_is_final(void **state)
{
    (void)state;
    struct waiter waiter;
    struct engine_wal_fill fill;
    waiter_init(&waiter);
    engine_test_exec("CREATE TABLE t(a)");
    engine_position safe = engine_durability_published(durability());
    assert_int_equal(engine_durability_sync(durability(), safe, &test.err), SQ_OK);
    engine_test_exec("INSERT INTO t VALUES (1)");
    engine_position position = engine_durability_published(durability());
    atomic_store(&syncs_fail, true);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_LATER);
    wait_for_wake(&waiter);
    atomic_store(&syncs_fail, false); /* the kernel's second answer: all is well */
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_NEVER);
    assert_int_equal(engine_durability_sync(durability(), position, &test.err), SQ_IO);
    assert_false(engine_durability_covers(durability(), position));
    assert_int_equal(engine_durability_wait(durability(), safe, &waiter.ticket), ENGINE_DURABLE);
    assert_int_equal(engine_durability_check(durability(), &test.err), SQ_IO);
    assert_string_equal(test.err.sqlstate, "58030");
    assert_true(test.err.is_fatal);
    assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_IO);
}

/* The log is not copied into the database file on the way out; what is in it is there at the next start. */
static void after_a_failed_sync_the_log_stays_for_the_next_start(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (42)");
    atomic_store(&syncs_fail, true);
    assert_int_equal(engine_durability_sync(durability(), engine_durability_published(durability()), &test.err), SQ_IO);
    engine_connection_free(test.connection);
    engine_database_unref(test.database);
    engine_registry_close_idle(test.registry, 0);
    char path[PATH_MAX + 16];
    struct stat info;
    snprintf(path, sizeof(path), "%s/main.db-wal", test.dir);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size > 0);

    /* The disk is still bad: the database does not open. */
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    assert_int_equal(engine_database_start(test.database, &test.err), SQ_IO);
    assert_null(engine_database_durability(test.database));

    atomic_store(&syncs_fail, false);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "42");
    assert_true(engine_durability_covers(durability(), engine_durability_published(durability())));
}

static bool has_log(const char *name)
{
    char path[PATH_MAX + 64];
    struct stat info;
    snprintf(path, sizeof(path), "%s/%s.db-wal", test.dir, name);
    return stat(path, &info) == 0 && info.st_size > 0;
}

static void give_up(void);

/* Neither opening nor renaming copies a log into the database file that the disk has not taken: only half of it might get
 * there, and the rest be nowhere. */
static void a_log_that_cannot_be_written_anew_is_not_copied(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (42)");
    assert_int_equal(engine_database_create(test.registry, "second", &test.err), SQ_OK);
    give_up();
    assert_int_equal(engine_database_open(test.registry, "second", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (43)");
    atomic_store(&syncs_fail, true);
    assert_int_equal(engine_durability_sync(durability(), engine_durability_published(durability()), &test.err), SQ_IO);
    give_up();
    engine_registry_close_idle(test.registry, 0);
    atomic_store(&syncs_fail, false);
    assert_true(has_log("second"));

    /* One sync tells that something was lost, the next ones say that all is well. */
    atomic_store(&failures_left, 1);
    assert_int_equal(engine_database_open(test.registry, "second", &test.err, &test.database), SQ_OK);
    assert_int_equal(engine_database_start(test.database, &test.err), SQ_IO);
    engine_database_unref(test.database);
    assert_true(has_log("second"));
    atomic_store(&failures_left, 1);
    assert_int_equal(engine_database_rename(test.registry, "second", "third", &test.err), SQ_IO);
    assert_non_null(strstr(test.err.text, "cannot sync the write-ahead log"));
    assert_true(has_log("second"));

    assert_int_equal(engine_database_rename(test.registry, "second", "third", &test.err), SQ_OK);
    assert_int_equal(engine_database_open(test.registry, "third", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "43");
}

static void a_log_whose_name_is_not_on_disk_is_not_used(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    give_up();
    engine_registry_close_idle(test.registry, 0);
    assert_false(has_log("main"));
    atomic_store(&directory_syncs_fail, true);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    assert_int_equal(engine_database_start(test.database, &test.err), SQ_IO);
    atomic_store(&directory_syncs_fail, false);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
}

static void *sync_once(void *context)
{
    sq_status *status = context;
    *status = engine_durability_sync(durability(), UINT64_MAX, NULL);
    return NULL;
}

/* The kernel tells a descriptor once that something was lost: of two syncs at a time only one would hear of it. */
static void a_descriptor_is_synced_by_one_at_a_time(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    pthread_t threads[4];
    sq_status statuses[4];
    engine_test_exec("CREATE TABLE t(a)");
    pthread_mutex_lock(&disk_mutex);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sync_once, &statuses[i]), 0);
    while (atomic_load(&sync_depth) == 0)
        pause_us(100);
    pause_us(20000); /* for the others to come */
    int depth = atomic_load(&sync_depth);
    pthread_mutex_unlock(&disk_mutex);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(statuses[i], SQ_OK);
    }
    assert_int_equal(depth, 1);

    /* And a checkpoint, which begins with a sync of the log, has its own: here that is the one that fails. */
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_int_equal(engine_durability_sync(durability(), UINT64_MAX, &test.err), SQ_OK);
    int keeper = atomic_load(&last_descriptor);
    atomic_store(&failures_left, 1);
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_IO);
    assert_int_not_equal(atomic_load(&last_descriptor), keeper);
}

/* Somebody else has the file open: closing folds nothing in, and what was to be synced soon is synced now. */
static void what_nobody_waits_for_is_synced_at_the_end(void **state)
{
    (void)state;
    sqlite3 *other = NULL;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(sqlite3_open(engine_database_path(test.database), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "SELECT count(*) FROM t", NULL, NULL, NULL), SQLITE_OK);
    engine_test_exec("INSERT INTO t VALUES (1)");
    int synced = atomic_load(&sync_count);
    engine_durability_request(durability());
    give_up();
    engine_registry_free(test.registry);
    assert_true(atomic_load(&sync_count) > synced);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(engine_registry_open(test.dir, "main", &test.err, &test.registry), SQ_OK);
}

/* A log that is begun anew has its header synced inside the commit. */
static void a_sync_that_fails_inside_a_commit_is_final_too(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
    atomic_store(&syncs_fail, true);
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (1)"), "58030");
    assert_true(engine_durability_is_failed(durability()));
}

static void a_checkpoint_whose_sync_fails_puts_the_database_out_of_service(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a)");
    atomic_store(&syncs_fail, true);
    assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_IO);
    assert_true(engine_durability_is_failed(durability()));
}

/* A part of the log is copied, which SQLite does not sync yet but counts; another process may keep the count. */
static void what_was_copied_in_vain_is_not_counted(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_statement *reader = engine_test_prepare("SELECT a FROM t");
    assert_int_equal(engine_statement_step(reader, &test.err), ENGINE_STEP_ROW);
    struct engine_connection *reading = test.connection;
    engine_test_connect(NULL);
    engine_test_exec("INSERT INTO t VALUES (2)");
    atomic_store(&successes_left, 1); /* the log's */
    atomic_store(&failures_left, 1);  /* the database file's */
    assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_IO);
    assert_int_equal(atomic_load(&failures_left), 0);
    assert_int_equal(engine_durability_fill(durability()).backfilled_count, 0);
    assert_int_equal(engine_statement_reset(reader, &test.err), SQ_OK);
    engine_statement_free(reader);
    engine_connection_free(reading);
}

/* --- Checkpoints ---------------------------------------------------------------------------------------------------- */

static void a_checkpoint_goes_as_far_as_the_oldest_reader_allows(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_statement *reader = engine_test_prepare("SELECT a FROM t");
    assert_int_equal(engine_statement_step(reader, &test.err), ENGINE_STEP_ROW);
    struct engine_connection *reading = test.connection;
    engine_test_connect(NULL);
    engine_test_exec("INSERT INTO t VALUES (2)");

    assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_OK);
    assert_true(fill.backfilled_count > 0 && fill.backfilled_count < fill.frame_count);
    assert_int_equal(engine_durability_checkpoint(durability(), true, 2000, &test.err, &fill), SQ_BUSY);
    assert_true(fill.frame_count > 0);
    assert_int_equal(engine_statement_reset(reader, &test.err), SQ_OK);
    assert_int_equal(engine_durability_checkpoint(durability(), true, 2000, &test.err, &fill), SQ_OK);
    assert_int_equal(fill.frame_count, fill.backfilled_count);

    engine_statement_free(reader);
    engine_connection_free(reading);
    assert_string_equal(engine_test_text("SELECT group_concat(a) FROM t"), "1,2");
}

/* --- Databases that stay open --------------------------------------------------------------------------------------- */

static void give_up(void)
{
    engine_connection_free(test.connection);
    test.connection = NULL;
    engine_database_unref(test.database);
    test.database = NULL;
}

static void a_database_that_nobody_uses_stays_open_for_a_while(void **state)
{
    (void)state;
    char path[PATH_MAX + 16];
    engine_test_exec("CREATE TABLE t(a)");
    snprintf(path, sizeof(path), "%s/main.db-wal", test.dir);
    give_up();
    engine_registry_close_idle(test.registry, 3600 * (int64_t)SQ_US_PER_S);
    assert_int_equal(access(path, F_OK), 0);
    engine_registry_close_idle(test.registry, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    engine_registry_close_idle(test.registry, 0);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
}

static void one_that_stays_open_can_be_renamed_and_dropped(void **state)
{
    (void)state;
    struct engine_database *database = NULL;
    struct engine_connection *connection = NULL;
    struct engine_connection_options options = {.stop = &test.stop};
    assert_int_equal(engine_database_create(test.registry, "other", &test.err), SQ_OK);
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "other" : "renamed";
        assert_int_equal(engine_database_open(test.registry, name, &test.err, &database), SQ_OK);
        assert_int_equal(engine_connection_open(database, &options, &test.err, &connection), SQ_OK);
        const char *sql = i == 0 ? "CREATE TABLE t(a)" : "SELECT * FROM t";
        assert_int_equal(engine_connection_exec(connection, sql, &test.err), SQ_OK);
        if (i == 0)
            assert_int_equal(engine_database_rename(test.registry, name, "renamed", &test.err), SQ_BUSY);
        else
            assert_int_equal(engine_database_drop(test.registry, name, &test.err), SQ_BUSY);
        engine_connection_free(connection);
        engine_database_unref(database);
        if (i == 0)
            assert_int_equal(engine_database_rename(test.registry, name, "renamed", &test.err), SQ_OK);
        else
            assert_int_equal(engine_database_drop(test.registry, name, &test.err), SQ_OK);
        assert_false(engine_database_exists(test.registry, name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DURABILITY_TEST(a_commit_moves_the_end_of_the_log_and_is_not_durable_by_itself),
        DURABILITY_TEST(a_read_and_a_rollback_move_nothing),
        DURABILITY_TEST(a_log_begun_anew_ends_later_than_the_old_one),
        DURABILITY_TEST(one_who_waits_is_woken_when_it_is_on_disk),
        DURABILITY_TEST(many_commits_share_a_sync),
        DURABILITY_TEST(one_who_has_withdrawn_is_not_woken),
        DURABILITY_TEST(what_nobody_waits_for_is_synced_all_the_same),
        DURABILITY_TEST(a_failed_sync_is_final),
        DURABILITY_TEST(after_a_failed_sync_the_log_stays_for_the_next_start),
        DURABILITY_TEST(a_log_that_cannot_be_written_anew_is_not_copied),
        DURABILITY_TEST(a_log_whose_name_is_not_on_disk_is_not_used),
        DURABILITY_TEST(a_descriptor_is_synced_by_one_at_a_time),
        DURABILITY_TEST(what_nobody_waits_for_is_synced_at_the_end),
        DURABILITY_TEST(a_sync_that_fails_inside_a_commit_is_final_too),
        DURABILITY_TEST(a_checkpoint_whose_sync_fails_puts_the_database_out_of_service),
        DURABILITY_TEST(what_was_copied_in_vain_is_not_counted),
        DURABILITY_TEST(a_checkpoint_goes_as_far_as_the_oldest_reader_allows),
        DURABILITY_TEST(a_database_that_nobody_uses_stays_open_for_a_while),
        DURABILITY_TEST(one_that_stays_open_can_be_renamed_and_dropped),
    };
    return cmocka_run_group_tests_name("engine/durability", tests, NULL, NULL);
}
