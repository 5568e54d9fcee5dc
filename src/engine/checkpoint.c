/* engine/checkpoint.c: the part of durability.c that copies the WAL into the database file, on a connection of its own: the
 * copier. */
#include <time.h>

#include "base/clock.h"
#include "engine/durability_internal.h"
#include "engine/error.h"
#include "engine/follower.h"
#include "metrics/metrics.h"

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
    durability->is_beginning_anew = true; /* nothing is copied: no guard is asked */
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
    durability->is_beginning_anew = false;
}

static int copy(struct engine_durability *durability, bool is_restart, int64_t until_us)
{
    sqlite3_busy_handler(durability->copier, on_checkpoint_busy, &until_us);
    durability->is_beginning_anew = is_restart;
    int result = sqlite3_wal_checkpoint_v2(
        durability->copier, "main", is_restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    durability->is_beginning_anew = false;
    sqlite3_busy_handler(durability->copier, NULL, NULL);
    /* SQLite syncs the database file only when it has copied everything. Done now, it need not be done by the checkpoint
     * that holds writers up. */
    if (result == SQLITE_OK && !is_restart)
        result = durability->database->pMethods->xSync(durability->database, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    return result;
}

sq_status engine_durability_checkpoint(struct engine_durability *durability, bool is_restart, int64_t wait_us,
                                       struct sq_error *err, struct engine_wal_fill *ret_fill)
{
    SQ_TRY(engine_durability_check(durability, err));
    int64_t begun_us = sq_clock_now_us();
    sq_error_clear(&durability->refusal);
    if (is_restart)
        SQ_TRY(follower_cover(durability, err));
    int result = copy(durability, is_restart, begun_us + wait_us);
    metrics_histogram_add(METRICS_CHECKPOINT_DURATION, sq_clock_now_us() - begun_us);
    if (result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC) {
        engine_durability_fail(durability);
        forget_copies(durability);
        return engine_durability_check(durability, err);
    }
    /* What another process has added meanwhile has been copied too. */
    if (is_restart)
        SQ_TRY(follower_cover(durability, err));
    *ret_fill = engine_durability_fill(durability);
    if (result == SQLITE_OK)
        return SQ_OK;
    if (result != SQLITE_BUSY || durability->refusal.status == SQ_OK)
        return engine_fail(err, durability->copier, result, NULL);
    if (err != NULL)
        *err = durability->refusal;
    return durability->refusal.status;
}
