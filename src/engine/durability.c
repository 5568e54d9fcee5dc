/* engine/durability.c: positions from the wal-index, one thread that syncs for all. Checkpoints are in checkpoint.c, and
 * who follows the WAL in follower.c.
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
 *                                           8  iChange, one more with each commit; 0 after a recovery
 *                                           16 mxFrame, frames in the WAL that are valid
 *                                           20 nPage, pages of the database
 *                                           32 salt-1, another one each time that the WAL is begun anew
 *                                           36 salt-2; both as bytes of the WAL's header
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
 * Confirmation. Answers rest on `durable`, which is `synced`, or, where others have to confirm that they have it on disk
 * too, the lesser of `synced` and `confirmed`. There an empty WAL has something to wait for: what was in the older one may
 * not be confirmed.
 *
 * Invariants: (1) `durable`, `synced` and `confirmed` only rise; (2) a ticket is in `tickets` if and only if its position
 * is not durable and no sync has failed, and then `wanted` or `synced` is as far as its position; (3) `is_failed` never goes back; (4) nothing is copied into the database file before the WAL was
 * written anew, not even by the connection that closes last. */
#include "engine/durability.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/durability_internal.h"
#include "engine/error.h"
#include "engine/follower.h"
#include "metrics/metrics.h"

enum {
    WAL_INDEX_REGION_BYTES = 32 * 1024,
    WAL_INDEX_VERSION = 3007000,
    WAL_INDEX_CHANGES = 8, /* byte offsets, see above */
    WAL_INDEX_MX_FRAME = 16,
    WAL_INDEX_PAGES = 20,
    WAL_INDEX_SALT = 32,
    WAL_INDEX_COPY = 48,
    WAL_INDEX_TRIES_MAX = 1000,
    REWRITE_BYTES = 64 * 1024, /* SQLite's handles take less than 128 kB at a time */
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
    return position <= atomic_load_explicit(&durability->durable, memory_order_acquire) ||
           (is_empty && !atomic_load_explicit(&durability->requires_confirmation, memory_order_acquire));
}

struct whole_header {
    struct wal_header header;
    uint32_t salt2;
    uint32_t page_count;
    uint32_t change_count;
};

static struct whole_header read_whole_copy(const struct engine_durability *durability, size_t copy)
{
    struct whole_header whole = {.header = read_copy(durability, copy)};
    whole.salt2 = index_word(durability, copy + WAL_INDEX_SALT + sizeof(uint32_t));
    whole.page_count = index_word(durability, copy + WAL_INDEX_PAGES);
    whole.change_count = index_word(durability, copy + WAL_INDEX_CHANGES);
    return whole;
}

/* As read_header(): both copies agree, or the second is what was meant. */
static struct whole_header read_whole_header(const struct engine_durability *durability)
{
    struct whole_header first;
    struct whole_header second;
    unsigned try_count = 0;
    do {
        if (try_count > WAL_INDEX_TRIES_MAX / 2)
            sched_yield();
        first = read_whole_copy(durability, 0); /* acquires: the second is read later */
        second = read_whole_copy(durability, WAL_INDEX_COPY);
    } while (memcmp(&first, &second, sizeof(first)) != 0 && ++try_count < WAL_INDEX_TRIES_MAX);
    return second;
}

struct engine_wal_state engine_durability_state(struct engine_durability *durability)
{
    struct whole_header whole;
    uint64_t known;
    do { /* until the generation has a number */
        engine_position position = engine_durability_published(durability);
        (void)position;
        whole = read_whole_header(durability);
        known = atomic_load_explicit(&durability->generation, memory_order_acquire);
    } while (known >> 32 != whole.header.salt);
    return (struct engine_wal_state){.position = make_position((uint32_t)known, whole.header.frame_count),
                                     .salt1 = be32toh(whole.header.salt),
                                     .salt2 = be32toh(whole.salt2),
                                     .frame_count = whole.header.frame_count,
                                     .page_count = whole.page_count,
                                     .change_count = whole.change_count};
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
    pthread_cond_broadcast(&durability->confirmation_cond);
}

void engine_durability_fail(struct engine_durability *durability)
{
    pthread_mutex_lock(&durability->mutex);
    atomic_store_explicit(&durability->is_failed, true, memory_order_release);
    wake_all(durability);
    pthread_cond_broadcast(&durability->cond);
    pthread_mutex_unlock(&durability->mutex);
}

/* Under the mutex: raises `durable` as far as it may be, and wakes those it covers. */
static void raise_durable(struct engine_durability *durability)
{
    bool is_alone = !atomic_load_explicit(&durability->requires_confirmation, memory_order_relaxed);
    engine_position position =
        is_alone || durability->synced < durability->confirmed ? durability->synced : durability->confirmed;
    if (position > atomic_load_explicit(&durability->durable, memory_order_relaxed))
        atomic_store_explicit(&durability->durable, position, memory_order_release);
    SQ_LIST_FOREACH (links, &durability->tickets) {
        struct engine_durability_ticket *ticket = SQ_CONTAINER_OF(links, struct engine_durability_ticket, links);
        if (!engine_durability_covers(durability, ticket->position))
            continue;
        sq_list_remove(links);
        sq_waker_wake(ticket->waker);
    }
    pthread_cond_broadcast(&durability->confirmation_cond);
}

/* After a sync; another one may have come further. */
static void advance(struct engine_durability *durability, engine_position position)
{
    pthread_mutex_lock(&durability->mutex);
    if (position > durability->synced) {
        durability->synced = position;
        if (durability->follower != NULL)
            durability->follower->ops->durable_cb(durability->follower, position);
    }
    raise_durable(durability);
    pthread_mutex_unlock(&durability->mutex);
}

void engine_durability_require_confirmation(struct engine_durability *durability, bool is_required)
{
    pthread_mutex_lock(&durability->mutex);
    atomic_store_explicit(&durability->requires_confirmation, is_required, memory_order_release);
    raise_durable(durability);
    pthread_mutex_unlock(&durability->mutex);
}

void engine_durability_confirm(struct engine_durability *durability, engine_position position)
{
    pthread_mutex_lock(&durability->mutex);
    if (position > durability->confirmed) {
        durability->confirmed = position;
        raise_durable(durability);
    }
    pthread_mutex_unlock(&durability->mutex);
}

/* Syncs what is published now: up to *ret_position. */
static bool sync_now(struct engine_durability *durability, engine_position *ret_position)
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
    *ret_position = position;
    return is_fine;
}

/* Under the mutex: waits until somebody wants a sync. False: the end. */
static bool wait_for_work(struct engine_durability *durability)
{
    for (;;) {
        if (durability->is_closing || engine_durability_is_failed(durability))
            return false;
        if (durability->wanted > durability->synced)
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
        engine_position position = 0;
        is_fine = sync_now(durability, &position);
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
    bool is_first = false;
    pthread_mutex_lock(&durability->mutex);
    if (SQ_UNLIKELY(!start_thread(durability)) && position > durability->synced &&
        !engine_durability_is_failed(durability)) {
        /* No thread to be had: the caller's own. */
        engine_position synced = 0;
        pthread_mutex_unlock(&durability->mutex);
        bool is_fine = sync_now(durability, &synced);
        (void)is_fine; /* seen below */
        pthread_mutex_lock(&durability->mutex);
    }
    /* What was synced before a later sync failed is on disk. */
    if (engine_durability_covers(durability, position))
        answer = ENGINE_DURABLE;
    else if (engine_durability_is_failed(durability))
        answer = ENGINE_DURABLE_NEVER;
    if (answer == ENGINE_DURABLE_LATER) {
        ticket->position = position;
        if (!sq_list_is_linked(&ticket->links))
            sq_list_push_back(&durability->tickets, &ticket->links);
        if (position > durability->wanted) {
            is_first = durability->wanted <= durability->synced;
            durability->wanted = position;
        }
    } else {
        sq_list_remove(&ticket->links);
    }
    pthread_mutex_unlock(&durability->mutex);
    /* Not under the mutex, which the thread that syncs wants at once. The caller has a reference to the database. */
    if (is_first)
        pthread_cond_signal(&durability->cond);
    return answer;
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
    engine_position position = 0;
    if (!has_thread)
        sync_now(durability, &position);
}

sq_status durability_sync_here(struct engine_durability *durability, engine_position position, struct sq_error *err)
{
    pthread_mutex_lock(&durability->mutex);
    bool is_synced = position <= durability->synced;
    pthread_mutex_unlock(&durability->mutex);
    engine_position synced = 0;
    if (!is_synced && !sync_now(durability, &synced))
        return engine_durability_check(durability, err);
    return SQ_OK;
}

sq_status engine_durability_sync(struct engine_durability *durability, engine_position position, struct sq_error *err)
{
    engine_position synced = position;
    if (engine_durability_covers(durability, position))
        return SQ_OK;
    if (!sync_now(durability, &synced))
        return engine_durability_check(durability, err);
    if (position > synced)
        position = synced; /* all that there was */
    pthread_mutex_lock(&durability->mutex);
    while (!engine_durability_covers(durability, position) && !engine_durability_is_failed(durability))
        pthread_cond_wait(&durability->confirmation_cond, &durability->mutex);
    bool is_covered = engine_durability_covers(durability, position);
    pthread_mutex_unlock(&durability->mutex);
    return is_covered ? SQ_OK : engine_durability_check(durability, err);
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

sq_status durability_connect(const char *path, struct sq_error *err, sqlite3 **ret_connection)
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
    SQ_TRY(durability_connect(path, err, &durability->copier));
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
    pthread_cond_init(&durability->confirmation_cond, NULL);
    pthread_mutex_init(&durability->sync_mutex, NULL);
    pthread_mutex_init(&durability->mutex, NULL);
    pthread_mutex_init(&durability->gate_mutex, NULL);
    sq_list_init(&durability->tickets);
    SQ_TRY(durability_connect(path, err, &durability->keeper));
    SQ_TRY(find_wal(durability, path, err));
    engine_position position = engine_durability_published(durability);
    SQ_TRY(make_durable(durability, path, err));
    SQ_TRY(sync_directory(path, err));
    SQ_TRY(open_copier(durability, path, err));
    sqlite3_db_config(durability->keeper, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    durability->synced = position;
    atomic_store_explicit(&durability->durable, position, memory_order_release);
    *ret_durability = SQ_STEAL(durability);
    return SQ_OK;
}

/* Before the connections are closed. */
static void stop_thread(struct engine_durability *durability)
{
    if (!durability->has_thread)
        return;
    pthread_mutex_lock(&durability->mutex);
    durability->is_closing = true;
    pthread_cond_signal(&durability->cond);
    pthread_mutex_unlock(&durability->mutex);
    pthread_join(durability->thread, NULL);
}

void engine_durability_close(struct engine_durability *durability)
{
    if (durability == NULL)
        return;
    sq_assert(sq_list_is_empty(&durability->tickets));
    engine_position synced = 0;
    stop_thread(durability);
    /* Another process may have it open too, and then closing copies nothing. */
    if (durability->lazy_sync_us != 0 && !engine_durability_is_failed(durability) && !sync_now(durability, &synced))
        sq_assert(engine_durability_is_failed(durability));
    struct engine_follower *follower = durability->follower;
    bool is_kept = follower != NULL && !follower_leave(durability);
    int closed = sqlite3_close(durability->copier);
    sq_assert(closed == SQLITE_OK);
    struct engine_file_mark mark;
    bool is_folded = follower != NULL && !is_kept && follower_fold(durability, &mark);
    /* Copying from a log that may not be on disk into the database file could leave half of it there. */
    if (engine_durability_is_failed(durability) || is_kept || (follower != NULL && !is_folded))
        sqlite3_db_config(durability->keeper, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    closed = sqlite3_close(durability->keeper);
    sq_assert(closed == SQLITE_OK);
    if (follower != NULL)
        follower->ops->closed_cb(follower, is_folded ? &mark : NULL);
    pthread_cond_destroy(&durability->confirmation_cond);
    pthread_cond_destroy(&durability->cond);
    pthread_mutex_destroy(&durability->gate_mutex);
    pthread_mutex_destroy(&durability->mutex);
    pthread_mutex_destroy(&durability->sync_mutex);
    free(durability);
}
