/* repl/loggers.c: what the loggers of a server have in common: settings, and the upkeep, one thread that looks at each of them every
 * second, or when it is asked to:
 *
 *   - what another process has written is synced, so that the logger is told of it;
 *   - the first file of a generation of the WAL is synced: from then on no crash makes the log lose its place;
 *   - old files are compacted and removed.
 *
 * Locks: the mutex is above those of loggers. */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "repl/logger_internal.h"

enum { LOOK_US = 1000 * 1000, TELL_US = 60 * 1000 * 1000 };

struct repl_loggers {
    pthread_mutex_t mutex; /* guards what follows */
    struct sq_list list;   /* struct repl_logger */
    struct repl_logger_settings settings;
    bool is_stopping;
    pthread_t thread;
    pthread_mutex_t hurry_mutex; /* below all others of this room */
    pthread_cond_t hurry_cond;
    bool is_hurried;
    _Atomic(int64_t) pause_us; /* relaxed: a setting */
    int64_t told_us;           /* only the thread: when a failure was last told */
};

void loggers_add(struct repl_loggers *loggers, struct repl_logger *logger)
{
    pthread_mutex_lock(&loggers->mutex);
    sq_list_push_back(&loggers->list, &logger->links);
    pthread_mutex_unlock(&loggers->mutex);
}

void loggers_remove(struct repl_loggers *loggers, struct repl_logger *logger)
{
    pthread_mutex_lock(&loggers->mutex);
    sq_list_remove(&logger->links);
    pthread_mutex_unlock(&loggers->mutex);
}

void loggers_hurry(struct repl_loggers *loggers)
{
    pthread_mutex_lock(&loggers->hurry_mutex);
    loggers->is_hurried = true;
    pthread_cond_signal(&loggers->hurry_cond);
    pthread_mutex_unlock(&loggers->hurry_mutex);
}

int64_t loggers_pause_us(struct repl_loggers *loggers)
{
    return atomic_load_explicit(&loggers->pause_us, memory_order_relaxed);
}

/* --- Upkeep ------------------------------------------------------------------------------------------------------------ */

/* A commit of this process is synced by who waits for it; one of another process by nobody else. */
static sq_status look_for_others(struct repl_logger *logger, struct sq_error *err)
{
    pthread_mutex_lock(&logger->host.mutex);
    engine_position covered = logger->covered;
    pthread_mutex_unlock(&logger->host.mutex);
    engine_position published = engine_durability_published(logger->durability);
    return published > covered ? engine_follower_sync(logger->durability, published, err) : SQ_OK;
}

static sq_status tidy(struct repl_logger *logger, struct wal_log *log, const struct repl_logger_settings *settings,
                      struct sq_error *err)
{
    struct wal_log_facts facts = wal_log_facts(log);
    bool is_long = settings->keep_bytes > 0 && facts.bytes > settings->keep_bytes;
    bool is_old =
        settings->keep_age_ms > 0 && sq_clock_wall_us() / SQ_US_PER_MS - facts.oldest_ms > settings->keep_age_ms;
    bool is_too_long = settings->hold_bytes > 0 && facts.bytes > settings->hold_bytes;
    ltx_txid held = repl_feed_host_held(&logger->host, is_too_long);
    pthread_mutex_lock(&logger->host.mutex);
    ltx_txid saved = logger->saved_txid;
    if ((is_long || is_old) && saved < wal_log_synced(log)) {
        logger->needs_save = true;
        pthread_cond_signal(&logger->work_cond);
    }
    pthread_mutex_unlock(&logger->host.mutex);
    return wal_log_tidy(log, settings->keep_bytes, settings->keep_age_ms, held < saved ? held : saved, err);
}

/* With the log in use: neither it nor the database is closed meanwhile. */
static sq_status look_at_log(struct repl_logger *logger, struct wal_log *log,
                             const struct repl_logger_settings *settings, struct sq_error *err)
{
    pthread_mutex_lock(&logger->host.mutex);
    bool needs_sync = logger->needs_sync;
    bool is_ready = logger->state == REPL_LOGGER_READY;
    logger->needs_sync = false;
    pthread_mutex_unlock(&logger->host.mutex);
    if (!is_ready)
        return SQ_OK;
    SQ_TRY(look_for_others(logger, err));
    if (needs_sync)
        SQ_TRY(wal_log_sync(log, err));
    return tidy(logger, log, settings, err);
}

static void look_at(struct repl_loggers *loggers, struct repl_logger *logger,
                    const struct repl_logger_settings *settings)
{
    struct sq_error err;
    struct wal_log *log = repl_feed_host_enter_log(&logger->host);
    if (log == NULL)
        return;
    sq_status status = look_at_log(logger, log, settings, &err);
    repl_feed_host_leave_log(&logger->host);
    int64_t now_us = sq_clock_now_us();
    if (status == SQ_OK)
        return;
    logger_note_sync_failure(logger, status);
    if (loggers->told_us != 0 && now_us - loggers->told_us < TELL_US)
        return;
    loggers->told_us = now_us;
    sq_log_error(SQ_LOG_ERROR, "repl", "upkeep of a log failed", &err);
}

/* The one behind `logger` in the list, with a reference; NULL as `logger`: the first. One that has gone from the list meanwhile
 * is the last of this round. */
static struct repl_logger *next(struct repl_loggers *loggers, struct repl_logger *logger,
                                struct repl_logger_settings *ret_settings)
{
    struct repl_logger *found = NULL;
    pthread_mutex_lock(&loggers->mutex);
    const struct sq_list *after = logger == NULL ? &loggers->list : &logger->links;
    struct sq_list *links = after->next;
    if (!loggers->is_stopping && links != &loggers->list && links != after) {
        found = SQ_CONTAINER_OF(links, struct repl_logger, links);
        repl_logger_ref(found);
    }
    *ret_settings = loggers->settings;
    pthread_mutex_unlock(&loggers->mutex);
    return found;
}

static void look_at_all(struct repl_loggers *loggers)
{
    struct repl_logger_settings settings;
    struct repl_logger *logger = next(loggers, NULL, &settings);
    while (logger != NULL) {
        look_at(loggers, logger, &settings);
        struct repl_logger *following = next(loggers, logger, &settings);
        repl_logger_unref(logger);
        logger = following;
    }
}

static void rest(struct repl_loggers *loggers)
{
    int64_t until_us = sq_clock_now_us() + LOOK_US;
    struct timespec until = {.tv_sec = until_us / SQ_US_PER_S, .tv_nsec = until_us % SQ_US_PER_S * 1000};
    pthread_mutex_lock(&loggers->hurry_mutex);
    int result = 0;
    while (!loggers->is_hurried && result == 0)
        result = pthread_cond_timedwait(&loggers->hurry_cond, &loggers->hurry_mutex, &until);
    loggers->is_hurried = false;
    pthread_mutex_unlock(&loggers->hurry_mutex);
}

static bool is_stopping(struct repl_loggers *loggers)
{
    pthread_mutex_lock(&loggers->mutex);
    bool is_over = loggers->is_stopping;
    pthread_mutex_unlock(&loggers->mutex);
    return is_over;
}

static void *run_upkeep(void *context)
{
    struct repl_loggers *loggers = context;
    while (!is_stopping(loggers)) {
        look_at_all(loggers);
        rest(loggers);
    }
    return NULL;
}

/* --- Life --------------------------------------------------------------------------------------------------------------- */

void repl_loggers_configure(struct repl_loggers *loggers, const struct repl_logger_settings *settings)
{
    pthread_mutex_lock(&loggers->mutex);
    loggers->settings = *settings;
    pthread_mutex_unlock(&loggers->mutex);
    int64_t pause_us = settings->pause_us > 0 ? settings->pause_us : LOGGER_PAUSE_US;
    atomic_store_explicit(&loggers->pause_us, pause_us, memory_order_relaxed);
}

sq_status repl_loggers_new(const struct repl_logger_settings *settings, struct sq_error *err,
                           struct repl_loggers **ret_loggers)
{
    struct repl_loggers *loggers = calloc(1, sizeof(*loggers));
    if (loggers == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the loggers");
    sq_list_init(&loggers->list);
    pthread_mutex_init(&loggers->mutex, NULL);
    pthread_mutex_init(&loggers->hurry_mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&loggers->hurry_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    repl_loggers_configure(loggers, settings);
    int failure = pthread_create(&loggers->thread, NULL, run_upkeep, loggers);
    if (failure != 0) {
        pthread_cond_destroy(&loggers->hurry_cond);
        pthread_mutex_destroy(&loggers->hurry_mutex);
        pthread_mutex_destroy(&loggers->mutex);
        free(loggers);
        return sq_fail_errno(err, failure, "cannot start the thread that looks after logs");
    }
    *ret_loggers = loggers;
    return SQ_OK;
}

void repl_loggers_free(struct repl_loggers *loggers)
{
    if (loggers == NULL)
        return;
    pthread_mutex_lock(&loggers->mutex);
    sq_assert(sq_list_is_empty(&loggers->list));
    loggers->is_stopping = true;
    pthread_mutex_unlock(&loggers->mutex);
    loggers_hurry(loggers);
    pthread_join(loggers->thread, NULL);
    pthread_cond_destroy(&loggers->hurry_cond);
    pthread_mutex_destroy(&loggers->hurry_mutex);
    pthread_mutex_destroy(&loggers->mutex);
    free(loggers);
}
