/* engine/durability.c: positions from the wal-index, one thread that syncs for all.
 *
 * The *keeper* is a SQLite connection that is open as long as the database is in use. Through it come
 *   - the WAL's file handle, whose xSync is the fdatasync of the WAL (sqlite.org/c3ref/c_fcntl_begin_atomic_write.html,
 *     SQLITE_FCNTL_JOURNAL_POINTER): SQLite's own handle, so that the process has no second descriptor on a file that
 *     SQLite has locks on (closing one would drop them), and a VFS of a test sees every sync;
 *   - the shared memory of the wal-index, whose header says how far the WAL reaches;
 *   - the certainty that the WAL is neither removed nor replaced: only the last connection does that.
 *
 * The wal-index (sqlite.org/walformat.html, "The WAL-Index File Format"), integers in native byte order:
 *
 *     offset  bytes
 *     0       48     header, first copy     0  version, 3007000
 *                                           16 mxFrame, frames in the WAL that are valid
 *                                           32 salt-1, another one each time that the WAL is begun anew
 *     48      48     header, second copy: a writer writes the second, then the first; a reader that finds both alike has
 *                    a whole one
 *     96      4      nBackfill, frames that have been copied into the database file
 *
 * A commit writes its frames to the WAL file before it moves mxFrame, so a sync that begins after mxFrame was read covers
 * all frames up to it. SQLite begins the WAL anew only after it has synced the WAL, copied everything into the database
 * file and synced that: whatever was in an older generation is on disk, and an empty WAL has nothing to wait for.
 *
 * After a failed sync pages of the page cache may be clean that are not on disk: a later sync would not write them.
 * Therefore an opened WAL is written anew, byte for byte, before the first sync is believed (write_anew()).
 *
 * The kernel tells of a write that has failed once for each open descriptor (fsync(2)): of two syncs on one descriptor at
 * the same time only one might hear of it, and the other would let answers leave. So there is one sync at a time on the
 * keeper's, and checkpoints, which sync the WAL themselves, have a connection of their own, the *copier*.
 *
 * SQLite does not look whether the sync of a directory has worked (os_unix.c), after which a new WAL might have no name:
 * that is done here too.
 *
 * Invariants: (1) `durable` only rises; (2) a ticket is in `tickets` if and only if its position is not durable and no
 * sync has failed; (3) `is_failed` never goes back; (4) nothing is copied into the database file before the WAL was
 * written anew, not even by the connection that closes last. */
#include "engine/durability.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/error.h"
#include "engine/vfs.h"
#include "metrics/metrics.h"

enum {
    WAL_INDEX_REGION_BYTES = 32 * 1024,
    WAL_INDEX_VERSION = 3007000,
    WAL_INDEX_MX_FRAME = 16, /* byte offsets, see above */
    WAL_INDEX_SALT = 32,
    WAL_INDEX_COPY = 48,
    WAL_INDEX_BACKFILL = 96,
    WAL_INDEX_CHECKPOINT_LOCK = 1,
    WAL_INDEX_TRIES_MAX = 1000,
    REWRITE_BYTES = 64 * 1024, /* SQLite's handles take less than 128 kB at a time */
    KEEPER_BUSY_MS = 5000,
};

struct engine_durability {
    sqlite3 *keeper;
    sqlite3_file *wal; /* the keeper's handle */
    sqlite3 *copier;
    sqlite3_file *database;           /* the copier's */
    volatile _Atomic uint32_t *index; /* the first region of the wal-index, shared with all who use the database */

    /* The salt last seen and the generation it stands for, in one word: (salt << 32) | generation. Written under the
     * mutex; acquire and release, so that a generation is never seen without its salt. */
    _Atomic uint64_t generation;
    /* Release after the sync, acquire before an answer leaves. */
    _Atomic engine_position durable;
    atomic_bool is_failed; /* acquire and release likewise */

    pthread_mutex_t sync_mutex; /* held across a sync of the WAL */
    pthread_mutex_t mutex;      /* never held across a sync */
    pthread_cond_t cond;
    struct sq_list tickets;
    int64_t lazy_sync_us; /* when to sync for those who do not wait; 0: never */
    pthread_t thread;
    bool has_thread;
    bool is_closing;
};

/* --- Positions ----------------------------------------------------------------------------------------------------- */

struct wal_header {
    uint32_t frame_count;
    uint32_t salt;
};

static uint32_t index_word(const struct engine_durability *durability, size_t offset)
{
    return atomic_load_explicit(&durability->index[offset / sizeof(uint32_t)], memory_order_acquire);
}

static struct wal_header read_copy(const struct engine_durability *durability, size_t copy)
{
    return (struct wal_header){index_word(durability, copy + WAL_INDEX_MX_FRAME),
                               index_word(durability, copy + WAL_INDEX_SALT)};
}

/* A whole header: both copies agree. A writer is between them for a few instructions only; if another process has been
 * stopped just there, the second copy is what it meant to publish. */
static struct wal_header read_header(const struct engine_durability *durability)
{
    struct wal_header first = read_copy(durability, 0);
    atomic_thread_fence(memory_order_acquire);
    struct wal_header second = read_copy(durability, WAL_INDEX_COPY);
    for (unsigned try_count = 0; try_count < WAL_INDEX_TRIES_MAX; try_count++) {
        if (SQ_LIKELY(first.frame_count == second.frame_count && first.salt == second.salt))
            return first;
        if (try_count > WAL_INDEX_TRIES_MAX / 2)
            sched_yield();
        first = read_copy(durability, 0);
        atomic_thread_fence(memory_order_acquire);
        second = read_copy(durability, WAL_INDEX_COPY);
    }
    return second;
}

static engine_position make_position(uint32_t generation, uint32_t frame_count)
{
    return (uint64_t)generation << 32 | frame_count;
}

engine_position engine_durability_published(struct engine_durability *durability)
{
    struct wal_header header = read_header(durability);
    uint64_t known = atomic_load_explicit(&durability->generation, memory_order_acquire);
    if (SQ_LIKELY(known >> 32 == header.salt))
        return make_position((uint32_t)known, header.frame_count);
    pthread_mutex_lock(&durability->mutex);
    header = read_header(durability);
    known = atomic_load_explicit(&durability->generation, memory_order_relaxed);
    if (known >> 32 != header.salt) {
        known = (uint64_t)header.salt << 32 | ((uint32_t)known + 1);
        atomic_store_explicit(&durability->generation, known, memory_order_release);
    }
    pthread_mutex_unlock(&durability->mutex);
    return make_position((uint32_t)known, header.frame_count);
}

bool engine_durability_covers(struct engine_durability *durability, engine_position position)
{
    bool is_empty = (uint32_t)position == 0; /* the WAL had just been begun anew */
    return is_empty || position <= atomic_load_explicit(&durability->durable, memory_order_acquire);
}

struct engine_wal_fill engine_durability_fill(struct engine_durability *durability)
{
    struct wal_header header = read_header(durability);
    uint32_t backfilled_count = index_word(durability, WAL_INDEX_BACKFILL);
    if (backfilled_count > header.frame_count) /* begun anew between the two looks */
        backfilled_count = header.frame_count;
    return (struct engine_wal_fill){header.frame_count, backfilled_count};
}

/* --- Syncing ------------------------------------------------------------------------------------------------------- */

bool engine_durability_is_failed(struct engine_durability *durability)
{
    return atomic_load_explicit(&durability->is_failed, memory_order_acquire);
}

sq_status engine_durability_check(struct engine_durability *durability, struct sq_error *err)
{
    if (SQ_LIKELY(!engine_durability_is_failed(durability)))
        return SQ_OK;
    sq_status status = sq_fail_sql(err, SQ_IO, "58030", "the database is out of service: its log could not be synced");
    sq_error_set_detail(err, "Commits that were not answered may or may not be there after a restart.");
    sq_error_set_hint(err, "Look after the disk, then start the server again.");
    if (err != NULL)
        err->is_fatal = true;
    return status;
}

static void wake_all(struct engine_durability *durability)
{
    SQ_LIST_FOREACH (links, &durability->tickets) {
        sq_list_remove(links);
        sq_waker_wake(SQ_CONTAINER_OF(links, struct engine_durability_ticket, links)->waker);
    }
}

void engine_durability_fail(struct engine_durability *durability)
{
    pthread_mutex_lock(&durability->mutex);
    atomic_store_explicit(&durability->is_failed, true, memory_order_release);
    wake_all(durability);
    pthread_cond_broadcast(&durability->cond);
    pthread_mutex_unlock(&durability->mutex);
}

/* Raises `durable`, which another sync may have raised further, and wakes those it covers. */
static void advance(struct engine_durability *durability, engine_position position)
{
    pthread_mutex_lock(&durability->mutex);
    if (position > atomic_load_explicit(&durability->durable, memory_order_relaxed))
        atomic_store_explicit(&durability->durable, position, memory_order_release);
    SQ_LIST_FOREACH (links, &durability->tickets) {
        struct engine_durability_ticket *ticket = SQ_CONTAINER_OF(links, struct engine_durability_ticket, links);
        if (!engine_durability_covers(durability, ticket->position))
            continue;
        sq_list_remove(links);
        sq_waker_wake(ticket->waker);
    }
    pthread_mutex_unlock(&durability->mutex);
}

/* Syncs what is published now. */
static bool sync_now(struct engine_durability *durability)
{
    pthread_mutex_lock(&durability->sync_mutex);
    engine_position position = engine_durability_published(durability);
    int64_t begun_us = sq_clock_now_us();
    int result = durability->wal->pMethods->xSync(durability->wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    metrics_histogram_add(METRICS_SYNC_DURATION, sq_clock_now_us() - begun_us);
    bool is_fine = result == SQLITE_OK && !engine_durability_is_failed(durability);
    if (is_fine)
        advance(durability, position);
    else
        engine_durability_fail(durability);
    pthread_mutex_unlock(&durability->sync_mutex);
    return is_fine;
}

/* Under the mutex: waits until somebody wants a sync. False: the end. */
static bool wait_for_work(struct engine_durability *durability)
{
    for (;;) {
        if (durability->is_closing || engine_durability_is_failed(durability))
            return false;
        if (!sq_list_is_empty(&durability->tickets))
            return true;
        if (durability->lazy_sync_us == 0) {
            pthread_cond_wait(&durability->cond, &durability->mutex);
            continue;
        }
        if (durability->lazy_sync_us <= sq_clock_now_us())
            return true;
        struct timespec until = {.tv_sec = durability->lazy_sync_us / SQ_US_PER_S,
                                 .tv_nsec = durability->lazy_sync_us % SQ_US_PER_S * 1000};
        pthread_cond_timedwait(&durability->cond, &durability->mutex, &until);
    }
}

static void *run_syncs(void *context)
{
    struct engine_durability *durability = context;
    bool is_fine = true;
    pthread_mutex_lock(&durability->mutex);
    while (is_fine && wait_for_work(durability)) {
        durability->lazy_sync_us = 0;
        pthread_mutex_unlock(&durability->mutex);
        is_fine = sync_now(durability);
        pthread_mutex_lock(&durability->mutex);
    }
    pthread_mutex_unlock(&durability->mutex);
    return NULL;
}

/* Under the mutex: the thread that syncs begins with the first who waits. */
static bool start_thread(struct engine_durability *durability)
{
    if (SQ_LIKELY(durability->has_thread))
        return true;
    durability->has_thread = pthread_create(&durability->thread, NULL, run_syncs, durability) == 0;
    return durability->has_thread;
}

void engine_durability_ticket_init(struct engine_durability_ticket *ticket, struct sq_waker *waker)
{
    sq_list_init(&ticket->links);
    ticket->position = 0;
    ticket->waker = waker;
}

enum engine_durable engine_durability_wait(struct engine_durability *durability, engine_position position,
                                           struct engine_durability_ticket *ticket)
{
    enum engine_durable answer = ENGINE_DURABLE_LATER;
    bool has_thread = true;
    bool is_first = false;
    pthread_mutex_lock(&durability->mutex);
    /* What was synced before a later sync failed is on disk. */
    if (engine_durability_covers(durability, position))
        answer = ENGINE_DURABLE;
    else if (engine_durability_is_failed(durability))
        answer = ENGINE_DURABLE_NEVER;
    if (answer == ENGINE_DURABLE_LATER) {
        has_thread = start_thread(durability);
        is_first = sq_list_is_empty(&durability->tickets);
        ticket->position = position;
        if (has_thread && !sq_list_is_linked(&ticket->links))
            sq_list_push_back(&durability->tickets, &ticket->links);
    } else {
        sq_list_remove(&ticket->links);
    }
    pthread_mutex_unlock(&durability->mutex);
    /* Not under the mutex, which the thread that syncs wants at once. The caller has a reference to the database. */
    if (is_first)
        pthread_cond_signal(&durability->cond);
    if (SQ_LIKELY(has_thread))
        return answer;
    /* No thread to be had: the caller's own. */
    return sync_now(durability) ? ENGINE_DURABLE : ENGINE_DURABLE_NEVER;
}

void engine_durability_withdraw(struct engine_durability *durability, struct engine_durability_ticket *ticket)
{
    pthread_mutex_lock(&durability->mutex);
    sq_list_remove(&ticket->links);
    pthread_mutex_unlock(&durability->mutex);
}

void engine_durability_request(struct engine_durability *durability)
{
    pthread_mutex_lock(&durability->mutex);
    bool has_thread = start_thread(durability);
    if (has_thread && durability->lazy_sync_us == 0) {
        durability->lazy_sync_us = sq_clock_now_us() + ENGINE_LAZY_SYNC_US;
        pthread_cond_signal(&durability->cond);
    }
    pthread_mutex_unlock(&durability->mutex);
    if (!has_thread)
        sync_now(durability);
}

sq_status engine_durability_sync(struct engine_durability *durability, engine_position position, struct sq_error *err)
{
    if (!engine_durability_covers(durability, position) && !sync_now(durability))
        return engine_durability_check(durability, err);
    return SQ_OK;
}

/* --- Checkpoints --------------------------------------------------------------------------------------------------- */

static int on_checkpoint_busy(void *context, int try_count)
{
    const int64_t *until_us = context;
    (void)try_count;
    if (sq_clock_now_us() >= *until_us)
        return 0;
    struct timespec pause = {.tv_nsec = 200 * 1000};
    nanosleep(&pause, NULL); /* banned-ok: readers are in no queue that could wake us */
    return 1;
}

/* The database file could not be synced, but the wal-index says what was copied into it. Another process may keep that
 * index alive until the next start: then everything has to be copied again. (Lower is always true: readers look into the
 * WAL for what they could read from the file.) */
static void forget_copies(struct engine_durability *durability)
{
    const sqlite3_io_methods *methods = durability->database->pMethods;
    const int flags = SQLITE_SHM_EXCLUSIVE;
    int result = SQLITE_BUSY;
    for (int try_count = 0; result == SQLITE_BUSY && try_count < KEEPER_BUSY_MS; try_count++) {
        result = methods->xShmLock(durability->database, WAL_INDEX_CHECKPOINT_LOCK, 1, SQLITE_SHM_LOCK | flags);
        if (result == SQLITE_BUSY) {
            struct timespec pause = {.tv_nsec = 1000 * 1000};
            nanosleep(&pause, NULL); /* banned-ok: a checkpoint of another process has nobody to wake us */
        }
    }
    atomic_store_explicit(&durability->index[WAL_INDEX_BACKFILL / sizeof(uint32_t)], 0, memory_order_release);
    if (result == SQLITE_OK)
        methods->xShmLock(durability->database, WAL_INDEX_CHECKPOINT_LOCK, 1, SQLITE_SHM_UNLOCK | flags);
}

sq_status engine_durability_checkpoint(struct engine_durability *durability, bool is_restart, int64_t wait_us,
                                       struct sq_error *err, struct engine_wal_fill *ret_fill)
{
    SQ_TRY(engine_durability_check(durability, err));
    int64_t begun_us = sq_clock_now_us();
    int64_t until_us = begun_us + wait_us;
    sqlite3_busy_handler(durability->copier, on_checkpoint_busy, &until_us);
    int result = sqlite3_wal_checkpoint_v2(
        durability->copier, "main", is_restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_busy_handler(durability->copier, NULL, NULL);
    /* SQLite syncs the database file only when it has copied everything. Done now, it need not be done by the checkpoint
     * that holds writers up. */
    if (result == SQLITE_OK && !is_restart)
        result = durability->database->pMethods->xSync(durability->database, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    metrics_histogram_add(METRICS_CHECKPOINT_DURATION, sq_clock_now_us() - begun_us);
    if (result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC) {
        engine_durability_fail(durability);
        forget_copies(durability);
        return engine_durability_check(durability, err);
    }
    *ret_fill = engine_durability_fill(durability);
    if (result == SQLITE_OK)
        return SQ_OK;
    return engine_fail(err, durability->copier, result, NULL);
}

/* --- Opening and closing ------------------------------------------------------------------------------------------- */

static sq_status fail_io(int result, const char *what, const char *path, struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_IO, result == SQLITE_FULL ? "53100" : "58030",
                                   "cannot %s the write-ahead log of '%s': %s", what, path, sqlite3_errstr(result));
    sq_error_set_hint(err, "Look after the disk; the log of the system says more.");
    return status;
}

/* Makes the name of the WAL durable. */
static sq_status sync_directory(const char *path, struct sq_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to open '%s'", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync the directory of '%s'", path);
}

/* Writes the WAL's bytes over themselves, so that the kernel holds them as not yet on disk; then syncs. The caller holds
 * SQLite's write lock. */
static int write_anew(sqlite3_file *wal, void *buffer)
{
    sqlite3_int64 length = 0;
    int result = wal->pMethods->xFileSize(wal, &length);
    for (sqlite3_int64 at = 0; result == SQLITE_OK && at < length; at += REWRITE_BYTES) {
        int bytes = length - at < REWRITE_BYTES ? (int)(length - at) : REWRITE_BYTES;
        result = wal->pMethods->xRead(wal, buffer, bytes, at);
        if (result == SQLITE_OK)
            result = wal->pMethods->xWrite(wal, buffer, bytes, at);
    }
    return result == SQLITE_OK ? wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL) : result;
}

static sq_status make_durable(struct engine_durability *durability, const char *path, struct sq_error *err)
{
    void *buffer = malloc(REWRITE_BYTES);
    if (buffer == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to open '%s'", path);
    int result = sqlite3_exec(durability->keeper, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    sq_status status = SQ_OK;
    if (result != SQLITE_OK) {
        status = engine_fail(err, durability->keeper, result, NULL);
        if (status == SQ_BUSY)
            sq_error_set_hint(err, "Another process has locked the database file; it opens when that is over.");
    } else {
        result = write_anew(durability->wal, buffer);
        if (result != SQLITE_OK)
            status = fail_io(result, "sync", path, err);
        sqlite3_exec(durability->keeper, "ROLLBACK", NULL, NULL, NULL);
    }
    free(buffer);
    return status;
}

/* The WAL's handle and the wal-index, which are there once the keeper has read something. */
static sq_status find_wal(struct engine_durability *durability, const char *path, struct sq_error *err)
{
    void volatile *region = NULL;
    sqlite3 *keeper = durability->keeper;
    int result = sqlite3_exec(keeper, "PRAGMA journal_mode=WAL; SELECT count(*) FROM sqlite_schema;", NULL, NULL, NULL);
    sqlite3_file *database = NULL;
    if (result == SQLITE_OK)
        result = sqlite3_file_control(keeper, "main", SQLITE_FCNTL_FILE_POINTER, &database);
    if (result == SQLITE_OK)
        result = sqlite3_file_control(keeper, "main", SQLITE_FCNTL_JOURNAL_POINTER, &durability->wal);
    if (result != SQLITE_OK)
        return engine_fail(err, keeper, result, NULL);
    if (durability->wal == NULL || durability->wal->pMethods == NULL || database->pMethods->iVersion < 2)
        return sq_fail(err, SQ_INVALID, "'%s' cannot be used in WAL mode", path);
    result = database->pMethods->xShmMap(database, 0, WAL_INDEX_REGION_BYTES, 0, &region);
    if (result != SQLITE_OK || region == NULL)
        return fail_io(result, "map the index of", path, err);
    durability->index = region;
    if (index_word(durability, 0) != WAL_INDEX_VERSION)
        return sq_fail(err, SQ_INVALID, "'%s' has a wal-index of an unknown version, %u", path,
                       index_word(durability, 0));
    return SQ_OK;
}

/* A connection that leaves checkpoints alone unless it is told to make one, also when it is closed. */
static sq_status open_connection(const char *path, struct sq_error *err, sqlite3 **ret_connection)
{
    int result = sqlite3_open_v2(path, ret_connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, ENGINE_VFS_NAME);
    if (result != SQLITE_OK)
        return engine_fail(err, *ret_connection, result, NULL);
    sqlite3_extended_result_codes(*ret_connection, 1);
    sqlite3_busy_timeout(*ret_connection, KEEPER_BUSY_MS);
    sqlite3_wal_autocheckpoint(*ret_connection, 0);
    sqlite3_db_config(*ret_connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return SQ_OK;
}

static sq_status open_copier(struct engine_durability *durability, const char *path, struct sq_error *err)
{
    SQ_TRY(open_connection(path, err, &durability->copier));
    /* Without having read it does not know that there is a WAL. */
    int result = sqlite3_exec(durability->copier, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_file_control(durability->copier, "main", SQLITE_FCNTL_FILE_POINTER, &durability->database);
    return result == SQLITE_OK ? SQ_OK : engine_fail(err, durability->copier, result, NULL);
}

SQ_DEFINE_FREEP(struct engine_durability, engine_durability_close)

sq_status engine_durability_open(const char *path, struct sq_error *err, struct engine_durability **ret_durability)
{
    SQ_CLEANUP(engine_durability_closep) struct engine_durability *durability = calloc(1, sizeof(*durability));
    if (durability == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to open '%s'", path);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&durability->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&durability->sync_mutex, NULL);
    pthread_mutex_init(&durability->mutex, NULL);
    sq_list_init(&durability->tickets);
    SQ_TRY(open_connection(path, err, &durability->keeper));
    SQ_TRY(find_wal(durability, path, err));
    engine_position position = engine_durability_published(durability);
    SQ_TRY(make_durable(durability, path, err));
    SQ_TRY(sync_directory(path, err));
    SQ_TRY(open_copier(durability, path, err));
    sqlite3_db_config(durability->keeper, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    atomic_store_explicit(&durability->durable, position, memory_order_release);
    *ret_durability = SQ_STEAL(durability);
    return SQ_OK;
}

void engine_durability_close(struct engine_durability *durability)
{
    if (durability == NULL)
        return;
    sq_assert(sq_list_is_empty(&durability->tickets));
    if (durability->has_thread) {
        pthread_mutex_lock(&durability->mutex);
        durability->is_closing = true;
        pthread_cond_signal(&durability->cond);
        pthread_mutex_unlock(&durability->mutex);
        pthread_join(durability->thread, NULL);
    }
    /* Another process may have it open too, and then closing copies nothing. */
    if (durability->lazy_sync_us != 0 && !engine_durability_is_failed(durability))
        sync_now(durability);
    /* Copying from a log that may not be on disk into the database file could leave half of it there. */
    if (engine_durability_is_failed(durability))
        sqlite3_db_config(durability->keeper, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int closed = sqlite3_close(durability->copier);
    sq_assert(closed == SQLITE_OK);
    closed = sqlite3_close(durability->keeper);
    sq_assert(closed == SQLITE_OK);
    pthread_cond_destroy(&durability->cond);
    pthread_mutex_destroy(&durability->mutex);
    pthread_mutex_destroy(&durability->sync_mutex);
    free(durability);
}
