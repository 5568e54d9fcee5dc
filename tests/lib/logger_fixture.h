/* tests/lib/logger_fixture.h: a database whose log is kept, connections that write to it, and a copy of it that is made of what
 * a sender would read: an exchange, then the log's files, each verified. */
#ifndef SQ_TESTS_LOGGER_FIXTURE_H
#define SQ_TESTS_LOGGER_FIXTURE_H

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/database.h"
#include "engine/durability.h"
#include "engine/follower.h"
#include "engine/vfs.h"
#include "ltx_memory.h"
#include "repl/logger.h"
#include "wal_fixture.h"

enum { LOGGER_TEST_WAIT_US = 60 * 1000 * 1000 };

static struct {
    char dir[PATH_MAX];
    struct engine_registry *registry;
    struct engine_follower_factory factory;
    struct repl_loggers *loggers;
    struct engine_database *database;
    uint64_t timeline;
    bool is_wanted;
    struct sq_error err;
} logged;

/* --- Waiting ---------------------------------------------------------------------------------------------------------- */

struct bell {
    struct sq_waker waker;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool has_rung;
};

static inline void bell_ring(struct sq_waker *waker)
{
    struct bell *bell = SQ_CONTAINER_OF(waker, struct bell, waker);
    pthread_mutex_lock(&bell->mutex);
    bell->has_rung = true;
    pthread_cond_signal(&bell->cond);
    pthread_mutex_unlock(&bell->mutex);
}

static inline void bell_init(struct bell *bell)
{
    bell->waker = (struct sq_waker){.wake_cb = bell_ring};
    bell->has_rung = false;
    pthread_mutex_init(&bell->mutex, NULL);
    pthread_cond_init(&bell->cond, NULL);
}

static inline void bell_wait(struct bell *bell)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOGGER_TEST_WAIT_US / SQ_US_PER_S;
    int result = 0;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->has_rung && result == 0)
        result = pthread_cond_timedwait(&bell->cond, &bell->mutex, &until);
    bell->has_rung = false;
    pthread_mutex_unlock(&bell->mutex);
    sq_assert(result == 0); /* nobody rings */
}

/* --- The database ------------------------------------------------------------------------------------------------------- */

static inline sq_status logged_start(struct engine_follower_factory *factory, struct engine_database *database,
                                     struct engine_durability *durability, struct sq_error *err,
                                     struct engine_follower **ret_follower)
{
    struct repl_logger *logger = NULL;
    (void)factory;
    SQ_TRY(repl_logger_new(logged.loggers, database, durability, logged.timeline, logged.is_wanted, err, &logger));
    *ret_follower = repl_logger_follower(logger);
    repl_logger_unref(logger);
    return SQ_OK;
}

static inline void logged_open(void)
{
    WAL_OK(engine_database_open(logged.registry, "main", &wal_err, &logged.database));
    WAL_OK(engine_database_start(logged.database, &wal_err));
}

static inline void logged_close(void)
{
    engine_database_unref(logged.database);
    logged.database = NULL;
    engine_registry_close_idle(logged.registry, 0);
}

static inline void logged_reopen(void)
{
    logged_close();
    logged_open();
}

/* Of a process: in a directory that may have been left by another one. */
static inline void logged_begin_in(const char *dir)
{
    struct repl_logger_settings settings = {.keep_bytes = 0};
    snprintf(logged.dir, sizeof(logged.dir), "%s", dir);
    logged.factory.start_cb = logged_start;
    if (logged.timeline == 0)
        logged.timeline = 1;
    engine_vfs_set_mark_pause(0);
    WAL_OK(repl_loggers_new(&settings, &wal_err, &logged.loggers));
    WAL_OK(engine_registry_open(logged.dir, "main", &wal_err, &logged.registry));
    engine_registry_set_follower_factory(logged.registry, &logged.factory);
    logged_open();
}

static inline void logged_end(void)
{
    engine_database_unref(logged.database);
    engine_registry_free(logged.registry);
    repl_loggers_free(logged.loggers);
    logged.database = NULL;
    logged.registry = NULL;
    logged.loggers = NULL;
}

static inline int logged_set_up(void **state)
{
    char dir[PATH_MAX];
    (void)state;
    memset(&logged, 0, sizeof(logged));
    logged.is_wanted = true;
    scratch_make_directory(dir);
    logged_begin_in(dir);
    return 0;
}

static inline void logged_remove(const char *dir)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/main.db-ltx", dir);
    if (access(path, F_OK) == 0)
        scratch_remove_directory(path);
    scratch_remove_directory(dir);
}

static inline int logged_tear_down(void **state)
{
    (void)state;
    logged_end();
    logged_remove(logged.dir);
    return 0;
}

static inline struct engine_durability *logged_durability(void)
{
    return engine_database_durability(logged.database);
}

static inline struct repl_logger *logged_logger(void)
{
    struct repl_logger *logger = repl_logger_of(engine_durability_follower(logged_durability()));
    sq_assert(logger != NULL);
    return logger;
}

static inline struct repl_logger_facts logged_facts(void)
{
    struct repl_logger_facts facts;
    repl_logger_facts(logged_logger(), &facts);
    return facts;
}

static inline const char *logged_path(void)
{
    static char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/main.db", logged.dir);
    return path;
}

/* As a session: over our VFS, without checkpoints of its own. */
static inline sqlite3 *logged_connect(void)
{
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(logged_path(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, ENGINE_VFS_NAME);
    sq_assert(result == SQLITE_OK);
    sqlite3_busy_timeout(db, LOGGER_TEST_WAIT_US / SQ_US_PER_MS);
    sqlite3_wal_autocheckpoint(db, 0);
    wal_exec(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_spill=ON;");
    return db;
}

/* As another process would: SQLite's own VFS. */
static inline sqlite3 *logged_connect_outside(void)
{
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(logged_path(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, "unix");
    sq_assert(result == SQLITE_OK);
    sqlite3_busy_timeout(db, LOGGER_TEST_WAIT_US / SQ_US_PER_MS);
    return db;
}

static inline void logged_exec_once(const char *sql)
{
    sqlite3 *db = logged_connect();
    wal_exec(db, sql);
    sqlite3_close(db);
}

/* The log's position that has all that has been committed. */
static inline struct wal_position logged_reach(void)
{
    struct bell bell;
    struct repl_wait wait = {.waker = &bell.waker};
    struct wal_position position = {0};
    enum repl_known known;
    bell_init(&bell);
    sq_list_init(&wait.links);
    engine_position published = engine_durability_published(logged_durability());
    WAL_OK(engine_follower_sync(logged_durability(), published, &wal_err));
    while ((known = repl_logger_position(logged_logger(), published, &wait, &position)) == REPL_KNOWN_LATER)
        bell_wait(&bell);
    if (known != REPL_KNOWN)
        fail_msg("the position will never be known: %s", logged_facts().failure.text);
    return position;
}

/* --- A copy -------------------------------------------------------------------------------------------------------------- */

struct copy {
    struct repl_feed *feed;
    struct bell bell;
    uint32_t page_bytes;
    uint32_t page_count;
    uint8_t *pages;
    struct wal_position position;
    uint32_t file_count; /* that were applied */
};

static inline void copy_open(struct copy *copy)
{
    *copy = (struct copy){0};
    bell_init(&copy->bell);
    WAL_OK(repl_logger_open_feed(logged_logger(), &copy->bell.waker, &wal_err, &copy->feed));
}

/* What was copied stays, for another life of the database. */
static inline void copy_close(struct copy *copy)
{
    copy->feed->ops->close_cb(copy->feed);
    copy->feed = NULL;
}

static inline void copy_open_again(struct copy *copy)
{
    WAL_OK(repl_logger_open_feed(logged_logger(), &copy->bell.waker, &wal_err, &copy->feed));
}

static inline void copy_done(struct copy *copy)
{
    if (copy->feed != NULL)
        copy_close(copy);
    free(copy->pages);
}

static inline struct repl_feed_view copy_wait(struct copy *copy)
{
    struct repl_feed_view view;
    for (;;) {
        copy->feed->ops->look_cb(copy->feed, &view);
        if (view.state != REPL_FEED_PENDING)
            break;
        bell_wait(&copy->bell);
    }
    if (view.state != REPL_FEED_READY) {
        copy->feed->ops->reason_cb(copy->feed, &wal_err);
        fail_msg("no log: %s", wal_err.text);
    }
    return view;
}

static inline uint64_t copy_checksum(const struct copy *copy)
{
    uint64_t checksum = WAL_CHECKSUM_FLAG;
    for (uint32_t i = 0; i < copy->page_count; i++)
        checksum = wal_checksum_exchange(
            checksum, 0, wal_page_checksum(i + 1, copy->pages + (size_t)i * copy->page_bytes, copy->page_bytes));
    return checksum;
}

static inline void copy_resize(struct copy *copy, uint32_t page_bytes, uint32_t page_count)
{
    size_t before = (size_t)copy->page_count * copy->page_bytes;
    size_t after = (size_t)page_count * page_bytes;
    copy->pages = realloc(copy->pages, after + 1);
    sq_assert(copy->pages != NULL);
    if (after > before)
        memset(copy->pages + before, 0, after - before);
    copy->page_bytes = page_bytes;
    copy->page_count = page_count;
}

/* A whole file. Its transactions go on from the copy, or it is one of an exchange. */
static inline void copy_apply(struct copy *copy, const uint8_t *bytes, size_t length, bool is_exchange)
{
    struct ltx_decoder *decoder = NULL;
    WAL_OK(ltx_decoder_new(&wal_err, &decoder));
    enum ltx_event event = LTX_MORE;
    while (event != LTX_DONE) {
        uint32_t page_number = 0;
        const void *page = NULL;
        WAL_OK(ltx_decoder_feed(decoder, &bytes, &length, &wal_err, &event, &page_number, &page));
        assert_true(event != LTX_MORE);
        const struct ltx_header *header = ltx_decoder_header(decoder);
        if (event == LTX_HEADER) {
            if (copy->page_bytes != header->page_bytes)
                copy_resize(copy, header->page_bytes, 0);
            if (header->min_txid == copy->position.txid + 1 && header->min_txid > 1)
                assert_int_equal(header->pre_checksum, copy->position.checksum);
            if (!is_exchange)
                assert_true(header->min_txid <= copy->position.txid + 1 && header->max_txid > copy->position.txid);
            copy_resize(copy, header->page_bytes, header->page_count);
        }
        if (event == LTX_PAGE)
            memcpy(copy->pages + (size_t)(page_number - 1) * header->page_bytes, page, header->page_bytes);
    }
    assert_int_equal(length, 0);
    const struct ltx_header *header = ltx_decoder_header(decoder);
    copy->position.txid = header->max_txid;
    copy->position.timeline = header->node_id;
    copy->position.checksum = ltx_decoder_trailer(decoder)->post_checksum;
    assert_int_equal(copy_checksum(copy), copy->position.checksum);
    copy->file_count++;
    ltx_decoder_free(decoder);
}

/* False: the exchange has failed. */
static inline bool copy_try_heal(struct copy *copy)
{
    struct repl_exchange *exchange = NULL;
    struct memory_output file;
    struct wal_position position;
    uint32_t page_bytes = 0;
    uint32_t page_count = 0;
    enum repl_exchange_state state;
    copy_wait(copy);
    WAL_OK(copy->feed->ops->exchange_cb(copy->feed, &copy->bell.waker, &wal_err, &exchange));
    while ((state = exchange->ops->state_cb(exchange, &wal_err)) == REPL_EXCHANGE_PREPARING)
        bell_wait(&copy->bell);
    memory_output_init(&file);
    if (state == REPL_EXCHANGE_SUMS) {
        exchange->ops->position_cb(exchange, &position, &page_bytes, &page_count);
        if (page_bytes != copy->page_bytes)
            copy_resize(copy, page_bytes, 0);
        for (uint32_t i = 0; i < copy->page_count; i++) {
            uint64_t sum = wal_page_checksum(i + 1, copy->pages + (size_t)i * page_bytes, page_bytes);
            WAL_OK(exchange->ops->sums_cb(exchange, i + 1, &sum, 1, &wal_err));
        }
        WAL_OK(exchange->ops->finish_cb(exchange, &wal_err));
    }
    while ((state = exchange->ops->state_cb(exchange, &wal_err)) == REPL_EXCHANGE_DATA) {
        uint8_t bytes[REPL_CHUNK_BYTES_MAX];
        size_t length = 0;
        if (exchange->ops->read_cb(exchange, bytes, sizeof(bytes), &wal_err, &length) != SQ_OK)
            continue;
        sq_buf_put(&file.bytes, bytes, length);
        if (length == 0 && exchange->ops->state_cb(exchange, &wal_err) == REPL_EXCHANGE_DATA)
            bell_wait(&copy->bell);
    }
    exchange->ops->close_cb(exchange);
    if (state == REPL_EXCHANGE_END) {
        copy_apply(copy, sq_buf_bytes(&file.bytes), sq_buf_length(&file.bytes), true);
        assert_int_equal(copy->position.txid, position.txid);
        assert_int_equal(copy->position.checksum, position.checksum);
        assert_int_equal(copy->page_count, page_count);
    }
    sq_buf_done(&file.bytes);
    return state == REPL_EXCHANGE_END;
}

static inline void copy_heal(struct copy *copy)
{
    if (!copy_try_heal(copy))
        fail_msg("exchange: %s", wal_err.text);
}

/* Applies what the log has. False: it begins later than where the copy is, or never was where it is. */
static inline bool copy_follow(struct copy *copy)
{
    struct repl_feed_view view = copy_wait(copy);
    if (copy->position.txid < view.begin.txid || copy->position.txid > view.end.txid)
        return false;
    if (copy->position.txid == view.end.txid)
        return copy->position.checksum == view.end.checksum;
    for (;;) {
        struct repl_feed_file file;
        sq_status status = copy->feed->ops->open_file_cb(copy->feed, copy->position.txid, &wal_err, &file);
        if (status == SQ_NOT_FOUND)
            return true;
        WAL_OK(status);
        if (file.min_txid == copy->position.txid + 1 && file.pre_checksum != copy->position.checksum)
            return false;
        uint8_t *bytes = malloc(file.bytes);
        sq_assert(bytes != NULL);
        for (uint64_t offset = 0; offset < file.bytes;) {
            size_t length = 0;
            size_t part = file.bytes - offset < REPL_CHUNK_BYTES_MAX ? file.bytes - offset : REPL_CHUNK_BYTES_MAX;
            WAL_OK(copy->feed->ops->read_file_cb(copy->feed, offset, bytes + offset, part, &wal_err, &length));
            assert_true(length > 0);
            offset += length;
        }
        copy_apply(copy, bytes, file.bytes, false);
        assert_int_equal(copy->position.checksum, file.post_checksum);
        assert_int_equal(copy->position.timeline, file.timeline);
        free(bytes);
    }
}

/* Nobody writes: the copy is what SQLite reads, byte for byte, at the position that the log says. */
static inline void copy_check(struct copy *copy)
{
    struct wal_position end = logged_reach();
    if (!copy_follow(copy))
        fail_msg("the copy is at %llu/%016llx, the log at %llu/%016llx", (unsigned long long)copy->position.txid,
                 (unsigned long long)copy->position.checksum, (unsigned long long)end.txid,
                 (unsigned long long)end.checksum);
    assert_int_equal(copy->position.txid, end.txid);
    assert_int_equal(copy->position.checksum, end.checksum);
    assert_int_equal(copy->position.timeline, end.timeline);
    sqlite3 *db = logged_connect();
    sqlite3_int64 bytes = 0;
    unsigned char *image = sqlite3_serialize(db, "main", &bytes, 0);
    assert_non_null(image);
    assert_int_equal(bytes, (int64_t)copy->page_count * copy->page_bytes);
    for (uint32_t i = 0; i < copy->page_count; i++) {
        size_t at = (size_t)i * copy->page_bytes;
        if (memcmp(image + at, copy->pages + at, copy->page_bytes) != 0)
            fail_msg("page %u differs at %llu", i + 1, (unsigned long long)end.txid);
    }
    sqlite3_free(image);
    sqlite3_close(db);
}

#endif
