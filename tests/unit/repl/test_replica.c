/* A replica's database: begun, followed, closed and opened, healed, with the disk full and other processes that write. Crashes are in
 * tests/crash/crash_replica*.c. */
#include <sys/wait.h>

#include "../../lib/replica_fixture.h"
#include "base/log.h"

static struct origin origin;
static struct node node;

static int set_up(void **state)
{
    (void)state;
    origin_open(&origin, 4096);
    node_open(&node, "data");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_stop(&node);
    node_remove(&node);
    origin_close(&origin);
    return 0;
}

static void restart(void)
{
    node_stop(&node);
    node_start(&node);
    node_open_copy(&node);
    node_wait(&node, is_settled, 0);
}

/* A new database, and its copy. */
static struct origin_mark begin(void)
{
    origin_exec(&origin, "INSERT INTO t SELECT NULL, randomblob(500) FROM " WAL_SERIES(500));
    node_open_copy(&node);
    node_wait(&node, is_state, REPL_COPY_READY);
    node_heal(&node, &origin);
    node_assert_same(&node, &origin);
    return origin.now;
}

static void a_new_database_begins_with_a_healing_file(void **state)
{
    (void)state;
    node_open_copy(&node);
    node_wait(&node, is_state, REPL_COPY_READY);
    struct repl_copy_view view = node_look(&node);
    assert_int_equal(view.page_bytes, 0);
    assert_int_equal(view.written.txid, 0);
    assert_int_equal(view.written.timeline, 0);
    assert_true(view.written.checksum == WAL_CHECKSUM_FLAG);
    assert_false(engine_database_exists(node.registry, "data"));
    origin_exec(&origin, "INSERT INTO t SELECT NULL, randomblob(500) FROM " WAL_SERIES(500));
    node_heal(&node, &origin);
    node_assert_same(&node, &origin);
    node_wait(&node, is_durable, origin.now.position.txid);
    assert_int_equal(node_look(&node).page_bytes, 4096);
    assert_int_equal(node_facts(&node).scan_count, 0);
}

static void files_of_the_log_are_applied(void **state)
{
    (void)state;
    static const char *const sqls[] = {
        "INSERT INTO t VALUES (NULL, 'x')",
        "DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = randomblob(600) WHERE a % 5 = 0",
        "CREATE TABLE u(a); INSERT INTO u SELECT randomblob(3000) FROM t",
        "DROP TABLE u; VACUUM",
        "CREATE INDEX i ON t(b)",
    };
    struct origin_mark mark = begin();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(sqls) / sizeof(sqls[0]); i++) {
            origin_exec(&origin, i == 4 && round > 0 ? "REINDEX; UPDATE t SET b = randomblob(9)" : sqls[i]);
            node_send_since(&node, &origin, &mark);
            node_wait(&node, is_applied, origin.now.position.txid);
            node_assert_same(&node, &origin);
        }
    }
    node_wait(&node, is_durable, origin.now.position.txid);
    assert_int_equal(node_facts(&node).scan_count, 0);
    assert_int_equal(node_facts(&node).file_count, 15);
}

/* The write slot is taken: files come, and are applied at once when it is free. */
static void what_waits_is_applied_as_one_transaction(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    struct engine_database *database = NULL;
    struct sched_writer *writer = NULL;
    struct bell bell;
    bell_init(&bell);
    WAL_OK(engine_database_open(node.registry, "data", &wal_err, &database));
    WAL_OK(sched_writer_new(node.sched, database, &bell.waker, &wal_err, &writer));
    while (!sched_writer_take(writer))
        poll(NULL, 0, 1);
    for (int i = 0; i < 20; i++) {
        char sql[128];
        snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (NULL, randomblob(%d)); DELETE FROM t WHERE a %% 50 = %d",
                 i * 200, i);
        origin_exec(&origin, sql);
        node_send_since(&node, &origin, &mark);
    }
    assert_int_equal(node_look(&node).written.txid, origin.now.position.txid);
    assert_true(node_look(&node).applied.txid < origin.now.position.txid);
    uint32_t count = engine_durability_state(engine_database_durability(database)).change_count;
    sched_writer_release(writer);
    node_wait(&node, is_applied, origin.now.position.txid);
    assert_int_equal(engine_durability_state(engine_database_durability(database)).change_count, count + 1);
    assert_int_equal(node_facts(&node).batch_count, 1);
    node_assert_same(&node, &origin);
    sched_writer_free(writer);
    engine_database_unref(database);
}

/* The primary's log was compacted: the file begins before what is here. */
static void a_file_that_begins_earlier_is_taken_from_where_it_is_new(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    struct origin_mark early = mark;
    for (int i = 0; i < 4; i++) {
        origin_exec(&origin, "UPDATE t SET b = randomblob(300) WHERE a % 9 = 1");
        node_send_since(&node, &origin, &mark);
        node_wait(&node, is_applied, mark.position.txid);
        origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'later')");
        node_send_since(&node, &origin, &early);
        mark = origin.now;
        early = i == 1 ? mark : early;
        node_wait(&node, is_applied, mark.position.txid);
        node_assert_same(&node, &origin);
    }
    restart();
    assert_int_equal(node_look(&node).state, REPL_COPY_READY);
    node_assert_same(&node, &origin);
}

static void files_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct blob blob;
    struct origin_mark mark = begin();
    struct origin_mark first = mark;
    origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'x')");
    struct origin_mark second = origin.now;
    origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'y')");
    origin_file(&origin, &second, &blob); /* a gap */
    assert_int_equal(node_send(&node, &blob, false), SQ_INVALID);
    blob_free(&blob);
    origin_file(&origin, &first, &blob);
    blob.header.node_id = 2; /* another timeline than that of what is here */
    assert_int_equal(node_send(&node, &blob, false), SQ_INVALID);
    blob.header.node_id = 1;
    blob.trailer.post_checksum ^= 1; /* not what was said */
    assert_int_equal(node_send(&node, &blob, false), SQ_CORRUPT);
    blob.trailer.post_checksum ^= 1;
    for (size_t at = 0; at < blob.length; at += blob.length / 9) {
        blob.bytes[at] ^= 0x10;
        sq_status status = node_send(&node, &blob, false);
        assert_true(status == SQ_CORRUPT);
        blob.bytes[at] ^= 0x10;
    }
    size_t length = blob.length;
    blob.length -= 5;
    assert_int_equal(node_send(&node, &blob, false), SQ_CORRUPT);
    blob.length = length;
    WAL_OK(node_send(&node, &blob, false)); /* and it is as if nothing had been */
    blob_free(&blob);
    node_wait(&node, is_applied, origin.now.position.txid);
    node_assert_same(&node, &origin);
}

/* The file itself is whole, but it is of a database that is another one than ours. */
static void what_leads_to_another_database_is_not_applied(void **state)
{
    (void)state;
    struct blob blob;
    struct origin_mark mark = begin();
    sqlite3 *reader = node_connect(&node);
    int64_t count = wal_number(reader, "SELECT count(*) FROM t");
    origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'x')");
    origin.now.position.checksum ^= 2;
    origin_file(&origin, &mark, &blob);
    WAL_OK(node_send(&node, &blob, false));
    blob_free(&blob);
    node_wait(&node, is_state, REPL_COPY_HEAL);
    assert_int_equal(wal_number(reader, "SELECT count(*) FROM t"), count);
    sqlite3_close(reader);
    origin_follow(&origin);
    node_heal(&node, &origin);
    node_assert_same(&node, &origin);
    assert_int_equal(node_facts(&node).aside_count, 0);
    mark = origin.now;
    origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'z')");
    node_send_since(&node, &origin, &mark);
    node_wait(&node, is_applied, mark.position.txid);
    node_assert_same(&node, &origin);
}

static void a_database_that_was_closed_goes_on_where_it_was(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    for (int i = 0; i < 6; i++) {
        if (i % 2 == 0) {
            origin_exec(&origin, "UPDATE t SET b = randomblob(700) WHERE a % 4 = 0");
            node_send_since(&node, &origin, &mark);
            if (i % 4 == 0) /* else it is applied while it is being closed, or afterwards */
                node_wait(&node, is_applied, mark.position.txid);
        }
        restart();
        assert_int_equal(node_look(&node).state, REPL_COPY_READY);
        assert_int_equal(node_look(&node).written.txid, mark.position.txid);
        node_wait(&node, is_durable, mark.position.txid);
        node_assert_same(&node, &origin);
        assert_int_equal(node_facts(&node).scan_count, 0);
    }
}

/* What the checkpointer does, again and again: the WAL is begun anew under the applier. */
static void a_wal_that_is_begun_anew_is_written_down(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    sched_set_checkpoint_frames(node.sched, 20, 40);
    for (int i = 0; i < 40; i++) {
        origin_exec(&origin, "UPDATE t SET b = randomblob(700) WHERE a % 9 = 4");
        node_send_since(&node, &origin, &mark);
        node_wait(&node, is_applied, mark.position.txid);
    }
    node_assert_same(&node, &origin);
    restart();
    assert_int_equal(node_look(&node).state, REPL_COPY_READY);
    node_assert_same(&node, &origin);
    assert_int_equal(node_facts(&node).scan_count, 0);
}

/* --- Others who write ------------------------------------------------------------------------------------------------- */

static void another_writer_is_noticed_and_undone(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    for (int i = 0; i < 3; i++) {
        sqlite3 *db = node_connect(&node);
        wal_exec(db, "INSERT INTO t VALUES (NULL, 'not the primary''s')");
        if (i == 1)
            wal_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        if (i < 2) { /* by the next file, or by a look now and then */
            origin_exec(&origin, "UPDATE t SET b = randomblob(300) WHERE a = 7");
            node_send_since(&node, &origin, &mark);
        }
        node_wait(&node, is_state, REPL_COPY_HEAL);
        node_heal(&node, &origin);
        node_assert_same(&node, &origin);
        mark = origin.now;
        assert_int_equal(node_facts(&node).aside_count, (uint64_t)i + 1);
    }
}

static void a_writer_while_it_was_closed_is_noticed(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 2; i++) {
        node_stop(&node);
        sqlite3 *db = node_connect(&node);
        wal_exec(db, i == 0 ? "INSERT INTO t VALUES (NULL, 'not the primary''s')" : "SELECT count(*) FROM t");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        node_start(&node);
        node_open_copy(&node);
        node_wait(&node, is_settled, 0);
        /* Who has only read has changed nothing. */
        assert_int_equal(node_look(&node).state, i == 0 ? REPL_COPY_HEAL : REPL_COPY_READY);
        if (i == 0)
            node_heal(&node, &origin);
        node_assert_same(&node, &origin);
    }
}

/* What was healed away can be had again: the file that is set aside leads back. */
static void what_is_set_aside_leads_back(void **state)
{
    (void)state;
    begin();
    sqlite3 *db = node_connect(&node);
    wal_exec(db, "INSERT INTO t SELECT NULL, randomblob(2000) FROM " WAL_SERIES(200));
    wal_exec(db, "DELETE FROM t WHERE a % 7 = 0");
    int64_t bytes;
    unsigned char *former = wal_image(db, &bytes);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    node_wait(&node, is_state, REPL_COPY_HEAL);
    node_heal(&node, &origin);
    node_assert_same(&node, &origin);

    char path[PATH_MAX + 32];
    char file[PATH_MAX + 300] = "";
    snprintf(path, sizeof(path), "%s/set-aside", node.dir);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.')
            snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
    }
    closedir(directory);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0);
    static uint8_t aside[16 << 20];
    ssize_t length = read(fd, aside, sizeof(aside));
    close(fd);
    assert_true(length > 0 && length < (ssize_t)sizeof(aside));

    int64_t healed_bytes;
    unsigned char *healed = wal_image(origin.reader, &healed_bytes);
    unsigned char *back = calloc(1, (size_t)bytes);
    memcpy(back, healed, (size_t)(healed_bytes < bytes ? healed_bytes : bytes));
    sqlite3_free(healed);
    struct ltx_decoder *decoder = NULL;
    enum ltx_event event = LTX_MORE;
    const uint8_t *at = aside;
    size_t left = (size_t)length;
    WAL_OK(ltx_decoder_new(&wal_err, &decoder));
    while (event != LTX_DONE) {
        uint32_t number;
        const void *page;
        WAL_OK(ltx_decoder_feed(decoder, &at, &left, &wal_err, &event, &number, &page));
        assert_true(event != LTX_MORE);
        if (event == LTX_PAGE)
            memcpy(back + (size_t)(number - 1) * 4096, page, 4096);
    }
    assert_int_equal((int64_t)ltx_decoder_header(decoder)->page_count * 4096, bytes);
    assert_true(ltx_decoder_header(decoder)->pre_checksum == origin.now.position.checksum);
    assert_memory_equal(back, former, (size_t)bytes);
    ltx_decoder_free(decoder);
    free(back);
    sqlite3_free(former);
}

/* --- Bootstrap -------------------------------------------------------------------------------------------------------- */

static void an_interrupted_bootstrap_goes_on(void **state)
{
    (void)state;
    struct blob blob;
    uint64_t *sums = NULL;
    origin_exec(&origin, "INSERT INTO t SELECT NULL, randomblob(900) FROM " WAL_SERIES(3000));
    node_open_copy(&node);
    node_wait(&node, is_state, REPL_COPY_READY);
    size_t last_count = 0;
    for (int i = 1; i <= 3; i++) {
        size_t count = node_sums(&node, 4096, &sums);
        assert_true(i == 1 ? count == 0 : count > last_count);
        last_count = count;
        origin_heal(&origin, sums, count, &blob);
        free(sums);
        struct repl_file_intent intent = {.is_heal = true,
                                          .min_txid = blob.header.min_txid,
                                          .max_txid = blob.header.max_txid,
                                          .timeline = 1,
                                          .checksum = blob.trailer.post_checksum};
        WAL_OK(node.copy->ops->begin_cb(node.copy, &intent, &wal_err));
        WAL_OK(node.copy->ops->append_cb(node.copy, blob.bytes, blob.length / 3, &wal_err));
        blob_free(&blob);
        if (i == 2) {
            restart(); /* the connection is gone, and so is the server */
        } else {
            node.copy->ops->abort_cb(node.copy);
        }
        node_wait(&node, is_state, REPL_COPY_HEAL);
        assert_false(engine_database_exists(node.registry, "data"));
        origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'meanwhile')");
    }
    node_heal(&node, &origin);
    node_assert_same(&node, &origin);
}

/* No healing: the primary has its log from the first transaction on. */
static void a_new_database_may_begin_with_the_log(void **state)
{
    (void)state;
    struct blob blob;
    struct origin_mark mark;
    origin_exec(&origin, "INSERT INTO t SELECT NULL, randomblob(900) FROM " WAL_SERIES(300));
    node_open_copy(&node);
    node_wait(&node, is_state, REPL_COPY_READY);
    WAL_OK(node.copy->ops->begin_timeline_cb(node.copy, 1, &wal_err));
    assert_int_equal(node_look(&node).written.timeline, 1);
    origin_heal(&origin, NULL, 0, &blob); /* all pages, transactions 1 to now */
    WAL_OK(node_send(&node, &blob, false));
    blob_free(&blob);
    mark = origin.now;
    origin_exec(&origin, "DELETE FROM t WHERE a % 2");
    node_send_since(&node, &origin, &mark);
    node_wait(&node, is_durable, mark.position.txid);
    node_assert_same(&node, &origin);
    restart();
    node_assert_same(&node, &origin);
    assert_int_equal(node_facts(&node).scan_count, 0);
}

static void a_database_of_another_page_size_is_replaced(void **state)
{
    (void)state;
    struct origin other;
    uint64_t *sums = NULL;
    struct blob blob;
    begin();
    origin_open(&other, 1024);
    origin_exec(&other, "INSERT INTO t SELECT NULL, randomblob(900) FROM " WAL_SERIES(300));
    assert_int_equal(node_sums(&node, 1024, &sums), 0);
    free(sums);
    other.now.position.timeline = 2;
    other.now.position.txid = 1000;
    origin_heal(&other, NULL, 0, &blob);
    WAL_OK(node_send(&node, &blob, true));
    blob_free(&blob);
    node_wait(&node, is_durable, 1000);
    node_assert_same(&node, &other);
    struct origin_mark mark = other.now;
    origin_exec(&other, "DELETE FROM t WHERE a % 2");
    node_send_since(&node, &other, &mark);
    node_wait(&node, is_durable, mark.position.txid);
    restart();
    node_assert_same(&node, &other);
    origin_close(&other);
}

/* --- Timelines, dropping ---------------------------------------------------------------------------------------------- */

static void timelines_go_on_from_each_other(void **state)
{
    (void)state;
    struct origin_mark mark = begin();
    bool is_never;
    for (uint64_t timeline = 2; timeline < 5; timeline++) {
        origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'x')");
        node_send_since(&node, &origin, &mark);
        WAL_OK(node.copy->ops->begin_timeline_cb(node.copy, timeline, &wal_err));
        assert_int_equal(node.copy->ops->begin_timeline_cb(node.copy, timeline, &wal_err), SQ_INVALID);
        assert_int_equal(node_look(&node).written.timeline, timeline);
        origin.now.position.timeline = timeline;
        mark = origin.now;
        if (timeline == 3)
            restart();
        origin_exec(&origin, "INSERT INTO t VALUES (NULL, 'y')");
        if (node_look(&node).written.timeline < timeline) /* it was not there yet when the server was stopped */
            WAL_OK(node.copy->ops->begin_timeline_cb(node.copy, timeline, &wal_err));
        node_send_since(&node, &origin, &mark);
        node_wait(&node, is_durable, mark.position.txid);
        node_assert_same(&node, &origin);
        struct wal_position lost = {timeline - 1, mark.position.txid, 1}; /* after the end of that timeline */
        assert_false(repl_replica_has(node.replica, &lost, &is_never));
        assert_true(is_never);
        assert_true(repl_replica_has(node.replica, &mark.position, &is_never));
        struct wal_position later = {timeline, mark.position.txid + 1, 1};
        assert_false(repl_replica_has(node.replica, &later, &is_never));
        assert_false(is_never);
    }
}

static void a_dropped_database_is_gone(void **state)
{
    (void)state;
    char path[PATH_MAX + 32];
    begin();
    node_close_copy(&node);
    repl_replica_drop(node.replica);
    for (int i = 0; i < 100 * REPLICA_WAIT_S && !repl_replica_is_gone(node.replica); i++)
        poll(NULL, 0, 10);
    assert_true(repl_replica_is_gone(node.replica));
    assert_false(engine_database_exists(node.registry, "data"));
    snprintf(path, sizeof(path), "%s/data.db-ltx", node.dir);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/set-aside", node.dir);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* It has never been the primary's: it is moved out of the way, whole. */
static void a_dropped_database_that_nobody_else_has_is_set_aside(void **state)
{
    (void)state;
    char path[PATH_MAX + 32];
    WAL_OK(engine_database_create(node.registry, "data", &wal_err));
    sqlite3 *db = node_connect(&node);
    wal_exec(db, "CREATE TABLE mine(a); INSERT INTO mine VALUES (42)");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    repl_replica_drop(node.replica);
    for (int i = 0; i < 100 * REPLICA_WAIT_S && !repl_replica_is_gone(node.replica); i++)
        poll(NULL, 0, 10);
    assert_true(repl_replica_is_gone(node.replica));
    assert_false(engine_database_exists(node.registry, "data"));
    snprintf(path, sizeof(path), "%s/set-aside", node.dir);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL && entry->d_name[0] == '.')
        continue;
    assert_non_null(entry);
    db = wal_connect(path, entry->d_name, NULL);
    assert_int_equal(wal_number(db, "SELECT a FROM mine"), 42);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    closedir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    if (getenv("REPLICA_LOG") == NULL)
        sq_log_set_level(SQ_LOG_LEVEL_COUNT);
    struct sq_error err;
    sq_status status = engine_init(NULL, &err);
    sq_assert(status == SQ_OK);
    const struct CMUnitTest tests[] = {
        TEST(a_new_database_begins_with_a_healing_file),
        TEST(files_of_the_log_are_applied),
        TEST(what_waits_is_applied_as_one_transaction),
        TEST(a_file_that_begins_earlier_is_taken_from_where_it_is_new),
        TEST(files_that_do_not_fit_are_refused),
        TEST(what_leads_to_another_database_is_not_applied),
        TEST(a_database_that_was_closed_goes_on_where_it_was),
        TEST(a_wal_that_is_begun_anew_is_written_down),
        TEST(another_writer_is_noticed_and_undone),
        TEST(a_writer_while_it_was_closed_is_noticed),
        TEST(what_is_set_aside_leads_back),
        TEST(an_interrupted_bootstrap_goes_on),
        TEST(a_new_database_may_begin_with_the_log),
        TEST(a_database_of_another_page_size_is_replaced),
        TEST(timelines_go_on_from_each_other),
        TEST(a_dropped_database_is_gone),
        TEST(a_dropped_database_that_nobody_else_has_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
