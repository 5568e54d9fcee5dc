/* A primary's log: what is in it is what is in the database, transaction by transaction, through closes, checkpoints, disks that
 * are full and other processes that write. Crashes are in test_logger_crash.c, threads in test_logger_load.c. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "../../lib/logger_fixture.h"

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset);

/* --- A disk that is full ------------------------------------------------------------------------------------------------ */

static atomic_bool is_full; /* for the log's files: nothing can be written */

static bool is_of_log(int fd)
{
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    return strstr(path, ".db-ltx/") != NULL;
}

/* This program's own stands before the C library's. */
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    if (atomic_load(&is_full) && is_of_log(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

static void checkpoint(bool is_restart)
{
    struct engine_wal_fill fill;
    WAL_OK(engine_durability_checkpoint(logged_durability(), is_restart, 1000 * 1000, &wal_err, &fill));
}

/* --- Beginning --------------------------------------------------------------------------------------------------------- */

static void a_log_has_what_is_committed(void **state)
{
    (void)state;
    struct copy copy;
    sqlite3 *db = logged_connect();
    wal_exec(db, "CREATE TABLE t(a, b)");
    copy_open(&copy);
    copy_heal(&copy);
    struct wal_position before = logged_reach();
    wal_exec(db, "INSERT INTO t SELECT value, randomblob(300) FROM " WAL_SERIES(1000));
    wal_exec(db, "UPDATE t SET b = randomblob(20) WHERE a % 7 = 0");
    wal_exec(db, "BEGIN; DELETE FROM t; ROLLBACK");
    wal_exec(db, "DELETE FROM t WHERE a % 3 = 0");
    struct wal_position after = logged_reach();
    assert_int_equal(after.txid, before.txid + 3);
    assert_int_equal(after.timeline, 1);
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 1);
    sqlite3_close(db);
    copy_done(&copy);
}

static void nothing_is_logged_that_is_not_durable(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    struct wal_position before = logged_reach();
    sqlite3 *db = logged_connect();
    wal_exec(db, "INSERT INTO t VALUES (1)");
    struct repl_wait wait = {.waker = &copy.bell.waker};
    struct wal_position position;
    sq_list_init(&wait.links);
    engine_position published = engine_durability_published(logged_durability());
    if (!engine_durability_covers(logged_durability(), published)) /* the upkeep has not had its look yet */
        assert_int_equal(repl_logger_position(logged_logger(), published, &wait, &position), REPL_KNOWN_LATER);
    repl_logger_withdraw(logged_logger(), &wait);
    assert_int_equal(logged_reach().txid, before.txid + 1);
    sqlite3_close(db);
    copy_done(&copy);
}

static void a_log_begins_when_somebody_wants_it(void **state)
{
    (void)state;
    struct repl_wait wait = {0};
    struct wal_position position;
    char path[PATH_MAX + 32];
    sq_list_init(&wait.links);
    snprintf(path, sizeof(path), "%s/main.db-ltx", logged.dir);
    logged_reach();
    logged_close();
    scratch_remove_directory(path);
    logged.is_wanted = false;
    logged_open();
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    checkpoint(false);
    checkpoint(true);
    assert_int_equal(repl_logger_state(logged_logger()), REPL_LOGGER_OFF);
    assert_int_equal(repl_logger_position(logged_logger(), 1, &wait, &position), REPL_KNOWN_NEVER);
    assert_int_not_equal(access(path, F_OK), 0);

    struct copy copy;
    copy_open(&copy);
    copy_wait(&copy);
    assert_int_equal(repl_logger_state(logged_logger()), REPL_LOGGER_READY);
    copy_heal(&copy);
    logged_exec_once("INSERT INTO t VALUES (2)");
    copy_check(&copy);
    copy_close(&copy);

    /* From then on it is kept. */
    logged_reopen();
    copy_open_again(&copy);
    copy_wait(&copy);
    logged_exec_once("INSERT INTO t VALUES (3)");
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 0);
    copy_done(&copy);
}

/* --- Sizes -------------------------------------------------------------------------------------------------------------- */

static void large_transactions_and_small_databases(void **state)
{
    (void)state;
    struct copy copy;
    sqlite3 *db = logged_connect();
    copy_open(&copy);
    copy_heal(&copy);
    wal_exec(db, "PRAGMA cache_size=50; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    wal_exec(db, "INSERT INTO t SELECT value, randomblob(900) FROM " WAL_SERIES(40000));
    copy_check(&copy);
    wal_exec(db, "BEGIN; UPDATE t SET b = randomblob(700); UPDATE t SET b = randomblob(10) WHERE a % 2; COMMIT");
    copy_check(&copy);
    checkpoint(true);
    wal_exec(db, "DELETE FROM t WHERE a > 100; VACUUM");
    copy_check(&copy);
    assert_true(copy.page_count < 100);
    wal_exec(db, "DROP TABLE t; VACUUM");
    copy_check(&copy);
    assert_true(copy.page_count < 3);
    wal_exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(3000000))");
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 1);
    sqlite3_close(db);
    copy_done(&copy);
}

static void databases_of_all_page_sizes(void **state)
{
    (void)state;
    for (int page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        char sql[128];
        struct copy copy;
        logged_close();
        sqlite3 *outside = logged_connect_outside();
        snprintf(sql, sizeof(sql), "PRAGMA journal_mode=DELETE; PRAGMA page_size=%d; VACUUM; PRAGMA journal_mode=WAL",
                 page_bytes);
        wal_exec(outside, sql);
        sqlite3_close(outside);
        logged_open();
        copy_open(&copy);
        copy_heal(&copy);
        assert_int_equal(copy.page_bytes, page_bytes);
        logged_exec_once("CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (randomblob(100000))");
        logged_exec_once("UPDATE t SET a = randomblob(200000)");
        copy_check(&copy);
        checkpoint(false);
        copy_close(&copy);
        logged_reopen();
        copy_open_again(&copy);
        logged_exec_once("DELETE FROM t");
        copy_check(&copy);
        assert_int_equal(logged_facts().scan_count, 0);
        copy_done(&copy);
    }
}

/* --- Going on ------------------------------------------------------------------------------------------------------------ */

static void a_log_goes_on_after_a_close(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    for (int i = 0; i < 5; i++) {
        logged_exec_once("INSERT INTO t VALUES (randomblob(5000))");
        copy_check(&copy);
        ltx_txid before = copy.position.txid;
        copy_close(&copy);
        logged_reopen();
        copy_open_again(&copy);
        copy_check(&copy);
        assert_int_equal(copy.position.txid, before);
        assert_int_equal(logged_facts().scan_count, 0);
        if (i % 2 == 0) /* and with something in the WAL before it is closed again */
            logged_exec_once("INSERT INTO t VALUES (1)");
    }
    copy_done(&copy);
}

static void the_log_goes_on_when_the_wal_begins_anew(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    uint32_t salt = engine_durability_state(logged_durability()).salt1;
    for (int i = 0; i < 6; i++) {
        logged_exec_once("INSERT INTO t VALUES (randomblob(9000))");
        checkpoint(i % 2 == 0);
        logged_exec_once("INSERT INTO t VALUES (2)");
    }
    assert_true(engine_durability_state(logged_durability()).salt1 >= salt + 3);
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 1);
    copy_done(&copy);
}

/* --- Other processes ------------------------------------------------------------------------------------------------------ */

static void what_another_process_writes_is_logged(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    sqlite3 *outside = logged_connect_outside();
    wal_exec(outside, "INSERT INTO t VALUES (randomblob(10000)); INSERT INTO t VALUES (2)");
    copy_check(&copy);

    /* Nobody here syncs: the upkeep does. */
    wal_exec(outside, "INSERT INTO t VALUES (3)");
    ltx_txid before = copy.position.txid;
    while (copy.position.txid == before) {
        bell_wait(&copy.bell);
        assert_true(copy_follow(&copy));
    }
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 1);
    sqlite3_close(outside);
    copy_done(&copy);
}

/* It takes what nobody here has seen yet, copies it into the file and begins the log anew. */
static void a_checkpoint_of_another_process_leaves_no_gap(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    logged_reach();
    sqlite3 *outside = logged_connect_outside();
    for (int i = 0; i < 10; i++) {
        engine_vfs_release_idle(); /* as the checkpointer does: read locks that nobody uses */
        wal_exec(outside, "INSERT INTO t VALUES (randomblob(20000)); PRAGMA wal_checkpoint(TRUNCATE);"
                          "UPDATE t SET a = randomblob(100) WHERE rowid % 3 = 0; PRAGMA wal_checkpoint(RESTART);");
        if (i % 3 == 0)
            wal_exec(outside, "INSERT INTO t VALUES (1)");
        copy_check(&copy);
    }
    assert_int_equal(logged_facts().begin.txid, 2); /* nobody had to heal */
    sqlite3_close(outside);
    copy_done(&copy);
}

static void what_another_process_writes_while_it_is_closed_is_logged(void **state)
{
    (void)state;
    static const char *const writes[] = {
        "UPDATE t SET a = randomblob(100) WHERE rowid = 3",
        "INSERT INTO t VALUES (randomblob(100000))",
        "DELETE FROM t WHERE rowid > 2; VACUUM",
        "PRAGMA journal_mode=DELETE; UPDATE t SET a = randomblob(100); PRAGMA journal_mode=WAL",
        "PRAGMA journal_mode=DELETE",
    };
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(100) FROM " WAL_SERIES(500));
    copy_open(&copy);
    copy_heal(&copy);
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        copy_check(&copy);
        ltx_txid before = copy.position.txid;
        copy_close(&copy);
        logged_close();
        sqlite3 *outside = logged_connect_outside();
        wal_exec(outside, writes[i]);
        sqlite3_close(outside);
        logged_open();
        copy_open_again(&copy);
        copy_check(&copy);
        assert_int_equal(copy.position.txid, before + 1);
        assert_int_equal(logged_facts().scan_count, 1);
        logged_exec_once("INSERT INTO t VALUES (1)");
    }
    copy_check(&copy);
    assert_int_equal(logged_facts().begin.txid, 2);
    copy_done(&copy);
}

/* Opened and read by others, and by us without a write in between. */
static void one_who_only_reads_changes_nothing(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    copy_open(&copy);
    copy_heal(&copy);
    copy_close(&copy);
    for (int i = 0; i < 3; i++) {
        logged_close();
        sqlite3 *outside = logged_connect_outside();
        wal_exec(outside, "SELECT * FROM t; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check");
        sqlite3_close(outside);
        logged_open();
        copy_open_again(&copy);
        copy_check(&copy);
        assert_int_equal(logged_facts().scan_count, 0);
        copy_close(&copy);
    }
    copy_done(&copy);
}

/* Still open there when we close: the WAL stays; folded in by the other one, or not. */
static void another_process_may_close_it_last(void **state)
{
    (void)state;
    struct copy copy;
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("CREATE TABLE t(a)");
    for (int i = 0; i < 4; i++) {
        sqlite3 *outside = logged_connect_outside();
        wal_exec(outside, "SELECT count(*) FROM t");
        logged_exec_once("INSERT INTO t VALUES (randomblob(4000))");
        copy_check(&copy);
        copy_close(&copy);
        logged_close();
        if (i % 2 == 0)
            wal_exec(outside, "INSERT INTO t VALUES (3)");
        if (i / 2 == 0)
            sqlite3_close(outside);
        logged_open();
        copy_open_again(&copy);
        copy_check(&copy);
        if (i / 2 == 1) {
            assert_int_equal(logged_facts().scan_count, 0);
            sqlite3_close(outside);
        }
    }
    assert_int_equal(logged_facts().begin.txid, 2);
    copy_done(&copy);
}

static void a_file_that_was_replaced_is_followed(void **state)
{
    (void)state;
    struct copy copy;
    char path[PATH_MAX + 32];
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(1000) FROM " WAL_SERIES(100));
    copy_open(&copy);
    copy_heal(&copy);
    copy_close(&copy);
    logged_close();
    snprintf(path, sizeof(path), "%s/other", logged.dir);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    wal_exec(other, "PRAGMA journal_mode=WAL; CREATE TABLE u(b); INSERT INTO u VALUES (randomblob(50000))");
    sqlite3_close(other);
    assert_int_equal(rename(path, logged_path()), 0);
    logged_open();
    copy_open_again(&copy);
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 1);
    logged_exec_once("INSERT INTO u VALUES (1)");
    copy_check(&copy);
    copy_done(&copy);
}

static void another_page_size_begins_the_log_anew(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(1000) FROM " WAL_SERIES(100));
    copy_open(&copy);
    copy_heal(&copy);
    copy_close(&copy);
    ltx_txid before = copy.position.txid;
    logged_close();
    sqlite3 *outside = logged_connect_outside();
    wal_exec(outside, "PRAGMA journal_mode=DELETE; PRAGMA page_size=1024; VACUUM; PRAGMA journal_mode=WAL");
    sqlite3_close(outside);
    logged_open();
    copy_open_again(&copy);
    assert_false(copy_follow(&copy));
    assert_int_equal(logged_facts().begin.txid, before + 1);
    copy_heal(&copy);
    assert_int_equal(copy.page_bytes, 1024);
    logged_exec_once("INSERT INTO t VALUES (1)");
    copy_check(&copy);
    copy_done(&copy);
}

/* --- Notes that are lost -------------------------------------------------------------------------------------------------- */

static void spoil(const char *name, bool is_removed)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/main.db-ltx/%s", logged.dir, name);
    if (is_removed) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 16384; at += 64)
        assert_int_equal(pwrite(fd, "spoiled.", 8, at), 8);
    close(fd);
}

static void without_its_notes_the_database_is_read_once(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(1000) FROM " WAL_SERIES(100));
    copy_open(&copy);
    copy_heal(&copy);
    for (int i = 0; i < 4; i++) {
        logged_exec_once("INSERT INTO t VALUES (randomblob(3000))");
        copy_check(&copy);
        copy_close(&copy);
        logged_close();
        spoil(i < 2 ? "sums" : "place", i % 2 == 0);
        logged_open();
        copy_open_again(&copy);
        copy_check(&copy);
        assert_int_equal(logged_facts().scan_count, 1);
        assert_int_equal(logged_facts().begin.txid, 2); /* nothing has changed, and so nobody heals */
    }
    copy_done(&copy);
}

/* --- Exchanges ------------------------------------------------------------------------------------------------------------ */

static void one_that_is_far_behind_is_sent_what_differs(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
                     "INSERT INTO t SELECT value, randomblob(1000) FROM " WAL_SERIES(2000));
    copy_open(&copy);
    copy_heal(&copy);
    logged_exec_once("UPDATE t SET b = randomblob(1000) WHERE a BETWEEN 500 AND 600; DELETE FROM t WHERE a > 1900");
    memset(copy.pages + 7 * (size_t)copy.page_bytes, 0xee, copy.page_bytes); /* and has gone astray */
    copy_heal(&copy);
    copy_check(&copy);
    logged_exec_once("DELETE FROM t WHERE a > 5; VACUUM");
    copy_heal(&copy); /* has more pages than there are */
    copy_check(&copy);
    copy_heal(&copy); /* nothing differs */
    copy_check(&copy);
    copy_done(&copy);
}

static void an_exchange_that_is_closed_early_holds_nobody_up(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(1000) FROM " WAL_SERIES(2000));
    copy_open(&copy);
    copy_wait(&copy);
    for (int step = 0; step < 4; step++) {
        struct repl_exchange *exchange = NULL;
        uint8_t bytes[REPL_CHUNK_BYTES_MAX];
        size_t length = 0;
        WAL_OK(copy.feed->ops->exchange_cb(copy.feed, &copy.bell.waker, &wal_err, &exchange));
        while (step > 0 && exchange->ops->state_cb(exchange, &wal_err) == REPL_EXCHANGE_PREPARING)
            bell_wait(&copy.bell);
        if (step > 1)
            WAL_OK(exchange->ops->finish_cb(exchange, &wal_err));
        while (step > 2 && length == 0) {
            WAL_OK(exchange->ops->read_cb(exchange, bytes, sizeof(bytes), &wal_err, &length));
            if (length == 0)
                bell_wait(&copy.bell);
        }
        exchange->ops->close_cb(exchange);
    }
    copy_heal(&copy);
    copy_check(&copy);
    copy_close(&copy);
    logged_reopen(); /* waits for their threads */
    copy_open_again(&copy);
    copy_check(&copy);
    copy_done(&copy);
}

/* A page that changes behind SQLite's back (a disk, a file manager): what is sent is compared with what the log says. */
static void a_page_that_is_not_what_the_log_says_is_found(void **state)
{
    (void)state;
    struct copy copy;
    logged_exec_once("CREATE TABLE t(a); INSERT INTO t SELECT randomblob(1000) FROM " WAL_SERIES(100));
    copy_open(&copy);
    copy_wait(&copy);
    logged_reach();
    checkpoint(true);
    logged_exec_once("INSERT INTO t VALUES (1)"); /* begins the WAL anew: most pages are read from the file */
    int fd = open(logged_path(), O_RDWR);
    assert_int_equal(pwrite(fd, "\x01\x02\x03", 3, 5 * 4096 + 3000), 3); /* in a row's content */
    assert_false(copy_try_heal(&copy));
    while (!copy_try_heal(&copy))
        bell_wait(&copy.bell);
    logged_exec_once("INSERT INTO t VALUES (1)");
    copy_check(&copy);
    assert_int_equal(logged_facts().scan_count, 2);
    copy_done(&copy);
    logged_close();
    close(fd);
    logged_open();
}

/* --- Trouble --------------------------------------------------------------------------------------------------------------- */

static uint32_t log_frames(void)
{
    return engine_durability_fill(logged_durability()).frame_count;
}

static void while_it_cannot_be_logged_the_wal_is_kept(void **state)
{
    (void)state;
    struct copy copy;
    struct engine_wal_fill fill;
    struct repl_wait wait = {0};
    struct wal_position position;
    sq_list_init(&wait.links);
    logged_exec_once("CREATE TABLE t(a)");
    copy_open(&copy);
    copy_heal(&copy);
    wait.waker = &copy.bell.waker;
    atomic_store(&is_full, true);
    for (int i = 0; i < 5; i++) {
        uint32_t before = log_frames();
        logged_exec_once("INSERT INTO t VALUES (randomblob(30000))");
        assert_int_equal(engine_durability_checkpoint(logged_durability(), i % 2 == 0, 0, &wal_err, &fill), SQ_IO);
        assert_true(log_frames() > before);
        assert_int_equal(engine_durability_fill(logged_durability()).backfilled_count, 0);
        assert_true(logged_facts().is_failing);
        engine_position published = engine_durability_published(logged_durability());
        assert_int_equal(repl_logger_position(logged_logger(), published, &wait, &position), REPL_KNOWN_NEVER);
    }
    copy_close(&copy);
    logged_close();
    char path[PATH_MAX + 32];
    struct stat info;
    snprintf(path, sizeof(path), "%s/main.db-wal", logged.dir);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size > 5 * 30000);
    logged_open();
    copy_open_again(&copy);
    copy_wait(&copy);
    logged_exec_once("INSERT INTO t VALUES (1)");
    atomic_store(&is_full, false);
    checkpoint(true);
    copy_check(&copy);
    assert_false(logged_facts().is_failing);
    assert_int_equal(logged_facts().scan_count, 0);
    copy_done(&copy);
}

static void a_log_that_cannot_be_opened_is_tried_again(void **state)
{
    (void)state;
    struct copy copy;
    struct engine_wal_fill fill;
    struct repl_feed_view view;
    logged_exec_once("CREATE TABLE t(a)");
    copy_open(&copy);
    copy_heal(&copy);
    copy_close(&copy);
    logged_close();
    char path[PATH_MAX + 32];
    char aside[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/main.db-ltx", logged.dir);
    snprintf(aside, sizeof(aside), "%s/aside", logged.dir);
    assert_int_equal(rename(path, aside), 0);
    int fd = open(path, O_WRONLY | O_CREAT, 0600); /* a file in the place of the directory */
    assert_true(fd >= 0);
    close(fd);
    logged_open();
    copy_open_again(&copy);
    while (copy.feed->ops->look_cb(copy.feed, &view), view.state == REPL_FEED_PENDING)
        bell_wait(&copy.bell);
    assert_int_equal(view.state, REPL_FEED_FAILED);
    assert_int_equal(repl_logger_state(logged_logger()), REPL_LOGGER_FAILED);
    logged_exec_once("INSERT INTO t VALUES (1)");
    assert_int_equal(engine_durability_checkpoint(logged_durability(), true, 0, &wal_err, &fill), SQ_IO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(aside, path), 0);
    while (copy.feed->ops->look_cb(copy.feed, &view), view.state != REPL_FEED_READY)
        bell_wait(&copy.bell);
    copy_check(&copy);
    copy_done(&copy);
}

/* --- Replicas that confirm -------------------------------------------------------------------------------------------------- */

static void what_replicas_have_is_confirmed(void **state)
{
    (void)state;
    struct bell bell;
    struct engine_durability_ticket ticket;
    sqlite3 *db = logged_connect();
    bell_init(&bell);
    engine_durability_ticket_init(&ticket, &bell.waker);
    wal_exec(db, "CREATE TABLE t(a)");
    logged_reach();
    engine_durability_require_confirmation(logged_durability(), true);
    for (int i = 0; i < 20; i++) {
        wal_exec(db, "INSERT INTO t VALUES (1)");
        engine_position published = engine_durability_published(logged_durability());
        struct wal_position position = logged_reach();
        assert_int_equal(engine_durability_wait(logged_durability(), published, &ticket), ENGINE_DURABLE_LATER);
        repl_logger_confirm(logged_logger(), position.txid - 1);
        assert_int_equal(engine_durability_wait(logged_durability(), published, &ticket), ENGINE_DURABLE_LATER);
        repl_logger_confirm(logged_logger(), position.txid);
        assert_int_equal(engine_durability_wait(logged_durability(), published, &ticket), ENGINE_DURABLE);
        if (i % 5 == 0)
            checkpoint(true);
    }
    /* Without anybody who confirms for a long time, and then all at once. */
    engine_position published = 0;
    for (int i = 0; i < 600; i++) {
        wal_exec(db, "INSERT INTO t VALUES (1)");
        if (i == 300)
            published = engine_durability_published(logged_durability());
        logged_reach();
    }
    assert_int_equal(engine_durability_wait(logged_durability(), published, &ticket), ENGINE_DURABLE_LATER);
    repl_logger_confirm(logged_logger(), logged_reach().txid);
    published = engine_durability_published(logged_durability());
    assert_int_equal(engine_durability_wait(logged_durability(), published, &ticket), ENGINE_DURABLE);
    engine_durability_require_confirmation(logged_durability(), false);
    sqlite3_close(db);
}

static void a_promotion_begins_a_timeline(void **state)
{
    (void)state;
    struct copy copy;
    ltx_txid ended = 0;
    logged_exec_once("CREATE TABLE t(a)");
    copy_open(&copy);
    copy_heal(&copy);
    copy_check(&copy);
    ltx_txid last = copy.position.txid;
    copy_close(&copy);
    logged_close();
    logged.timeline = 3;
    logged_open();
    copy_open_again(&copy);
    copy_wait(&copy);
    logged_exec_once("INSERT INTO t VALUES (1)");
    copy_check(&copy);
    assert_int_equal(copy.position.timeline, 3);
    assert_true(copy.feed->ops->timeline_end_cb(copy.feed, 1, &ended));
    assert_int_equal(ended, last);
    assert_int_equal(logged_facts().scan_count, 0);
    copy_done(&copy);
}

#define LOGGER_TEST(name) cmocka_unit_test_setup_teardown(name, logged_set_up, logged_tear_down)

int main(int argument_count, char **arguments)
{
    if (argument_count > 1) /* a pattern of names */
        cmocka_set_test_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        LOGGER_TEST(a_log_has_what_is_committed),
        LOGGER_TEST(nothing_is_logged_that_is_not_durable),
        LOGGER_TEST(a_log_begins_when_somebody_wants_it),
        LOGGER_TEST(large_transactions_and_small_databases),
        LOGGER_TEST(databases_of_all_page_sizes),
        LOGGER_TEST(a_log_goes_on_after_a_close),
        LOGGER_TEST(the_log_goes_on_when_the_wal_begins_anew),
        LOGGER_TEST(what_another_process_writes_is_logged),
        LOGGER_TEST(a_checkpoint_of_another_process_leaves_no_gap),
        LOGGER_TEST(what_another_process_writes_while_it_is_closed_is_logged),
        LOGGER_TEST(one_who_only_reads_changes_nothing),
        LOGGER_TEST(another_process_may_close_it_last),
        LOGGER_TEST(a_file_that_was_replaced_is_followed),
        LOGGER_TEST(another_page_size_begins_the_log_anew),
        LOGGER_TEST(without_its_notes_the_database_is_read_once),
        LOGGER_TEST(one_that_is_far_behind_is_sent_what_differs),
        LOGGER_TEST(an_exchange_that_is_closed_early_holds_nobody_up),
        LOGGER_TEST(a_page_that_is_not_what_the_log_says_is_found),
        LOGGER_TEST(while_it_cannot_be_logged_the_wal_is_kept),
        LOGGER_TEST(a_log_that_cannot_be_opened_is_tried_again),
        LOGGER_TEST(what_replicas_have_is_confirmed),
        LOGGER_TEST(a_promotion_begins_a_timeline),
    };
    if (getenv("LOGGER_TEST_LOG") == NULL)
        sq_log_set_level(SQ_LOG_LEVEL_COUNT);
    return cmocka_run_group_tests_name("repl/logger", tests, NULL, NULL);
}
