/* sched/checkpointer.c: one thread, a list of databases that are due, and two kinds of checkpoint; see the header.
 *
 * Invariants: (1) a database that is in the list, or being worked on, has references of the checkpointer's; (2) the mutex
 * is never held across a checkpoint or while waiting for a slot; (3) one thread makes all checkpoints. */
#include "sched/checkpointer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/durability.h"
#include "engine/follower.h"
#include "engine/vfs.h"
#include "sched/scheduler_internal.h"

enum {
    /* Copying competes with the syncs that commits wait for, so it is done seldom: pages that were written several times
     * are copied once. Readers search what has not been copied, one hash table of the wal-index for each 4,096 frames. */
    CHECKPOINT_SLICE_FRAMES = 4096,    /* 16 MB of the usual pages */
    CHECKPOINT_RESTART_FRAMES = 12288, /* 48 MB: with what is added meanwhile, less than is kept for reuse */
    CHECKPOINT_REST_FRAMES = 512,      /* so few are copied while writers are held up */
    CHECKPOINT_PASSES_MAX = 4,
    CHECKPOINT_RETRY_US = 200 * 1000,
    CHECKPOINT_FAILED_RETRY_US = SQ_US_PER_S,
    CHECKPOINT_FAILED_TELL_US = 30 * SQ_US_PER_S,
    CHECKPOINT_SLOT_WAIT_US = SQ_US_PER_S,
    CHECKPOINT_PATIENCE_US = 5 * SQ_US_PER_MS,
    CHECKPOINT_PATIENCE_US_MAX = SQ_US_PER_S,
    CHECKPOINT_PAUSE_FACTOR = 10, /* writers are held up in vain for a tenth of the time */
    CHECKPOINT_TICK_US = SQ_US_PER_S,
    CHECKPOINT_WARN_FRAMES = 21 * CHECKPOINT_RESTART_FRAMES, /* 1 GB */
    CHECKPOINT_WARN_EVERY_US = 60 * SQ_US_PER_S,
    DATABASE_LINGER_US = 10 * SQ_US_PER_S, /* a database that nobody uses stays open so long */
};

struct sched_checkpointer {
    struct sched *sched;
    struct engine_registry *registry;
    _Atomic(uint32_t) slice_frames; /* relaxed, as the next: settings */
    _Atomic(uint32_t) restart_frames;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct sq_list due; /* struct sched_checkpoint */
    bool is_stopping;
    bool is_slot_given; /* the slot that the thread waits for has been offered */
    struct sq_waker slot_waker;
    int64_t warned_us; /* only the thread */
    int64_t failed_us; /* likewise: when a failure was last told */
    int64_t tick_us;   /* likewise */
};

void sched_checkpoint_init(struct sched_checkpoint *checkpoint)
{
    sq_list_init(&checkpoint->links);
    checkpoint->not_before_us = 0;
    atomic_init(&checkpoint->is_due, false);
}

void sched_checkpointer_set_frames(struct sched_checkpointer *checkpointer, uint32_t slice, uint32_t restart)
{
    sq_assert(slice > 0 && restart >= slice);
    atomic_store_explicit(&checkpointer->slice_frames, slice, memory_order_relaxed);
    atomic_store_explicit(&checkpointer->restart_frames, restart, memory_order_relaxed);
}

static uint32_t slice_frames(const struct sched_checkpointer *checkpointer)
{
    return atomic_load_explicit(&checkpointer->slice_frames, memory_order_relaxed);
}

static uint32_t restart_frames(const struct sched_checkpointer *checkpointer)
{
    return atomic_load_explicit(&checkpointer->restart_frames, memory_order_relaxed);
}

static struct sched_database *database_of(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct sched_database, checkpoint.links);
}

void sched_checkpointer_note(struct sched_checkpointer *checkpointer, struct sched_database *database)
{
    struct sched_checkpoint *checkpoint = &database->checkpoint;
    if (atomic_load_explicit(&checkpoint->is_due, memory_order_relaxed))
        return;
    struct engine_wal_fill fill = engine_durability_fill(engine_database_durability(database->engine));
    if (SQ_LIKELY(fill.frame_count - fill.backfilled_count < slice_frames(checkpointer)))
        return;
    pthread_mutex_lock(&checkpointer->mutex);
    if (!checkpointer->is_stopping && !atomic_exchange_explicit(&checkpoint->is_due, true, memory_order_relaxed)) {
        engine_database_ref(database->engine);
        sched_database_ref(checkpointer->sched, database);
        checkpoint->not_before_us = 0;
        sq_list_push_back(&checkpointer->due, &checkpoint->links);
        pthread_cond_broadcast(&checkpointer->cond);
    }
    pthread_mutex_unlock(&checkpointer->mutex);
}

static void give_back(struct sched_checkpointer *checkpointer, struct sched_database *database)
{
    struct engine_database *engine = database->engine;
    sched_database_unref(checkpointer->sched, database);
    engine_database_unref(engine);
}

/* --- One database -------------------------------------------------------------------------------------------------- */

static void wait_until(struct sched_checkpointer *checkpointer, int64_t until_us)
{
    struct timespec until = {.tv_sec = until_us / SQ_US_PER_S, .tv_nsec = until_us % SQ_US_PER_S * 1000};
    pthread_cond_timedwait(&checkpointer->cond, &checkpointer->mutex, &until);
}

static void on_slot(struct sq_waker *waker)
{
    struct sched_checkpointer *checkpointer = SQ_CONTAINER_OF(waker, struct sched_checkpointer, slot_waker);
    pthread_mutex_lock(&checkpointer->mutex);
    checkpointer->is_slot_given = true;
    pthread_cond_broadcast(&checkpointer->cond);
    pthread_mutex_unlock(&checkpointer->mutex);
}

/* Waits for the writer who has the slot, before all others who do; false: it did not come in time. */
static bool take_slot(struct sched_checkpointer *checkpointer, struct sched_slot *slot, struct slot_ticket *ticket)
{
    int64_t until_us = sq_clock_now_us() + CHECKPOINT_SLOT_WAIT_US;
    checkpointer->is_slot_given = false;
    while (!sched_slot_take_next(slot, ticket)) {
        pthread_mutex_lock(&checkpointer->mutex);
        while (!checkpointer->is_slot_given && !checkpointer->is_stopping && sq_clock_now_us() < until_us)
            wait_until(checkpointer, until_us);
        bool is_given = checkpointer->is_slot_given;
        checkpointer->is_slot_given = false;
        pthread_mutex_unlock(&checkpointer->mutex);
        if (!is_given) {
            sched_slot_release(slot, ticket);
            return false;
        }
    }
    return true;
}

/* How long writers may be held up for readers of the old log: a few milliseconds, four times as long for a log of twice the
 * length, a second at most. So a log stops growing at the length that answers the longest read. */
static int64_t patience_us(uint32_t frame_count)
{
    int64_t times = frame_count / CHECKPOINT_RESTART_FRAMES;
    int64_t patience = CHECKPOINT_PATIENCE_US * (times > 1 ? times * times : 1);
    return patience < CHECKPOINT_PATIENCE_US_MAX ? patience : CHECKPOINT_PATIENCE_US_MAX;
}

/* *ret_pause_us: when readers were in the way, how long they are to be left alone. */
static sq_status restart_log(struct sched_checkpointer *checkpointer, struct sched_database *database,
                             struct engine_wal_fill *fill, struct sq_error *err, int64_t *ret_pause_us)
{
    struct slot_ticket ticket;
    slot_ticket_init(&ticket, &checkpointer->slot_waker);
    /* Who follows the log takes it before writers are held up. */
    SQ_TRY(engine_durability_cover(engine_database_durability(database->engine), err));
    if (!take_slot(checkpointer, &database->slot, &ticket))
        return SQ_OK;
    int64_t wait_us = patience_us(fill->frame_count);
    sq_status status =
        engine_durability_checkpoint(engine_database_durability(database->engine), true, wait_us, err, fill);
    sched_slot_release(&database->slot, &ticket);
    if (status != SQ_BUSY)
        return status;
    *ret_pause_us = wait_us * CHECKPOINT_PAUSE_FACTOR;
    int64_t now_us = sq_clock_now_us();
    if (fill->frame_count >= CHECKPOINT_WARN_FRAMES && now_us - checkpointer->warned_us >= CHECKPOINT_WARN_EVERY_US) {
        checkpointer->warned_us = now_us;
        sq_log(SQ_LOG_WARNING, "sched", "write-ahead log grows", "db=%s frames=%u reason=\"a long read needs it\"",
               database->name, fill->frame_count);
    }
    return SQ_OK;
}

/* Copies what can be copied; again, while what was added meanwhile is more than writers should be held up for. */
static sq_status copy_log(struct engine_durability *durability, uint32_t restart_count, struct sq_error *err,
                          struct engine_wal_fill *fill)
{
    SQ_TRY(engine_durability_checkpoint(durability, false, 0, err, fill));
    uint32_t rest = fill->frame_count - fill->backfilled_count;
    for (int pass = 1;
         pass < CHECKPOINT_PASSES_MAX && fill->frame_count >= restart_count && rest >= CHECKPOINT_REST_FRAMES; pass++) {
        uint32_t before = rest;
        SQ_TRY(engine_durability_checkpoint(durability, false, 0, err, fill));
        rest = fill->frame_count - fill->backfilled_count;
        if (rest >= before)
            break; /* a reader is in the way, or writers are faster */
    }
    return SQ_OK;
}

/* The log is kept and grows, until what is wrong is put right. */
static void tell_failure(struct sched_checkpointer *checkpointer, struct sched_database *database,
                         const struct sq_error *failure)
{
    int64_t now_us = sq_clock_now_us();
    if (checkpointer->failed_us != 0 && now_us - checkpointer->failed_us < CHECKPOINT_FAILED_TELL_US)
        return;
    checkpointer->failed_us = now_us;
    struct engine_wal_fill fill = engine_durability_fill(engine_database_durability(database->engine));
    sq_log_error(SQ_LOG_ERROR, "sched", "checkpoint failed", failure);
    sq_log(SQ_LOG_WARNING, "sched", "write-ahead log is kept", "db=%s frames=%u copied=%u", database->name,
           fill.frame_count, fill.backfilled_count);
}

/* When to look at the database again; 0: when somebody commits. */
static int64_t work_on(struct sched_checkpointer *checkpointer, struct sched_database *database)
{
    struct engine_durability *durability = engine_database_durability(database->engine);
    struct engine_wal_fill fill = {0};
    struct sq_error err;
    int64_t pause_us = CHECKPOINT_RETRY_US;
    sq_status status = copy_log(durability, restart_frames(checkpointer), &err, &fill);
    if (status == SQ_OK && fill.frame_count >= restart_frames(checkpointer))
        status = restart_log(checkpointer, database, &fill, &err, &pause_us);
    if (pause_us < CHECKPOINT_RETRY_US)
        pause_us = CHECKPOINT_RETRY_US;
    if (engine_durability_is_failed(durability)) {
        sq_log(SQ_LOG_ERROR, "sched", "database out of service", "db=%s reason=\"a sync failed\"", database->name);
        return 0;
    }
    if (status != SQ_OK && status != SQ_BUSY) {
        tell_failure(checkpointer, database, &err);
        return sq_clock_now_us() + CHECKPOINT_FAILED_RETRY_US;
    }
    uint32_t rest = fill.frame_count - fill.backfilled_count;
    bool is_done = rest == 0 || (rest < slice_frames(checkpointer) && fill.frame_count < restart_frames(checkpointer));
    return is_done ? 0 : sq_clock_now_us() + pause_us;
}

/* --- The thread ---------------------------------------------------------------------------------------------------- */

/* Under the mutex: the next that is due, taken out of the list, or NULL and when to look again. */
static struct sched_database *next_due(struct sched_checkpointer *checkpointer, int64_t now_us, int64_t *ret_until_us)
{
    int64_t until_us = checkpointer->tick_us;
    SQ_LIST_FOREACH (links, &checkpointer->due) {
        struct sched_database *database = database_of(links);
        if (database->checkpoint.not_before_us <= now_us) {
            sq_list_remove(links);
            return database;
        }
        if (database->checkpoint.not_before_us < until_us)
            until_us = database->checkpoint.not_before_us;
    }
    *ret_until_us = until_us;
    return NULL;
}

/* Under the mutex, which it gives up meanwhile. */
static void work(struct sched_checkpointer *checkpointer, struct sched_database *database)
{
    pthread_mutex_unlock(&checkpointer->mutex);
    int64_t again_us = work_on(checkpointer, database);
    pthread_mutex_lock(&checkpointer->mutex);
    if (again_us != 0) {
        database->checkpoint.not_before_us = again_us;
        sq_list_push_back(&checkpointer->due, &database->checkpoint.links);
        return;
    }
    atomic_store_explicit(&database->checkpoint.is_due, false, memory_order_relaxed);
    pthread_mutex_unlock(&checkpointer->mutex);
    give_back(checkpointer, database);
    pthread_mutex_lock(&checkpointer->mutex);
}

static void *run_checkpoints(void *context)
{
    struct sched_checkpointer *checkpointer = context;
    pthread_mutex_lock(&checkpointer->mutex);
    while (!checkpointer->is_stopping) {
        int64_t now_us = sq_clock_now_us();
        int64_t until_us = 0;
        if (now_us >= checkpointer->tick_us) {
            checkpointer->tick_us = now_us + CHECKPOINT_TICK_US;
            pthread_mutex_unlock(&checkpointer->mutex);
            engine_vfs_release_idle();
            engine_registry_close_idle(checkpointer->registry, DATABASE_LINGER_US);
            pthread_mutex_lock(&checkpointer->mutex);
            continue;
        }
        struct sched_database *database = next_due(checkpointer, now_us, &until_us);
        if (database != NULL)
            work(checkpointer, database);
        else
            wait_until(checkpointer, until_us);
    }
    pthread_mutex_unlock(&checkpointer->mutex);
    return NULL;
}

sq_status sched_checkpointer_new(struct sched *sched, struct engine_registry *registry, struct sq_error *err,
                                 struct sched_checkpointer **ret_checkpointer)
{
    struct sched_checkpointer *checkpointer = calloc(1, sizeof(*checkpointer));
    if (checkpointer == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the checkpointer");
    checkpointer->sched = sched;
    checkpointer->registry = registry;
    sched_checkpointer_set_frames(checkpointer, CHECKPOINT_SLICE_FRAMES, CHECKPOINT_RESTART_FRAMES);
    checkpointer->slot_waker.wake_cb = on_slot;
    checkpointer->tick_us = sq_clock_now_us() + CHECKPOINT_TICK_US;
    sq_list_init(&checkpointer->due);
    pthread_mutex_init(&checkpointer->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&checkpointer->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failure = pthread_create(&checkpointer->thread, NULL, run_checkpoints, checkpointer);
    if (failure != 0) {
        pthread_cond_destroy(&checkpointer->cond);
        pthread_mutex_destroy(&checkpointer->mutex);
        free(checkpointer);
        return sq_fail_errno(err, failure, "cannot start the checkpointer's thread");
    }
    *ret_checkpointer = checkpointer;
    return SQ_OK;
}

void sched_checkpointer_free(struct sched_checkpointer *checkpointer)
{
    if (checkpointer == NULL)
        return;
    pthread_mutex_lock(&checkpointer->mutex);
    checkpointer->is_stopping = true;
    pthread_cond_broadcast(&checkpointer->cond);
    pthread_mutex_unlock(&checkpointer->mutex);
    pthread_join(checkpointer->thread, NULL);
    struct sq_list *links;
    while ((links = sq_list_pop_front(&checkpointer->due)) != NULL)
        give_back(checkpointer, database_of(links));
    pthread_cond_destroy(&checkpointer->cond);
    pthread_mutex_destroy(&checkpointer->mutex);
    free(checkpointer);
}
