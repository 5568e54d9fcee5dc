/* repl/logger_run.c: a logger's thread: what there is to do, and what becomes of failures.
 *
 *     begin ──► [ snapshots for exchanges ── files ── … ] ──► scan, when something was left out ──► …
 *        ▲         │
 *        └─ FAILED ┴─ failing: again after a second, or when a checkpoint wants to go on */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "repl/logger_internal.h"

enum { BUSY_US = 10 * 1000 };

enum work { WORK_END, WORK_BEGIN, WORK_SCAN, WORK_SNAPSHOT, WORK_TAKE, WORK_SAVE };

bool logger_is_stopping(struct repl_logger *logger)
{
    pthread_mutex_lock(&logger->host.mutex);
    bool is_stopping = logger->is_stopping;
    pthread_mutex_unlock(&logger->host.mutex);
    return is_stopping;
}

/* --- What there is to do ------------------------------------------------------------------------------------------------ */

static void wait_until(struct repl_logger *logger, int64_t until_us)
{
    if (until_us == INT64_MAX) {
        logger->is_waiting = true;
        pthread_cond_wait(&logger->work_cond, &logger->host.mutex);
        logger->is_waiting = false;
        return;
    }
    struct timespec until = {.tv_sec = until_us / SQ_US_PER_S, .tv_nsec = until_us % SQ_US_PER_S * 1000};
    pthread_cond_timedwait(&logger->work_cond, &logger->host.mutex, &until);
}

/* When the next file is due; INT64_MAX: there is nothing to log. */
static int64_t due_us(struct repl_logger *logger)
{
    if (logger->told <= logger->covered)
        return INT64_MAX;
    if (logger->presser_count > 0)
        return 0;
    bool is_urgent = !sq_list_is_empty(&logger->waits);
    int64_t pause_us = loggers_pause_us(logger->loggers);
    if (is_urgent && pause_us > LOGGER_PAUSE_URGENT_US)
        pause_us = LOGGER_PAUSE_URGENT_US;
    return logger->last_us + pause_us;
}

static enum work next_work(const struct repl_logger *logger, int64_t due, int64_t now_us)
{
    if (logger->state != REPL_LOGGER_READY)
        return logger->is_mistrusted ? WORK_SCAN : WORK_BEGIN;
    if (logger->is_mistrusted)
        return WORK_SCAN;
    if (!sq_list_is_empty(&logger->requests))
        return WORK_SNAPSHOT;
    if (due <= now_us)
        return WORK_TAKE;
    return logger->needs_save ? WORK_SAVE : WORK_END;
}

/* Under the mutex, which it gives up while it waits. WORK_END: the thread is to end. */
static enum work wait_for_work(struct repl_logger *logger)
{
    while (!logger->is_stopping) {
        int64_t now_us = sq_clock_now_us();
        int64_t due = due_us(logger);
        enum work work = next_work(logger, due, now_us);
        bool is_early = logger->retry_us > now_us && logger->presser_count == 0;
        if (work != WORK_END && !is_early)
            return work;
        if (work != WORK_END || (is_early && due < logger->retry_us))
            due = logger->retry_us;
        wait_until(logger, due);
    }
    return WORK_END;
}

/* --- Doing it ------------------------------------------------------------------------------------------------------------ */

/* One that fails is told; the exchange is tried again by who wants it. */
static sq_status serve_request(struct repl_logger *logger, struct sq_error *err)
{
    pthread_mutex_lock(&logger->host.mutex);
    struct sq_list *links = sq_list_pop_front(&logger->requests);
    struct logger_request *request = links != NULL ? SQ_CONTAINER_OF(links, struct logger_request, links) : NULL;
    pthread_mutex_unlock(&logger->host.mutex);
    if (request == NULL)
        return SQ_OK; /* it has gone */
    sq_status status = logger_snapshot(logger, request->snapshot, err);
    pthread_mutex_lock(&logger->host.mutex);
    request->status = status;
    if (status != SQ_OK)
        request->err = *err;
    request->is_done = true;
    pthread_cond_broadcast(&logger->progress_cond);
    pthread_mutex_unlock(&logger->host.mutex);
    return status;
}

static sq_status take(struct repl_logger *logger, struct sq_error *err)
{
    pthread_mutex_lock(&logger->host.mutex);
    engine_position told = logger->told;
    pthread_mutex_unlock(&logger->host.mutex);
    SQ_TRY(logger_take(logger, told, err));
    if (logger->unsaved_bytes >= LOGGER_SAVE_BYTES)
        SQ_TRY(logger_save_sums(logger, err));
    return SQ_OK;
}

static sq_status do_work(struct repl_logger *logger, enum work work, struct sq_error *err)
{
    switch (work) {
    case WORK_BEGIN:
        return logger_begin(logger, err);
    case WORK_SCAN:
        return logger->file != NULL && logger->host.log != NULL ? logger_scan(logger, err) : logger_begin(logger, err);
    case WORK_SNAPSHOT:
        return serve_request(logger, err);
    case WORK_TAKE:
        return take(logger, err);
    case WORK_SAVE:
        return logger_save_sums(logger, err);
    case WORK_END:
        break;
    }
    return SQ_OK;
}

/* --- What becomes of it --------------------------------------------------------------------------------------------------- */

static void set_state(struct repl_logger *logger, enum repl_logger_state state)
{
    if (logger->state == state)
        return;
    logger->state = state;
    repl_feed_host_notify(&logger->host);
    pthread_cond_broadcast(&logger->progress_cond);
}

/* Under the mutex. */
static void note_success(struct repl_logger *logger, enum work work)
{
    if (logger->is_failing)
        sq_log(SQ_LOG_INFO, "repl", "database is logged again", "db=%s txid=%llu", logger->name,
               (unsigned long long)logger->end.txid);
    logger->is_failing = false;
    logger->retry_us = 0;
    logger->told_failure_us = 0;
    if (work == WORK_BEGIN || work == WORK_SCAN) {
        logger->has_log = true;
        set_state(logger, REPL_LOGGER_READY);
        logger_wake_waits(logger, false);
    }
}

static void tell(struct repl_logger *logger, const struct sq_error *failure)
{
    int64_t now_us = sq_clock_now_us();
    if (logger->told_failure_us != 0 && now_us - logger->told_failure_us < LOGGER_TELL_US)
        return;
    logger->told_failure_us = now_us;
    struct engine_wal_fill fill = engine_durability_fill(logger->durability);
    sq_log_error(SQ_LOG_ERROR, "repl", "database cannot be logged", failure);
    sq_log(SQ_LOG_WARNING, "repl", "write-ahead log is kept until it can be logged", "db=%s txid=%llu frames=%u",
           logger->name, (unsigned long long)logger->end.txid, fill.frame_count);
}

/* Those who want a snapshot do not wait for better times. Under the mutex. */
static void refuse_requests(struct repl_logger *logger, const struct sq_error *failure)
{
    struct sq_list *links;
    while ((links = sq_list_pop_front(&logger->requests)) != NULL) {
        struct logger_request *request = SQ_CONTAINER_OF(links, struct logger_request, links);
        request->status = failure->status;
        request->err = *failure;
        request->is_done = true;
    }
}

/* Under the mutex. */
static void note_failure(struct repl_logger *logger, enum work work, const struct sq_error *failure)
{
    bool is_snapshot = work == WORK_SNAPSHOT;
    if (failure->status == SQ_CANCELED && logger->is_stopping)
        return;
    if (failure->status == SQ_NOT_FOUND && (work == WORK_TAKE || is_snapshot)) {
        sq_log(SQ_LOG_WARNING, "repl", "database was changed behind its log", "db=%s txid=%llu reason=\"%s\"",
               logger->name, (unsigned long long)logger->end.txid, failure->text);
        logger->is_mistrusted = true;
        set_state(logger, REPL_LOGGER_STARTING);
        return;
    }
    logger->retry_us = sq_clock_now_us() + (failure->status == SQ_BUSY ? BUSY_US : LOGGER_RETRY_US);
    if (failure->status == SQ_BUSY || is_snapshot)
        return;
    tell(logger, failure);
    logger->is_failing = true;
    logger->failure = *failure;
    logger->attempt_count++;
    if (work != WORK_TAKE && work != WORK_SAVE)
        set_state(logger, REPL_LOGGER_FAILED);
    refuse_requests(logger, failure);
    logger_wake_waits(logger, true);
    pthread_cond_broadcast(&logger->progress_cond);
}

static void *run(void *context)
{
    struct repl_logger *logger = context;
    enum work work;
    pthread_mutex_lock(&logger->host.mutex);
    while ((work = wait_for_work(logger)) != WORK_END) {
        struct sq_error err;
        sq_error_clear(&err);
        if (work == WORK_SCAN)
            set_state(logger, REPL_LOGGER_STARTING);
        pthread_mutex_unlock(&logger->host.mutex);
        sq_status status = do_work(logger, work, &err);
        pthread_mutex_lock(&logger->host.mutex);
        if (status == SQ_OK)
            note_success(logger, work);
        else
            note_failure(logger, work, &err);
    }
    refuse_requests(logger, &(struct sq_error){.status = SQ_CLOSED, .text = "the log is closed"});
    pthread_cond_broadcast(&logger->progress_cond);
    pthread_mutex_unlock(&logger->host.mutex);
    return NULL;
}

sq_status logger_start_thread(struct repl_logger *logger, struct sq_error *err)
{
    sq_assert(!logger->has_thread);
    logger->state = REPL_LOGGER_STARTING;
    int failure = pthread_create(&logger->thread, NULL, run, logger);
    if (failure != 0) {
        logger->state = REPL_LOGGER_OFF;
        return sq_fail_errno(err, failure, "cannot start the thread that logs \"%s\"", logger->name);
    }
    logger->has_thread = true;
    return SQ_OK;
}

void logger_stop_thread(struct repl_logger *logger)
{
    pthread_mutex_lock(&logger->host.mutex);
    bool has_thread = logger->has_thread;
    logger->is_stopping = true;
    pthread_cond_signal(&logger->work_cond);
    pthread_cond_broadcast(&logger->progress_cond);
    pthread_mutex_unlock(&logger->host.mutex);
    if (has_thread)
        pthread_join(logger->thread, NULL);
    logger->has_thread = false;
}
