/* Who follows a database's WAL: told what is durable, asked before checkpoints, done with at closing; and answers that wait for
 * confirmations of others. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "engine/durability.h"
#include "engine/follower.h"
#include "engine/vfs.h"
#include "engine_test.h"

static void pause_us(long us)
{
    struct timespec pause = {.tv_nsec = us * 1000};
    nanosleep(&pause, NULL); /* banned-ok: for giving what must not happen a chance to, and between two looks */
}

static struct engine_durability *durability(void)
{
    return engine_database_durability(test.database);
}

/* --- A follower that notes -------------------------------------------------------------------------------------------- */

enum { ASKED_MAX = 64 };

struct asked {
    engine_position position;
    bool is_synced;
    struct engine_wal_fill fill; /* when it was asked */
};

static struct {
    struct engine_follower base;
    struct engine_follower_factory factory;
    bool is_wanted;
    sq_status start_status;
    _Atomic(engine_position) durable;
    atomic_int refuse_unsynced;
    atomic_int refuse_synced;
    struct engine_durability *durability;
    char path[PATH_MAX];
    struct asked asked[ASKED_MAX];
    size_t asked_count;
    int closing_count;
    int closed_count;
    bool has_mark;
    struct engine_file_mark mark;
    void (*on_cover_cb)(void);
    void (*on_closing_cb)(void);
} noter;

static void on_durable(struct engine_follower *follower, engine_position position)
{
    assert_ptr_equal(follower, &noter.base);
    assert_true(position >= atomic_load(&noter.durable));
    atomic_store(&noter.durable, position);
}

static sq_status on_cover(struct engine_follower *follower, engine_position position, bool is_synced,
                          struct sq_error *err)
{
    assert_ptr_equal(follower, &noter.base);
    assert_true(position <= atomic_load(&noter.durable) || (uint32_t)position == 0);
    if (noter.asked_count < ASKED_MAX)
        noter.asked[noter.asked_count++] =
            (struct asked){position, is_synced, engine_durability_fill(noter.durability)};
    if (noter.on_cover_cb != NULL)
        noter.on_cover_cb();
    if (atomic_load(is_synced ? &noter.refuse_synced : &noter.refuse_unsynced) != 0)
        return sq_fail(err, SQ_IO, "no room for the log");
    return SQ_OK;
}

static void on_closing(struct engine_follower *follower)
{
    assert_ptr_equal(follower, &noter.base);
    noter.closing_count++;
    if (noter.on_closing_cb != NULL)
        noter.on_closing_cb();
}

static void on_closed(struct engine_follower *follower, const struct engine_file_mark *mark)
{
    assert_ptr_equal(follower, &noter.base);
    noter.closed_count++;
    assert_int_equal(noter.closing_count, noter.closed_count);
    noter.has_mark = mark != NULL;
    if (mark != NULL)
        noter.mark = *mark;
}

static const struct engine_follower_ops noter_ops = {on_durable, on_cover, on_closing, on_closed};

static sq_status on_start(struct engine_follower_factory *factory, struct engine_database *database,
                          struct engine_durability *started, struct sq_error *err,
                          struct engine_follower **ret_follower)
{
    assert_ptr_equal(factory, &noter.factory);
    assert_string_equal(engine_database_name(database), "main");
    if (noter.start_status != SQ_OK)
        return sq_fail(err, noter.start_status, "it cannot be followed");
    noter.durability = started;
    atomic_store(&noter.durable, 0);
    snprintf(noter.path, sizeof(noter.path), "%s", engine_database_path(database));
    *ret_follower = noter.is_wanted ? &noter.base : NULL;
    return SQ_OK;
}

static void reopen(void)
{
    engine_connection_free(test.connection);
    engine_database_unref(test.database);
    engine_registry_close_idle(test.registry, 0);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    test.connection = NULL;
}

static void close_all(void)
{
    engine_connection_free(test.connection);
    test.connection = NULL;
    engine_database_unref(test.database);
    test.database = NULL;
    engine_registry_close_idle(test.registry, 0);
}

static int set_up(void **state)
{
    memset(&noter, 0, sizeof(noter));
    noter.base.ops = &noter_ops;
    noter.factory.start_cb = on_start;
    noter.is_wanted = true;
    engine_vfs_set_mark_pause(0); /* a reader's mark is where its snapshot is */
    engine_test_set_up(state);
    engine_registry_set_follower_factory(test.registry, &noter.factory);
    reopen();
    engine_test_connect(NULL);
    return 0;
}

#define FOLLOWER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, engine_test_tear_down)

static void sync_all(void)
{
    engine_position position = engine_durability_published(durability());
    assert_int_equal(engine_durability_sync(durability(), position, &test.err), SQ_OK);
}

static struct engine_wal_fill checkpoint(bool is_restart, sq_status expected)
{
    struct engine_wal_fill fill = {0};
    sq_status status = engine_durability_checkpoint(durability(), is_restart, 0, &test.err, &fill);
    if (status != expected)
        fail_msg("%s instead of %s: %s", sq_status_name(status), sq_status_name(expected), test.err.text);
    return fill;
}

static bool has_log(void)
{
    char path[PATH_MAX + 16];
    struct stat info;
    snprintf(path, sizeof(path), "%s/main.db-wal", test.dir);
    return stat(path, &info) == 0 && info.st_size > 0;
}

/* --- What it is told -------------------------------------------------------------------------------------------------- */

static void it_is_told_what_is_durable_and_nothing_else(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position before = atomic_load(&noter.durable);
    engine_test_exec("INSERT INTO t VALUES (1)");
    engine_position published = engine_durability_published(durability());
    assert_int_equal(atomic_load(&noter.durable), before);
    assert_true(before < published);
    sync_all();
    assert_int_equal(atomic_load(&noter.durable), published);
    assert_ptr_equal(engine_durability_follower(durability()), &noter.base);
}

static void a_database_that_cannot_be_followed_does_not_open(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    reopen();
    noter.start_status = SQ_IO;
    assert_int_equal(engine_database_start(test.database, &test.err), SQ_IO);
    assert_string_equal(test.err.text, "it cannot be followed");
    assert_null(engine_database_durability(test.database));
    noter.start_status = SQ_OK;
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
}

static void one_that_nobody_follows_is_as_before(void **state)
{
    (void)state;
    reopen();
    noter.is_wanted = false;
    noter.asked_count = 0;
    engine_test_connect(NULL);
    assert_null(engine_durability_follower(durability()));
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    checkpoint(false, SQ_OK);
    checkpoint(true, SQ_OK);
    close_all();
    assert_int_equal(noter.asked_count, 0);
    assert_false(has_log());
}

static void the_state_of_the_log_is_of_one_moment(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    struct engine_wal_state before = engine_durability_state(durability());
    assert_int_equal(before.position, engine_durability_published(durability()));
    assert_int_equal((uint32_t)before.position, before.frame_count);
    for (int i = 0; i < 3; i++)
        engine_test_exec("INSERT INTO t VALUES (randomblob(9000))");
    engine_test_exec("BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    struct engine_wal_state after = engine_durability_state(durability());
    assert_int_equal(after.change_count, before.change_count + 3);
    assert_int_equal(after.salt1, before.salt1);
    assert_int_equal(after.salt2, before.salt2);
    assert_int_equal(after.page_count, strtol(engine_test_text("PRAGMA page_count"), NULL, 10));

    /* Begun anew, by another process too, it goes on counting; and the first salt is the next number. */
    checkpoint(true, SQ_OK);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(engine_database_path(test.database), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "INSERT INTO t VALUES (2)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    struct engine_wal_state anew = engine_durability_state(durability());
    assert_int_equal(anew.salt1, after.salt1 + 1);
    assert_int_equal(anew.frame_count, 1);
    assert_int_equal(anew.change_count, after.change_count + 1);
    assert_true(anew.position > after.position);
}

/* --- The gate --------------------------------------------------------------------------------------------------------- */

static void it_is_asked_before_anything_is_copied(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    assert_int_equal(checkpoint(false, SQ_OK).backfilled_count, (uint32_t)position);
    assert_int_equal(noter.asked_count, 2);
    assert_int_equal(noter.asked[0].position, position);
    assert_false(noter.asked[0].is_synced);
    assert_int_equal(noter.asked[0].fill.backfilled_count, 0);
    /* All was copied: the next writer could begin the log anew. */
    assert_int_equal(noter.asked[1].position, position);
    assert_true(noter.asked[1].is_synced);
}

/* In the place of the follower: a commit while it is asked. */
static void commit_more(void)
{
    sqlite3 *other = NULL;
    noter.on_cover_cb = NULL;
    assert_int_equal(sqlite3_open(noter.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "INSERT INTO t VALUES (randomblob(20000))", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_db_config(other, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(other);
}

static void what_is_committed_meanwhile_is_not_copied(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    noter.on_cover_cb = commit_more;
    struct engine_wal_fill fill = checkpoint(false, SQ_OK);
    assert_int_equal(fill.backfilled_count, (uint32_t)position);
    assert_true(fill.frame_count > (uint32_t)position + 4);
    assert_int_equal(noter.asked_count, 1);
    assert_int_equal(noter.asked[0].position, position);
}

static void a_log_that_cannot_be_covered_is_not_copied(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    atomic_store(&noter.refuse_unsynced, 1);
    atomic_store(&noter.refuse_synced, 1);
    for (int i = 0; i < 3; i++) {
        struct engine_wal_fill fill = checkpoint(false, SQ_IO);
        assert_string_equal(test.err.text, "no room for the log");
        assert_int_equal(fill.backfilled_count, 0);
        engine_test_exec("INSERT INTO t VALUES (1)");
        checkpoint(true, SQ_IO);
        assert_int_equal(engine_durability_fill(durability()).backfilled_count, 0);
    }
    atomic_store(&noter.refuse_unsynced, 0);
    atomic_store(&noter.refuse_synced, 0);
    struct engine_wal_fill fill = checkpoint(true, SQ_OK);
    assert_int_equal(fill.backfilled_count, fill.frame_count);
}

/* All has been copied, and it is not in the follower's files: whoever writes next must not begin the log anew. */
static void a_log_that_is_copied_but_not_synced_is_not_begun_anew(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    struct engine_wal_state before = engine_durability_state(durability());
    atomic_store(&noter.refuse_synced, 1);
    struct engine_wal_fill fill = checkpoint(false, SQ_OK);
    assert_int_equal(fill.backfilled_count, fill.frame_count);
    engine_test_exec("INSERT INTO t VALUES (1)");
    engine_test_exec("INSERT INTO t VALUES (2)");
    struct engine_wal_state after = engine_durability_state(durability());
    assert_int_equal(after.salt1, before.salt1);
    assert_true(after.frame_count > before.frame_count);
    fill = checkpoint(false, SQ_IO);
    assert_int_equal(fill.backfilled_count, before.frame_count);

    atomic_store(&noter.refuse_synced, 0);
    checkpoint(false, SQ_OK);
    engine_test_exec("INSERT INTO t VALUES (3)");
    assert_int_equal(engine_durability_state(durability()).salt1, before.salt1 + 1);
}

/* A client in native mode may ask for a checkpoint on its own connection. */
static void a_checkpoint_of_any_connection_passes_the_gate(void **state)
{
    (void)state;
    sqlite3 *session = NULL;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(
        sqlite3_open_v2(engine_database_path(test.database), &session, SQLITE_OPEN_READWRITE, ENGINE_VFS_NAME),
        SQLITE_OK);
    assert_int_equal(sqlite3_exec(session, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
    atomic_store(&noter.refuse_unsynced, 1);
    assert_int_equal(sqlite3_wal_checkpoint_v2(session, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(engine_durability_fill(durability()).backfilled_count, 0);
    atomic_store(&noter.refuse_unsynced, 0);
    assert_int_equal(sqlite3_wal_checkpoint_v2(session, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL), SQLITE_OK);
    assert_int_equal(noter.asked_count, 3);
    assert_true(noter.asked[2].is_synced);
    assert_int_equal(engine_durability_fill(durability()).backfilled_count, (uint32_t)noter.asked[1].position);
    assert_int_equal(sqlite3_close(session), SQLITE_OK);
}

static void before_the_log_is_begun_anew_all_of_it_is_synced(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    checkpoint(true, SQ_OK);
    assert_int_equal(noter.asked_count, 1);
    assert_int_equal(noter.asked[0].position, position);
    assert_true(noter.asked[0].is_synced);
    assert_int_equal(noter.asked[0].fill.backfilled_count, 0);

    /* What another process adds while it is asked is copied too, so it is asked again. */
    engine_test_exec("INSERT INTO t VALUES (1)");
    noter.asked_count = 0;
    noter.on_cover_cb = commit_more;
    struct engine_wal_fill fill = checkpoint(true, SQ_OK);
    assert_int_equal(fill.backfilled_count, fill.frame_count);
    assert_int_equal(noter.asked_count, 2);
    assert_int_equal((uint32_t)noter.asked[1].position, fill.frame_count);
    assert_true(noter.asked[1].is_synced);
}

static void it_can_be_asked_beforehand(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(engine_durability_cover(durability(), &test.err), SQ_OK);
    assert_int_equal(noter.asked_count, 1);
    checkpoint(true, SQ_OK); /* nothing has come since */
    assert_int_equal(noter.asked_count, 1);
    atomic_store(&noter.refuse_synced, 1);
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_int_equal(engine_durability_cover(durability(), &test.err), SQ_IO);
}

/* --- Closing ---------------------------------------------------------------------------------------------------------- */

static void a_database_is_closed_when_it_has_everything(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (randomblob(100000))");
    engine_position position = engine_durability_published(durability());
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", engine_database_path(test.database));
    close_all();
    assert_int_equal(noter.closed_count, 1);
    assert_true(noter.asked[noter.asked_count - 1].is_synced);
    assert_int_equal(noter.asked[noter.asked_count - 1].position, position);
    assert_true(noter.has_mark);
    assert_false(has_log());
    struct engine_file_mark mark;
    assert_int_equal(engine_file_mark_read(path, &test.err, &mark), SQ_OK);
    assert_memory_equal(&mark, &noter.mark, sizeof(mark));
    assert_true(mark.bytes > 100000);

    /* Opening and reading it changes nothing; a write does, although the file is as long as before. */
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "1");
    assert_int_equal(engine_file_mark_read(path, &test.err, &mark), SQ_OK);
    assert_memory_equal(&mark, &noter.mark, sizeof(mark));
    close_all();
    struct engine_file_mark left = noter.mark;
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "UPDATE t SET a = randomblob(100000)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(engine_file_mark_read(path, &test.err, &mark), SQ_OK);
    assert_int_equal(mark.bytes, left.bytes);
    assert_int_equal(mark.inode, left.inode);
    assert_int_not_equal(mark.modified_ns, left.modified_ns);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
}

static void a_log_that_cannot_be_covered_is_kept_at_closing(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (42)");
    atomic_store(&noter.refuse_synced, 1);
    close_all();
    assert_int_equal(noter.closed_count, 1);
    assert_false(noter.has_mark);
    assert_true(has_log());
    atomic_store(&noter.refuse_synced, 0);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "42");
    assert_true(engine_durability_fill(durability()).frame_count > 0);
    close_all();
    assert_true(noter.has_mark);
    assert_false(has_log());
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
}

static void while_another_process_has_it_open_it_is_not_folded(void **state)
{
    (void)state;
    sqlite3 *other = NULL;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(sqlite3_open(engine_database_path(test.database), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "SELECT count(*) FROM t", NULL, NULL, NULL), SQLITE_OK);
    close_all();
    assert_int_equal(noter.closed_count, 1);
    assert_false(noter.has_mark);
    assert_true(has_log());
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
}

/* It has come and gone after the follower was asked for the last time. */
static void what_another_process_writes_at_the_last_moment_is_not_folded(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    noter.on_closing_cb = commit_more;
    close_all();
    assert_int_equal(noter.closed_count, 1);
    assert_false(noter.has_mark);
    assert_true(has_log());
    noter.on_closing_cb = NULL;
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "1");
}

static void a_follower_can_be_replaced(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    assert_int_equal(engine_durability_set_follower(durability(), NULL, &test.err), SQ_OK);
    assert_int_equal(noter.closed_count, 1);
    assert_false(noter.has_mark);
    engine_position told = atomic_load(&noter.durable);
    engine_test_exec("INSERT INTO t VALUES (1)");
    sync_all();
    assert_int_equal(atomic_load(&noter.durable), told);
    checkpoint(false, SQ_OK);
    assert_int_equal(noter.asked_count, 0);
    assert_int_equal(engine_durability_set_follower(durability(), &noter.base, &test.err), SQ_OK);
    assert_int_equal(atomic_load(&noter.durable), engine_durability_published(durability()));
    engine_test_exec("INSERT INTO t VALUES (2)");
    checkpoint(false, SQ_OK);
    assert_int_equal(noter.asked_count, 2);
}

/* --- Files of the follower -------------------------------------------------------------------------------------------- */

static void make_file_of_log(const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s.db-ltx", test.dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/%s.db-ltx/file", test.dir, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool has_file_of_log(const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s.db-ltx/file", test.dir, name);
    return access(path, F_OK) == 0;
}

static void a_log_goes_and_moves_with_its_database(void **state)
{
    (void)state;
    assert_int_equal(engine_database_create(test.registry, "one", &test.err), SQ_OK);
    make_file_of_log("one");
    make_file_of_log("two"); /* left behind by a crash */
    assert_int_equal(engine_database_rename(test.registry, "one", "two", &test.err), SQ_OK);
    assert_false(has_file_of_log("one"));
    assert_true(has_file_of_log("two"));
    assert_int_equal(engine_database_drop(test.registry, "two", &test.err), SQ_OK);
    assert_false(has_file_of_log("two"));
    make_file_of_log("two");
    assert_int_equal(engine_database_create(test.registry, "two", &test.err), SQ_OK);
    assert_false(has_file_of_log("two"));
}

/* --- Confirmations ---------------------------------------------------------------------------------------------------- */

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

static void wait_until_told(engine_position position)
{
    int64_t until_us = sq_clock_now_us() + 30 * SQ_US_PER_S;
    while (atomic_load(&noter.durable) < position) {
        assert_true(sq_clock_now_us() < until_us);
        pause_us(100);
    }
}

static void a_commit_waits_for_the_disk_and_for_confirmation(void **state)
{
    (void)state;
    struct waiter waiter;
    waiter_init(&waiter);
    engine_test_exec("CREATE TABLE t(a)");
    sync_all();
    engine_position before = engine_durability_published(durability());
    engine_durability_require_confirmation(durability(), true);
    assert_true(engine_durability_covers(durability(), before)); /* what was covered stays so */
    engine_test_exec("INSERT INTO t VALUES (1)");
    engine_position position = engine_durability_published(durability());
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_LATER);
    wait_until_told(position);
    assert_int_equal(atomic_load(&waiter.wake_count), 0);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE_LATER);
    engine_durability_confirm(durability(), position - 1);
    assert_int_equal(atomic_load(&waiter.wake_count), 0);
    engine_durability_confirm(durability(), position);
    assert_int_equal(atomic_load(&waiter.wake_count), 1);
    assert_int_equal(engine_durability_wait(durability(), position, &waiter.ticket), ENGINE_DURABLE);

    /* Confirmed by others, and not on disk here (they were told by somebody who knows better): not yet. */
    engine_test_exec("INSERT INTO t VALUES (2)");
    position = engine_durability_published(durability());
    engine_durability_confirm(durability(), position);
    assert_false(engine_durability_covers(durability(), position));
    sync_all();
    assert_true(engine_durability_covers(durability(), position));
}

static void when_it_is_turned_off_all_go_on(void **state)
{
    (void)state;
    struct waiter waiters[3];
    engine_test_exec("CREATE TABLE t(a)");
    engine_durability_require_confirmation(durability(), true);
    engine_position position = 0;
    for (int i = 0; i < 3; i++) {
        waiter_init(&waiters[i]);
        engine_test_exec("INSERT INTO t VALUES (1)");
        position = engine_durability_published(durability());
        assert_int_equal(engine_durability_wait(durability(), position, &waiters[i].ticket), ENGINE_DURABLE_LATER);
    }
    wait_until_told(position);
    for (int i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&waiters[i].wake_count), 0);
    engine_durability_require_confirmation(durability(), false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&waiters[i].wake_count), 1);
    assert_true(engine_durability_covers(durability(), position));
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_false(engine_durability_covers(durability(), engine_durability_published(durability())));
    sync_all();
}

/* In a log that was just begun anew there is nothing to sync, but what came before may not be confirmed. */
static void an_empty_log_is_covered_when_the_one_before_is_confirmed(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    sync_all();
    checkpoint(true, SQ_OK);
    engine_position empty = engine_durability_published(durability()) + (UINT64_C(1) << 32);
    empty = empty >> 32 << 32;
    assert_true(engine_durability_covers(durability(), empty));
    engine_durability_require_confirmation(durability(), true);
    assert_false(engine_durability_covers(durability(), empty));
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_true(engine_durability_published(durability()) > empty);
    engine_durability_confirm(durability(), empty);
    assert_false(engine_durability_covers(durability(), empty));
    struct engine_wal_fill fill = checkpoint(false, SQ_OK); /* syncs, and waits for no confirmation */
    assert_true(fill.frame_count > 0);
    assert_true(engine_durability_covers(durability(), empty));
    assert_false(engine_durability_covers(durability(), engine_durability_published(durability())));
}

static void *sync_in_thread(void *context)
{
    atomic_int *ret_done = context;
    struct sq_error err;
    sq_status status = engine_durability_sync(durability(), UINT64_MAX, &err);
    atomic_store(ret_done, status == SQ_OK ? 1 : -1);
    return NULL;
}

static void one_who_syncs_itself_waits_for_confirmation_too(void **state)
{
    (void)state;
    pthread_t thread;
    atomic_int is_done = 0;
    engine_durability_require_confirmation(durability(), true);
    engine_test_exec("CREATE TABLE t(a)");
    engine_position position = engine_durability_published(durability());
    assert_int_equal(pthread_create(&thread, NULL, sync_in_thread, &is_done), 0);
    wait_until_told(position);
    pause_us(20000);
    assert_int_equal(atomic_load(&is_done), 0);
    engine_durability_confirm(durability(), position);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&is_done), 1);

    is_done = 0;
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_int_equal(pthread_create(&thread, NULL, sync_in_thread, &is_done), 0);
    wait_until_told(engine_durability_published(durability()));
    engine_durability_fail(durability());
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&is_done), -1);
}

/* --- Threads ---------------------------------------------------------------------------------------------------------- */

enum { COMMITS = 300, COMMITTERS = 3 };

static atomic_bool is_over;
static atomic_int commit_count;

/* Commits, and waits for each as a session does. */
static void *commit_and_wait(void *context)
{
    sqlite3 *db = NULL;
    struct waiter waiter;
    (void)context;
    waiter_init(&waiter);
    sq_assert(sqlite3_open_v2(engine_database_path(test.database), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                              ENGINE_VFS_NAME) == SQLITE_OK);
    sq_assert(sqlite3_exec(db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_busy_timeout(db, 30000);
    sqlite3_wal_autocheckpoint(db, 0);
    for (int i = 0; i < COMMITS; i++) {
        sq_assert(sqlite3_exec(db, "INSERT INTO t VALUES (randomblob(500))", NULL, NULL, NULL) == SQLITE_OK);
        engine_position position = engine_durability_published(durability());
        atomic_store(&waiter.wake_count, 0);
        enum engine_durable durable;
        while ((durable = engine_durability_wait(durability(), position, &waiter.ticket)) == ENGINE_DURABLE_LATER)
            pause_us(20);
        sq_assert(durable == ENGINE_DURABLE && atomic_load(&noter.durable) >= position);
        atomic_fetch_add(&commit_count, 1);
    }
    sqlite3_close(db);
    return NULL;
}

/* The replicas: confirm what they are told, and come and go. */
static void *confirm(void *context)
{
    (void)context;
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        engine_durability_confirm(durability(), atomic_load(&noter.durable));
        if (i % 64 == 63)
            engine_durability_require_confirmation(durability(), i % 128 == 127);
        pause_us(50);
    }
    return NULL;
}

static void commits_confirmations_and_checkpoints_go_on_together(void **state)
{
    (void)state;
    pthread_t committers[COMMITTERS];
    pthread_t confirmer;
    atomic_store(&is_over, false);
    atomic_store(&commit_count, 0);
    engine_vfs_set_mark_pause(1000);
    engine_test_exec("CREATE TABLE t(a)");
    engine_durability_require_confirmation(durability(), true);
    assert_int_equal(pthread_create(&confirmer, NULL, confirm, NULL), 0);
    for (int i = 0; i < COMMITTERS; i++)
        assert_int_equal(pthread_create(&committers[i], NULL, commit_and_wait, NULL), 0);
    for (bool is_restart = false; atomic_load(&commit_count) < COMMITS * COMMITTERS; is_restart = !is_restart) {
        struct engine_wal_fill fill;
        sq_status status = engine_durability_checkpoint(durability(), is_restart, 100, &test.err, &fill);
        assert_true(status == SQ_OK || status == SQ_BUSY);
        assert_true(fill.backfilled_count <= fill.frame_count);
        noter.asked_count = 0;
        pause_us(500);
    }
    for (int i = 0; i < COMMITTERS; i++)
        pthread_join(committers[i], NULL);
    atomic_store(&is_over, true);
    pthread_join(confirmer, NULL);
    char expected[32];
    snprintf(expected, sizeof(expected), "%d", COMMITS * COMMITTERS);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLLOWER_TEST(it_is_told_what_is_durable_and_nothing_else),
        FOLLOWER_TEST(a_database_that_cannot_be_followed_does_not_open),
        FOLLOWER_TEST(one_that_nobody_follows_is_as_before),
        FOLLOWER_TEST(the_state_of_the_log_is_of_one_moment),
        FOLLOWER_TEST(it_is_asked_before_anything_is_copied),
        FOLLOWER_TEST(what_is_committed_meanwhile_is_not_copied),
        FOLLOWER_TEST(a_log_that_cannot_be_covered_is_not_copied),
        FOLLOWER_TEST(a_log_that_is_copied_but_not_synced_is_not_begun_anew),
        FOLLOWER_TEST(a_checkpoint_of_any_connection_passes_the_gate),
        FOLLOWER_TEST(before_the_log_is_begun_anew_all_of_it_is_synced),
        FOLLOWER_TEST(it_can_be_asked_beforehand),
        FOLLOWER_TEST(a_database_is_closed_when_it_has_everything),
        FOLLOWER_TEST(a_log_that_cannot_be_covered_is_kept_at_closing),
        FOLLOWER_TEST(while_another_process_has_it_open_it_is_not_folded),
        FOLLOWER_TEST(what_another_process_writes_at_the_last_moment_is_not_folded),
        FOLLOWER_TEST(a_follower_can_be_replaced),
        FOLLOWER_TEST(a_log_goes_and_moves_with_its_database),
        FOLLOWER_TEST(a_commit_waits_for_the_disk_and_for_confirmation),
        FOLLOWER_TEST(when_it_is_turned_off_all_go_on),
        FOLLOWER_TEST(an_empty_log_is_covered_when_the_one_before_is_confirmed),
        FOLLOWER_TEST(one_who_syncs_itself_waits_for_confirmation_too),
        FOLLOWER_TEST(commits_confirmations_and_checkpoints_go_on_together),
    };
    return cmocka_run_group_tests_name("engine/follower", tests, NULL, NULL);
}
